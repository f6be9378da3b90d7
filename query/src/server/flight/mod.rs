//! Arrow Flight SQL: what ADBC and JDBC drivers speak. Rows travel as the Arrow batches that they are computed in.
//!
//! - **In:** calls of FlightSql.proto, each with a token in its headers.
//! - **Out:** batches, streamed; errors as gRPC statuses that say what to do next.
//!
//! A client asks in two steps. For a command (a statement, a prepared one, a question about metadata) it gets the
//! schema of the answer and a ticket; for the ticket, the rows. A statement is planned in the first step, on the newest
//! head, and run in the second on the same one. The two may reach two servers: tickets and the handles of prepared
//! statements carry what they stand for, sealed (`sealed`, `carried`). The server that has planned a statement keeps its
//! plan for a while (`kept`), so that it pays once where it is asked again; what is too long to be carried is kept there
//! alone.

mod actions;
mod answer;
mod carried;
mod info;
mod kept;
mod login;
mod metadata;
mod parameters;
mod sealed;
mod session_options;
mod statement;
mod status;
mod taken;
mod types;
mod weight;
mod wire;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{Any, Command, ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use axum::serve::Listener;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use prost::Message as _;
use tokio::sync::watch;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::MOST_BYTES;
use super::app::{App, noted};
use super::connections;
use super::problem::Problem;
use crate::access::{Caller, Remote, Scope, Turn};
use crate::error::{QueryError, Result as QueryResult};
use crate::session::Session;
use answer::Answer;
use kept::Kept;
use sealed::{MOST_CARRIED, Seal};
use statement::{Planned, Prepared, Statement};

/// What `audit` calls this interface.
const INTERFACE: &str = "flight_sql";
/// How long a ticket holds. Its head can be read for as long.
const TICKETS_LAST: Duration = Duration::from_secs(300);
/// Tickets of one caller; each keeps a plan.
const TICKETS: usize = 256;
/// How long a handle of a prepared statement holds that carries it.
const HANDLES_LAST: Duration = Duration::from_secs(24 * 3600);
/// How long a prepared statement is kept that nobody uses, and the values of one.
const STATEMENTS_LAST: Duration = Duration::from_secs(3600);
/// Prepared statements of one caller.
const STATEMENTS: usize = 1_024;

/// Answers on a listener until it is told to stop, and what is under way then.
pub(super) async fn serve<L>(app: App, listener: L, stopped: watch::Receiver<bool>)
where
    L: Listener<Addr = SocketAddr>,
{
    let service = FlightServiceServer::new(Flight::new(app)).max_decoding_message_size(MOST_BYTES);
    connections::serve_grpc(listener, Routes::new(service).into_axum_router(), stopped).await;
}

/// The interface.
struct Flight {
    app: App,
    seal: Seal,
    /// By the id of the ticket.
    flights: Kept<Rows>,
    /// By the id of the statement.
    statements: Kept<Prepared>,
}

/// Rows for which a ticket was given out, here or at another server.
struct Rows {
    /// There from when it was planned here until it is run.
    planned: Option<Planned>,
    cancel: watch::Sender<bool>,
}

/// What a command asks for.
enum Question {
    Statement(Statement),
    /// With the schema of the answer.
    Metadata(Box<Command>, SchemaRef),
}

impl Flight {
    fn new(app: App) -> Self {
        Self {
            seal: Seal::new(app.sessions().lake().clone()),
            app,
            flights: Kept::new(TICKETS_LAST, TICKETS),
            statements: Kept::new(STATEMENTS_LAST, STATEMENTS),
        }
    }

    /// Who shows this secret, or none, and from where.
    async fn caller(&self, (secret, remote): (Option<String>, Remote)) -> Result<Caller, Problem> {
        Ok(self.app.gate().let_in(secret.as_deref(), remote).await?)
    }

