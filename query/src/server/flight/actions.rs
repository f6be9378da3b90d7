//! What clients do besides asking: prepare statements, bind values, close, cancel.

use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandPreparedStatementQuery, DoPutPreparedStatementResult, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, FlightInfo, PutResult,
};
use futures::{StreamExt as _, TryStreamExt as _};
use prost::Message;
use tonic::{Status, Streaming};

use super::session_options::{CloseResult, SessionOptions};
use super::statement::{Prepared, Statement};
use super::{
    Flight, HANDLES_LAST, INTERFACE, MOST_BYTES, command, encoded, no_substrait, parameters, sealed, status, weight,
};
use crate::access::{Caller, Scope};
use crate::bounds;
use crate::error::QueryError;
use crate::server::problem::Problem;

const CREATE_PREPARED: &str = "CreatePreparedStatement";
const CLOSE_PREPARED: &str = "ClosePreparedStatement";
const CANCEL_FLIGHT: &str = "CancelFlightInfo";
/// What `CancelFlightInfo` was before version 13 of Arrow.
const CANCEL_QUERY: &str = "CancelQuery";
const SET_OPTIONS: &str = "SetSessionOptions";
const GET_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";

/// Every action with what it does.
pub(super) const ACTIONS: [(&str, &str); 7] = [
    (
        CREATE_PREPARED,
        "prepares a statement: ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult",
    ),
    (CLOSE_PREPARED, "forgets a prepared statement: ActionClosePreparedStatementRequest"),
    (CANCEL_FLIGHT, "ends a query: CancelFlightInfoRequest, CancelFlightInfoResult"),
    (CANCEL_QUERY, "ends a query: ActionCancelQueryRequest, ActionCancelQueryResult"),
    (SET_OPTIONS, "names catalog and schema: SetSessionOptionsRequest, SetSessionOptionsResult"),
    (GET_OPTIONS, "tells catalog and schema: GetSessionOptionsRequest, GetSessionOptionsResult"),
    (CLOSE_SESSION, "ends a session: CloseSessionRequest, CloseSessionResult"),
];

