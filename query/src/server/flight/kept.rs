//! What a server keeps for callers between their requests, under handles that nobody can guess and that hold for the
//! caller alone who was given them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::access::Caller;
use crate::error::{QueryError, Result};

/// Bytes that are kept for one caller: a statement that lists as many values as may be has room.
const MOST_BYTES: usize = 48 << 20;
/// Bytes that are kept for all callers of one tenant, and for all tenants.
const MOST_BYTES_OF_TENANT: usize = 2 * MOST_BYTES;
const MOST_BYTES_OF_ALL: usize = 5 * MOST_BYTES;
/// How many times as much is kept for one tenant as for one caller, and for all.
const CALLERS_OF_TENANT: usize = 4;
const CALLERS_OF_ALL: usize = 16;

/// Things of callers. Of those of one caller, or of one tenant, the one that was longest unused goes when they become too
/// many; when those of all do, that of the tenant that has the most.
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
        entries.insert(handle.clone(), Entry { caller: caller.clone(), value, bytes, used: now });
        while let Some(oldest) = self.one_too_many(&entries, caller, &handle) {
            entries.remove(&oldest);
        }
        Ok(())
    }

    /// The handle of what has to go, if the caller, its tenant or everybody has too much. What was put last stays.
    fn one_too_many(&self, entries: &HashMap<Bytes, Entry<T>>, caller: &Caller, last: &Bytes) -> Option<Bytes> {
        let tenant = &caller.tenant;
        let oldest = |is_meant: &dyn Fn(&Entry<T>) -> bool, most: usize, bytes: usize| {
            let meant = || entries.iter().filter(|(_, entry)| is_meant(entry));
            let sum: usize = meant().map(|(_, entry)| entry.bytes).sum();
            if meant().count() <= most && sum <= bytes {
                return None;
            }
            let others = meant().filter(|(handle, _)| *handle != last);
            others.min_by_key(|(_, entry)| entry.used).map(|(handle, _)| handle.clone())
        };
        let of_caller = oldest(&|entry: &Entry<T>| entry.caller == *caller, self.most, MOST_BYTES);
        let of_tenant = || {
            let is_theirs = |entry: &Entry<T>| entry.caller.tenant == *tenant;
            oldest(&is_theirs, CALLERS_OF_TENANT * self.most, MOST_BYTES_OF_TENANT)
        };
        let of_all = || {
            let sum: usize = entries.values().map(|entry| entry.bytes).sum();
            if entries.len() <= CALLERS_OF_ALL * self.most && sum <= MOST_BYTES_OF_ALL {
                return None;
            }
            let mut tenants: HashMap<&str, (usize, usize)> = HashMap::new();
            for (_, entry) in entries.iter().filter(|(handle, _)| *handle != last) {
                let (bytes, count) = tenants.entry(&entry.caller.tenant).or_default();
                *bytes += entry.bytes;
                *count += 1;
            }
            let (largest, _) = tenants.into_iter().max_by_key(|(_, has)| *has)?;
            oldest(&|entry: &Entry<T>| *entry.caller.tenant == *largest, 0, 0)
        };
        of_caller.or_else(of_tenant).or_else(of_all)
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

    /// Callers of one tenant together keep so much, and all tenants together: what goes is of the tenant that has the most,
    /// so one that makes many principals takes nothing from the others.
    #[test]
    fn tenants_have_their_share() {
        let named = |tenant: &str, number: usize| Caller { principal: number.to_string().into(), ..caller(tenant) };
        let kept = Kept::new(Duration::from_secs(3600), 10);
        let theirs = kept.put(&caller("other"), 0, 1).unwrap();
        let handles: Vec<Bytes> = (0..3).map(|n| kept.put(&named("acme", n), n, MOST_BYTES).unwrap()).collect();
        let has = |handle: &[u8], caller: &Caller| kept.with(handle, caller, |_| ()).is_some();
        assert!(!has(&handles[0], &named("acme", 0)) && has(&handles[1], &named("acme", 1)));
        assert!(has(&handles[2], &named("acme", 2)) && has(&theirs, &caller("other")));
        for n in 0..4 {
            kept.put(&caller(&format!("tenant {n}")), n, MOST_BYTES).unwrap();
        }
        assert!(has(&theirs, &caller("other")), "it has the least");
        assert!(!has(&handles[1], &named("acme", 1)), "of the one that has the most the oldest goes");
        let count = 10 * CALLERS_OF_TENANT;
        let many: Vec<Bytes> = (0..=count).map(|n| kept.put(&named("many", n), n, 0).unwrap()).collect();
        assert!(!has(&many[0], &named("many", 0)) && has(&many[count], &named("many", count)));
    }
}
