//! True claims that are changed a little are false; and nothing makes the parsers panic.

use proptest::prelude::*;

use super::*;

/// Predicates that hold for one value only, so that whatever is changed in them makes them false.
const EXACT: &[&str] = &[
    r#"status(span:$root) = ERROR"#,
    r#"attribute(span:$root, "http.response.status_code") = 502"#,
    r#"attribute(span:$root, "http.route") = "/checkout""#,
    r#"duration(span:$root) = 4s"#,
    r#"contains(log:2, "overflow")"#,
    r#"severity(log:1) = WARN"#,
    r#"ancestor(span:$root, span:$pay)"#,
    r#"before(flag:payments.decimal_mode@payments, span:$pay)"#,
    r#"event(span:$pay, "exception")"#,
    r#"flag("payments.decimal_mode") = "strict""#,
    r#"config("payments.pool.size") = "20""#,
    r#"version("payments") = "1.9.0""#,
    r#"git_sha("payments") = "a1b2c3d""#,
    r#"failures("abcd") = 1"#,
    r#"heap_bytes(heap:0, "decimal.Big") = 3840000"#,
    r#"payload(payload:$pay#request, "/amount") = "12.345678901234567890""#,
    r#"payload_type(payload:$pay#request, "/amount") = string"#,
    r#"payload_length(payload:$pay#request, "/amount") = 21"#,
    r#"exception_type(failure:0) = "OverflowError""#,
    r#"fingerprint(failure:0) = "abcd""#,
    r#"frame(failure:0, $line)"#,
    r#"metric_max(metric:0) = 2"#,
];

