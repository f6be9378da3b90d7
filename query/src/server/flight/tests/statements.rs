//! Statements and prepared statements.

use arrow::array::{ArrayRef, Int32Array, NullArray, StringArray};
use arrow::datatypes::DataType;
use arrow_flight::sql::CommandStatementQuery;

use super::*;

/// The rows of a statement come as batches; their schema is the one that was announced with the ticket, and that
/// `GetSchema` tells without running anything. A ticket gives the same rows again.
#[tokio::test]
async fn rows_come_in_the_announced_schema() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let query = "select name, duration_ns, start_time, attributes, events from spans order by start_time, span_id";
    let info = client.execute(query.to_owned(), None).await.unwrap();
    let announced = info.clone().try_decode_schema().unwrap();
    let batches = fetched(&mut client, ticket(&info)).await.unwrap();
    let again = fetched(&mut client, ticket(&info)).await.unwrap();
    assert_eq!(as_json(again), as_json(batches.clone()));
    assert!(batches.iter().all(|batch| *batch.schema() == announced));
    let session = served.interface.lake.session("acme").await;
    assert_eq!(as_json(batches), ask_lake(&session, query).await);

    let command = CommandStatementQuery { query: query.to_owned(), transaction_id: None };
    let mut request = Request::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    let bearer = format!("Bearer {}", client.token().unwrap());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let described = client.inner_mut().get_schema(request).await.unwrap().into_inner();
    assert_eq!(Schema::try_from(&described).unwrap(), announced);

    let none = asked(&mut client, "select name from spans where false").await.unwrap();
    assert_eq!(none, json!([]));
}

/// A prepared statement tells its columns and the types of its parameters, runs with each row of values that is bound,
/// written as `?` or `$1`, and is gone once it is closed.
#[tokio::test]
async fn statements_are_prepared_and_bound() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    for query in [
        "select name, duration_ns from spans where trace_id = ? and duration_ns > ? order by start_time limit ?",
        "select name, duration_ns from spans where trace_id = $1 and duration_ns > $2 order by start_time limit $3",
    ] {
        let mut prepared = client.prepare(query.to_owned(), None).await.unwrap();
        let columns = prepared.dataset_schema().unwrap().clone();
        assert_eq!(
            columns.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
            ["name", "duration_ns"]
        );
        let wanted = prepared.parameter_schema().unwrap().clone();
        let types: Vec<&DataType> = wanted.fields().iter().map(|field| field.data_type()).collect();
        assert_eq!(types, [&DataType::Utf8, &DataType::Int64, &DataType::Int64]);

        let unbound = status(prepared.execute().await.unwrap_err());
        assert_eq!(short(&unbound), "wrong-parameters");
        assert!(unbound.message().contains("$1"), "{}", unbound.message());
        for (least, names) in [(1, json!(["POST /checkout", "charge"])), (2_000_000_000, json!(["POST /checkout"]))] {
            let values = RecordBatch::try_from_iter([
                ("a", Arc::new(StringArray::from(vec![FAILING])) as ArrayRef),
                ("b", Arc::new(Int32Array::from(vec![least])) as ArrayRef),
                ("c", Arc::new(Int32Array::from(vec![10])) as ArrayRef),
            ]);
            prepared.set_parameters(values.unwrap()).unwrap();
            let info = prepared.execute().await.unwrap();
            let rows = as_json(fetched(&mut client, ticket(&info)).await.unwrap());
            let found: Value = rows.as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
            assert_eq!(found, names);
        }
        let several =
            RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec![FAILING, FAILING])) as ArrayRef)]);
        prepared.set_parameters(several.unwrap()).unwrap();
        assert!(status(prepared.execute().await.unwrap_err()).message().contains("one row"));
    }
}

/// Values of other types than the parameters want, and values of no type, are bound as well; parameters of functions
/// have the types that the functions take.
#[tokio::test]
async fn values_of_any_type_are_bound() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let mut prepared = client.prepare("select ? = 7 as x, ? is null as y".to_owned(), None).await.unwrap();
    let values = RecordBatch::try_from_iter_with_nullable([
        ("x", Arc::new(Int32Array::from(vec![7])) as ArrayRef, false),
        ("y", Arc::new(NullArray::new(1)) as ArrayRef, true),
    ]);
    prepared.set_parameters(values.unwrap()).unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(as_json(fetched(&mut client, ticket(&info)).await.unwrap()), json!([{"x": true, "y": true}]));

    let similar = "select count(*) as n from similar_incidents(?, ?)".to_owned();
    let prepared = client.prepare(similar, None).await.unwrap();
    let wanted = prepared.parameter_schema().unwrap();
    assert_eq!((wanted.field(0).data_type(), wanted.field(1).data_type()), (&DataType::Utf8, &DataType::Int64));
}

/// What would change something is refused in each way of sending it, with the same words, and so are transactions.
#[tokio::test]
async fn nothing_is_changed() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let drop = "drop table spans";
    let refused = [
        status(client.execute(drop.to_owned(), None).await.unwrap_err()),
        status(client.prepare(drop.to_owned(), None).await.unwrap_err()),
        status(client.execute_update(drop.to_owned(), None).await.unwrap_err()),
    ];
    for status in refused {
        assert_eq!((status.code(), short(&status)), (Code::PermissionDenied, "read-only"), "{status:?}");
        assert!(status.message().contains("ask with SELECT"), "{}", status.message());
    }
    let update = status(client.execute_update("select 1".to_owned(), None).await.unwrap_err());
    assert!(update.message().contains("as a query"), "{}", update.message());
    let transaction = status(client.begin_transaction().await.unwrap_err());
    assert_eq!(transaction.code(), Code::Unimplemented);
    assert!(transaction.message().contains("autocommit"), "{}", transaction.message());
}
