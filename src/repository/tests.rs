//! Repositories that are made for a test, and a bundle that cites them.

#![allow(clippy::unwrap_used)]

// The end-to-end tests have it, too.
#[path = "../../tests/support/repository.rs"]
mod support;

use serde_json::{Value, json};
use tracerag_schemas::bundle::{Bundle, Context};

use super::*;
pub(crate) use support::TestRepository;

/// A file with a function from line 3 to 8.
pub(crate) const ROUNDING: &str =
    "package payments\n\nfunc Round(x int) int {\n\tif x > 9 {\n\t\tpanic(\"overflow\")\n\t}\n\treturn x\n}\n";

/// A bundle whose one failure has these frames (file, line, function), of service payments at a commit.
pub(crate) fn bundle(sha: &str, frames: &[(&str, u32, &str)]) -> Bundle {
    let frames: Vec<Value> = frames
        .iter()
        .map(|(file, line, function)| {
            let anchor = format!("code:{file}:{line}@{sha}");
            json!({"function": function, "file": file, "line": line, "in_app": true, "anchor": anchor})
        })
        .collect();
    let evidence = json!({
        "schema": "tracerag.bundle/1", "tenant": "default", "sealed": true,
        "trace": {"trace_id": "7c1e0b0fd36c44a1b36f0c5a3d1e9f42", "revision": 1, "root_span_id": null,
                  "root_name": "POST /checkout", "services": ["payments"], "service_graph": [], "started_at": null,
                  "duration_ns": 5, "status": "ERROR", "complete": true, "incomplete_reasons": []},
        "resources": [], "spans": [], "logs": [], "metrics": [], "payloads": [], "heaps": [], "linked": [],
        "failures": [{"anchor": "failure:0", "fingerprint": "abcd", "kind": "exception", "time": null,
                      "exception_type": "Overflow", "message": "overflow", "service": "payments",
                      "span_id": "c3c3c3c3c3c3c3c3", "frames": frames, "grouped_by": null}],
        "builds": [{"anchor": "build:payments@1.9.0", "service": "payments", "instance": null, "environment": null,
                    "version": "1.9.0", "git_sha": sha, "build_number": null, "artifact": null, "lockfile_digests": {},
                    "schema_migrations": [], "deployed_at": null, "match": "stated", "candidates": []}],
        "flags": [{"anchor": "flag:mode@payments", "kind": "flag", "key": "mode", "variant": "strict", "value": null,
                   "service": "payments", "instance": null, "environment": null, "since": null, "match": "evaluated",
                   "span_id": null, "candidates": []}],
        "redaction": {"policy": "standard", "version": 1, "counts": {}}, "omitted": {},
    });
    Bundle::new(serde_json::from_value(evidence).unwrap(), Context::default()).unwrap()
}

/// Files and bytes of a commit are those of git, by a part of its digits, whatever the work tree has by now; links and
/// submodules are told from files.
#[test]
fn commits_are_read_from_objects() {
    let made = TestRepository::of(&[("go.mod", "module shop\n"), ("pay/rounding.go", ROUNDING)]);
    std::os::unix::fs::symlink("pay", made.path().join("link")).unwrap();
    let sha = made.commit();
    made.write("pay/rounding.go", "changed");
    let repository = Repository::open(made.path()).unwrap();
    let commit = repository.commit(&sha[..12]).unwrap();
    assert_eq!(commit.sha, sha);
    let paths: Vec<(&str, Kind)> = commit.files.iter().map(|(path, entry)| (path.as_str(), entry.kind)).collect();
    assert_eq!(paths, [("go.mod", Kind::File), ("link", Kind::Link), ("pay/rounding.go", Kind::File)]);
    assert_eq!(commit.read(&commit.files["pay/rounding.go"]).unwrap(), ROUNDING.as_bytes());
}