    /// What a descriptor asks for.
    async fn question(&self, caller: &Caller, descriptor: &FlightDescriptor) -> Result<Question, Problem> {
        match command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => Ok(Question::Statement(Statement::from(query.query))),
            Command::CommandPreparedStatementQuery(query) => {
                let prepared = self.prepared(caller, &query.prepared_statement_handle).await?;
                Ok(Question::Statement(prepared.statement))
            }
            Command::CommandStatementSubstraitPlan(_) => Err(no_substrait()),
            other => match metadata::schema(&other)? {
                Some(schema) => Ok(Question::Metadata(Box::new(other), schema)),
                None => Err(Problem::wrong_request(format!("{} asks for no rows; send a query", other.type_url()))),
            },
        }
    }

    /// The prepared statement of a handle.
    async fn prepared(&self, caller: &Caller, handle: &[u8]) -> Result<Prepared, Problem> {
        let kept = |id: &[u8]| self.statements.with(id, caller, |prepared| prepared.clone());
        match self.seal.opened_prepared(caller, handle).await? {
            // Its values may have been bound by a driver that goes on with the handle from before.
            Some(carried) if carried.statement.values.is_none() => Ok(kept(&carried.id).unwrap_or(carried)),
            Some(carried) => Ok(carried),
            None => kept(handle).ok_or_else(|| {
                let detail = format!(
                    "this prepared statement is not here, or no longer; prepare it again. One that has more than \
                     {MOST_CARRIED} bytes with its values is known only to the server that has prepared it"
                );
                status::not_kept("statement-unknown", detail)
            }),
        }
    }

    /// Plans a statement on the newest head.
    async fn plan(&self, caller: &Caller, statement: Statement) -> Result<Planned, Problem> {
        let mut visit = self.app.gate().visit(caller, INTERFACE, "plan", &statement.query);
        let planned = self.app.ask(caller, Scope::Sql, &mut visit, |session| statement.plan(session)).await?;
        visit.end("ok");
        Ok(planned)
    }

