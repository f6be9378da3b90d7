//! The search as a whole, on real Lance tables.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, ListBuilder, StringArray, StringBuilder, TimestampNanosecondArray, new_null_array,
};
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracerag_index::failures::mask::mask;
use tracerag_index::incidents::{Embedding, Indexer, IndexerOptions};
use tracerag_index::{Epoch, Lake, LakeOptions, SourceProgress, Writer};
use tracerag_schemas::{SourcePartition, Table};

use super::probe::{BUNDLE_PROBES, FailureText, Question};
use super::{Asked, SearchCache, SharedMerges, SimilarIncident, SimilarRequest, similar, similar_to, similar_with};
use crate::error::QueryError;
use crate::json::rows as shown;
use crate::session::{Session, SessionOptions};
use crate::snapshot::Snapshot;
use crate::tests::lake::{batch as rows, row};

mod forms;
mod further;
mod merged;
mod merges;
mod model;
mod neighbours;

const SECOND: i64 = 1_000_000_000;
/// An instant of 2026-11-23.
const NOON: i64 = 1_795_435_200 * SECOND;
const TRACE: &str = "0123456789abcdef0123456789abcdef";

/// An incident as one row of counts.
#[derive(Clone)]
struct Incident {
    tenant: &'static str,
    fingerprint: String,
    message: String,
    service: &'static str,
    version: &'static str,
    environment: &'static str,
    seen: i64,
    context: Option<&'static str>,
    shape: Option<&'static str>,
}

fn incident(fingerprint: &str, message: &str) -> Incident {
    Incident {
        tenant: "default",
        fingerprint: fingerprint.to_owned(),
        message: message.to_owned(),
        service: "payments",
        version: "1.9.0",
        environment: "production",
        seen: NOON,
        context: None,
        shape: None,
    }
}

struct Fixture {
    _folder: TempDir,
    lake: Lake,
    writer: Writer,
    offset: i64,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
        let mut writer = Writer::new(lake.clone(), "worker".to_owned()).await.unwrap();
        writer.claim(&[source()]).await.unwrap();
        Self { _folder: folder, lake, writer, offset: 0 }
    }

    async fn write(&mut self, table: Table, rows: RecordBatch) {
        self.offset += 1;
        let progress =
            SourceProgress { source: source(), to: self.offset, low_watermark: self.offset, stream_time: NOON };
        let epoch = Epoch { rows: vec![(table, rows)], sources: vec![progress], closed: vec![] };
        self.writer.write(epoch).await.unwrap();
    }

    async fn incidents(&mut self, incidents: &[Incident]) {
        self.write(Table::IncidentCounts, counts(incidents)).await;
    }

    /// A failure of the trace.
    async fn failure(&mut self, tenant: &str, fingerprint: &str, message: &str) {
        self.write(Table::Failures, failure_row(tenant, fingerprint, message)).await;
    }

    async fn embed(&self, embedding: &Embedding) {
        Indexer::new(self.lake.clone(), Arc::new(embedding.clone())).catch_up().await.unwrap();
    }

    async fn ask(&self, embedding: Option<&Embedding>, request: &SimilarRequest) -> Vec<SimilarIncident> {
        self.ask_as("default", embedding, request).await.unwrap()
    }

    async fn ask_as(
        &self,
        tenant: &str,
        embedding: Option<&Embedding>,
        request: &SimilarRequest,
    ) -> Result<Vec<SimilarIncident>, QueryError> {
        let head = Arc::new(self.lake.newest_head().await.unwrap());
        similar(&Snapshot::new(self.lake.clone(), head, tenant), embedding, request).await
    }
}

fn failure_row(tenant: &str, fingerprint: &str, message: &str) -> RecordBatch {
    batch(Table::Failures, 1, &|name| match name {
        "tenant_id" => Some(texts(vec![tenant.to_owned()])),
        "trace_id" => Some(texts(vec![TRACE.to_owned()])),
        "fingerprint" => Some(texts(vec![fingerprint.to_owned()])),
        "message" => Some(texts(vec![message.to_owned()])),
        "time" | "ingested_at" => Some(times(vec![NOON])),
        _ => None,
    })
}

