//! Known fixes: what somebody did about an incident.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion::common::{ParamValues, ScalarValue};
use futures::FutureExt;
use serde::Deserialize;
use tracerag_schemas::Table;

use crate::Session;
use crate::error::{QueryError, Result};

/// How well a fix did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
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
}

/// Records a fix by an author, now, and gives its id.
///
/// # Errors
/// [`QueryError::IncidentUnknown`] and [`QueryError::BundleUnknown`] for what the tenant does not have,
/// [`QueryError::Argument`] without a summary, and when the lake cannot be read or written.
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
    let fix_id = hex::encode(rand::random::<[u8; 16]>());
    let snapshot = session.snapshot();
    let text = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let columns: Vec<ArrayRef> = vec![
        text(Some(snapshot.tenant())),
        text(Some(&fix_id)),
        text(Some(&fix.fingerprint)),
        Arc::new(TimestampNanosecondArray::from(vec![crate::bundle::now()]).with_timezone("UTC")),
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
