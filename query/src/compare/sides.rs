//! Which traces are compared: those that fail alike, and good ones of the same root at the same time.

use std::collections::{BTreeMap, HashMap};

use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use tracerag_schemas::Table;
use tracerag_schemas::time::{SECOND, rfc3339};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Depth;
use super::judge::{FEWEST_FAILING, FEWEST_GOOD};
use super::request::{Request, Subject, wrong};
use crate::bundle::{trace_id, why_absent};
use crate::error::{QueryError, Result};
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text};
use crate::search::Merges;
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// How far from a failing trace others are looked for, in ns; for an incident twice so far back from its last failure.
const AROUND: i64 = 3_600 * SECOND;
/// Failing traces whose roots are looked at, to find the one that most of them have.
const ROOTS: usize = 200;
/// Another seed gives another sample of the same traces.
const SEED: u64 = 0x636f_6d70_6172_6564;

const COLUMNS: [&str; 8] = [
    "trace_id",
    "revision",
    "root_service_name",
    "root_name",
    "deployment_environment_name",
    "start_time",
    "status",
    "failure_count",
];

/// The traces that are compared.
#[derive(Debug)]
pub(super) struct Sides {
    /// The incident of the failing traces.
    pub fingerprint: String,
    root: Root,
    /// Begin and end of the time that was looked at, ns.
    pub since: i64,
    pub until: i64,
    /// The example first.
    pub failing: Vec<Member>,
    pub good: Vec<Member>,
    pub all_failing: u64,
    pub all_good: u64,
    /// Failing traces of another root, or none.
    elsewhere: u64,
}

/// A trace that is compared.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub trace_id: String,
    /// When it began, ns.
    pub start: i64,
    /// When it failed, ns.
    pub failed_at: Option<i64>,
}

/// What comparable traces have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Root {
    service: Option<String>,
    name: Option<String>,
    environment: Option<String>,
}

/// The newest revision of a trace.
struct Found {
    trace_id: String,
    root: Root,
    start: i64,
    is_good: bool,
}

/// What is asked about, as the lake knows it.
struct Asked {
    fingerprint: String,
    trace: Option<Found>,
    since: i64,
    until: i64,
}

impl Sides {
    pub(super) async fn of(snapshot: &Snapshot, request: &Request, depth: Depth) -> Result<Self> {
        let merges = Merges::read(snapshot).await?;
        let asked = Asked::of(snapshot, request, &merges).await?;
        let (since, until) = (request.since.unwrap_or(asked.since), request.until.unwrap_or(asked.until));
        let members = merges.members(&[&asked.fingerprint]);
        let failed = failed(snapshot, &members, since, until).await?;
        let mut root = match &asked.trace {
            Some(trace) => trace.root.clone(),
            None => commonest_root(snapshot, &failed).await?,
        };
        if request.environment.is_some() {
            root.environment.clone_from(&request.environment);
        }
        let mut failing = Vec::new();
        let mut good = Vec::new();
        for trace in of_root(snapshot, &root, since, until).await? {
            let failed_at = failed.get(&trace.trace_id).copied();
            let member = Member { trace_id: trace.trace_id, start: trace.start, failed_at };
            match (failed_at, trace.is_good) {
                (Some(_), _) => failing.push(member),
                (None, true) => good.push(member),
                // It fails in another way.
                (None, false) => {}
            }
        }
        let (all_failing, all_good) = (failing.len() as u64, good.len() as u64);
        let example = asked.trace.map(|trace| trace.trace_id);
        Ok(Self {
            fingerprint: asked.fingerprint,
            root,
            since,
            until,
            failing: with_first(sample(failing.clone(), depth.failing), failing, example.as_deref()),
            good: sample(good, depth.good),
            all_failing,
            all_good,
            elsewhere: (failed.len() as u64).saturating_sub(all_failing),
        })
    }