fn source() -> SourcePartition {
    SourcePartition::new("cluster", "otlp_spans", 0)
}

fn hashed() -> Embedding {
    Embedding::new("hashed-ngrams", Path::new("/nonexistent"))
}

fn texts(values: Vec<String>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(values).with_timezone("UTC"))
}

fn lists(values: impl Iterator<Item = String>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for value in values {
        list.append_value([Some(value)]);
    }
    Arc::new(list.finish())
}

fn batch(table: Table, rows: usize, column: &dyn Fn(&str) -> Option<ArrayRef>) -> RecordBatch {
    let schema = table.lake_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(field.name()).unwrap_or_else(|| new_null_array(field.data_type(), rows)))
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn counts(incidents: &[Incident]) -> RecordBatch {
    let text = |get: &dyn Fn(&Incident) -> String| Some(texts(incidents.iter().map(get).collect()));
    let time = || Some(times(incidents.iter().map(|incident| incident.seen).collect()));
    batch(Table::IncidentCounts, incidents.len(), &|name| match name {
        "tenant_id" => text(&|incident| incident.tenant.to_owned()),
        "fingerprint" => text(&|incident| incident.fingerprint.clone()),
        "title" | "text" => text(&|incident| mask(&incident.message)),
        "message" => text(&|incident| incident.message.clone()),
        "service_name" => text(&|incident| incident.service.to_owned()),
        "exception_type" => text(&|_| "Error".to_owned()),
        "deployment_environment_name" => text(&|incident| incident.environment.to_owned()),
        "context" => Some(Arc::new(incidents.iter().map(|incident| incident.context).collect::<StringArray>())),
        "shape" => Some(Arc::new(incidents.iter().map(|incident| incident.shape).collect::<StringArray>())),
        "first_seen" | "last_seen" | "ingested_at" => time(),
        "failure_count" | "trace_count" => Some(Arc::new(Int64Array::from(vec![1; incidents.len()]))),
        "versions" => Some(lists(incidents.iter().map(|incident| incident.version.to_owned()))),
        "example_trace_ids" => {
            Some(lists(incidents.iter().map(|incident| format!("trace of {}", incident.fingerprint))))
        }
        _ => None,
    })
}

fn fingerprints(found: &[SimilarIncident]) -> Vec<&str> {
    found.iter().map(|incident| incident.fingerprint.as_str()).collect()
}

fn about(text: &str, k: usize) -> SimilarRequest {
    SimilarRequest::about(text, k)
}

/// Without any model a question is answered by words, and every reason says that and why.
#[tokio::test]
async fn words_answer_without_a_model() {
    let mut fixture = Fixture::new().await;
    fixture.incidents(&[incident("f1", "decimal overflow in rounding"), incident("f2", "connection refused")]).await;
    let nowhere = tempfile::tempdir().unwrap();
    let absent = Embedding::new("all-MiniLM-L6-v2", nowhere.path());
    let found = fixture.ask(Some(&absent), &about("overflow while rounding", 5)).await;
    assert_eq!(fingerprints(&found), ["f1"]);
    assert!(found[0].reason.contains("shares the words overflow, rounding"), "{}", found[0].reason);
    assert!(
        found[0].reason.ends_with("by words only: the sentence model all-MiniLM-L6-v2 is not installed"),
        "{}",
        found[0].reason
    );
    assert_eq!(found[0].distance, None);
    let found = fixture.ask(None, &about("refused", 5)).await;
    assert!(found[0].reason.contains("no sentence model is configured"));
}

