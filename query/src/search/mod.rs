//! Similar incidents: vectors and words, fused, filtered before the search.
//!
//! A question is a text, a stack or a failing trace. Of a trace, incidents with its own fingerprints come first;
//! then, for all, what is near by meaning (vectors of masked texts) and by words (messages as they came), of which what
//! shares the stack's frames comes up. Of traces and stacks it is compared as well where they failed and with what, by
//! vectors of their own (`further`). Without a sentence model the words alone answer, and every reason says so.
//! Paths of spans and shapes of payloads are compared as they are, and what is near by vector comes behind.
//! In the order by meaning, a question in plain words leaves texts behind that are near to any such question (`meaning`).

mod allowed;
mod corpus;
mod echoes;
mod filter;
mod further;
mod held;
mod history;
mod hubs;
mod hybrid;
mod meaning;
mod measure;
mod merges;
mod neighbours;
mod plain;
mod probe;
mod rank;
mod recent;
mod releases;
mod rerank;
mod small;
mod stack;
mod structure;
mod versions;
mod words;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tracerag_index::incidents::Embedding;
use tracerag_schemas::time::rfc3339;

use crate::error::{QueryError, Result};
use crate::snapshot::Snapshot;
pub use allowed::SearchCache;
use corpus::Corpus;
pub use echoes::{Echo, echoes};
use filter::Filter;
use history::History;
pub(crate) use history::{judged, regressions};
use hybrid::{Found, Ready, Searched};
pub(crate) use merges::{Merges, SharedMerges};
pub(crate) use neighbours::{Neighbour, Neighbours};
pub(crate) use probe::FailureText;
use probe::{Question, Structure};
pub use recent::{Activity, Fixed, KnownActivity, activity};

/// Incidents in one answer at most.
const MOST: usize = 1_000;
/// Candidates beyond those that are asked for whose stacks are looked at as well.
const MORE_STACKS: usize = 5;

/// What the text of a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A message, or plain words.
    Message,
    /// A stack as a language prints it.
    Stacktrace,
    /// A path of spans: `checkout > payments/Charge`.
    SpanPath,
    /// A payload, or the shape of one, as JSON.
    Payload,
}

/// What to look for, and among which incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimilarRequest {
    /// An error message, or a question in plain words. Either this or `trace_id`.
    pub text: Option<String>,
    /// What the text is. Where it is not said, a text with frames in it is a stack, and any other a message.
    pub asked: Option<Asked>,
    /// A failing trace, as 32 hex digits.
    pub trace_id: Option<String>,
    /// Incidents in the answer at most; 1 to 1,000.
    pub k: usize,
    /// Only incidents of this service.
    pub service: Option<String>,
    /// Only incidents with this exception type.
    pub error_type: Option<String>,
    /// Only incidents that were seen in this version of their service or a later one. Versions that do not compare with it,
    /// such as branches and commits, are neither; the same holds for the other bounds.
    pub min_version: Option<String>,
    /// Only incidents that were seen in this version of their service or an earlier one.
    pub max_version: Option<String>,
    /// Only incidents that were seen in a version of their service that meets all these bounds: `>=1.8 <2`.
    pub versions: Option<String>,
    /// Only incidents that were seen in this environment.
    pub environment: Option<String>,
    /// Only incidents that were seen at or after this time, in ns since the epoch.
    pub since: Option<i64>,
    /// Only incidents that were seen at or before this time, in ns since the epoch.
    pub until: Option<i64>,
}

impl Default for SimilarRequest {
    fn default() -> Self {
        Self {
            text: None,
            asked: None,
            trace_id: None,
            k: 10,
            service: None,
            error_type: None,
            min_version: None,
            max_version: None,
            versions: None,
            environment: None,
            since: None,
            until: None,
        }
    }
}

impl SimilarRequest {
    /// Looks for a text, or for what is like a trace: 32 hex digits are a trace id.
    pub fn about(text_or_trace_id: &str, k: usize) -> Self {
        let given = Some(text_or_trace_id.trim().to_owned());
        match probe::is_trace_id(text_or_trace_id.trim()) {
            true => Self { trace_id: given, k, ..Self::default() },
            false => Self { text: given, k, ..Self::default() },
        }
    }
}

