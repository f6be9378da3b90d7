//! A stored table in pieces, which any server of the lake can read by their names: for queries that several servers
//! compute.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_expr::execution_props::ExecutionProps;
use datafusion::physical_plan::ExecutionPlan;
use lance::Dataset;
use tracerag_index::Lake;
use tracerag_schemas::Table;

use super::{Division, scan};
use crate::error::QueryError;

/// What is read of pieces of a table, wherever they are read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub table: Table,
    /// The columns, as the rows have them.
    pub schema: SchemaRef,
    /// What rows must meet; the tenant's wall is among it.
    pub filters: Vec<Expr>,
    /// Rows of each piece, at most.
    pub limit: Option<usize>,
}

/// A fragment of a dataset at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub dataset: String,
    pub version: u64,
    pub fragment: u64,
}

/// The pieces of a table's datasets, the largest first: dealt out in turn they make even shares.
pub(super) fn all(datasets: &[(String, Arc<Dataset>)]) -> Vec<Piece> {
    let mut pieces: Vec<(usize, Piece)> = Vec::new();
    for (name, dataset) in datasets {
        let version = dataset.version_id();
        pieces.extend(dataset.fragments().iter().map(|fragment| {
            let piece = Piece { dataset: name.clone(), version, fragment: fragment.id };
            (fragment.num_rows().unwrap_or_default(), piece)
        }));
    }
    pieces.sort_by_key(|(rows, _)| Reverse(*rows));
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

/// The plan that reads a piece from this server's lake, at exactly its version.
///
/// # Errors
/// When the piece is none of the table's, or not in the lake.
pub(crate) async fn plan(lake: &Lake, wanted: &Wanted, piece: &Piece) -> Result<Arc<dyn ExecutionPlan>> {
    let table = wanted.table;
    if !is_of(&piece.dataset, table) {
        return plan_err!("{} is no dataset of {}", piece.dataset, table.name());
    }
    let dataset = lake.dataset(&piece.dataset, piece.version).await.map_err(QueryError::from)?;
    let Some(fragment) = dataset.fragments().iter().find(|fragment| fragment.id == piece.fragment) else {
        return plan_err!("{} has no fragment {} at version {}", piece.dataset, piece.fragment, piece.version);
    };
    let stored = Schema::from(dataset.schema());
    let known = lake.schemas().newest(table);
    let division = Division::new(&stored, &known, &wanted.schema, &wanted.filters, wanted.limit)?;
    let mut scan = scan::of(&dataset, &division, wanted.filters.len() > 1)?;
    scan.with_fragments(vec![fragment.clone()]);
    let read = scan.create_plan().await?;
    division.above(read, &wanted.schema, |filter, schema| create_physical_expr(&filter, schema, &ExecutionProps::new()))
}

/// Whether a dataset of this name is one of the table's: its own, or one of its days.
fn is_of(dataset: &str, table: Table) -> bool {
    match table.by_day() {
        true => dataset
            .strip_prefix(table.name())
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|day| !day.is_empty() && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')),
        false => dataset == table.name(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tests::lake::TestLake;

    /// Datasets of the table are its days or, of a table without days, itself; a name that leads elsewhere is none.
    #[test]
    fn only_datasets_of_the_table_are_read() {
        assert!(is_of("spans/2026-11-23", Table::Spans));
        assert!(is_of("flags", Table::Flags));
        for (name, table) in [
            ("spans", Table::Spans),
            ("spans/", Table::Spans),
            ("spans/../logs/2026-11-23", Table::Spans),
            ("logs/2026-11-23", Table::Spans),
            ("flags/x", Table::Flags),
            ("audit", Table::Flags),
        ] {
            assert!(!is_of(name, table), "{name} of {table:?}");
        }
    }

    /// A piece that is in no version of the lake, or of another table, is an error that says which; nothing is read.
    #[tokio::test]
    async fn unknown_pieces_are_refused() {
        let example = TestLake::example(false, 100).await;
        let lake = &example.lake;
        let schema = lake.schemas().newest(Table::Spans);
        let wanted = Wanted { table: Table::Spans, schema, filters: vec![], limit: None };
        let head = lake.newest_head().await.unwrap();
        let (name, dataset) = head.of(Table::Spans).next().unwrap();
        let piece = Piece { dataset: name.to_owned(), version: dataset.version, fragment: 99 };
        let error = plan(lake, &wanted, &piece).await.unwrap_err().to_string();
        assert!(error.contains("no fragment 99"), "{error}");
        let foreign = Piece { dataset: String::from("logs/2026-11-23"), ..piece };
        let error = plan(lake, &wanted, &foreign).await.unwrap_err().to_string();
        assert!(error.contains("no dataset of spans"), "{error}");
    }
}
