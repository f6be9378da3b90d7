//! Who was not let in: rows of `audit`, and never more of them than a flood of attempts may make.
//!
//! Somebody who is not known can try as often as they like. So the first refusal of a kind (interface, reason, address) is
//! a row, those within the minute after it are counted, and become one row more, when the minute is over: a flood that has
//! ended is not left untold until somebody tries again. Kinds are bounded, too: beyond the bound
//! addresses are no longer told apart.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::audit::Audit;

/// How long refusals of a kind are counted after the one that was written down.
const COUNTED_FOR: Duration = Duration::from_secs(60);
/// Kinds that are told apart at once, but for those of no single address, of which there are few.
const KINDS: usize = 256;

/// Where somebody shows a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Remote {
    /// As `audit` calls the interface.
    pub interface: &'static str,
    /// The other end of the connection: the client's, or a proxy's that stands before it. `None` where there is none.
    pub address: Option<IpAddr>,
}

/// Refusals that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    remote: Remote,
    reason: &'static str,
}

#[derive(Debug)]
struct Counted {
    /// When the first one was written down.
    since: Instant,
    /// How many came after it.
    more: u64,
}

/// Counts refusals and says which of them are written down.
#[derive(Debug, Default)]
struct Counts {
    kinds: HashMap<Kind, Counted>,
}

impl Counts {
    /// One more. What is to be written down now, with how many refusals each row stands for.
    fn count(&mut self, kind: Kind, now: Instant) -> Vec<(Kind, u64)> {
        let mut rows = self.over(now);
        let kind = match self.kinds.len() < KINDS || self.kinds.contains_key(&kind) {
            true => kind,
            false => Kind { remote: Remote { address: None, ..kind.remote }, ..kind },
        };
        match self.kinds.entry(kind) {
            Entry::Occupied(mut counted) => counted.get_mut().more += 1,
            Entry::Vacant(place) => {
                place.insert(Counted { since: now, more: 0 });
                rows.push((kind, 1));
            }
        }
        rows
    }

    /// What is to be written down now of kinds whose minute is over.
    fn over(&mut self, now: Instant) -> Vec<(Kind, u64)> {
        self.end(|counted| now.duration_since(counted.since) >= COUNTED_FOR)
    }

    /// Forgets kinds; those that were counted after their first row are to be written down.
    fn end(&mut self, is_over: impl Fn(&Counted) -> bool) -> Vec<(Kind, u64)> {
        let mut rows = Vec::new();
        self.kinds.retain(|kind, counted| {
            let is_over = is_over(counted);
            if is_over && counted.more > 0 {
                rows.push((*kind, counted.more));
            }
            !is_over
        });
        rows
    }
}

/// Writes down who was not let in, for the tenant of the installation: a secret that does not hold is of no tenant.
#[derive(Debug)]
pub(super) struct Refused {
    audit: Arc<Audit>,
    tenant: Arc<str>,
    counts: Mutex<Counts>,
}

impl Refused {
    pub(super) fn new(audit: Arc<Audit>, tenant: Arc<str>) -> Self {
        Self { audit, tenant, counts: Mutex::default() }
    }

    /// Somebody was refused, for a reason by its short name.
    pub(super) fn note(&self, remote: Remote, reason: &'static str) {
        let kind = Kind { remote, reason };
        let rows = self.counts.lock().unwrap_or_else(PoisonError::into_inner).count(kind, Instant::now());
        self.write(rows);
    }

    /// Writes down, once a minute, what was counted in a minute that is over. It does not end.
    pub(super) async fn tell_in_time(&self) {
        loop {
            sleep(COUNTED_FOR).await;
            self.tell(Instant::now());
        }
    }

    /// Writes down what was counted in a minute that is over at this time.
    pub(super) fn tell(&self, now: Instant) {
        let rows = self.counts.lock().unwrap_or_else(PoisonError::into_inner).over(now);
        self.write(rows);
    }

