//! The extended protocol: prepare, bind, describe, execute. Rows are sent as they come, also without a bound on their
//! number, and a portal goes on where it was suspended.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow_pg::datatypes::df::deserialize_parameters;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Sink, SinkExt};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{
    ExtendedQueryHandler, send_describe_response, send_partial_query_response, send_ready_for_query,
};
use pgwire::api::results::{DescribePortalResponse, Response, Tag};
use pgwire::api::stmt::StoredStatement;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, Sync as EndOfRequests,
    TARGET_TYPE_BYTE_PORTAL,
};
use pgwire::messages::response::TransactionStatus;

use super::answer::fields;
use super::connection::Connection;
use super::prepare::{Prepared, expected};
use super::query::send;
use super::{Service, failure};

/// Bytes of a value of a parameter without what is in it.
const VALUE: usize = 32;

#[async_trait]
impl ExtendedQueryHandler for Service {
    type Statement = Prepared;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let connection = Connection::of(client)?;
        let (name, text) = (message.name.as_deref().unwrap_or(DEFAULT_NAME), message.query.len());
        connection.has_room(name, text)?;
        let statement = StoredStatement::parse(client, &message, self.query_parser()).await?;
        let bytes = text + statement.statement.weight();
        connection.has_room(name, bytes)?;
        client.portal_store().put_statement(Arc::new(statement));
        connection.prepared(name, bytes);
        client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let statement = client.portal_store().get_statement(name);
        let statement = statement.ok_or_else(|| {
            failure::of(
                "26000",
                format!("there is no prepared statement {name:?}; prepare it on this connection first"),
            )
        })?;
        check(&message, &statement.statement)?;
        let values: usize = message.parameters.iter().map(|value| VALUE + value.as_ref().map_or(0, Bytes::len)).sum();
        Connection::of(client)?.bind(message.portal_name.as_deref().unwrap_or(DEFAULT_NAME), values)?;
        let portal = Portal::try_new(&message, statement)?;
        client.portal_store().put_portal(Arc::new(portal));
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    /// A cursor is a portal that `DECLARE` made.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(name) = message.name.as_deref()
        {
            let cursor = Connection::of(client)?.cursors().get(name).cloned();
            if let Some(cursor) = cursor {
                let fields = fields(cursor.schema(), &Format::UnifiedText)?;
                return send_describe_response(client, &DescribePortalResponse::new(fields.to_vec())).await;
            }
        }
        self._on_describe(client, message).await
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = client.portal_store().get_portal(name);
        let portal = portal.ok_or_else(|| {
            failure::of("34000", format!("there is no portal {name:?}; bind a prepared statement to it first"))
        })?;
        // Zero is no bound.
        let most = usize::try_from(message.max_rows).unwrap_or(0);
        let state = portal.state();
        let mut state = state.lock().await;
        // An answer that begins now is cancelled with its query. One that goes on may be behind other statements, so a
        // request to cancel is taken for it from here on.
        let mut cancelled = None;
        if matches!(*state, PortalExecutionState::Suspended(_)) {
            cancelled = Some(Connection::of(client)?.begin().await);
        }
        if matches!(*state, PortalExecutionState::Initial) {
            match ExtendedQueryHandler::do_query(self, client, &portal, most).await? {
                Response::Query(rows) => *state = PortalExecutionState::Suspended(rows),
                done => {
                    *state = PortalExecutionState::Finished;
                    return send(client, done).await;
                }
            }
        }
        let sent = match &mut *state {
            PortalExecutionState::Suspended(rows) => {
                let sending = send_partial_query_response(client, rows, most);
                match &mut cancelled {
                    None => sending.await,
                    Some(cancelled) => tokio::select! {
                        biased;
                        () = cancelled.wait() => Err(PgWireError::QueryCanceled),
                        sent = sending => sent,
                    },
                }
            }
            _ => {
                let nothing = Tag::new("SELECT").with_rows(0);
                client.feed(PgWireBackendMessage::CommandComplete(nothing.into())).await?;
                return Ok(());
            }
        };
        if !matches!(sent, Ok(true)) {
            // What is left of the answer ends with it.
            *state = PortalExecutionState::Finished;
        }
        sent.map(drop)
    }

    /// What is sent up to here is done. Outside of a transaction that ends portals, which keep what is left of their
    /// answers.
    async fn on_sync<C>(&self, client: &mut C, _: EndOfRequests) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        let connection = Connection::of(client)?;
        match status {
            TransactionStatus::Idle => {
                client.portal_store().clear_portals();
                connection.unbind_all();
            }
            _ => {
                client.portal_store().rm_portal(DEFAULT_NAME);
                connection.unbind(DEFAULT_NAME);
            }
        }
        send_ready_for_query(client, status).await
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_PORTAL {
            client.portal_store().rm_portal(name);
            Connection::of(client)?.unbind(name);
        } else {
            client.portal_store().rm_statement(name);
            Connection::of(client)?.forget(name);
        }
        client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &portal.statement.statement;
        let Some(text) = &prepared.text else { return Ok(Response::EmptyQuery) };
        let connection = Connection::of(client)?;
        // It is one statement, or it would not have been prepared.
        let Some(asked) = self.parse(&connection, text).await?.pop() else { return Ok(Response::EmptyQuery) };
        // An absent value of which nobody knows the type would be left out, and those after it be taken for it: it is text.
        let is_untyped = |index: usize| portal.statement.parameter_types.get(index).is_none_or(Option::is_none);
        let is_absent = |index: usize| portal.parameters.get(index).is_some_and(Option::is_none);
        let inferred = (0..portal.parameter_len()).map(|index| {
            let declared = portal.statement.parameter_types.get(index).and_then(Option::as_ref);
            let known = expected(declared, prepared.inferred.get(index).and_then(Option::as_ref));
            known.or_else(|| (is_untyped(index) && is_absent(index)).then_some(&DataType::Utf8))
        });
        let inferred: Vec<Option<&DataType>> = inferred.collect();
        let parameters = match portal.parameter_len() {
            0 => None,
            _ => Some(deserialize_parameters(portal, &inferred)?),
        };
        self.respond(client, &asked, parameters, &portal.result_column_format).await
    }
}

/// That there are as many values and formats as the statement has parameters and columns.
fn check(message: &Bind, prepared: &Prepared) -> PgWireResult<()> {
    let wrong = |what: &str, given: usize, has: usize| {
        Err(failure::of("08P01", format!("{given} {what} were sent, and the statement has {has}")))
    };
    let (values, parameters) = (message.parameters.len(), prepared.parameters.len());
    if values != parameters {
        return wrong("values", values, parameters);
    }
    // None, or one for all, or one for each.
    let fits = |formats: &[i16], count: usize| formats.len() <= 1 || formats.len() == count;
    if !fits(&message.parameter_format_codes, parameters) {
        return wrong("formats of values", message.parameter_format_codes.len(), parameters);
    }
    let formats = &message.result_column_format_codes;
    if !fits(formats, prepared.width()) {
        return wrong("formats of columns", formats.len(), prepared.width());
    }
    Ok(())
}
