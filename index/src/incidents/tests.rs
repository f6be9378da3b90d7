//! The indexer on real Lance tables, and the embedders.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray, TimestampNanosecondArray, new_null_array};
use arrow::datatypes::{Float32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use lance::index::DatasetIndexExt;
use proptest::prelude::*;
use tempfile::TempDir;
use tracerag_schemas::{SourcePartition, Table};

use super::vectors::{Kind, Stamp};
use super::*;
use crate::{Epoch, Lake, LakeOptions, SourceProgress, Writer};

mod forms;
mod kinds;

/// An instant of 2026-11-23.
const NOON: i64 = 1_795_435_200_000_000_000;

struct Fixture {
    folder: TempDir,
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
        Self { folder, lake, writer, offset: 0 }
    }

    /// Another handle on the lake, as another process has it.
    async fn reopen(&self) -> Lake {
        Lake::open(LakeOptions::new(self.folder.path().to_str().unwrap())).await.unwrap()
    }

    /// One epoch with these counts: tenant, fingerprint, text.
    async fn counts(&mut self, rows: &[(&str, &str, &str)]) {
        self.write(Table::IncidentCounts, counts(rows)).await;
    }

    /// One epoch with rows of a table.
    async fn write(&mut self, table: Table, rows: RecordBatch) {
        self.offset += 1;
        let epoch = Epoch {
            rows: vec![(table, rows)],
            sources: vec![SourceProgress {
                source: source(),
                to: self.offset,
                low_watermark: self.offset,
                stream_time: NOON,
            }],
            closed: vec![],
        };
        self.writer.write(epoch).await.unwrap();
    }

    /// Texts in the table of the hashed embedder, by tenant and fingerprint.
    async fn texts(&self) -> BTreeMap<(String, String), String> {
        let lake = self.reopen().await;
        let dataset = vectors::open(&lake, &hashed(), Kind::Masked).await.unwrap().unwrap();
        let batch = dataset.scan().try_into_batch().await.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (tenants, fingerprints, texts) = (column("tenant_id"), column("fingerprint"), column("text"));
        let all: Vec<_> = (0..batch.num_rows())
            .map(|row| {
                ((tenants.value(row).to_owned(), fingerprints.value(row).to_owned()), texts.value(row).to_owned())
            })
            .collect();
        let distinct: BTreeMap<_, _> = all.iter().cloned().collect();
        assert_eq!(distinct.len(), all.len(), "a row is there twice: {all:?}");
        distinct
    }
}

fn source() -> SourcePartition {
    SourcePartition::new("cluster", "otlp_spans", 0)
}

fn hashed() -> Embedding {
    Embedding::new("hashed-ngrams", Path::new("/nonexistent"))
}

fn counts(rows: &[(&str, &str, &str)]) -> RecordBatch {
    let texts = |get: &dyn Fn(usize) -> String| -> Option<ArrayRef> {
        Some(Arc::new((0..rows.len()).map(|row| Some(get(row))).collect::<StringArray>()))
    };
    batch(Table::IncidentCounts, rows.len(), &|name| match name {
        "tenant_id" => texts(&|row| rows[row].0.to_owned()),
        "fingerprint" => texts(&|row| rows[row].1.to_owned()),
        "text" | "title" | "message" => texts(&|row| rows[row].2.to_owned()),
        "service_name" => texts(&|_| "payments".to_owned()),
        "failure_count" | "trace_count" => Some(Arc::new(Int64Array::from(vec![1; rows.len()]))),
        _ => None,
    })
}

