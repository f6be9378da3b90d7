//! What clients ask about the server before they ask it for rows: catalogs, schemas, tables, keys.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::TableType;

use super::{info, types, wire};
use crate::catalog::{CATALOG, SCHEMA};
use crate::error::{QueryError, Result};
use crate::session::Session;

/// What clients call tables and views; programs filter by these two words.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// The schema of the answer, if the command asks for metadata.
///
/// # Errors
/// When the server cannot describe itself.
pub(super) fn schema(command: &Command) -> Result<Option<SchemaRef>> {
    Ok(Some(match command {
        Command::CommandGetTables(tables) => tables.clone().into_builder().schema(),
        other => match rows(other)? {
            Some(rows) => rows.schema(),
            None => return Ok(None),
        },
    }))
}

/// The answer to a command that asks for metadata which is the same for everybody, that is, for all but tables.
///
/// # Errors
/// When the server cannot describe itself.
pub(super) fn rows(command: &Command) -> Result<Option<RecordBatch>> {
    Ok(Some(match command {
        Command::CommandGetCatalogs(catalogs) => catalog(*catalogs)?,
        Command::CommandGetDbSchemas(schemas) => schema_names(schemas.clone())?,
        Command::CommandGetTableTypes(table_types) => kinds(*table_types)?,
        Command::CommandGetSqlInfo(wanted) => info::rows(wanted.clone()).map_err(failed)?,
        Command::CommandGetXdbcTypeInfo(CommandGetXdbcTypeInfo { data_type }) => {
            types::rows(*data_type).map_err(failed)?
        }
        // Tables of telemetry have no keys that a database would watch over.
        Command::CommandGetPrimaryKeys(_) => RecordBatch::new_empty(primary_keys()),
        Command::CommandGetImportedKeys(_)
        | Command::CommandGetExportedKeys(_)
        | Command::CommandGetCrossReference(_) => RecordBatch::new_empty(foreign_keys()),
        _ => return Ok(None),
    }))
}

/// The tables that a session sees, with their schemas if they are wanted.
///
/// # Errors
/// When a view cannot be planned.
pub(super) async fn tables(session: &Session, wanted: CommandGetTables) -> Result<RecordBatch> {
    let with_schema = wanted.include_schema;
    let mut tables = wanted.into_builder();
    let schema = session.context().catalog(CATALOG).and_then(|catalog| catalog.schema(SCHEMA));
    let schema = schema.ok_or_else(|| QueryError::Sql(format!("there is no schema {CATALOG}.{SCHEMA}")))?;
    for name in schema.table_names() {
        let kind = match schema.table_type(&name).await? {
            Some(TableType::View) => VIEW,
            Some(_) => TABLE,
            None => continue,
        };
        let columns = match schema.table(&name).await? {
            Some(table) if with_schema => wire::schema(&table.schema()),
            Some(_) => Arc::new(Schema::empty()),
            None => continue,
        };
        tables.append(CATALOG, SCHEMA, &name, kind, &columns).map_err(failed)?;
    }
    tables.build().map_err(failed)
}

fn catalog(wanted: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut catalogs = wanted.into_builder();
    catalogs.append(CATALOG);
    catalogs.build().map_err(failed)
}

fn schema_names(wanted: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut schemas = wanted.into_builder();
    schemas.append(CATALOG, SCHEMA);
    schemas.build().map_err(failed)
}

fn kinds(wanted: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut kinds = wanted.into_builder();
    kinds.append(TABLE);
    kinds.append(VIEW);
    kinds.build().map_err(failed)
}

/// As `CommandGetPrimaryKeys` of FlightSql.proto has it.
fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

/// As `CommandGetImportedKeys`, `CommandGetExportedKeys` and `CommandGetCrossReference` of FlightSql.proto have it.
fn foreign_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

fn failed(error: FlightError) -> QueryError {
    QueryError::Engine(Box::new(DataFusionError::External(Box::new(error))))
}
