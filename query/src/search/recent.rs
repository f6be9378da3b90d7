//! How incidents have gone lately: when they were seen, how often, in which versions, and what was to fix them. It is
//! what events about incidents are decided by. Echoes are left out: what they tell of is the incident of their origin.
//!
//! An incident that goes on for months has rows without number. So whoever looks again hands in what it was told
//! ([`KnownActivity`]), and only rows that are newer are read.

use std::collections::{BTreeSet, HashMap};

use datafusion::logical_expr::{col, lit};
use serde::{Deserialize, Serialize};
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::held::{Counted, Place, regressed, whole};
use super::merges::Merges;
use super::releases::Releases;
use super::{KnownFix, history};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text, texts};
use crate::snapshot::{Read, Snapshot, time_literal};

/// Versions of one incident that are named.
const VERSIONS: usize = 20;
/// How far what is known may lie behind the time that is asked for, in ns: an hour. It is remembered somewhere, and is not
/// to change with every look.
const BEHIND: i64 = 3_600 * SECOND;

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

/// What is known of an incident up to a time, so that only what came later is read. Failures that are that late are left
/// out. Times are ns since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownActivity {
    /// Rows of failures that were last seen up to this time are in it.
    until: i64,
    /// How many fingerprints count for the incident.
    members: usize,
    title: Option<String>,
    service_name: Option<String>,
    exception_type: Option<String>,
    first_seen: i64,
    last_seen: i64,
    failure_count: i64,
    versions: Vec<String>,
    example_trace_id: Option<String>,
    /// The fix after which it has been seen again, since when, and in which version.
    regressed: Option<(String, i64, Option<String>)>,
    /// The fix that rows up to its time were judged by, and the version that has it.
    #[serde(default)]
    judged: Option<(String, Option<String>)>,
}

impl KnownActivity {
    /// Whether rows after its time are enough, given the fingerprints that count and the fix that holds now.
    fn serves(&self, members: usize, fix: Option<&Fixed>) -> bool {
        let knows = |fix: &Fixed| {
            // By its time nothing can have come after the fix that is not read; by a version it can.
            self.is_judged_by(fix) || fix.version.is_none() && fix.fixed_at >= self.last_seen.min(self.until)
        };
        self.members == members && fix.is_none_or(knows)
    }

    fn is_judged_by(&self, fix: &Fixed) -> bool {
        self.judged.as_ref().is_some_and(|(fix_id, version)| *fix_id == fix.fix_id && *version == fix.version)
    }
}

/// One incident. Times are ns since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// The fingerprint that counts: what was merged into another, or mapped to it, has that one's.
    pub fingerprint: String,
    /// All that count for it, itself among them.
    pub members: Vec<String>,
    /// Title, as the first failure gave it.
    pub title: Option<String>,
    /// Service.
    pub service_name: Option<String>,
    /// Exception type.
    pub exception_type: Option<String>,
    /// When it first failed itself.
    pub first_seen: i64,
    /// When it last failed itself.
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
    /// What to hand in when it is asked again.
    pub known: KnownActivity,
}

/// A fix that was to end an incident.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Its id.
    pub fix_id: String,
    /// When it took effect, in ns since the epoch.
    pub fixed_at: i64,
    /// The first version of the service that has it, as the fix says or as its commit was released; `None`: nobody knows.
    pub version: Option<String>,
}

impl Fixed {
    /// The newest whole fix of an incident of a service.
    fn newest(fixes: &[KnownFix], releases: &Releases, service: Option<&str>) -> Option<Self> {
        let fix = whole(fixes)?;
        let version = releases.version(fix, service).map(str::to_owned);
        Some(Self { fix_id: fix.fix_id.clone()?, fixed_at: fix.fixed_at?, version })
    }

    fn place(&self) -> Place<'_> {
        Place { at: Some(self.fixed_at), version: self.version.as_deref() }
    }
}