/// Rows of a table with some columns; beside the origin all others are null.
fn batch(table: Table, rows: usize, column: &dyn Fn(&str) -> Option<ArrayRef>) -> RecordBatch {
    let schema = table.lake_schema();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| match (column(field.name()), field.name().as_str()) {
            (Some(column), _) => column,
            (None, "kafka_topic") => Arc::new(StringArray::from(vec!["otlp_spans"; rows])),
            (None, "kafka_partition") => Arc::new(Int32Array::from(vec![0; rows])),
            (None, "kafka_offset") => Arc::new(Int64Array::from(vec![1; rows])),
            (None, "ingested_at") => Arc::new(TimestampNanosecondArray::from(vec![NOON; rows]).with_timezone("UTC")),
            (None, _) => new_null_array(field.data_type(), rows),
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// An incident is embedded once: not again when it occurs again, not by a new process, not by a second
/// indexer beside the first; and the text of its first failure stays.
#[tokio::test]
async fn an_incident_is_embedded_once() {
    let mut fixture = Fixture::new().await;
    let mut indexer = Indexer::new(fixture.lake.clone(), Arc::new(hashed()));
    assert_eq!(indexer.catch_up().await.unwrap(), 0, "nothing is there yet");
    fixture.counts(&[("a", "f1", "decimal overflow"), ("a", "f2", "connection refused")]).await;
    assert_eq!(indexer.catch_up().await.unwrap(), 2);
    assert_eq!(indexer.catch_up().await.unwrap(), 0);
    fixture.counts(&[("a", "f1", "decimal overflow, told differently"), ("b", "f1", "other tenant")]).await;
    assert_eq!(indexer.catch_up().await.unwrap(), 1);

    let mut restarted = Indexer::new(fixture.reopen().await, Arc::new(hashed()));
    assert_eq!(restarted.catch_up().await.unwrap(), 0);
    fixture.counts(&[("a", "f3", "timeout"), ("a", "f3", "timeout, later row")]).await;
    let (one, other) = tokio::join!(indexer.catch_up(), restarted.catch_up());
    assert_eq!(one.unwrap() + other.unwrap(), 1);

    let texts = fixture.texts().await;
    let expected = [
        ("a", "f1", "decimal overflow"),
        ("a", "f2", "connection refused"),
        ("a", "f3", "timeout"),
        ("b", "f1", "other tenant"),
    ];
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(tenant, id, text)| (((*tenant).to_owned(), (*id).to_owned()), (*text).to_owned()))
        .collect();
    assert_eq!(texts, expected);
}

/// The commit that adds rows says how far the journal was read, and later commits without it (a
/// compaction, a barrier) do not hide that.
#[tokio::test]
async fn the_position_stands_in_the_same_commit() {
    let mut fixture = Fixture::new().await;
    let mut indexer = Indexer::new(fixture.lake.clone(), Arc::new(hashed()));
    fixture.counts(&[("a", "f1", "decimal overflow")]).await;
    indexer.catch_up().await.unwrap();
    let position = fixture.lake.newest_head().await.unwrap().position;
    let name = vectors::dataset_name(&hashed().model().await.unwrap(), Kind::Masked);
    assert_eq!(name, "incident_vectors/hashed-ngrams-384");
    let dataset = fixture.lake.newest(&name).await.unwrap();
    assert_eq!(Stamp::of(&name, &dataset).await.unwrap(), Stamp { position, taken: 1 });
    let barrier = fixture.lake.barrier(&name, &dataset).await.unwrap();
    assert_eq!(Stamp::of(&name, &barrier).await.unwrap(), Stamp { position, taken: 1 });
    let batch = dataset.scan().try_into_batch().await.unwrap();
    let stored = batch.column_by_name("position").unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!(u64::try_from(stored).unwrap(), position);
}

/// The tables of other models are found with their models' names, and a model's own is none of them.
#[tokio::test]
async fn tables_of_other_models_are_found() {
    let mut fixture = Fixture::new().await;
    fixture.counts(&[("a", "f1", "decimal overflow")]).await;
    Indexer::new(fixture.lake.clone(), Arc::new(hashed())).catch_up().await.unwrap();
    let own = hashed().model().await.unwrap();
    assert!(vectors::of_others(&fixture.lake, &own).await.unwrap().is_empty());
    let next = Model { name: "next".to_owned(), dimension: 7, form: Form::Plain };
    let others = vectors::of_others(&fixture.lake, &next).await.unwrap();
    let names: Vec<_> = others.iter().map(|other| (other.name.clone(), other.model.clone())).collect();
    assert_eq!(names, [(vectors::dataset_name(&own, Kind::Masked), own.name)]);
}

/// Texts are taken by bytes, those of their messages included, as by number: large ones come a few at a time, at least
/// one, and all are embedded in the end.
#[tokio::test]
async fn large_texts_come_a_few_at_a_time() {
    let mut fixture = Fixture::new().await;
    fixture.counts(&[("a", "f1", "decimal overflow"), ("a", "f2", "timeout"), ("a", "f3", "refused")]).await;
    let head = fixture.lake.newest_head().await.unwrap();
    for (bytes, wanted) in [(1, 1), (33, 2), (1_000, 3)] {
        let most = texts::Most { texts: 10, bytes };
        let new = texts::new_texts(&fixture.lake, &head, Kind::Masked, 0, most, |_| false).await.unwrap();
        assert_eq!((new.texts.len(), new.complete), (wanted, wanted == 3), "{bytes} bytes");
    }
    let options = IndexerOptions { bytes_per_commit: 1, ..IndexerOptions::default() };
    let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
    assert_eq!(indexer.catch_up().await.unwrap(), 3);
    assert_eq!(fixture.texts().await.len(), 3);
}

/// A backlog is taken in parts. Guarantees that fragments which are through are not read again for the next part, and
/// that all of it is embedded.
#[tokio::test]
async fn a_backlog_is_read_once() {
    let mut fixture = Fixture::new().await;
    for step in 0..3 {
        let (one, other) = (format!("f{step} one"), format!("f{step} other"));
        fixture.counts(&[("a", one.as_str(), "timeout"), ("a", other.as_str(), "refused")]).await;
    }
    let head = fixture.lake.newest_head().await.unwrap();
    for (wanted, end) in [(1, 0), (2, 1), (3, 1), (6, 3)] {
        let most = texts::Most { texts: wanted, bytes: usize::MAX };
        let new = texts::new_texts(&fixture.lake, &head, Kind::Masked, 0, most, |_| false).await.unwrap();
        assert_eq!((new.texts.len(), new.end, new.complete), (wanted, end, wanted == 6));
    }
    let options = IndexerOptions { texts_per_commit: 3, ..IndexerOptions::default() };
    let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
    assert_eq!(indexer.catch_up().await.unwrap(), 6);
    assert_eq!(fixture.texts().await.len(), 6);
}

/// Very many texts wait. Guarantees that the newest are handed out and that it is said that there are more; that of all
/// of them each is there once, with the text of its first failure; and that those that are embedded are not among them.
#[tokio::test]
async fn the_newest_texts_are_handed_out() {
    let mut fixture = Fixture::new().await;
    for step in 0..20 {
        fixture.counts(&[("a", format!("f{step:02}").as_str(), "timeout"), ("b", "theirs", "timeout")]).await;
    }
    fixture.counts(&[("a", "f00", "a later text")]).await;
    let head = fixture.lake.newest_head().await.unwrap();
    let few = texts::find_waiting(&fixture.lake, &head, "a", None, 5).await.unwrap();
    let found: Vec<&str> = few.texts.iter().map(|text| text.fingerprint.as_str()).collect();
    assert!(few.is_cut && found.contains(&"f19") && !found.contains(&"f01"), "{found:?}");
    let all = texts::find_waiting(&fixture.lake, &head, "a", None, 100).await.unwrap();
    let mut found: Vec<(&str, &str)> =
        all.texts.iter().map(|text| (text.fingerprint.as_str(), text.text.as_str())).collect();
    found.sort_unstable();
    assert_eq!((found.len(), found[0], all.is_cut), (20, ("f00", "timeout"), false));

    Indexer::new(fixture.lake.clone(), Arc::new(hashed())).catch_up().await.unwrap();
    fixture.counts(&[("a", "f00", "again"), ("a", "new", "timeout")]).await;
    let head = fixture.lake.newest_head().await.unwrap();
    let name = vectors::dataset_name(&hashed().model().await.unwrap(), Kind::Masked);
    let dataset = fixture.lake.newest(&name).await.unwrap();
    let waiting = texts::find_waiting(&fixture.lake, &head, "a", Some((&name, &dataset)), 100).await.unwrap();
    assert_eq!(waiting.texts.iter().map(|text| text.fingerprint.as_str()).collect::<Vec<_>>(), ["new"]);
}

/// Equal texts of different incidents have one vector between them, in one commit and over several; the
/// model sees each text once.
#[tokio::test]
async fn equal_texts_are_embedded_once() {
    let mut fixture = Fixture::new().await;
    let options = IndexerOptions { texts_per_commit: 2, ..IndexerOptions::default() };
    let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
    let rows =
        [("a", "f1", "x <num>"), ("a", "f2", "x <num>"), ("b", "f3", "x <num>"), ("a", "f4", "y"), ("a", "f5", "z")];
    fixture.counts(&rows).await;
    assert_eq!(indexer.catch_up().await.unwrap(), 5);
    assert_eq!(fixture.texts().await.len(), 5);
    let dataset = vectors::open(&fixture.lake, &hashed(), Kind::Masked).await.unwrap().unwrap();
    let mut scan = dataset.scan();
    scan.filter("text = 'x <num>'").unwrap();
    let batch = scan.try_into_batch().await.unwrap();
    let lists = batch.column_by_name("vector").unwrap().as_fixed_size_list();
    let vectors: Vec<Vec<f32>> =
        (0..3).map(|row| lists.value(row).as_primitive::<Float32Type>().values().to_vec()).collect();
    assert_eq!(vectors[0], HashedNgrams::vector("x <num>"));
    assert!(vectors.iter().all(|vector| *vector == vectors[0]));
    assert!(indexer.known_texts() == 3, "one text was counted twice");
}

/// Without the model nothing fails and nothing is lost: texts wait, it is said why, a search by words
/// finds them, and they are embedded once a model is there.
#[tokio::test]
async fn texts_wait_for_the_model() {
    let mut fixture = Fixture::new().await;
    let nowhere = tempfile::tempdir().unwrap();
    let absent = Arc::new(Embedding::new("all-MiniLM-L6-v2", nowhere.path()));
    let mut indexer = Indexer::new(fixture.lake.clone(), Arc::clone(&absent));
    assert_eq!(indexer.catch_up().await.unwrap(), 0);
    assert_eq!(indexer.waiting_for(), None, "nothing waits in an empty lake");
    fixture.counts(&[("a", "f1", "decimal overflow"), ("b", "f2", "timeout")]).await;
    assert_eq!(indexer.catch_up().await.unwrap(), 0);
    let reason = indexer.waiting_for().unwrap();
    assert!(reason.contains("all-MiniLM-L6-v2") && reason.contains("scripts/fetch-model.sh"), "{reason}");
    assert_eq!(indexer.queue(), 2);
    fixture.counts(&[("a", "f1", "decimal overflow")]).await;
    assert_eq!(indexer.catch_up().await.unwrap(), 0);
    assert_eq!(indexer.queue(), 2, "a further failure of an incident that waits is no further text");
    let head = fixture.lake.newest_head().await.unwrap();
    let waiting = waiting_texts(&fixture.lake, &head, "a", None).await.unwrap();
    assert_eq!(waiting.texts.iter().map(|text| text.fingerprint.as_str()).collect::<Vec<_>>(), ["f1"]);

    let mut indexer = Indexer::new(fixture.lake.clone(), Arc::new(hashed()));
    assert_eq!(indexer.catch_up().await.unwrap(), 2);
    assert_eq!((indexer.waiting_for(), indexer.queue()), (None, 0));
    fixture.counts(&[("a", "f1", "decimal overflow"), ("a", "f3", "new")]).await;
    let head = fixture.lake.newest_head().await.unwrap();
    let dataset = vectors::open(&fixture.lake, &hashed(), Kind::Masked).await.unwrap().unwrap();
    let waiting = waiting_texts(&fixture.lake, &head, "a", Some(("vectors", &dataset))).await.unwrap();
    assert_eq!(waiting.texts.iter().map(|text| text.fingerprint.as_str()).collect::<Vec<_>>(), ["f3"]);
}

/// A broken installation is no crash: it says what is wrong and how to mend it, and texts wait.
#[tokio::test]
async fn a_broken_model_is_said_to_be_unusable() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["model.onnx", "tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"] {
        std::fs::write(folder.path().join(file), "not a model").unwrap();
    }
    let cache = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(cache.path().join("onnxruntime")).unwrap();
    std::fs::write(cache.path().join("onnxruntime/libonnxruntime.so"), "not a library").unwrap();
    let broken = Embedding::new(folder.path().to_str().unwrap(), cache.path());
    let error = broken.embed(Kind::Masked, vec!["text".to_owned()]).await.unwrap_err();
    assert!(error.is_unavailable() && matches!(error, EmbeddingError::Unusable { .. }), "{error}");
}

