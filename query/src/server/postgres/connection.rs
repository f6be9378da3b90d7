//! What is kept of a connection once it was let in.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use pgwire::api::{ClientInfo, ConnectionGuard, ConnectionHandle};
use pgwire::error::PgWireResult;
use tokio::sync::OwnedSemaphorePermit;

use super::cursor::Cursor;
use super::failure;
use super::settings::Settings;
use crate::access::{Caller, Gate, Refusal, Remote};

/// Prepared statements of a connection at once, and portals, and about the bytes that either take.
const MOST_KEPT: usize = 1_024;
const MOST_BYTES: usize = 16 << 20;

/// A connection that was let in.
pub(super) struct Connection {
    /// The token. It is shown to the gate for each statement, so that one that is revoked ends on open connections too.
    secret: Option<String>,
    remote: Remote,
    settings: Mutex<Settings>,
    cursors: Mutex<HashMap<String, Arc<Cursor>>>,
    statements: Mutex<Kept>,
    portals: Mutex<Kept>,
    handle: Arc<ConnectionHandle>,
    /// One of those that the server has.
    _place: OwnedSemaphorePermit,
    /// Requests to cancel find the connection as long as it is there.
    _guard: ConnectionGuard,
}

impl Connection {
    pub(super) fn new(
        secret: Option<String>,
        remote: Remote,
        settings: Settings,
        place: OwnedSemaphorePermit,
        handle: Arc<ConnectionHandle>,
        guard: ConnectionGuard,
    ) -> Self {
        Self {
            secret,
            remote,
            settings: Mutex::new(settings),
            cursors: Mutex::default(),
            statements: Mutex::default(),
            portals: Mutex::default(),
            handle,
            _place: place,
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
        gate.caller_from(self.secret.as_deref(), self.remote)
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cursors(&self) -> MutexGuard<'_, HashMap<String, Arc<Cursor>>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn statements(&self) -> MutexGuard<'_, Kept> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn portals(&self) -> MutexGuard<'_, Kept> {
        self.portals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That a statement of so many bytes can be kept under a name.
    ///
    /// # Errors
    /// When the connection has too many, or too long ones.
    pub(super) fn has_room(&self, name: &str, bytes: usize) -> PgWireResult<()> {
        if self.statements().has_room(name, bytes) {
            return Ok(());
        }
        let most = format!(
            "a connection keeps {MOST_KEPT} prepared statements and {MOST_BYTES} bytes of them at most; deallocate \
             those that are not needed"
        );
        Err(failure::of("53400", most))
    }

    /// A statement was prepared.
    pub(super) fn prepared(&self, name: &str, bytes: usize) {
        self.statements().0.insert(name.to_owned(), bytes);
    }

    /// A prepared statement is not needed any more.
    pub(super) fn forget(&self, name: &str) {
        self.statements().0.remove(name);
    }

    /// No prepared statement is needed any more; their names.
    pub(super) fn forget_all(&self) -> Vec<String> {
        self.statements().0.drain().map(|(name, _)| name).collect()
    }

    /// Keeps a portal with values of so many bytes under a name.
    ///
    /// # Errors
    /// When the connection has too many, or too large ones.
    pub(super) fn bind(&self, name: &str, bytes: usize) -> PgWireResult<()> {
        let mut portals = self.portals();
        if portals.has_room(name, bytes) {
            portals.0.insert(name.to_owned(), bytes);
            return Ok(());
        }
        let most = format!(
            "a connection keeps {MOST_KEPT} portals and {MOST_BYTES} bytes of their values at most; close those that are \
             not needed, or end the transaction"
        );
        Err(failure::of("53400", most))
    }

    /// A portal is not needed any more.
    pub(super) fn unbind(&self, name: &str) {
        self.portals().0.remove(name);
    }

    /// No portal is needed any more.
    pub(super) fn unbind_all(&self) {
        self.portals().0.clear();
    }

    /// Another statement begins: a request to cancel means this one from now on.
    pub(super) async fn begin(&self) -> Cancelled {
        Cancelled(self.handle.start_query().await)
    }
}

/// The names of prepared statements or of portals, with about the bytes of each. They themselves are with the client.
#[derive(Debug, Default)]
struct Kept(HashMap<String, usize>);

impl Kept {
    /// Whether there is room for one of this name, which takes the place of what had the name before.
    fn has_room(&self, name: &str, bytes: usize) -> bool {
        let others = self.0.iter().filter(|(known, _)| known.as_str() != name);
        let (count, sum) = others.fold((0, 0), |(count, sum), (_, length)| (count + 1, sum + length));
        count < MOST_KEPT && sum + bytes <= MOST_BYTES
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

#[cfg(test)]
mod tests {
    use super::*;

    /// So many have room, and so many bytes of them; one in the place of another of its name has room as well.
    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        assert!(kept.has_room("", MOST_BYTES) && !kept.has_room("", MOST_BYTES + 1));
        kept.0.extend((0..MOST_KEPT).map(|number| (number.to_string(), 1)));
        assert!(!kept.has_room("another", 1) && kept.has_room("0", 1));
    }
}
