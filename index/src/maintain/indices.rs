//! Scalar and full-text indices: which columns have one, and when it is extended.

use lance::Dataset;
use lance::index::DatasetIndexExt;
use lance_index::scalar::{BuiltinIndexType, InvertedIndexParams, ScalarIndexParams};
use lance_index::{IndexParams, IndexType};
use tracerag_schemas::Table;

use super::MaintainOptions;
use crate::deltas::{self, Lagging};
use crate::error::{At, Result};
use crate::lake::Lake;

/// Characters of the longest token in a full-text index. Lance's default of 40 drops a SHA-256 in
/// hex (64) and most qualified names.
const MAX_TOKEN_LENGTH: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// For ids: point look-ups.
    Tree,
    /// For times: least and greatest value of each zone, which costs next to nothing.
    Zones,
    /// For texts that people and models search in.
    Words,
}

/// No column has an index unless a query of the product uses it: each costs bytes a row.
fn wanted(table: Table) -> &'static [(&'static str, Kind)] {
    match table {
        Table::Spans | Table::Traces => &[("trace_id", Kind::Tree), ("start_time", Kind::Zones)],
        Table::Logs => &[("trace_id", Kind::Tree), ("time", Kind::Zones)],
        Table::Metrics => &[("time", Kind::Zones)],
        Table::Failures => {
            &[("trace_id", Kind::Tree), ("fingerprint", Kind::Tree), ("time", Kind::Zones), ("message", Kind::Words)]
        }
        Table::Payloads | Table::Heaps => &[("trace_id", Kind::Tree)],
        Table::IncidentCounts => {
            &[("fingerprint", Kind::Tree), ("first_seen", Kind::Zones), ("last_seen", Kind::Zones)]
        }
        Table::Bundles => &[("trace_id", Kind::Tree), ("bundle_id", Kind::Tree)],
        _ => &[],
    }
}

/// Builds indices that are missing and extends those that lag behind. Gives the columns touched.
pub(super) async fn update(lake: &Lake, table: Table, name: &str, options: &MaintainOptions) -> Result<Vec<String>> {
    let wanted = wanted(table);
    if wanted.is_empty() {
        return Ok(vec![]);
    }
    let dataset = lake.newest(name).await?;
    let rows = rows(&dataset);
    let least = if table.by_day() { 1 } else { options.small_table_rows };
    if rows < least {
        return Ok(vec![]);
    }
    let mut indexed = (*dataset).clone();
    let mut touched = Vec::new();
    let mut lagging = Vec::new();
    for (column, kind) in wanted {
        match lag(name, &indexed, column, options).await? {
            Lag::Missing => {
                create(name, &mut indexed, column, *kind).await?;
                touched.push((*column).to_owned());
            }
            Lag::Behind(behind) => {
                lagging.push(behind);
                touched.push((*column).to_owned());
            }
            Lag::None => {}
        }
    }
    if !lagging.is_empty() {
        deltas::extend(name, &mut indexed, lagging, options.index_deltas).await?;
    }
    if !touched.is_empty() {
        lake.remember(name, indexed);
    }
    Ok(touched)
}

enum Lag {
    Missing,
    Behind(Lagging),
    None,
}

async fn lag(name: &str, dataset: &Dataset, column: &str, options: &MaintainOptions) -> Result<Lag> {
    let deltas = dataset.load_indices_by_name(&index_name(column)).await.at(name, "reading its indices")?;
    if deltas.is_empty() {
        return Ok(Lag::Missing);
    }
    let behind = Lagging::of(index_name(column), dataset, &deltas);
    let newest = deltas.iter().filter_map(|delta| delta.created_at?.timestamp_nanos_opt()).max().unwrap_or(0);
    let delay = i64::try_from(options.index_delay.as_nanos()).unwrap_or(i64::MAX);
    let is_old = options.now.saturating_sub(newest) >= delay;
    let bearable = options.unindexed_rows.max(rows(dataset) / 20);
    if behind.outside >= bearable.max(1) || (behind.outside > 0 && is_old) {
        return Ok(Lag::Behind(behind));
    }
    Ok(Lag::None)
}

async fn create(name: &str, dataset: &mut Dataset, column: &str, kind: Kind) -> Result<()> {
    let tree = ScalarIndexParams::for_builtin(BuiltinIndexType::BTree);
    let zones = ScalarIndexParams::for_builtin(BuiltinIndexType::ZoneMap);
    // Identifiers in error messages are neither words of a language nor short.
    let words = InvertedIndexParams::default()
        .base_tokenizer("simple".to_owned())
        .stem(false)
        .remove_stop_words(false)
        .lower_case(true)
        .with_position(false)
        .max_token_length(Some(MAX_TOKEN_LENGTH));
    let (index_type, params): (IndexType, &dyn IndexParams) = match kind {
        Kind::Tree => (IndexType::BTree, &tree),
        Kind::Zones => (IndexType::ZoneMap, &zones),
        Kind::Words => (IndexType::Inverted, &words),
    };
    dataset
        .create_index(&[column], index_type, Some(index_name(column)), params, false)
        .await
        .at(name, "building an index")?;
    Ok(())
}

fn index_name(column: &str) -> String {
    format!("{column}_idx")
}

fn rows(dataset: &Dataset) -> u64 {
    dataset.iter_fragments().map(|fragment| fragment.physical_rows.unwrap_or_default() as u64).sum()
}
