//! What is embedded beside the masked texts.

use std::process::Command;

use arrow::array::{Array, ListBuilder, StringBuilder};

use super::*;
use crate::{MaintainOptions, maintain};

/// An incident of tenant `a`: fingerprint, context, names of spans.
type Placed<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// A row of counts for each, whose example is `trace of FINGERPRINT`.
fn placed(rows: &[Placed<'_>]) -> RecordBatch {
    let texts = |texts: Vec<Option<&str>>| -> Option<ArrayRef> { Some(Arc::new(StringArray::from(texts))) };
    batch(Table::IncidentCounts, rows.len(), &|name| match name {
        "tenant_id" => texts(vec![Some("a"); rows.len()]),
        "fingerprint" | "text" => texts(rows.iter().map(|row| Some(row.0)).collect()),
        "context" => texts(rows.iter().map(|row| row.1).collect()),
        "shape" => texts(rows.iter().map(|row| row.2).collect()),
        "example_trace_ids" => {
            let mut examples = ListBuilder::new(StringBuilder::new());
            rows.iter().for_each(|row| examples.append_value([Some(format!("trace of {}", row.0))]));
            Some(Arc::new(examples.finish()))
        }
        _ => None,
    })
}

/// The payloads of a trace by their shapes.
fn payloads(tenant: &str, trace_id: &str, shapes: &[&str]) -> RecordBatch {
    let same = |text: &str| -> Option<ArrayRef> { Some(Arc::new(StringArray::from(vec![text; shapes.len()]))) };
    batch(Table::Payloads, shapes.len(), &|name| match name {
        "tenant_id" => same(tenant),
        "trace_id" => same(trace_id),
        "shape" => Some(Arc::new(StringArray::from(shapes.to_vec()))),
        _ => None,
    })
}

/// The texts of a kind by fingerprint, after a look at what else its rows say.
async fn embedded(fixture: &Fixture, embedding: &Embedding, kind: Kind) -> BTreeMap<String, String> {
    let lake = fixture.reopen().await;
    let Some(dataset) = vectors::open(&lake, embedding, kind).await.unwrap() else { return BTreeMap::new() };
    let batch = dataset.scan().try_into_batch().await.unwrap();
    let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
    let (fingerprints, texts) = (column("fingerprint"), column("text"));
    let model = embedding.model().await.unwrap().stored_name(kind);
    assert!(column("kind").iter().all(|found| found == Some(kind.name())));
    assert!(column("model").iter().all(|found| found == Some(model.as_str())));
    // Only masked texts are searched by words.
    assert_eq!(column("words").null_count(), if kind == Kind::Masked { 0 } else { batch.num_rows() });
    let lists = batch.column_by_name("vector").unwrap().as_fixed_size_list();
    for row in 0..batch.num_rows() {
        let expected = embedding.embed(kind, vec![texts.value(row).to_owned()]).await.unwrap();
        let vector = lists.value(row).as_primitive::<Float32Type>().values().to_vec();
        assert!(cosine(&vector, &expected[0]) > 0.999, "{}", texts.value(row));
    }
    let rows = fingerprints.iter().zip(&texts);
    let found: BTreeMap<_, _> = rows.map(|(id, text)| (id.unwrap().to_owned(), text.unwrap().to_owned())).collect();
    assert_eq!(found.len(), batch.num_rows(), "a row is there twice");
    found
}

fn texts_of(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
}

/// Each kind has a table of its own, with the vectors of its texts, the kind and the model in each row; an incident that
/// has no text of a kind comes with the first of its failures that has one, and nothing is embedded twice. Payloads of
/// the example trace are part of its shape, no other tenant's are. Snapshots hold all of the tables, and none of the
/// further ones is taken for another model's.
#[tokio::test]
async fn each_kind_has_its_place() {
    let mut fixture = Fixture::new().await;
    fixture.write(Table::Payloads, payloads("a", "trace of f1", &[r#"{"sum":"number"}"#, r#"{"sum":"number"}"#])).await;
    fixture.write(Table::Payloads, payloads("b", "trace of f1", &[r#"{"secret":"string"}"#])).await;
    let charge = "payments\ncheckout: POST > payments: Charge";
    fixture
        .write(
            Table::IncidentCounts,
            placed(&[("f1", Some(charge), Some("POST > Charge")), ("f2", Some(charge), None), ("f3", None, None)]),
        )
        .await;
    let embedding = hashed();
    let mut indexer = Indexer::new(fixture.lake.clone(), Arc::new(embedding.clone()));
    assert_eq!(indexer.catch_up().await.unwrap(), 3 + 2 + 1);
    assert_eq!(indexer.queue(), 0);
    fixture
        .write(Table::IncidentCounts, placed(&[("f3", Some("stock\nreserve"), None), ("f1", Some("elsewhere"), None)]))
        .await;
    assert_eq!(indexer.catch_up().await.unwrap(), 1);
    let mut restarted = Indexer::new(fixture.reopen().await, Arc::new(embedding.clone()));
    assert_eq!(restarted.catch_up().await.unwrap(), 0);

    let masked = embedded(&fixture, &embedding, Kind::Masked).await;
    assert_eq!(masked, texts_of(&[("f1", "f1"), ("f2", "f2"), ("f3", "f3")]));
    let contexts = embedded(&fixture, &embedding, Kind::Context).await;
    assert_eq!(contexts, texts_of(&[("f1", charge), ("f2", charge), ("f3", "stock\nreserve")]));
    let shapes = embedded(&fixture, &embedding, Kind::Shape).await;
    assert_eq!(shapes, texts_of(&[("f1", "POST > Charge\nsum: number")]));

    let model = embedding.model().await.unwrap();
    let names = Kind::ALL.map(|kind| vectors::dataset_name(&model, kind));
    assert_eq!(names[1], "incident_vectors/hashed-ngrams-384-context");
    let pinned = fixture.lake.create_snapshot("before").await.unwrap();
    assert!(names.iter().all(|name| pinned.beside.contains_key(name)), "{:?}", pinned.beside);
    let next = Model { name: "next".to_owned(), dimension: 7, form: Form::Plain };
    let others = vectors::of_others(&fixture.lake, &next).await.unwrap();
    assert_eq!(others.iter().map(|other| other.name.as_str()).collect::<Vec<_>>(), [names[0].as_str()]);
}

/// After a change of the model all three places are filled anew for it, with the same texts, and those of the model
/// before stay as they are.
#[tokio::test]
async fn all_kinds_are_embedded_again_for_another_model() {
    let Some(cache) = installed() else { return };
    let mut fixture = Fixture::new().await;
    let rows = placed(&[
        ("f1", Some("payments\nCharge"), Some("POST > Charge")),
        ("f2", Some("stock\nreserve"), Some("reserve")),
    ]);
    fixture.write(Table::IncidentCounts, rows).await;
    let models = [hashed(), Embedding::new("all-MiniLM-L6-v2", &cache)];
    for model in &models {
        let mut indexer = Indexer::new(fixture.reopen().await, Arc::new(model.clone()));
        assert_eq!(indexer.catch_up().await.unwrap(), 3 * 2);
    }
    for kind in Kind::ALL {
        let before = embedded(&fixture, &models[0], kind).await;
        assert_eq!(before.len(), 2, "{kind:?}");
        assert_eq!(embedded(&fixture, &models[1], kind).await, before);
    }
}

/// Many incidents share two contexts and come a few at a time, and more of them come after a restart. Guarantees that each
/// has the vector of its own context, be it made, held from the commit before or taken from the table.
#[tokio::test]
async fn contexts_come_a_few_at_a_time() {
    let mut fixture = Fixture::new().await;
    let contexts = ["payments\nCharge", "stock\nreserve"];
    let place = |ids: &[&'static str]| -> Vec<Placed<'static>> {
        ids.iter().enumerate().map(|(number, id)| (*id, Some(contexts[number % 2]), None)).collect()
    };
    let ids = ["f0", "f1", "f2", "f3", "f4", "f5", "f6"];
    let rows = place(&ids);
    fixture.write(Table::IncidentCounts, placed(&rows)).await;
    let options = IndexerOptions { texts_per_commit: 2, ..IndexerOptions::default() };
    let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
    assert_eq!(indexer.catch_up().await.unwrap(), 2 * ids.len());
    assert_eq!(embedded(&fixture, &hashed(), Kind::Context).await.len(), ids.len());

    fixture.write(Table::IncidentCounts, placed(&place(&["f7", "f8"]))).await;
    let mut restarted = Indexer::new(fixture.reopen().await, Arc::new(hashed()));
    assert_eq!(restarted.catch_up().await.unwrap(), 2 * 2);
    let found = embedded(&fixture, &hashed(), Kind::Context).await;
    assert_eq!((found.len(), found["f7"].as_str(), found["f8"].as_str()), (ids.len() + 2, contexts[0], contexts[1]));
}

/// A backlog of contexts lies in several fragments of the counts, and one commit does not take it. Guarantees that
/// fragments which are through are not read again for contexts either, that their own table says how far they are, and
/// that it is indexed as that of the masked texts is, but not by words.
#[tokio::test]
async fn a_backlog_of_contexts_is_read_once_and_indexed() {
    let mut fixture = Fixture::new().await;
    let owned: Vec<(String, String)> = (0..300).map(|n| (format!("f{n}"), format!("payments\nstep{n}"))).collect();
    for part in owned.chunks(100) {
        let rows: Vec<Placed<'_>> =
            part.iter().map(|(id, context)| (id.as_str(), Some(context.as_str()), None)).collect();
        fixture.write(Table::IncidentCounts, placed(&rows)).await;
    }
    let head = fixture.lake.newest_head().await.unwrap();
    for (wanted, end) in [(50, 0), (100, 1), (250, 2)] {
        let most = texts::Most { texts: wanted, bytes: usize::MAX };
        let new = texts::new_texts(&fixture.lake, &head, Kind::Context, 0, most, |_| false).await.unwrap();
        assert_eq!((new.texts.len(), new.end, new.complete), (wanted, end, false));
    }
    let options = IndexerOptions { texts_per_commit: 70, indexed_rows: 300, ..IndexerOptions::default() };
    let mut indexer = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options);
    assert_eq!(indexer.catch_up().await.unwrap(), 2 * owned.len());
    let name = vectors::dataset_name(&hashed().model().await.unwrap(), Kind::Context);
    let dataset = fixture.lake.newest(&name).await.unwrap();
    assert_eq!(Stamp::of(&name, &dataset).await.unwrap(), Stamp { position: head.position, taken: 3 });
    for (index, count) in [("vector_idx", 1), ("fingerprint_idx", 1), ("tenant_id_idx", 1), ("words_idx", 0)] {
        assert_eq!(dataset.load_indices_by_name(index).await.unwrap().len(), count, "{index}");
    }
}

/// Two workers embed one backlog beside each other, in parts; then the counts are compacted, more of them come, and a
/// worker starts anew. Guarantees that each incident has one row of a kind, though its fragment is looked at again under
/// another id.
#[tokio::test]
async fn neither_two_workers_nor_a_compaction_double_a_row() {
    let mut fixture = Fixture::new().await;
    let owned: Vec<(String, String)> =
        (0..120).map(|n| (format!("f{n:03}"), format!("payments\nstep{}", n % 7))).collect();
    for part in owned.chunks(30) {
        let rows: Vec<Placed<'_>> =
            part.iter().map(|(id, context)| (id.as_str(), Some(context.as_str()), None)).collect();
        fixture.write(Table::IncidentCounts, placed(&rows)).await;
    }
    let options = IndexerOptions { texts_per_commit: 20, ..IndexerOptions::default() };
    let mut one = Indexer::with_options(fixture.lake.clone(), Arc::new(hashed()), options.clone());
    let mut other = Indexer::with_options(fixture.reopen().await, Arc::new(hashed()), options);
    let (of_one, of_other) = tokio::join!(one.catch_up(), other.catch_up());
    assert_eq!(of_one.unwrap() + of_other.unwrap(), 2 * owned.len());

    let kept = MaintainOptions { small_fragments: 0, ..MaintainOptions::default() };
    maintain(&fixture.lake, &kept).await.unwrap();
    let more = [("f000", Some("elsewhere"), None), ("last", Some("payments\nstep0"), None)];
    fixture.write(Table::IncidentCounts, placed(&more)).await;
    let head = fixture.lake.newest_head().await.unwrap();
    let (name, counts) = head.of(Table::IncidentCounts).next().unwrap();
    let dataset = fixture.lake.dataset(name, counts.version).await.unwrap();
    assert!(dataset.fragments().iter().all(|fragment| fragment.id >= 4), "nothing was compacted");
    assert_eq!(one.catch_up().await.unwrap(), 2);
    for indexer in [&mut other, &mut Indexer::new(fixture.reopen().await, Arc::new(hashed()))] {
        assert_eq!(indexer.catch_up().await.unwrap(), 0);
    }
    assert_eq!(embedded(&fixture, &hashed(), Kind::Masked).await.len(), owned.len() + 1);
    let contexts = embedded(&fixture, &hashed(), Kind::Context).await;
    assert_eq!((contexts.len(), contexts["f000"].as_str()), (owned.len() + 1, "payments\nstep0"));
}

/// A lake of a schema that has no further texts is embedded as before: there is nothing to embed of them, and no table is
/// made.
#[tokio::test]
async fn a_lake_without_the_columns_has_no_further_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/lake-schema-1.tar.gz");
    assert!(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap().success());
    let lake = Lake::open(LakeOptions::new(folder.path().join("lake").to_str().unwrap())).await.unwrap();
    Indexer::new(lake.clone(), Arc::new(hashed())).catch_up().await.unwrap();
    assert!(vectors::open(&lake, &hashed(), Kind::Masked).await.unwrap().is_some());
    for kind in [Kind::Context, Kind::Shape] {
        assert!(vectors::open(&lake, &hashed(), kind).await.unwrap().is_none(), "{kind:?}");
    }
}
