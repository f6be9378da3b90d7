//! What the lake gives back of its own rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use tracerag_schemas::Table;
use tracerag_schemas::time::DAY;

use super::upkeep::eager;
use super::{Fixture, NOON, epoch, rows, source};
use crate::stored::{changes, changes_since, each_batch};
use crate::{Epoch, SourceProgress, Writer, maintain};

/// Rows of `flags` at these offsets, with these sources.
fn flags(offsets: std::ops::Range<i64>, sources: &[&str]) -> RecordBatch {
    let batch = rows(Table::Flags, offsets, NOON);
    let index = batch.schema().index_of("source").unwrap();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns[index] = Arc::new(StringArray::from(sources.to_vec()));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Changes of flags come back in the order in which they were written, over several epochs and without the
/// evaluations between them; an empty table gives no row.
#[tokio::test]
async fn changes_come_in_order_and_without_evaluations() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let head = fixture.lake.newest_head().await.unwrap();
    assert_eq!(changes(&fixture.lake, &head, Table::Flags).await.unwrap().num_rows(), 0);
    write(&mut writer, flags(0..3, &["change", "evaluation", "change"]), 3).await;
    write(&mut writer, flags(3..5, &["evaluation", "change"]), 5).await;
    let lake = fixture.reopen().await;
    let head = lake.newest_head().await.unwrap();
    let found = changes(&lake, &head, Table::Flags).await.unwrap();
    assert_eq!(offsets_in(&found), [0, 2, 4]);
}

/// Writes rows of `flags` in an epoch up to an offset.
async fn write(writer: &mut Writer, rows: RecordBatch, to: i64) {
    let sources = vec![SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON }];
    writer.write(Epoch { rows: vec![(Table::Flags, rows)], sources, closed: vec![] }).await.unwrap();
}

fn offsets_in(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("kafka_offset").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// Whoever knows the changes looks for newer ones after each epoch. Guarantees that an epoch of evaluations brings none,
/// that a change comes once, and that none is missed because upkeep merged its fragment before anybody looked.
#[tokio::test]
async fn only_newer_changes_are_read_again() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let since = async |read_to| {
        let lake = fixture.reopen().await;
        let head = lake.newest_head().await.unwrap();
        let (found, read_to) = changes_since(&lake, &head, Table::Flags, read_to).await.unwrap();
        (offsets_in(&found), read_to)
    };
    write(&mut writer, flags(0..2, &["change", "change"]), 2).await;
    let (found, read_to) = since(None).await;
    assert_eq!(found, [0, 1]);
    write(&mut writer, flags(2..4, &["evaluation", "evaluation"]), 4).await;
    let (found, read_to) = since(read_to).await;
    assert_eq!(found, Vec::<i64>::new());
    write(&mut writer, flags(4..6, &["change", "evaluation"]), 6).await;
    let report = maintain(&fixture.reopen().await, &eager()).await.unwrap();
    assert!(report.compacted.iter().any(|(name, ..)| name == "flags"), "{report:?}");
    let (found, read_to) = since(read_to).await;
    assert!(found.contains(&4), "{found:?}");
    assert_eq!(since(read_to).await.0, Vec::<i64>::new());
}

/// All rows of a table are handed out, of every day, with the columns that were asked for; an empty table has none.
#[tokio::test]
async fn all_rows_are_handed_out() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 3, NOON)).await.unwrap();
    writer.write(epoch(source(0), 3, 5, NOON + DAY)).await.unwrap();
    let lake = fixture.reopen().await;
    let head = lake.newest_head().await.unwrap();
    let columns = ["trace_id", "kafka_offset"];
    let mut offsets = Vec::new();
    let take = |batch: RecordBatch| -> crate::Result<()> {
        assert_eq!(batch.num_columns(), columns.len());
        offsets.extend_from_slice(batch.column(1).as_primitive::<Int64Type>().values());
        Ok(())
    };
    each_batch(&lake, &head, Table::Spans, &columns, take).await.unwrap();
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    each_batch(&lake, &head, Table::Heaps, &columns, |_| -> crate::Result<()> { panic!("there are no heaps") })
        .await
        .unwrap();
}
