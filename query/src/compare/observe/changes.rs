//! Flags, configuration and builds that were in effect, as the traces' rows have fixed them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::record_batch::RecordBatch;
use tracerag_schemas::anchor::{ALL_SERVICES, Anchor, Target, version_or_commit};
use tracerag_schemas::bundle::{Build, Flag};

use super::Traces;
use crate::bundle::changes::{builds_in_effect, flags_in_effect};
use crate::compare::variables::{Kind, Variables};
use crate::error::Result;
use crate::rows::{Columns, number, text};

/// How a value is known that is one of several.
const AMBIGUOUS: &str = "ambiguous";
/// How a variant is known that the trace itself has evaluated.
const EVALUATED: &str = "evaluated";

pub(super) fn observe(variables: &mut Variables, traces: &Traces<'_>, batches: &[RecordBatch]) -> Result<()> {
    let mut newest: HashMap<u32, (i32, &RecordBatch, usize)> = HashMap::new();
    for batch in batches {
        let columns = Columns::of("traces", batch);
        let (ids, revisions) = (columns.text("trace_id")?, columns.code("revision")?);
        for row in 0..batch.num_rows() {
            let Some(trace) = traces.number(text(ids, row)) else { continue };
            let revision = number(revisions, row).unwrap_or_default();
            if newest.get(&trace).is_none_or(|(known, ..)| *known < revision) {
                newest.insert(trace, (revision, batch, row));
            }
        }
    }
    for (trace, (_, batch, row)) in newest {
        let columns = Columns::of("traces", batch);
        flags(variables, trace, &flags_in_effect(columns, row)?);
        builds(variables, trace, &builds_in_effect(columns, row)?);
    }
    Ok(())
}

/// A trace has the variants that it has evaluated; of a flag of which it says nothing itself, those in effect.
fn flags(variables: &mut Variables, trace: u32, flags: &[Flag]) {
    let is_evaluated = |flag: &Flag| flag.r#match.as_deref() == Some(EVALUATED);
    let evaluated: BTreeSet<&str> =
        flags.iter().filter(|flag| is_evaluated(flag)).filter_map(|flag| flag.key.as_deref()).collect();
    let mut by_key: BTreeMap<(Kind, &str), Vec<&Flag>> = BTreeMap::new();
    for flag in flags {
        let Some(key) = flag.key.as_deref() else { continue };
        if flag.r#match.as_deref() == Some(AMBIGUOUS) || (evaluated.contains(key) && !is_evaluated(flag)) {
            continue;
        }
        let kind = if flag.kind.as_deref() == Some("config") { Kind::Config } else { Kind::Flag };
        by_key.entry((kind, key)).or_default().push(flag);
    }
    for ((kind, key), flags) in by_key {
        for flag in flags {
            let Some(value) = flag.variant.as_deref().or(flag.value.as_deref()) else { continue };
            let anchor = || {
                let service = flag.service.clone().unwrap_or_else(|| ALL_SERVICES.to_owned());
                Some(Anchor::first(match kind {
                    Kind::Config => Target::Config { key: key.to_owned(), service },
                    _ => Target::Flag { key: key.to_owned(), service: Some(service) },
                }))
            };
            variables.say(kind, key, trace, value, anchor);
        }
    }
}

fn builds(variables: &mut Variables, trace: u32, builds: &[Build]) {
    for build in builds {
        let Some(service) = build.service.as_deref() else { continue };
        if build.r#match.as_deref() == Some(AMBIGUOUS) || (build.version.is_none() && build.git_sha.is_none()) {
            continue;
        }
        let version = version_or_commit(build.version.as_deref(), build.git_sha.as_deref());
        let anchor = || {
            let version = Some(version.to_owned());
            Some(Anchor::first(Target::Build { service: service.to_owned(), version }))
        };
        variables.say(Kind::Build, service, trace, version, anchor);
    }
}
