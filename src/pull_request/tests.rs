//! The description as its readers get it.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::patch::Report as GuardReport;
use crate::repository::tests::bundle;

fn claim(text: &str) -> Claim {
    serde_json::from_value(json!({
        "id": "c1", "text": text, "anchors": ["failure:0"], "quotes": [{"anchor": "failure:0", "text": "over`flow"}],
        "predicates": ["fingerprint(failure:0) = \"abcd\""],
    }))
    .unwrap()
}

fn verified() -> Report {
    let claim = tracerag_query::verify::ClaimReport {
        id: String::from("c1"),
        accepted: true,
        reasons: vec![],
        text: String::new(),
    };
    Report {
        bundle_id: None,
        all_hold: true,
        grounding_precision: 1.0,
        citation_recall: 1.0,
        coverage: 1.0,
        reasons: vec![],
        claims: vec![claim],
    }
}

fn impact() -> Impact {
    Impact {
        failures: 1_200,
        traces: 1_100,
        services: vec![String::from("checkout"), String::from("payments")],
        versions: vec![(String::from("payments"), String::from("1.9.0"))],
        users: 41,
        first_seen: Some(String::from("2026-11-16T12:00:05Z")),
        last_seen: None,
    }
}

fn guarded() -> GuardReport {
    serde_json::from_value(json!({
        "bundle_id": "sha256:00", "holds": true,
        "files": [{"path": "payments/rounding.go", "change": "modified", "added": 2, "deleted": 1,
                   "verdict": "allowed_by_name", "why": "it has the *same* bug"}],
        "lock_files": [{"build": "build:payments@1.9.0", "file": "go.sum", "holds": true, "why": "payments/go.sum"}],
        "limits": [{"name": "files changed", "value": 1, "most": 10, "holds": true}],
        "allowed": [], "unclear": [], "reasons": [],
    }))
    .unwrap()
}

/// Everything that was given stands in the description, each in its section: the pinned bundle, claims with their
/// anchors, quotes and predicates, how far it reaches, test, files with reasons, canary, link, builds and flags, and the
/// claims as a document that can be verified again.
#[test]
fn a_description_has_everything() {
    let bundle = bundle(&"a1b2c3d".repeat(6)[..40], &[]);
    let (claim, verified, impact, guarded) = (claim("payments failed"), verified(), impact(), guarded());
    let canary = Canary::read(r#"{"verdict": "pass", "errors": 0.01, "latency": {"p99": 3}}"#).unwrap();
    let text = Description {
        title: Some("Keep all digits"),
        bundle: &bundle,
        verified: &verified,
        claims: vec![&claim],
        impact: &impact,
        tests: &[String::from("payments: TestRound")],
        guard: Some(&guarded),
        trial: None,
        canary: Some(&canary),
        dashboard: Some("https://example.com/t"),
    }
    .markdown();
    let id = &bundle.bundle_id;
    for wanted in [
        "## Keep all digits\n",
        &format!("`{id}`, which is pinned."),
        "[Look at it](https://example.com/t)",
        "- payments failed\n  - at `failure:0`\n  - ``over`flow`` stands in `failure:0`\n",
        "  - `fingerprint(failure:0) = \"abcd\"` holds",
        "all 1 claims hold; grounding precision 100 %",
        "| traces with such failures | 1,100 |",
        "| users, by their tokens | 41 |",
        "| versions that failed | `payments 1.9.0` |",
        "- test `payments: TestRound`",
        "| `payments/rounding.go` | +2 -1 | allowed by name: it has the \\*same\\* bug |",
        "Lock file `payments/go.sum` is that of `build:payments@1.9.0`.",
        "**pass**\n\n- `errors`: `0.01`\n",
        "- `build:payments@1.9.0` is `a1b2c3d",
        "- `flag:mode@payments` is `strict` (as the service evaluated it)",
        &format!("tracerag verify --bundle {id} claims.json"),
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let json = text.split("```json\n").last().unwrap().split("\n```").next().unwrap();
    let again: Claims = serde_json::from_str(json).unwrap();
    assert_eq!((again.bundle_id.as_str(), again.claims), (id.as_str(), vec![claim]));
}

/// A claim's text that would format, link, notify or open a tag stays text.
#[test]
fn texts_format_nothing() {
    assert_eq!(plain("a_b **c** [d](e)\n<img>"), "a\\_b \\*\\*c\\*\\* \\[d\\](e) \\<img\\>");
    assert_eq!(plain("@team \u{202e}#1"), "@<!-- -->team \\#<!-- -->1");
    assert_eq!(plain("gh-1 a/b!2 50%"), "gh-<!-- -->1 a/b\\!<!-- -->2 50%<!-- -->");
    assert_eq!(plain("https://example.com/a/issues/1"), "https://<!-- -->example.com/a/issues/1");
}

/// An outcome without one of the three verdicts is refused.
#[test]
fn a_canary_has_a_verdict() {
    for text in ["", "[]", "{}", r#"{"verdict": "good"}"#] {
        assert!(Canary::read(text).is_err(), "{text}");
    }
}
