//! Statements: what settings, transactions and cursors are asked for, and the queries among them, each a visit with a
//! turn and a session on the newest head.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{DiscardObject, Ident, Reset, Statement};
use futures::{Sink, SinkExt};
use pgwire::api::portal::Format;
use pgwire::api::query::{SimpleQueryHandler, send_execution_response, send_query_response, send_ready_for_query};
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::ParameterStatus;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::answer::Begun;
use super::catalog::cursors;
use super::connection::{Cancelled, Connection};
use super::prepare::forget;
use super::settings::{Settings, Unset, assignments, is_local, no_time, too_long};
use super::{INTERFACE, Service, failure, shown, statement};
use crate::access::{Caller, Scope, Turn, Visit};
use crate::error::{QueryError, Result};
use crate::server::problem::Problem;
use crate::session::{Parameters, Session};

/// Characters of a name, as in PostgreSQL.
const LONGEST_NAME: usize = 63;

/// A statement, with its text: both are deep where the statement is, so they are made on the threads for queries.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) statement: Arc<Statement>,
    pub(super) text: Arc<str>,
    /// The number of the last parameter in the text of the client.
    pub(super) parameters: usize,
}

/// A query that has its turn.
pub(super) struct Admitted {
    /// Holds the turn, too.
    pub(super) session: Session,
    pub(super) turn: Arc<Turn>,
    /// When its time has passed.
    pub(super) deadline: Instant,
    /// The time that it has, as errors tell it.
    pub(super) seconds: u64,
}

/// A query that has begun, with what ends it and who writes it down.
pub(super) struct Started {
    pub(super) begun: Begun,
    pub(super) visit: Visit,
    pub(super) cancelled: Cancelled,
}

#[async_trait]
impl SimpleQueryHandler for Service {
    /// One statement after the other: the next begins when the answer of the one before was sent.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let connection = Connection::of(client)?;
        let asked = self.parse(&connection, &query.query).await?;
        if asked.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for asked in &asked {
            let response = self.respond(client, asked, None, &Format::UnifiedText).await?;
            send(client, response).await?;
        }
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    /// All of them at once, which [`SimpleQueryHandler::on_query`] does without.
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let connection = Connection::of(client)?;
        let mut responses = Vec::new();
        for asked in self.parse(&connection, query).await? {
            responses.push(self.respond(client, &asked, None, &Format::UnifiedText).await?);
        }
        Ok(responses)
    }
}

/// Sends a response, and remembers what it says of the transaction.
pub(super) async fn send<C>(client: &mut C, response: Response) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    match response {
        Response::Query(rows) => send_query_response(client, rows, true).await,
        Response::Execution(tag) => send_execution_response(client, tag).await,
        Response::TransactionStart(tag) => {
            client.set_transaction_status(TransactionStatus::Transaction);
            send_execution_response(client, tag).await
        }
        Response::TransactionEnd(tag) => {
            client.set_transaction_status(TransactionStatus::Idle);
            send_execution_response(client, tag).await
        }
        // Nothing here copies.
        _ => Ok(client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?),
    }
}

impl Service {
    /// The statements of a text. One that cannot be read is written down, too.
    pub(super) async fn parse(&self, connection: &Connection, text: &str) -> PgWireResult<Vec<Asked>> {
        let app = &self.inner.app;
        let (inner, owned) = (Arc::clone(&self.inner), text.to_owned());
        let parsed = app.engine().run(async move {
            let statements = statement::parse(&owned, &inner.parser)?;
            let parameters = statement::last_parameter(&owned);
            let asked = statements.into_iter().map(|statement| {
                let text = statement.to_string().into();
                Asked { statement: Arc::new(statement), text, parameters }
            });
            Ok(asked.collect::<Vec<_>>())
        });
        match parsed.await {
            Ok(asked) => Ok(asked),
            Err(error) => Err(self.refused(connection, text, &Problem::from(error))?),
        }
    }

