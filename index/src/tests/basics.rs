//! Opening, creating, writing and reading.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::staged::convert;
use tracerag_schemas::time::SECOND;

use super::{Fixture, NOON, day_before, epoch, offsets, rows, source};
use crate::{ClosedTrace, Epoch, Error, Lake, LakeOptions, SourceProgress, Writer};

/// Opening what is not there says where it looked and what to do.
#[tokio::test]
async fn opening_nothing_names_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().join("nowhere");
    let error = Lake::open(LakeOptions::new(uri.to_str().unwrap())).await.unwrap_err();
    assert!(matches!(error, Error::NoLake { .. }));
    let message = error.to_string();
    assert!(message.contains(uri.to_str().unwrap()) && message.contains("tracerag replay"), "{message}");
}

/// A new lake has all small tables, empty and at position 0; creating it again changes nothing.
#[tokio::test]
async fn a_new_lake_is_whole_and_empty() {
    let fixture = Fixture::new().await;
    let head = fixture.lake.newest_head().await.unwrap();
    assert_eq!(head.position, 0);
    for table in Table::ALL.iter().copied().filter(|table| !table.by_day()) {
        let dataset = fixture.lake.newest(table.name()).await.unwrap();
        assert_eq!(dataset.count_rows(None).await.unwrap(), 0);
        let schema = Schema::from(dataset.schema());
        assert_eq!(schema.fields(), table.lake_schema().fields(), "{}", table.name());
        assert_eq!(head.of(table).count(), usize::from(!table.is_side()), "{}", table.name());
    }
    assert_eq!(head.of(Table::Spans).count(), 0);
    let again = Lake::open_or_create(LakeOptions::new(fixture.folder.path().to_str().unwrap())).await.unwrap();
    assert_eq!(again.newest_head().await.unwrap(), head);
}

/// Side tables take rows at once and outside the journal; data tables refuse that way in.
#[tokio::test]
async fn side_tables_are_appended_to_directly() {
    let fixture = Fixture::new().await;
    for _ in 0..2 {
        fixture.lake.append_side(Table::Fixes, full(Table::Fixes)).await.unwrap();
    }
    let reader = fixture.reopen().await;
    assert_eq!(reader.newest("fixes").await.unwrap().count_rows(None).await.unwrap(), 4);
    assert_eq!(reader.newest_head().await.unwrap().position, 0);
    let error = fixture.lake.append_side(Table::Spans, rows(Table::Spans, 0..1, NOON)).await.unwrap_err();
    assert!(matches!(error, Error::WrongWay { table: "spans", .. }));
    let writer = fixture.worker("w", &[source(0)]).await;
    let wrong = Epoch { rows: vec![(Table::Fixes, full(Table::Fixes))], ..Epoch::default() };
    assert!(matches!(writer.stage(wrong).await.unwrap_err(), Error::WrongWay { table: "fixes", .. }));
}

/// Every column of every table, nested ones and nulls included, comes back as it was written.
#[tokio::test]
async fn every_type_survives_an_epoch() {
    survive_an_epoch(|batch| batch).await;
}

/// So it does where every text comes as a dictionary, in maps and lists of structs, too: it is read as the text.
#[tokio::test]
async fn staged_texts_survive_an_epoch() {
    survive_an_epoch(|batch| {
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = batch
            .schema()
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| {
                let form = all_words(field.data_type());
                (field.as_ref().clone().with_data_type(form.clone()), convert(column, &form).unwrap())
            })
            .unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    })
    .await;
}

