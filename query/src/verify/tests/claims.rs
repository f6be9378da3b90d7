//! Claims: texts, anchors, quotes and predicates together.

use super::*;

/// Each row is a claim in Markdown, and the checks that reject it; none where it is accepted.
const CLAIMS: &[(&str, &str)] = &[
    // Support.
    (
        r#"payments failed in strict mode [span:$pay] [flag:payments.decimal_mode@payments] `status(span:$pay) = ERROR` `flag("payments.decimal_mode") = "strict"`."#,
        "",
    ),
    (r#"payments failed [span:$pay]."#, "unsupported"),
    (r#"payments failed."#, "coverage"),
    (r#"payments failed `status(span:$pay) = ERROR`."#, "coverage"),
    (r#"payments failed [span:ffffffffffffffff] `status(span:$pay) = ERROR`."#, "existence"),
    (r#"payments failed [spam:1] `status(span:$pay) = ERROR`."#, "existence"),
    (r#"payments failed [log:01] `status(span:$pay) = ERROR`."#, "existence"),
    (r#"payments failed [span:$pay~2] `status(span:$pay) = ERROR`."#, "existence"),
    (r#"payments failed [payload:$pay#request/nothing] `status(span:$pay) = ERROR`."#, "existence"),
    (
        r#"The amount has many digits [payload:$pay#request/amount] `payload_length(payload:$pay#request, "/amount") >= 20`."#,
        "",
    ),
    (r#"payments links another trace [link:1] `status(span:$pay) = ERROR`."#, ""),
    (r#"payments met a known incident [incident:abcd] [span:$pay] `status(span:$pay) = ERROR`."#, ""),
    (r#"payments was quiet [log:4] `severity(log:4) = INFO`."#, "scope"),
    // Quotes.
    (r#"payments logged "decimal overflow" [log:2]."#, ""),
    (r#"payments logged “decimal overflow” [log:2]."#, ""),
    (r#"payments logged "decimal overflow." [log:2]."#, "quote"),
    (r#"payments logged "decimal overflo" [log:2]."#, "quote"),
    (r#"payments logged "Decimal overflow" [log:2]."#, "quote"),
    (r#"payments logged "decimal overflow" [log:1]."#, "quote"),
    (r#"payments logged "" [log:2]."#, "quote"),
    (r#"payments said "sent for order 88123" [log:3]."#, ""),
    (r#"payments said "mail sent" [log:3]."#, "quote"),
    (r#"payments said "mail <email> sent" [log:3]."#, "redacted"),
    (r#"payments read "12.345678901234567890" [payload:$pay#request/amount] [span:$pay]."#, ""),
    (r#"payments read "12.34567890123456789" [payload:$pay#request/amount] [span:$pay]."#, "quote"),
    (r#"The cache is "on" [flag:checkout.cache]."#, "quote"),
    (r#"The cache is "on" [flag:checkout.cache@checkout]."#, ""),
    // Names.
    (r#"checkout failed [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"payments failed in strict mode [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (
        r#"payments failed in lenient mode [span:$pay] [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "names",
    ),
    (
        r#"payments.decimal_mode was set to lenient [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "contradiction names",
    ),
    (
        r#"payments.decimal_mode was set to strict [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "",
    ),
    (r#"The inventory service of payments failed [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"The database was slow [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"payments is OK [span:$pay] `status(span:$pay) = ERROR`."#, "contradiction names"),
    (r#"payments 1.9.0 failed [span:$pay] `version("payments") = "1.9.0"`."#, ""),
    (r#"payments 1.9.1 failed [span:$pay] `version("payments") = "1.9.0"`."#, "names"),
    (r#"payments ran a1b2c3d [build:payments] `git_sha("payments") = "a1b2c3d4e5"`."#, ""),
    (r#"payments ran a1b2c3e [build:payments] `git_sha("payments") = "a1b2c3d4e5"`."#, "names"),
    (r#"payments broke in rounding.go:117 [$line] `exception_type(failure:0) = "OverflowError"`."#, ""),
    (r#"payments broke in rounding.go:118 [$line] `exception_type(failure:0) = "OverflowError"`."#, "names"),
    (r#"payments threw `OverflowError` [failure:0] `exception_type(failure:0) = "OverflowError"`."#, ""),
    (r#"payments threw `ValueError` [failure:0] `exception_type(failure:0) = "OverflowError"`."#, "names"),
    ("p\u{430}yments failed [span:$pay] `status(span:$pay) = ERROR`.", "names"),
    ("pay\u{200b}ments failed [span:$pay] `status(span:$pay) = ERROR`.", "claims names"),
    (r#"Trace 0af7651916cd43dd8448eb211c80319c failed in payments [span:$pay] `status(span:$pay) = ERROR`."#, ""),
    (r#"Trace 1cf7651916cd43dd8448eb211c80319c failed in payments [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    // Numbers.
    (r#"checkout answered 502 [span:$root] `status(span:$root) = ERROR`."#, ""),
    (r#"checkout answered 503 [span:$root] `status(span:$root) = ERROR`."#, "names"),
    (r#"payments took 2 s [span:$pay] `status(span:$pay) = ERROR`."#, ""),
    (r#"payments took 2000ms [span:$pay] `status(span:$pay) = ERROR`."#, ""),
    (r#"payments took 3 s [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"payments took 2 ms [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"payments took 2.04 s [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"payments took more than 1 s [span:$pay] `duration(span:$pay) > 1s`."#, ""),
    (r#"payments took less than 1 s [span:$pay] `duration(span:$pay) > 1s`."#, "contradiction"),
    (r#"payments took more than 1 s [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"payments took less than 3 s [span:$pay] `duration(span:$pay) < 3s`."#, ""),
    (r#"payments held 3.84 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, ""),
    (r#"payments held 3.8 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, ""),
    (r#"payments held 3.9 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, "names"),
    (r#"payments held 12,000 of `decimal.Big` [heap:0] `heap_bytes(heap:0, "decimal.Big") > 3MB`."#, ""),
    (r#"decimal.Big is 76.8% of the heap [heap:0] `heap_share(heap:0, "decimal.Big") = 0.768`."#, ""),
    (r#"decimal.Big is 78% of the heap [heap:0] `heap_share(heap:0, "decimal.Big") > 0.7`."#, "names"),
    // What is said of what: values, quotes and outcomes belong to the name that they stand with.
    (
        r#"payments took 2 s and checkout took 4 s [span:$pay] [span:$root] `duration(span:$pay) = 2s` `duration(span:$root) = 4s`."#,
        "",
    ),
    (
        r#"payments took 4 s and checkout took 2 s [span:$pay] [span:$root] `duration(span:$pay) = 2s` `duration(span:$root) = 4s`."#,
        "names",
    ),
    (
        r#"checkout runs 1.9.0 and payments runs 2.3.0 [build:checkout] [build:payments] `version("payments") = "1.9.0"` `version("checkout") = "2.3.0"`."#,
        "names",
    ),
    (r#"checkout logged "decimal overflow" [log:2] [span:$root]."#, "names"),
    (
        r#"GET /stock failed [span:$stock] [span:$pay] `status(span:$pay) = ERROR` `status(span:$stock) = UNSET`."#,
        "contradiction",
    ),
    (
        r#"GET /stock is on the critical path [span:$stock] [span:$pay] `critical(span:$pay)` `status(span:$stock) = UNSET`."#,
        "causality",
    ),
    (
        r#"payments.decimal_mode was lenient [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "contradiction",
    ),
    (
        r#"checkout has http.response.status_code 117 [span:$root] `attribute(span:$root, "http.response.status_code") = 502`."#,
        "contradiction names",
    ),
    (r#"orders.value reached 3 [metric:0] `metric_max(metric:0) = 2`."#, "names"),
    (r#"payments failed [span:$root] `status(span:$pay) = ERROR`."#, "unsupported"),
    (r#"payments-worker failed [span:$pay] `status(span:$pay) = ERROR`."#, "names"),
    (r#"inventory took 2 s [span:$pay] `duration(span:$pay) = 2s`."#, "names"),
    ("payments\u{301} failed [span:$pay] `status(span:$pay) = ERROR`.", "claims"),
    // Comparisons and words for everything.
    (r#"payments was slower than checkout [span:$pay] `duration(span:$pay) = 2s`."#, "names unsupported"),
    (r#"payments took twice as long [span:$pay] `duration(span:$pay) = 2s`."#, "unsupported"),
    (r#"payments took two seconds [span:$pay] `duration(span:$pay) = 2s`."#, ""),
    (r#"payments took three seconds [span:$pay] `duration(span:$pay) = 2s`."#, "names"),
    (r#"payments failed as all services failed [span:$pay] `status(span:$pay) = ERROR`."#, "unsupported"),
    // Predicates.
    (r#"payments failed [span:$pay] `status(span:$pay) == ERROR`."#, "predicate"),
    (r#"payments failed [span:$pay] `status(span:$pay) = OK`."#, "predicate"),
    (r#"payments failed [span:$pay] `failed(span:$pay)`."#, "predicate"),
    (r#"payments failed [span:$pay] `status(span:$pay) = ERROR` `status(span:$root) = OK`."#, "predicate"),
    // Causes and orders.
    (
        r#"payments failed because checkout called it [span:$pay] [span:$root] `status(span:$pay) = ERROR`."#,
        "causality unsupported",
    ),
    (r#"payments failed because checkout called it [span:$pay] `ancestor(span:$root, span:$pay)`."#, ""),
    (r#"payments failed because checkout called it [span:$pay] `ancestor(span:$pay, span:$root)`."#, "causality names"),
    (
        r#"The flag payments.decimal_mode changed before payments failed [span:$pay] `before(flag:payments.decimal_mode, span:$pay)`."#,
        "",
    ),
    (
        r#"payments failed after the flag payments.decimal_mode changed [span:$pay] `before(flag:payments.decimal_mode, span:$pay)`."#,
        "",
    ),
    (
        r#"payments failed before the flag payments.decimal_mode changed [span:$pay] `before(flag:payments.decimal_mode, span:$pay)`."#,
        "contradiction",
    ),
    (
        r#"The flag payments.decimal_mode changed after payments failed [span:$pay] `before(flag:payments.decimal_mode, span:$pay)`."#,
        "contradiction",
    ),
    (r#"charge of payments is on the critical path [span:$pay] `critical(span:$pay)`."#, ""),
    (r#"charge of payments is on the critical path [span:$pay] `status(span:$pay) = ERROR`."#, "causality"),
    (r#"charge of payments and GET /stock ran at the same time [span:$pay] `overlaps(span:$stock, span:$pay)`."#, ""),
    // Denials and outcomes.
    (r#"payments did not fail [span:$pay] `status(span:$pay) = ERROR`."#, "contradiction"),
    (r#"payments did not fail [span:$pay] `status(span:$pay) != OK`."#, "contradiction"),
    (r#"GET /stock did not fail [span:$stock] `status(span:$stock) != ERROR`."#, ""),
    (r#"GET /stock succeeded [span:$stock] `status(span:$stock) = UNSET`."#, ""),
    (r#"GET /stock failed [span:$stock] `status(span:$stock) = UNSET`."#, "contradiction"),
    (
        r#"payments is not on the critical path [span:$pay] [span:$stock] `critical(span:$stock) = false` `status(span:$pay) = ERROR`."#,
        "causality contradiction",
    ),
    (
        r#"checkout failed because GET /stock was there [span:$root] [span:$pay] [span:$stock] `ancestor(span:$root, span:$pay)` `status(span:$stock) = UNSET`."#,
        "causality",
    ),
    (r#"payments succeeded [span:$pay] `status(span:$pay) = ERROR`."#, "contradiction"),
    (
        r#"The mode payments.decimal_mode was strict [flag:payments.decimal_mode] `flag("payments.decimal_mode") != "lenient"`."#,
        "contradiction",
    ),
    (r#"GET /stock is not on the critical path [span:$stock] `critical(span:$stock) = false`."#, ""),
    // Form.
    (r#"payments "failed [span:$pay]."#, "claims unsupported"),
    (r#"[span:$pay] `status(span:$pay) = ERROR`"#, ""),
];

/// The checks that reject a claim, sorted.
fn checks(reasons: &[Reason]) -> String {
    let names: std::collections::BTreeSet<String> =
        reasons.iter().map(|reason| check(&reason.to_string()).to_owned()).collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

/// Every claim of the table is accepted, or rejected by exactly the checks that the table says. Guarantees that true
/// claims pass and that each check rejects by itself, for its own reason.
#[test]
fn claims_are_accepted_or_say_why() {
    let mut wrong = Vec::new();
    for (claim, wanted) in CLAIMS {
        let report = judged(claim);
        assert_eq!(report.claims.len(), 1, "{claim}");
        let reasons = &report.claims[0].reasons;
        assert_eq!((report.claims[0].accepted, report.all_hold), (reasons.is_empty(), reasons.is_empty()), "{claim}");
        if checks(reasons) != *wanted {
            wrong.push(format!("{claim}: {wanted:?} is wanted, and it has {reasons:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same claim means the same in JSON; a quote there names its own anchor.
#[test]
fn json_means_the_same() {
    let subject = Subject::known(bundle());
    let id = subject.bundle_id().unwrap().to_owned();
    let judge = |claim: Value| verify(&subject, "acme", &document(&id, claim)).claims.remove(0).reasons;
    let claim = |anchor: &str, quote: &str| {
        json!({"id": "c1", "text": "payments failed in strict mode",
            "anchors": ["span:b7ad6b7169203331", "flag:payments.decimal_mode@payments"],
            "quotes": [{"anchor": anchor, "text": quote}],
            "predicates": ["status(span:b7ad6b7169203331) = ERROR", "flag(\"payments.decimal_mode\") = \"strict\""]})
    };
    assert_eq!(judge(claim("log:2", "decimal overflow")), []);
    assert_eq!(
        judge(claim("log:2", "decimal overflow.")),
        [Reason::Quote("log:2 does not contain \"decimal overflow.\"".to_owned())]
    );
    assert_eq!(checks(&judge(claim("log:9", "decimal overflow"))), "existence");
    let of_any = json!({"id": "c1", "text": "payments logged it", "anchors": ["log:1", "log:2"],
        "quotes": [{"text": "decimal overflow"}]});
    assert_eq!(judge(of_any), []);
}

/// The figures of a report: what is given and holds, what has an anchor, what has support; a document without claims,
/// or of headings only, does not hold.
#[test]
fn reports_have_figures() {
    let report = judged(
        "# Cause\n\npayments failed [span:$pay] `status(span:$pay) = ERROR`.\n\n- payments failed [span:$pay].\n\
         - It was payments.\n- payments logged \"decimal overflow.\" [log:2].\n",
    );
    let accepted: Vec<(&str, bool)> = report.claims.iter().map(|claim| (claim.id.as_str(), claim.accepted)).collect();
    assert_eq!(accepted, [("L3", true), ("L5", false), ("L6", false), ("L7", false)]);
    assert_eq!((report.grounding_precision, report.citation_recall, report.coverage), (0.8, 0.75, 0.25));
    assert!(!report.all_hold && report.reasons.is_empty() && report.rejected() == 3);
    for empty in ["", "# Cause\n", "What was it?\n"] {
        let report = judged(empty);
        assert!(!report.all_hold && report.claims.is_empty(), "{empty}");
        assert_eq!(checks(&report.reasons), "claims");
    }
    assert_eq!(checks(&judged("# payments was it\n").claims[0].reasons), "coverage", "a heading that says something");
}