/// The activity of the tenant's incidents with these fingerprints, by the fingerprint that counts; `seen` since a time
/// in ns, and `known` gives what was told of an incident before. Incidents of which no failure has a time are left out, and
/// those that have echoes only.
///
/// # Errors
/// When the lake cannot be read.
pub async fn activity<'a>(
    snapshot: &Snapshot,
    fingerprints: &[&str],
    known: impl Fn(&str) -> Option<&'a KnownActivity>,
    since: i64,
) -> Result<Vec<Activity>> {
    let merges = Merges::read(snapshot).await?;
    let counted: BTreeSet<&str> = fingerprints.iter().map(|fingerprint| merges.target(fingerprint)).collect();
    let counted: Vec<&str> = counted.into_iter().collect();
    if counted.is_empty() {
        return Ok(vec![]);
    }
    let fixes = history::fixes(snapshot, &merges, &merges.members(&counted)).await?;
    let releases = Releases::for_fixes(snapshot, &fixes).await?;
    let mut asked: Vec<Asked<'_>> = Vec::with_capacity(counted.len());
    for fingerprint in counted {
        let fixes = fixes.get(fingerprint).map(Vec::as_slice).unwrap_or_default();
        let members = merges.members(&[fingerprint]);
        let serves = |known: &&KnownActivity| {
            let fix = Fixed::newest(fixes, &releases, known.service_name.as_deref());
            known.serves(members.len(), fix.as_ref())
        };
        let known = known(fingerprint).filter(serves);
        asked.push(Asked { fingerprint, members, fixes, known });
    }
    let mut rows = rows(snapshot, &merges, &asked).await?;
    let activities = asked.into_iter().filter_map(|asked| {
        let rows = rows.remove(asked.fingerprint).unwrap_or_default();
        gather(asked, &releases, rows, since)
    });
    Ok(activities.collect())
}

/// An incident that is asked about.
struct Asked<'a> {
    fingerprint: &'a str,
    members: Vec<&'a str>,
    fixes: &'a [KnownFix],
    /// What is known, if it serves.
    known: Option<&'a KnownActivity>,
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