    /// The schema of the answer to a descriptor, and its ticket.
    async fn info(&self, caller: &Caller, descriptor: FlightDescriptor) -> Result<FlightInfo, Problem> {
        let (schema, ticket) = match self.question(caller, &descriptor).await? {
            Question::Metadata(command, schema) => (schema, command.into_any()),
            Question::Statement(statement) => {
                let planned = self.plan(caller, statement.clone()).await?;
                let (schema, bytes) = (Arc::clone(&planned.schema), weight::planned(&planned));
                let ticket = carried::Ticket { statement, position: planned.session.snapshot().head().position };
                let rows = Rows { planned: Some(planned), cancel: watch::channel(false).0 };
                let statement_handle = match self.seal.ticket(caller, &ticket, TICKETS_LAST).await? {
                    Some(handle) => {
                        let id = Bytes::copy_from_slice(sealed::id(&handle));
                        self.flights.replace(id, caller, rows, bytes)?;
                        handle
                    }
                    None => self.flights.put(caller, rows, bytes)?,
                };
                (schema, TicketStatementQuery { statement_handle }.as_any())
            }
        };
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode_to_vec()));
        let info = FlightInfo::new().try_with_schema(&schema).map_err(QueryError::from)?;
        Ok(info.with_descriptor(descriptor).with_endpoint(endpoint).with_ordered(true))
    }

    /// The schema of the answer to a descriptor.
    async fn schema(&self, caller: &Caller, descriptor: &FlightDescriptor) -> Result<Bytes, Problem> {
        let schema = match self.question(caller, descriptor).await? {
            Question::Metadata(_, schema) => schema,
            Question::Statement(statement) => self.plan(caller, statement).await?.schema,
        };
        Ok(encoded(&schema)?)
    }

    /// The answer to a ticket.
    async fn rows(&self, caller: &Caller, ticket: &Ticket) -> Result<Answer, Problem> {
        match command(&ticket.ticket)? {
            Command::TicketStatementQuery(ticket) => self.statement_rows(caller, &ticket.statement_handle).await,
            other => self.metadata_rows(caller, other).await,
        }
    }

    async fn statement_rows(&self, caller: &Caller, handle: &[u8]) -> Result<Answer, Problem> {
        let (id, carried) = (sealed::id(handle), self.seal.opened_ticket(caller, handle).await?);
        let query = match &carried {
            Some(ticket) => Some(Arc::clone(&ticket.statement.query)),
            // What carries nothing is an id and nothing else.
            None if id == handle => {
                self.flights.with(id, caller, |rows| Some(Arc::clone(&rows.planned.as_ref()?.query))).flatten()
            }
            None => None,
        };
        let mut visit = self.app.gate().visit(caller, INTERFACE, "sql", query.as_deref().unwrap_or_default());
        let begun = async {
            if query.is_none() {
                return Err(unknown_ticket());
            }
            caller.require(Scope::Sql)?;
            // A ticket is used up by the query, and not by a turn that there was none of.
            let turn = self.app.gate().turn(caller).await?;
            let (Planned { session, plan, schema, .. }, is_cancelled) =
                self.planned(caller, id, carried, &turn).await?;
            let session = session.holding(Arc::clone(&turn));
            let turn = self.app.gate().timed(turn);
            let batches = self.app.engine().run(async move { session.execute(plan, None).await }).await?;
            Ok((turn, batches, schema, is_cancelled))
        };
        let (turn, batches, schema, is_cancelled) = noted(&mut visit, begun.await)?;
        let limits = self.app.gate().limits();
        Ok(Answer::new(batches, schema, limits, self.app.is_cut(), is_cancelled, visit, Some(turn)))
    }

    /// What a ticket is for, and what tells that its caller cancels it: as it was planned here, or planned anew on its head
    /// where another server has done that, or where it was run before.
    async fn planned(
        &self,
        caller: &Caller,
        id: &[u8],
        carried: Option<carried::Ticket>,
        turn: &Arc<Turn>,
    ) -> Result<(Planned, watch::Receiver<bool>), Problem> {
        let kept = self.flights.with(id, caller, |rows| (rows.planned.take(), rows.cancel.subscribe()));
        if kept.as_ref().is_some_and(|(_, is_cancelled)| *is_cancelled.borrow()) {
            return Err(status::cancelled());
        }
        let is_cancelled = match kept {
            Some((Some(planned), is_cancelled)) => return Ok((planned, is_cancelled)),
            Some((None, is_cancelled)) => Some(is_cancelled),
            None => None,
        };
        let carried::Ticket { statement, position } = carried.ok_or_else(unknown_ticket)?;
        let session = match self.app.sessions().open_at(caller, position).await {
            Err(QueryError::CursorExpired) => return Err(unknown_ticket()),
            session => session?.holding(Arc::clone(turn)),
        };
        let limit = self.app.gate().limits().time;
        let plan = async move {
            let planned = tokio::time::timeout(limit, statement.plan(session)).await;
            planned.unwrap_or_else(|_| Err(QueryError::TimeLimit { seconds: limit.as_secs() }))
        };
        let planned = self.app.engine().run(plan).await?;
        let is_cancelled = match is_cancelled {
            Some(is_cancelled) => is_cancelled,
            None => {
                let (cancel, is_cancelled) = watch::channel(false);
                self.flights.replace(Bytes::copy_from_slice(id), caller, Rows { planned: None, cancel }, 0)?;
                is_cancelled
            }
        };
        Ok((planned, is_cancelled))
    }

    async fn metadata_rows(&self, caller: &Caller, command: Command) -> Result<Answer, Problem> {
        let mut visit = self.app.gate().visit(caller, INTERFACE, "metadata", "");
        let rows = match command {
            Command::CommandGetTables(wanted) => {
                let tables = |session: Session| async move { metadata::tables(&session, wanted).await };
                self.app.ask(caller, Scope::Sql, &mut visit, tables).await?
            }
            other => {
                let rows = metadata::rows(&other).map_err(Problem::from);
                let rows = rows.and_then(|rows| {
                    rows.ok_or_else(|| {
                        Problem::wrong_request("this is no ticket of this server; ask for one".to_owned())
                    })
                });
                noted(&mut visit, rows)?
            }
        };
        let schema = rows.schema();
        let batches = futures::stream::iter([Ok(rows)]);
        let nobody_cancels = watch::channel(false).1;
        Ok(Answer::new(batches, schema, self.app.gate().limits(), self.app.is_cut(), nobody_cancels, visit, None))
    }
}

