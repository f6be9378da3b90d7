//! What is asked: one text, or the failures of a trace.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;
use tracerag_index::failures::InAppRules;
use tracerag_index::failures::fingerprint::{headline, text_for_embedding};
use tracerag_index::failures::frames::StackTrace;
use tracerag_index::failures::mask::mask;
use tracerag_index::failures::projections;
use tracerag_schemas::Table;

use super::stack::{Frames, Stack};
use super::{Asked, SimilarRequest, argument};
use crate::bundle::why_absent;
use crate::error::{QueryError, Result};
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text};
use crate::snapshot::Snapshot;

/// Distinct failures of a trace that are searched with; a trace that fails in more ways than that has
/// mostly one cause.
const MOST_PROBES: usize = 4;
/// The same for a bundle, which shows few similar incidents and is waited for.
pub(super) const BUNDLE_PROBES: usize = 2;
/// Stacks of a trace that incidents are held against.
const MOST_STACKS: usize = 8;
/// Bytes of a text that are searched with.
const MOST_BYTES: usize = 4_096;
/// Digits from which a number is taken for an identifier.
const LONG_NUMBER: usize = 5;
/// Placeholders of the masker that stand for identifiers, not for quantities and times.
const IDENTIFIERS: [&str; 12] = [
    "<id>",
    "<uuid>",
    "<hex>",
    "<ip>",
    "<mac>",
    "<email>",
    "<host>",
    "<pod>",
    "<path>",
    "<url",
    "<jwt>",
    "<traceparent>",
];

/// What a failure of a trace says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FailureText {
    time: Option<i64>,
    fingerprint: String,
    message: Option<String>,
    stack: Stack,
}

impl FailureText {
    /// Columns of `failures` that it is made of.
    const COLUMNS: [&str; 4] = ["fingerprint", "message", "time", "frames"];

    /// What the failures of a batch with these columns say; those without a fingerprint say nothing.
    pub(crate) fn of_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        let columns = Columns::of("failures", batch);
        let (fingerprints, messages, times) =
            (columns.text("fingerprint")?, columns.text("message")?, columns.time("time")?);
        let frames = Frames::of(columns)?;
        let failure = |row| {
            let fingerprint = owned(fingerprints, row)?;
            let (time, message) = (number(times, row), owned(messages, row));
            Some(Self { time, fingerprint, message, stack: frames.stack(row) })
        };
        Ok((0..batch.num_rows()).filter_map(failure).collect())
    }
}

/// A text to search with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    /// Masked; what is compared by vector.
    pub masked: String,
    /// As it came; what is compared by words.
    pub raw: String,
    /// Words of `raw` that are identifiers by the masker's rules, in lower case.
    pub identifiers: Vec<String>,
    /// The incident whose text it is, if it is a trace's: what else is embedded of it is compared as well.
    pub fingerprint: Option<String>,
    /// What is compared with contexts, if it is no trace's.
    pub context: Option<String>,
}

impl Probe {
    pub(super) fn new(masked: String, raw: &str) -> Self {
        let raw = clip(raw, MOST_BYTES).to_owned();
        Self { masked, identifiers: identifiers(&raw), raw, fingerprint: None, context: None }
    }
}

/// A structure that is looked for, and not words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Structure {
    /// A path of spans.
    Path(String),
    /// A payload or its shape, as JSON.
    Payload(String),
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    /// The trace, if it is about one.
    pub trace_id: Option<String>,
    /// Fingerprints of the trace's failures, in the order of time.
    pub own: Vec<String>,
    /// Texts to search with.
    pub probes: Vec<Probe>,
    /// The stack that was given, or those of the trace's failures. None of them is empty.
    pub stacks: Vec<Stack>,
    /// The structure, if it is about one; then there is nothing else.
    pub structure: Option<Structure>,
}

impl Question {
    /// The question of a request; `None`: a trace without failures.
    pub(super) async fn of(snapshot: &Snapshot, request: &SimilarRequest) -> Result<Option<Self>> {
        match (&request.text, &request.trace_id) {
            (Some(_), Some(_)) => Err(argument("give a text or a trace id, not both")),
            (None, None) => Err(argument("give a text or a trace id")),
            (Some(text), None) if text.trim().is_empty() => {
                Err(argument("the text is empty; give a message or a question"))
            }
            (Some(text), None) => Ok(Some(Self::of_text(text, request.asked, snapshot.in_app()))),
            (None, Some(trace_id)) => Self::of_trace(snapshot, trace_id.trim()).await,
        }
    }

