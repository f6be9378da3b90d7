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
/// Bytes of each text of a fix.
const MOST_TEXT: usize = 16 << 10;

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
    /// That there is a summary, and that no text is too long to be masked, kept and listed.
    ///
    /// # Errors
    /// [`QueryError::Argument`].
    pub fn check(&self) -> Result<()> {
        let wrong = |why: String| Err(QueryError::Argument { function: "fixes", why });
        if self.summary.trim().is_empty() {
            return wrong(String::from("say in summary what was done"));
        }
        for (name, text) in [
            ("fingerprint", Some(&self.fingerprint)),
            ("summary", Some(&self.summary)),
            ("patch_url", self.patch_url.as_ref()),
            ("bundle_id", self.bundle_id.as_ref()),
            ("test_name", self.test_name.as_ref()),
            ("fixed_at", self.fixed_at.as_ref()),
        ] {
            if text.is_some_and(|text| text.len() > MOST_TEXT) {
                return wrong(format!("{name} has more than {MOST_TEXT} bytes; say it shorter, and link to the rest"));
            }
        }
        Ok(())
    }

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
/// [`QueryError::Argument`] without a summary, for a text that is too long or a time that is none, and when the lake cannot be read or written.
pub async fn record(session: &Session, author: &str, fix: NewFix) -> Result<String> {
    fix.check()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A summary is needed and, like every other text, bounded; the error names the member.
    #[test]
    fn texts_are_bounded() {
        let fix = |summary: String, test_name: Option<String>| NewFix {
            fingerprint: String::from("00"),
            summary,
            patch_url: None,
            bundle_id: None,
            outcome: None,
            test_name,
            fixed_at: None,
        };
        assert!(fix("x".repeat(MOST_TEXT), None).check().is_ok());
        let told = |fix: NewFix| fix.check().map_or_else(|error| error.to_string(), |()| String::new());
        assert!(told(fix(String::from(" "), None)).contains("say in summary"));
        assert!(told(fix("x".repeat(MOST_TEXT + 1), None)).contains("summary has more than"));
        let long = Some("x".repeat(MOST_TEXT + 1));
        assert!(told(fix(String::from("rounded"), long)).contains("test_name has more than"));
    }
}
