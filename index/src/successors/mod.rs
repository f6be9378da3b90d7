//! Successors of incidents: under which fingerprint an incident goes on when the rules of fingerprints have changed.
//!
//! - **In:** failures whose fingerprints are of an older version than this release's; the rules of this release.
//! - **Out:** rows of `grouping_rules` with the two versions, which readers follow. Stored failures stay as they are.
//!
//! Incidents are taken in the order of tenant and fingerprint, so many at a time (`old`): that bounds the memory, and
//! how far it went is one key in a document of the lake. Of these the failures are read day by day and given their
//! fingerprints anew ([`crate::failures::anew`]), which is counted and judged (`tally`) and written down (`rules`). A
//! step that is cut off is done again, and writes only what is not there: so a wrong lease is harmless, too.
//!
//! When all is done, only new rows of `incident_counts` are looked at, for workers of the older release may still write.

mod old;
mod rules;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::{AsArray, BooleanArray, StringArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use futures::{FutureExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tracerag_schemas::Table;

use crate::activity::{Looked, tail};
use crate::columns::present;
use crate::document::Document;
use crate::error::{At, Error, Result};
use crate::failures::{Anew, FailureRules, STORED, anew};
use crate::journal::Head;
use crate::lake::Lake;
use old::{Key, Old};
use tally::Tally;

/// The folder of the document below the lake.
const FOLDER: &str = "successors";
/// Incidents at a time: some megabytes with what is counted of them.
const AT_ONCE: usize = 20_000;
/// Failures that are read at a time; a stack trace has 64 KiB at most by default.
const ROWS: usize = 256;
/// Below this there is no version.
const FIRST_VERSION: i32 = 1;

/// How far the incidents of a lake are looked through.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The version of fingerprints that incidents go on in.
    version: i32,
    /// What was counted up to here is done.
    looked: Looked,
    /// What is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sweep: Option<Sweep>,
}

/// One way through the incidents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sweep {
    /// Where the counts ended when it began.
    until: Looked,
    /// The last incident that is done.
    after: Option<Key>,
}

/// The state, and the number under which it was written last.
struct Kept {
    state: State,
    number: Option<u64>,
}

/// What finds the successors of a lake's incidents.
pub struct Successors {
    lake: Lake,
    document: Document,
    rules: FailureRules,
    at_once: usize,
    /// Whether the last step found no place for what it would write.
    waits: bool,
    /// What this process has read or written last; `None`: it has to be read.
    kept: Option<Kept>,
}

impl std::fmt::Debug for Successors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Successors").field("version", &self.rules.grouping.version).finish_non_exhaustive()
    }
}

impl Successors {
    /// For a lake whose new failures are grouped by these rules. Nothing is read yet.
    pub fn new(lake: Lake, rules: FailureRules) -> Self {
        let document = Document::new(lake.clone(), FOLDER);
        Self { lake, document, rules, at_once: AT_ONCE, waits: false, kept: None }
    }

    /// Forgets what is known of how far it went: another worker may have gone on since.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Whether nothing is mapped before the lake's schema is migrated, as the last step has found.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Takes the next incidents of older versions. Says whether there may be more.
    ///
    /// Nothing is done where the lake's schema has no place for it before it is migrated ([`Self::waits`]), or where a
    /// newer release has begun with its own version.
    ///
    /// # Errors
    /// When the lake cannot be read or written. The step can be done again.
    pub async fn step(&mut self) -> Result<bool> {
        let version = self.rules.grouping.version;
        if version <= FIRST_VERSION {
            return Ok(false);
        }
        let head = self.lake.newest_head().await?;
        self.waits = !rules::have_place(&self.lake, &head);
        if self.waits {
            return Ok(false);
        }
        let Kept { mut state, number } = match self.kept.take() {
            Some(kept) => kept,
            None => self.read().await?,
        };
        let tail = if state.version > version { None } else { tail(&self.lake, &head, state.looked).await? };
        let Some(tail) = tail else {
            self.kept = Some(Kept { state, number });
            return Ok(false);
        };
        let mut sweep = state.sweep.take().unwrap_or(Sweep { until: tail.looked, after: None });
        let old = Old::next(&tail, version, sweep.after.as_ref(), self.at_once).boxed().await?;
        let goes_on = old.len() >= self.at_once;
        // A look that found nothing is not worth a file, unless it was the first one.
        let is_worth_it = number.is_none() || sweep.after.is_some() || old.len() > 0;
        if old.len() > 0 {
            let tallies = self.count(&head, &old).boxed().await?;
            rules::write(&self.lake, &old, &tallies, version).boxed().await?;
            sweep.after = old.last().cloned();
        }
        if goes_on {
            state.sweep = Some(sweep);
        } else {
            state.looked = sweep.until;
        }
        if !is_worth_it {
            self.kept = Some(Kept { state, number });
            return Ok(goes_on);
        }
        let written = self.document.replace(number, &encode(&state)?, &[]).await?;
        match written {
            Some(number) => {
                self.kept = Some(Kept { state, number: Some(number) });
                Ok(goes_on)
            }
            // Another has gone on, and what it did is read with the next step.
            None => Ok(true),
        }
    }