/// The type with a dictionary in place of each text.
fn all_words(lake: &DataType) -> DataType {
    let inner = |field: &Arc<Field>| {
        let form = all_words(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(form))
    };
    match lake {
        DataType::Utf8 => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

async fn survive_an_epoch(form: fn(RecordBatch) -> RecordBatch) {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let tables: Vec<Table> = Table::ALL.iter().copied().filter(|table| !table.is_side()).collect();
    let sent: Vec<(Table, RecordBatch)> = tables.iter().map(|table| (*table, full(*table))).collect();
    let rows = sent.iter().map(|(table, batch)| (*table, form(batch.clone()))).collect();
    let progress = SourceProgress { source: source(0), to: 2, low_watermark: 1, stream_time: NOON };
    let written = writer.write(Epoch { rows, sources: vec![progress], closed: vec![] }).await.unwrap();
    assert_eq!(written.position, 2, "after the claim");
    assert!(tables.iter().all(|table| written.rows[table] == 2));
    let lake = fixture.reopen().await;
    let head = lake.newest_head().await.unwrap();
    assert_eq!(head.position, 2);
    assert_eq!(head.stream_times, vec![(source(0), NOON)]);
    for (table, sent) in sent {
        let mut batches = Vec::new();
        for (name, known) in head.of(table) {
            assert_eq!(known.rows, 2);
            let read = lake.dataset(name, known.version).await.unwrap().scan().try_into_batch().await.unwrap();
            batches.push(read);
        }
        let read = concat_batches(&batches[0].schema(), &batches).unwrap();
        for (column, field) in table.lake_schema().fields().iter().enumerate() {
            assert_eq!(
                read.column(column).to_data(),
                sent.column(column).to_data(),
                "{}.{}",
                table.name(),
                field.name()
            );
        }
    }
}

/// Rows that do not fit their table are refused with the column that is wrong, and nothing is written.
#[tokio::test]
async fn rows_of_another_schema_are_refused() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let wrong = Epoch { rows: vec![(Table::Spans, rows(Table::Logs, 0..1, NOON))], ..Epoch::default() };
    assert!(matches!(writer.write(wrong).await.unwrap_err(), Error::Schema { table: "spans", .. }));
    let unclaimed = epoch(source(1), 0, 3, NOON);
    assert!(matches!(writer.write(unclaimed).await.unwrap_err(), Error::NotClaimed { .. }));
    assert_eq!(fixture.offsets(Table::Spans).await, Vec::<i64>::new());
}

/// Large tables are one dataset a UTC day of `ingested_at`; a batch over midnight is cut.
#[tokio::test]
async fn rows_go_to_their_day() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let midnight = NOON - 12 * 3_600 * SECOND;
    let before = rows(Table::Spans, 0..3, midnight - 1);
    let after = rows(Table::Spans, 3..5, midnight);
    let both = concat_batches(&before.schema(), [&before, &after]).unwrap();
    let progress = SourceProgress { source: source(0), to: 5, low_watermark: 5, stream_time: midnight };
    writer.write(Epoch { rows: vec![(Table::Spans, both)], sources: vec![progress], closed: vec![] }).await.unwrap();
    let head = fixture.lake.newest_head().await.unwrap();
    let days: Vec<(&str, u64)> = head.of(Table::Spans).map(|(name, known)| (name, known.rows)).collect();
    assert_eq!(days, [("spans/2026-11-22", 3), ("spans/2026-11-23", 2)]);
    assert!(fixture.folder.path().join("spans/2026-11-22.lance").is_dir());
    assert_eq!(fixture.offsets(Table::Spans).await, [0, 1, 2, 3, 4]);
}

/// A head knows, for each day, what a query needs to leave it out: rows, and the range of each time.
#[tokio::test]
async fn heads_know_the_range_of_times() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 10, 20, NOON)).await.unwrap();
    writer.write(epoch(source(0), 20, 30, NOON + SECOND)).await.unwrap();
    writer.write(epoch(source(0), 30, 30, NOON + 2 * SECOND)).await.unwrap();
    let head = fixture.lake.newest_head().await.unwrap();
    assert_eq!(head.position, 4);
    assert_eq!(head.stream_times, [(source(0), NOON + 2 * SECOND)]);
    let spans = &head.datasets["spans/2026-11-23"];
    assert_eq!(spans.rows, 20);
    assert_eq!(spans.ingested_at, Some((NOON, NOON + SECOND)));
    assert_eq!(spans.times["start_time"], (NOON + 10 * SECOND, NOON + 30 * SECOND));
    assert!(!spans.times.contains_key("end_time"), "all null");
    assert_eq!(head.datasets["flags"].rows, 20);
    assert_eq!(head.datasets["heaps"].rows, 0);
}