/// An identifier is found by words, though its masked text is that of many others; and an incident that
/// came after the last embedding is found as well.
#[tokio::test]
async fn an_identifier_is_found_by_words() {
    let mut fixture = Fixture::new().await;
    let many: Vec<Incident> = (0..200)
        .map(|n| incident(&format!("f{n:03}"), &format!("cannot replicate block blk_{}81937{n:03} to node{n}", n + 1)))
        .collect();
    fixture.incidents(&many).await;
    let wanted = about("what happened to blk_4381937042?", 3);
    for indexed_rows in [100_000, 100] {
        let options = IndexerOptions { indexed_rows, ..IndexerOptions::default() };
        // The second indexer finds nothing new, but a straggler makes it look after the table.
        fixture.incidents(&[incident(&format!("late {indexed_rows}"), "nothing to do with it")]).await;
        let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
        assert!(indexer.catch_up().await.unwrap() > 0);
        let found = fixture.ask(Some(&hashed()), &wanted).await;
        assert_eq!(found[0].fingerprint, "f042", "{found:?}");
        assert!(found[0].reason.starts_with("contains blk_4381937042"), "{}", found[0].reason);
    }
    fixture.incidents(&[incident("fresh", "cannot delete volume vol-0a1b2c3d4e5f67890")]).await;
    let found = fixture.ask(Some(&hashed()), &about("vol-0a1b2c3d4e5f67890", 3)).await;
    assert_eq!(found[0].fingerprint, "fresh", "{found:?}");
    assert!(found[0].reason.contains("not embedded yet"), "{}", found[0].reason);
}

/// The queue of texts to be embedded grows long. Guarantees that what waits is found by its words, and that every
/// incident of an answer says how much waits, those with vectors as well; when all is embedded again, none does.
#[tokio::test]
async fn an_answer_says_that_the_queue_is_long() {
    let mut fixture = Fixture::new().await;
    let many = |name: &str, count: usize| -> Vec<Incident> {
        let message = |n: usize| format!("cannot reserve the {name} of shelf{n}x");
        (0..count).map(|n| incident(&format!("{name}{n}"), &message(n))).collect()
    };
    fixture.incidents(&many("stock", 2_000)).await;
    fixture.embed(&hashed()).await;
    fixture.incidents(&many("lorry", 150)).await;
    let says = |found: &SimilarIncident| found.reason.contains("150 incidents are not embedded yet");
    let found = fixture.ask(Some(&hashed()), &about("the lorry of shelf7x", 10)).await;
    assert!(found.iter().any(|found| found.fingerprint == "lorry7" && found.distance.is_none()), "{found:?}");
    assert!(found.iter().any(|found| found.distance.is_some()) && found.iter().all(says), "{found:?}");
    fixture.embed(&hashed()).await;
    let found = fixture.ask(Some(&hashed()), &about("the lorry of shelf7x", 10)).await;
    assert!(!found.is_empty() && !found.iter().any(says), "{found:?}");
}

/// Filters hold before the search: although a thousand incidents of another service are nearer, the k of
/// the service asked for are found; the same for versions, environment and time.
#[tokio::test]
async fn filters_hold_before_the_search() {
    let mut fixture = Fixture::new().await;
    let mut all: Vec<Incident> =
        (0..1_000).map(|n| incident(&format!("near{n}"), &format!("decimal overflow in rounding step{n}x"))).collect();
    for n in 0..3 {
        let far = incident(&format!("far{n}"), &format!("socket closed by peer number{n}x"));
        all.push(Incident {
            service: "checkout",
            version: "2.1.0",
            environment: "staging",
            seen: NOON + 60 * SECOND,
            ..far
        });
    }
    fixture.incidents(&all).await;
    let options = IndexerOptions { indexed_rows: 500, ..IndexerOptions::default() };
    Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options).catch_up().await.unwrap();
    let base = about("decimal overflow in rounding", 3);
    let narrow = [
        SimilarRequest { service: Some("checkout".to_owned()), ..base.clone() },
        SimilarRequest { min_version: Some("v2.0".to_owned()), ..base.clone() },
        SimilarRequest { environment: Some("staging".to_owned()), ..base.clone() },
        SimilarRequest { since: Some(NOON + SECOND), ..base.clone() },
    ];
    for request in narrow {
        let mut found = fixture.ask(Some(&hashed()), &request).await;
        found.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        assert_eq!(fingerprints(&found), ["far0", "far1", "far2"], "{request:?}");
    }
    let none = SimilarRequest { max_version: Some("1.0".to_owned()), ..base.clone() };
    assert!(fixture.ask(Some(&hashed()), &none).await.is_empty());
    let found = fixture.ask(Some(&hashed()), &base).await;
    assert!(found.len() == 3 && found.iter().all(|incident| incident.fingerprint.starts_with("near")), "{found:?}");
}