    /// Writes down a statement that could not be planned; the error for the client.
    pub(super) fn refused(&self, connection: &Connection, text: &str, problem: &Problem) -> PgWireResult<PgWireError> {
        let gate = self.inner.app.gate();
        let caller = connection.caller(gate).map_err(failure::fatal)?;
        gate.visit(&caller, INTERFACE, "sql", text).end(problem.code());
        Ok(failure::error(problem))
    }

    /// Does what a statement asks for.
    pub(super) async fn respond<C>(
        &self,
        client: &mut C,
        asked: &Asked,
        parameters: Option<Parameters>,
        format: &Format,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let connection = Connection::of(client)?;
        let has_failed = client.transaction_status() == TransactionStatus::Error;
        if has_failed && !matches!(&*asked.statement, Statement::Commit { .. } | Statement::Rollback { .. }) {
            let message = "the transaction has failed, so nothing is done until it ends; send rollback";
            return Err(failure::of("25P02", message));
        }
        match &*asked.statement {
            Statement::StartTransaction { .. } => {
                connection.settings().begin_transaction();
                Ok(Response::TransactionStart(Tag::new("BEGIN")))
            }
            Statement::Commit { .. } | Statement::Rollback { savepoint: None, .. } => {
                connection.cursors().clear();
                client.portal_store().clear_portals();
                connection.unbind_all();
                let is_commit = matches!(&*asked.statement, Statement::Commit { .. }) && !has_failed;
                change(client, &connection, |settings| {
                    settings.end_transaction(is_commit);
                    Ok(())
                })
                .await?;
                Ok(Response::TransactionEnd(Tag::new(if is_commit { "COMMIT" } else { "ROLLBACK" })))
            }
            // Nothing was written, so there is nothing to go back to but settings, and a transaction that has not failed.
            Statement::Rollback { savepoint: Some(name), .. } => {
                change(client, &connection, |settings| settings.back_to(&folded(name))).await?;
                Ok(Response::TransactionStart(Tag::new("ROLLBACK")))
            }
            Statement::Savepoint { name } => {
                connection.settings().savepoint(&folded(name)).map_err(not_set)?;
                Ok(Response::Execution(Tag::new("SAVEPOINT")))
            }
            Statement::ReleaseSavepoint { name } => {
                connection.settings().release(&folded(name)).map_err(not_set)?;
                Ok(Response::Execution(Tag::new("RELEASE")))
            }
            Statement::Discard { object_type } => {
                if *object_type == DiscardObject::ALL {
                    connection.cursors().clear();
                    forget_all(client, &connection);
                    change(client, &connection, reset_all).await?;
                }
                Ok(Response::Execution(Tag::new(&asked.text)))
            }
            Statement::UNLISTEN { .. } => Ok(Response::Execution(Tag::new("UNLISTEN"))),
            Statement::Deallocate { name, .. } if is_all(name) => {
                forget_all(client, &connection);
                Ok(Response::Execution(Tag::new("DEALLOCATE ALL")))
            }
            Statement::Deallocate { name, .. } => {
                forget(client, &name.value);
                connection.forget(&name.value);
                Ok(Response::Execution(Tag::new("DEALLOCATE")))
            }
            Statement::Set(set) => {
                change(client, &connection, |settings| {
                    let mut assignments = assignments(set).unwrap_or_default().into_iter();
                    assignments.try_for_each(|(name, value)| match is_local(set) {
                        true => settings.set_local(&name, value.as_deref()),
                        false => settings.set(&name, value.as_deref()),
                    })
                })
                .await?;
                Ok(Response::Execution(Tag::new("SET")))
            }
            Statement::Reset(reset) => {
                match &reset.reset {
                    Reset::ALL => change(client, &connection, reset_all).await?,
                    Reset::ConfigurationParameter(name) => {
                        change(client, &connection, |settings| settings.set(&name.to_string(), None)).await?;
                    }
                }
                Ok(Response::Execution(Tag::new("RESET")))
            }
            Statement::ShowVariable { .. } => show(&connection, &asked.statement).map(Response::Query),
            Statement::Declare { .. } | Statement::Fetch { .. } | Statement::Close { .. } => {
                self.cursor(&connection, asked, parameters, format).await
            }
            _ => {
                let started = self.start(&connection, asked, parameters).await?;
                Ok(Response::Query(self.answer(started, format)?))
            }
        }
    }