/// The command in a descriptor or a ticket.
fn command(bytes: &[u8]) -> Result<Command, Problem> {
    let wrong = |error: &dyn std::fmt::Display| {
        Problem::wrong_request(format!("this is no command of Flight SQL ({error}); ask with a Flight SQL driver"))
    };
    let any = Any::decode(bytes).map_err(|error| wrong(&error))?;
    Command::try_from(any).map_err(|error| wrong(&error))
}

fn unknown_ticket() -> Problem {
    let minutes = TICKETS_LAST.as_secs() / 60;
    let detail = format!(
        "this ticket does not hold, or no longer, for each does for {minutes} minutes; run the query again. One for a \
         statement of more than {MOST_CARRIED} bytes holds once, and only at the server that has given it out"
    );
    status::not_kept("ticket-unknown", detail)
}

/// What a request shows, and where it comes from.
fn shown<T>(request: &Request<T>) -> (Option<String>, Remote) {
    let address = connections::remote_address(request.extensions());
    (login::secret(request.metadata()), Remote { interface: INTERFACE, address })
}

fn no_substrait() -> Problem {
    status::not_offered("Substrait plans are not read here; send the query as SQL")
}

/// A schema as an IPC message.
fn encoded(schema: &Schema) -> QueryResult<Bytes> {
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options).try_into()?;
    Ok(bytes)
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.caller(shown(&request)).await?;
        let secret = login::secret(request.metadata()).unwrap_or_default();
        let answered = HandshakeResponse { protocol_version: 0, payload: secret.clone().into() };
        let mut response = Response::new(futures::stream::iter([Ok(answered)]).boxed());
        // Where no token is needed, what is shown may be anything, and need not come back.
        if let Ok(bearer) = format!("Bearer {secret}").parse::<MetadataValue<Ascii>>() {
            response.metadata_mut().insert("authorization", bearer);
        }
        Ok(response)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let caller = self.caller(shown(&request)).await?;
        Ok(Response::new(self.info(&caller, request.into_inner()).await?))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = self.caller(shown(&request)).await?;
        let schema = self.schema(&caller, &request.into_inner()).await?;
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = self.caller(shown(&request)).await?;
        let answer = self.rows(&caller, &request.into_inner()).await?;
        Ok(Response::new(answer.into_stream()))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = self.caller(shown(&request)).await?;
        let limit = self.app.gate().limits().time;
        // Values come as slowly as the client likes.
        let put = tokio::time::timeout(limit, self.put(&caller, request.into_inner())).await;
        let too_slow = |_| Problem::from(QueryError::TimeLimit { seconds: limit.as_secs() });
        let result = put.map_err(too_slow)??;
        Ok(Response::new(futures::stream::iter([Ok(result)]).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = self.caller(shown(&request)).await?;
        let result = self.act(&caller, &request.into_inner()).await?;
        Ok(Response::new(futures::stream::iter(result.map(Ok)).boxed()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.caller(shown(&request)).await?;
        let actions = actions::ACTIONS
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        Ok(Response::new(futures::stream::iter(actions).boxed()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.caller(shown(&request)).await?;
        Err(status::not_offered("there are no flights to list; list tables with GetTables, or ask with SQL").into())
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        self.caller(shown(&request)).await?;
        Err(status::not_offered("queries cannot be polled; ask with GetFlightInfo and read the rows with DoGet").into())
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.caller(shown(&request)).await?;
        Err(status::not_offered("there is nothing to exchange; ask with GetFlightInfo and DoGet").into())
    }
}