/// A folder that is no repository, a commit that is not there, a branch with a name of hex digits, and what is no commit
/// at all are errors that say what to do.
#[test]
fn what_is_not_there_is_said() {
    let made = TestRepository::of(&[("a.py", "x = 1\n")]);
    made.git(&["branch", "abcdef0"]);
    let repository = Repository::open(made.path()).unwrap();
    for digits in ["a1b2c3da1b2c3d", "abcdef0", "HEAD", "--help", "abc", ""] {
        let error = repository.commit(digits).unwrap_err();
        assert!(matches!(error, RepositoryError::NoCommit { .. }) && error.to_string().contains("fetch it"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = Repository::open(folder.path()).unwrap_err();
    assert!(matches!(error, RepositoryError::NoRepository { .. }), "{error}");
}

/// Names of stacks find their file by a prefix, a path, a Go module, a Java package and the longest end; two that fit
/// alike are both told, and a name alone is known to be no more.
#[test]
fn frames_find_their_files() {
    let files = [
        ("go.mod", "module example.com/shop // the shop\n"),
        ("payments/rounding.go", ROUNDING),
        ("lib/go.mod", "module example.com/lib\n"),
        ("lib/money/money.go", "package money\n"),
        ("main.go", "package main\n"),
        ("cmd/main.go", "package main\n"),
        ("src/main/java/com/acme/Orders.java", "class Orders {}\n"),
        ("other/src/com/zeta/Orders.java", "class Orders {}\n"),
        ("a/util/text.py", ""),
        ("b/util/text.py", ""),
        ("shop/only.py", ""),
    ];
    let made = TestRepository::of(&files);
    let commit = Repository::open(made.path()).unwrap().commit(&made.head()).unwrap();
    let prefixes = [Prefix { from: String::from("/srv/old"), to: String::from("payments/") }];
    let locator = Locator::new(&commit, &prefixes).unwrap();
    for (file, function, path, how) in [
        ("/srv/old/rounding.go", None, "payments/rounding.go", How::Prefix),
        ("payments/rounding.go", None, "payments/rounding.go", How::Path),
        ("./payments\\rounding.go", None, "payments/rounding.go", How::Path),
        ("example.com/shop/payments/rounding.go", None, "payments/rounding.go", How::Module),
        (
            "/build/x/rounding.go",
            Some("example.com/shop/payments.(*Ledger).Round"),
            "payments/rounding.go",
            How::Module,
        ),
        ("example.com/lib/money/money.go", None, "lib/money/money.go", How::Module),
        ("Orders.java", Some("com.acme.Orders$Line.total"), "src/main/java/com/acme/Orders.java", How::Package),
        ("Orders.java", Some("app//com.zeta.Orders.total"), "other/src/com/zeta/Orders.java", How::Package),
        ("/app/payments/rounding.go", None, "payments/rounding.go", How::Suffix),
        ("/app/main.go", None, "main.go", How::Suffix),
        ("webpack:///b/util/text.py?x", None, "b/util/text.py", How::Path),
        ("/usr/lib/elsewhere/only.py", None, "shop/only.py", How::Name),
    ] {
        let found = locator.find(file, function);
        assert_eq!(found, Place::One { path: path.to_owned(), how }, "{file} {function:?}");
    }
    let several = Place::Several(vec![String::from("a/util/text.py"), String::from("b/util/text.py")]);
    assert_eq!(locator.find("/app/util/text.py", None), several);
    assert!(matches!(locator.find("Orders.java", None), Place::Several(paths) if paths.len() == 2));
    for nowhere in ["rounding.rs", "", "/", "..", "/srv/oldest/none.go"] {
        assert_eq!(locator.find(nowhere, None), Place::Nowhere, "{nowhere}");
    }
}

/// The function round a line in each language: the innermost that has a name, whole, with its decorators.
#[test]
fn slices_are_functions() {
    let python = "import x\n\n\n@retry\ndef pay(a):\n    def inner(b):\n        return b\n\n    return inner(a)\n";
    let java =
        "class Orders {\n  int total() {\n    return all.stream()\n      .map(x -> x + 1)\n      .sum();\n  }\n}\n";
    let javascript =
        "const a = 1;\nconst pay = async (x) => {\n  return x;\n};\nclass C {\n  go() {\n    return 1;\n  }\n}\n";
    for (path, text, line, first, last, function) in [
        ("a.go", ROUNDING, 5, 3, 8, Some("Round")),
        ("a.py", python, 9, 4, 9, Some("pay")),
        ("a.py", python, 7, 6, 7, Some("inner")),
        ("Orders.java", java, 4, 2, 6, Some("total")),
        ("a.js", javascript, 3, 2, 4, None),
        ("a.mjs", javascript, 7, 6, 8, Some("go")),
        ("a.go", ROUNDING, 1, 1, 8, None),
        ("a.rb", "one\ntwo\n", 2, 1, 2, None),
    ] {
        let lines = enclosing(path, text, line).unwrap();
        assert_eq!((lines.first, lines.last, lines.function.as_deref()), (first, last, function), "{path} {line}");
    }
    for line in [0, 99] {
        assert_eq!(enclosing("a.go", ROUNDING, line), None);
    }
}

/// Source that is no program of its language, in the middle of a line or with odd bytes, is cut somewhere, not refused.
#[test]
fn broken_source_is_cut_too() {
    for text in ["func (", "func Round(\u{202e}\n\n{{{{", "\n\n\n"] {
        assert!(enclosing("a.go", text, 1).is_some(), "{text:?}");
    }
}
