//! Which fingerprint counts for which: what people have merged and split, and what releases have mapped.
//!
//! Rules are only ever added. A release whose rules of fingerprints differ maps old fingerprints to new ones: rows with
//! versions, of which the newest of a fingerprint holds. What people say of a fingerprint is said of what it goes on as:
//! their newest rule holds, whichever of its fingerprints it named. Who has split a fingerprint off another one is right
//! also where a release maps both to one: it stays on its own.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use tracerag_schemas::Table;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::SearchCache;
use crate::error::Result;
use crate::rows::{Columns, number, owned, text};
use crate::snapshot::{Read, Snapshot};

/// Tenants whose merges are kept at once.
const KEPT_TENANTS: usize = 64;
/// Bytes of merges that are kept at once, and those that were read last in any case.
const KEPT_BYTES: usize = 32 << 20;

/// Which fingerprint each fingerprint counts for that does not count for itself.
#[derive(Debug, Default)]
pub(crate) struct Merges {
    targets: HashMap<String, String>,
    /// Those that count for a fingerprint.
    members: HashMap<String, Vec<String>>,
}

impl Merges {
    pub(crate) async fn read(snapshot: &Snapshot) -> Result<Self> {
        let columns = ["rule_id", "action", "fingerprint", "target", "created_at", "to_version"];
        let read = Read { columns: &columns, filter: None, ranges: vec![] };
        let mut rules = Rules::default();
        for batch in snapshot.read(Table::GroupingRules, read).await? {
            let columns = Columns::of("grouping_rules", &batch);
            let (ids, actions) = (columns.text("rule_id")?, columns.text("action")?);
            let (fingerprints, targets) = (columns.text("fingerprint")?, columns.text("target")?);
            let (times, versions) = (columns.time("created_at")?, columns.code("to_version")?);
            for row in 0..batch.num_rows() {
                let Some(fingerprint) = text(fingerprints, row) else { continue };
                rules.add(Rule {
                    fingerprint: fingerprint.to_owned(),
                    target: owned(targets, row),
                    is_merge: text(actions, row) == Some("merge"),
                    to_version: number(versions, row),
                    newest: (number(times, row), owned(ids, row)),
                });
            }
        }
        Ok(rules.merges())
    }

    /// These fingerprints, and those that count for them.
    pub(crate) fn members<'a>(&'a self, fingerprints: &[&'a str]) -> Vec<&'a str> {
        let merged = fingerprints.iter().filter_map(|fingerprint| self.members.get(*fingerprint)).flatten();
        fingerprints.iter().copied().chain(merged.map(String::as_str)).collect()
    }

    /// The fingerprint that this one counts for.
    pub(crate) fn target<'a>(&'a self, fingerprint: &'a str) -> &'a str {
        self.targets.get(fingerprint).map_or(fingerprint, String::as_str)
    }

    /// What they take, about: each fingerprint stands in both maps.
    fn bytes(&self) -> usize {
        let texts = self.targets.iter().map(|(fingerprint, target)| fingerprint.len() + target.len());
        texts.map(|bytes| 2 * (bytes + 2 * size_of::<String>())).sum()
    }

    /// What tells these merges apart from others, whatever the order in which they were read.
    pub(crate) fn digest(&self) -> u64 {
        let of = |(fingerprint, target): (&str, &str)| {
            xxh3_64_with_seed(target.as_bytes(), xxh3_64_with_seed(fingerprint.as_bytes(), 0))
        };
        self.targets().map(of).fold(0, u64::wrapping_add)
    }

    /// The fingerprints that count for another one, and that one.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.targets.iter().map(|(fingerprint, target)| (fingerprint.as_str(), target.as_str()))
    }
}

/// The merges of a snapshot for those that need them at the same time: they are read once, by whoever is first, if they are
/// not kept of an earlier question.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedMerges {
    read: Arc<OnceCell<Arc<Merges>>>,
    kept: MergesCache,
}

impl SharedMerges {
    pub(crate) fn kept_in(cache: &SearchCache) -> Self {
        Self { read: Arc::default(), kept: cache.merges.clone() }
    }

    pub(crate) async fn of(&self, snapshot: &Snapshot) -> Result<&Merges> {
        self.read.get_or_try_init(|| self.kept.of(snapshot)).await.map(Arc::as_ref)
    }
}