    /// Whether it is a text without a stack: a message, or plain words.
    pub(super) fn is_of_text(&self) -> bool {
        self.trace_id.is_none()
            && self.structure.is_none()
            && self.stacks.is_empty()
            && self.probes.iter().all(|probe| probe.context.is_none())
    }

    fn of_text(text: &str, asked: Option<Asked>, in_app: &InAppRules) -> Self {
        let nothing = Self { trace_id: None, own: vec![], probes: vec![], stacks: vec![], structure: None };
        match asked {
            Some(Asked::SpanPath) => Self { structure: Some(Structure::Path(text.to_owned())), ..nothing },
            Some(Asked::Payload) => Self { structure: Some(Structure::Payload(text.to_owned())), ..nothing },
            None | Some(Asked::Stacktrace) => match of_stack(text, in_app) {
                Some((probe, stack)) => {
                    let stacks = Some(stack).filter(|stack| !stack.is_empty()).into_iter().collect();
                    Self { probes: vec![probe], stacks, ..nothing }
                }
                None => Self { probes: vec![Probe::new(mask(text), text)], ..nothing },
            },
            Some(Asked::Message) => Self { probes: vec![Probe::new(mask(text), text)], ..nothing },
        }
    }

    async fn of_trace(snapshot: &Snapshot, given: &str) -> Result<Option<Self>> {
        if !is_trace_id(given) {
            return Err(QueryError::NotATraceId { text: given.to_owned() });
        }
        let trace_id = given.to_ascii_lowercase();
        let of_trace = || ById::one("trace_id", &trace_id);
        let mut failures = Vec::new();
        for batch in snapshot.read_id(Table::Failures, &FailureText::COLUMNS, of_trace()).await? {
            failures.extend(FailureText::of_batch(&batch)?);
        }
        if failures.is_empty() {
            return match snapshot.read_id(Table::Traces, &["trace_id"], of_trace()).await?.is_empty() {
                true => Err(why_absent(snapshot, &trace_id).await?),
                false => Ok(None),
            };
        }
        Ok(Some(Self::of_failures(snapshot, trace_id, failures, MOST_PROBES).await?))
    }

    /// The question that the failures of a trace ask, with so many texts at most.
    pub(super) async fn of_failures(
        snapshot: &Snapshot,
        trace_id: String,
        mut failures: Vec<FailureText>,
        most: usize,
    ) -> Result<Self> {
        failures.sort_by(|a, b| (a.time, &a.fingerprint, &a.message).cmp(&(b.time, &b.fingerprint, &b.message)));
        let mut own: Vec<String> = Vec::new();
        let mut messages: HashMap<String, String> = HashMap::new();
        let mut stacks: Vec<(String, Stack)> = Vec::new();
        for FailureText { fingerprint, message, stack, .. } in failures {
            let is_new = !stack.is_empty() && stacks.iter().all(|(known, _)| *known != fingerprint);
            if is_new && stacks.len() < MOST_STACKS {
                stacks.push((fingerprint.clone(), stack));
            }
            if let Some(message) = message {
                messages.entry(fingerprint.clone()).or_insert(message);
            }
            if !own.contains(&fingerprint) {
                own.push(fingerprint);
            }
        }
        let texts = texts_of(snapshot, &own).await?;
        let mut probes: Vec<Probe> = Vec::new();
        for fingerprint in &own {
            let message = messages.get(fingerprint).map(String::as_str).unwrap_or_default();
            let masked = texts.get(fingerprint).cloned().unwrap_or_else(|| mask(message));
            if masked.is_empty() || probes.iter().any(|known| known.masked == masked) {
                continue;
            }
            // The text has type and place, the message its identifiers.
            let probe = Probe::new(masked.clone(), &format!("{message}\n{masked}"));
            probes.push(Probe { fingerprint: Some(fingerprint.clone()), ..probe });
            if probes.len() == most {
                break;
            }
        }
        let stacks = stacks.into_iter().map(|(_, stack)| stack).collect();
        Ok(Self { trace_id: Some(trace_id), own, probes, stacks, structure: None })
    }
}

