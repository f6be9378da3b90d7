//! Which flags and configuration were in effect: what a service evaluated in the trace, else the changes
//! as of the time.

use super::as_of::{Effect, Scope};
use super::builds::Match;
use super::changes::{Known, Setting, Sighting};
use super::evaluations::Evaluation;
use tracerag_schemas::time::rfc3339;

/// The kind of what evaluations are about.
pub(crate) const FLAG: &str = "flag";

/// An entry of `flags_in_effect`. Of an ambiguous one variant and value are absent: no claim can rest on
/// them. An entry without service holds for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlagInEffect {
    pub kind: Box<str>,
    pub key: Box<str>,
    pub service: Option<Box<str>>,
    pub instance: Option<Box<str>>,
    pub environment: Option<Box<str>>,
    pub variant: Option<Box<str>>,
    pub value: Option<Box<str>>,
    pub matched: Match,
    /// When the change was made; of an evaluation without a known change, its own time.
    pub since: Option<i64>,
    pub span_id: Option<[u8; 8]>,
    pub candidates: Vec<String>,
}

/// What was in effect for a runtime between two times, by kind and key.
pub(crate) fn in_effect(runtime: &Sighting<'_>, known: Option<&Known>, from: i64, to: i64) -> Vec<FlagInEffect> {
    let histories = known.into_iter().flat_map(|known| &known.settings);
    let resolved = histories.filter_map(|((kind, key), history)| {
        let entry = |scope: &Scope, setting: Option<&Setting>, matched, since, candidates| FlagInEffect {
            kind: kind.clone(),
            key: key.clone(),
            service: scope.service.as_deref().map(Box::from),
            instance: scope.instance.as_deref().map(Box::from),
            environment: scope.environment.as_deref().map(Box::from),
            variant: setting.and_then(|setting| setting.variant.clone()),
            value: setting.and_then(|setting| setting.value.clone()),
            matched,
            since,
            span_id: None,
            candidates,
        };
        match history.effect(runtime.subject(), from, to) {
            Effect::Nothing => None,
            Effect::One(change) => {
                Some(entry(&change.scope, change.value.as_ref(), Match::AsOf, Some(change.at), vec![]))
            }
            Effect::Ambiguous(changes) => {
                // Named for the service as soon as one of the candidates is.
                let service = changes.iter().find_map(|change| change.scope.service.clone());
                let environment = changes.iter().find_map(|change| change.scope.environment.clone());
                let scope = Scope { service, instance: None, environment };
                let candidates = changes.iter().map(|change| candidate(change.value.as_ref(), change.at)).collect();
                Some(entry(&scope, None, Match::Ambiguous, None, candidates))
            }
        }
    });
    resolved.collect()
}

/// `variant@since`; the value where there is no variant, `deleted` where there is neither.
fn candidate(setting: Option<&Setting>, since: i64) -> String {
    let name = setting.and_then(|setting| setting.variant.as_deref().or(setting.value.as_deref()));
    format!("{}@{}", name.unwrap_or("deleted"), rfc3339(since))
}

/// What a service evaluated. Time and value are completed from the change that it saw, where one agrees.
pub(crate) fn evaluated(
    evaluation: &Evaluation<'_>,
    span_id: Option<[u8; 8]>,
    runtime: &Sighting<'_>,
    known: Option<&Known>,
) -> FlagInEffect {
    let history = known.and_then(|known| known.settings.get(&(FLAG.into(), evaluation.key.into())));
    let at = evaluation.time.unwrap_or(i64::MAX);
    let agrees = |setting: &Setting| match (evaluation.variant, &setting.variant) {
        (Some(variant), Some(changed)) => variant == &**changed,
        _ => evaluation.value.is_some() && evaluation.value.as_deref() == setting.value.as_deref(),
    };
    // Services see a change seconds apart, so it is the newest change that agrees which was seen.
    let changes = history.map(|history| history.changes()).unwrap_or_default();
    let seen = changes.iter().rev().filter(|change| change.at <= at).find(|change| {
        let scope = &change.scope;
        let holds = |named: &Option<std::sync::Arc<str>>, of: Option<&str>| {
            named.is_none() || of.is_none() || named.as_deref() == of
        };
        holds(&scope.service, runtime.service)
            && holds(&scope.instance, runtime.instance)
            && holds(&scope.environment, runtime.environment)
            && change.value.as_ref().is_some_and(agrees)
    });
    let setting = seen.and_then(|change| change.value.as_ref());
    let variant = evaluation.variant.map(Box::from);
    let value = evaluation.value.as_deref().map(Box::from);
    FlagInEffect {
        kind: FLAG.into(),
        key: evaluation.key.into(),
        service: runtime.service.map(Box::from),
        instance: runtime.instance.map(Box::from),
        environment: runtime.environment.map(Box::from),
        variant: variant.or_else(|| setting.and_then(|setting| setting.variant.clone())),
        value: value.or_else(|| setting.and_then(|setting| setting.value.clone())),
        matched: Match::Evaluated,
        since: seen.map(|change| change.at).or(evaluation.time),
        span_id,
        candidates: vec![],
    }
}
