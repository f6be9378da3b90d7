//! What is kept of a connection once it was let in.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use pgwire::api::{ClientInfo, ConnectionGuard, ConnectionHandle};
use pgwire::error::PgWireResult;

use super::cursor::Cursor;
use super::failure;
use super::settings::Settings;
use crate::access::{Caller, Gate, Refusal};

/// Prepared statements of a connection at once, and bytes of their texts.
const MOST_STATEMENTS: usize = 1_024;
const MOST_BYTES: usize = 4 << 20;

/// A connection that was let in.
pub(super) struct Connection {
    /// The token. It is shown to the gate for each statement, so that one that is revoked ends on open connections too.
    secret: Option<String>,
    settings: Mutex<Settings>,
    cursors: Mutex<HashMap<String, Arc<Cursor>>>,
    /// The names of prepared statements, with the bytes of their texts. The statements are with the client's portals.
    statements: Mutex<HashMap<String, usize>>,
    handle: Arc<ConnectionHandle>,
    /// Requests to cancel find the connection as long as it is there.
    _guard: ConnectionGuard,
}

impl Connection {
    pub(super) fn new(
        secret: Option<String>,
        settings: Settings,
        handle: Arc<ConnectionHandle>,
        guard: ConnectionGuard,
    ) -> Self {
        Self {
            secret,
            settings: Mutex::new(settings),
            cursors: Mutex::default(),
            statements: Mutex::default(),
            handle,
            _guard: guard,
        }
    }

    /// The connection of a client.
    ///
    /// # Errors
    /// When it was not let in.
    pub(super) fn of<C: ClientInfo>(client: &C) -> PgWireResult<Arc<Self>> {
        let connection = client.session_extensions().get::<Self>();
        connection.ok_or_else(|| failure::fatal_of("28000", "log in first: send a token as the password"))
    }

    /// Who it is, now.
    pub(super) fn caller(&self, gate: &Gate) -> Result<Caller, Refusal> {
        gate.caller(self.secret.as_deref())
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cursors(&self) -> MutexGuard<'_, HashMap<String, Arc<Cursor>>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn statements(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That a statement of so many bytes can be kept under a name.
    ///
    /// # Errors
    /// When the connection has too many, or too long ones.
    pub(super) fn has_room(&self, name: &str, bytes: usize) -> PgWireResult<()> {
        let statements = self.statements();
        let others = statements.iter().filter(|(known, _)| known.as_str() != name);
        let (count, sum) = others.fold((0, 0), |(count, sum), (_, length)| (count + 1, sum + length));
        if count < MOST_STATEMENTS && sum + bytes <= MOST_BYTES {
            return Ok(());
        }
        let most = format!(
            "a connection keeps {MOST_STATEMENTS} prepared statements and {MOST_BYTES} bytes of them at most; deallocate \
             those that are not needed"
        );
        Err(failure::of("53400", most))
    }

    /// A statement was prepared.
    pub(super) fn prepared(&self, name: &str, bytes: usize) {
        self.statements().insert(name.to_owned(), bytes);
    }

    /// A prepared statement is not needed any more.
    pub(super) fn forget(&self, name: &str) {
        self.statements().remove(name);
    }

    /// No prepared statement is needed any more; their names.
    pub(super) fn forget_all(&self) -> Vec<String> {
        self.statements().drain().map(|(name, _)| name).collect()
    }

    /// Another statement begins: a request to cancel means this one from now on.
    pub(super) async fn begin(&self) -> Cancelled {
        Cancelled(self.handle.start_query().await)
    }
}

/// Tells when the client wants no more of a statement.
pub(super) struct Cancelled(oneshot::Receiver<()>);

impl Cancelled {
    /// Returns once it was cancelled.
    pub(super) async fn wait(&mut self) {
        // Without a sender another statement has begun, or the connection has ended: nobody cancels this one.
        if (&mut self.0).await.is_err() {
            pending::<()>().await;
        }
    }
}
