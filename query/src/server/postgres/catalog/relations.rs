//! Tables of `pg_catalog` as tools expect them. datafusion-pg-catalog has texts for lists of columns and of privileges, rows
//! about indexes and keys of PostgreSQL's own tables, and no options and privileges of tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;

use super::INFORMATION_SCHEMA;
use crate::error::Result;

/// Tables without rows: there are no indexes and no keys.
const WITHOUT_ROWS: [&str; 2] = ["pg_constraint", "pg_index"];
/// Their columns that are numbers of columns, `int2vector` or `smallint[]`.
const NUMBERS_OF_COLUMNS: [&str; 5] = ["conkey", "confkey", "confdelsetcols", "indkey", "indoption"];
/// Those that are object identifiers, `oidvector` or `oid[]`.
const IDENTIFIERS: [&str; 6] = ["conpfeqop", "conppeqop", "conffeqop", "conexclop", "indclass", "indcollation"];
/// Their columns that are privileges, `aclitem[]`: there are none but those of tokens, which no statement grants.
const PRIVILEGES: [&str; 7] = ["attacl", "datacl", "defaclacl", "lanacl", "nspacl", "proacl", "typacl"];
/// What `pg_class` lacks: options and privileges of tables, of which there are none.
const OF_CLASSES: [&str; 2] = ["reloptions", "relacl"];

/// The columns of a table of `pg_catalog`, where datafusion-pg-catalog has these.
pub(super) fn columns(table: &str, known: &SchemaRef) -> SchemaRef {
    let list = |name: &str, item| {
        Arc::new(Field::new(name, DataType::List(Arc::new(Field::new_list_field(item, true))), true))
    };
    let fields = known.fields().iter().map(|field| match field.name().as_str() {
        name if PRIVILEGES.contains(&name) => list(name, DataType::Utf8),
        name if NUMBERS_OF_COLUMNS.contains(&name) => list(name, DataType::Int16),
        name if IDENTIFIERS.contains(&name) => list(name, DataType::Int32),
        _ => Arc::clone(field),
    });
    let more = OF_CLASSES.iter().filter(|_| table == "pg_class").map(|name| list(name, DataType::Utf8));
    Arc::new(Schema::new(fields.chain(more).collect::<Vec<_>>()))
}

/// The rows of a table that has none here.
pub(super) fn without_rows(table: &str, known: &SchemaRef) -> Option<RecordBatch> {
    WITHOUT_ROWS.contains(&table).then(|| RecordBatch::new_empty(columns(table, known)))
}

/// Rows of a table under its [`columns`]; those that datafusion-pg-catalog lacks, or has in another type, are without values.
///
/// # Errors
/// When the rows are not those of the table.
pub(super) fn fitted(table: &str, rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = columns(table, rows.schema_ref());
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
        _ => new_null_array(field.data_type(), rows.num_rows()),
    });
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
}

/// The numbers of the tables that are found with their schema only: as in PostgreSQL, those of `information_schema`.
///
/// # Errors
/// When the rows are not those of `pg_namespace` and `pg_class`.
pub(super) fn hidden(schemas: &RecordBatch, classes: &RecordBatch) -> Result<BTreeSet<i32>> {
    let names = column(schemas, "nspname")?.as_string_opt::<i32>().ok_or_else(unlike)?;
    let named = numbers(schemas, "oid")?.zip(names);
    let hidden: BTreeSet<i32> =
        named.filter(|(_, name)| *name == Some(INFORMATION_SCHEMA)).filter_map(|(oid, _)| oid).collect();
    let of_schemas = numbers(classes, "oid")?.zip(numbers(classes, "relnamespace")?);
    let tables = of_schemas.filter(|(_, schema)| schema.is_some_and(|schema| hidden.contains(&schema)));
    Ok(tables.filter_map(|(oid, _)| oid).collect())
}

fn numbers<'a>(rows: &'a RecordBatch, name: &str) -> Result<impl Iterator<Item = Option<i32>> + use<'a>> {
    let numbers = column(rows, name)?.as_primitive_opt::<Int32Type>().ok_or_else(unlike)?;
    Ok(numbers.iter())
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    Ok(rows.column_by_name(name).ok_or_else(unlike)?)
}

fn unlike() -> DataFusionError {
    DataFusionError::Internal(String::from("a table of pg_catalog has other columns"))
}
