//! Known fixes: what somebody did about an incident.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
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
use crate::grouping;
use crate::page::page;
use crate::search::judged;

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
    /// When it took effect, RFC 3339; now unless said.
    pub fixed_at: Option<String>,
    /// The first version of the service that has it. What is seen in it or in a later one came back.
    pub fixed_version: Option<String>,
    /// The commit that has it, by which its version is found among the builds where it is not said.
    pub fixed_git_sha: Option<String>,
}

/// Some fixes of a list.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Each with its columns, `incident`, the fingerprint that counts for its own, and whether that one came back.
    pub fixes: Vec<Map<String, Value>>,
    /// Where the rest begins: behind the last of these. `None`: there is no more.
    pub next: Option<Place>,
}

/// A place in the list of fixes, which stays where it is when others are recorded: that of a fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// When the fix took effect, in ns since the epoch.
    pub fixed_at: i64,
    /// Its id.
    pub fix_id: String,
}

impl Place {
    fn of(fix: &Map<String, Value>) -> Option<Self> {
        let fixed_at = string_to_timestamp_nanos(&member(fix, "fixed_at")?).ok()?;
        Some(Self { fixed_at, fix_id: member(fix, "fix_id")? })
    }
}

/// Bytes of each text of a fix.
const MOST_TEXT: usize = 16 << 10;
/// Bytes of a version.
const MOST_VERSION: usize = 128;
/// Digits of a commit.
const COMMIT: RangeInclusive<usize> = 7..=64;

/// Fixes of the tenant with whether the incident came back after them and by what that is judged, newest first; all, or
/// those of one incident, under whichever of its fingerprints they were recorded. Of these `size` at most, behind a place
/// that a list before gave. A fix that is recorded in between moves none that was there.
///
/// # Errors
/// When the lake cannot be read.
pub async fn list(session: &Session, fingerprint: Option<&str>, behind: Option<&Place>, size: usize) -> Result<Listed> {
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    if let Some(fingerprint) = fingerprint {
        values.push(ScalarValue::from(grouping::counts_for(session, fingerprint).await?));
        conditions.push(format!("coalesce(t.target, f.fingerprint) = ${}", values.len()));
    }
    if let Some(Place { fixed_at, fix_id }) = behind {
        let at = values.len() + 1;
        values.push(ScalarValue::TimestampNanosecond(Some(*fixed_at), Some("UTC".into())));
        values.push(ScalarValue::from(fix_id.as_str()));
        conditions.push(format!("(f.fixed_at < ${at} or f.fixed_at = ${at} and f.fix_id > ${})", values.len()));
    }
    let chosen = if conditions.is_empty() { String::new() } else { format!("where {}", conditions.join(" and ")) };
    let query = format!(
        "select f.fix_id, f.fingerprint, coalesce(t.target, f.fingerprint) as incident, i.title, f.fixed_at, f.author, f.summary, f.patch_url, f.bundle_id, f.outcome,
           f.test_name, f.fixed_version, f.fixed_git_sha
         from fixes f left join fingerprint_targets t on f.fingerprint = t.fingerprint
           left join incidents i on coalesce(t.target, f.fingerprint) = i.fingerprint {chosen}
         order by f.fixed_at desc, f.fix_id"
    );
    let parameters = (!values.is_empty()).then(|| ParamValues::from(values));
    let page = page(session, &query, parameters, 0, size).boxed().await?;
    let mut fixes: Vec<Map<String, Value>> = Vec::new();
    for batch in &page.batches {
        fixes.extend(crate::json::rows(batch)?);
    }
    let next = fixes.last().filter(|_| page.has_more).and_then(Place::of);
    let fingerprints: BTreeSet<String> = fixes.iter().filter_map(|fix| member(fix, "fingerprint")).collect();
    let fingerprints: Vec<&str> = fingerprints.iter().map(String::as_str).collect();
    let mut judged = judged(session.snapshot(), &fingerprints).boxed().await?;
    for fix in &mut fixes {
        let (came_back, reason) = member(fix, "fix_id").and_then(|fix_id| judged.remove(&fix_id)).unwrap_or_default();
        fix.insert(String::from("came_back"), came_back.into());
        fix.insert(String::from("came_back_reason"), reason.into());
    }
    Ok(Listed { fixes, next })
}

fn member(fix: &Map<String, Value>, name: &str) -> Option<String> {
    fix.get(name).and_then(Value::as_str).map(str::to_owned)
}

impl NewFix {
    /// That there is a summary, that no text is too long to be masked, kept and listed, and that version and commit are
    /// such: they are not masked.
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
        if self.fixed_version.as_deref().is_some_and(|version| !is_version(version)) {
            return wrong(format!(
                "fixed_version is a version such as 1.9.1: letters, digits and ._+-, {MOST_VERSION} at most"
            ));
        }
        if self.fixed_git_sha.as_deref().is_some_and(|commit| !is_commit(commit)) {
            let (least, most) = (COMMIT.start(), COMMIT.end());
            return wrong(format!("fixed_git_sha is a commit by {least} to {most} of its hex digits"));
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

fn is_version(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    (1..=MOST_VERSION).contains(&text.len()) && text.bytes().all(is_fit)
}

fn is_commit(text: &str) -> bool {
    COMMIT.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Records a fix by an author and gives its id.
///
/// # Errors
/// [`QueryError::IncidentUnknown`] and [`QueryError::BundleUnknown`] for what the tenant does not have,
/// [`QueryError::Argument`] without a summary, for a text that is too long or a time, version or commit that is none, and
/// when the lake cannot be read or written.
pub async fn record(session: &Session, author: &str, fix: NewFix) -> Result<String> {
    fix.check()?;
    grouping::known(session, &fix.fingerprint).await?;
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
        text(fix.fixed_version.as_deref()),
        text(fix.fixed_git_sha.as_deref()),
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
            fixed_version: None,
            fixed_git_sha: None,
        };
        assert!(fix("x".repeat(MOST_TEXT), None).check().is_ok());
        let told = |fix: NewFix| fix.check().map_or_else(|error| error.to_string(), |()| String::new());
        assert!(told(fix(String::from(" "), None)).contains("say in summary"));
        assert!(told(fix("x".repeat(MOST_TEXT + 1), None)).contains("summary has more than"));
        let long = Some("x".repeat(MOST_TEXT + 1));
        assert!(told(fix(String::from("rounded"), long)).contains("test_name has more than"));
    }

    /// Version and commit are kept as they are, so nothing else passes for one.
    #[test]
    fn version_and_commit_are_such() {
        for (version, expected) in [("v1.9.1-rc.1+7", true), ("", false), ("jane@example.org", false), ("1 9", false)] {
            assert_eq!(is_version(version), expected, "{version}");
        }
        assert!(!is_version(&"1".repeat(MOST_VERSION + 1)));
        for (commit, expected) in [("a1b2c3d", true), ("A1B2C3D4", true), ("a1b2c3", false), ("a1b2c3g", false)] {
            assert_eq!(is_commit(commit), expected, "{commit}");
        }
    }
}
