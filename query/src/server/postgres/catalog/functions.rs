//! Functions: those that tools call, and ours in `pg_proc`, where `\df` and completion find them.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::ScalarUDF;
use datafusion_pg_catalog::pg_catalog as pg;
use datafusion_pg_catalog::pg_catalog::has_privilege_udf::create_has_privilege_udf;

use super::super::constants::{self, Listed};
use super::CATALOG;
use crate::error::Result;
use crate::functions::table_functions;

/// The first number of ours; PostgreSQL gives those below 16384 to its own, and tables take the first above it.
const FIRST: i64 = 90_000;
/// The number of the schema of our tables: it is the first that is given.
const OUR_SCHEMA: &str = "16384";
/// Scalars of ours, as name, arguments and result.
const SCALARS: [(&str, &str, &str); 9] = [
    ("attr", "map, key text", "text"),
    ("hex", "bytea", "text"),
    ("unhex", "text", "bytea"),
    ("json_get", "json text, step, ...", "text"),
    ("json_text", "value", "text"),
    ("json_get_str", "json text, step, ...", "text"),
    ("json_get_int", "json text, step, ...", "bigint"),
    ("json_get_float", "json text, step, ...", "double precision"),
    ("json_get_bool", "json text, step, ...", "boolean"),
];

/// Functions of ours, numbered.
pub(super) fn listed() -> Vec<Listed> {
    let tables = table_functions().map(|(name, arguments)| (name, arguments, "setof record", true));
    let scalars = SCALARS.into_iter().map(|(name, arguments, result)| (name, arguments, result, false));
    let numbered = (FIRST..).zip(tables.chain(scalars));
    numbered
        .map(|(oid, (name, arguments, result, is_table))| Listed { oid, name, arguments, result, is_table })
        .collect()
}

/// Functions of PostgreSQL that are answered.
pub(super) fn all(listed: &Arc<[Listed]>) -> Vec<ScalarUDF> {
    let mut functions = vec![
        pg::create_current_database_udf(CATALOG),
        pg::create_current_schema_udf(),
        pg::create_current_schemas_udf(),
        pg::create_pg_get_userbyid_udf(),
        pg::format_type::create_format_type_udf(),
        pg::create_session_user_udf(),
        pg::pg_get_expr_udf::create_pg_get_expr_udf(),
        pg::create_pg_get_partkeydef_udf(),
        pg::create_pg_relation_is_publishable_udf(),
        pg::create_pg_get_statisticsobjdef_columns_udf(),
        pg::create_pg_encoding_to_char_udf(),
        pg::create_pg_backend_pid_udf(),
        pg::create_pg_relation_size_udf(),
        pg::create_pg_total_relation_size_udf(),
        pg::create_pg_stat_get_numscans(),
        pg::create_pg_get_constraintdef(),
        pg::create_pg_get_partition_ancestors_udf(),
        pg::quote_ident_udf::create_quote_ident_udf(),
        pg::quote_ident_udf::create_parse_ident_udf(),
        pg::array_bounds_udf::create_array_upper_udf(),
        pg::array_bounds_udf::create_array_lower_udf(),
    ];
    let privileges =
        ["has_table_privilege", "has_schema_privilege", "has_database_privilege", "has_any_column_privilege"];
    functions.extend(privileges.map(create_has_privilege_udf));
    functions.extend(constants::all(listed));
    functions
}

/// `pg_proc` with ours after those of PostgreSQL.
pub(super) fn with_ours(known: &pg::ArrowTable, listed: &[Listed]) -> Result<RecordBatch> {
    let fields =
        known.schema().fields().iter().map(|field| Field::clone(field).with_nullable(true)).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let columns = schema.fields().iter().map(|field| column(field, listed)).collect::<Result<Vec<_>>>()?;
    let ours = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let theirs = known.data().iter().map(|batch| batch.clone().with_schema(Arc::clone(&schema)));
    let mut batches = theirs.collect::<std::result::Result<Vec<_>, _>>()?;
    batches.push(ours);
    Ok(concat_batches(&schema, &batches)?)
}

/// A column of `pg_proc` for ours: what is told of a function, else what is usual of the type.
fn column(field: &Field, listed: &[Listed]) -> Result<ArrayRef> {
    let kind = field.data_type();
    let usual = match kind {
        DataType::Boolean => Some("false"),
        kind if kind.is_numeric() => Some("0"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(""),
        _ => None,
    };
    let Some(usual) = usual else { return Ok(new_null_array(kind, listed.len())) };
    let told = listed.iter().map(|function| {
        Some(match field.name().as_str() {
            "oid" => function.oid.to_string(),
            "proname" => function.name.to_owned(),
            "pronamespace" => OUR_SCHEMA.to_owned(),
            "prokind" => "f".to_owned(),
            "proretset" => function.is_table.to_string(),
            "provolatile" => "s".to_owned(),
            "proparallel" => "s".to_owned(),
            _ => usual.to_owned(),
        })
    });
    let told: ArrayRef = Arc::new(told.collect::<StringArray>());
    Ok(cast(&told, kind)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Every scalar of this crate is listed, and no other. Guarantees that a new one is found by `\df`.
    #[test]
    fn every_function_is_listed() {
        let mut there: Vec<String> =
            crate::functions::scalars::all().iter().map(|scalar| scalar.name().to_owned()).collect();
        there.extend(table_functions().map(|(name, _)| name.to_owned()));
        let mut told: Vec<String> = listed().iter().map(|function| function.name.to_owned()).collect();
        there.sort();
        told.sort();
        assert_eq!(there, told);
    }
}