    /// Writes down what was counted, before the server ends.
    pub(super) fn close(&self) {
        let rows = self.counts.lock().unwrap_or_else(PoisonError::into_inner).end(|_| true);
        self.write(rows);
    }

    fn write(&self, rows: Vec<(Kind, u64)>) {
        for (Kind { remote, reason }, times) in rows {
            self.audit.refused(&self.tenant, remote.interface, from(remote.address, times), reason);
        }
    }
}

/// Who it was, as far as that is known, and how often.
fn from(address: Option<IpAddr>, times: u64) -> String {
    let address = address.map_or_else(|| String::from("elsewhere"), |address| address.to_string());
    match times {
        1 => format!("from {address}"),
        times => format!("from {address}, {times} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(last: u8, reason: &'static str) -> Kind {
        let address = Some(IpAddr::from([192, 0, 2, last]));
        Kind { remote: Remote { interface: "http", address }, reason }
    }

    /// A thousand attempts from one address within a minute are two rows: the first, and how many came after it once the
    /// minute is over. Another address and another reason are kinds of their own.
    #[test]
    fn a_flood_is_two_rows() {
        let mut counts = Counts::default();
        let start = Instant::now();
        let (wrong, none, other) = (kind(1, "token-unknown"), kind(1, "token-missing"), kind(2, "token-unknown"));
        assert_eq!(counts.count(wrong, start), [(wrong, 1)]);
        for _ in 1..1_000 {
            assert!(counts.count(wrong, start).is_empty());
        }
        assert_eq!(counts.count(none, start), [(none, 1)]);
        assert_eq!(counts.count(other, start + COUNTED_FOR), [(wrong, 999), (other, 1)]);
        assert_eq!(counts.count(wrong, start + COUNTED_FOR), [(wrong, 1)]);
        assert!(counts.end(|_| true).is_empty());
    }

    /// Attempts are counted, and nobody tries again. Guarantees that they are told when a minute has passed since the first one,
    /// not before and once; a kind that was told as a whole already leaves nothing to be told.
    #[test]
    fn what_was_counted_is_told_in_time() {
        let mut counts = Counts::default();
        let start = Instant::now();
        let (often, once) = (kind(1, "token-unknown"), kind(2, "token-unknown"));
        let told: usize = [often, often, often, once].map(|kind| counts.count(kind, start).len()).iter().sum();
        assert_eq!(told, 2);
        assert!(counts.over(start + COUNTED_FOR - Duration::from_secs(1)).is_empty());
        assert_eq!(counts.over(start + COUNTED_FOR), [(often, 2)]);
        assert!(counts.kinds.is_empty() && counts.over(start + COUNTED_FOR * 2).is_empty());
    }

    /// Many addresses are told apart up to a bound, and counted together beyond it: rows stay bounded whoever asks.
    #[test]
    fn many_addresses_are_few_rows() {
        let mut counts = Counts::default();
        let start = Instant::now();
        let many = (0..=u8::MAX).flat_map(|last| [kind(last, "token-unknown"), kind(last, "token-missing")]);
        let rows: Vec<(Kind, u64)> = many.flat_map(|kind| counts.count(kind, start)).collect();
        let elsewhere = rows.iter().filter(|(kind, _)| kind.remote.address.is_none()).count();
        assert_eq!((rows.len(), elsewhere), (KINDS + 2, 2));
        let counted: u64 = counts.end(|_| true).iter().map(|(_, more)| more).sum();
        assert_eq!(rows.len() as u64 + counted, 512, "every attempt is counted");
    }

    /// A row says where from, and how often where it stands for several.
    #[test]
    fn rows_say_where_from() {
        assert_eq!(from(Some(IpAddr::from([192, 0, 2, 1])), 1), "from 192.0.2.1");
        assert_eq!(from(None, 41), "from elsewhere, 41 times");
    }
}
