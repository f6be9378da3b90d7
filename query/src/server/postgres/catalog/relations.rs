//! `pg_class`, `pg_index` and `pg_constraint` as tools expect them. datafusion-pg-catalog has texts for lists of columns,
//! rows about indexes and keys of PostgreSQL's own tables, and no options of tables.

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

/// The columns of a table of `pg_catalog`, where datafusion-pg-catalog has these.
pub(super) fn columns(table: &str, known: &SchemaRef) -> SchemaRef {
    let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
    if table == "pg_class" {
        let options = Arc::new(Field::new("reloptions", list(DataType::Utf8), true));
        return Arc::new(Schema::new(known.fields().iter().cloned().chain([options]).collect::<Vec<_>>()));
    }
    if !WITHOUT_ROWS.contains(&table) {
        return Arc::clone(known);
    }
    let fields = known.fields().iter().map(|field| {
        let name = field.name().as_str();
        let item = if NUMBERS_OF_COLUMNS.contains(&name) {
            DataType::Int16
        } else if IDENTIFIERS.contains(&name) {
            DataType::Int32
        } else {
            return Arc::clone(field);
        };
        Arc::new(Field::new(name, list(item), true))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The rows of a table that has none here.
pub(super) fn without_rows(table: &str, known: &SchemaRef) -> Option<RecordBatch> {
    WITHOUT_ROWS.contains(&table).then(|| RecordBatch::new_empty(columns(table, known)))
}

/// `pg_class` with options of tables, of which there are none.
///
/// # Errors
/// When the rows are not those of `pg_class`.
pub(super) fn with_options(classes: &RecordBatch) -> Result<RecordBatch> {
    let schema = columns("pg_class", classes.schema_ref());
    let more = schema.fields().iter().skip(classes.num_columns());
    let more = more.map(|field| new_null_array(field.data_type(), classes.num_rows()));
    let columns = classes.columns().iter().cloned().chain(more).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
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