/// Whoever takes over learns where to read on, and of each closed trace how far it is written.
#[tokio::test]
async fn a_claim_tells_where_to_go_on() {
    let fixture = Fixture::new().await;
    let mut first = Writer::new(fixture.reopen().await, "first".into()).await.unwrap();
    let fresh = first.claim(&[source(0), source(1)]).await.unwrap();
    assert_eq!((fresh[0].generation, fresh[0].next, fresh[0].seek, fresh[0].stream_time), (1, None, None, None));
    let closed = |id: u8, offsets: Vec<(u32, i64)>| ClosedTrace {
        tenant: "t".into(),
        trace_id: [id; 16],
        closed_at: NOON + i64::from(id),
        last_offsets: offsets,
    };
    let hour = 3_600 * SECOND;
    let progress = |partition, to, low_watermark, stream_time| SourceProgress {
        source: source(partition),
        to,
        low_watermark,
        stream_time,
    };
    for (n, (sources, closed)) in [
        (vec![progress(0, 10, 10, NOON - 3 * hour)], vec![closed(1, vec![(0, 9)])]),
        (vec![progress(1, 5, 2, NOON), progress(0, 20, 15, NOON)], vec![closed(2, vec![(0, 4), (1, 12)])]),
        (vec![progress(0, 30, 15, NOON)], vec![closed(3, vec![(0, 29)])]),
    ]
    .into_iter()
    .enumerate()
    {
        let written = first.write(Epoch { rows: vec![], sources, closed }).await.unwrap();
        assert_eq!(written.position, n as u64 + 2);
    }
    let mut second = Writer::new(fixture.reopen().await, "second".into()).await.unwrap();
    let resumed = second.claim(&[source(1), source(0)]).await.unwrap();
    assert_eq!((resumed[0].next, resumed[0].seek, resumed[0].generation), (Some(5), Some(2), 2));
    assert_eq!((resumed[1].next, resumed[1].seek, resumed[1].stream_time), (Some(30), Some(15), Some(NOON)));
    let traces = |n: usize| resumed[n].closed.iter().map(|t| (t.trace_id[0], t.last_offset)).collect::<Vec<_>>();
    assert_eq!(traces(0), [(2, 4)]);
    assert_eq!(
        traces(1),
        [(3, 29)],
        "the first was closed before the horizon and lies below the low watermark, the second is read again elsewhere"
    );
    let mut third = Writer::new(fixture.reopen().await, "third".into())
        .await
        .unwrap()
        .with_late_horizon(Duration::from_secs(4 * 3_600));
    assert_eq!(third.claim(&[source(0)]).await.unwrap()[0].closed.len(), 3);
}

/// A list of closed traces too long for the journal's row lies beside it and is found again.
#[tokio::test]
async fn long_lists_of_closed_traces_lie_beside_the_journal() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let mut id = 7_u128;
    let closed: Vec<ClosedTrace> = (0..5_000)
        .map(|offset| {
            id = id.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            ClosedTrace {
                tenant: "t".into(),
                trace_id: id.to_le_bytes(),
                closed_at: NOON,
                last_offsets: vec![(0, offset)],
            }
        })
        .collect();
    writer.write(Epoch { closed: closed.clone(), ..epoch(source(0), 0, 5_000, NOON) }).await.unwrap();
    assert_eq!(std::fs::read_dir(fixture.folder.path().join("journal")).unwrap().count(), 1);
    let mut next = Writer::new(fixture.reopen().await, "next".into()).await.unwrap();
    let resumed = next.claim(&[source(0)]).await.unwrap();
    let found: Vec<([u8; 16], i64)> =
        resumed[0].closed.iter().map(|trace| (trace.trace_id, trace.last_offset)).collect();
    let sent: Vec<([u8; 16], i64)> = closed.iter().map(|trace| (trace.trace_id, trace.last_offsets[0].1)).collect();
    assert_eq!(found, sent);
}

