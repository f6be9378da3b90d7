//! Who is answered, what they see, and what is written down of it.

use super::*;

/// Name and password are exchanged for the bearer token that the password is. Without a token, with a wrong one and
/// without the scope nobody gets an answer, and each is told what to do.
#[tokio::test]
async fn tokens_and_scopes_are_required() {
    let served = Served::with(Limits::default()).await;
    let token = served.interface.token("acme", &[Scope::Sql]).await;
    let mut client = served.nobody();
    client.handshake("anyone", &token).await.unwrap();
    assert_eq!(client.token(), Some(&token));
    assert_eq!(asked(&mut client, "select 1 as n").await.unwrap(), json!([{"n": 1}]));
    let wrong = served.nobody().handshake("anyone", "tracerag_00").await.unwrap_err();
    assert!(wrong.to_string().contains("token"), "{wrong}");

    let error = asked(&mut served.nobody(), "select 1").await.unwrap_err();
    assert_eq!((error.code(), short(&error)), (Code::Unauthenticated, "token-missing"));
    let mut reader = served.client("acme", &[Scope::Read]).await;
    let error = asked(&mut reader, "select 1").await.unwrap_err();
    assert_eq!((error.code(), short(&error)), (Code::PermissionDenied, "scope-missing"));
    let tables = reader.get_tables(arrow_flight::sql::CommandGetTables::default()).await.unwrap();
    let error = fetched(&mut reader, ticket(&tables)).await.unwrap_err();
    assert_eq!(short(&error), "scope-missing");
}

/// A tenant sees its own rows, and tickets and prepared statements hold for whom they were made: in the hands of
/// another tenant they are as unknown as any other number, and still hold for their owner afterwards.
#[tokio::test]
async fn tickets_are_their_callers_own() {
    let served = Served::with(Limits::default()).await;
    let mut ours = served.client("acme", &[Scope::Sql]).await;
    let mut theirs = served.client("other", &[Scope::Sql]).await;
    let tenants = "select distinct tenant_id from spans".to_owned();
    assert_eq!(asked(&mut ours, &tenants).await.unwrap(), json!([{"tenant_id": "acme"}]));
    assert_eq!(asked(&mut theirs, &tenants).await.unwrap(), json!([{"tenant_id": "other"}]));

    let info = ours.execute(tenants.clone(), None).await.unwrap();
    let stolen = fetched(&mut theirs, ticket(&info)).await.unwrap_err();
    assert_eq!((stolen.code(), short(&stolen)), (Code::NotFound, "ticket-unknown"));
    let cancel =
        Action::new("CancelFlightInfo", arrow_flight::CancelFlightInfoRequest::new(info.clone()).encode_to_vec());
    assert_eq!(short(&status(theirs.do_action(cancel).await.unwrap_err())), "query-unknown");
    assert_eq!(as_json(fetched(&mut ours, ticket(&info)).await.unwrap()), json!([{"tenant_id": "acme"}]));

    let prepare = arrow_flight::sql::ActionCreatePreparedStatementRequest { query: tenants, transaction_id: None };
    let action = Action::new("CreatePreparedStatement", prepare.as_any().encode_to_vec());
    let body = ours.do_action(action).await.unwrap().message().await.unwrap().unwrap().body;
    let made = Any::decode(body.as_ref()).unwrap().unpack::<arrow_flight::sql::ActionCreatePreparedStatementResult>();
    let handle = made.unwrap().unwrap().prepared_statement_handle;
    let command = arrow_flight::sql::CommandPreparedStatementQuery { prepared_statement_handle: handle };
    for (client, expected) in [(&theirs, "statement-unknown"), (&ours, "")] {
        let mut request = Request::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
        let bearer = format!("Bearer {}", client.token().unwrap());
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let answer = client.inner().clone().get_flight_info(request).await;
        assert_eq!(answer.as_ref().err().map_or("", short), expected, "{answer:?}");
    }
}

/// Planning and reading, and every refusal of somebody who is known, is a row of its tenant, without personal data.
#[tokio::test]
async fn answers_are_written_down() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    asked(&mut client, "select 'jane@example.org' as who").await.unwrap();
    asked(&mut client, "select no_such").await.unwrap_err();
    let tables = client.get_tables(arrow_flight::sql::CommandGetTables::default()).await.unwrap();
    fetched(&mut client, ticket(&tables)).await.unwrap();
    served.interface.app.gate().close().await;
    let session = served.interface.lake.session("acme").await;
    let query = "select interface, operation, arguments, outcome from audit order by time";
    let row = |operation: &str, arguments: &str, outcome: &str| json!({"interface": "flight_sql", "operation": operation, "arguments": arguments, "outcome": outcome});
    assert_eq!(
        ask_lake(&session, query).await,
        json!([
            row("plan", "select '<email>' as who", "ok"),
            row("sql", "select '<email>' as who", "ok"),
            row("plan", "select no_such", "wrong-query"),
            row("metadata", "", "ok"),
        ])
    );
    let given = ask_lake(&session, "select operation, \"rows\" from audit where \"rows\" = 1").await;
    assert_eq!(given, json!([{"operation": "sql", "rows": 1}]));
}
