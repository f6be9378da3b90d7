//! `run_sql`.

use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, cut, parsed};
use crate::access::Scope;
use crate::error::Result as QueryResult;
use crate::json::value;
use crate::page::{Page, has_order, page};
use crate::server::http::bound;
use crate::server::mcp::answer::{Answer, Found};
use crate::server::problem::Problem;
use crate::session::{Parameters, Session};

/// Rows that are read for one page: more than any budget has room for.
const MOST_ROWS: usize = 5_000;
/// Why rows that are left out have no cursor.
const NO_ORDER: &str = "the query has no order by; add one to page, or aggregate";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    query: String,
    #[serde(default)]
    params: Value,
}

/// The rows of one statement: a list a row, in the order of the columns.
pub(super) async fn run(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let Arguments { query, params } = parsed(arguments)?;
    let parameters = bound(&params)?;
    let place = call.room.place("")?;
    let work = move |session: Session| async move {
        let position = session.snapshot().head().position;
        let is_ordered = has_order(&session, &query).await?;
        let read = match is_ordered {
            true => page(&session, &query, parameters, place.offset(), MOST_ROWS).await?,
            false => first(&session, &query, parameters).await?,
        };
        let columns: Vec<&String> = read.schema.fields().iter().map(|field| field.name()).collect();
        let head = Map::from_iter([("columns".to_owned(), json!(columns))]);
        let mut entries = Vec::new();
        for batch in &read.batches {
            for row in 0..batch.num_rows() {
                let values =
                    batch.columns().iter().map(|column| value(column, row)).collect::<QueryResult<Vec<_>>>()?;
                entries.push(("rows", Value::Array(values)));
            }
        }
        let last_because = (!is_ordered).then_some(NO_ORDER);
        Ok(Found { head, entries, has_more: read.has_more, last_because, position })
    };
    let found = call.ask(Scope::Sql, place.cursor, work).await?;
    cut(found, place).await
}

/// The first rows of a statement without an order; the others are not computed.
async fn first(session: &Session, query: &str, parameters: Option<Parameters>) -> QueryResult<Page> {
    let mut stream = session.sql(query, parameters).await?;
    let schema = stream.schema();
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut room = MOST_ROWS;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let taken = batch.num_rows().min(room);
        room -= taken;
        batches.push(batch.slice(0, taken));
        if taken < batch.num_rows() {
            return Ok(Page { schema, batches, has_more: true });
        }
    }
    Ok(Page { schema, batches, has_more: false })
}