    /// Sides of traces that are named. Nothing is known of when the first ones failed, so all of their spans count.
    pub(super) async fn given(snapshot: &Snapshot, these: &[&str], others: &[&str]) -> Result<Self> {
        let ids: Vec<&str> = these.iter().chain(others).copied().collect();
        let found = newest(&snapshot.read_id(Table::Traces, &COLUMNS, ById::any("trace_id", ids)).await?)?;
        let (since, until) = (found.iter().map(|trace| trace.start).min(), found.iter().map(|trace| trace.start).max());
        let starts: HashMap<&str, i64> = found.iter().map(|trace| (trace.trace_id.as_str(), trace.start)).collect();
        let members = |ids: &[&str]| -> Vec<Member> {
            let started = ids.iter().filter_map(|id| Some((*id, *starts.get(id)?)));
            started.map(|(id, start)| Member { trace_id: id.to_owned(), start, failed_at: None }).collect()
        };
        let (failing, good) = (members(these), members(others));
        Ok(Self {
            fingerprint: String::new(),
            root: Root { service: None, name: None, environment: None },
            since: since.unwrap_or_default(),
            until: until.unwrap_or_default(),
            all_failing: failing.len() as u64,
            all_good: good.len() as u64,
            failing,
            good,
            elsewhere: 0,
        })
    }

    /// Why nothing is said, where there are too few traces.
    pub(super) fn too_few(&self) -> Option<String> {
        let (failing, good) = (self.failing.len(), self.good.len());
        (failing < FEWEST_FAILING || good < FEWEST_GOOD).then(|| {
            format!(
                "nothing is said: there are {failing} failing and {good} good traces to compare, and {FEWEST_FAILING} and \
                 {FEWEST_GOOD} are the fewest; look at a longer time with since and until, or wait for more"
            )
        })
    }

    /// Which traces are compared, in words.
    pub(super) fn rule(&self) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from("(none)"));
        let environment = match &self.root.environment {
            Some(environment) => format!(" in {environment}"),
            None => String::new(),
        };
        format!(
            "traces that begin with {} {}{environment} from {} to {}: {} with the fingerprint {} against {} without any \
             failure; {} and {} of them are compared, chosen by the hashes of their ids",
            or_none(&self.root.service),
            or_none(&self.root.name),
            rfc3339(self.since),
            rfc3339(self.until),
            self.all_failing,
            self.fingerprint,
            self.all_good,
            self.failing.len(),
            self.good.len()
        )
    }

    /// What is not compared.
    pub(super) fn notes(&self) -> Vec<String> {
        match self.elsewhere {
            0 => vec![],
            traces => vec![format!(
                "{traces} traces fail alike and have another root or environment, or began outside of this time"
            )],
        }
    }
}

impl Asked {
    async fn of(snapshot: &Snapshot, request: &Request, merges: &Merges) -> Result<Self> {
        match &request.subject {
            Subject::Trace(id) => {
                let id = trace_id(id)?;
                match Self::of_trace(snapshot, &id, merges).await? {
                    Some(asked) => Ok(asked),
                    None => Err(why_absent(snapshot, &id).await?),
                }
            }
            Subject::Fingerprint(fingerprint) => match Self::of_incident(snapshot, fingerprint, merges).await? {
                Some(asked) => Ok(asked),
                None => Err(QueryError::IncidentUnknown { fingerprint: fingerprint.clone() }),
            },
            Subject::Either(given) => {
                let id = trace_id(given).ok();
                if let Some(id) = &id
                    && let Some(asked) = Self::of_trace(snapshot, id, merges).await?
                {
                    return Ok(asked);
                }
                match (Self::of_incident(snapshot, given, merges).await?, id) {
                    (Some(asked), _) => Ok(asked),
                    (None, Some(id)) => Err(why_absent(snapshot, &id).await?),
                    (None, None) => Err(QueryError::IncidentUnknown { fingerprint: given.clone() }),
                }
            }
        }
    }