/// A filter that allows more incidents than can be listed holds all the same, before and after the table has
/// indices, and follows what comes later; what it kept is of no use to another tenant.
#[tokio::test]
async fn wide_filters_hold_as_well() {
    let mut fixture = Fixture::new().await;
    let mut all: Vec<Incident> = (0..1_200)
        .map(|n| incident(&format!("in{n}"), &format!("socket closed by peer number{n}x")))
        .chain((0..50).map(|n| {
            let near = incident(&format!("out{n}"), &format!("decimal overflow in step{n}x"));
            Incident { environment: "staging", ..near }
        }))
        .collect();
    all.push(Incident { tenant: "other", ..incident("theirs", "decimal overflow") });
    fixture.incidents(&all).await;
    let cache = SearchCache::default();
    let request =
        SimilarRequest { environment: Some("production".to_owned()), ..about("decimal overflow of a socket", 5) };
    for (indexed_rows, message) in [(100_000, "decimal overflow of sockets"), (500, "decimal overflow of a socket")] {
        fixture.incidents(&[incident(&format!("in late {indexed_rows}"), message)]).await;
        let options = IndexerOptions { indexed_rows, ..IndexerOptions::default() };
        Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options).catch_up().await.unwrap();
        let head = Arc::new(fixture.lake.newest_head().await.unwrap());
        let snapshot = Snapshot::new(fixture.lake.clone(), Arc::clone(&head), "default");
        let found = similar_with(&snapshot, Some(&hashed()), &cache, &request).await.unwrap();
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|incident| incident.fingerprint.starts_with("in")), "{found:?}");
        assert_eq!(found[0].fingerprint, format!("in late {indexed_rows}"), "{found:?}");
        let again = similar_with(&snapshot, Some(&hashed()), &cache, &request).await.unwrap();
        assert_eq!(again, found);
        let other = Snapshot::new(fixture.lake.clone(), head, "other");
        let theirs = similar_with(&other, Some(&hashed()), &cache, &request).await.unwrap();
        assert_eq!(fingerprints(&theirs), ["theirs"]);
    }
}

/// Another tenant's incidents, traces and failures do not exist, however near they are.
#[tokio::test]
async fn tenants_do_not_meet() {
    let mut fixture = Fixture::new().await;
    let other = Incident { tenant: "other", ..incident("theirs", "decimal overflow") };
    fixture.incidents(&[other, incident("ours", "something else entirely")]).await;
    fixture.failure("other", "theirs", "decimal overflow").await;
    for embedded in [false, true] {
        if embedded {
            fixture.embed(&hashed()).await;
        }
        let found = fixture.ask(Some(&hashed()), &about("decimal overflow", 10)).await;
        assert!(!fingerprints(&found).contains(&"theirs"), "{found:?}");
        let refused = fixture.ask_as("default", Some(&hashed()), &about(TRACE, 10)).await;
        assert!(matches!(refused, Err(QueryError::TraceUnknown { .. })), "{refused:?}");
        let found = fixture.ask_as("other", Some(&hashed()), &about(TRACE, 10)).await.unwrap();
        assert_eq!(fingerprints(&found), ["theirs"]);
    }
}

/// A table of vectors that has one tenant's rows only is searched as it is, until another tenant's come. Guarantees that
/// what was found out of one version does not hold for the next, nor for another tenant.
#[tokio::test]
async fn one_tenant_alone_is_not_filtered() {
    async fn ask(fixture: &Fixture, cache: &SearchCache, tenant: &str) -> Vec<String> {
        let head = Arc::new(fixture.lake.newest_head().await.unwrap());
        let snapshot = Snapshot::new(fixture.lake.clone(), head, tenant);
        let found = similar_with(&snapshot, Some(&hashed()), cache, &about("decimal overflow", 10)).await.unwrap();
        found.into_iter().map(|incident| incident.fingerprint).collect()
    }
    let mut fixture = Fixture::new().await;
    let cache = SearchCache::default();
    fixture.incidents(&[incident("ours", "decimal overflow of sums")]).await;
    fixture.embed(&hashed()).await;
    for _ in 0..2 {
        assert_eq!(ask(&fixture, &cache, "default").await, ["ours"]);
        assert!(ask(&fixture, &cache, "other").await.is_empty());
    }
    fixture.incidents(&[Incident { tenant: "other", ..incident("theirs", "decimal overflow of taxes") }]).await;
    fixture.embed(&hashed()).await;
    for _ in 0..2 {
        assert_eq!(ask(&fixture, &cache, "default").await, ["ours"]);
        assert_eq!(ask(&fixture, &cache, "other").await, ["theirs"]);
    }
}