/// From a given size on a table has its indices, also on what searches are filtered by, and rows that come
/// later are found as well.
#[tokio::test]
async fn large_tables_are_indexed() {
    let mut fixture = Fixture::new().await;
    let options = IndexerOptions { indexed_rows: 300, ..IndexerOptions::default() };
    let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
    let owned: Vec<(String, String)> =
        (0..400).map(|n| (format!("f{n}"), format!("failure number{n} of kind{} in place{}", n % 7, n % 31))).collect();
    let rows: Vec<(&str, &str, &str)> = owned.iter().map(|(id, text)| ("a", id.as_str(), text.as_str())).collect();
    fixture.counts(&rows).await;
    assert_eq!(indexer.catch_up().await.unwrap(), 400);
    let dataset = vectors::open(&fixture.lake, &hashed(), Kind::Masked).await.unwrap().unwrap();
    let filtered = ["tenant_id_idx", "service_name_idx", "exception_type_idx"];
    for index in ["fingerprint_idx", "words_idx", "vector_idx"].into_iter().chain(filtered) {
        assert_eq!(dataset.load_indices_by_name(index).await.unwrap().len(), 1, "{index}");
    }
    fixture.counts(&[("a", "late", "a straggler that no index knows")]).await;
    assert_eq!(indexer.catch_up().await.unwrap(), 1);
    assert_eq!(fixture.texts().await.len(), 401);
}