    /// Begins a query, so that its rows can be made.
    pub(super) async fn start(
        &self,
        connection: &Connection,
        asked: &Asked,
        parameters: Option<Parameters>,
    ) -> PgWireResult<Started> {
        let gate = self.inner.app.gate();
        let caller = connection.caller(gate).map_err(failure::fatal)?;
        let mut visit = gate.visit(&caller, INTERFACE, "sql", &asked.text);
        let mut cancelled = connection.begin().await;
        let begun = tokio::select! {
            biased;
            () = cancelled.wait() => {
                visit.end("cancelled");
                return Err(PgWireError::QueryCanceled);
            }
            begun = self.begin(&caller, connection, asked, parameters) => begun,
        };
        match begun {
            Ok(begun) => Ok(Started { begun, visit, cancelled }),
            Err(problem) => {
                visit.end(problem.code());
                Err(failure::error(&problem))
            }
        }
    }

    async fn begin(
        &self,
        caller: &Caller,
        connection: &Connection,
        asked: &Asked,
        parameters: Option<Parameters>,
    ) -> Result<Begun, Problem> {
        let Admitted { session, turn, deadline, seconds } = self.admit(caller, connection).await?;
        let statement = Arc::clone(&asked.statement);
        let work = async move {
            let plan = session.plan_parsed(Parsed::Statement(Box::new((*statement).clone()))).await?;
            let parameters = parameters.map(|values| needed(&plan, values)).transpose()?;
            let schema = described(&plan, parameters.as_ref())?;
            Ok::<_, QueryError>((schema, session.execute(plan, parameters).await?))
        };
        let work =
            async move { timeout_at(deadline, work).await.unwrap_or_else(|_| Err(QueryError::TimeLimit { seconds })) };
        let (schema, batches) = self.inner.app.engine().run(work).await?;
        Ok(Begun { batches, schema, _turn: turn, deadline, seconds })
    }

    /// A turn and a session for a query of a caller, and the time that it has: as the server bounds it from its turn on,
    /// or as the client bounds it from now on (`statement_timeout`).
    pub(super) async fn admit(&self, caller: &Caller, connection: &Connection) -> Result<Admitted, Problem> {
        caller.require(Scope::Sql)?;
        let gate = self.inner.app.gate();
        let most = gate.limits().time;
        let asked = connection.settings().statement_timeout();
        let seconds = asked.map_or(most, |asked| asked.min(most)).as_secs().max(1);
        let late = |_: Elapsed| Problem::from(QueryError::TimeLimit { seconds });
        // What is too far away to be told is no bound.
        let until = asked.and_then(|asked| Instant::now().checked_add(asked));
        let turn = match until {
            Some(until) => timeout_at(until, gate.turn(caller)).await.map_err(late)??,
            None => gate.turn(caller).await?,
        };
        let deadline = Instant::now() + most;
        let deadline = until.map_or(deadline, |until| until.min(deadline));
        let session =
            timeout_at(deadline, self.session(caller, connection)).await.map_err(late)??.holding(Arc::clone(&turn));
        Ok(Admitted { session, turn, deadline, seconds })
    }

    /// A session of a caller on the newest head, with the catalog that tools of PostgreSQL read.
    async fn session(&self, caller: &Caller, connection: &Connection) -> Result<Session> {
        let app = &self.inner.app;
        let session = app.sessions().open(caller).await?;
        let catalog = self.inner.catalogs.of(caller, &session, app.engine()).await?;
        catalog.given_to(session, cursors::table(&connection.cursors())?, &connection.settings())
    }
}

/// The columns of a plan's answer, as clients are told of them.
pub(super) fn described(plan: &LogicalPlan, parameters: Option<&Parameters>) -> Result<SchemaRef> {
    let bound = match parameters {
        Some(parameters) => &plan.clone().with_param_values(parameters.clone())?,
        None => plan,
    };
    Ok(shown::schema(bound.schema().as_arrow()))
}

