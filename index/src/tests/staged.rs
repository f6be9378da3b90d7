//! Batches whose texts are dictionaries, beside plain ones.

use std::sync::Arc;

use arrow::array::{Array, AsArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::json::ReaderBuilder;
use lance::dataset::scanner::ColumnOrdering;
use serde_json::{Value, json};
use tracerag_schemas::attributes::to_lists;
use tracerag_schemas::{Table, staged};

use super::upkeep::eager;
use super::{Fixture, NOON, offsets, rows, source};
use crate::{Epoch, SourceProgress, maintain};

/// Spans with names that repeat, plain or as dictionaries. These have a null value, as a column has in flight whose
/// value some resources lack.
pub(super) fn named(offsets: std::ops::Range<i64>, as_words: bool) -> RecordBatch {
    let batch = rows(Table::Spans, offsets.clone(), NOON);
    let names = |offset: i64| (offset % 7 != 0).then(|| format!("GET /{}", offset % 5));
    let (schema, mut columns) = (batch.schema(), batch.columns().to_vec());
    let index = schema.index_of("name").unwrap();
    columns[index] = match as_words {
        true => {
            let values: StringArray = std::iter::once(None).chain((0..5).map(|n| Some(format!("GET /{n}")))).collect();
            let key = |offset: i64| Some(if offset % 7 == 0 { 0 } else { 1 + (offset % 5) as i32 });
            let keys: Int32Array = offsets.map(key).collect();
            Arc::new(DictionaryArray::try_new(keys, Arc::new(values)).unwrap())
        }
        false => Arc::new(offsets.map(names).collect::<StringArray>()),
    };
    let mut fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[index] = fields[index].clone().with_data_type(columns[index].data_type().clone());
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// An epoch may bring the rows of a table in several forms. All are read as the table's type, found by a filter on a
/// dictionary's text, and the same after they were compacted into one fragment.
#[tokio::test]
async fn forms_mix_in_one_table() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let batches = [named(0..200, true), named(200..300, true), named(300..400, false), named(400..500, true)];
    let rows = batches.into_iter().map(|batch| (Table::Spans, batch)).collect();
    let progress = SourceProgress { source: source(0), to: 500, low_watermark: 500, stream_time: NOON };
    writer.write(Epoch { rows, sources: vec![progress], closed: vec![] }).await.unwrap();
    for is_compacted in [false, true] {
        if is_compacted {
            let report = maintain(&fixture.lake, &eager()).await.unwrap();
            assert!(report.compacted.iter().any(|(name, ..)| name.starts_with("spans/")), "{report:?}");
        }
        let lake = fixture.reopen().await;
        assert_eq!(offsets(&lake, Table::Spans).await, (0..500).collect::<Vec<i64>>());
        let head = lake.newest_head().await.unwrap();
        let (name, known) = head.of(Table::Spans).next().unwrap();
        let dataset = lake.dataset(name, known.version).await.unwrap();
        let mut scan = dataset.scan();
        scan.project(&["name", "kafka_offset"]).unwrap().filter("name = 'GET /3'").unwrap();
        let found = scan.try_into_batch().await.unwrap();
        let expected: Vec<i64> = (0..500).filter(|offset| offset % 7 != 0 && offset % 5 == 3).collect();
        let mut read = found["kafka_offset"].as_primitive::<Int64Type>().values().to_vec();
        read.sort_unstable();
        assert_eq!(read, expected, "compacted: {is_compacted}");
        assert!(found["name"].as_string::<i32>().iter().all(|name| name == Some("GET /3")));
    }
}

/// A span of the first offset with so many events, of which every tenth has no attributes, and one without events.
fn eventful(events: usize) -> RecordBatch {
    let batch = rows(Table::Spans, 0..2, NOON);
    let event = |n: usize| {
        let attributes =
            if n.is_multiple_of(10) { json!([]) } else { json!([{"keys": format!("k{}", n % 3), "values": "v"}]) };
        json!({"name": format!("e{}", n % 2), "attributes": attributes})
    };
    with_events(&batch, &[Value::Array((0..events).map(event).collect()), Value::Null])
}

/// The batch with these lists of events.
fn with_events(batch: &RecordBatch, lists: &[Value]) -> RecordBatch {
    let (schema, mut columns) = (batch.schema(), batch.columns().to_vec());
    let index = schema.index_of("events").unwrap();
    let field = Field::new("events", to_lists(schema.field(index).data_type()), true);
    let mut decoder =
        ReaderBuilder::new_with_field(field.clone()).with_batch_size(lists.len()).build_decoder().unwrap();
    decoder.serialize(lists).unwrap();
    columns[index] = Arc::clone(decoder.flush().unwrap().unwrap().column(0));
    let mut fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[index] = field;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Spans with few events and with very many are written and read as they came. Lance refuses dictionaries in a row of
/// very many, so a sender could stop a worker with one such span.
#[tokio::test]
async fn a_span_may_have_very_many_events() {
    for events in [1_000, 60_000] {
        let fixture = Fixture::new().await;
        let mut writer = fixture.worker("w", &[source(0)]).await;
        let batches = staged::stage(&eventful(events), &Table::Spans.lake_schema()).unwrap();
        let rows = batches.into_iter().map(|batch| (Table::Spans, batch)).collect();
        let progress = SourceProgress { source: source(0), to: 2, low_watermark: 2, stream_time: NOON };
        writer.write(Epoch { rows, sources: vec![progress], closed: vec![] }).await.unwrap();
        let lake = fixture.reopen().await;
        let head = lake.newest_head().await.unwrap();
        let (name, known) = head.of(Table::Spans).next().unwrap();
        let dataset = lake.dataset(name, known.version).await.unwrap();
        let mut scan = dataset.scan();
        scan.project(&["events"]).unwrap().filter("kafka_offset = 0").unwrap();
        let found = scan.try_into_batch().await.unwrap();
        let found = found["events"].as_list::<i32>().value(0);
        let (names, attributes) = (&found.as_struct()["name"], found.as_struct()["attributes"].as_map());
        let expected: StringArray = (0..events).map(|n| Some(format!("e{}", n % 2))).collect();
        assert_eq!(names.as_string::<i32>(), &expected);
        for n in 0..events {
            let keys: Vec<_> =
                attributes.value(n)["keys"].as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            let expected = if n % 10 == 0 { vec![] } else { vec![format!("k{}", n % 3)] };
            assert_eq!(keys, expected, "attributes of event {n} of {events}");
        }
    }
}

/// Spans of several epochs, some with very many events, are compacted. Guarantees that every column reads as before, and
/// that rows which take no dictionary do not stop a compaction.
#[tokio::test]
async fn compacted_rows_say_the_same() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let epochs =
        [named(0..300, true), shifted(eventful(60_000), 300), shifted(eventful(10), 302), named(304..600, false)];
    for batch in epochs {
        let to = 1 + batch["kafka_offset"].as_primitive::<Int64Type>().values().iter().copied().max().unwrap();
        let batches = staged::stage(&batch, &Table::Spans.lake_schema()).unwrap();
        let rows = batches.into_iter().map(|batch| (Table::Spans, batch)).collect();
        let progress = SourceProgress { source: source(0), to, low_watermark: to, stream_time: NOON };
        writer.write(Epoch { rows, sources: vec![progress], closed: vec![] }).await.unwrap();
    }
    let before = spans(&fixture).await;
    let report = maintain(&fixture.lake, &eager()).await.unwrap();
    assert!(report.compacted.iter().any(|(name, from, to)| name.starts_with("spans/") && to < from), "{report:?}");
    assert_eq!(spans(&fixture).await, before);
}

/// Spans with two events or none are compacted, and then compacted again with ones whose events have lost attributes.
/// Guarantees that counts read as before, whether one of them stands for all in their page or they differ.
#[tokio::test]
async fn counts_of_events_say_the_same() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    for (from, lost) in [(0, 0), (300, 0), (600, 3), (900, 0)] {
        let batch = counted(from..from + 300, lost);
        let batches = staged::stage(&batch, &Table::Spans.lake_schema()).unwrap();
        let rows = batches.into_iter().map(|batch| (Table::Spans, batch)).collect();
        let progress =
            SourceProgress { source: source(0), to: from + 300, low_watermark: from + 300, stream_time: NOON };
        writer.write(Epoch { rows, sources: vec![progress], closed: vec![] }).await.unwrap();
        let before = spans(&fixture).await;
        maintain(&fixture.lake, &eager()).await.unwrap();
        assert_eq!(spans(&fixture).await, before, "from {from}");
    }
    let events = spans(&fixture).await["events"].clone();
    let of_row = |row: usize| {
        let events = events.as_list::<i32>().value(row);
        events.as_struct()["dropped_attributes_count"].as_primitive::<Int64Type>().values().to_vec()
    };
    assert_eq!(of_row(1), [0, 0]);
    assert_eq!(of_row(601), [0, 3]);
}

