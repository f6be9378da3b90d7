//! Whether a trace finds the other incidents of its fault, with what is compared beside the texts and without.
//!
//! A fault of the recording shows in several services and places, under fingerprints of their own. Of those that met one
//! fault only, each is asked about by its first trace; right are the others of its fault that are not in that trace, among
//! all incidents of the task `questions`. The weights of these rankings (`query/src/search/rank.rs`) are to follow the
//! two figures.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tracerag_query::{Session, SimilarRequest};

use super::lakes::{self, Lakes, rows, text};
use super::questions::{FIRST, Hits, WRITTEN, telemetry};
use super::table::{Aim, note, row, share};
use super::truth;
use crate::Outcome;

/// A trace that is asked about.
struct Asked {
    trace_id: String,
    /// Its own incidents, which come first in an answer and do not count.
    own: HashSet<String>,
    right: HashSet<String>,
}

pub(super) async fn measure(lakes: &Lakes<'_>) -> Outcome<()> {
    let (embedding, model) = lakes::model().await;
    let lake = lakes.with_incidents(WRITTEN.lake, &telemetry(&WRITTEN), model)?;
    let session = lakes::session(&lake, Some(embedding.clone())).await?;
    let asked = questions(&session).await?;
    let with = hits(&session, &asked).await?;
    lakes::leave_masked_texts(&lake)?;
    let without = hits(&lakes::session(&lake, Some(embedding)).await?, &asked).await?;
    let all = asked.len();
    let figure = |what: &str, with: usize, without: usize| {
        row(what, share(with, all), Some(share(without, all)), Aim::None);
    };
    figure("trace finds another incident of its fault at once: P@1", with.first, without.first);
    figure("the same in the first 10", with.first_ten, without.first_ten);
    note(&format!("{all} traces, model {model}; the floor is the same without contexts and shapes"));
    Ok(())
}

async fn hits(session: &Session, asked: &[Asked]) -> Outcome<Hits> {
    let mut hits = Hits::default();
    for Asked { trace_id, own, right } in asked {
        let k = FIRST + own.len();
        let request = SimilarRequest { trace_id: Some(trace_id.clone()), k, ..SimilarRequest::default() };
        let answer = session.similar(&request).await?;
        let others = answer.iter().filter(|incident| !own.contains(&incident.fingerprint));
        hits.count(others.map(|incident| &incident.fingerprint).position(|found| right.contains(found)));
    }
    Ok(hits)
}

/// The traces that have a right answer.
async fn questions(session: &Session) -> Outcome<Vec<Asked>> {
    let faults = truth::faults()?;
    let query =
        "select trace_id, fingerprint from failures where trace_id is not null order by time, trace_id, fingerprint";
    let mut first_traces: BTreeMap<String, String> = BTreeMap::new();
    let mut by_trace: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    let mut met: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in rows(session, query).await? {
        let (trace, fingerprint) = (text(&found, "trace_id"), text(&found, "fingerprint"));
        let Some(fault) = faults.get(trace) else { continue };
        first_traces.entry(fingerprint.to_owned()).or_insert_with(|| trace.to_owned());
        by_trace.entry(trace.to_owned()).or_default().insert(fingerprint.to_owned());
        met.entry(fingerprint.to_owned()).or_default().insert(fault.clone());
    }
    let fault_of = |fingerprint: &str| match met.get(fingerprint) {
        Some(faults) if faults.len() == 1 => faults.first(),
        _ => None,
    };
    let mut asked = Vec::new();
    for (fingerprint, trace_id) in &first_traces {
        let (Some(fault), Some(own)) = (fault_of(fingerprint), by_trace.get(trace_id)) else { continue };
        let is_right = |other: &&String| fault_of(other) == Some(fault) && !own.contains(*other);
        let right: HashSet<String> = met.keys().filter(is_right).cloned().collect();
        if !right.is_empty() {
            asked.push(Asked { trace_id: trace_id.clone(), own: own.clone(), right });
        }
    }
    Ok(asked)
}
