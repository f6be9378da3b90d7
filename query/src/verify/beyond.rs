//! Predicates over several traces: what the lake knows beyond the bundle.
//!
//! A trace that is sealed has the same evidence for ever, and failures are counted up to the end of the bundle's trace:
//! so what is answered now is what was so at the bundle's position. What is not sealed yet, or no lake was asked for,
//! cannot be told.

use std::collections::HashMap;

use futures::FutureExt;
use tracerag_schemas::bundle::{Build, Evidence, Flag};

use super::deadline::Deadline;
use super::document::Document;
use super::facts::Facts;
use super::parse;
use super::predicate::{Function, Predicate};
use super::reason::Reason;
use super::report::Report;
use super::subject::Subject;
use crate::Session;
use crate::error::{QueryError, Result as QueryResult};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{ParamValues, ScalarValue};
use tracerag_schemas::anchor::Target;

/// Traces that are looked up for one document.
const MAX_TRACES: usize = 200;
/// Fingerprints that are counted for one document.
const MAX_COUNTS: usize = 50;

/// What the lake was asked. An error says why there is no answer.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    pub traces: HashMap<String, Result<Evidence, String>>,
    /// By fingerprint: failures up to the end of the bundle's trace.
    pub counts: HashMap<String, Result<i64, String>>,
}

/// What a function over the lake answers.
pub(super) enum Answered {
    Count(i64),
    Text(String),
}

/// Checks every claim of a document for a session's tenant, those over several traces, too: the lake is asked for what
/// these name, and what cannot be read there is rejected in the report. Where the session shows no heap summaries, claims
/// about them are rejected. It computes on a thread of its own, for as long as a query of the session may take. See
/// [`verify`](super::verify).
///
/// # Errors
/// [`QueryError::ClaimsTimeLimit`] when that is not enough, [`QueryError::Stopped`] when the thread failed.
pub async fn verify_with(session: &Session, mut subject: Subject, document: &Document) -> QueryResult<Report> {
    let limit = session.time_limit();
    let deadline = Deadline::after(limit);
    subject.withholds_heaps = !session.bundler().shows_heaps();
    // Only a bundle of this lake says anything of its other traces.
    if subject.with_context && subject.counts() {
        subject.beyond = Some(look_up(session, &subject, document, &deadline).boxed().await);
    }
    let (tenant, document, until) = (session.snapshot().tenant().to_owned(), document.clone(), deadline.clone());
    let _reader = deadline.on_drop();
    let verified = SpawnedTask::spawn_blocking(move || super::verify_until(&subject, &tenant, &document, &until));
    let report = verified.await.map_err(|error| {
        tracing::error!(%error, "a verification failed in a way that it should not");
        QueryError::Stopped
    })?;
    match deadline.is_over() {
        true => Err(QueryError::ClaimsTimeLimit { seconds: limit.as_secs() }),
        false => Ok(report),
    }
}

async fn look_up(session: &Session, subject: &Subject, document: &Document, deadline: &Deadline) -> Beyond {
    let mut beyond = Beyond::default();
    let Ok(bundle) = &subject.bundle else { return beyond };
    let texts = document.statements.iter().flat_map(|statement| &statement.claim.predicates);
    let predicates: Vec<Predicate> = texts.filter_map(|text| parse::predicate(text).ok()).collect();
    for trace_id in predicates.iter().filter_map(Predicate::traces).flatten() {
        if beyond.traces.len() < MAX_TRACES && !beyond.traces.contains_key(trace_id) && !deadline.is_over() {
            let evidence = evidence(session, trace_id).boxed().await;
            beyond.traces.insert(trace_id.clone(), evidence);
        }
    }
    let counted = predicates.iter().filter(|predicate| predicate.operator.function == Function::LakeFailures);
    for fingerprint in counted.filter_map(|predicate| predicate.texts().next()) {
        if beyond.counts.len() < MAX_COUNTS && !beyond.counts.contains_key(fingerprint) && !deadline.is_over() {
            let until = super::order::end_of(&bundle.evidence.trace);
            let count = count(session, fingerprint, until).boxed().await;
            beyond.counts.insert(fingerprint.to_owned(), count);
        }
    }
    beyond
}

/// The evidence of a trace that is sealed.
async fn evidence(session: &Session, trace_id: &str) -> Result<Evidence, String> {
    match session.bundler().assemble(trace_id).await {
        Ok(bundle) if bundle.evidence.sealed => Ok(bundle.evidence),
        Ok(_) => Err(format!("trace {trace_id} is not sealed yet, so it cannot be told; ask again later")),
        Err(error) => Err(error.to_string()),
    }
}

async fn count(session: &Session, fingerprint: &str, until: Option<i64>) -> Result<i64, String> {
    let Some(until) = until else { return Err(String::from("the trace of the bundle has no end")) };
    failures(session, fingerprint, until).await.map_err(|error| error.to_string())
}