/// Spans of which every third has no event; of the others' events the second has lost so many attributes.
fn counted(offsets: std::ops::Range<i64>, lost: i64) -> RecordBatch {
    let batch = rows(Table::Spans, offsets.clone(), NOON);
    let event = |lost: i64| json!({"name": "e", "attributes": [], "dropped_attributes_count": lost});
    let lists: Vec<Value> =
        offsets.map(|offset| if offset % 3 == 0 { Value::Null } else { json!([event(0), event(lost)]) }).collect();
    with_events(&batch, &lists)
}

/// All spans of the newest head, by offset.
async fn spans(fixture: &Fixture) -> RecordBatch {
    let lake = fixture.reopen().await;
    let head = lake.newest_head().await.unwrap();
    let (name, known) = head.of(Table::Spans).next().unwrap();
    let mut scan = lake.dataset(name, known.version).await.unwrap().scan();
    scan.order_by(Some(vec![ColumnOrdering::asc_nulls_first("kafka_offset".to_owned())])).unwrap();
    scan.try_into_batch().await.unwrap()
}

/// The batch with offsets from another number on.
fn shifted(batch: RecordBatch, from: i64) -> RecordBatch {
    let index = batch.schema_ref().index_of("kafka_offset").unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = Arc::new((from..).take(batch.num_rows()).map(Some).collect::<Int64Array>());
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}
