//! A lake with many incidents: texts of the shape that failures have, embedded by hashed n-grams.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray, new_null_array,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracerag_index::incidents::{Embedding, Indexer};
use tracerag_index::{Epoch, Lake, LakeOptions, MaintainOptions, SourceProgress, Writer, maintain};
use tracerag_schemas::{SourcePartition, Table};

const TYPES: [&str; 12] = [
    "java.lang.IllegalStateException",
    "java.net.SocketTimeoutException",
    "org.springframework.dao.DataAccessException",
    "ValueError",
    "KeyError",
    "asyncpg.exceptions.DeadlockDetectedError",
    "TypeError",
    "*errors.errorString",
    "*net.OpError",
    "System.NullReferenceException",
    "ActiveRecord::RecordNotFound",
    "context.DeadlineExceeded",
];
const VERBS: [&str; 16] = [
    "cannot reserve",
    "failed to load",
    "timed out writing",
    "refused",
    "could not parse",
    "lost",
    "rejected",
    "dropped",
    "duplicate",
    "missing",
    "expired",
    "overflowed",
    "deadlocked on",
    "denied",
    "corrupted",
    "exhausted",
];
const NOUNS: [&str; 24] = [
    "connection pool",
    "cart",
    "invoice",
    "stock level",
    "payment intent",
    "session",
    "price list",
    "shipment",
    "currency table",
    "user profile",
    "ledger entry",
    "search index",
    "coupon",
    "refund",
    "webhook",
    "queue",
    "lock",
    "schema",
    "certificate",
    "thread pool",
    "cache line",
    "quota",
    "offer",
    "address",
];
const PLACES: [&str; 12] = [
    "checkout",
    "payments",
    "catalog",
    "shipping",
    "search",
    "ledger",
    "identity",
    "pricing",
    "mail",
    "ranking",
    "inventory",
    "gateway",
];

/// Time of all rows: 2026-11-23 at noon, in ns.
const NOON: i64 = 1_795_435_200_000_000_000;
/// Rows of an epoch.
const EPOCH: usize = 10_000;

/// Makes a lake with `incidents` different incidents, their vectors and indices; equal seeds give equal texts.
///
/// # Errors
/// When the lake cannot be written.
pub async fn make(uri: &str, incidents: usize, seed: u64) -> Result<(), Box<dyn Error>> {
    let lake = Lake::open_or_create(LakeOptions::new(uri)).await?;
    let mut writer = Writer::new(lake.clone(), "bench".to_owned()).await?;
    let source = SourcePartition::new("bench", "otlp_spans", 0);
    writer.claim(std::slice::from_ref(&source)).await?;
    let mut rng = SmallRng::seed_from_u64(seed);
    for from in (0..incidents).step_by(EPOCH) {
        let count = EPOCH.min(incidents - from);
        let to = (from + count) as i64;
        let rows = vec![(Table::IncidentCounts, rows(&mut rng, from, count)?)];
        let sources = vec![SourceProgress { source: source.clone(), to, low_watermark: to, stream_time: NOON }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await?;
    }
    maintain(&lake, &MaintainOptions::default()).await?;
    let embedding = Arc::new(Embedding::new("hashed-ngrams", Path::new("/nonexistent")));
    Indexer::new(lake, embedding).catch_up().await?;
    Ok(())
}

fn rows(rng: &mut SmallRng, from: usize, count: usize) -> Result<RecordBatch, Box<dyn Error>> {
    let pick = |rng: &mut SmallRng, words: &[&'static str]| words[rng.random_range(0..words.len())];
    let mut texts: Vec<[String; 5]> = Vec::with_capacity(count);
    for number in from..from + count {
        let (kind, place) = (pick(rng, &TYPES), pick(rng, &PLACES));
        // The method's name makes each text its own, as the place of a failure does.
        let method = format!("{}{}", pick(rng, &NOUNS).replace(' ', "_"), number);
        let said = format!("{} {} of {}", pick(rng, &VERBS), pick(rng, &NOUNS), pick(rng, &NOUNS));
        let message = format!("{said} {}", rng.random_range(10_000..99_999));
        let text = format!("{kind}: {said} <num>\nat {place}.{method}");
        texts.push([format!("{number:032x}"), kind.to_owned(), place.to_owned(), message, text]);
    }
    let column = |index: usize| -> ArrayRef {
        Arc::new(texts.iter().map(|row| Some(row[index].as_str())).collect::<StringArray>())
    };
    let time = || -> ArrayRef { Arc::new(TimestampNanosecondArray::from(vec![NOON; count]).with_timezone("UTC")) };
    let schema = Table::IncidentCounts.lake_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "tenant_id" => Arc::new(StringArray::from(vec!["default"; count])) as ArrayRef,
            "fingerprint" => column(0),
            "exception_type" => column(1),
            "service_name" => column(2),
            "message" | "title" => column(3),
            "text" => column(4),
            "fingerprint_version" => Arc::new(Int32Array::from(vec![1; count])),
            "failure_count" | "trace_count" => Arc::new(Int64Array::from(vec![1; count])),
            "first_seen" | "last_seen" | "ingested_at" => time(),
            _ => new_null_array(field.data_type(), count),
        })
        .collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}
