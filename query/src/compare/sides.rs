//! Which traces are compared: those that fail alike, and good ones of the same root at the same time.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;
use tracerag_schemas::Table;
use tracerag_schemas::time::{SECOND, rfc3339};

use super::Depth;
use super::chosen::{Chosen, Failed, revised};
use super::judge::{FEWEST_FAILING, FEWEST_GOOD};
use super::request::{Request, Subject, wrong};
use crate::bundle::{trace_id, why_absent};
use crate::error::{QueryError, Result};
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text};
use crate::search::Merges;
use crate::snapshot::Snapshot;

/// How far from a failing trace others are looked for, in ns; for an incident twice so far back from its last failure.
pub(super) const AROUND: i64 = 3_600 * SECOND;

pub(super) const COLUMNS: [&str; 6] =
    ["trace_id", "revision", "root_service_name", "root_name", "deployment_environment_name", "start_time"];
/// Columns of `failures` that say what a trace failed of first.
const OF_ORIGIN: [&str; 4] = ["fingerprint", "origin_id", "kind", "time"];

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
    /// Whether there are more failing traces than were looked at.
    has_more: bool,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Root {
    pub service: Option<String>,
    pub name: Option<String>,
    pub environment: Option<String>,
}

/// The newest revision of a trace.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub trace_id: String,
    pub root: Root,
    /// When it began, ns.
    pub start: i64,
}

/// What is asked about, as the lake knows it.
pub(super) struct Asked {
    pub fingerprint: String,
    pub trace: Option<Found>,
    since: i64,
    until: i64,
}

impl Sides {
    pub(super) async fn of(snapshot: &Snapshot, request: &Request, depth: Depth) -> Result<Self> {
        let merges = Merges::read(snapshot).await?;
        let mut asked = Asked::of(snapshot, request, &merges).await?;
        asked.since = request.since.unwrap_or(asked.since);
        asked.until = request.until.unwrap_or(asked.until);
        Self::around(snapshot, &merges, asked, request.environment.as_deref(), depth).await
    }

    /// The sides of what is asked about, in another environment if one is given.
    pub(super) async fn around(
        snapshot: &Snapshot,
        merges: &Merges,
        asked: Asked,
        environment: Option<&str>,
        depth: Depth,
    ) -> Result<Self> {
        let Asked { fingerprint, trace, since, until } = asked;
        let members = merges.members(&[&fingerprint]);
        let (failed, revised) =
            futures::try_join!(Failed::read(snapshot, &members, since, until), revised(snapshot, since, until),)?;
        let mut root = match &trace {
            Some(trace) => trace.root.clone(),
            None => failed.commonest_root(snapshot).await?,
        };
        if let Some(environment) = environment {
            root.environment = Some(environment.to_owned());
        }
        let example = trace.as_ref().map(|trace| trace.trace_id.as_str());
        let mut chosen = Chosen::new(&failed, &revised, example, depth);
        chosen.read(snapshot, &root, since, until).await?;
        let (all_failing, all_good) = (chosen.all_failing, chosen.all_good);
        let (failing, good) = chosen.sides();
        Ok(Self {
            fingerprint,
            root,
            since,
            until,
            failing,
            good,
            all_failing,
            all_good,
            elsewhere: (failed.len() as u64).saturating_sub(all_failing),
            has_more: failed.is_part(),
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
            root: Root::default(),
            since: since.unwrap_or_default(),
            until: until.unwrap_or_default(),
            all_failing: failing.len() as u64,
            all_good: good.len() as u64,
            failing,
            good,
            elsewhere: 0,
            has_more: false,
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
        let mut notes = Vec::new();
        if self.elsewhere > 0 {
            notes.push(format!(
                "{} traces fail alike and have another root or environment, or began outside of this time",
                self.elsewhere
            ));
        }
        if self.has_more {
            notes.push(String::from(
                "more traces fail alike than are counted: those with the lowest hashes of their ids are; look at a \
                 shorter time with since and until",
            ));
        }
        notes
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
    pub(super) async fn of_trace(snapshot: &Snapshot, id: &str, merges: &Merges) -> Result<Option<Self>> {
        let (traces, failures) = futures::try_join!(
            snapshot.read_id(Table::Traces, &COLUMNS, ById::one("trace_id", id)),
            snapshot.read_id(Table::Failures, &OF_ORIGIN, ById::one("trace_id", id)),
        )?;
        let Some(trace) = newest(&traces)?.into_iter().next() else { return Ok(None) };
        match origin(&failures)? {
            Some(fingerprint) => Ok(Some(Self::around(trace, merges.target(&fingerprint)))),
            None => Err(wrong(format!(
                "trace {id} has no failure, so there is nothing to compare; take a failing one: select trace_id from \
                 failures order by time desc limit 20"
            ))),
        }
    }

    /// A trace of which it is known what it failed of.
    pub(super) fn around(trace: Found, fingerprint: &str) -> Self {
        Self {
            fingerprint: fingerprint.to_owned(),
            since: trace.start.saturating_sub(AROUND),
            until: trace.start.saturating_add(AROUND),
            trace: Some(trace),
        }
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

/// What a trace failed of first, by its rows of `failures` with the columns [`OF_ORIGIN`]; `None` if of nothing.
pub(crate) fn origin(failures: &[RecordBatch]) -> Result<Option<String>> {
    let mut origins = Vec::new();
    for batch in failures {
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
    Ok(origins.into_iter().min().map(|(_, fingerprint)| fingerprint))
}

/// Of each trace the newest revision.
pub(super) fn newest(batches: &[RecordBatch]) -> Result<Vec<Found>> {
    let mut newest: HashMap<String, (i32, Found)> = HashMap::new();
    for batch in batches {
        let columns = Columns::of("traces", batch);
        let (ids, revisions, starts) =
            (columns.text("trace_id")?, columns.code("revision")?, columns.time("start_time")?);
        let (services, names) = (columns.text("root_service_name")?, columns.text("root_name")?);
        let environments = columns.text("deployment_environment_name")?;
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
            };
            newest.insert(id.to_owned(), (revision, found));
        }
    }
    let mut found: Vec<Found> = newest.into_values().map(|(_, found)| found).collect();
    found.sort_by(|a, b| (a.start, &a.trace_id).cmp(&(b.start, &b.trace_id)));
    Ok(found)
}