    /// A trace with what it failed of first; `None` if there is no such trace.
    async fn of_trace(snapshot: &Snapshot, id: &str, merges: &Merges) -> Result<Option<Self>> {
        let (traces, failures) = futures::try_join!(
            snapshot.read_id(Table::Traces, &COLUMNS, ById::one("trace_id", id)),
            snapshot.read_id(Table::Failures, &["fingerprint", "origin_id", "kind", "time"], ById::one("trace_id", id)),
        )?;
        let Some(trace) = newest(&traces)?.into_iter().next() else { return Ok(None) };
        let mut origins = Vec::new();
        for batch in &failures {
            let columns = Columns::of("failures", batch);
            let (fingerprints, echoes) = (columns.text("fingerprint")?, columns.text("origin_id")?);
            let (kinds, times) = (columns.text("kind")?, columns.time("time")?);
            for row in 0..batch.num_rows() {
                let Some(fingerprint) = text(fingerprints, row) else { continue };
                // An echo is what another failure has brought about, and a log record often tells of one.
                let order = (text(echoes, row).is_some(), text(kinds, row) == Some("log"), number(times, row));
                origins.push((order, fingerprint.to_owned()));
            }
        }
        let Some((_, fingerprint)) = origins.into_iter().min() else {
            return Err(wrong(format!(
                "trace {id} has no failure, so there is nothing to compare; take a failing one: select trace_id from \
                 failures order by time desc limit 20"
            )));
        };
        Ok(Some(Self {
            fingerprint: merges.target(&fingerprint).to_owned(),
            since: trace.start.saturating_sub(AROUND),
            until: trace.start.saturating_add(AROUND),
            trace: Some(trace),
        }))
    }

    /// An incident with the time up to its last failure; `None` if there is no such incident.
    async fn of_incident(snapshot: &Snapshot, fingerprint: &str, merges: &Merges) -> Result<Option<Self>> {
        let fingerprint = merges.target(fingerprint);
        let members = merges.members(&[fingerprint]);
        let counts = snapshot.read_id(Table::IncidentCounts, &["last_seen"], ById::any("fingerprint", members)).await?;
        let mut last_seen = None;
        for batch in &counts {
            last_seen = last_seen.max(arrow::compute::max(Columns::of("incident_counts", batch).time("last_seen")?));
        }
        Ok(last_seen.map(|last: i64| Self {
            fingerprint: fingerprint.to_owned(),
            trace: None,
            since: last.saturating_sub(2 * AROUND),
            until: last,
        }))
    }
}

/// When the traces with one of some fingerprints failed first, by trace.
async fn failed(snapshot: &Snapshot, fingerprints: &[&str], since: i64, until: i64) -> Result<BTreeMap<String, i64>> {
    let names = fingerprints.iter().map(|fingerprint| lit(*fingerprint)).collect();
    // A trace fails after it began, by as long as a trace may take.
    let until = until.saturating_add(AROUND);
    let read = Read {
        columns: &["trace_id", "time"],
        filter: Some(col("fingerprint").in_list(names, false).and(within("time", since, until))),
        ranges: vec![Range::new("time", since, until)],
    };
    let mut failed: BTreeMap<String, i64> = BTreeMap::new();
    for batch in snapshot.read(Table::Failures, read).await? {
        let columns = Columns::of("failures", &batch);
        let (ids, times) = (columns.text("trace_id")?, columns.time("time")?);
        for row in 0..batch.num_rows() {
            let (Some(id), Some(time)) = (text(ids, row), number(times, row)) else { continue };
            let first = failed.entry(id.to_owned()).or_insert(time);
            *first = time.min(*first);
        }
    }
    Ok(failed)
}

