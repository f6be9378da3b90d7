//! What is known of incidents: counts, times, examples, fixes, and what people have merged.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array, AsArray};
use tracerag_schemas::Table;

use super::held::{Counted, Place, came_back, regressed, whole};
use super::merges::Merges;
use super::releases::Releases;
use super::{KnownFix, SimilarIncident};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text, texts};
use crate::snapshot::Snapshot;

/// What the lake holds of one incident.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    title: Option<String>,
    pub service_name: Option<String>,
    pub exception_type: Option<String>,
    pub failure_count: i64,
    /// Failures that are echoes of others.
    pub echo_count: i64,
    pub trace_count: i64,
    pub first_seen: Option<i64>,
    last_seen: Option<i64>,
    example: Option<String>,
    pub fixes: Vec<KnownFix>,
    /// Since when it has been seen after its newest whole fix, and in which version.
    regressed: Option<(i64, Option<String>)>,
    /// What its counts are made of, until the fixes are judged by it.
    seen: Vec<Counted>,
    /// Whether the title is of a row of its own, and when that row was taken: the earliest own row wins.
    title_from: Option<(bool, Option<i64>)>,
}

impl History {
    /// A trace with a failure of the incident.
    pub(super) fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }

    /// Takes the fixes, newest first, and says whether they held.
    fn judge(&mut self, fixes: Vec<KnownFix>, releases: &Releases) {
        self.fixes = fixes;
        let mut seen = std::mem::take(&mut self.seen);
        if self.fixes.is_empty() {
            return;
        }
        seen.sort_by_key(|counted| counted.last_seen);
        for fix in &mut self.fixes {
            let version = releases.version(fix, self.service_name.as_deref());
            let (back, reason) = came_back(Place { at: fix.fixed_at, version }, &seen);
            (fix.came_back, fix.came_back_reason) = (back, Some(reason));
        }
        self.regressed = whole(&self.fixes).and_then(|fix| {
            let version = releases.version(fix, self.service_name.as_deref());
            regressed(seen.iter(), Place { at: fix.fixed_at, version })
        });
    }

    pub(super) fn incident(
        &self,
        fingerprint: &str,
        distance: Option<f64>,
        score: f64,
        reason: String,
    ) -> SimilarIncident {
        let good = |fix: &&KnownFix| fix.outcome.as_deref() != Some("wrong");
        let whole = whole(&self.fixes);
        let (regressed_at, regressed_version) = self.regressed.clone().unzip();
        SimilarIncident {
            fingerprint: fingerprint.to_owned(),
            title: self.title.clone().unwrap_or_else(|| fingerprint.to_owned()),
            service_name: self.service_name.clone(),
            distance,
            score,
            reason,
            failure_count: self.failure_count,
            trace_count: self.trace_count,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            fix_summary: self.fixes.iter().filter(good).find_map(|fix| fix.summary.clone()),
            fixes: self.fixes.clone(),
            example_trace_id: self.example.clone(),
            fix_id: whole.and_then(|fix| fix.fix_id.clone()),
            fixed_at: whole.and_then(|fix| fix.fixed_at),
            regressed_at,
            regressed_version: regressed_version.flatten(),
        }
    }
}

/// The histories of fingerprints that have counts at the snapshot's head. `asked` is a trace that is no
/// example: whoever asks about it has it.
pub(super) async fn read(
    snapshot: &Snapshot,
    merges: &Merges,
    fingerprints: &[&str],
    asked: Option<&str>,
) -> Result<HashMap<String, History>> {
    if fingerprints.is_empty() {
        return Ok(HashMap::new());
    }
    let members = merges.members(fingerprints);
    let (mut histories, mut fixes) =
        tokio::try_join!(counts(snapshot, merges, &members, asked), fixes(snapshot, merges, &members))?;
    let releases = Releases::for_fixes(snapshot, &fixes).await?;
    for (fingerprint, history) in &mut histories {
        history.judge(fixes.remove(fingerprint).unwrap_or_default(), &releases);
    }
    Ok(histories)
}

/// Since when some incidents have been seen again after their newest whole fix, and in which version; those that were not
/// are left out. The fingerprints are those that count.
///
/// # Errors
/// When the lake cannot be read.
pub(crate) async fn regressions(
    snapshot: &Snapshot,
    merges: &Merges,
    fingerprints: &[&str],
) -> Result<HashMap<String, (i64, Option<String>)>> {
    if fingerprints.is_empty() {
        return Ok(HashMap::new());
    }
    let histories = read(snapshot, merges, fingerprints, None).await?;
    Ok(histories.into_iter().filter_map(|(fingerprint, history)| Some((fingerprint, history.regressed?))).collect())
}

/// Whether the fixes of some fingerprints held, and by what that is judged, by the ids of the fixes. Of a fix whose
/// incident has no failures at the snapshot's head nothing is said.
pub(crate) async fn judged(
    snapshot: &Snapshot,
    fingerprints: &[&str],
) -> Result<HashMap<String, (bool, Option<String>)>> {
    let merges = Merges::read(snapshot).await?;
    let counted: BTreeSet<&str> = fingerprints.iter().map(|fingerprint| merges.target(fingerprint)).collect();
    let counted: Vec<&str> = counted.into_iter().collect();
    let histories = read(snapshot, &merges, &counted, None).await?;
    let fixes = histories.into_values().flat_map(|history| history.fixes);
    Ok(fixes.filter_map(|fix| Some((fix.fix_id?, (fix.came_back, fix.came_back_reason)))).collect())
}

