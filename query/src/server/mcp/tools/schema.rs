//! `describe_schema`.

use datafusion::common::{ParamValues, ScalarValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, cut, parsed};
use crate::access::Scope;
use crate::json::rows;
use crate::server::mcp::answer::{Answer, Found};
use crate::server::problem::Problem;

/// Columns of every table, or of the one that is named.
const COLUMNS: &str = "select table_name, column_name, data_type from information_schema.columns \
                       where table_schema = 'public' and ($1 = '' or table_name = $1) \
                       order by table_name, ordinal_position";
/// Functions of the lake, besides those of SQL.
const FUNCTIONS: [&str; 9] = [
    "similar_incidents(text_or_trace_id, k [, options as JSON]) is a table",
    "evidence_bundle(trace_id) is a table of one row",
    "trace_tree(trace_id) is a table: spans in tree order",
    "log_templates([options as JSON]) is a table: log statements with their counts",
    "compare_to_baseline(trace_id_or_fingerprint [, options as JSON]) is a table",
    "attr(map, key); maps also as attributes['http.route']",
    "date_bin(interval, time)",
    "approx_percentile_cont(number, share)",
    "array_has(list, value)",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    table: Option<String>,
}

/// The tables with the names of their columns; of one table the columns with their types.
pub(super) async fn describe(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let Arguments { table } = parsed(arguments)?;
    let place = call.room.place("")?;
    let wanted = table.clone().unwrap_or_default();
    let work = move |session: crate::Session| async move {
        let wanted = ParamValues::from(vec![ScalarValue::from(wanted.as_str())]);
        let mut columns = Vec::new();
        for batch in session.collect(COLUMNS, Some(wanted)).await? {
            columns.extend(rows(&batch)?);
        }
        Ok((columns, session.snapshot().head().position))
    };
    let (columns, position) = call.ask(Scope::Sql, place.cursor, work).await?;
    let mut head = Map::new();
    let mut entries: Entries = match table {
        Some(table) if columns.is_empty() => {
            return Err(Problem::wrong_request(format!(
                "there is no table {table:?}; call describe_schema without a table for those that there are"
            )));
        }
        Some(table) => {
            head.insert("table".to_owned(), json!(table));
            columns.into_iter().map(column).collect()
        }
        None => {
            head.insert("functions".to_owned(), json!(FUNCTIONS));
            tables(&columns)
        }
    };
    entries.drain(..place.offset().min(entries.len()));
    cut(Found { head, entries, has_more: false, last_because: None, position }, place).await
}

type Entries = Vec<(&'static str, Value)>;

fn column(mut column: Map<String, Value>) -> (&'static str, Value) {
    column.shift_remove("table_name");
    ("columns", Value::Object(column))
}

/// A table an entry, with the names of its columns.
fn tables(columns: &[Map<String, Value>]) -> Entries {
    let text = |column: &'_ Map<String, Value>, name: &str| {
        column.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for column in columns {
        let (table, name) = (text(column, "table_name"), text(column, "column_name"));
        match tables.last_mut() {
            Some((last, names)) if *last == table => names.push(name),
            _ => tables.push((table, vec![name])),
        }
    }
    tables.into_iter().map(|(table, names)| ("tables", json!({"table": table, "columns": names.join(", ")}))).collect()
}
