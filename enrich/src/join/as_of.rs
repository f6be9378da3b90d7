//! As-of joins: which version of something was in effect for somebody at a time.
//!
//! A change holds for every service, instance and environment that it does not name. What is in effect
//! for a subject is the change with the greatest time that is not later, among those that hold for it; of
//! two at the same time the narrower one. Where the subject does not say its instance or environment,
//! each of those that changes name is a possibility.

use std::sync::Arc;

/// Whom a change holds for; `None` is everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scope {
    pub service: Option<Arc<str>>,
    pub instance: Option<Arc<str>>,
    pub environment: Option<Arc<str>>,
}

impl Scope {
    fn breadth(&self) -> usize {
        [&self.service, &self.instance, &self.environment].into_iter().filter(|part| part.is_none()).count()
    }
}

/// One change of a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change<T> {
    /// From when it holds, in ns.
    pub at: i64,
    pub scope: Scope,
    /// `None` takes it away.
    pub value: Option<T>,
}

/// For whom a change is looked up; `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Subject<'a> {
    pub service: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub environment: Option<&'a str>,
}

/// What was in effect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect<T> {
    Nothing,
    One(Arc<Change<T>>),
    /// More than one value is possible; oldest first.
    Ambiguous(Vec<Arc<Change<T>>>),
}

/// All changes of one key, by time.
#[derive(Debug, Clone)]
pub(crate) struct History<T> {
    changes: Vec<Arc<Change<T>>>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { changes: vec![] }
    }
}

impl<T: PartialEq> History<T> {
    /// Adds a change; `false` if it is known already. Among changes of one time and breadth the later
    /// arrival counts.
    pub(crate) fn insert(&mut self, change: Change<T>) -> bool {
        let order = |change: &Change<T>| (change.at, std::cmp::Reverse(change.scope.breadth()));
        let place = self.changes.partition_point(|known| order(known) <= order(&change));
        let same_time = self.changes[..place].iter().rev().take_while(|known| known.at == change.at);
        if same_time.into_iter().any(|known| **known == change) {
            return false;
        }
        self.changes.insert(place, Arc::new(change));
        true
    }

    pub(crate) fn changes(&self) -> &[Arc<Change<T>>] {
        &self.changes
    }

    /// What was in effect from `from` to `to`.
    pub(crate) fn effect(&self, subject: Subject<'_>, from: i64, to: i64) -> Effect<T> {
        let until = &self.changes[..self.changes.partition_point(|change| change.at <= to)];
        let holds = |named: &Option<Arc<str>>, of: Option<&str>| named.is_none() || named.as_deref() == of;
        let may_hold = |named: &Option<Arc<str>>, of: Option<&str>| of.is_none() || holds(named, of);
        let possible: Vec<&Arc<Change<T>>> = until
            .iter()
            .filter(|change| {
                holds(&change.scope.service, subject.service)
                    && may_hold(&change.scope.instance, subject.instance)
                    && may_hold(&change.scope.environment, subject.environment)
            })
            .collect();
        let instances = assumptions(subject.instance, possible.iter().map(|change| &change.scope.instance));
        let environments = assumptions(subject.environment, possible.iter().map(|change| &change.scope.environment));
        let mut candidates: Vec<&Arc<Change<T>>> = vec![];
        let mut appeared = false;
        for instance in &instances {
            for environment in &environments {
                let line = possible.iter().filter(|change| {
                    holds(&change.scope.instance, *instance) && holds(&change.scope.environment, *environment)
                });
                let mut before = None;
                let mut during = vec![];
                for change in line {
                    if change.at <= from { before = Some(*change) } else { during.push(*change) }
                }
                appeared |= before.is_none() && during.iter().any(|change| change.value.is_some());
                candidates.extend(before);
                candidates.extend(during);
            }
        }
        candidates.sort_by_key(|change| change.at);
        let mut distinct: Vec<&Arc<Change<T>>> = vec![];
        for candidate in candidates {
            match distinct.iter_mut().find(|known| known.value == candidate.value) {
                // The newest announcement of a value says since when, as long as it is not later than the start.
                Some(known) if candidate.at <= from => *known = candidate,
                Some(_) => {}
                None => distinct.push(candidate),
            }
        }
        match distinct.as_slice() {
            [] => Effect::Nothing,
            [one] if one.value.is_none() => Effect::Nothing,
            [one] if !appeared => Effect::One(Arc::clone(one)),
            several => {
                let mut several: Vec<Arc<Change<T>>> = several.iter().map(|change| Arc::clone(change)).collect();
                several.sort_by_key(|change| change.at);
                Effect::Ambiguous(several)
            }
        }
    }

    /// Forgets what nothing at or after `before` can ask about: all but the last change of each scope.
    pub(crate) fn prune(&mut self, before: i64) -> bool {
        let old = self.changes.partition_point(|change| change.at < before);
        let mut index = 0;
        let changes = std::mem::take(&mut self.changes);
        let superseded: Vec<bool> = (0..changes.len())
            .map(|at| at < old && changes[at + 1..old].iter().any(|later| later.scope == changes[at].scope))
            .collect();
        let length = changes.len();
        self.changes = changes;
        self.changes.retain(|_| {
            index += 1;
            !superseded[index - 1]
        });
        self.changes.len() < length
    }
}

