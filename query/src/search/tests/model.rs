//! Answers of the real sentence model.

use tracerag_index::incidents::vectors::Kind;

use super::*;

/// With the real model a question in other words finds its incident among others that share more words
/// with it.
#[tokio::test]
async fn a_paraphrase_is_found_by_meaning() {
    let Some(cache) = installed() else { return };
    let model = Embedding::new("all-MiniLM-L6-v2", &cache);
    let mut fixture = Fixture::new().await;
    let messages = [
        "SQL query timed out",
        "decimal overflow: amount exceeds precision of currency",
        "user session expired, please log in again",
        "customer answered the survey with an unknown language",
        "disk quota exceeded on volume data",
    ];
    let incidents: Vec<Incident> =
        messages.iter().enumerate().map(|(n, message)| incident(&format!("f{n}"), message)).collect();
    fixture.incidents(&incidents).await;
    fixture.embed(&model).await;
    for (question, expected) in [
        ("there was no storage space left on the drive", "f4"),
        ("nobody answered while reading from the database, too slow", "f0"),
        ("people had to authenticate a second time", "f2"),
    ] {
        let found = fixture.ask(Some(&model), &about(question, 1)).await;
        assert_eq!(fingerprints(&found), [expected], "{question}: {found:?}");
        assert!(found[0].reason.contains("by all-MiniLM-L6-v2"), "{}", found[0].reason);
    }
}

/// Messages without codes and names are plain words, and some are near to any question. Guarantees that each finds itself
/// first all the same, and that the distance of what a question finds is that of their vectors, whatever the order is.
#[tokio::test]
async fn a_pasted_message_finds_itself_first() {
    let Some(cache) = installed() else { return };
    let model = Embedding::new("all-MiniLM-L6-v2", &cache);
    let mut fixture = Fixture::new().await;
    let messages = [
        "something went wrong",
        "the request could not be processed",
        "please try again later",
        "an unexpected error occurred",
        "customers cannot log in",
        "disk quota exceeded on volume data",
    ];
    let incidents: Vec<Incident> =
        messages.iter().enumerate().map(|(n, message)| incident(&format!("f{n}"), message)).collect();
    fixture.incidents(&incidents).await;
    fixture.embed(&model).await;
    let head = Arc::new(fixture.lake.newest_head().await.unwrap());
    let (snapshot, kept) = (Snapshot::new(fixture.lake.clone(), head, "default"), SearchCache::default());
    for (n, message) in messages.iter().enumerate() {
        let found = similar_with(&snapshot, Some(&model), &kept, &about(message, 3)).await.unwrap();
        assert_eq!(found[0].fingerprint, format!("f{n}"), "{message}: {found:?}");
        assert!(found[0].distance.is_some_and(|distance| distance < 1e-4), "{found:?}");
    }
    let question = "there is no room left for what we want to store";
    let vectors = model.embed(Kind::Masked, vec![question.to_owned(), messages[5].to_owned()]).await.unwrap();
    let cosine: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
    let found = similar_with(&snapshot, Some(&model), &kept, &about(question, 6)).await.unwrap();
    let full = found.iter().find(|incident| incident.fingerprint == "f5").unwrap();
    assert!((full.distance.unwrap() - f64::from(1.0 - cosine)).abs() < 1e-4, "{full:?}");
}

/// After a change of the model the vectors of the one before answer until the new one has embedded what there is.
#[tokio::test]
async fn the_model_before_answers_meanwhile() {
    let Some(cache) = installed() else { return };
    let mut fixture = Fixture::new().await;
    fixture.incidents(&[incident("f0", "disk quota exceeded on volume data"), incident("f1", "session expired")]).await;
    fixture.embed(&Embedding::new("all-MiniLM-L6-v2", &cache)).await;
    let new = Embedding::new("hashed-ngrams", &cache);
    let question = about("no storage space left", 1);
    let found = fixture.ask(Some(&new), &question).await;
    assert_eq!(fingerprints(&found), ["f0"], "{found:?}");
    assert!(found[0].reason.contains("by all-MiniLM-L6-v2"), "{found:?}");
    fixture.embed(&new).await;
    let found = fixture.ask(Some(&new), &question).await;
    assert!(found.iter().all(|incident| !incident.reason.contains("all-MiniLM")), "{found:?}");
}

/// A new release reads messages in another form. Until all is embedded in it, the vectors of the form before answer, and
/// are asked in that: an incident is as near to its own text as it was.
#[tokio::test]
async fn the_form_before_answers_meanwhile() {
    let mut fixture = Fixture::new().await;
    let message = "Error: ECONNREFUSED at connect to ledger";
    fixture.incidents(&[incident("f0", message), incident("f1", "session expired")]).await;
    let plain = hashed();
    fixture.embed(&plain).await;
    let glossed = plain.other("hashed-ngrams+gloss1");
    let found = fixture.ask(Some(&glossed), &about(message, 1)).await;
    assert_eq!(fingerprints(&found), ["f0"], "{found:?}");
    assert!(found[0].distance.is_some_and(|distance| distance < 1e-4), "{found:?}");
    // Nothing waits once it is embedded, and the text is nearest to itself in the new form, too.
    fixture.embed(&glossed).await;
    let found = fixture.ask(Some(&glossed), &about(message, 1)).await;
    assert_eq!(fingerprints(&found), ["f0"], "{found:?}");
    assert!(found[0].distance.is_some_and(|distance| distance < 1e-4), "{found:?}");
    let found = fixture.ask(Some(&glossed), &about("the service is not running, nothing listens there", 1)).await;
    assert_eq!(fingerprints(&found), ["f0"], "only the explanation has these words: {found:?}");
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
