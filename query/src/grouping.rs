//! Rules of people about groups: one fingerprint counts for another, or for itself again.
//!
//! Rules are only ever added, and the newest of a fingerprint holds: for everything that was counted before, and for
//! every failure that comes. They name no chains: who merges an incident that others were merged into takes these along.
//! Beside them stand what releases with other rules of fingerprints have mapped; how both go together is in
//! `search/merges.rs`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampNanosecondArray, new_null_array};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use tracerag_schemas::Table;

use crate::Session;
use crate::error::{QueryError, Result};
use crate::lookup::ById;
use crate::search::Merges;

const MERGE: &str = "merge";
const SPLIT: &str = "split";

/// Bytes of each text.
const MOST_TEXT: usize = 16 << 10;

/// What somebody wants. Its reason is redacted already where it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum NewGrouping {
    /// See [`merge`].
    Merge {
        /// The incident that goes into another one.
        fingerprint: String,
        /// The incident that stays.
        into: String,
        /// Why.
        reason: Option<String>,
    },
    /// See [`split`].
    Split {
        /// The fingerprint that was merged.
        fingerprint: String,
        /// Why.
        reason: Option<String>,
    },
}

impl NewGrouping {
    /// The fingerprint whose rule it is.
    pub fn fingerprint(&self) -> &str {
        match self {
            Self::Merge { fingerprint, .. } | Self::Split { fingerprint, .. } => fingerprint,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Merge { reason, .. } | Self::Split { reason, .. } => reason.as_deref(),
        }
    }

    /// That no text is too long to be masked and kept.
    ///
    /// # Errors
    /// [`QueryError::Argument`].
    pub fn check(&self) -> Result<()> {
        let into = match self {
            Self::Merge { into, .. } => into.as_str(),
            Self::Split { .. } => "",
        };
        for (name, text) in
            [("fingerprint", self.fingerprint()), ("into", into), ("reason", self.reason().unwrap_or_default())]
        {
            if text.len() > MOST_TEXT {
                return Err(wrong(format!("{name} has more than {MOST_TEXT} bytes; say it shorter")));
            }
        }
        Ok(())
    }

    /// The same with its reason as `mask` gives it: who writes one may quote telemetry.
    #[must_use]
    pub fn masked(mut self, mask: impl Fn(&str) -> String) -> Self {
        match &mut self {
            Self::Merge { reason, .. } | Self::Split { reason, .. } => {
                *reason = reason.as_deref().map(mask);
            }
        }
        self
    }
}

/// Does it in the name of an author, and gives the fingerprint that [`merge`] or [`split`] gives.
///
/// # Errors
/// As [`merge`], [`split`] and [`NewGrouping::check`].
pub async fn group(session: &Session, author: &str, grouping: &NewGrouping) -> Result<String> {
    grouping.check()?;
    let reason = grouping.reason().unwrap_or_default();
    match grouping {
        NewGrouping::Merge { fingerprint, into, .. } => merge(session, author, fingerprint, into, reason).boxed().await,
        NewGrouping::Split { fingerprint, .. } => split(session, author, fingerprint, reason).boxed().await,
    }
}

/// One rule that is to be added.
struct Rule<'a> {
    action: &'static str,
    fingerprint: &'a str,
    target: &'a str,
}

/// Lets a fingerprint count for another one, and gives the one that counts: that which the other counts for.
///
/// # Errors
/// [`QueryError::IncidentUnknown`] for what the tenant does not have, [`QueryError::Argument`] where the two are one
/// incident already, and when the lake cannot be read or written.
pub async fn merge(session: &Session, author: &str, fingerprint: &str, into: &str, reason: &str) -> Result<String> {
    let merges = Merges::read(session.snapshot()).await?;
    let target = merges.target(into).to_owned();
    if merges.target(fingerprint) == target {
        return Err(wrong(format!("{fingerprint} and {into} are one incident already")));
    }
    known(session, fingerprint).await?;
    known(session, &target).await?;
    let rules: Vec<Rule<'_>> = merges
        .members(&[fingerprint])
        .into_iter()
        .map(|member| Rule { action: MERGE, fingerprint: member, target: &target })
        .collect();
    append(session, author, reason, &rules).await?;
    Ok(target)
}

