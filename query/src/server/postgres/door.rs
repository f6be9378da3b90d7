//! Who was not let in yet: clients that log in or cancel, and those that connect and say nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// Connections of clients that were not let in yet. Those that were are counted elsewhere.
const MOST: usize = 256;

/// Connections at the door, the oldest first. When there are too many, the one that stands there for longest goes: a client
/// that means it is in within a few round trips, so who holds connections open without a word keeps out nobody but
/// himself.
#[derive(Debug, Default)]
pub(super) struct Door(VecDeque<(LetIn, AbortHandle)>);

/// Tells that a client was let in.
#[derive(Debug, Clone, Default)]
pub(super) struct LetIn(Arc<AtomicBool>);

impl LetIn {
    /// It was.
    pub(super) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_in(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Door {
    /// Another connection is spoken with by this task.
    pub(super) fn come(&mut self, let_in: LetIn, task: AbortHandle) {
        self.0.retain(|(let_in, task)| !let_in.is_in() && !task.is_finished());
        if self.0.len() >= MOST
            && let Some((_, oldest)) = self.0.pop_front()
        {
            tracing::debug!("too many connections of PostgreSQL log in at once, the oldest is dropped");
            oldest.abort();
        }
        self.0.push_back((let_in, task));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::pending;

    use super::*;

    /// As many as may wait at the door say nothing, and more come: the oldest of them goes, and neither one that was let in
    /// before it nor any other.
    #[tokio::test]
    async fn the_oldest_goes() {
        let mut door = Door::default();
        let mut tasks = Vec::new();
        for _ in 0..=MOST {
            let (let_in, task) = (LetIn::default(), tokio::spawn(pending::<()>()));
            door.come(let_in.clone(), task.abort_handle());
            if tasks.is_empty() {
                let_in.tell();
            }
            tasks.push(task);
        }
        // The first one is in, so all others have a place.
        tokio::task::yield_now().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        let another = tokio::spawn(pending::<()>());
        door.come(LetIn::default(), another.abort_handle());
        let gone = tasks.remove(1).await;
        assert!(gone.unwrap_err().is_cancelled());
        assert!(tasks.iter().all(|task| !task.is_finished()) && !another.is_finished());
    }
}