/// The root that most of the failing traces have, by a sample of them.
async fn commonest_root(snapshot: &Snapshot, failed: &BTreeMap<String, i64>) -> Result<Root> {
    let mut ids: Vec<&str> = failed.keys().map(String::as_str).collect();
    ids.sort_by_key(|id| hash(id));
    ids.truncate(ROOTS);
    let traces = snapshot.read_id(Table::Traces, &COLUMNS, ById::any("trace_id", ids)).await?;
    let mut roots: BTreeMap<Root, usize> = BTreeMap::new();
    for trace in newest(&traces)? {
        *roots.entry(trace.root).or_default() += 1;
    }
    let commonest = roots.into_iter().max_by_key(|(_, traces)| *traces);
    Ok(commonest.map_or(Root { service: None, name: None, environment: None }, |(root, _)| root))
}

/// The traces of a root that began within a time.
async fn of_root(snapshot: &Snapshot, root: &Root, since: i64, until: i64) -> Result<Vec<Found>> {
    let is = |column: &str, value: &Option<String>| match value {
        Some(value) => col(column).eq(lit(value.as_str())),
        None => col(column).is_null(),
    };
    let mut filter =
        within("start_time", since, until).and(is("root_service_name", &root.service)).and(is("root_name", &root.name));
    if root.environment.is_some() {
        filter = filter.and(is("deployment_environment_name", &root.environment));
    }
    let ranges = vec![Range::new("start_time", since, until)];
    newest(&snapshot.read(Table::Traces, Read { columns: &COLUMNS, filter: Some(filter), ranges }).await?)
}

fn within(column: &str, since: i64, until: i64) -> Expr {
    col(column).gt_eq(time_literal(since)).and(col(column).lt_eq(time_literal(until)))
}

/// Of each trace the newest revision.
fn newest(batches: &[RecordBatch]) -> Result<Vec<Found>> {
    let mut newest: HashMap<String, (i32, Found)> = HashMap::new();
    for batch in batches {
        let columns = Columns::of("traces", batch);
        let (ids, revisions, starts) =
            (columns.text("trace_id")?, columns.code("revision")?, columns.time("start_time")?);
        let (services, names) = (columns.text("root_service_name")?, columns.text("root_name")?);
        let (environments, statuses) = (columns.text("deployment_environment_name")?, columns.text("status")?);
        let failures = columns.int("failure_count")?;
        for row in 0..batch.num_rows() {
            let (Some(id), Some(start)) = (text(ids, row), number(starts, row)) else { continue };
            let revision = number(revisions, row).unwrap_or_default();
            if newest.get(id).is_some_and(|(known, _)| *known >= revision) {
                continue;
            }
            let found = Found {
                trace_id: id.to_owned(),
                root: Root {
                    service: owned(services, row),
                    name: owned(names, row),
                    environment: owned(environments, row),
                },
                start,
                is_good: text(statuses, row) != Some("ERROR") && number(failures, row).unwrap_or_default() == 0,
            };
            newest.insert(id.to_owned(), (revision, found));
        }
    }
    let mut found: Vec<Found> = newest.into_values().map(|(_, found)| found).collect();
    found.sort_by(|a, b| (a.start, &a.trace_id).cmp(&(b.start, &b.trace_id)));
    Ok(found)
}

/// The same traces whatever else is asked: those whose ids hash lowest, so each is as likely to be chosen as any other.
fn sample(mut members: Vec<Member>, most: usize) -> Vec<Member> {
    members.sort_by_key(|member| hash(&member.trace_id));
    members.truncate(most);
    members
}

/// A sample with the example first: the trace that was asked about, else the newest.
fn with_first(mut sampled: Vec<Member>, all: Vec<Member>, example: Option<&str>) -> Vec<Member> {
    let asked = all.iter().find(|member| Some(member.trace_id.as_str()) == example);
    let Some(first) = asked.or(all.iter().max_by_key(|member| member.start)).cloned() else { return sampled };
    match sampled.iter().position(|member| member.trace_id == first.trace_id) {
        Some(position) => sampled.swap(0, position),
        None => {
            sampled.pop();
            sampled.insert(0, first);
        }
    }
    sampled
}

fn hash(id: &str) -> u64 {
    xxh3_64_with_seed(id.as_bytes(), SEED)
}