/// What the subject says, or everything that it could be: none of those that are named, or one of them.
fn assumptions<'a>(said: Option<&'a str>, named: impl Iterator<Item = &'a Option<Arc<str>>>) -> Vec<Option<&'a str>> {
    if said.is_some() {
        return vec![said];
    }
    let mut all = vec![None];
    for name in named.filter_map(|name| name.as_deref()) {
        if !all.contains(&Some(name)) {
            all.push(Some(name));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(service: &str, instance: &str, environment: &str) -> Scope {
        let part = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        Scope { service: part(service), instance: part(instance), environment: part(environment) }
    }

    fn history(changes: &[(i64, Scope, Option<&'static str>)]) -> History<&'static str> {
        let mut history = History::default();
        for (at, scope, value) in changes {
            history.insert(Change { at: *at, scope: scope.clone(), value: *value });
        }
        history
    }

    fn subject<'a>(service: &'a str, instance: &'a str, environment: &'a str) -> Subject<'a> {
        let part = |text: &'a str| (!text.is_empty()).then_some(text);
        Subject { service: part(service), instance: part(instance), environment: part(environment) }
    }

    fn values(effect: &Effect<&'static str>) -> Vec<(Option<&'static str>, i64)> {
        match effect {
            Effect::Nothing => vec![],
            Effect::One(change) => vec![(change.value, change.at)],
            Effect::Ambiguous(changes) => changes.iter().map(|change| (change.value, change.at)).collect(),
        }
    }

    /// The greatest time that is not later counts, a change at the very start included; what comes after
    /// the end does not; order of arrival does not matter.
    #[test]
    fn takes_the_version_of_the_time() {
        let all = scope("", "", "");
        let history = history(&[(30, all.clone(), Some("c")), (10, all.clone(), Some("a")), (20, all, Some("b"))]);
        let at = |from, to| history.effect(subject("s", "i", "e"), from, to);
        assert_eq!(at(9, 9), Effect::Nothing);
        assert_eq!(values(&at(20, 29)), [(Some("b"), 20)]);
        assert!(matches!(at(20, 29), Effect::One(_)));
        assert!(matches!(at(20, 30), Effect::Ambiguous(_)));
        assert_eq!(values(&at(20, 30)), [(Some("b"), 20), (Some("c"), 30)]);
    }

    /// A change that names a service, instance or environment holds for no other one.
    #[test]
    fn scopes_are_kept_apart() {
        let history = history(&[
            (10, scope("s", "", "prod"), Some("a")),
            (20, scope("s", "i2", "prod"), Some("b")),
            (30, scope("other", "", ""), Some("c")),
            (40, scope("s", "", "test"), Some("d")),
        ]);
        let at = |instance, environment| values(&history.effect(subject("s", instance, environment), 50, 50));
        assert_eq!(at("i1", "prod"), [(Some("a"), 10)]);
        assert_eq!(at("i2", "prod"), [(Some("b"), 20)]);
        assert_eq!(at("i1", "test"), [(Some("d"), 40)]);
        // An unknown instance may be either; so may an unknown environment.
        assert_eq!(at("", "prod"), [(Some("a"), 10), (Some("b"), 20)]);
        assert_eq!(at("i1", ""), [(Some("a"), 10), (Some("d"), 40)]);
    }

    /// Taking a value away leaves nothing; taking it away, or giving it for the first time, while the
    /// trace runs is ambiguous; saying the same again is not.
    #[test]
    fn deletions_and_repetitions() {
        let all = scope("", "", "");
        let history = history(&[(10, all.clone(), Some("a")), (15, all.clone(), Some("a")), (20, all, None)]);
        let at = |from, to| history.effect(subject("s", "i", "e"), from, to);
        assert_eq!(at(21, 30), Effect::Nothing);
        assert_eq!(values(&at(12, 18)), [(Some("a"), 10)]);
        assert_eq!(values(&at(16, 18)), [(Some("a"), 15)]);
        assert_eq!(values(&at(16, 25)), [(Some("a"), 15), (None, 20)]);
        assert!(matches!(at(5, 12), Effect::Ambiguous(_)));
    }

    /// The same change twice counts once; of two at one time the narrower one counts.
    #[test]
    fn equal_times() {
        let mut history = history(&[(10, scope("s", "", ""), Some("narrow")), (10, scope("", "", ""), Some("wide"))]);
        assert!(!history.insert(Change { at: 10, scope: scope("", "", ""), value: Some("wide") }));
        assert_eq!(values(&history.effect(subject("s", "i", "e"), 10, 10)), [(Some("narrow"), 10)]);
        assert_eq!(values(&history.effect(subject("t", "i", "e"), 10, 10)), [(Some("wide"), 10)]);
    }

    /// Pruning changes no answer at or after its time.
    #[test]
    fn pruning_keeps_the_answers() {
        let (all, one) = (scope("", "", ""), scope("s", "", ""));
        let mut history = history(&[
            (1, all.clone(), Some("a")),
            (2, one, Some("b")),
            (3, all.clone(), Some("c")),
            (4, all, Some("d")),
        ]);
        let before: Vec<_> = (4..6).map(|at| history.effect(subject("s", "i", "e"), at, at)).collect();
        assert!(history.prune(4));
        assert_eq!(history.changes().len(), 3);
        let after: Vec<_> = (4..6).map(|at| history.effect(subject("s", "i", "e"), at, at)).collect();
        assert_eq!(before, after);
    }
}