/// Each letter and digit of each exact predicate is replaced by every other one. Guarantees, over tens of thousands of
/// changes, that another id, value, unit, variant, version, commit, line or pointer is never accepted.
#[test]
fn no_changed_predicate_holds() {
    let bundle = bundle();
    let facts = Facts::new(&bundle, true);
    let mut tried = 0;
    for predicate in EXACT.iter().map(|predicate| text(predicate)) {
        assert_eq!(why_not(&facts, &predicate), "", "{predicate}");
        for (at, old) in predicate.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()) {
            for new in ('0'..='9').chain('a'..='z').chain('A'..='Z').filter(|new| *new != old) {
                let mut changed = predicate.clone();
                changed.replace_range(at..at + 1, &new.to_string());
                assert_ne!(why_not(&facts, &changed), "", "{changed}");
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

/// Each predicate with an order, the other way round, for every two entries that have a time or are spans. Guarantees
/// that of two orders never both are accepted.
#[test]
fn no_order_holds_both_ways() {
    let bundle = bundle();
    let facts = Facts::new(&bundle, true);
    let evidence = &bundle.evidence;
    let mut anchors: Vec<&String> = evidence.spans.iter().map(|span| &span.anchor).collect();
    let spans = anchors.len();
    anchors.extend(evidence.logs.iter().map(|log| &log.anchor));
    anchors.extend(evidence.failures.iter().map(|failure| &failure.anchor));
    anchors.extend(evidence.metrics.iter().map(|metric| &metric.anchor));
    anchors.extend(evidence.heaps.iter().map(|heap| &heap.anchor));
    anchors.extend(evidence.builds.iter().map(|build| &build.anchor));
    anchors.extend(evidence.flags.iter().map(|flag| &flag.anchor));
    let mut held = 0;
    for (index, one) in anchors.iter().enumerate() {
        for (place, other) in anchors.iter().enumerate() {
            for function in ["before", "ancestor"] {
                if function == "ancestor" && (index >= spans || place >= spans) {
                    continue;
                }
                let there = why_not(&facts, &format!("{function}({one}, {other})"));
                let back = why_not(&facts, &format!("{function}({other}, {one})"));
                assert!(!there.is_empty() || !back.is_empty(), "{function}({one}, {other}) and back");
                held += usize::from(there.is_empty());
            }
        }
    }
    assert!(held > 20, "{held}");
}

/// What a log record and a failure say is quoted whole, then with each character replaced, and without its first and last
/// character. Guarantees that a quote is verbatim to the character.
#[test]
fn no_changed_quote_is_accepted() {
    let subject = Subject::known(bundle());
    let id = subject.bundle_id().unwrap().to_owned();
    let accepts = |anchor: &str, quote: &str| {
        let claim = json!({"id": "c", "text": "", "anchors": [anchor], "quotes": [{"anchor": anchor, "text": quote}]});
        verify(&subject, "acme", &document(&id, claim)).claims[0]
            .reasons
            .iter()
            .all(|reason| check(&reason.to_string()) == "claims")
    };
    for (anchor, quote) in
        [("log:1", "pool exhausted"), ("log:2", "decimal overflow"), ("failure:0", "decimal overflow")]
    {
        assert!(accepts(anchor, quote), "{anchor} {quote}");
        for (at, old) in quote.char_indices() {
            for new in ['x', 'X', '0', '.', '\u{430}', '\u{2009}'].into_iter().filter(|new| *new != old) {
                let mut changed = quote.to_owned();
                changed.replace_range(at..at + 1, &new.to_string());
                // All white space is one space.
                assert!(!accepts(anchor, &changed) || (old == ' ' && new.is_whitespace()), "{anchor} {changed:?}");
            }
        }
        assert!(!accepts(anchor, &quote[1..]) && !accepts(anchor, &quote[..quote.len() - 1]), "{quote}");
    }
}

proptest! {
    /// Anything may be said of the bundle, near to the grammars or far from them: nothing panics, and what is accepted
    /// gives at least an anchor, and a quote or a predicate.
    #[test]
    fn no_text_breaks_the_verifier(
        text in r#"((- |# |> |\| |```\n?|<!-- ?|-->)?(\[?(span|log|flag|heap|x):[a-z0-9@~/#%.]{0,9}\]?|"[a-z ]{0,9}"?|`?[a-z]{0,9}\(?[a-z:"0-9]{0,9}\)? ?(=|<|>=)? ?[0-9.e-]{0,5}[a-z%]{0,3}`?|[ -~]{0,12}|\PC{0,6})[ .!?\n]{0,3}){0,12}"#,
    ) {
        let subject = Subject::known(bundle());
        if let Ok(document) = Document::read(&text) {
            let report = verify(&subject, "acme", &document);
            let accepted = report.claims.iter().filter(|claim| claim.accepted).count();
            prop_assert!(accepted == 0 || report.coverage > 0.0);
            prop_assert!((0.0..=1.0).contains(&report.grounding_precision));
        }
    }

    /// No text breaks the parser of predicates; what is read once is read again.
    #[test]
    fn no_text_breaks_the_parser(
        text in r#"\PC{0,20}|(status|before|payload|heap_share|contains)? ?\(?(span:[a-f0-9]{0,4}|log:[0-9]{0,3}|"\PC{0,6}"?)?,? ?("\PC{0,6}"?)?\)? ?(=|!=|<|>=)? ?(-?[0-9.]{0,40}(e[0-9]{0,4})?(s|ms|MB|%|parsec)?|[A-Za-z]{0,6}|"\PC{0,6}"?)"#,
    ) {
        if let Ok(predicate) = parse::predicate(&text) {
            prop_assert!(parse::predicate(&predicate.text).is_ok());
        }
    }

    /// Whatever stands in the place of a bundle and of its claims, nothing panics and nothing is accepted.
    #[test]
    fn no_file_breaks_the_verifier(file in r#"\{?("bundle_id"|"evidence"|"schema")?:?[\PC]{0,30}\}?"#) {
        let subject = Subject::of_file(&file, &[]);
        prop_assert!(!subject.counts());
        if let Ok(document) = Document::read(&file) {
            prop_assert!(!verify(&subject, "acme", &document).all_hold);
        }
    }
}
