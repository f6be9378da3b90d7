//! What a lake takes on disk when upkeep is through with it.

use std::time::Duration;

use tracerag_index::maintain::shares;
use tracerag_index::{Lake, LakeOptions, MaintainOptions, Result, maintain};
use tracerag_schemas::Table;

/// A share below this part of its table is not shown.
const LEAST: f64 = 0.005;

/// One column or index of a table.
#[derive(Debug)]
pub struct Line {
    /// Table, then column or index.
    pub name: String,
    /// Bytes in the newest head.
    pub bytes: u64,
}

/// Compacts and indexes everything, drops what no head names, and gives the bytes of each table's columns and
/// indices with the sum of all.
///
/// # Errors
/// When the lake cannot be read or kept.
pub async fn compacted(uri: &str) -> Result<(u64, Vec<Line>)> {
    let lake = Lake::open(LakeOptions::new(uri)).await?;
    let eager = MaintainOptions {
        small_fragments: 1,
        target_rows_per_fragment: 1_000_000,
        index_delay: Duration::ZERO,
        unindexed_rows: 0,
        small_table_rows: 1,
        longest_query: Duration::ZERO,
        stale_versions: 0,
        ..MaintainOptions::default()
    };
    maintain(&lake, &eager).await?;
    let head = lake.newest_head().await?;
    let (mut total, mut lines) = (0, Vec::new());
    for table in Table::ALL {
        for (name, known) in head.of(*table) {
            let dataset = lake.dataset(name, known.version).await?;
            let shares = shares(name, &dataset).await?;
            let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
            total += bytes;
            for share in shares.iter().filter(|share| share.bytes as f64 >= bytes as f64 * LEAST) {
                let kind = if share.is_index { "index " } else { "" };
                lines.push(Line { name: format!("{} {kind}{}", table.name(), share.name), bytes: share.bytes });
            }
        }
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.bytes));
    Ok((total, lines))
}
