//! A lake with many incidents: texts of the shape that failures have, embedded by hashed n-grams, which take
//! microseconds where a sentence model takes milliseconds.

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

/// Rows of an epoch.
const EPOCH: usize = 10_000;
/// How long before the present incidents were first seen at most, in ns: 30 days.
const AGE: i64 = 30 * 86_400 * 1_000_000_000;

/// What a lake is to hold; equal ones give equal texts.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Tenants.
    pub tenants: usize,
    /// Different incidents of each, with one failure each.
    pub incidents: usize,
    /// Of what is drawn.
    pub seed: u64,
    /// The present, in ns since the epoch.
    pub now: i64,
}

impl Shape {
    /// A tenant by its number.
    pub fn tenant(&self, number: usize) -> String {
        if self.tenants == 1 { String::from("default") } else { format!("tenant-{number:05}") }
    }

    /// Incidents of all tenants.
    pub fn all(&self) -> usize {
        self.tenants * self.incidents
    }
}

/// The fingerprint of an incident by its number among those of all tenants.
pub fn fingerprint(number: usize) -> String {
    format!("{number:032x}")
}

/// Where the rows of these lakes come from.
pub fn source() -> SourcePartition {
    SourcePartition::new("bench", "otlp_spans", 0)
}

/// An epoch with rows of counts and failures, up to an offset.
pub fn epoch(rows: Vec<(Table, RecordBatch)>, to: i64, stream_time: i64) -> Epoch {
    let progress = SourceProgress { source: source(), to, low_watermark: to, stream_time };
    Epoch { rows, sources: vec![progress], closed: vec![] }
}

/// Makes a lake of a shape, with its vectors and indices.
///
/// # Errors
/// When the lake cannot be written.
pub async fn make(uri: &str, shape: &Shape) -> Result<(), Box<dyn Error>> {
    let lake = Lake::open_or_create(LakeOptions::new(uri)).await?;
    let mut writer = Writer::new(lake.clone(), "bench".to_owned()).await?;
    writer.claim(&[source()]).await?;
    let mut rng = SmallRng::seed_from_u64(shape.seed);
    for from in (0..shape.all()).step_by(EPOCH) {
        let count = EPOCH.min(shape.all() - from);
        let drawn = Drawn::new(&mut rng, shape, from, count);
        writer.write(epoch(drawn.rows()?, (from + count) as i64, shape.now)).await?;
    }
    maintain(&lake, &MaintainOptions::default()).await?;
    Indexer::new(lake, embedding()).catch_up().await?;
    Ok(())
}

/// What embeds the texts of these lakes.
pub fn embedding() -> Arc<Embedding> {
    Arc::new(Embedding::new("hashed-ngrams", Path::new("/nonexistent")))
}

/// Incidents that are drawn, one a row.
#[derive(Debug)]
pub struct Drawn {
    tenants: Vec<String>,
    fingerprints: Vec<String>,
    kinds: Vec<&'static str>,
    places: Vec<&'static str>,
    messages: Vec<String>,
    texts: Vec<String>,
    first_seen: Vec<i64>,
    last_seen: Vec<i64>,
    now: i64,
}

impl Drawn {
    /// So many incidents from a number on.
    pub fn new(rng: &mut SmallRng, shape: &Shape, from: usize, count: usize) -> Self {
        let pick = |rng: &mut SmallRng, words: &[&'static str]| words[rng.random_range(0..words.len())];
        let (tenants, fingerprints, kinds, places) = (vec![], vec![], vec![], vec![]);
        let (messages, texts, first_seen, last_seen) = (vec![], vec![], vec![], vec![]);
        let now = shape.now;
        let mut drawn = Self { tenants, fingerprints, kinds, places, messages, texts, first_seen, last_seen, now };
        for number in from..from + count {
            let (kind, place) = (pick(rng, &TYPES), pick(rng, &PLACES));
            // The method's name makes each text its own, as the place of a failure does.
            let method = format!("{}{}", pick(rng, &NOUNS).replace(' ', "_"), number);
            let said = format!("{} {} of {}", pick(rng, &VERBS), pick(rng, &NOUNS), pick(rng, &NOUNS));
            let age = rng.random_range(0..AGE);
            drawn.tenants.push(shape.tenant(number / shape.incidents.max(1) % shape.tenants.max(1)));
            drawn.fingerprints.push(fingerprint(number));
            drawn.kinds.push(kind);
            drawn.places.push(place);
            drawn.messages.push(format!("{said} {}", rng.random_range(10_000..99_999)));
            drawn.texts.push(format!("{kind}: {said} <num>\nat {place}.{method}"));
            drawn.first_seen.push(now - age);
            drawn.last_seen.push(now - rng.random_range(0..=age));
        }
        drawn
    }

    /// The messages.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// Rows of counts and of failures.
    ///
    /// # Errors
    /// When they do not fit the tables.
    pub fn rows(&self) -> Result<Vec<(Table, RecordBatch)>, Box<dyn Error>> {
        Ok(vec![
            (Table::IncidentCounts, self.batch(Table::IncidentCounts)?),
            (Table::Failures, self.batch(Table::Failures)?),
        ])
    }

    fn batch(&self, table: Table) -> Result<RecordBatch, Box<dyn Error>> {
        let count = self.fingerprints.len();
        let texts = |texts: &[String]| -> ArrayRef { Arc::new(StringArray::from_iter_values(texts)) };
        let names = |names: &[&'static str]| -> ArrayRef { Arc::new(StringArray::from_iter_values(names)) };
        let times = |times: &[i64]| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from(times.to_vec()).with_timezone("UTC"))
        };
        let schema = table.lake_schema();
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "tenant_id" => texts(&self.tenants),
                "fingerprint" | "trace_id" | "failure_id" => texts(&self.fingerprints),
                "exception_type" => names(&self.kinds),
                "service_name" => names(&self.places),
                "message" | "title" => texts(&self.messages),
                "text" => texts(&self.texts),
                "fingerprint_version" | "revision" => Arc::new(Int32Array::from(vec![1; count])),
                "failure_count" | "trace_count" => Arc::new(Int64Array::from(vec![1; count])),
                "first_seen" => times(&self.first_seen),
                "last_seen" | "time" => times(&self.last_seen),
                "ingested_at" => times(&vec![self.now; count]),
                _ => new_null_array(field.data_type(), count),
            }
        });
        let columns = columns.collect();
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    }
}