impl Flight {
    /// Does an action; its result, if it has one.
    pub(super) async fn act(&self, caller: &Caller, action: &Action) -> Result<Option<arrow_flight::Result>, Problem> {
        let body: &[u8] = &action.body;
        let result = match action.r#type.as_str() {
            CREATE_PREPARED => Some(self.prepare(caller, unpacked(body)?).await?.as_any().encode_to_vec()),
            CLOSE_PREPARED => {
                let request: ActionClosePreparedStatementRequest = unpacked(body)?;
                // What the client carries itself is forgotten by the client.
                if let Ok(prepared) = self.prepared(caller, &request.prepared_statement_handle).await {
                    self.statements.take(&prepared.id, caller);
                }
                None
            }
            CANCEL_FLIGHT => {
                let request: CancelFlightInfoRequest = decoded(body)?;
                let status = self.cancel(caller, &request.info.unwrap_or_default()).await?;
                Some(CancelFlightInfoResult::new(status).encode_to_vec())
            }
            CANCEL_QUERY => {
                let request: ActionCancelQueryRequest = unpacked(body)?;
                let status = self.cancel(caller, &decoded::<FlightInfo>(&request.info)?).await?;
                // CancelResult has the numbers of CancelStatus.
                let result = ActionCancelQueryResult { result: status as i32 };
                Some(result.as_any().encode_to_vec())
            }
            SET_OPTIONS => Some(decoded::<SessionOptions>(body)?.set().encode_to_vec()),
            GET_OPTIONS => Some(SessionOptions::fixed().encode_to_vec()),
            CLOSE_SESSION => Some(CloseResult::closed().encode_to_vec()),
            "CreatePreparedSubstraitPlan" => return Err(no_substrait()),
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                return Err(status::not_offered(
                    "there are no transactions, for nothing can be changed; each query is of one state of the lake; turn autocommit on",
                ));
            }
            other => {
                let names = ACTIONS.map(|(name, _)| name).join(", ");
                return Err(status::not_offered(format!("there is no action {other:?}; there are {names}")));
            }
        };
        Ok(result.map(arrow_flight::Result::new))
    }

    async fn prepare(
        &self,
        caller: &Caller,
        request: ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Problem> {
        let statement = Statement::from(request.query);
        let mut visit = self.app.gate().visit(caller, INTERFACE, "plan", &statement.query);
        let prepare = |session| statement.prepare(session);
        let (prepared, forms) = self.app.ask(caller, Scope::Sql, &mut visit, prepare).await?;
        visit.end("ok");
        let prepared_statement_handle = match self.seal.prepared(caller, &prepared, HANDLES_LAST).await? {
            Some(handle) => handle,
            None => {
                let (id, bytes) = (prepared.id.clone(), weight::prepared(&prepared));
                self.statements.replace(id.clone(), caller, prepared, bytes)?;
                id
            }
        };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle,
            dataset_schema: encoded(&forms.columns)?,
            parameter_schema: encoded(&forms.parameters)?,
        })
    }

    /// Ends the query whose ticket this is, whether its rows are being read or not yet asked for. One that another server
    /// runs, or that has ended, is none that could be cancelled here.
    async fn cancel(&self, caller: &Caller, flight: &FlightInfo) -> Result<CancelStatus, Problem> {
        let tickets = flight.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        for ticket in tickets {
            let Command::TicketStatementQuery(TicketStatementQuery { statement_handle }) = command(&ticket.ticket)?
            else {
                continue;
            };
            // The entry stays and says so, for the ticket alone could be planned anew.
            let cancelled = self.flights.with(sealed::id(&statement_handle), caller, |rows| {
                let was_cancelled = rows.cancel.send_replace(true);
                (rows.planned.take(), was_cancelled)
            });
            if cancelled.is_some_and(|(_, was_cancelled)| !was_cancelled) {
                return Ok(CancelStatus::Cancelled);
            }
            if self.seal.opened_ticket(caller, &statement_handle).await?.is_some() {
                return Ok(CancelStatus::NotCancellable);
            }
        }
        Err(status::not_kept("query-unknown", "no such query of yours runs; it may have ended already"))
    }

    /// What comes of data that a client sends: values of parameters are bound, everything else would change something.
    pub(super) async fn put(&self, caller: &Caller, mut data: Streaming<FlightData>) -> Result<PutResult, Status> {
        let Some(mut first) = data.message().await? else {
            return Err(Problem::wrong_request("nothing was sent; send a command first".to_owned()).into());
        };
        let descriptor = first.flight_descriptor.take().unwrap_or_default();
        match command(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(query) => {
                // Dictionaries are kept until the values that need them have come, so all messages are bounded together.
                let mut left = MOST_BYTES;
                let data = futures::stream::iter([Ok(first)]).chain(data).map(move |message| {
                    let message = message?;
                    let bytes = message.data_header.len() + message.data_body.len();
                    left = left.checked_sub(bytes).ok_or_else(|| {
                        Problem::wrong_request(format!("the values of a query have {MOST_BYTES} bytes at most"))
                    })?;
                    Ok::<_, Status>(message)
                });
                let data = FlightRecordBatchStream::new_from_flight_data(data.map_err(FlightError::from));
                Ok(self.bind(caller, query, data).await?)
            }
            Command::CommandStatementUpdate(update) => {
                Err(self.refuse(caller, Statement::from(update.query)).await.into())
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let prepared = self.prepared(caller, &update.prepared_statement_handle).await?;
                Err(self.refuse(caller, prepared.statement).await.into())
            }
            Command::CommandStatementSubstraitPlan(_) => Err(no_substrait().into()),
            Command::CommandStatementIngest(_) => {
                let mut visit = self.app.gate().visit(caller, INTERFACE, "sql", "");
                let problem = Problem::from(QueryError::ReadOnly { statement: "a bulk ingestion".to_owned() });
                visit.end(problem.code());
                Err(problem.into())
            }
            other => Err(Problem::wrong_request(format!("{} takes no data", other.type_url())).into()),
        }
    }

    /// Binds one row of values to a prepared statement. The answer has the handle of the statement with these values, which
    /// drivers ask with from then on (those of Go, Java, C++ and Rust since 2024). For older ones, which go on with the
    /// handle that they have, the values are kept here as well.
    async fn bind(
        &self,
        caller: &Caller,
        query: CommandPreparedStatementQuery,
        data: FlightRecordBatchStream,
    ) -> Result<PutResult, Problem> {
        let Prepared { id, statement, parameters } = self.prepared(caller, &query.prepared_statement_handle).await?;
        let row = only_row(data).await?;
        let values = row.as_ref().map(|row| parameters::values(row, &parameters)).transpose()?;
        let prepared = Prepared { id: id.clone(), statement: Statement { values, ..statement }, parameters };
        let carried = self.seal.prepared(caller, &prepared, HANDLES_LAST).await?;
        let bytes = weight::prepared(&prepared) + row.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        self.statements.replace(id.clone(), caller, prepared, bytes)?;
        let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(carried.unwrap_or(id)) };
        Ok(PutResult { app_metadata: result.encode_to_vec().into() })
    }

    /// Why a statement is not run as an update: it would change something, is wrong, or gives rows.
    async fn refuse(&self, caller: &Caller, statement: Statement) -> Problem {
        match self.plan(caller, statement).await {
            Err(problem) => problem,
            Ok(_) => {
                Problem::wrong_request("this statement gives rows; run it as a query, not as an update".to_owned())
            }
        }
    }
}

/// The one row of values that a query takes; none where there is nothing to bind.
async fn only_row(mut data: FlightRecordBatchStream) -> Result<Option<RecordBatch>, Problem> {
    let mut row = None;
    while let Some(batch) = data.next().await {
        let batch = batch.map_err(|error| Problem::wrong_request(format!("the values cannot be read: {error}")))?;
        if batch.num_columns() == 0 || batch.num_rows() == 0 {
            continue;
        }
        if batch.num_columns() > bounds::VALUES {
            return Err(Problem::wrong_request(format!("a query takes {} values at most", bounds::VALUES)));
        }
        if batch.num_rows() > 1 || row.is_some() {
            return Err(Problem::wrong_request(
                "a query takes one row of values; run it once for each row, or put the values into one list".to_owned(),
            ));
        }
        row = Some(batch);
    }
    Ok(row)
}

/// A message of Flight, which stands as it is.
fn decoded<M: Message + Default>(bytes: &[u8]) -> Result<M, Problem> {
    M::decode(bytes).map_err(|error| Problem::wrong_request(format!("the body is not what the action takes: {error}")))
}

/// A message of Flight SQL, which stands in an envelope that names it.
fn unpacked<M: ProstMessageExt>(bytes: &[u8]) -> Result<M, Problem> {
    let wrong = || Problem::wrong_request(format!("the body is no {}", M::type_url()));
    let any: Any = decoded(bytes)?;
    any.unpack().ok().flatten().ok_or_else(wrong)
}