/// An incident that is like what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarIncident {
    /// Fingerprint.
    pub fingerprint: String,
    /// Title.
    pub title: String,
    /// Service.
    pub service_name: Option<String>,
    /// Cosine distance of the texts' vectors, 0 (same direction) to 2; `None` where there is no vector. Of a path or a
    /// payload, the part that is not alike, 0 to 1; of one that is near by its vector only, the distance of that.
    pub distance: Option<f64>,
    /// Fused rank, above 0 and at most 1; comparable within one answer only.
    pub score: f64,
    /// Why it is in the answer, in words.
    pub reason: String,
    /// Failures counted.
    pub failure_count: i64,
    /// Traces counted.
    pub trace_count: i64,
    /// First failure, in ns since the epoch.
    pub first_seen: Option<i64>,
    /// Last failure, in ns since the epoch.
    pub last_seen: Option<i64>,
    /// The newest known fix that was not found wrong.
    pub fix_summary: Option<String>,
    /// All known fixes, newest first.
    pub fixes: Vec<KnownFix>,
    /// A trace with this failure; the newest that is known.
    pub example_trace_id: Option<String>,
    /// The newest fix of which nobody says that it was wrong or half a fix, as the view `incidents` has it.
    pub fix_id: Option<String>,
    /// When it took effect, in ns since the epoch.
    pub fixed_at: Option<i64>,
    /// When the incident was first seen after that, in ns since the epoch.
    pub regressed_at: Option<i64>,
    /// The first version that is known of it since then.
    pub regressed_version: Option<String>,
}

/// What somebody did about an incident.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFix {
    /// Id.
    pub fix_id: Option<String>,
    /// When, in ns since the epoch.
    pub fixed_at: Option<i64>,
    /// What was done.
    pub summary: Option<String>,
    /// Where the change is.
    pub patch_url: Option<String>,
    /// `fixed`, `mitigated` or `wrong`.
    pub outcome: Option<String>,
    /// The test that holds it.
    pub test_name: Option<String>,
    /// The first version of the service that has it.
    pub fixed_version: Option<String>,
    /// The commit that has it.
    pub fixed_git_sha: Option<String>,
    /// Whether the incident was seen again after it: in a version that has it where that is known, else at a later time.
    pub came_back: bool,
    /// By what that is judged, in words.
    pub came_back_reason: Option<String>,
}

impl SimilarIncident {
    /// As servers and commands give it; times are RFC 3339.
    pub fn json(&self) -> Value {
        json!({
            "fingerprint": self.fingerprint, "title": self.title, "service_name": self.service_name,
            "distance": self.distance, "score": self.score, "reason": self.reason,
            "failure_count": self.failure_count, "trace_count": self.trace_count,
            "first_seen": self.first_seen.map(rfc3339), "last_seen": self.last_seen.map(rfc3339),
            "fix_summary": self.fix_summary, "example_trace_id": self.example_trace_id,
            "fix_id": self.fix_id, "fixed_at": self.fixed_at.map(rfc3339),
            "regressed_at": self.regressed_at.map(rfc3339), "regressed_version": self.regressed_version,
            "fixes": self.fixes.iter().map(KnownFix::json).collect::<Vec<_>>(),
        })
    }
}

impl KnownFix {
    /// As bundles and servers give it.
    pub(crate) fn json(&self) -> Value {
        json!({"fix_id": self.fix_id, "fixed_at": self.fixed_at.map(rfc3339), "summary": self.summary,
               "patch_url": self.patch_url, "outcome": self.outcome, "test_name": self.test_name,
               "fixed_version": self.fixed_version, "fixed_git_sha": self.fixed_git_sha,
               "came_back": self.came_back, "came_back_reason": self.came_back_reason})
    }
}

