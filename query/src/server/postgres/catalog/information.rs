//! `information_schema` in PostgreSQL's words: schemas, tables, columns and views of the lake. What relates tables to
//! each other is there without rows, for tools ask for it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow_pg::datatypes::into_pg_type;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::TableType;
use pgwire::api::Type;

use super::{CATALOG, Described, INFORMATION_SCHEMA, PG_CATALOG, SCHEMA, memory};
use crate::error::Result;

/// Tables without rows, with their columns.
const EMPTY: [(&str, &[&str]); 5] = [
    ("table_constraints", &["constraint_schema", "constraint_name", "table_schema", "table_name", "constraint_type"]),
    ("key_column_usage", &["constraint_schema", "constraint_name", "table_schema", "table_name", "column_name"]),
    ("constraint_column_usage", &["table_schema", "table_name", "column_name", "constraint_schema", "constraint_name"]),
    ("referential_constraints", &["constraint_schema", "constraint_name", "unique_constraint_name", "delete_rule"]),
    ("routines", &["specific_schema", "specific_name", "routine_schema", "routine_name", "routine_type", "data_type"]),
];

/// The schema for these tables of the lake.
pub(super) fn schema(tables: &[Described]) -> Result<Arc<dyn SchemaProvider>> {
    let schema = MemorySchemaProvider::new();
    for (name, rows) in [
        ("schemata", schemata()?),
        ("tables", table_rows(tables)?),
        ("columns", column_rows(tables)?),
        ("views", view_rows(tables)?),
    ] {
        schema.register_table(name.to_owned(), memory(rows)?)?;
    }
    for (name, columns) in EMPTY {
        let fields = columns.iter().map(|column| Field::new(*column, DataType::Utf8, true)).collect::<Vec<_>>();
        let nothing = columns.iter().map(|_| new_empty_array(&DataType::Utf8)).collect();
        schema
            .register_table(name.to_owned(), memory(RecordBatch::try_new(Arc::new(Schema::new(fields)), nothing)?)?)?;
    }
    Ok(Arc::new(schema))
}

fn texts<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(texts.into_iter().collect::<StringArray>())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn schemata() -> Result<RecordBatch> {
    let names = [SCHEMA, PG_CATALOG, INFORMATION_SCHEMA];
    batch(vec![
        ("catalog_name", texts(names.map(|_| Some(CATALOG)))),
        ("schema_name", texts(names.map(Some))),
        ("schema_owner", texts(names.map(|_| Some("postgres")))),
    ])
}

fn table_rows(tables: &[Described]) -> Result<RecordBatch> {
    let kind = |table: &Described| match table.kind {
        TableType::View => "VIEW",
        _ => "BASE TABLE",
    };
    batch(vec![
        ("table_catalog", texts(tables.iter().map(|_| Some(CATALOG)))),
        ("table_schema", texts(tables.iter().map(|_| Some(SCHEMA)))),
        ("table_name", texts(tables.iter().map(|table| Some(table.name.as_str())))),
        ("table_type", texts(tables.iter().map(|table| Some(kind(table))))),
        ("is_insertable_into", texts(tables.iter().map(|_| Some("NO")))),
    ])
}

fn view_rows(tables: &[Described]) -> Result<RecordBatch> {
    let views: Vec<&Described> = tables.iter().filter(|table| table.kind == TableType::View).collect();
    batch(vec![
        ("table_catalog", texts(views.iter().map(|_| Some(CATALOG)))),
        ("table_schema", texts(views.iter().map(|_| Some(SCHEMA)))),
        ("table_name", texts(views.iter().map(|view| Some(view.name.as_str())))),
        ("view_definition", texts(views.iter().map(|_| None))),
        ("is_updatable", texts(views.iter().map(|_| Some("NO")))),
    ])
}

fn column_rows(tables: &[Described]) -> Result<RecordBatch> {
    let columns =
        || tables.iter().flat_map(|table| (1..).zip(table.columns.fields()).map(move |column| (table, column)));
    let types: Vec<Type> =
        columns().map(|(_, (_, field))| into_pg_type(field.data_type()).unwrap_or(Type::TEXT)).collect();
    batch(vec![
        ("table_catalog", texts(columns().map(|_| Some(CATALOG)))),
        ("table_schema", texts(columns().map(|_| Some(SCHEMA)))),
        ("table_name", texts(columns().map(|(table, _)| Some(table.name.as_str())))),
        ("column_name", texts(columns().map(|(_, (_, field))| Some(field.name().as_str())))),
        ("ordinal_position", Arc::new(columns().map(|(_, (position, _))| Some(position)).collect::<Int32Array>())),
        ("column_default", texts(columns().map(|_| None))),
        ("is_nullable", texts(columns().map(|_| Some("YES")))),
        ("data_type", texts(types.iter().map(|kind| Some(written(kind))))),
        ("udt_schema", texts(columns().map(|_| Some(PG_CATALOG)))),
        ("udt_name", texts(types.iter().map(|kind| Some(kind.name())))),
        ("is_identity", texts(columns().map(|_| Some("NO")))),
        ("is_generated", texts(columns().map(|_| Some("NEVER")))),
        ("is_updatable", texts(columns().map(|_| Some("NO")))),
    ])
}

/// A type as the SQL standard writes it.
fn written(kind: &Type) -> &'static str {
    match *kind {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::NUMERIC => "numeric",
        Type::DATE => "date",
        Type::TIME => "time without time zone",
        Type::TIMESTAMP => "timestamp without time zone",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::INTERVAL => "interval",
        Type::BYTEA => "bytea",
        ref list if list.name().starts_with('_') => "ARRAY",
        _ => "text",
    }
}