/// A version of the rules, for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    table: String,
    tenant: String,
    version: u64,
}

impl Key {
    /// The version that a snapshot reads; `None` where there are no rules.
    async fn of(snapshot: &Snapshot) -> Result<Option<Self>> {
        let opened = snapshot.open(Table::GroupingRules, &[]).await?;
        Ok(opened.first().map(|dataset| Self {
            table: dataset.uri().to_owned(),
            tenant: snapshot.tenant().to_owned(),
            version: dataset.version_id(),
        }))
    }
}

/// Merges at the version of the rules that was read last, of each tenant; what was read last at the end.
type Kept = VecDeque<(Key, Arc<Merges>)>;

/// The merges of tenants. A release may have mapped every incident, and questions come more often than rules. Clones share
/// them.
#[derive(Debug, Clone, Default)]
pub(super) struct MergesCache(Arc<Mutex<Kept>>);

impl MergesCache {
    async fn of(&self, snapshot: &Snapshot) -> Result<Arc<Merges>> {
        let Some(key) = Key::of(snapshot).await? else { return Ok(Arc::default()) };
        if let Some((_, known)) = self.kept().iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(known));
        }
        let merges = Arc::new(Merges::read(snapshot).await?);
        // With rules that came meanwhile they are those of another version.
        if Key::of(snapshot).await?.as_ref() == Some(&key) {
            self.keep(key, Arc::clone(&merges));
        }
        Ok(merges)
    }

    fn keep(&self, key: Key, merges: Arc<Merges>) {
        let mut kept = self.kept();
        kept.retain(|(known, _)| known.table != key.table || known.tenant != key.tenant);
        kept.push_back((key, merges));
        let mut bytes: usize = kept.iter().map(|(_, merges)| merges.bytes()).sum();
        while kept.len() > KEPT_TENANTS || (kept.len() > 1 && bytes > KEPT_BYTES) {
            let Some((_, oldest)) = kept.pop_front() else { break };
            bytes -= oldest.bytes();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what the newest of several rows is found: when it was written, and its id.
type Newest = (Option<i64>, Option<String>);

/// One row of `grouping_rules`.
#[derive(Debug, Clone)]
struct Rule {
    fingerprint: String,
    target: Option<String>,
    is_merge: bool,
    /// Of a release's, the version that it mapped to.
    to_version: Option<i32>,
    newest: Newest,
}

/// The rows that hold.
#[derive(Debug, Default)]
struct Rules {
    /// Of people, by the fingerprint that they named.
    people: HashMap<String, Rule>,
    /// Of people, by the two fingerprints that they named.
    pairs: HashMap<(String, Option<String>), Rule>,
    /// Of releases.
    releases: HashMap<String, Rule>,
}

impl Rules {
    fn add(&mut self, rule: Rule) {
        if rule.to_version.is_some() {
            keep_newest(&mut self.releases, rule.fingerprint.clone(), rule);
        } else {
            keep_newest(&mut self.pairs, (rule.fingerprint.clone(), rule.target.clone()), rule.clone());
            keep_newest(&mut self.people, rule.fingerprint.clone(), rule);
        }
    }

    /// What a fingerprint goes on as, over all versions since its own.
    fn successor<'a>(&'a self, fingerprint: &'a str) -> &'a str {
        let mut at = fingerprint;
        let mut version = i32::MIN;
        while let Some(rule) = self.releases.get(at) {
            // Versions rise along the way, so it has an end.
            let (Some(target), Some(to)) = (rule.target.as_deref(), rule.to_version) else { break };
            if to <= version {
                break;
            }
            (at, version) = (target, to);
        }
        at
    }

    /// Fingerprints that would go on as one with another although a person has split the two.
    fn apart(&self) -> HashSet<&str> {
        let mut newest: HashMap<&str, &Rule> = HashMap::new();
        for rule in self.pairs.values() {
            let (fingerprint, Some(other)) = (rule.fingerprint.as_str(), rule.target.as_deref()) else { continue };
            let successor = self.successor(fingerprint);
            if fingerprint == other || successor != self.successor(other) {
                continue;
            }
            // One that others go on as stays what it is, so the other one is kept off it.
            let apart = if successor == fingerprint { other } else { fingerprint };
            if newest.get(apart).is_none_or(|known| known.newest < rule.newest) {
                newest.insert(apart, rule);
            }
        }
        newest.into_iter().filter(|(_, rule)| !rule.is_merge).map(|(fingerprint, _)| fingerprint).collect()
    }

    fn merges<'a>(&'a self) -> Merges {
        let apart = self.apart();
        let successor = |fingerprint: &'a str| -> &'a str {
            if apart.contains(fingerprint) { fingerprint } else { self.successor(fingerprint) }
        };
        // What people say, of what goes on: the newest of all that it was called.
        let mut said: HashMap<&str, (&Newest, Option<&str>)> = HashMap::new();
        for rule in self.people.values() {
            let fingerprint = successor(rule.fingerprint.as_str());
            let target = rule.target.as_deref().filter(|_| rule.is_merge).map(successor);
            let target = target.filter(|target| *target != fingerprint);
            if said.get(fingerprint).is_none_or(|(newest, _)| **newest < rule.newest) {
                said.insert(fingerprint, (&rule.newest, target));
            }
        }
        let named = self.people.keys().chain(self.releases.keys()).map(String::as_str);
        let named: BTreeSet<&str> = named.chain(said.keys().copied()).collect();
        let mut merges = Merges::default();
        for fingerprint in named {
            let target = end(&said, successor(fingerprint));
            if target != fingerprint {
                merges.targets.insert(fingerprint.to_owned(), target.to_owned());
                merges.members.entry(target.to_owned()).or_default().push(fingerprint.to_owned());
            }
        }
        merges
    }
}

/// Where a chain of merges ends. People name none, but fingerprints that become one may make one, and even a ring: of
/// that the first in order counts.
fn end<'a>(said: &HashMap<&'a str, (&Newest, Option<&'a str>)>, from: &'a str) -> &'a str {
    let mut way = vec![from];
    let mut at = from;
    while let Some(&(_, Some(next))) = said.get(at) {
        if let Some(ring) = way.iter().position(|passed| *passed == next) {
            return way.iter().skip(ring).min().copied().unwrap_or(next);
        }
        way.push(next);
        at = next;
    }
    at
}