/// Of a trace, its own incident comes first, with its history and its newest fix that was not wrong; then
/// what is alike. Of several incidents with one text, one stands for all and says so.
#[tokio::test]
async fn a_traces_own_incident_comes_first() {
    let mut fixture = Fixture::new().await;
    let own = incident("own", "decimal overflow for order 4711");
    let later = Incident { seen: NOON + SECOND, ..own.clone() };
    let copies =
        ["copy1", "copy2"].map(|id| Incident { service: "billing", ..incident(id, "decimal overflow for order 12") });
    fixture.incidents(&[own, later, copies[0].clone(), copies[1].clone(), incident("far", "connection refused")]).await;
    fixture.failure("default", "own", "decimal overflow for order 4711").await;
    let fixes = batch(Table::Fixes, 3, &|name| match name {
        "tenant_id" => Some(texts(vec!["default".to_owned(), "default".to_owned(), "other".to_owned()])),
        "fingerprint" => Some(texts(vec!["own".to_owned(); 3])),
        "fixed_at" => Some(times(vec![NOON, NOON + SECOND, NOON + 2 * SECOND])),
        "summary" => Some(texts(vec!["round half even".to_owned(), "restart it".to_owned(), "theirs".to_owned()])),
        "outcome" => Some(texts(vec!["fixed".to_owned(), "wrong".to_owned(), "fixed".to_owned()])),
        _ => None,
    });
    fixture.lake.append_side(Table::Fixes, fixes).await.unwrap();
    fixture.embed(&hashed()).await;
    let found = fixture.ask(Some(&hashed()), &about(TRACE, 2)).await;
    assert_eq!(found[0].fingerprint, "own");
    assert_eq!((found[0].distance, found[0].failure_count, found[0].trace_count), (Some(0.0), 2, 2));
    assert!(
        found[0].reason.starts_with("same fingerprint: 2 failures in 2 traces since 2026-11-23"),
        "{}",
        found[0].reason
    );
    assert_eq!(found[0].fix_summary.as_deref(), Some("round half even"));
    let came_back: Vec<bool> = found[0].fixes.iter().map(|fix| fix.came_back).collect();
    assert_eq!(came_back, [false, true], "seen at the moment of the newer fix, and after the older one");
    assert!(found[1].fingerprint.starts_with("copy"), "{found:?}");
    assert!(
        found[1].reason.contains("same text") && found[1].reason.contains("1 more incident has this text"),
        "{}",
        found[1].reason
    );
    assert!(found[1].distance.unwrap() < 1e-5);
    assert_eq!(found[1].example_trace_id.as_deref().map(|id| &id[..13]), Some("trace of copy"));
}

