//! Cursors: `DECLARE`, `FETCH`, `CLOSE`, with which drivers read large answers part by part. A cursor reads forward
//! only and always gives text; it ends with its transaction, and with the time of its query.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{CloseCursor, Declare, FetchDirection, Statement};
use futures::StreamExt;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use pgwire::error::{PgWireError, PgWireResult};
use tokio::sync::Mutex;

use super::connection::{Cancelled, Connection};
use super::query::Asked;
use super::{Service, failure};
use crate::session::Parameters;

/// Cursors of a connection at once.
const MOST: usize = 16;

/// A query whose rows are fetched part by part.
pub(super) struct Cursor {
    fields: Arc<Vec<FieldInfo>>,
    rows: Mutex<QueryResponse>,
}

impl Cursor {
    pub(super) fn fields(&self) -> &[FieldInfo] {
        &self.fields
    }

    /// The next rows, at most so many if bounded, until they are cancelled.
    fn fetch(self: Arc<Self>, most: Option<usize>, cancelled: Cancelled) -> QueryResponse {
        let fields = Arc::clone(&self.fields);
        let left = most.unwrap_or(usize::MAX);
        let rows = futures::stream::unfold((self, cancelled, left), |(cursor, mut cancelled, left)| async move {
            let left = left.checked_sub(1)?;
            let row = {
                let mut rows = cursor.rows.lock().await;
                tokio::select! {
                    biased;
                    () = cancelled.wait() => Some(Err(PgWireError::QueryCanceled)),
                    row = rows.data_rows().next() => row,
                }
            }?;
            Some((row, (cursor, cancelled, left)))
        });
        let mut response = QueryResponse::new(fields, rows);
        response.set_command_tag("FETCH");
        response
    }
}

impl Service {
    /// Does what a statement about cursors asks for.
    pub(super) async fn cursor(
        &self,
        connection: &Connection,
        asked: &Asked,
        parameters: Option<Parameters>,
    ) -> PgWireResult<Response> {
        match &*asked.statement {
            Statement::Declare { stmts } => {
                let (name, query) = declared(stmts)?;
                let query = Asked { statement: Arc::new(query), ..asked.clone() };
                if connection.cursors().len() >= MOST {
                    return Err(failure::of("53400", format!("a connection has {MOST} cursors at most; close one")));
                }
                let rows = self.query(connection, &query, parameters, &Format::UnifiedText).await?;
                let cursor = Cursor { fields: rows.row_schema(), rows: Mutex::new(rows) };
                connection.cursors().insert(name, Arc::new(cursor));
                Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
            }
            Statement::Fetch { name, direction, .. } => {
                let known = connection.cursors().get(&name.value).cloned();
                let cursor = known.ok_or_else(|| unknown(&name.value))?;
                // A request to cancel means this statement, and no more the one that declared the cursor.
                Ok(Response::Query(cursor.fetch(most(direction)?, connection.begin().await)))
            }
            Statement::Close { cursor: CloseCursor::Specific { name } } => {
                connection.cursors().remove(&name.value).ok_or_else(|| unknown(&name.value))?;
                Ok(Response::Execution(Tag::new("CLOSE CURSOR")))
            }
            _ => {
                connection.cursors().clear();
                Ok(Response::Execution(Tag::new("CLOSE CURSOR ALL")))
            }
        }
    }
}

pub(super) fn unknown(name: &str) -> PgWireError {
    failure::of("34000", format!("there is no cursor {name:?}; declare it within this transaction"))
}

/// The name of a cursor and its query.
pub(super) fn declared(declarations: &[Declare]) -> PgWireResult<(String, Statement)> {
    let [declaration] = declarations else { return Err(failure::of("42601", "declare one cursor at a time")) };
    match (declaration.names.as_slice(), &declaration.for_query) {
        ([name], Some(query)) => Ok((name.value.clone(), Statement::Query(query.clone()))),
        _ => Err(failure::of("42601", "write declare NAME cursor for QUERY")),
    }
}

/// How many rows a `FETCH` wants; `None`: all that are left.
fn most(direction: &FetchDirection) -> PgWireResult<Option<usize>> {
    let forward_only = || failure::of("55000", "a cursor reads forward only; write fetch forward N");
    match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Ok(Some(1)),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => {
            limit.to_string().parse().map(Some).map_err(|_| forward_only())
        }
        FetchDirection::All | FetchDirection::ForwardAll => Ok(None),
        _ => Err(forward_only()),
    }
}