/// What the failure with this stack would be embedded as, and the stack, by the rules that failures are read by; `None` of
/// a text that holds none.
fn of_stack(text: &str, in_app: &InAppRules) -> Option<(Probe, Stack)> {
    let trace = StackTrace::parse(text, in_app);
    let place = trace.frames().find_map(|frame| frame.function.as_deref()).unwrap_or_default();
    let first = trace.sections.first().filter(|_| !trace.is_empty())?;
    let message = first.message.as_deref().unwrap_or_default();
    let masked = text_for_embedding(headline(first.exception_type.as_deref(), &mask(message), place), &trace);
    let context = Some(projections::context("", "", &trace)).filter(|context| !context.is_empty());
    let probe = Probe { context, ..Probe::new(masked.clone(), &format!("{message}\n{masked}")) };
    Some((probe, Stack::of_trace(&trace)))
}

/// What is embedded of these fingerprints: the text of the first row.
async fn texts_of(snapshot: &Snapshot, fingerprints: &[String]) -> Result<HashMap<String, String>> {
    let by = ById::any("fingerprint", fingerprints.iter().map(String::as_str).collect());
    let columns = ["fingerprint", "text", "ingested_at"];
    let mut first: HashMap<String, (Option<i64>, String)> = HashMap::new();
    for batch in snapshot.read_id(Table::IncidentCounts, &columns, by).await? {
        let columns = Columns::of("incident_counts", &batch);
        let (fingerprints, texts, times) =
            (columns.text("fingerprint")?, columns.text("text")?, columns.time("ingested_at")?);
        for row in 0..batch.num_rows() {
            let (Some(fingerprint), Some(found)) = (text(fingerprints, row), text(texts, row)) else { continue };
            let at = number(times, row);
            if first.get(fingerprint).is_none_or(|(known, _)| at < *known) {
                first.insert(fingerprint.to_owned(), (at, found.to_owned()));
            }
        }
    }
    Ok(first.into_iter().map(|(fingerprint, (_, text))| (fingerprint, text)).collect())
}

/// Words of a text that the masker takes for identifiers, in lower case.
fn identifiers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '/' && c != '_');
        // `key=value` hides the value from whoever looks for it alone.
        let word = word.rsplit(['=', '(', '[']).next().unwrap_or(word);
        let masked = mask(word);
        // The tail of `blk_4381937042` is a number to the masker, and nobody counts that far.
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let is_long_number = digits >= LONG_NUMBER && masked.contains("<num>");
        if is_long_number || (!word.starts_with('<') && IDENTIFIERS.iter().any(|class| masked.contains(class))) {
            let word = word.to_lowercase();
            if !found.contains(&word) {
                found.push(word);
            }
        }
    }
    found
}

pub(super) fn is_trace_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use tracerag_index::failures::InAppRules;

    use super::super::Asked;
    use super::{Question, identifiers};

    /// A stack is asked with, of whose frames the configuration says otherwise than the built-in rules. Guarantees that the
    /// question looks for what is embedded of a failure by the configured rules: the frame of the application in it.
    #[test]
    fn stacks_are_read_by_the_configured_rules() {
        let text = "a.B: x\n\tat org.springframework.Own.f(Own.java:1)\n\tat shop.Cart.g(Cart.java:2)";
        let of = |rules: &InAppRules| {
            let question = Question::of_text(text, Some(Asked::Stacktrace), rules);
            question.probes.first().and_then(|probe| probe.context.clone()).unwrap_or_default()
        };
        let says = |context: &str, function: &str| context.contains(function);
        let built_in = of(&InAppRules::default());
        assert!(says(&built_in, "Cart.g") && !says(&built_in, "Own.f"), "{built_in}");
        let (in_app, not_in_app) = (vec![String::from("org.springframework.Own")], vec![String::from("shop.")]);
        let configured = of(&InAppRules { in_app, not_in_app });
        assert!(says(&configured, "Own.f") && !says(&configured, "Cart.g"), "{configured}");
    }

    /// Ids, addresses and long numbers route a question to the search by words; quantities, times, plain
    /// words and placeholders do not.
    #[test]
    fn identifiers_are_found_by_the_maskers_rules() {
        assert_eq!(
            identifiers("why did 7f3b0c9e-1f7a-4b57-9e70-2f60a9c1d001 fail on 10.1.2.3?"),
            ["7f3b0c9e-1f7a-4b57-9e70-2f60a9c1d001", "10.1.2.3"]
        );
        assert_eq!(identifiers("where is order 88231199 or blk_4381937042?"), ["88231199", "blk_4381937042"]);
        assert!(identifiers("the payment took 12.5 ms and 3 retries, <uuid> too").is_empty());
        assert!(identifiers("customers cannot pay in the evening").is_empty());
    }
}