/// The values of those parameters that a plan has. The others stood in what was given up of the statement: that there are as
/// many values as the client has written parameters was looked at when they came.
fn needed(plan: &LogicalPlan, values: Parameters) -> Result<Parameters> {
    let ParamValues::List(values) = values else { return Ok(values) };
    let names = plan.get_parameter_names()?;
    let numbered = (1..).zip(values).map(|(number, value): (usize, _)| (number.to_string(), value));
    Ok(ParamValues::Map(numbered.filter(|(number, _)| names.contains(&format!("${number}"))).collect()))
}

/// Whether it is the word `ALL`, and not a name.
fn is_all(name: &Ident) -> bool {
    name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all")
}

fn forget_all<C>(client: &C, connection: &Connection)
where
    C: ClientPortalStore,
    C::PortalStore: PortalStore,
{
    for name in connection.forget_all() {
        forget(client, &name);
    }
}

/// Changes settings, and tells the client of those that it is told of and that are others now.
async fn change<C>(
    client: &mut C,
    connection: &Connection,
    change: impl FnOnce(&mut Settings) -> Result<(), Unset>,
) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let (changed, told) = {
        let mut settings = connection.settings();
        let before: Vec<_> = settings.reported().collect();
        let changed = change(&mut settings);
        let told: Vec<_> = settings.reported().filter(|setting| !before.contains(setting)).collect();
        (changed, told)
    };
    for (name, value) in told {
        let status = ParameterStatus::new(name.to_owned(), value);
        client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
    }
    changed.map_err(not_set)
}

fn reset_all(settings: &mut Settings) -> Result<(), Unset> {
    settings.reset();
    Ok(())
}

fn not_set(unset: Unset) -> PgWireError {
    match unset {
        Unset::Unknown(name) => unknown_setting(&name),
        Unset::Fixed { name, value } => failure::of("22023", format!("{name} is {value} here, and cannot be changed")),
        Unset::NoTime { name, value } => failure::of("22023", no_time(name, &value)),
        Unset::TooLong { name } => failure::of("22023", too_long(name)),
        Unset::NoSavepoint(name) => {
            failure::of("3B001", format!("there is no savepoint {name:?} in this transaction; set it with savepoint"))
        }
        Unset::NoTransaction => failure::of("25P01", "there are savepoints in transactions only; send begin before"),
    }
}

/// A name as PostgreSQL takes it: in lower case unless it is quoted, and cut where it is too long.
fn folded(name: &Ident) -> String {
    let name = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
    name.chars().take(LONGEST_NAME).collect()
}

fn unknown_setting(name: &str) -> PgWireError {
    failure::of("42704", format!("there is no setting {name:?}; show all lists those that there are"))
}

/// The columns that a `SHOW` answers with; `None` if there is no such setting.
pub(super) fn shown_columns(connection: &Connection, statement: &Statement) -> Option<Vec<FieldInfo>> {
    let Statement::ShowVariable { variable } = statement else { return None };
    let text = |name: &str| FieldInfo::new(name.to_owned(), None, None, Type::TEXT, FieldFormat::Text);
    match variable_name(variable).as_str() {
        "all" => Some(vec![text("name"), text("setting")]),
        name => connection.settings().show(name).map(|(name, _)| vec![text(name)]),
    }
}

fn variable_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
    words.join(" ")
}

fn show(connection: &Connection, statement: &Statement) -> PgWireResult<QueryResponse> {
    let Statement::ShowVariable { variable } = statement else { return Err(unknown_setting("")) };
    let name = variable_name(variable);
    let fields = Arc::new(shown_columns(connection, statement).ok_or_else(|| unknown_setting(&name))?);
    let settings: Vec<_> = match name.as_str() {
        "all" => connection.settings().all().collect(),
        name => connection.settings().show(name).into_iter().collect(),
    };
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let mut rows = Vec::with_capacity(settings.len());
    for (name, value) in settings {
        if fields.len() > 1 {
            encoder.encode_field(&name)?;
        }
        encoder.encode_field(&value)?;
        rows.push(Ok(encoder.take_row()));
    }
    let mut response = QueryResponse::new(fields, futures::stream::iter(rows));
    response.set_command_tag("SHOW");
    Ok(response)
}
