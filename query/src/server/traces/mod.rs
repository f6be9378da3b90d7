//! What the interfaces of tracing tools share: which traces a search finds, what is told of each, and a trace as OTLP.

mod answer;
mod duration;
mod interval;
mod read;
mod search;
mod summary;

pub(super) use answer::{answer, json_answer, whole, written};
pub(super) use duration::duration;
pub(super) use interval::Interval;
pub(super) use read::{count, read, read_newest};
pub(super) use search::{Hit, Search, find, spans};
pub(super) use summary::{Summary, summaries};

/// Tags that a search names at most. Planning takes longer with each, and goes deeper.
pub(super) const MOST_TAGS: usize = 32;

/// A trace's id as tools write it: those of 64 bits come without their leading zeros.
///
/// # Errors
/// [`crate::QueryError::NotATraceId`].
pub(super) fn trace_id(text: &str) -> crate::Result<String> {
    crate::bundle::trace_id(&format!("{:0>32}", text.trim()))
}
