//! Cursors: `DECLARE`, `FETCH`, `CLOSE`, with which drivers read large answers part by part. A cursor reads forward
//! only; it ends with its transaction, and with the time of its query. Its first `FETCH` says in which formats its rows
//! are made.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{CloseCursor, Declare, FetchDirection, Statement};
use futures::StreamExt;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use tokio::sync::Mutex;

use super::answer::fields;
use super::connection::{Cancelled, Connection};
use super::query::{Asked, Started};
use super::{Service, failure};
use crate::bundle::now;
use crate::session::Parameters;

/// Cursors of a connection at once.
const MOST: usize = 16;

/// A query whose rows are fetched part by part.
pub(super) struct Cursor {
    /// As clients are told of it.
    schema: SchemaRef,
    statement: Arc<str>,
    /// In ns.
    declared_at: i64,
    rows: Mutex<Rows>,
}

/// How far a cursor was read.
enum Rows {
    /// Nothing was fetched yet; `None`: its rows could not be made.
    Declared(Option<Box<Started>>),
    /// In the formats of the first fetch.
    Fetched(QueryResponse),
}

impl Cursor {
    fn of(started: Started, statement: Arc<str>) -> Self {
        let schema = Arc::clone(&started.begun.schema);
        let rows = Mutex::new(Rows::Declared(Some(Box::new(started))));
        Self { schema, statement, declared_at: now(), rows }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The query, as it was sent.
    pub(super) fn statement(&self) -> &str {
        &self.statement
    }

    /// When it was declared, in ns.
    pub(super) fn declared_at(&self) -> i64 {
        self.declared_at
    }

    /// Begins to make rows in these formats, or goes on. Gives their columns.
    async fn open(&self, service: &Service, format: &Format) -> PgWireResult<Arc<Vec<FieldInfo>>> {
        let fields = fields(&self.schema, format)?;
        let mut rows = self.rows.lock().await;
        match &mut *rows {
            Rows::Declared(started) => {
                let gone = || failure::of("55000", "the rows of the cursor could not be made; declare it again");
                *rows = Rows::Fetched(service.answer(*started.take().ok_or_else(gone)?, format)?);
            }
            Rows::Fetched(made) => {
                let made = made.row_schema();
                if made.iter().zip(fields.iter()).any(|(made, wanted)| made.format() != wanted.format()) {
                    let message = "a cursor gives all its rows in the formats of its first fetch; declare another one";
                    return Err(failure::of("0A000", message));
                }
            }
        }
        Ok(fields)
    }

    /// The next row of one that is open.
    async fn next(&self) -> Option<PgWireResult<DataRow>> {
        match &mut *self.rows.lock().await {
            Rows::Declared(_) => None,
            Rows::Fetched(rows) => rows.data_rows().next().await,
        }
    }

    /// The next rows, at most so many if bounded, until they are cancelled.
    fn fetch(self: Arc<Self>, fields: Arc<Vec<FieldInfo>>, most: Option<usize>, cancelled: Cancelled) -> QueryResponse {
        let left = most.unwrap_or(usize::MAX);
        let rows = futures::stream::unfold((self, cancelled, left), |(cursor, mut cancelled, left)| async move {
            let left = left.checked_sub(1)?;
            let row = tokio::select! {
                biased;
                () = cancelled.wait() => Some(Err(PgWireError::QueryCanceled)),
                row = cursor.next() => row,
            }?;
            Some((row, (cursor, cancelled, left)))
        });
        let mut response = QueryResponse::new(fields, rows);
        response.set_command_tag("FETCH");
        response
    }
}

impl Service {
    /// Does what a statement about cursors asks for; a fetch gives its rows in these formats.
    pub(super) async fn cursor(
        &self,
        connection: &Connection,
        asked: &Asked,
        parameters: Option<Parameters>,
        format: &Format,
    ) -> PgWireResult<Response> {
        match &*asked.statement {
            Statement::Declare { stmts } => {
                let (name, query) = declared(stmts)?;
                let query = Asked { statement: Arc::new(query), ..asked.clone() };
                if connection.cursors().len() >= MOST {
                    return Err(failure::of("53400", format!("a connection has {MOST} cursors at most; close one")));
                }
                let started = self.start(connection, &query, parameters).await?;
                let cursor = Cursor::of(started, Arc::clone(&asked.text));
                connection.cursors().insert(name, Arc::new(cursor));
                Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
            }
            Statement::Fetch { name, direction, .. } => {
                let known = connection.cursors().get(&name.value).cloned();
                let cursor = known.ok_or_else(|| unknown(&name.value))?;
                // A request to cancel means this statement, and no more the one that declared the cursor.
                let (most, cancelled) = (most(direction)?, connection.begin().await);
                let fields = cursor.open(self, format).await?;
                Ok(Response::Query(cursor.fetch(fields, most, cancelled)))
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
    if declaration.binary == Some(true) {
        let message = "declare the cursor without binary, and ask for binary rows when you fetch them";
        return Err(failure::of("0A000", message));
    }
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