/// A reader that holds a head goes on seeing exactly its rows while more are written.
#[tokio::test]
async fn a_head_is_a_stable_picture() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 5, day_before(NOON))).await.unwrap();
    let reader = fixture.reopen().await;
    let held = reader.newest_head().await.unwrap();
    writer.write(epoch(source(0), 5, 9, NOON)).await.unwrap();
    let mut seen = 0;
    for (name, known) in held.of(Table::Spans) {
        seen += reader.dataset(name, known.version).await.unwrap().count_rows(None).await.unwrap();
    }
    assert_eq!(seen, 5);
    assert_eq!(offsets(&reader, Table::Spans).await.len(), 9);
}

/// The head of a position is found again by who has not seen it, with the rows that it had, as long as it was the newest
/// within the time that is asked for. A position that there was none of is none.
#[tokio::test]
async fn a_head_is_found_by_its_position() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    writer.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    let held = fixture.lake.newest_head().await.unwrap();
    writer.write(epoch(source(0), 5, 9, NOON)).await.unwrap();
    writer.write(epoch(source(0), 9, 12, NOON)).await.unwrap();
    let reader = fixture.reopen().await;
    let hour = Duration::from_secs(3600);
    let (found, ago) = reader.head_at(held.position, hour).await.unwrap().unwrap();
    assert_eq!((found.sequence, &found.datasets), (held.sequence, &held.datasets));
    assert!(ago < hour, "{ago:?}");
    let newest = reader.newest_head().await.unwrap();
    let found = reader.head_at(newest.position, Duration::ZERO).await.unwrap();
    assert_eq!(found, Some((newest.clone(), Duration::ZERO)), "the newest ceased to be it at no time");
    assert_eq!(reader.head_at(held.position, Duration::ZERO).await.unwrap(), None);
    assert_eq!(reader.head_at(newest.position + 1, hour).await.unwrap(), None);
}

/// Two rows: one with a value in every column, one with nulls wherever they are allowed.
fn full(table: Table) -> RecordBatch {
    let schema = table.lake_schema();
    let mut some = serde_json::Map::new();
    let mut none = serde_json::Map::new();
    for field in schema.fields() {
        some.insert(field.name().clone(), value(field.data_type()));
        if field.name() == "ingested_at" {
            some.insert(field.name().clone(), json!(NOON));
            none.insert(field.name().clone(), json!(NOON + SECOND));
        }
    }
    let mut decoder = arrow::json::ReaderBuilder::new(schema).build_decoder().unwrap();
    decoder.serialize(&[Value::Object(some), Value::Object(none)]).unwrap();
    decoder.flush().unwrap().unwrap()
}

fn value(data_type: &DataType) -> Value {
    let object = |fields: &[Arc<Field>]| {
        Value::Object(fields.iter().map(|field| (field.name().clone(), value(field.data_type()))).collect())
    };
    match data_type {
        DataType::Utf8 => json!("caf\u{e9} \u{1f600}"),
        DataType::Int32 => json!(-7),
        DataType::Int64 => json!(i64::MIN + 1),
        DataType::UInt32 | DataType::UInt64 => json!(7),
        DataType::Float32 | DataType::Float64 => json!(0.1),
        DataType::Boolean => json!(true),
        DataType::Binary => json!("00ff"),
        DataType::FixedSizeBinary(width) => json!("a7".repeat(usize::try_from(*width).unwrap())),
        DataType::Timestamp(_, _) => json!(NOON + 1),
        DataType::List(item) => json!([value(item.data_type()), null_or(item), value(item.data_type())]),
        DataType::Struct(fields) => object(fields),
        DataType::Map(_, _) => json!({"http.route": "/checkout", "empty": ""}),
        other => panic!("no sample value for {other}"),
    }
}

fn null_or(field: &Field) -> Value {
    if field.is_nullable() { Value::Null } else { value(field.data_type()) }
}