/// Keeps a rule unless a newer one is known.
fn keep_newest<K: Eq + Hash>(rules: &mut HashMap<K, Rule>, key: K, rule: Rule) {
    let is_newer = |known: &Rule| (known.to_version, &known.newest) < (rule.to_version, &rule.newest);
    if rules.get(&key).is_none_or(is_newer) {
        rules.insert(key, rule);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A rule of a person (`version` 0) or of a release, at a time.
    fn rule(at: i64, action: &str, fingerprint: &str, target: &str, version: i32) -> Rule {
        Rule {
            fingerprint: fingerprint.to_owned(),
            target: (!target.is_empty()).then(|| target.to_owned()),
            is_merge: action == "merge",
            to_version: (version > 0).then_some(version),
            newest: (Some(at), None),
        }
    }

    fn merges(rules: &[(&str, &str, &str, i32)]) -> Merges {
        let mut all = Rules::default();
        for (at, (action, fingerprint, target, version)) in (0..).zip(rules) {
            all.add(rule(at, action, fingerprint, target, *version));
        }
        all.merges()
    }

    fn counts_for<const N: usize>(merges: &Merges, fingerprints: [&str; N]) -> [String; N] {
        fingerprints.map(|fingerprint| merges.target(fingerprint).to_owned())
    }

    /// A person's merge, then a release with other numbers for both, and another release. Guarantees that old and new
    /// numbers count for one incident, also where a version was mapped that has no failures any more, and that a person
    /// may undo it under the new number.
    #[test]
    fn what_people_merged_stays_merged_under_new_numbers() {
        let rules = [("merge", "a", "b", 0), ("map", "a", "a2", 2), ("map", "b", "b2", 2), ("map", "b2", "b3", 3)];
        let found = merges(&rules);
        assert_eq!(counts_for(&found, ["a", "a2", "b", "b2", "b3", "c"]), ["b3", "b3", "b3", "b3", "b3", "c"]);
        let mut members = found.members(&["b3"]);
        members.sort_unstable();
        assert_eq!(members, ["a", "a2", "b", "b2", "b3"]);
        let undone: Vec<_> = rules.into_iter().chain([("split", "a2", "b3", 0)]).collect();
        assert_eq!(counts_for(&merges(&undone), ["a", "a2", "b"]), ["a2", "a2", "b3"]);
    }

    /// A fingerprint that a person has split off another one, and a release that takes both for one. Guarantees that the
    /// split holds, that the other one goes on, that a later merge under the old number takes that one alone, and that who
    /// merges them again is right.
    #[test]
    fn what_people_split_stays_split() {
        let rules = [("merge", "a", "b", 0), ("split", "a", "b", 0), ("map", "a", "n", 2), ("map", "b", "n", 2)];
        assert_eq!(counts_for(&merges(&rules), ["a", "b", "n"]), ["a", "n", "n"]);
        let merged: Vec<_> = rules.into_iter().chain([("merge", "a", "z", 0)]).collect();
        assert_eq!(counts_for(&merges(&merged), ["a", "b", "n"]), ["z", "n", "n"]);
        let again: Vec<_> = rules.into_iter().chain([("merge", "a", "n", 0)]).collect();
        assert_eq!(counts_for(&merges(&again), ["a", "b", "n"]), ["n", "n", "n"]);
    }

    /// A new fingerprint that a person has split off an old one before a release maps the old one to it. Guarantees that the
    /// split holds, and that who merges them again is right.
    #[test]
    fn a_new_fingerprint_stays_split_off_an_old_one() {
        let rules = [("merge", "n", "a", 0), ("split", "n", "a", 0), ("map", "a", "n", 2), ("map", "b", "n", 2)];
        assert_eq!(counts_for(&merges(&rules), ["a", "b", "n"]), ["a", "n", "n"]);
        let again: Vec<_> = rules.into_iter().chain([("merge", "n", "a", 0)]).collect();
        assert_eq!(counts_for(&merges(&again), ["a", "b", "n"]), ["n", "n", "n"]);
    }

    /// A mapping that a person takes back, and one that a release has found to be none. Guarantees that both stay on
    /// their own.
    #[test]
    fn a_mapping_can_be_taken_back() {
        assert_eq!(counts_for(&merges(&[("map", "a", "a2", 2), ("split", "a", "a2", 0)]), ["a", "a2"]), ["a", "a2"]);
        assert_eq!(counts_for(&merges(&[("map", "a", "a2", 2), ("split", "a", "", 2)]), ["a", "a2"]), ["a", "a2"]);
        assert_eq!(counts_for(&merges(&[("split", "a", "", 3), ("map", "a", "a2", 2)]), ["a", "a2"]), ["a", "a2"]);
    }

    /// Two merges that a release turns into a ring. Guarantees one incident, and that it ends.
    #[test]
    fn a_ring_is_one_incident() {
        let rules = [
            ("merge", "a", "b", 0),
            ("merge", "c", "d", 0),
            ("map", "a", "x", 2),
            ("map", "d", "x", 2),
            ("map", "b", "y", 2),
            ("map", "c", "y", 2),
        ];
        assert_eq!(counts_for(&merges(&rules), ["a", "b", "c", "d", "x", "y"]), ["x"; 6]);
    }

    proptest! {
        /// Any rules. Guarantees that what counts for another counts for one that counts for itself, that members and
        /// targets say the same, and that the order in which rows are read does not matter.
        #[test]
        fn targets_count_for_themselves(
            drawn in prop::collection::vec((0_usize..3, 0_u8..8, 0_u8..8, 2_i32..4), 0..20), turn in 0_usize..20,
        ) {
            let rules = drawn.iter().zip(0..).map(|((kind, fingerprint, target, version), at)| {
                let action = ["merge", "split", "map"].into_iter().nth(*kind).unwrap_or_default();
                let version = if action == "map" { *version } else { 0 };
                // A version's numbers are its own.
                rule(at, action, &fingerprint.to_string(), &format!("{target}{}", "n".repeat(version as usize)), version)
            });
            let mut rules: Vec<Rule> = rules.collect();
            let read = |rules: &[Rule]| {
                let mut all = Rules::default();
                rules.iter().cloned().for_each(|rule| all.add(rule));
                all.merges()
            };
            let merges = read(&rules);
            for (fingerprint, target) in merges.targets() {
                prop_assert_eq!(merges.target(target), target);
                prop_assert!(merges.members(&[target]).contains(&fingerprint));
            }
            let places = rules.len().max(1);
            rules.rotate_left(turn % places);
            prop_assert_eq!(read(&rules).targets, merges.targets);
        }
    }
}
