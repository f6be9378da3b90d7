//! How traces are chosen among many: the tables are read batch by batch, and only what is compared is held.
//!
//! Sides are samples by the hashes of ids, the others are counted. A trace has several rows where something came late,
//! and the newest counts: which traces have more than one, and they are few, is read before, so that each is counted once.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use tracerag_schemas::Table;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lowest::Lowest;
use super::sides::{AROUND, Member, Root, newest};
use super::{Depth, sides};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, number, text};
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// Failing traces of an incident that are known; more would take more memory than they tell.
const MOST_FAILED: usize = 100_000;
/// Traces with several rows that are known. Of more the counts are too high; samples, of the lowest hashes, stay right.
const MOST_REVISED: usize = 100_000;
/// Failing traces whose roots are looked at, to find the one that most of them have.
const ROOTS: usize = 200;
/// Another seed gives another sample of the same traces.
const SEED: u64 = 0x636f_6d70_6172_6564;

/// The number of a trace's first row.
const FIRST: i32 = 1;

/// The traces that fail with an incident's fingerprints.
pub(super) struct Failed {
    /// When each failed first, ns.
    first: Lowest<i64>,
    /// Ids of some of them.
    ids: Lowest<String>,
}

impl Failed {
    /// Reads the traces that began within a time.
    pub(super) async fn read(snapshot: &Snapshot, fingerprints: &[&str], since: i64, until: i64) -> Result<Self> {
        let names = fingerprints.iter().map(|fingerprint| lit(*fingerprint)).collect();
        // A trace fails after it began, by as long as a trace may take.
        let until = until.saturating_add(AROUND);
        let read = Read {
            columns: &["trace_id", "time"],
            filter: Some(col("fingerprint").in_list(names, false).and(within("time", since, until))),
            ranges: vec![Range::new("time", since, until)],
        };
        let mut failed = Self { first: Lowest::new(MOST_FAILED), ids: Lowest::new(ROOTS) };
        snapshot.each(Table::Failures, read, |batch| failed.take(batch)).await?;
        Ok(failed)
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of("failures", batch);
        let (ids, times) = (columns.text("trace_id")?, columns.time("time")?);
        for row in 0..batch.num_rows() {
            let (Some(id), Some(time)) = (text(ids, row), number(times, row)) else { continue };
            let hash = hash(id);
            self.first.take(hash, || time, |first| *first = time.min(*first));
            self.ids.take(hash, || id.to_owned(), |_| {});
        }
        Ok(())
    }

    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are more than are known.
    pub(super) fn is_part(&self) -> bool {
        self.first.is_part()
    }

    /// The root that most of them have, by a sample of them.
    pub(super) async fn commonest_root(&self, snapshot: &Snapshot) -> Result<Root> {
        let ids: Vec<&str> = self.ids.values().map(String::as_str).collect();
        let traces = snapshot.read_id(Table::Traces, &sides::COLUMNS, ById::any("trace_id", ids)).await?;
        let mut roots: BTreeMap<Root, usize> = BTreeMap::new();
        for trace in newest(&traces)? {
            *roots.entry(trace.root).or_default() += 1;
        }
        let commonest = roots.into_iter().max_by_key(|(_, traces)| *traces);
        Ok(commonest.map(|(root, _)| root).unwrap_or_default())
    }
}

/// The numbers of the newest rows of traces that have several.
pub(super) async fn revised(snapshot: &Snapshot, since: i64, until: i64) -> Result<Lowest<i32>> {
    let read = Read {
        columns: &["trace_id", "revision"],
        filter: Some(within("start_time", since, until).and(col("revision").gt(lit(FIRST)))),
        ranges: vec![Range::new("start_time", since, until)],
    };
    let mut revised = Lowest::new(MOST_REVISED);
    let take = |batch: &RecordBatch| -> Result<()> {
        let columns = Columns::of("traces", batch);
        let (ids, revisions) = (columns.text("trace_id")?, columns.code("revision")?);
        for row in 0..batch.num_rows() {
            let (Some(id), Some(revision)) = (text(ids, row), number(revisions, row)) else { continue };
            revised.take(hash(id), || revision, |newest| *newest = revision.max(*newest));
        }
        Ok(())
    };
    snapshot.each(Table::Traces, read, take).await?;
    Ok(revised)
}

