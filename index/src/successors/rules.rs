//! What became of incidents, as rows of `grouping_rules`: beside what people have merged and split, and told from it by
//! the versions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use futures::FutureExt;
use sha2::{Digest, Sha256};
use tracerag_schemas::Table;

use super::old::{Key, Old};
use super::tally::{Tally, Verdict};
use crate::columns::present;
use crate::error::{At, Error, Result};
use crate::journal::{Head, now};
use crate::lake::Lake;

/// Who writes them.
const AUTHOR: &str = "tracerag";
/// That an incident goes on as another fingerprint.
const MAP: &str = "map";
/// That an incident stays on its own.
const SPLIT: &str = "split";
/// The column without which a row would be taken for a person's.
const TO_VERSION: &str = "to_version";

const TABLE: Table = Table::GroupingRules;

/// Whether the lake's schema tells these rows from those of people.
pub(super) fn have_place(lake: &Lake, head: &Head) -> bool {
    lake.schemas().at(head.schema_version, TABLE).field_with_name(TO_VERSION).is_ok()
}

/// One row.
struct Rule<'a> {
    key: &'a Key,
    target: Option<String>,
    reason: String,
    from_version: i32,
}

/// Writes down what became of incidents in a version, unless it is known.
pub(super) async fn write(lake: &Lake, old: &Old, tallies: &BTreeMap<Key, Tally>, version: i32) -> Result<()> {
    let known = known(lake, old, version).await?;
    let mut rules = Vec::new();
    for (key, tally) in tallies {
        let (target, reason) = match tally.verdict() {
            Verdict::Stays => continue,
            Verdict::Goes(target, reason) => (Some(target), reason),
            Verdict::Splits(reason) => (None, reason),
        };
        let Some(from_version) = old.version(key) else { continue };
        if known.get(key).is_none_or(|(_, known)| *known != target) {
            rules.push(Rule { key, target, reason, from_version });
        }
    }
    if rules.is_empty() {
        return Ok(());
    }
    let split = rules.iter().filter(|rule| rule.target.is_none()).count();
    tracing::info!(version, mapped = rules.len() - split, split, "incidents of older fingerprints were looked through");
    lake.append_side(TABLE, batch(&rules, version)?).boxed().await
}

/// When it was written, and the target.
type Known = (Option<i64>, Option<String>);

/// What is written of these incidents and this version, the newest of each.
async fn known(lake: &Lake, old: &Old, version: i32) -> Result<HashMap<Key, Known>> {
    let mut known: HashMap<Key, Known> = HashMap::new();
    let dataset = lake.newest(TABLE.name()).await?;
    // A table that lacks the column has no such row.
    if present(&dataset, &[TO_VERSION]).is_empty() {
        return Ok(known);
    }
    let mut scan = dataset.scan();
    scan.project(&["tenant_id", "fingerprint", "target", "created_at"]).at(TABLE.name(), "reading successors")?;
    scan.filter_expr(old.range().and(col(TO_VERSION).eq(lit(version))));
    let rows = scan.try_into_batch().boxed().await.at(TABLE.name(), "reading successors")?;
    let text = |name: &str| rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let times =
        rows.column_by_name("created_at").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let (Some(tenants), Some(fingerprints), Some(targets), Some(times)) =
        (text("tenant_id"), text("fingerprint"), text("target"), times)
    else {
        let detail = "a column of successors is not as this release knows it".to_owned();
        return Err(Error::Schema { table: TABLE.name(), detail });
    };
    for row in 0..rows.num_rows() {
        let key = (tenants.value(row).to_owned(), fingerprints.value(row).to_owned());
        let at = times.is_valid(row).then(|| times.value(row));
        if known.get(&key).is_none_or(|(before, _)| *before < at) {
            known.insert(key, (at, targets.is_valid(row).then(|| targets.value(row).to_owned())));
        }
    }
    Ok(known)
}

fn batch(rules: &[Rule<'_>], version: i32) -> Result<RecordBatch> {
    let text = |get: &dyn Fn(&Rule<'_>) -> Option<String>| -> ArrayRef {
        Arc::new(rules.iter().map(get).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|rule| Some(rule.key.0.clone())),
        text(&|rule| Some(id(rule, version))),
        text(&|rule| Some(String::from(if rule.target.is_some() { MAP } else { SPLIT }))),
        text(&|rule| Some(rule.key.1.clone())),
        text(&|rule| rule.target.clone()),
        text(&|_| Some(String::from(AUTHOR))),
        text(&|rule| Some(rule.reason.clone())),
        Arc::new(TimestampNanosecondArray::from(vec![now(); rules.len()]).with_timezone("UTC")),
        Arc::new(rules.iter().map(|rule| rule.from_version).collect::<Int32Array>()),
        Arc::new(Int32Array::from(vec![version; rules.len()])),
    ];
    RecordBatch::try_new(TABLE.lake_schema(), columns).at(TABLE.name(), "writing successors")
}

/// The same for what says the same: a step that is done twice at once writes rows that can be told to be one.
fn id(rule: &Rule<'_>, version: i32) -> String {
    let mut hasher = Sha256::new();
    hasher.update(version.to_le_bytes());
    for part in [rule.key.0.as_str(), rule.key.1.as_str(), rule.target.as_deref().unwrap_or_default()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex::encode(&hasher.finalize()[..16])
}
