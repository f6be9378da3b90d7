//! What the load generator of the recording wrote down: which order met which fault.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use super::repository;
use crate::Outcome;

/// The fault of a job that failed. The order had been answered by then, so the truth has it among the jobs.
const JOB: &str = "job_fails";

/// The faults of the recording by trace id.
pub(super) fn faults() -> Outcome<BTreeMap<String, String>> {
    let file = File::open(repository("examples/checkout/recording/truth/truth.jsonl.zst"))?;
    let mut faults = BTreeMap::new();
    for line in BufReader::new(zstd::Decoder::new(file)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let said = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let (trace, fault) = match said("kind").as_deref() {
            Some("request") => (said("trace_id"), said("fault")),
            Some("job") => (said("job_trace_id"), said("outcome").filter(|of| of == "failed").map(|_| JOB.to_owned())),
            _ => (None, None),
        };
        if let (Some(trace), Some(fault)) = (trace, fault) {
            faults.insert(trace, fault);
        }
    }
    Ok(faults)
}
