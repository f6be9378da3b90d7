//! Known fixes: what somebody did about an incident.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampNanosecondArray};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::record_batch::RecordBatch;
use datafusion::common::{ParamValues, ScalarValue};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracerag_schemas::Table;

use crate::Session;
use crate::error::{QueryError, Result};

/// How well a fix did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The incident is gone.
    Fixed,
    /// It does less harm.
    Mitigated,
    /// It did not help.
    Wrong,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Mitigated => "mitigated",
            Self::Wrong => "wrong",
        }
    }
}

/// A fix that is to be recorded. Its texts are redacted already.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFix {
    /// The incident.
    pub fingerprint: String,
    /// What was done.
    pub summary: String,
    /// Where the change is.
    pub patch_url: Option<String>,
    /// The bundle that it rests on.
    pub bundle_id: Option<String>,
    /// How well it did; `fixed` unless said.
    pub outcome: Option<Outcome>,
    /// The test that holds it.
    pub test_name: Option<String>,
    /// When it took effect, RFC 3339; now unless said. What is seen later came back.
    pub fixed_at: Option<String>,
}

/// Fixes in a list.
const MOST_LISTED: usize = 1_000;

/// Fixes of the tenant with whether the incident was seen again after them, newest first; all, or those of one incident.
///
/// # Errors
/// When the lake cannot be read.
pub async fn list(session: &Session, fingerprint: Option<&str>) -> Result<Vec<Map<String, Value>>> {
    let of_one = if fingerprint.is_some() { "where f.fingerprint = $1" } else { "" };
    let query = format!(
        "select f.fix_id, f.fingerprint, i.title, f.fixed_at, f.author, f.summary, f.patch_url, f.bundle_id, f.outcome,
           f.test_name, coalesce(i.last_seen > f.fixed_at, false) as came_back
         from fixes f left join incidents i on f.fingerprint = i.fingerprint {of_one}
         order by f.fixed_at desc, f.fix_id limit {MOST_LISTED}"
    );
    let parameters = fingerprint.map(|fingerprint| ParamValues::from(vec![ScalarValue::from(fingerprint)]));
    let mut fixes = Vec::new();
    for batch in session.collect(&query, parameters).boxed().await? {
        fixes.extend(crate::json::rows(&batch)?);
    }
    Ok(fixes)
}

impl NewFix {
    /// The same with its texts as `mask` gives them: who writes one may quote telemetry.
    #[must_use]
    pub fn masked(mut self, mask: impl Fn(&str) -> String) -> Self {
        self.summary = mask(&self.summary);
        self.patch_url = self.patch_url.map(|url| mask(&url));
        self.test_name = self.test_name.map(|name| mask(&name));
        self
    }
}

/// Records a fix by an author and gives its id.
///
/// # Errors
/// [`QueryError::IncidentUnknown`] and [`QueryError::BundleUnknown`] for what the tenant does not have,
/// [`QueryError::Argument`] without a summary or for a time that is none, and when the lake cannot be read or written.
pub async fn record(session: &Session, author: &str, fix: NewFix) -> Result<String> {
    if fix.summary.trim().is_empty() {
        return Err(QueryError::Argument { function: "fixes", why: String::from("say in summary what was done") });
    }
    let fingerprint = ParamValues::from(vec![ScalarValue::from(fix.fingerprint.as_str())]);
    let known = session.collect("select 1 from incidents where fingerprint = $1 limit 1", Some(fingerprint)).await?;
    if known.iter().all(|batch| batch.num_rows() == 0) {
        return Err(QueryError::IncidentUnknown { fingerprint: fix.fingerprint });
    }
    if let Some(bundle_id) = &fix.bundle_id {
        crate::bundle::by_id(session, bundle_id).boxed().await?;
    }
    let fixed_at = match &fix.fixed_at {
        None => crate::bundle::now(),
        Some(text) => string_to_timestamp_nanos(text).map_err(|error| QueryError::Argument {
            function: "fixes",
            why: format!("fixed_at is no time: {error}; write e.g. 2026-11-16T12:00:00Z"),
        })?,
    };
    let fix_id = hex::encode(rand::random::<[u8; 16]>());
    let snapshot = session.snapshot();
    let text = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let columns: Vec<ArrayRef> = vec![
        text(Some(snapshot.tenant())),
        text(Some(&fix_id)),
        text(Some(&fix.fingerprint)),
        Arc::new(TimestampNanosecondArray::from(vec![fixed_at]).with_timezone("UTC")),
        text(Some(author)),
        text(Some(&fix.summary)),
        text(fix.patch_url.as_deref()),
        text(fix.bundle_id.as_deref()),
        text(Some(fix.outcome.unwrap_or(Outcome::Fixed).name())),
        text(fix.test_name.as_deref()),
    ];
    let row = RecordBatch::try_new(Table::Fixes.lake_schema(), columns)?;
    snapshot.lake().append_side(Table::Fixes, row).boxed().await?;
    Ok(fix_id)
}
