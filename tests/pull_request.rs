//! From a patch to the description of its pull request, by the program as a build pipeline runs it.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::prompt::sources;
use crate::support::program::Tracerag;
use crate::support::repository::TestRepository;
use crate::verify::claims;
use crate::worked_example::{TRACE, replayed, replayed_with};

const GOOD: &str = "payments failed in strict mode [span:c3c3c3c3c3c3c3c3] [flag:payments.decimal_mode@payments] \
                    `flag(\"payments.decimal_mode\") = \"strict\"`.\n";

/// The worked example with its sources, the lock file of its build among them, and the id of its bundle.
fn example() -> (Tracerag, TestRepository, String) {
    let repository = sources();
    let sum = std::fs::read(repository.path().join("go.sum")).unwrap();
    let locks = json!({"go.sum": format!("sha256:{}", hex::encode(Sha256::digest(sum)))});
    let tracerag = replayed_with(&repository.head(), &locks);
    let id = tracerag.bundle(TRACE)["bundle_id"].as_str().unwrap().to_owned();
    (tracerag, repository, id)
}

fn patched(repository: &TestRepository) -> String {
    let text = std::fs::read_to_string(repository.path().join("payments/rounding.go")).unwrap();
    repository.write("payments/rounding.go", &text.replace("> 18", "> 40"));
    repository.write("payments/rounding_test.go", "package payments\n\nfunc TestRound() {}\n");
    repository.diff()
}

/// A patch of the file on the stack with its test holds with status 0, as a table and as JSON, from a file and from
/// standard input. One that changes a file beside has status 1 and says so, until that is allowed by name.
#[test]
fn a_patch_is_guarded() {
    let (tracerag, repository, id) = example();
    let repo = repository.path().display().to_string();
    let diff = patched(&repository);
    let file = tracerag.write("patch.diff", &diff).display().to_string();
    let printed = tracerag.write("bundle.json", tracerag.done(&["bundle", TRACE])).display().to_string();
    for bundle in [&id, &printed] {
        let text =
            tracerag.done(&["guard-patch", "--bundle", bundle, "--diff", &file, "--repo", &repo, "--format", "json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&report["holds"], &report["bundle_id"]), (&json!(true), &json!(id)), "{report:#}");
        let verdicts: Vec<&Value> = report["files"].as_array().unwrap().iter().map(|file| &file["verdict"]).collect();
        assert_eq!(verdicts, ["on_the_path", "test"]);
        assert_eq!(report["lock_files"][0]["holds"], true);
    }
    repository.write("payments/beside.go", "package payments\n\n// more\n");
    let beside = repository.diff();
    let guard = ["guard-patch", "--bundle", &id, "--repo", &repo, "--diff", "-"];
    let ran = tracerag.run_with_input(&guard, &beside);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("payments/beside.go") && ran.stdout.contains("refused"), "{}", ran.stdout);
    assert!(ran.stderr.contains("--allow"), "{}", ran.stderr);
    let allowed = [&guard[..], &["--allow", "payments/beside.go=the same bug"][..]].concat();
    let ran = tracerag.run_with_input(&allowed, &beside);
    assert_eq!(ran.status, 0, "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the same bug"), "{}", ran.stdout);
    let ran = tracerag.run_with_input(&guard, &diff.replace("payments/rounding", "../rounding"));
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    let small = [&guard[..], &["--max-lines", "1"][..]].concat();
    assert_eq!(tracerag.run_with_input(&small, &diff).status, 1);
    let twice = format!("sha256:{}", "0".repeat(64));
    let ran = tracerag.run(&["guard-patch", "--bundle", &twice, "--diff", &file, "--repo", &repo]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("bundle-unknown"), "{}", ran.stderr);
}

/// The description has the claims, the reach, the guarded files, the canary and the link, and its bundle is pinned by it.
#[test]
fn a_description_pins_its_bundle() {
    let (tracerag, repository, id) = example();
    let file = tracerag.write("patch.diff", patched(&repository)).display().to_string();
    let repo = repository.path().display().to_string();
    let report = tracerag.done(&["guard-patch", "--bundle", &id, "--diff", &file, "--repo", &repo, "--format", "json"]);
    let guard = tracerag.write("guard.json", &report).display().to_string();
    let canary = tracerag.write("canary.json", r#"{"verdict": "pass"}"#).display().to_string();
    let claims = tracerag.write("claims.md", GOOD).display().to_string();
    let pinned = || tracerag.number(&format!("select count(*) from bundles where pinned and bundle_id = '{id}'"));
    assert_eq!(pinned(), 0);
    let arguments = ["pr-body", "--bundle", &id, "--title", "Keep all digits", "--test", "TestRound", &claims];
    let more = ["--guard", &guard, "--canary", &canary, "--dashboard", "https://example.com/t?id=1"];
    let text = tracerag.done(&[&arguments[..], &more[..]].concat());
    assert_eq!(pinned(), 1);
    for wanted in [
        "## Keep all digits",
        id.as_str(),
        "- payments failed in strict mode",
        "`flag(\"payments.decimal_mode\") = \"strict\"` holds",
        "| traces with such failures | 1 |",
        "| users, by their tokens | 1 |",
        "`payments 1.9.0`",
        "`payments/rounding.go`",
        "Lock file `go.sum`",
        "**pass**",
        "(https://example.com/t?id=1)",
        "- `flag:payments.decimal_mode@payments` is `strict`",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let json = text.split("```json\n").last().unwrap().split("\n```").next().unwrap();
    let again = tracerag.write("again.json", json).display().to_string();
    tracerag.done(&["verify", "--bundle", &id, &again]);
}

/// One claim that does not hold, a report that does not hold or is about another bundle, and a canary without a verdict
/// each have status 1, nothing on standard output, and pin nothing.
#[test]
fn nothing_false_is_described() {
    let tracerag = replayed();
    let bundle = tracerag.bundle(TRACE);
    let id = bundle["bundle_id"].as_str().unwrap();
    let good = tracerag.write("good.json", claims(id).to_string()).display().to_string();
    let mut changed = claims(id);
    changed["claims"][0]["quotes"][0]["text"] = json!("decimal overflows");
    let bad = tracerag.write("bad.json", changed.to_string()).display().to_string();
    // A report that says that it holds, and has no file.
    let report = |bundle_id: &str| {
        json!({"bundle_id": bundle_id, "holds": true, "files": [], "lock_files": [], "limits": [], "allowed": [],
               "unclear": [], "reasons": []})
    };
    let refused = tracerag.write("refused.json", report(id).to_string()).display().to_string();
    let other = tracerag.write("other.json", report("sha256:00").to_string()).display().to_string();
    let none = tracerag.write("none.json", "{}").display().to_string();
    for (more, wanted) in [
        (vec![bad.as_str()], "quote: "),
        (vec![good.as_str(), "--guard", &refused], "does not keep to the evidence"),
        (vec![good.as_str(), "--guard", &other], "it is about sha256:00"),
        (vec![good.as_str(), "--guard", &none], "guard-patch"),
        (vec![good.as_str(), "--canary", &none], "verdict"),
    ] {
        let ran = tracerag.run(&[&["pr-body", "--bundle", id][..], &more[..]].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{more:?} {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{more:?}: {}", ran.stderr);
    }
    assert_eq!(tracerag.run(&["pr-body", "--bundle", id, &good, "--dashboard", "javascript:x"]).status, 2);
    assert_eq!(tracerag.number("select count(*) from bundles where pinned"), 0);
    let text = tracerag.done(&["pr-body", "--bundle", id, &good]);
    assert!(text.contains("all 6 claims hold"), "{text}");
}