/// Incidents of the snapshot's tenant that are like what is asked for, most alike first.
///
/// # Errors
/// [`QueryError::TraceUnknown`] and the others that say why there is no such trace, [`QueryError::NotATraceId`],
/// [`QueryError::Argument`] for a request without a question, and when the lake cannot be read or the model
/// fails. A model that is not there is no error.
pub async fn similar(
    snapshot: &Snapshot,
    embedding: Option<&Embedding>,
    request: &SimilarRequest,
) -> Result<Vec<SimilarIncident>> {
    similar_with(snapshot, embedding, &SearchCache::default(), request).await
}

/// The same with what earlier searches have kept.
pub(crate) async fn similar_with(
    snapshot: &Snapshot,
    embedding: Option<&Embedding>,
    cache: &SearchCache,
    request: &SimilarRequest,
) -> Result<Vec<SimilarIncident>> {
    let question = Question::of(snapshot, request);
    ask(snapshot, embedding, cache, &SharedMerges::kept_in(cache), request, question).await
}

/// Incidents that are like the failures of a trace, which were read already; for its bundle, which shares the merges.
///
/// # Errors
/// When the lake cannot be read or the model fails.
pub(crate) async fn similar_to(
    snapshot: &Snapshot,
    embedding: Option<&Embedding>,
    cache: &SearchCache,
    merges: &SharedMerges,
    (trace_id, failures): (&str, Vec<FailureText>),
    k: usize,
) -> Result<Vec<SimilarIncident>> {
    let question = async {
        let asked = Question::of_failures(snapshot, trace_id.to_owned(), failures, probe::BUNDLE_PROBES).await?;
        Ok::<_, QueryError>(Some(asked))
    };
    let request = SimilarRequest { k, ..SimilarRequest::default() };
    ask(snapshot, embedding, cache, merges, &request, question).await
}

/// Searches for a question; what is needed besides is read while the question is made.
async fn ask(
    snapshot: &Snapshot,
    embedding: Option<&Embedding>,
    cache: &SearchCache,
    merges: &SharedMerges,
    request: &SimilarRequest,
    question: impl Future<Output = Result<Option<Question>>>,
) -> Result<Vec<SimilarIncident>> {
    let k = request.k.clamp(1, MOST);
    let corpus = Corpus::open(snapshot, embedding, cache);
    let (question, filter, mut corpus, merges) =
        tokio::try_join!(question, Filter::of(snapshot, cache, merges, request), corpus, merges.of(snapshot))?;
    let Some(question) = question else { return Ok(vec![]) };
    let mut best: HashMap<String, Found> = HashMap::new();
    let mut searched = vec![];
    if let Some(structure) = question.structure.as_ref().filter(|_| !filter.is_empty()) {
        // Some more, because people may have merged some of them.
        let most = 2 * k;
        searched.push(match structure {
            Structure::Path(path) => {
                structure::by_path(snapshot, &filter, path, (request.since, request.until), most).await?
            }
            Structure::Payload(payload) => structure::by_payload(snapshot, &filter, payload, most).await?,
        });
        searched.push(further::by_structure(snapshot, &corpus, cache, &filter, structure, most).await?);
    } else if !filter.is_empty() {
        let mut ready = Ready::of(snapshot, &corpus, cache, &filter, &question).await?;
        if let Some(before) = corpus.instead(snapshot, cache).await? {
            corpus = before;
            ready = Ready::of(snapshot, &corpus, cache, &filter, &question).await?;
        }
        let Ready { meanings, scope, further } = ready;
        let at = Searched { snapshot, corpus: &corpus, scope: &scope, further: &further, question: &question };
        let at = &at;
        let searches = question.probes.iter().zip(&meanings).enumerate().map(|(number, (probe, meaning))| async move {
            hybrid::search(at, number, probe, meaning.as_ref(), k).await
        });
        searched = try_join_all(searches).await?;
    }
    for found in searched.into_iter().flatten() {
        let fingerprint = merges.target(&found.fingerprint).to_owned();
        if best.get(&fingerprint).is_none_or(|known| known.score < found.score) {
            best.insert(fingerprint, found);
        }
    }
    answer(snapshot, &filter, &corpus, merges, &question, best, k).await
}

