//! What the lake gives back of its own rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use tracerag_schemas::Table;
use tracerag_schemas::time::DAY;

use super::{Fixture, NOON, epoch, rows, source};
use crate::stored::{changes, each_batch};
use crate::{Epoch, SourceProgress};

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
    let written = [flags(0..3, &["change", "evaluation", "change"]), flags(3..5, &["evaluation", "change"])];
    for (batch, to) in written.into_iter().zip([3, 5]) {
        let sources = vec![SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON }];
        writer.write(Epoch { rows: vec![(Table::Flags, batch)], sources, closed: vec![] }).await.unwrap();
    }
    let lake = fixture.reopen().await;
    let head = lake.newest_head().await.unwrap();
    let found = changes(&lake, &head, Table::Flags).await.unwrap();
    let offsets = found.column_by_name("kafka_offset").unwrap().as_primitive::<Int64Type>();
    assert_eq!(offsets.values().to_vec(), [0, 2, 4]);
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
