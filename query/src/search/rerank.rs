//! Frames as a second look: of what the searches found, incidents whose stacks are like the one that is asked about
//! come up.
//!
//! A score is then in part what the texts say, and in part what the frames say. A stack that is missing says no more
//! against an incident than one that shares nothing.

use std::collections::HashMap;

use tracerag_schemas::Table;

use super::history::History;
use super::hybrid::Found;
use super::merges::Merges;
use super::stack::{Frames, Stack};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, text};
use crate::snapshot::Snapshot;

/// The part of a score that is the frames'.
const WEIGHT: f64 = 0.4;

/// Scores the candidates by their stacks as well, given those that are asked with; `histories` has those that are looked
/// at. The stack of a candidate is that of its example trace.
pub(super) async fn by_frames(
    snapshot: &Snapshot,
    merges: &Merges,
    asked: &[Stack],
    candidates: &mut [(String, Found)],
    histories: &HashMap<String, History>,
) -> Result<()> {
    if candidates.is_empty() || asked.is_empty() {
        return Ok(());
    }
    let example = |fingerprint: &str| histories.get(fingerprint).and_then(History::example);
    let mut traces: Vec<&str> = candidates.iter().filter_map(|(fingerprint, _)| example(fingerprint)).collect();
    traces.sort_unstable();
    traces.dedup();
    let stacks = stacks(snapshot, merges, traces).await?;
    for (fingerprint, found) in candidates {
        found.score *= 1.0 - WEIGHT;
        let Some(trace) = example(fingerprint) else { continue };
        let Some(stack) = stacks.get(&(trace.to_owned(), fingerprint.clone())) else { continue };
        let overlaps = asked.iter().filter_map(|asked| asked.overlap(stack));
        let best = overlaps.max_by(|one, other| one.share.total_cmp(&other.share));
        if let Some(overlap) = best {
            found.score += WEIGHT * overlap.share;
            found.frames = Some(overlap);
        }
    }
    Ok(())
}

/// The stacks of traces, by trace and fingerprint.
async fn stacks(snapshot: &Snapshot, merges: &Merges, traces: Vec<&str>) -> Result<HashMap<(String, String), Stack>> {
    let columns = ["trace_id", "fingerprint", "frames"];
    let mut found: HashMap<(String, String), Stack> = HashMap::new();
    for batch in snapshot.read_id(Table::Failures, &columns, ById::any("trace_id", traces)).await? {
        let columns = Columns::of("failures", &batch);
        let (ids, fingerprints) = (columns.text("trace_id")?, columns.text("fingerprint")?);
        let frames = Frames::of(columns)?;
        for row in 0..batch.num_rows() {
            let (Some(id), Some(fingerprint)) = (text(ids, row), text(fingerprints, row)) else { continue };
            let stack = frames.stack(row);
            if !stack.is_empty() {
                found.entry((id.to_owned(), merges.target(fingerprint).to_owned())).or_insert(stack);
            }
        }
    }
    Ok(found)
}