/// Failures of a fingerprint up to a time, in ns. A span that failed counts once, in whichever revision of its trace.
async fn failures(session: &Session, fingerprint: &str, until: i64) -> QueryResult<i64> {
    let query = "select count(distinct failure_id) as n from failures where fingerprint = $1 and failures.time <= $2";
    let until = ScalarValue::TimestampNanosecond(Some(until), Some("UTC".into()));
    let parameters = ParamValues::from(vec![ScalarValue::from(fingerprint), until]);
    let mut count = 0;
    for batch in session.collect(query, Some(parameters)).boxed().await? {
        let columns = crate::rows::Columns::of("failures", &batch);
        let counts = columns.int("n")?;
        count += (0..batch.num_rows()).filter_map(|row| crate::rows::number(counts, row)).sum::<i64>();
    }
    Ok(count)
}

/// What a function over the lake answers for a predicate.
pub(super) fn answer(facts: &Facts<'_>, predicate: &Predicate) -> Result<Answered, Reason> {
    let fails = |why: &str| Reason::Predicate(format!("{} does not hold: {why}", predicate.text));
    let Some(beyond) = facts.beyond else {
        return Err(fails("it is about other traces, and no lake that has the bundle was asked"));
    };
    let fingerprint = predicate.texts().next().unwrap_or_default();
    if predicate.operator.function == Function::LakeFailures {
        return match beyond.counts.get(fingerprint) {
            Some(Ok(count)) => Ok(Answered::Count(*count)),
            Some(Err(why)) => Err(fails(why)),
            None => Err(fails("the document counts too many fingerprints; split it")),
        };
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for trace_id in predicate.traces().unwrap_or_default() {
        let evidence = match beyond.traces.get(trace_id) {
            Some(Ok(evidence)) => evidence,
            Some(Err(why)) => return Err(Reason::Existence(why.clone())),
            None => return Err(fails("the document names too many traces; split it")),
        };
        let failed = evidence.failures.iter().any(|failure| failure.fingerprint.as_deref() == Some(fingerprint));
        if failed { with.push(evidence) } else { without.push(evidence) }
    }
    match predicate.operator.function {
        Function::SameError => Ok(Answered::Count(i64::try_from(with.len()).unwrap_or(i64::MAX))),
        _ => difference(predicate, &with, &without).map(Answered::Text).map_err(|why| fails(&why)),
    }
}

/// The value that every trace with the error had in effect, and none without it.
fn difference(predicate: &Predicate, with: &[&Evidence], without: &[&Evidence]) -> Result<String, String> {
    let Some(anchor) = predicate.anchors().next() else { return Err(String::from("an anchor is missing")) };
    if with.is_empty() || without.is_empty() {
        return Err(String::from("it takes traces with the error and traces without it"));
    }
    let value = |evidence: &&Evidence| in_effect(evidence, &anchor.target);
    let bad: Vec<String> = with.iter().map(value).collect::<Result<_, _>>()?;
    let good: Vec<String> = without.iter().map(value).collect::<Result<_, _>>()?;
    match bad.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) && !good.contains(first) => Ok(first.clone()),
        _ => Err(format!(
            "with the error it was {}, without it {}, which does not tell them apart",
            bad.join(", "),
            good.join(", ")
        )),
    }
}

/// The one value of a flag or build in effect in a trace.
fn in_effect(evidence: &Evidence, target: &Target) -> Result<String, String> {
    let is_service = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
    let is_flag = |flag: &&Flag, kind: &str, key: &str, service: &Option<String>| {
        let own = flag.service.clone().or_else(|| Some(String::from("*")));
        flag.kind.as_deref().unwrap_or("flag") == kind && flag.key.as_deref() == Some(key) && is_service(service, &own)
    };
    let of_flag = |flag: &Flag| (flag.r#match.clone(), flag.variant.clone().or_else(|| flag.value.clone()));
    let of_build = |build: &Build| (build.r#match.clone(), build.version.clone().or_else(|| build.git_sha.clone()));
    let found: Vec<(Option<String>, Option<String>)> = match target {
        Target::Flag { key, service } => {
            evidence.flags.iter().filter(|flag| is_flag(flag, "flag", key, service)).map(of_flag).collect()
        }
        Target::Config { key, service } => {
            let service = Some(service.clone());
            evidence.flags.iter().filter(|flag| is_flag(flag, "config", key, &service)).map(of_flag).collect()
        }
        Target::Build { service, .. } => {
            let of_service = evidence.builds.iter().filter(|build| build.service.as_deref() == Some(service.as_str()));
            of_service.map(of_build).collect()
        }
        _ => vec![],
    };
    let trace_id = &evidence.trace.trace_id;
    let mut values = Vec::new();
    for (matched, value) in found {
        match value {
            Some(value) if matched.as_deref() != Some("ambiguous") => values.push(value),
            _ => return Err(format!("what was in effect in trace {trace_id} is not known")),
        }
    }
    values.dedup();
    match values.as_slice() {
        [value] => Ok(value.clone()),
        [] => Err(format!("nothing is known of it in trace {trace_id}")),
        _ => Err(format!("trace {trace_id} had several values in effect")),
    }
}
