//! What a comparison gives.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use tracerag_schemas::time::rfc3339;

use super::judge::{FEWEST_FAILING, FEWEST_GOOD};
use super::sides::Sides;
use super::variables::{Key, Kind};

/// Notes on what too few traces have.
const MOST_NOTES: usize = 5;
/// Attributes that a note names.
const MOST_NAMES: usize = 20;

/// What differs, in words and in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The outcome in one sentence.
    pub said: String,
    /// Which traces were compared, and how.
    pub rule: String,
    /// The incident of the failing traces.
    pub fingerprint: String,
    /// The trace in whose bundle the anchors stand; `None` where there is no failing trace.
    pub example_trace_id: Option<String>,
    /// Traces that fail with the fingerprint.
    pub failing: Counted,
    /// Traces of the same root that do not fail.
    pub good: Counted,
    /// Begin of the time that was looked at, RFC 3339.
    pub since: String,
    /// Its end, RFC 3339.
    pub until: String,
    /// Position of the lake that was read.
    pub position: u64,
    /// Hypotheses that were tested; the correction is for so many.
    pub tested: u64,
    /// What there is nothing to say of, and why.
    pub notes: Vec<String>,
    /// What is over-represented among the failing traces. Those of one rank have the same traces, or nearly; the first
    /// of a rank leads.
    pub differences: Vec<Difference>,
}

/// How many traces of a side there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// In the time that was looked at.
    pub traces: u64,
    /// That were compared: a sample, chosen by the hash of the trace id, where there are too many.
    pub compared: u64,
}

/// Something that is over-represented among the failing traces.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// 1 for what is named first; equal for what goes along with each other.
    pub rank: u64,
    /// What it lies in.
    pub kind: Kind,
    /// The flag, the service, the attribute and so on.
    pub name: String,
    /// The value; of numbers the bound between both sides, and on which side of it the failing traces lie.
    pub value: String,
    /// Failing traces that have it ...
    pub failing_with: u64,
    /// ... of those of which it is known.
    pub failing: u64,
    /// Good traces that have it ...
    pub good_with: u64,
    /// ... of those of which it is known.
    pub good: u64,
    /// How many times as often the failing ones have it; `None` where no good one does.
    pub lift: Option<f64>,
    /// Probability of so much or more by chance: Fisher's exact test, for numbers that of Mann and Whitney.
    pub p_value: f64,
    /// The same corrected for all that was tested (Holm 1979, with equal parts for each kind).
    pub q_value: f64,
    /// In words.
    pub reason: String,
    /// Where it stands in the bundle of the example.
    pub anchors: Vec<String>,
}

/// What the tests gave.
#[derive(Debug)]
pub(super) struct Judged {
    pub differences: Vec<Difference>,
    pub tested: u64,
    /// Variables of which too few failing or good traces are known, with how many there are.
    pub untold: Vec<(Key, [u64; 2])>,
    /// Attributes that were not tested, because they may follow from the failure.
    pub consequences: Vec<String>,
    /// Groups beyond those that are answered.
    pub left_out: u64,
}

impl Report {
    pub(super) fn of(sides: &Sides, judged: Judged, position: u64) -> Self {
        let Judged { differences, tested, untold, consequences, left_out } = judged;
        let (failing, good) = (sides.failing.len(), sides.good.len());
        let said = match differences.first() {
            Some(first) => format!(
                "{failing} failing traces against {good} good ones: most of all {} {} = {} ({} of {} failing, {} of {} good)",
                first.kind.name(),
                first.name,
                first.value,
                first.failing_with,
                first.failing,
                first.good_with,
                first.good
            ),
            None => format!(
                "nothing of {tested} things that were tested tells {failing} failing traces from {good} good ones; the \
                 cause may be in none of them, or in too few traces"
            ),
        };
        let mut notes = sides.notes();
        notes.extend(untold_notes(untold));
        notes.extend(consequences_note(&consequences));
        if left_out > 0 {
            notes.push(format!("{left_out} more differences are not listed"));
        }
        Self { tested, notes, differences, ..Self::without(sides, said, position) }
    }

    /// A report without a test.
    pub(super) fn without(sides: &Sides, said: String, position: u64) -> Self {
        Self {
            said,
            rule: sides.rule(),
            fingerprint: sides.fingerprint.clone(),
            example_trace_id: sides.failing.first().map(|member| member.trace_id.clone()),
            failing: Counted { traces: sides.all_failing, compared: sides.failing.len() as u64 },
            good: Counted { traces: sides.all_good, compared: sides.good.len() as u64 },
            since: rfc3339(sides.since),
            until: rfc3339(sides.until),
            position,
            tested: 0,
            notes: sides.notes(),
            differences: vec![],
        }
    }

    /// As servers and commands give it.
    pub fn json(&self) -> Value {
        json!(self)
    }
}

/// What too few traces have, a kind a note.
fn untold_notes(untold: Vec<(Key, [u64; 2])>) -> Vec<String> {
    let mut by_kind: BTreeMap<Kind, Vec<(String, [u64; 2])>> = BTreeMap::new();
    for ((kind, name), sides) in untold {
        by_kind.entry(kind).or_default().push((name, sides));
    }
    let notes = by_kind.into_iter().filter_map(|(kind, mut names)| {
        // The one that is nearest to being told of stands for all.
        names.sort_by(|(a, of_a), (b, of_b)| (of_b.iter().min(), a).cmp(&(of_a.iter().min(), b)));
        let (name, [failing, good]) = names.first()?;
        let others = match names.len() - 1 {
            0 => String::new(),
            more => format!(", and so of {more} more"),
        };
        Some(format!(
            "{}: {name} is known of {failing} failing and {good} good traces, and {FEWEST_FAILING} and {FEWEST_GOOD} are \
             the fewest{others}",
            kind.name()
        ))
    });
    notes.take(MOST_NOTES).collect()
}

/// Which attributes nothing was made of, and why.
fn consequences_note(names: &[String]) -> Option<String> {
    let named = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let others = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    (!names.is_empty()).then(|| {
        format!(
            "attribute: not compared, for by their names they tell how an operation ended, and may follow from the \
             failure: {named}{others}"
        )
    })
}
