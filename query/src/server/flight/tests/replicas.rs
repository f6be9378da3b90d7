//! Servers of one lake behind a balancer: each request of a client reaches another one.

use arrow::array::{ArrayRef, Int64Array};
use arrow_flight::CancelFlightInfoRequest;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandPreparedStatementQuery,
    DoPutPreparedStatementResult,
};
use tracerag_schemas::time::SECOND;

use super::*;
use crate::tests::lake::{NOON, example};

/// A request with a client's token.
fn request<T>(client: &Client, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", client.token().unwrap());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    request
}

/// A ticket of one server is good at another, on the head on which it was planned, though the lake has moved on. Of
/// another tenant, or with one byte changed, it is refused there, and what it says cannot be read in it.
#[tokio::test]
async fn a_ticket_is_good_at_another_server() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let mut other = served.elsewhere(&client).await;
    let mut stranger = served.client("other", &[Scope::Sql]).await;
    let query = "select count(*) as n, max(tenant_id) as t from spans";
    let info = client.execute(query.to_owned(), None).await.unwrap();
    let before = asked(&mut client, query).await.unwrap();
    served.interface.lake.write(&example(), NOON + 20_000 * SECOND).await;
    let told = ticket(&info);
    assert!(!told.ticket.windows(5).any(|part| part == b"spans"), "the statement can be read");
    for rows in [fetched(&mut other, told.clone()).await, fetched(&mut client, told.clone()).await] {
        assert_eq!(as_json(rows.unwrap()), before);
    }
    assert_eq!(short(&fetched(&mut stranger, told.clone()).await.unwrap_err()), "ticket-unknown");
    let last = told.ticket.len() - 1;
    for place in [last - 40, last] {
        let mut changed = told.ticket.to_vec();
        changed[place] ^= 1;
        for client in [&mut client, &mut other] {
            let error = fetched(client, Ticket::new(changed.clone())).await.unwrap_err();
            assert_eq!((error.code(), short(&error)), (Code::NotFound, "ticket-unknown"), "byte {place}");
        }
    }
}

/// A statement is prepared at one server, bound at a second and run at a third. The handle that came with the values is
/// needed for that; at the server that took the values the one from before does as well, for drivers that keep to it.
#[tokio::test]
async fn a_prepared_statement_is_good_at_another_server() {
    let served = Served::with(Limits::default()).await;
    let first = served.client("acme", &[Scope::Sql]).await;
    let (second, mut third) = (served.elsewhere(&first).await, served.elsewhere(&first).await);
    let query = ActionCreatePreparedStatementRequest { query: "select ? + 1 as n".to_owned(), transaction_id: None };
    let action = Action::new("CreatePreparedStatement", query.as_any().encode_to_vec());
    let made = first.inner().clone().do_action(request(&first, action)).await.unwrap().into_inner().message().await;
    let made = Any::decode(made.unwrap().unwrap().body).unwrap().unpack::<ActionCreatePreparedStatementResult>();
    let unbound = made.unwrap().unwrap().prepared_statement_handle;
    let command = |handle: &Bytes| {
        let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
        FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
    };

    let values = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![6])) as ArrayRef)]).unwrap();
    let stream = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(command(&unbound)))
        .build(futures::stream::iter([Ok(values)]))
        .map(|message| message.unwrap());
    let put = second.inner().clone().do_put(request(&second, stream)).await.unwrap().into_inner().message().await;
    let put = DoPutPreparedStatementResult::decode(put.unwrap().unwrap().app_metadata).unwrap();
    let bound = put.prepared_statement_handle.unwrap();

    for (client, handle, expected) in
        [(&third, &bound, ""), (&first, &bound, ""), (&second, &unbound, ""), (&third, &unbound, "wrong-parameters")]
    {
        let info = client.inner().clone().get_flight_info(request(client, command(handle))).await;
        assert_eq!(info.as_ref().err().map_or("", short), expected, "{info:?}");
        if let Ok(info) = info {
            let rows = fetched(&mut third.clone(), ticket(&info.into_inner())).await.unwrap();
            assert_eq!(as_json(rows), json!([{"n": 7}]));
        }
    }
    assert_eq!(asked(&mut third, "select 1 as n").await.unwrap(), json!([{"n": 1}]));
}

/// A statement that is too long to be carried is answered by the server that has planned it, and another one says so.
#[tokio::test]
async fn what_is_too_long_stays() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let mut other = served.elsewhere(&client).await;
    let query = format!("select length('{}') as n", "x".repeat(MOST_CARRIED));
    let info = client.execute(query, None).await.unwrap();
    let error = fetched(&mut other, ticket(&info)).await.unwrap_err();
    assert_eq!(short(&error), "ticket-unknown");
    assert!(error.message().contains("only at the server"), "{}", error.message());
    assert_eq!(as_json(fetched(&mut client, ticket(&info)).await.unwrap()), json!([{"n": MOST_CARRIED}]));
}

/// A query that one server runs cannot be cancelled by its flight at another, which says so and breaks nothing off. Where
/// it was cancelled before its rows were asked for, its ticket runs nothing any more.
#[tokio::test]
async fn a_query_is_cancelled_where_it_runs() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let mut other = served.elsewhere(&client).await;
    let info = client.execute("select 1 as n".to_owned(), None).await.unwrap();
    for (client, expected) in
        [(&mut other, arrow_flight::CancelStatus::NotCancellable), (&mut client, arrow_flight::CancelStatus::Cancelled)]
    {
        let cancel = Action::new("CancelFlightInfo", CancelFlightInfoRequest::new(info.clone()).encode_to_vec());
        let result = client.do_action(cancel).await.unwrap().message().await.unwrap().unwrap();
        let result = arrow_flight::CancelFlightInfoResult::decode(result.body.as_ref()).unwrap();
        assert_eq!(result.status(), expected);
    }
    let error = fetched(&mut client, ticket(&info)).await.unwrap_err();
    assert_eq!((error.code(), short(&error)), (Code::Cancelled, "cancelled"));
}
