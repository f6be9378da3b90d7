//! Pairs of failures: those of one injected fault should have one fingerprint, and no others.
//!
//! The failures are the origins in the traces of orders and jobs that met a fault; an order that met none and failed all
//! the same would have no label. Echoes are no causes, and are not counted here. How often a failure is counted is told
//! with the origins that have no trace: the shop's server logs its exceptions once more, and the faults are all in traces.

use std::collections::{BTreeMap, BTreeSet};

use super::lakes::{Lakes, rows, text};
use super::table::{Aim, note, row, share};
use super::truth;
use crate::Outcome;

pub(super) async fn measure(lakes: &Lakes<'_>) -> Outcome<()> {
    let session = lakes.recording().await?;
    let faults = truth::faults()?;
    let query = "select trace_id, fingerprint from failures where origin_id is null and trace_id is not null";
    let mut labelled: Vec<(String, String)> = Vec::new();
    let mut traces: Vec<String> = Vec::new();
    for found in rows(&session, query).await? {
        if let Some(fault) = faults.get(text(&found, "trace_id")) {
            labelled.push((fault.clone(), text(&found, "fingerprint").to_owned()));
            traces.push(text(&found, "trace_id").to_owned());
        }
    }
    let faulty: BTreeSet<&str> = traces.iter().map(String::as_str).collect();
    let alone = "select fingerprint from failures where origin_id is null and trace_id is null";
    let alone = rows(&session, alone).await?.len();
    let times = share(labelled.len() + alone, faulty.len());
    row("times that a failure of the recording is counted", times, None, Aim::AtMost(1.05));
    note(&format!(
        "{} traces with a fault, {} failures in them, {alone} without a trace",
        faulty.len(),
        labelled.len()
    ));
    let (mut together, mut same, mut right) = (0, 0, 0);
    for (place, (fault, fingerprint)) in labelled.iter().enumerate() {
        for (other_fault, other) in labelled.iter().skip(place + 1) {
            let (is_together, is_same) = (fingerprint == other, fault == other_fault);
            together += usize::from(is_together);
            same += usize::from(is_same);
            right += usize::from(is_together && is_same);
        }
    }
    row("fingerprint pairs of the recording, precision", share(right, together), None, Aim::AtLeast(0.999));
    row("fingerprint pairs of the recording, recall", share(right, same), None, Aim::AtLeast(0.95));
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (fault, fingerprint) in &labelled {
        groups.entry(fault).or_default().insert(fingerprint);
    }
    let split: Vec<String> = groups.iter().map(|(fault, groups)| format!("{fault} {}", groups.len())).collect();
    note(&format!("{} failures, {same} pairs; fingerprints by fault: {}", labelled.len(), split.join(", ")));
    Ok(())
}
