//! The open incidents, and how they lie in the lake: in parts, of which the first may have all of them, and each other what
//! has changed since. A round writes what has changed in it, however many are open.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tracerag_query::Activity;

use super::decide::Open;

/// Parts at once; a round with one more writes everything anew.
const MOST_PARTS: usize = 64;
/// Changes that parts may hold beyond as many as there are incidents, before everything is written anew.
const SLACK: usize = 1_000;

/// By tenant and fingerprint; nothing: it is open no more.
type Changes = BTreeMap<String, BTreeMap<String, Option<Open>>>;

/// Open incidents by tenant and fingerprint.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OpenIncidents {
    by_tenant: BTreeMap<String, BTreeMap<String, Open>>,
    /// Of which the parts say something else.
    changed: BTreeSet<(String, String)>,
}

/// A part that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub name: String,
    /// How many incidents it has.
    pub incidents: usize,
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unwritten {
    pub text: Vec<u8>,
    pub incidents: usize,
    /// Whether it stands for all parts before it.
    pub is_whole: bool,
}

impl OpenIncidents {
    /// Incidents of a tenant that are remembered at once.
    const MOST: usize = 10_000;

    pub(crate) fn get(&self, tenant: &str, fingerprint: &str) -> Option<&Open> {
        self.by_tenant.get(tenant)?.get(fingerprint)
    }

    /// Opens an incident, changes it, or closes it.
    pub(crate) fn set(&mut self, tenant: &str, fingerprint: &str, next: Option<Open>) {
        if self.get(tenant, fingerprint) == next.as_ref() {
            return;
        }
        self.changed.insert((tenant.to_owned(), fingerprint.to_owned()));
        self.put(tenant, fingerprint, next);
    }

    fn put(&mut self, tenant: &str, fingerprint: &str, next: Option<Open>) {
        if let Some(next) = next {
            self.by_tenant.entry(tenant.to_owned()).or_default().insert(fingerprint.to_owned(), next);
            return;
        }
        let Some(of_tenant) = self.by_tenant.get_mut(tenant) else { return };
        of_tenant.remove(fingerprint);
        if of_tenant.is_empty() {
            self.by_tenant.remove(tenant);
        }
    }

    /// Lets an incident that has another number now, because it was merged or mapped, go on with what was told of it under
    /// the numbers that it had: it is not new, and neither its spike nor that it came back after its fix is told of twice.
    /// Of several that of the one seen last is kept, unless it is open under its own number already.
    pub(crate) fn go_on(&mut self, tenant: &str, seen: &Activity) {
        let others = seen.members.iter().filter(|member| **member != seen.fingerprint);
        let fix = seen.fix.as_ref().map(|fix| &fix.fix_id);
        let mut before: Option<Open> = None;
        let (mut regressed, mut spiking) = (None, None);
        for member in others {
            let Some(open) = self.get(tenant, member).cloned() else { continue };
            self.set(tenant, member, None);
            regressed = regressed.or_else(|| open.regressed.clone().filter(|told| Some(told) == fix));
            spiking = spiking.or(open.spiking);
            if before.as_ref().is_none_or(|before| before.last_seen <= open.last_seen) {
                before = Some(open);
            }
        }
        let Some(before) = before else { return };
        let mut next = match self.get(tenant, &seen.fingerprint) {
            Some(own) => own.clone(),
            None => Open { known: None, ..before },
        };
        next.regressed = regressed.or(next.regressed);
        next.spiking = next.spiking.or(spiking);
        self.set(tenant, &seen.fingerprint, Some(next));
    }

    /// Every one, by tenant.
    pub(crate) fn by_tenant(&self) -> impl Iterator<Item = (&String, &BTreeMap<String, Open>)> {
        self.by_tenant.iter()
    }

    /// Forgets those that were seen longest ago where a tenant has too many; gives how many. Nobody is told that these are
    /// quiet, and when they are seen again, they may be told of as new once more, under the same id.
    pub(crate) fn forget_oldest(&mut self) -> usize {
        let mut forgotten = 0;
        for (tenant, open) in self.by_tenant.iter_mut().filter(|(_, open)| open.len() > Self::MOST) {
            let mut by_time: Vec<(i64, String)> =
                open.iter().map(|(fingerprint, open)| (open.last_seen, fingerprint.clone())).collect();
            let too_many = by_time.len() - Self::MOST;
            by_time.select_nth_unstable(too_many);
            for (_, fingerprint) in by_time.into_iter().take(too_many) {
                open.remove(&fingerprint);
                self.changed.insert((tenant.clone(), fingerprint));
            }
            forgotten += too_many;
        }
        forgotten
    }

    /// Takes in a part; they come in the order in which they were written.
    ///
    /// # Errors
    /// When it is no part.
    pub(crate) fn take(&mut self, part: &[u8]) -> serde_json::Result<()> {
        let changes: Changes = serde_json::from_slice(part)?;
        for (tenant, of_tenant) in changes {
            for (fingerprint, next) in of_tenant {
                self.put(&tenant, &fingerprint, next);
            }
        }
        Ok(())
    }

    /// What the parts do not say: everything where they have become many or hold more that is past than present, else what
    /// has changed. `None`: they say all of it.
    ///
    /// # Errors
    /// When something cannot be written as JSON.
    pub(crate) fn unwritten(&self, parts: &[Part]) -> serde_json::Result<Option<Unwritten>> {
        if self.changed.is_empty() {
            return Ok(None);
        }
        let open: usize = self.by_tenant.values().map(BTreeMap::len).sum();
        let written: usize = parts.iter().map(|part| part.incidents).sum();
        if parts.len() >= MOST_PARTS || written + self.changed.len() > 2 * open + SLACK {
            let text = serde_json::to_vec(&self.by_tenant)?;
            return Ok(Some(Unwritten { text, incidents: open, is_whole: true }));
        }
        let mut changes: BTreeMap<&str, BTreeMap<&str, Option<&Open>>> = BTreeMap::new();
        for (tenant, fingerprint) in &self.changed {
            changes.entry(tenant).or_default().insert(fingerprint, self.get(tenant, fingerprint));
        }
        let text = serde_json::to_vec(&changes)?;
        Ok(Some(Unwritten { text, incidents: self.changed.len(), is_whole: false }))
    }

    /// All of it is written.
    pub(crate) fn is_written(&mut self) {
        self.changed.clear();
    }
}
