//! When a verification has to be done. It computes without waiting for anything, so no timer can end it: it looks itself,
//! between claims and in the loops over what a bundle holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A time at which to give up; clones share it. Without one there is none.
///
/// Loops that end early because it is over leave results behind that mean nothing. Whoever began the verification looks
/// last and throws them away.
#[derive(Debug, Clone, Default)]
pub(super) struct Deadline(Option<Arc<Limit>>);

#[derive(Debug)]
struct Limit {
    ends: Instant,
    /// Nobody waits for the result any more.
    is_given_up: AtomicBool,
}

/// Ends the verification when it is dropped.
#[derive(Debug)]
pub(super) struct GivesUp(Deadline);

impl Deadline {
    /// After this time from now on.
    pub(super) fn after(limit: Duration) -> Self {
        // A time beyond what the clock can say is none.
        let ends = Instant::now().checked_add(limit);
        Self(ends.map(|ends| Arc::new(Limit { ends, is_given_up: AtomicBool::new(false) })))
    }

    /// Whether it is time to give up.
    pub(super) fn is_over(&self) -> bool {
        let limit = self.0.as_deref();
        limit.is_some_and(|limit| limit.is_given_up.load(Ordering::Relaxed) || Instant::now() >= limit.ends)
    }

    /// What ends the verification when whoever waits for it goes.
    pub(super) fn on_drop(&self) -> GivesUp {
        GivesUp(self.clone())
    }
}

impl Drop for GivesUp {
    fn drop(&mut self) {
        if let Some(limit) = &self.0.0 {
            limit.is_given_up.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None is never over, one in the past is, and one whose result nobody waits for is at once.
    #[test]
    fn it_ends_with_its_time_or_its_reader() {
        assert!(!Deadline::default().is_over());
        assert!(Deadline::after(Duration::ZERO).is_over());
        let deadline = Deadline::after(Duration::from_secs(3600));
        let reader = deadline.on_drop();
        assert!(!deadline.is_over());
        drop(reader);
        assert!(deadline.is_over());
    }
}
