//! What the server tells of itself.

use arrow::array::AsArray as _;
use arrow::datatypes::DataType;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo, XdbcDataType,
};

use super::*;

fn columns(schema: &Schema) -> Vec<(String, DataType)> {
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

async fn described(client: &mut Client, info: Result<FlightInfo, FlightError>) -> Vec<RecordBatch> {
    let info = info.unwrap();
    let announced = info.clone().try_decode_schema().unwrap();
    let batches = fetched(client, ticket(&info)).await.unwrap();
    for batch in &batches {
        assert_eq!(columns(&batch.schema()), columns(&announced));
    }
    batches
}

/// There is one catalog with one schema, and the tables that SQL sees: by pattern and type, with the schema that a query
/// of the table has. Whoever may not see a table is not told of it.
#[tokio::test]
async fn tables_are_listed() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql, Scope::Heap]).await;
    let info = client.get_catalogs().await;
    assert_eq!(as_json(described(&mut client, info).await), json!([{"catalog_name": "tracerag"}]));
    let info = client.get_db_schemas(CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None }).await;
    let schemas = as_json(described(&mut client, info).await);
    assert_eq!(schemas, json!([{"catalog_name": "tracerag", "db_schema_name": "public"}]));
    let info = client.get_table_types().await;
    let types = as_json(described(&mut client, info).await);
    assert_eq!(types, json!([{"table_type": "TABLE"}, {"table_type": "VIEW"}]));

    let wanted = CommandGetTables { table_name_filter_pattern: Some("inc%ents".to_owned()), ..Default::default() };
    let info = client.get_tables(wanted).await;
    let incidents = as_json(described(&mut client, info).await);
    assert_eq!((&incidents[0]["table_name"], &incidents[0]["table_type"]), (&json!("incidents"), &json!("VIEW")));
    assert_eq!(incidents.as_array().unwrap().len(), 1);

    let info = client.get_tables(CommandGetTables { include_schema: true, ..Default::default() }).await;
    let tables = described(&mut client, info).await;
    let schemas = tables[0].column_by_name("table_schema").unwrap();
    let names = as_json(tables.clone());
    let names: Vec<String> =
        names.as_array().unwrap().iter().map(|row| row["table_name"].as_str().unwrap().to_owned()).collect();
    assert!(names.iter().any(|name| name == "heaps"), "{names:?}");
    let schemas = schemas.as_binary::<i32>();
    for (name, schema) in names.iter().zip(schemas.iter().flatten()) {
        let told = Schema::try_from(IpcMessage(schema.to_vec().into())).unwrap();
        let info = client.execute(format!("select * from {name}"), None).await.unwrap();
        let selected = info.try_decode_schema().unwrap();
        assert_eq!(columns(&told), columns(&selected), "{name}");
    }

    let mut without = served.client("acme", &[Scope::Sql]).await;
    let info = without.get_tables(CommandGetTables::default()).await;
    let seen = as_json(described(&mut without, info).await).to_string();
    assert!(!seen.contains("heaps") && !seen.contains("audit") && seen.contains("spans"), "{seen}");
}

/// Keys are asked for by tools that draw them: there are none, in the schema that the protocol has for them.
#[tokio::test]
async fn there_are_no_keys() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let table = || "spans".to_owned();
    let keys = [
        (client.get_primary_keys(CommandGetPrimaryKeys { table: table(), ..Default::default() }).await, 6),
        (client.get_imported_keys(CommandGetImportedKeys { table: table(), ..Default::default() }).await, 13),
        (client.get_exported_keys(CommandGetExportedKeys { table: table(), ..Default::default() }).await, 13),
        (
            client
                .get_cross_reference(CommandGetCrossReference {
                    pk_table: table(),
                    fk_table: table(),
                    ..Default::default()
                })
                .await,
            13,
        ),
    ];
    for (info, columns) in keys {
        let info = info.unwrap();
        assert_eq!(info.clone().try_decode_schema().unwrap().fields().len(), columns);
        assert_eq!(
            fetched(&mut client, ticket(&info)).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(),
            0
        );
    }
}

/// What the server is, and its types: all of it or what was asked for.
#[tokio::test]
async fn the_server_describes_itself() {
    let served = Served::with(Limits::default()).await;
    let mut client = served.client("acme", &[Scope::Sql]).await;
    let info = client.get_sql_info(vec![]).await;
    let all = described(&mut client, info).await;
    assert!(all[0].num_rows() > 80, "{}", all[0].num_rows());
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerReadOnly, SqlInfo::FlightSqlServerName]).await;
    let some = described(&mut client, info).await;
    assert_eq!(some[0].num_rows(), 2);
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await;
    let types = as_json(described(&mut client, info).await);
    assert!(types.as_array().unwrap().len() > 10, "{types:#}");
    let wanted = CommandGetXdbcTypeInfo { data_type: Some(XdbcDataType::XdbcTimestamp as i32) };
    let info = client.get_xdbc_type_info(wanted).await;
    let types = as_json(described(&mut client, info).await);
    assert_eq!((&types[0]["type_name"], &types[1]), (&json!("TIMESTAMP"), &Value::Null));
}
