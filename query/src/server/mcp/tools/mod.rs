//! The tools: what each takes stands in `tools.json`, what each does in a file of its name.

mod bundle;
mod compare;
mod fix;
mod logs;
mod schema;
mod similar;
mod sql;
mod trace;
mod traces;
mod verify;

use std::sync::LazyLock;

use futures::FutureExt;
use rmcp::model::Tool;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::INTERFACE;
use super::answer::{Answer, Found, Place, Room};
use crate::access::{Caller, Scope, Visit};
use crate::error::{QueryError, Result as QueryResult};
use crate::json::rows;
use crate::page::page;
use crate::server::app::{App, noted};
use crate::server::cursor::Cursor;
use crate::server::problem::Problem;
use crate::session::{Parameters, Session};

/// Rows that are read for one page: more than any budget has room for.
const MOST_ROWS: usize = 500;

/// The definitions, as clients get them.
static DEFINITIONS: LazyLock<Vec<Tool>> = LazyLock::new(|| match serde_json::from_str(include_str!("../tools.json")) {
    Ok(tools) => tools,
    Err(error) => {
        tracing::error!(%error, "the definitions of the tools cannot be read");
        vec![]
    }
});

/// Every tool, always in the same order.
pub(super) fn definitions() -> &'static [Tool] {
    &DEFINITIONS
}

/// A call of a tool by a caller.
pub(super) struct Call<'a> {
    app: &'a App,
    caller: &'a Caller,
    visit: &'a mut Visit,
    room: Room,
}

impl Call<'_> {
    /// Does work on the head that a page is of, else on the newest.
    async fn ask<T, W>(
        &mut self,
        scope: Scope,
        cursor: Option<Cursor>,
        work: impl FnOnce(Session) -> W + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        W: Future<Output = QueryResult<T>> + Send + 'static,
    {
        self.app.ask_at(cursor.map(|cursor| cursor.position), self.caller, scope, self.visit, work).await
    }

    /// The rows of a query of ours that says an order, from a place on.
    async fn rows(
        &mut self,
        section: &'static str,
        query: String,
        parameters: Option<Parameters>,
        place: Place,
    ) -> Result<Answer, Problem> {
        let work = move |session: Session| async move {
            let read = page(&session, &query, parameters, place.offset(), MOST_ROWS).await?;
            let mut entries = Vec::new();
            for batch in &read.batches {
                entries.extend(rows(batch)?.into_iter().map(|row| (section, Value::Object(row))));
            }
            let position = session.snapshot().head().position;
            Ok(Found { head: Map::new(), entries, has_more: read.has_more, last_because: None, position })
        };
        let found = self.ask(Scope::Read, place.cursor, work).await?;
        cut(found, place).await
    }
}

/// As much of what was found as there is room for. To count tokens takes milliseconds, so it is done aside.
async fn cut(found: Found, place: Place) -> Result<Answer, Problem> {
    let cut = tokio::task::spawn_blocking(move || super::answer::page(found, place)).await;
    cut.map_err(|error| {
        tracing::error!(%error, "an answer failed in a way that it should not");
        Problem::from(QueryError::Stopped)
    })
}

/// What a tool takes, of its arguments.
fn parsed<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        Problem::wrong_request(format!("the arguments are not those of the tool's inputSchema: {error}"))
    })
}

/// Calls a tool, as one visit. `None` if there is none of this name.
pub(super) async fn call(
    name: &str,
    app: &App,
    caller: &Caller,
    mut arguments: Map<String, Value>,
) -> Option<Result<Value, Problem>> {
    let name = known(name)?;
    let mut visit = app.gate().visit(caller, INTERFACE, name, &Value::Object(arguments.clone()).to_string());
    let done = async {
        let room = Room::take(name, &mut arguments)?;
        let mut call = Call { app, caller, visit: &mut visit, room };
        match name {
            "find_similar_incidents" => similar::find(&mut call, arguments).boxed().await,
            "get_evidence_bundle" => bundle::get(&mut call, arguments).boxed().await,
            "compare_to_baseline" => compare::baseline(&mut call, arguments).boxed().await,
            "search_traces" => traces::search(&mut call, arguments).boxed().await,
            "get_trace" => trace::get(&mut call, arguments).boxed().await,
            "get_logs" => logs::get(&mut call, arguments).boxed().await,
            "run_sql" => sql::run(&mut call, arguments).boxed().await,
            "describe_schema" => schema::describe(&mut call, arguments).boxed().await,
            "record_fix" => fix::record(&mut call, arguments).boxed().await,
            "verify_citations" => verify::citations(&mut call, arguments).boxed().await,
            other => Err(Problem::wrong_request(format!("the tool {other} is defined and not made; use another"))),
        }
    };
    let done = done.await;
    Some(noted(&mut visit, done).map(|answer| {
        visit.gave(answer.rows, answer.document.to_string().len());
        visit.end("ok");
        answer.document
    }))
}

/// The name of a tool that there is, as `audit` has it.
fn known(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 10] = [
        "find_similar_incidents",
        "get_evidence_bundle",
        "compare_to_baseline",
        "search_traces",
        "get_trace",
        "get_logs",
        "run_sql",
        "describe_schema",
        "record_fix",
        "verify_citations",
    ];
    NAMES.into_iter().find(|known| *known == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tokens;

    /// Ten tools at most, each with what agents go by, each of which can be called; all definitions together have at
    /// most 4,000 tokens, for they stand in every conversation.
    #[test]
    fn definitions_are_complete_and_short() {
        let tools = definitions();
        assert_eq!(tools.len(), 10);
        for tool in tools {
            assert!(known(&tool.name).is_some(), "{}", tool.name);
            assert!(tool.description.is_some() && tool.output_schema.is_some(), "{}", tool.name);
            let annotations = tool.annotations.as_ref().unwrap();
            let is_reader = tool.name != "record_fix";
            assert_eq!((annotations.read_only_hint, annotations.destructive_hint), (Some(is_reader), Some(false)));
            assert_eq!(annotations.open_world_hint, Some(false));
            for property in ["max_tokens", "cursor"] {
                let takes = tool.input_schema["properties"].get(property).is_some();
                assert_eq!(takes, is_reader, "{} {property}", tool.name);
            }
        }
        let count = tokens::count(&serde_json::to_string(tools).unwrap());
        assert!(count <= 4_000, "{count} tokens");
    }
}
