//! The questions of the analysts' manual, asked of the recording that their answers were taken from.

use std::path::Path;

use crate::checkout::replayed;

/// The distances of similar incidents are those of the model that needs no download.
const MODEL: (&str, &str) = ("TRACERAG_EMBEDDING__MODEL", "hashed-ngrams");

/// One flush: which traces are closed when would else depend on how fast the machine replays.
const ONE_FLUSH: (&str, &str) = ("TRACERAG_LAKE__FLUSH_INTERVAL", "1h");

/// Queries and the answers that stand below them.
///
/// # Panics
/// If no answer stands below a query.
fn questions(document: &str) -> Vec<(&str, &str)> {
    let queries = document.split("```sql\n").skip(1);
    queries
        .map(|rest| {
            let (query, rest) = rest.split_once("```\n").expect("a query has an end");
            let answer = rest.strip_prefix("\n```text\n").and_then(|rest| rest.split_once("```\n"));
            (query, answer.unwrap_or_else(|| panic!("no answer stands below\n{query}")).0)
        })
        .collect()
}

/// Each query of `docs/questions.md` is asked of a lake of the recording, and its answer compared with the block below
/// it. Guarantees that the page shows what the program prints, for as many questions as its title says. With
/// `TRACERAG_TEST_WRITE_DOCS` set, answers that are others are written into the page instead.
#[test]
fn answers_are_as_the_page_shows_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/questions.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let questions = questions(&document);
    assert_eq!(questions.len(), 20, "twenty questions");
    let tracerag = replayed(&[MODEL, ONE_FLUSH]);
    let variables = [(MODEL.0.to_owned(), MODEL.1.to_owned())];
    let write = std::env::var_os("TRACERAG_TEST_WRITE_DOCS").is_some();
    let mut written = document.clone();
    for (query, shown) in questions {
        let ran = tracerag.run_with(&variables, &["sql", query]);
        assert_eq!(ran.status, 0, "{query}{}", ran.stderr);
        let block = |answer: &str| format!("{query}```\n\n```text\n{answer}```\n");
        written = written.replacen(&block(shown), &block(&ran.stdout), 1);
        let printed = &ran.stdout;
        assert!(write || shown == printed, "the page shows another answer than\n{query}has:\n{printed}");
    }
    if write {
        std::fs::write(path, written).unwrap();
    }
}