/// Lets a fingerprint that was merged count for itself again, and gives the one that it counted for.
///
/// # Errors
/// [`QueryError::Argument`] for one that was not merged, and when the lake cannot be read or written.
pub async fn split(session: &Session, author: &str, fingerprint: &str, reason: &str) -> Result<String> {
    let merges = Merges::read(session.snapshot()).await?;
    let target = merges.target(fingerprint);
    if target == fingerprint {
        return Err(wrong(format!("{fingerprint} was not merged into another incident, so there is nothing to split")));
    }
    append(session, author, reason, &[Rule { action: SPLIT, fingerprint, target }]).await?;
    Ok(target.to_owned())
}

fn wrong(why: String) -> QueryError {
    QueryError::Argument { function: "group", why }
}

/// Rules that are listed.
const MOST_LISTED: usize = 1_000;

/// The query for the rules of people and the mappings of releases, newest first; all, or those about one fingerprint.
#[must_use]
pub fn listing(fingerprint: Option<&str>) -> String {
    let of_one = fingerprint.map(|fingerprint| {
        let text = fingerprint.replace('\'', "''");
        format!("where fingerprint = '{text}' or target = '{text}'")
    });
    format!(
        "select created_at, action, fingerprint, target, author, reason, from_version, to_version from grouping_rules \
         {} order by created_at desc, fingerprint limit {MOST_LISTED}",
        of_one.unwrap_or_default()
    )
}

/// The fingerprint that one counts for: itself, unless people or a release have said otherwise.
///
/// # Errors
/// When the lake cannot be read.
pub(crate) async fn counts_for(session: &Session, fingerprint: &str) -> Result<String> {
    let merges = Merges::read(session.snapshot()).boxed().await?;
    Ok(merges.target(fingerprint).to_owned())
}

/// The fingerprints of the incident that one belongs to: the one that counts, and those that count for it.
///
/// # Errors
/// When the lake cannot be read.
pub(crate) async fn members(session: &Session, fingerprint: &str) -> Result<Vec<String>> {
    let merges = Merges::read(session.snapshot()).boxed().await?;
    Ok(merges.members(&[merges.target(fingerprint)]).into_iter().map(str::to_owned).collect())
}

/// That the tenant has failures of a fingerprint, or of one that counts for it.
pub(crate) async fn known(session: &Session, fingerprint: &str) -> Result<()> {
    let snapshot = session.snapshot();
    let merges = Merges::read(snapshot).boxed().await?;
    let by = ById::any("fingerprint", merges.members(&[fingerprint]));
    let found = snapshot.read_id(Table::IncidentCounts, &["fingerprint"], by).boxed().await?;
    match found.iter().all(|batch| batch.num_rows() == 0) {
        true => Err(QueryError::IncidentUnknown { fingerprint: fingerprint.to_owned() }),
        false => Ok(()),
    }
}

async fn append(session: &Session, author: &str, reason: &str, rules: &[Rule<'_>]) -> Result<()> {
    let snapshot = session.snapshot();
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rules.len()])) };
    let each = |get: &dyn Fn(&Rule<'_>) -> String| -> ArrayRef {
        Arc::new(rules.iter().map(|rule| Some(get(rule))).collect::<StringArray>())
    };
    let created_at = TimestampNanosecondArray::from(vec![crate::bundle::now(); rules.len()]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        same(snapshot.tenant()),
        each(&|_| hex::encode(rand::random::<[u8; 16]>())),
        each(&|rule| rule.action.to_owned()),
        each(&|rule| rule.fingerprint.to_owned()),
        each(&|rule| rule.target.to_owned()),
        same(author),
        same(reason),
        Arc::new(created_at),
        new_null_array(&DataType::Int32, rules.len()),
        new_null_array(&DataType::Int32, rules.len()),
    ];
    let rows = RecordBatch::try_new(Table::GroupingRules.lake_schema(), columns)?;
    snapshot.lake().append_side(Table::GroupingRules, rows).boxed().await?;
    Ok(())
}
