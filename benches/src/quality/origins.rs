//! Whether the failure is found that the others come of: the one origin in a trace is where the fault was put.

use std::collections::BTreeMap;

use super::lakes::{Lakes, Row, rows, text};
use super::table::{Aim, note, row, share};
use super::truth;
use crate::Outcome;

/// Where the story puts its faults: the service that owns the failure, and a part of the exception's type or the message.
/// A slow line to the warehouse throws nowhere, so that only the service is known.
static PLACES: [(&str, &str, &str); 6] = [
    ("decimal_overflow", "payments", "OverflowError"),
    ("panic", "payments", "divide by zero"),
    ("missing_field", "checkout", "KeyError"),
    ("lock", "inventory", "OperationalError"),
    ("timeout", "inventory", ""),
    ("job_fails", "worker", "ValueError"),
];

pub(super) async fn measure(lakes: &Lakes<'_>) -> Outcome<()> {
    let session = lakes.recording().await?;
    // The span that owns a failure may be another one's than the service that threw.
    let query = "select f.trace_id, coalesce(s.service_name, f.service_name) as owner, \
                 coalesce(f.exception_type, '') || ' ' || coalesce(f.message, '') as said \
                 from failures f left join spans s on s.trace_id = f.trace_id and s.span_id = f.origin_span_id \
                 where f.origin_id is null and f.trace_id is not null";
    let mut origins: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for found in rows(&session, query).await? {
        origins.entry(text(&found, "trace_id").to_owned()).or_default().push(found);
    }
    let mut by_fault: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (trace, fault) in truth::faults()? {
        let place = PLACES.iter().find(|(name, ..)| *name == fault);
        let (_, service, said) = place.ok_or_else(|| format!("the story has a new fault {fault}; add its place"))?;
        let is_right = |origin: &Row| text(origin, "owner") == *service && text(origin, "said").contains(*said);
        // All that failed has one owner, or the search for the origin has not come to its end.
        let is_found = origins.get(&trace).is_some_and(|found| !found.is_empty() && found.iter().all(is_right));
        let (found, of) = by_fault.entry(fault).or_default();
        *found += usize::from(is_found);
        *of += 1;
    }
    let (found, of) =
        by_fault.values().fold((0_usize, 0_usize), |(found, of), (more, of_more)| (found + more, of + of_more));
    row("origin failure of the recording found, all faults", share(found, of), None, Aim::AtLeast(0.95));
    let each: Vec<String> = by_fault.iter().map(|(fault, (found, of))| format!("{fault} {found} of {of}")).collect();
    note(&each.join(", "));
    Ok(())
}
