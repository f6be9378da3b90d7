//! How incidents have gone lately: when they were seen, how often, in which versions, and what was to fix them. It is
//! what events about incidents are decided by.

use std::collections::{BTreeSet, HashMap};

use tracerag_schemas::Table;

use super::held::{Counted, regressed, whole};
use super::history::{self, Merges};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text, texts};
use crate::snapshot::Snapshot;

/// Versions of one incident that are named.
const VERSIONS: usize = 20;

/// One incident. Times are ns since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// The fingerprint that counts: what people have merged into another has that one's.
    pub fingerprint: String,
    /// Title, as the first failure gave it.
    pub title: Option<String>,
    /// Service.
    pub service_name: Option<String>,
    /// Exception type.
    pub exception_type: Option<String>,
    /// When it was first seen.
    pub first_seen: i64,
    /// When it was last seen.
    pub last_seen: i64,
    /// Failures without echoes, all in all.
    pub failure_count: i64,
    /// Versions of the service that failed, at most twenty, sorted as texts.
    pub versions: Vec<String>,
    /// The newest known trace.
    pub example_trace_id: Option<String>,
    /// The newest fix of which nobody says that it was wrong or half a fix.
    pub fix: Option<Fixed>,
    /// Since when it has been seen again after the fix, and in which version.
    pub regressed: Option<(i64, Option<String>)>,
    /// Failures since the time that was asked for: when the last of some was seen, and how many they were.
    pub seen: Vec<(i64, i64)>,
}

/// A fix that was to end an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Its id.
    pub fix_id: String,
    /// When it took effect, in ns since the epoch.
    pub fixed_at: i64,
}

/// The activity of the tenant's incidents with these fingerprints, by the fingerprint that counts; `seen` since a time
/// in ns. Incidents of which no failure has a time are left out.
///
/// # Errors
/// When the lake cannot be read.
pub async fn activity(snapshot: &Snapshot, fingerprints: &[&str], since: i64) -> Result<Vec<Activity>> {
    let merges = Merges::read(snapshot).await?;
    let counted: BTreeSet<&str> = fingerprints.iter().map(|fingerprint| merges.target(fingerprint)).collect();
    let counted: Vec<&str> = counted.into_iter().collect();
    if counted.is_empty() {
        return Ok(vec![]);
    }
    let members = merges.members(&counted);
    let mut fixes = history::fixes(snapshot, &merges, &members).await?;
    let mut rows = rows(snapshot, &merges, &members).await?;
    let activities = counted.into_iter().filter_map(|fingerprint| {
        let fixes = fixes.remove(fingerprint).unwrap_or_default();
        let fix = whole(&fixes).and_then(|fix| Some(Fixed { fix_id: fix.fix_id.clone()?, fixed_at: fix.fixed_at? }));
        gather(fingerprint, rows.remove(fingerprint)?, fix, since)
    });
    Ok(activities.collect())
}

/// One row of counts.
struct Row {
    is_own: bool,
    ingested_at: Option<i64>,
    seen: Counted,
    count: i64,
    example: Option<String>,
    title: Option<String>,
    service_name: Option<String>,
    exception_type: Option<String>,
}

async fn rows(snapshot: &Snapshot, merges: &Merges, members: &[&str]) -> Result<HashMap<String, Vec<Row>>> {
    const COLUMNS: [&str; 10] = [
        "fingerprint",
        "title",
        "service_name",
        "exception_type",
        "first_seen",
        "last_seen",
        "failure_count",
        "versions",
        "example_trace_ids",
        "ingested_at",
    ];
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    let by = ById::any("fingerprint", members.to_vec());
    for batch in snapshot.read_id(Table::IncidentCounts, &COLUMNS, by).await? {
        let columns = Columns::of("incident_counts", &batch);
        let fingerprints = columns.text("fingerprint")?;
        let (titles, services, types) =
            (columns.text("title")?, columns.text("service_name")?, columns.text("exception_type")?);
        let (first, last, ingested) =
            (columns.time("first_seen")?, columns.time("last_seen")?, columns.time("ingested_at")?);
        let (counts, versions) = (columns.int("failure_count")?, columns.list("versions")?);
        let examples = columns.list("example_trace_ids")?;
        for row in 0..batch.num_rows() {
            let (Some(fingerprint), Some(last_seen)) = (text(fingerprints, row), number(last, row)) else { continue };
            let target = merges.target(fingerprint);
            rows.entry(target.to_owned()).or_default().push(Row {
                is_own: target == fingerprint,
                ingested_at: number(ingested, row),
                seen: Counted {
                    first_seen: number(first, row).unwrap_or(last_seen),
                    last_seen,
                    versions: texts(versions, row),
                },
                count: number(counts, row).unwrap_or(0),
                example: texts(examples, row).into_iter().next_back(),
                title: owned(titles, row),
                service_name: owned(services, row),
                exception_type: owned(types, row),
            });
        }
    }
    Ok(rows)
}

fn gather(fingerprint: &str, mut rows: Vec<Row>, fix: Option<Fixed>, since: i64) -> Option<Activity> {
    rows.sort_by_key(|row| row.seen.last_seen);
    let named = rows.iter().min_by_key(|row| (!row.is_own, row.ingested_at, row.seen.first_seen))?;
    let seen = || rows.iter().map(|row| &row.seen);
    let regressed = fix.as_ref().and_then(|fix| regressed(seen(), fix.fixed_at));
    let mut versions: Vec<String> = seen().flat_map(|seen| seen.versions.iter().cloned()).collect();
    versions.sort();
    versions.dedup();
    versions.truncate(VERSIONS);
    Some(Activity {
        fingerprint: fingerprint.to_owned(),
        title: named.title.clone(),
        service_name: named.service_name.clone(),
        exception_type: named.exception_type.clone(),
        first_seen: seen().map(|seen| seen.first_seen).min()?,
        last_seen: rows.last()?.seen.last_seen,
        failure_count: rows.iter().map(|row| row.count).sum(),
        versions,
        example_trace_id: rows.iter().rev().find_map(|row| row.example.clone()),
        fix,
        regressed,
        seen: rows.iter().map(|row| (row.seen.last_seen, row.count)).filter(|(at, _)| *at > since).collect(),
    })
}