/// A table grows far beyond what its index of vectors was built for. Guarantees that this is built anew, with partitions
/// for all rows, and that it is one and knows them all.
#[tokio::test]
async fn an_outgrown_index_is_built_anew() {
    let mut fixture = Fixture::new().await;
    let options = IndexerOptions { indexed_rows: 300, ..IndexerOptions::default() };
    let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
    for (from, to, partitions) in [(0, 300, 1), (300, 22_300, 22_300 / vectors::ROWS_PER_PARTITION as u64)] {
        let owned: Vec<(String, String)> =
            (from..to).map(|n| (format!("f{n}"), format!("failure number{n} of kind{}", n % 7))).collect();
        let rows: Vec<(&str, &str, &str)> = owned.iter().map(|(id, text)| ("a", id.as_str(), text.as_str())).collect();
        fixture.counts(&rows).await;
        assert_eq!(indexer.catch_up().await.unwrap(), to - from);
        let dataset = vectors::open(&fixture.lake, &hashed(), Kind::Masked).await.unwrap().unwrap();
        let told = dataset.index_statistics("vector_idx").await.unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["indices"].as_array().map(Vec::len), Some(1), "{told}");
        assert_eq!(told["indices"][0]["num_partitions"].as_u64(), Some(partitions), "{told}");
        assert_eq!(told["num_unindexed_rows"].as_u64(), Some(0), "{told}");
    }
}