/// A bundle asks with the failures that it has read, and is answered as the trace is that has them in the
/// lake; beyond two different texts it asks no more, but its own incidents come first all the same.
#[tokio::test]
async fn a_bundle_asks_with_what_it_has_read() {
    let mut fixture = Fixture::new().await;
    let messages = [("own1", "decimal overflow"), ("own2", "connection refused"), ("own3", "queue is full")];
    let own = messages.map(|(fingerprint, message)| incident(fingerprint, message));
    fixture.incidents(&own).await;
    fixture.incidents(&[incident("like1", "decimal overflow in tax"), incident("like3", "queue is full again")]).await;
    fixture.embed(&hashed()).await;
    let head = Arc::new(fixture.lake.newest_head().await.unwrap());
    let snapshot = Snapshot::new(fixture.lake.clone(), head, "default");
    let read = |count: usize| {
        let rows = messages[..count].iter().map(|(fingerprint, message)| failure_row("default", fingerprint, message));
        rows.flat_map(|rows| FailureText::of_batch(&rows).unwrap()).collect::<Vec<_>>()
    };
    let (model, cache, merges) = (hashed(), SearchCache::default(), SharedMerges::default());
    let of_bundle = |failures, k| similar_to(&snapshot, Some(&model), &cache, &merges, (TRACE, failures), k);
    let of_one = of_bundle(read(1), 2).await.unwrap();
    assert_eq!(fingerprints(&of_one), ["own1", "like1"]);
    let of_three = of_bundle(read(3), 5).await.unwrap();
    assert_eq!(&fingerprints(&of_three)[..3], ["own1", "own2", "own3"]);
    let question = Question::of_failures(&snapshot, TRACE.to_owned(), read(3), BUNDLE_PROBES).await.unwrap();
    assert_eq!((question.own.len(), question.probes.len()), (3, 2));
    fixture.failure("default", "own1", "decimal overflow").await;
    assert_eq!(fixture.ask(Some(&hashed()), &about(TRACE, 2)).await, of_one);
}

/// Many incidents with one text are one place in an answer: the search looks further until there are as many
/// different texts as are asked for, although none of the others shares a word with the question.
#[tokio::test]
async fn equal_texts_leave_room_for_others() {
    let mut fixture = Fixture::new().await;
    let mut all: Vec<Incident> = (0..250).map(|n| incident(&format!("copy{n:03}"), "decimal overflow")).collect();
    for (n, message) in ["decimals overflowed", "decimally overflowing", "overflows decimalized"].iter().enumerate() {
        all.push(incident(&format!("other{n}"), message));
    }
    fixture.incidents(&all).await;
    for indexed_rows in [100_000, 200] {
        let options = IndexerOptions { indexed_rows, ..IndexerOptions::default() };
        fixture.incidents(&[incident(&format!("late {indexed_rows}"), "socket closed by its peer")]).await;
        Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options).catch_up().await.unwrap();
        let found = fixture.ask(Some(&hashed()), &about("decimal overflow", 4)).await;
        let mut names = fingerprints(&found);
        assert!(names.remove(0).starts_with("copy"), "{found:?}");
        names.sort_unstable();
        assert_eq!(names, ["other0", "other1", "other2"], "{found:?}");
    }
}

/// Bounds on versions hold before the search, and what is no list of bounds is refused.
#[tokio::test]
async fn versions_are_ranges() {
    let mut fixture = Fixture::new().await;
    let seen = |fingerprint: &str, version: &'static str| Incident { version, ..incident(fingerprint, "overflow") };
    fixture.incidents(&[seen("old", "1.7.2"), seen("in", "v1.10.0"), seen("new", "2.0.1")]).await;
    let within = |versions: &str| SimilarRequest { versions: Some(versions.to_owned()), ..about("overflow", 5) };
    assert_eq!(fingerprints(&fixture.ask(None, &within(">=1.8 <2")).await), ["in"]);
    assert_eq!(fingerprints(&fixture.ask(None, &within("2.0.1")).await), ["new"]);
    let wrong = fixture.ask_as("default", None, &within(">= 1.8")).await;
    assert!(matches!(wrong, Err(QueryError::Argument { .. })), "{wrong:?}");
}

/// A request needs one question, and a trace id is 32 hex digits.
#[tokio::test]
async fn a_wrong_request_is_refused() {
    let fixture = Fixture::new().await;
    let none = fixture.ask_as("default", None, &SimilarRequest::default()).await;
    assert!(matches!(none, Err(QueryError::Argument { .. })));
    let both = SimilarRequest { text: Some("x".to_owned()), ..about(TRACE, 1) };
    assert!(matches!(fixture.ask_as("default", None, &both).await, Err(QueryError::Argument { .. })));
    let odd = SimilarRequest { trace_id: Some("xyz".to_owned()), ..SimilarRequest::default() };
    assert!(matches!(fixture.ask_as("default", None, &odd).await, Err(QueryError::NotATraceId { .. })));
}