/// Puts own incidents first and gives every incident its history.
async fn answer(
    snapshot: &Snapshot,
    filter: &Filter,
    corpus: &Corpus,
    merges: &Merges,
    question: &Question,
    mut best: HashMap<String, Found>,
    k: usize,
) -> Result<Vec<SimilarIncident>> {
    let mut own: Vec<String> = Vec::new();
    for fingerprint in question.own.iter().map(|own| merges.target(own).to_owned()) {
        best.remove(&fingerprint);
        if !own.contains(&fingerprint) {
            own.push(fingerprint);
        }
    }
    let mut others: Vec<(String, Found)> = best.into_iter().collect();
    others.sort_by(best_first);
    let mut answer = Vec::new();
    let mut seen = HashSet::new();
    let trace_id = question.trace_id.as_deref();
    // Nothing is read for a question without frames but what is answered.
    let looked_at = match question.stacks.is_empty() {
        true => k.saturating_sub(own.len()),
        false => k + MORE_STACKS,
    };
    let looked_at = others.iter().take(looked_at).map(|(fingerprint, _)| fingerprint);
    let names: Vec<&str> = own.iter().chain(looked_at).map(String::as_str).collect();
    let mut histories = history::read(snapshot, merges, &names, trace_id).await?;
    for fingerprint in &own {
        let Some(history) = histories.get(fingerprint.as_str()).filter(|history| filter.admits(fingerprint, history))
        else {
            continue;
        };
        seen.insert(fingerprint.as_str());
        answer.push(history.incident(fingerprint, Some(0.0), 1.0, own_reason(history)));
    }
    if !question.stacks.is_empty() {
        rerank::by_frames(snapshot, merges, &question.stacks, &mut others, &histories).await?;
        others.sort_by(best_first);
    }
    // Nearly all have counts, so few more than are wanted are read. What is embedded may be ahead of this head.
    let (mut rest, mut wanted) = (others.as_slice(), k.saturating_sub(answer.len()));
    while answer.len() < k && !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.len().min(wanted));
        (rest, wanted) = (behind, k);
        let names = chunk.iter().map(|(fingerprint, _)| fingerprint.as_str());
        let unread: Vec<&str> = names.filter(|name| !histories.contains_key(*name)).collect();
        histories.extend(history::read(snapshot, merges, &unread, trace_id).await?);
        for (fingerprint, found) in chunk {
            if let Some(history) = histories.get(fingerprint.as_str())
                && seen.insert(fingerprint.as_str())
            {
                let reason = rank::reason(found, corpus, history);
                answer.push(history.incident(fingerprint, found.distance, found.score, reason));
            }
        }
    }
    answer.truncate(k);
    Ok(answer)
}

fn best_first((a, one): &(String, Found), (b, other): &(String, Found)) -> Ordering {
    let by_distance = distance_or_last(one.distance).total_cmp(&distance_or_last(other.distance));
    other.score.total_cmp(&one.score).then(by_distance).then_with(|| a.cmp(b))
}

fn distance_or_last(distance: Option<f64>) -> f64 {
    distance.unwrap_or(f64::INFINITY)
}

fn own_reason(history: &History) -> String {
    let since = history.first_seen.map_or_else(String::new, |at| format!(" since {}", rfc3339(at)));
    let fixes = match history.fixes.len() {
        0 => String::new(),
        1 => "; 1 known fix".to_owned(),
        more => format!("; {more} known fixes"),
    };
    // Whoever asks what this is like wants to know how often it was seen, as an echo of something else, too.
    let seen = history.failure_count + history.echo_count;
    format!("same fingerprint: {seen} failures in {} traces{since}{fixes}", history.trace_count)
}

/// Errors of a search that are not the lake's.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> QueryError {
    QueryError::Search(Box::new(error))
}

fn argument(why: &str) -> QueryError {
    QueryError::Argument { function: "similar_incidents", why: why.to_owned() }
}