async fn counts(
    snapshot: &Snapshot,
    merges: &Merges,
    members: &[&str],
    asked: Option<&str>,
) -> Result<HashMap<String, History>> {
    let columns = [
        "fingerprint",
        "title",
        "service_name",
        "exception_type",
        "first_seen",
        "last_seen",
        "failure_count",
        "echo_count",
        "trace_count",
        "versions",
        "example_trace_ids",
        "ingested_at",
    ];
    let mut histories: HashMap<String, History> = HashMap::new();
    let by = ById::any("fingerprint", members.to_vec());
    for batch in snapshot.read_id(Table::IncidentCounts, &columns, by).await? {
        let columns = Columns::of("incident_counts", &batch);
        let fingerprints = columns.text("fingerprint")?;
        let (titles, services, types) =
            (columns.text("title")?, columns.text("service_name")?, columns.text("exception_type")?);
        let (first, last, ingested) =
            (columns.time("first_seen")?, columns.time("last_seen")?, columns.time("ingested_at")?);
        let (failures, traces) = (columns.int("failure_count")?, columns.int("trace_count")?);
        let echoes = columns.int("echo_count")?;
        let (versions, examples) = (columns.list("versions")?, columns.list("example_trace_ids")?);
        for row in 0..batch.num_rows() {
            let Some(fingerprint) = text(fingerprints, row) else { continue };
            let target = merges.target(fingerprint);
            let history = histories.entry(target.to_owned()).or_default();
            // A merged row lends its title only where the target has no rows.
            let from = (target != fingerprint, number(ingested, row));
            if history.title_from.is_none_or(|known| from < known) {
                history.title_from = Some(from);
                history.title = owned(titles, row);
                history.service_name = owned(services, row);
                history.exception_type = owned(types, row);
            }
            history.failure_count += number(failures, row).unwrap_or(0);
            history.echo_count += number(echoes, row).unwrap_or(0);
            history.trace_count += number(traces, row).unwrap_or(0);
            history.first_seen = match (history.first_seen, number(first, row)) {
                (Some(known), Some(found)) => Some(known.min(found)),
                (known, found) => known.or(found),
            };
            let seen = number(last, row);
            if let Some(last_seen) = seen {
                let first_seen = number(first, row).unwrap_or(last_seen);
                let is_echo = number(failures, row) == Some(0);
                history.seen.push(Counted { first_seen, last_seen, versions: texts(versions, row), is_echo });
            }
            if (history.example.is_none() || seen >= history.last_seen) && examples.is_valid(row) {
                let named = examples.value(row);
                let other = named.as_string_opt::<i32>().and_then(|named| {
                    named.iter().flatten().find(|example| Some(*example) != asked).map(str::to_owned)
                });
                history.example = other.or_else(|| history.example.take());
            }
            history.last_seen = history.last_seen.max(seen);
        }
    }
    Ok(histories)
}

/// Known fixes by the fingerprint that counts, newest first.
pub(super) async fn fixes(
    snapshot: &Snapshot,
    merges: &Merges,
    members: &[&str],
) -> Result<HashMap<String, Vec<KnownFix>>> {
    let columns = [
        "fix_id",
        "fingerprint",
        "fixed_at",
        "summary",
        "patch_url",
        "outcome",
        "test_name",
        "fixed_version",
        "fixed_git_sha",
    ];
    let mut fixes: HashMap<String, Vec<KnownFix>> = HashMap::new();
    let by = ById::any("fingerprint", members.to_vec());
    for batch in snapshot.read_id(Table::Fixes, &columns, by).await? {
        let columns = Columns::of("fixes", &batch);
        let (ids, fingerprints, times) =
            (columns.text("fix_id")?, columns.text("fingerprint")?, columns.time("fixed_at")?);
        let (summaries, urls, outcomes) =
            (columns.text("summary")?, columns.text("patch_url")?, columns.text("outcome")?);
        let tests = columns.text("test_name")?;
        let (versions, commits) = (columns.text("fixed_version")?, columns.text("fixed_git_sha")?);
        for row in 0..batch.num_rows() {
            let Some(fingerprint) = text(fingerprints, row) else { continue };
            fixes.entry(merges.target(fingerprint).to_owned()).or_default().push(KnownFix {
                fix_id: owned(ids, row),
                fixed_at: number(times, row),
                summary: owned(summaries, row),
                patch_url: owned(urls, row),
                outcome: owned(outcomes, row),
                test_name: owned(tests, row),
                fixed_version: owned(versions, row),
                fixed_git_sha: owned(commits, row),
                // Told when it is known how the incident was seen.
                came_back: false,
                came_back_reason: None,
            });
        }
    }
    for known in fixes.values_mut() {
        known.sort_by(|a, b| b.fixed_at.cmp(&a.fixed_at).then_with(|| a.fix_id.cmp(&b.fix_id)));
    }
    Ok(fixes)
}
