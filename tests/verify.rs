//! Claims about the worked example, verified by the program as an agent or a build pipeline runs it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::program::Tracerag;
use crate::worked_example::{TRACE, replayed};

/// Claims about the worked example that are true, of several kinds.
pub fn claims(bundle_id: &str) -> Value {
    json!({"schema": "tracerag.claims/1", "bundle_id": bundle_id, "claims": [
        {"id": "mode", "text": "payments failed in strict mode",
         "anchors": ["span:c3c3c3c3c3c3c3c3", "flag:payments.decimal_mode@payments"],
         "quotes": [{"anchor": "log:1", "text": "decimal overflow"}],
         "predicates": ["status(span:c3c3c3c3c3c3c3c3) = ERROR", "flag(\"payments.decimal_mode\") = \"strict\""]},
        {"id": "answer", "text": "checkout answered 502 in less than 1 s", "anchors": ["span:ac1d92b0ac1d92b0"],
         "predicates": ["duration(span:ac1d92b0ac1d92b0) < 1s"]},
        {"id": "build", "text": "payments 1.9.0 at a1b2c3d was deployed before the failure",
         "anchors": ["build:payments@1.9.0", "failure:1"],
         "predicates": ["version(\"payments\") = \"1.9.0\"", "git_sha(\"payments\") = \"a1b2c3d\"",
                        "deployed_before(\"payments\", failure:1)"]},
        {"id": "heap", "text": "decimal.Big holds more than 40% of the heap", "anchors": ["heap:0"],
         "predicates": ["heap_share(heap:0, \"decimal.Big\") > 40%"]},
        {"id": "path", "text": "checkout called payments", "anchors": ["span:ac1d92b0ac1d92b0", "span:c3c3c3c3c3c3c3c3"],
         "predicates": ["ancestor(span:ac1d92b0ac1d92b0, span:c3c3c3c3c3c3c3c3)"]},
        {"id": "amount", "text": "The amount 12.345678901234567890 has 21 characters",
         "anchors": ["payload:ac1d92b0ac1d92b0#request/amount"],
         "predicates": ["payload_length(payload:ac1d92b0ac1d92b0#request, \"/amount\") = 21"]},
    ]})
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The exit status and the report.
fn report(tracerag: &Tracerag, bundle: &str, claims: &Path) -> (i32, Value) {
    let ran = tracerag.run(&["verify", "--format", "json", "--bundle", bundle, path(claims)]);
    let report = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
    (ran.status, report)
}

/// True claims about a bundle of the lake are accepted with status 0, named by the id or by the file that was printed.
/// One digit, one word or one character that is changed has status 1 and the reason with its claim, and the others stay
/// accepted.
#[test]
fn true_claims_hold_and_changed_ones_do_not() {
    let tracerag = replayed();
    let text = tracerag.done(&["bundle", TRACE]);
    let file = tracerag.write("bundle.json", &text);
    let bundle: Value = serde_json::from_str(&text).unwrap();
    let id = bundle["bundle_id"].as_str().unwrap();
    let good = claims(id);
    let claims = tracerag.write("claims.json", good.to_string());
    for bundle in [id, path(&file)] {
        let (status, report) = report(&tracerag, bundle, &claims);
        assert_eq!((status, &report["all_hold"]), (0, &json!(true)), "{report:#}");
        assert_eq!(report["bundle_id"], id);
        assert_eq!((&report["grounding_precision"], &report["citation_recall"]), (&json!(1.0), &json!(1.0)));
    }
    for (number, old, new, wanted) in [
        (0, "= \\\"strict\\\"", "= \\\"lenient\\\"", "predicate: "),
        (0, "decimal overflow", "decimal overflows", "quote: log:1 does not contain"),
        (0, "strict mode", "lenient mode", "names: "),
        (1, "502", "503", "names: "),
        (1, "< 1s", "< 900ms", "predicate: "),
        (2, "a1b2c3d\\\"", "a1b2c3e\\\"", "predicate: "),
        (3, "heap:0\"", "heap:1\"", "existence: "),
        (
            4,
            "(span:ac1d92b0ac1d92b0, span:c3c3c3c3c3c3c3c3)",
            "(span:c3c3c3c3c3c3c3c3, span:ac1d92b0ac1d92b0)",
            "causality: ",
        ),
        (5, "7890 has", "7891 has", "names: "),
    ] {
        let mut changed = good.clone();
        let claim = changed["claims"][number].to_string();
        assert!(claim.contains(old), "{claim} has {old}");
        changed["claims"][number] = serde_json::from_str(&claim.replacen(old, new, 1)).unwrap();
        let claims = tracerag.write("changed.json", changed.to_string());
        let (status, report) = report(&tracerag, id, &claims);
        assert_eq!(status, 1, "{old} {new}");
        let rejected: Vec<&Value> =
            report["claims"].as_array().unwrap().iter().filter(|claim| claim["accepted"] == false).collect();
        assert_eq!(rejected.len(), 1, "{report:#}");
        assert_eq!(rejected[0]["id"], good["claims"][number]["id"]);
        assert!(rejected[0]["reasons"].to_string().contains(wanted), "{report:#}");
    }
}

/// The same in Markdown on standard input, as a table: a sentence without an anchor is rejected, and so is a quote of
/// what redaction has masked. A bundle that nobody knows, and claims that cannot be read, have status 1, too.
#[test]
fn markdown_is_verified_from_standard_input() {
    let tracerag = replayed();
    let bundle = tracerag.bundle(TRACE);
    let id = bundle["bundle_id"].as_str().unwrap();
    let good = "# Cause\n\npayments failed in strict mode [span:c3c3c3c3c3c3c3c3] [flag:payments.decimal_mode@payments] \
                `flag(\"payments.decimal_mode\") = \"strict\"`.\n";
    let run = |text: &str| tracerag.run_with_input(&["verify", "--bundle", id, "-"], text);
    let ran = run(good);
    assert_eq!(ran.status, 0, "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("L3") && ran.stdout.contains("1 of 1 claims hold"), "{}", ran.stdout);
    for (more, wanted) in [
        ("The database was down, too.", "coverage: "),
        ("payments wrote \"mail <email>\" [log:1].", "redacted: "),
        ("```\nsecret", "claims: "),
    ] {
        let ran = run(&format!("{good}\n{more}\n"));
        assert_eq!(ran.status, 1, "{more}");
        assert!(ran.stdout.contains(wanted) && ran.stderr.contains("docs/agents.md"), "{} {}", ran.stdout, ran.stderr);
    }
    let unknown = format!("sha256:{}", "0".repeat(64));
    let ran = tracerag.run_with_input(&["verify", "--bundle", &unknown, "-"], good);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("bundle-unknown"), "{}", ran.stderr);
    assert_eq!(tracerag.run(&["verify", "claims.json"]).status, 2, "a bundle has to be named");
    assert_eq!(tracerag.run(&["verify", "--bundle", id, "no-such-file"]).status, 1);
}

/// Where there is no lake, a file counts only with the signature of an installation whose public key is named; that key is
/// what `keys` prints. A forged file, whose hash is consistent, and one that is signed by somebody else, are rejected.
#[test]
fn a_signed_file_needs_no_lake() {
    let tracerag = replayed();
    let elsewhere = tracerag.path("elsewhere");
    let private = |digit: &str| vec![("TRACERAG_SIGNING__KEY".to_owned(), digit.repeat(64))];
    let keys = tracerag.run_with(&private("1"), &["keys", "--format", "json"]);
    let keys: Value = serde_json::from_str(&keys.stdout).unwrap();
    let trusted = vec![("TRACERAG_SIGNING__PUBLIC_KEYS".to_owned(), keys["public_keys"].to_string())];
    let signed = |digit: &str| tracerag.run_with(&private(digit), &["bundle", TRACE]).stdout;
    let plain = tracerag.done(&["bundle", TRACE]);
    let bundle: Value = serde_json::from_str(&plain).unwrap();
    let claims = tracerag.write("claims.json", claims(bundle["bundle_id"].as_str().unwrap()).to_string());
    let verify = |text: &str| {
        let file: PathBuf = tracerag.write("bundle.json", text);
        let arguments =
            ["verify", "--format", "json", "--bundle", path(&file), path(&claims), "--lake", path(&elsewhere)];
        let ran = tracerag.run_with(&trusted, &arguments);
        (ran.status, serde_json::from_str::<Value>(&ran.stdout).unwrap())
    };
    let (status, report) = verify(&signed("1"));
    assert_eq!((status, &report["all_hold"]), (0, &json!(true)), "{report:#}");
    let mut forged: Value = serde_json::from_str(&signed("1")).unwrap();
    forged["evidence"]["flags"][1]["variant"] = json!("lenient");
    forged["bundle_id"] = json!(tracerag_schemas::bundle::content_id(&forged["evidence"]).unwrap());
    for text in [plain, signed("2"), forged.to_string()] {
        let (status, report) = verify(&text);
        assert_eq!(status, 1);
        assert_eq!(report["claims"].to_string().matches("unattested: ").count(), 6, "{report:#}");
    }
    assert!(tracerag.run(&["keys"]).stderr.contains("signing.key"));
}

/// A bundle that was erased is evidence of nothing any more, neither by its id nor by a file that somebody has kept, signed
/// as it may be; it is not handed out again, and its content is in no file of the lake.
#[test]
fn an_erased_bundle_fails_closed() {
    let tracerag = replayed();
    let key = vec![("TRACERAG_SIGNING__KEY".to_owned(), "1".repeat(64))];
    let signed = tracerag.run_with(&key, &["bundle", TRACE]).stdout;
    let bundle: Value = serde_json::from_str(&signed).unwrap();
    let id = bundle["bundle_id"].as_str().unwrap();
    let file = tracerag.write("bundle.json", &signed);
    let claims = tracerag.write("claims.json", claims(id).to_string());
    assert_eq!(tracerag.run_with(&key, &["verify", "--bundle", path(&file), path(&claims)]).status, 0);
    assert_ne!(tracerag.files_with("tracerag.bundle/1"), Vec::<PathBuf>::new());
    tracerag.done(&["snapshot", "create", "held"]);
    let ran = tracerag.run(&["bundle", "erase", id]);
    assert!(ran.status == 1 && ran.stderr.contains("snapshot drop held"), "{}", ran.stderr);
    tracerag.done(&["snapshot", "drop", "held"]);
    tracerag.done(&["bundle", "erase", id]);
    for arguments in [
        &["verify", "--bundle", id, path(&claims)][..],
        &["verify", "--bundle", path(&file), path(&claims)],
        &["bundle", id],
        &["bundle", TRACE],
        &["bundle", "pin", id],
        &["sql", &format!("select bundle_id from evidence_bundle('{TRACE}')")],
    ] {
        let ran = tracerag.run_with(&key, arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(ran.stderr.contains("erased: the evidence"), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(tracerag.files_with("tracerag.bundle/1"), Vec::<PathBuf>::new());
    assert_eq!(
        tracerag.number(&format!("select count(*) from bundles where bundle_id = '{id}' and bundle is null")),
        1
    );
    tracerag.done(&["bundle", "erase", id]);
}