/// What is searched by words and filtered by is indexed from fewer rows on than vectors are.
#[tokio::test]
async fn words_are_indexed_before_vectors() {
    let mut fixture = Fixture::new().await;
    let mut indexer = Indexer::new(fixture.lake.clone(), Arc::new(hashed()));
    let owned: Vec<(String, String)> =
        (0..vectors::WORDS_INDEXED_ROWS).map(|n| (format!("f{n}"), format!("failure of kind{}", n % 7))).collect();
    let rows: Vec<(&str, &str, &str)> = owned.iter().map(|(id, text)| ("a", id.as_str(), text.as_str())).collect();
    fixture.counts(&rows).await;
    indexer.catch_up().await.unwrap();
    let dataset = vectors::open(&fixture.lake, &hashed(), Kind::Masked).await.unwrap().unwrap();
    for (index, count) in [("words_idx", 1), ("tenant_id_idx", 1), ("vector_idx", 0)] {
        assert_eq!(dataset.load_indices_by_name(index).await.unwrap().len(), count, "{index}");
    }
}

/// A search by words sees the message as it came, and of the masked text what is no placeholder.
#[test]
fn words_are_the_message_and_its_place() {
    let text = IncidentText {
        tenant: "a".to_owned(),
        fingerprint: "f".to_owned(),
        text: "Error<T>: order <num> at <url:shop> of <email> < 5 at charge".to_owned(),
        message: Some("order 4711 of alice".to_owned()),
        title: None,
        service_name: None,
        exception_type: None,
        example_trace_id: None,
        ingested_at: None,
    };
    assert_eq!(text.words(), "order 4711 of alice\nError<T>: order  at  of  < 5 at charge");
    let plain =
        IncidentText { text: "Error: order is late".to_owned(), message: Some("order is late".to_owned()), ..text };
    assert_eq!(plain.words(), "Error: order is late");
}

