//! What a server keeps for callers between their requests, under handles that nobody can guess and that hold for the
//! caller alone who was given them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::access::Caller;
use crate::error::{QueryError, Result};

/// Bytes that are kept for one caller.
const MOST_BYTES: usize = 16 << 20;

/// Things of callers. Of those of one caller the one that was longest unused goes when they become too many.
pub(super) struct Kept<T> {
    entries: Mutex<HashMap<Bytes, Entry<T>>>,
    /// How long something is kept that nobody uses.
    lasts: Duration,
    /// How many are kept for one caller.
    most: usize,
}

struct Entry<T> {
    caller: Caller,
    value: T,
    bytes: usize,
    used: Instant,
}

impl<T> Kept<T> {
    pub(super) fn new(lasts: Duration, most: usize) -> Self {
        Self { entries: Mutex::default(), lasts, most }
    }

    /// Keeps something that takes so many bytes, and gives its handle.
    ///
    /// # Errors
    /// As [`Kept::replace`].
    pub(super) fn put(&self, caller: &Caller, value: T, bytes: usize) -> Result<Bytes> {
        let handle = Bytes::copy_from_slice(&rand::random::<[u8; 16]>());
        self.replace(handle.clone(), caller, value, bytes)?;
        Ok(handle)
    }

    /// Keeps something under a handle that the caller has.
    ///
    /// # Errors
    /// [`QueryError::TooLarge`] for what alone takes more than is kept for a caller. What was kept before stays.
    pub(super) fn replace(&self, handle: Bytes, caller: &Caller, value: T, bytes: usize) -> Result<()> {
        if bytes > MOST_BYTES {
            let why = format!(
                "takes more than {MOST_BYTES} bytes with its plan and its values, and is not kept until its rows are \
                 fetched; read fewer tables, put long lists of values into a subquery, or ask over HTTP"
            );
            return Err(QueryError::TooLarge { why });
        }
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| now.duration_since(entry.used) < self.lasts);
        entries.insert(handle, Entry { caller: caller.clone(), value, bytes, used: now });
        while let Some(oldest) = self.one_too_many(&entries, caller) {
            entries.remove(&oldest);
        }
        Ok(())
    }

    /// The handle of what has to go, if the caller has too much.
    fn one_too_many(&self, entries: &HashMap<Bytes, Entry<T>>, caller: &Caller) -> Option<Bytes> {
        let own = || entries.iter().filter(|(_, entry)| entry.caller == *caller);
        let bytes: usize = own().map(|(_, entry)| entry.bytes).sum();
        if own().count() <= self.most && bytes <= MOST_BYTES {
            return None;
        }
        own().min_by_key(|(_, entry)| entry.used).map(|(handle, _)| handle.clone())
    }

    /// Uses what the caller has under a handle; `None` if it is not kept, or another's.
    pub(super) fn with<R>(&self, handle: &[u8], caller: &Caller, usage: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry =
            entries.get_mut(handle).filter(|entry| entry.caller == *caller && entry.used.elapsed() < self.lasts)?;
        entry.used = Instant::now();
        Some(usage(&mut entry.value))
    }

    /// Takes out what the caller has under a handle.
    pub(super) fn take(&self, handle: &[u8], caller: &Caller) -> Option<T> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.get(handle)?.caller != *caller {
            return None;
        }
        entries.remove(handle).map(|entry| entry.value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::access::Scope;

    fn caller(tenant: &str) -> Caller {
        Caller { tenant: tenant.into(), principal: "somebody".into(), scopes: [Scope::Sql].into_iter().collect() }
    }

    /// A handle is of the caller alone to whom it was given: the same principal of another tenant has nothing under it,
    /// and cannot take it away.
    #[test]
    fn a_handle_is_of_one_caller() {
        let kept = Kept::new(Duration::from_secs(3600), 10);
        let handle = kept.put(&caller("acme"), 1, 0).unwrap();
        assert_eq!(kept.with(&handle, &caller("other"), |value| *value), None);
        assert_eq!(kept.take(&handle, &caller("other")), None);
        assert_eq!(kept.with(&handle, &caller("acme"), |value| *value), Some(1));
        assert_eq!(kept.take(&handle, &caller("acme")), Some(1));
        assert_eq!(kept.take(&handle, &caller("acme")), None);
    }

    /// A caller who keeps too many, or too much, loses what was longest unused; others lose nothing. What
    /// is too large by itself takes nothing's place.
    #[test]
    fn what_was_longest_unused_goes() {
        let kept = Kept::new(Duration::from_secs(3600), 2);
        let theirs = kept.put(&caller("other"), 0, 0).unwrap();
        let first = kept.put(&caller("acme"), 1, 0).unwrap();
        let second = kept.put(&caller("acme"), 2, 0).unwrap();
        kept.with(&first, &caller("acme"), |_| ()).unwrap();
        let third = kept.put(&caller("acme"), 3, 0).unwrap();
        let has = |handle: &[u8], tenant: &str| kept.with(handle, &caller(tenant), |_| ()).is_some();
        assert!(has(&theirs, "other") && has(&first, "acme") && !has(&second, "acme") && has(&third, "acme"));
        let large = kept.put(&caller("acme"), 4, MOST_BYTES).unwrap();
        assert!(has(&theirs, "other") && has(&large, "acme") && has(&third, "acme"));
        kept.put(&caller("acme"), 5, 1).unwrap();
        assert!(!has(&large, "acme"));
        assert!(kept.put(&caller("acme"), 6, MOST_BYTES + 1).is_err() && has(&third, "acme"));
    }
}