/// The rows of incidents: all of those of which nothing is known, of the others the newer ones.
async fn rows(snapshot: &Snapshot, merges: &Merges, asked: &[Asked<'_>]) -> Result<HashMap<String, Vec<Row>>> {
    let of = |is_known: bool| asked.iter().filter(move |asked| asked.known.is_some() == is_known);
    let members = |is_known: bool| of(is_known).flat_map(|asked| asked.members.iter().copied());
    let until = of(true).filter_map(|asked| asked.known).map(|known| known.until).min();
    let newer = async {
        let Some(until) = until else { return Ok(vec![]) };
        let names = members(true).map(lit).collect();
        let filter = col("fingerprint").in_list(names, false).and(col("last_seen").gt(time_literal(until)));
        let read = Read { columns: &COLUMNS, filter: Some(filter), ranges: vec![] };
        snapshot.read(Table::IncidentCounts, read).await
    };
    let by = ById::any("fingerprint", members(false).collect());
    let (all, newer) = tokio::try_join!(snapshot.read_id(Table::IncidentCounts, &COLUMNS, by), newer)?;
    let known: HashMap<&str, i64> =
        of(true).filter_map(|asked| Some((asked.fingerprint, asked.known?.until))).collect();
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    for batch in all.iter().chain(&newer) {
        let columns = Columns::of("incident_counts", batch);
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
            let is_echo = number(counts, row) == Some(0);
            if is_echo || known.get(target).is_some_and(|until| last_seen <= *until) {
                continue;
            }
            rows.entry(target.to_owned()).or_default().push(Row {
                is_own: target == fingerprint,
                ingested_at: number(ingested, row),
                seen: Counted {
                    first_seen: number(first, row).unwrap_or(last_seen),
                    last_seen,
                    versions: texts(versions, row),
                    is_echo,
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

/// What is known and the rows make together.
fn gather(asked: Asked<'_>, releases: &Releases, mut rows: Vec<Row>, since: i64) -> Option<Activity> {
    let Asked { fingerprint, members, fixes, known } = asked;
    rows.sort_by_key(|row| row.seen.last_seen);
    let before = match known {
        Some(known) => known.clone(),
        None => {
            let named = rows.iter().min_by_key(|row| (!row.is_own, row.ingested_at, row.seen.first_seen))?;
            KnownActivity {
                until: i64::MIN,
                members: members.len(),
                title: named.title.clone(),
                service_name: named.service_name.clone(),
                exception_type: named.exception_type.clone(),
                first_seen: i64::MAX,
                last_seen: i64::MIN,
                ..KnownActivity::default()
            }
        }
    };
    let mut all = before.with(&rows);
    if all.last_seen == i64::MIN {
        // All that there was is dropped.
        return None;
    }
    let fix = Fixed::newest(fixes, releases, before.service_name.as_deref());
    all.regressed = fix.as_ref().and_then(|fix| {
        let told = before.regressed.clone().filter(|(fix_id, ..)| *fix_id == fix.fix_id && before.is_judged_by(fix));
        let newer = || regressed(rows.iter().map(|row| &row.seen), fix.place());
        let (at, version) = match told {
            Some((_, at, None)) => (at, newer().and_then(|(_, version)| version)),
            Some((_, at, version)) => (at, version),
            None => newer()?,
        };
        Some((fix.fix_id.clone(), at, version))
    });
    let mut next = before;
    if next.until < since.saturating_sub(BEHIND) {
        let old = rows.partition_point(|row| row.seen.last_seen <= since);
        next = KnownActivity { until: since, ..next.with(rows.get(..old).unwrap_or_default()) };
    }
    next.regressed.clone_from(&all.regressed);
    next.judged = fix.as_ref().map(|fix| (fix.fix_id.clone(), fix.version.clone()));
    Some(Activity {
        fingerprint: fingerprint.to_owned(),
        members: members.into_iter().map(str::to_owned).collect(),
        title: all.title,
        service_name: all.service_name,
        exception_type: all.exception_type,
        first_seen: all.first_seen,
        last_seen: all.last_seen,
        failure_count: all.failure_count,
        versions: all.versions,
        example_trace_id: all.example_trace_id,
        fix,
        regressed: all.regressed.map(|(_, at, version)| (at, version)),
        seen: rows.iter().map(|row| (row.seen.last_seen, row.count)).filter(|(at, _)| *at > since).collect(),
        known: next,
    })
}

impl KnownActivity {
    /// The same with more rows, in the order of `last_seen`.
    fn with(&self, rows: &[Row]) -> Self {
        let seen = || rows.iter().map(|row| &row.seen);
        let mut versions: Vec<String> =
            self.versions.iter().chain(seen().flat_map(|seen| &seen.versions)).cloned().collect();
        versions.sort();
        versions.dedup();
        versions.truncate(VERSIONS);
        let example = rows.iter().rev().find_map(|row| row.example.clone());
        Self {
            first_seen: seen().map(|seen| seen.first_seen).min().map_or(self.first_seen, |at| at.min(self.first_seen)),
            last_seen: rows.last().map_or(self.last_seen, |row| row.seen.last_seen.max(self.last_seen)),
            failure_count: rows.iter().map(|row| row.count).sum::<i64>() + self.failure_count,
            versions,
            example_trace_id: example.or_else(|| self.example_trace_id.clone()),
            ..self.clone()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(first: i64, last: i64, version: u8) -> Row {
        Row {
            is_own: true,
            ingested_at: Some(last),
            seen: Counted { first_seen: first, last_seen: last, versions: vec![version.to_string()], is_echo: false },
            count: 1,
            example: Some(last.to_string()),
            title: Some(String::from("t")),
            service_name: None,
            exception_type: None,
        }
    }

    fn asked<'a>(fixes: &'a [KnownFix], known: Option<&'a KnownActivity>) -> Asked<'a> {
        Asked { fingerprint: "a", members: vec!["a"], fixes, known }
    }

    proptest! {
        /// An incident is looked at again and again while its failures come in the order of time, with a fix among them, which
        /// may name its version, and may be recorded late. Guarantees that what was told before and the newer rows give the
        /// same as all rows.
        #[test]
        fn newer_rows_are_enough(
            steps in prop::collection::vec((1_i64..100, 0_i64..50, 0_u8..5), 1..30),
            fixed in 0_i64..3_000,
            version in prop::option::of(0_u8..6),
            recorded in 0_usize..30,
            history in 1_i64..200,
        ) {
            let minute = 60 * SECOND;
            let fixes = [KnownFix {
                fix_id: Some(String::from("f")),
                fixed_at: Some(fixed * minute),
                fixed_version: version.map(|version| version.to_string()),
                ..KnownFix::default()
            }];
            let releases = Releases::default();
            let (mut now, mut all, mut known): (i64, Vec<(i64, i64, u8)>, Option<KnownActivity>) = (0, vec![], None);
            for (number, (later, before, version)) in steps.into_iter().enumerate() {
                let fixes: &[KnownFix] = if number < recorded { &[] } else { fixes.as_slice() };
                // Rows that were taken together do not overlap those of before.
                all.push((now + later * minute - before.min(later - 1) * minute, now + later * minute, version));
                now += later * minute;
                let since = now - history * minute;
                let rows = |after: i64| -> Vec<Row> {
                    let newer = all.iter().filter(|(_, last, _)| *last > after);
                    newer.map(|(first, last, version)| row(*first, *last, *version)).collect()
                };
                let whole = gather(asked(fixes, None), &releases, rows(i64::MIN), since).unwrap();
                let fix = Fixed::newest(fixes, &releases, None);
                let serving = known.as_ref().filter(|known| known.serves(1, fix.as_ref()));
                let after = serving.map_or(i64::MIN, |known| known.until);
                let told = gather(asked(fixes, serving), &releases, rows(after), since).unwrap();
                let without = |activity: &Activity| Activity { known: KnownActivity::default(), ..activity.clone() };
                prop_assert_eq!(without(&told), without(&whole));
                known = Some(told.known);
            }
        }
    }
}