proptest! {
    /// Every text, however odd, has a vector of length 1, always the same.
    #[test]
    fn hashed_vectors_have_length_one(text in any::<String>()) {
        let vector = HashedNgrams::vector(&text);
        prop_assert_eq!(vector.len(), 384);
        prop_assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-4);
        prop_assert_eq!(vector, HashedNgrams::vector(&text));
    }
}

/// Texts that share spellings are near each other, others are not; case and punctuation do not count.
#[test]
fn hashed_vectors_compare_spellings() {
    let one = HashedNgrams::vector("decimal overflow while rounding amount");
    let alike = HashedNgrams::vector("Decimal overflow, while rounding amounts");
    let other = HashedNgrams::vector("connection refused by peer");
    assert!(cosine(&one, &alike) > 0.9);
    assert!(cosine(&one, &other) < 0.3);
}

/// Where the files of the default model are, or `None` after saying so; with `CI=true` they must be there.
fn installed() -> Option<PathBuf> {
    let cache = PathBuf::from(std::env::var_os("HOME")?).join(".cache/tracerag");
    let is_there = cache.join("models/all-MiniLM-L6-v2/model.onnx").is_file();
    assert!(is_there || std::env::var("CI").as_deref() != Ok("true"), "run scripts/fetch-model.sh first");
    if !is_there {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: the sentence model is not installed; run scripts/fetch-model.sh");
        }
        return None;
    }
    Some(cache)
}

/// The real model relates what means the same in other words, gives unit vectors that do not depend on
/// the texts beside them, and tells models from folders apart by their content.
#[tokio::test]
async fn the_sentence_model_compares_meanings() {
    let Some(cache) = installed() else { return };
    let embedding = Embedding::new("all-MiniLM-L6-v2", &cache);
    let model = Model { name: "all-MiniLM-L6-v2".to_owned(), dimension: 384, form: Form::NEWEST };
    assert_eq!(embedding.model().await.unwrap(), model);
    let texts = [
        "connection to the database timed out",
        "the database did not answer in time",
        "decimal overflow while rounding the amount",
    ];
    let together = embedding.embed(Kind::Masked, texts.iter().map(|text| (*text).to_owned()).collect()).await.unwrap();
    let alone = embedding.embed(Kind::Masked, vec![texts[2].to_owned()]).await.unwrap();
    assert_eq!(together[2], alone[0]);
    assert!(together.iter().all(|vector| (cosine(vector, vector) - 1.0).abs() < 1e-4));
    assert!(cosine(&together[0], &together[1]) > cosine(&together[0], &together[2]) + 0.2);

    let folder = cache.join("models/all-MiniLM-L6-v2");
    let own = Embedding::new(folder.to_str().unwrap(), &cache).model().await.unwrap();
    assert!(
        own.name.starts_with("all-MiniLM-L6-v2-") && own.name.len() == "all-MiniLM-L6-v2-".len() + 16,
        "{}",
        own.name
    );
}