    /// The state as the lake has it; of an older version all begins anew.
    async fn read(&self) -> Result<Kept> {
        let version = self.rules.grouping.version;
        let Some((number, text)) = self.document.read().await? else {
            return Ok(Kept { state: State { version, ..State::default() }, number: None });
        };
        let state: State = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let state = if state.version < version { State { version, ..State::default() } } else { state };
        Ok(Kept { state, number: Some(number) })
    }

    /// What the kept failures of some incidents would be grouped as now.
    async fn count(&self, head: &Head, old: &Old) -> Result<BTreeMap<Key, Tally>> {
        let mut tallies: BTreeMap<Key, Tally> = BTreeMap::new();
        let is_old = col("fingerprint_version").lt(lit(self.rules.grouping.version));
        let columns: Vec<&str> = ["tenant_id", "fingerprint"].into_iter().chain(STORED).collect();
        for (name, day) in head.of(Table::Failures).filter(|(_, day)| day.rows > 0) {
            let dataset = self.lake.dataset(name, day.version).await?;
            let mut scan = dataset.scan();
            scan.project(&present(&dataset, &columns)).at(name, "reading failures of older versions")?;
            scan.filter_expr(old.range().and(is_old.clone()));
            scan.batch_size(ROWS);
            let mut rows = scan.try_into_stream().await.at(name, "reading failures of older versions")?;
            while let Some(batch) = rows.try_next().await.at(name, "reading failures of older versions")? {
                self.add(&batch, old, &mut tallies)?;
            }
        }
        Ok(tallies)
    }

    fn add(&self, batch: &RecordBatch, old: &Old, tallies: &mut BTreeMap<Key, Tally>) -> Result<()> {
        // The range has more where it begins or ends within a tenant.
        let (tenants, fingerprints) = (text(batch, "tenant_id")?, text(batch, "fingerprint")?);
        let rows = tenants.iter().zip(fingerprints);
        let wanted: BooleanArray = rows.map(|(tenant, fingerprint)| Some(old.has(tenant?, fingerprint?))).collect();
        let wanted = filter_record_batch(batch, &wanted).at(FAILURES, "choosing rows")?;
        let found = anew(&wanted, &self.rules).map_err(|error| wrong(error.to_string()))?;
        let (tenants, fingerprints) = (text(&wanted, "tenant_id")?, text(&wanted, "fingerprint")?);
        for ((tenant, fingerprint), anew) in tenants.iter().zip(fingerprints).zip(found) {
            let (Some(tenant), Some(fingerprint)) = (tenant, fingerprint) else { continue };
            let tally = tallies.entry((tenant.to_owned(), fingerprint.to_owned())).or_default();
            match anew {
                Anew::Stated => tally.state(),
                Anew::Unknown => tally.add(None),
                Anew::Is(fingerprint) => tally.add(Some(fingerprint)),
            }
        }
        Ok(())
    }
}

const FAILURES: &str = "failures";

fn encode(state: &State) -> Result<Vec<u8>> {
    serde_json::to_vec(state).map_err(|error| wrong(error.to_string()))
}

fn wrong(detail: String) -> Error {
    Error::Schema { table: FAILURES, detail }
}

fn text<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a StringArray> {
    let found = batch.column_by_name(column).and_then(|values| values.as_string_opt::<i32>());
    found.ok_or_else(|| wrong(format!("column {column} is not as this release knows it")))
}