/// The traces of a root.
pub(super) struct Chosen<'a> {
    failed: &'a Failed,
    revised: &'a Lowest<i32>,
    /// The trace that was asked about.
    asked: Option<&'a str>,
    failing: Lowest<Member>,
    good: Lowest<Member>,
    /// The trace that was asked about, else the newest failing one.
    example: Option<Member>,
    pub all_failing: u64,
    pub all_good: u64,
}

impl<'a> Chosen<'a> {
    pub(super) fn new(failed: &'a Failed, revised: &'a Lowest<i32>, asked: Option<&'a str>, depth: Depth) -> Self {
        Self {
            failed,
            revised,
            asked,
            failing: Lowest::new(depth.failing),
            good: Lowest::new(depth.good),
            example: None,
            all_failing: 0,
            all_good: 0,
        }
    }

    /// Reads the traces of a root that began within a time.
    pub(super) async fn read(&mut self, snapshot: &Snapshot, root: &Root, since: i64, until: i64) -> Result<()> {
        let is = |column: &str, value: &Option<String>| match value {
            Some(value) => col(column).eq(lit(value.as_str())),
            None => col(column).is_null(),
        };
        let mut filter = within("start_time", since, until)
            .and(is("root_service_name", &root.service))
            .and(is("root_name", &root.name));
        if root.environment.is_some() {
            filter = filter.and(is("deployment_environment_name", &root.environment));
        }
        let read = Read {
            columns: &["trace_id", "revision", "start_time", "status", "failure_count"],
            filter: Some(filter),
            ranges: vec![Range::new("start_time", since, until)],
        };
        snapshot.each(Table::Traces, read, |batch| self.take(batch)).await
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of("traces", batch);
        let (ids, revisions, starts) =
            (columns.text("trace_id")?, columns.code("revision")?, columns.time("start_time")?);
        let (statuses, failures) = (columns.text("status")?, columns.int("failure_count")?);
        for row in 0..batch.num_rows() {
            let (Some(id), Some(start)) = (text(ids, row), number(starts, row)) else { continue };
            let hash = hash(id);
            let revision = number(revisions, row).unwrap_or_default();
            if self.revised.get(hash).is_some_and(|newest| revision < *newest) {
                continue;
            }
            let failed_at = self.failed.first.get(hash).copied();
            let member = || Member { trace_id: id.to_owned(), start, failed_at };
            if failed_at.is_some() {
                self.all_failing += 1;
                self.failing.take(hash, member, |_| {});
                let is_example = self.example.as_ref().is_none_or(|known| self.rank(id, start) > self.rank_of(known));
                if is_example {
                    self.example = Some(member());
                }
            } else if is_good(text(statuses, row), number(failures, row)) {
                self.all_good += 1;
                self.good.take(hash, member, |_| {});
            }
            // Any other fails in another way.
        }
        Ok(())
    }

    /// What makes a trace the example. Ids decide between traces of one time, so that the order of rows does not.
    fn rank<'b>(&self, id: &'b str, start: i64) -> (bool, i64, &'b str) {
        (self.asked == Some(id), start, id)
    }

    fn rank_of<'b>(&self, member: &'b Member) -> (bool, i64, &'b str) {
        self.rank(&member.trace_id, member.start)
    }

    /// The failing ones, the example first, and the good ones.
    pub(super) fn sides(self) -> (Vec<Member>, Vec<Member>) {
        let mut failing: Vec<Member> = self.failing.into_values().collect();
        if let Some(example) = self.example {
            match failing.iter().position(|member| member.trace_id == example.trace_id) {
                Some(position) => failing.swap(0, position),
                None => {
                    failing.pop();
                    failing.insert(0, example);
                }
            }
        }
        (failing, self.good.into_values().collect())
    }
}

/// Whether nothing has failed in a trace.
fn is_good(status: Option<&str>, failures: Option<i64>) -> bool {
    status != Some("ERROR") && failures.unwrap_or_default() == 0
}

fn within(column: &str, since: i64, until: i64) -> Expr {
    col(column).gt_eq(time_literal(since)).and(col(column).lt_eq(time_literal(until)))
}

fn hash(id: &str) -> u64 {
    xxh3_64_with_seed(id.as_bytes(), SEED)
}
