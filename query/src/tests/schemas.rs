//! A lake of the schema before that of the release that reads it, and the same lake when it was migrated.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field};
use arrow::json::ReaderBuilder;
use serde_json::json;
use tracerag_index::{Epoch, Lake, LakeOptions, SourceProgress, Writer, migrate};
use tracerag_schemas::time::SECOND;
use tracerag_schemas::{Schemas, SourcePartition, Table};

use super::lake::{NOON, TestLake, ask, at};
use crate::snapshot::Read;
use crate::{Session, SessionOptions};

/// The questions that name the new column, with those that have the same answer.
const QUESTIONS: [(&str, &str); 6] = [
    ("select count(*) n from spans where tone is null", "select count(*) n from spans"),
    ("select count(tone) n from spans", "select count(*) n from spans where false"),
    ("select count(*) n from spans where tone = 'bright'", "select count(*) n from spans where false"),
    (
        "select span_id from spans where tone = 'bright' or name = 'charge'",
        "select span_id from spans where name = 'charge'",
    ),
    (
        "select span_id from spans where tone is null and trace_id is not null order by 1 limit 2",
        "select span_id from spans order by 1 limit 2",
    ),
    ("select count(*) n from (select name from spans where tone is null limit 1)", "select 1::bigint n"),
];

async fn session(lake: &Lake) -> Session {
    Session::open(lake, SessionOptions::new("acme")).await.unwrap()
}

async fn answers_are_those_of_null(lake: &Lake) {
    let session = session(lake).await;
    for (question, same) in QUESTIONS {
        assert_eq!(ask(&session, question).await, ask(&session, same).await, "{question}");
    }
    let read = Read { columns: &["name", "tone"], ..Read::default() };
    let rows = session.snapshot().read(Table::Spans, read).await.unwrap();
    assert!(!rows.is_empty());
    for batch in rows {
        assert_eq!(batch.column_by_name("tone").unwrap().null_count(), batch.num_rows());
    }
}

/// What the lake has no column for is null: where it is selected, counted, filtered by, alone or beside columns that
/// are there, with a limit, and for bundles. The same when the lake has the column and old rows have no value; a new
/// row's value is found then.
#[tokio::test]
async fn a_column_that_the_lake_lacks_is_null() {
    let lake = TestLake::example(false, 100).await;
    let release = Schemas::default().with_next(&[(Table::Spans, Field::new("tone", DataType::Utf8, true))]);
    let schema = release.newest(Table::Spans);
    let options = LakeOptions { schemas: Arc::new(release), ..LakeOptions::new(lake.lake.uri()) };
    let newer = Lake::open(options).await.unwrap();
    answers_are_those_of_null(&newer).await;

    let source = SourcePartition::new("cluster", "otlp_spans", 0);
    let mut writer = Writer::new(newer.clone(), String::from("heir")).await.unwrap();
    let next = writer.claim(std::slice::from_ref(&source)).await.unwrap()[0].next.unwrap();
    migrate(&newer, "m").await.unwrap();
    answers_are_those_of_null(&newer).await;

    let mut decoder = ReaderBuilder::new(schema).build_decoder().unwrap();
    let span = json!({"tenant_id": "acme", "trace_id": "00", "span_id": "01", "name": "late", "tone": "bright",
                      "kafka_topic": "otlp_spans", "kafka_partition": 0, "kafka_offset": next, "ingested_at": at(101)});
    decoder.serialize(&[span]).unwrap();
    let rows = vec![(Table::Spans, decoder.flush().unwrap().unwrap())];
    let sources =
        vec![SourceProgress { source, to: next + 1, low_watermark: next + 1, stream_time: NOON + 101 * SECOND }];
    writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
    let found = ask(&session(&newer).await, "select name, tone from spans where tone = 'bright'").await;
    assert_eq!(found, json!([{"name": "late", "tone": "bright"}]));
}
