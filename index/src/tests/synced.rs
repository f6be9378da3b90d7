//! A lake whose files are synced when they are written.

use tracerag_schemas::Table;

use super::upkeep::eager;
use super::{Fixture, NOON, day_before, epoch, offsets, source};
use crate::{Lake, LakeOptions, Writer, maintain};

/// A lake is written, kept in shape and read with every write synced; another worker goes on in it without. Guarantees
/// that the rows are the same either way, and that a dataset which is dropped leaves no folder behind: Lance itself
/// removes empty folders of a plain store only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synced_lake_is_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let plain = LakeOptions::new(folder.path().to_str().unwrap());
    let lake = Lake::open_or_create(LakeOptions { fsync: true, ..plain.clone() }).await.unwrap();
    let mut writer = Writer::new(lake.clone(), "synced".into()).await.unwrap();
    writer.claim(&[source(0)]).await.unwrap();
    for step in 0..4 {
        let at = if step == 0 { day_before(NOON) } else { NOON };
        writer.write(epoch(source(0), step * 5, step * 5 + 5, at)).await.unwrap();
    }
    maintain(&lake, &eager()).await.unwrap();

    let fixture = Fixture { files: folder.path().to_owned(), folder, lake, options: plain };
    let mut plain = fixture.worker("plain", &[source(0)]).await;
    plain.write(epoch(source(0), 20, 25, NOON)).await.unwrap();
    for table in [Table::Spans, Table::Traces, Table::Flags] {
        assert_eq!(offsets(&fixture.lake, table).await, (0..25).collect::<Vec<i64>>(), "{}", table.name());
    }

    let head = fixture.lake.newest_head().await.unwrap();
    let oldest = head.of(Table::Spans).next().unwrap().0.to_owned();
    let of_day = fixture.folder.path().join(format!("{oldest}.lance"));
    assert!(of_day.exists());
    fixture.lake.remove_dataset(&oldest).await.unwrap();
    assert!(!of_day.exists());
}
