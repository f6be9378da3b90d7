//! Predicates: what holds, what does not, and what cannot be told.

use super::*;
use crate::verify::predicate::OPERATORS;

/// Each row is a predicate, and the check that rejects it; none where it holds.
const PREDICATES: &[(&str, &str)] = &[
    (r#"status(span:$root) = ERROR"#, ""),
    (r#"status(span:$pay) != OK"#, ""),
    (r#"status(span:$stock) = UNSET"#, ""),
    (r#"status(span:$stock) = ERROR"#, "predicate"),
    (r#"status(span:ffffffffffffffff) = ERROR"#, "existence"),
    (r#"status(span:ffffffffffffffff) != ERROR"#, "existence"),
    (r#"attribute(span:$root, "http.response.status_code") = 502"#, ""),
    (r#"attribute(span:$root, "http.response.status_code") = 503"#, "predicate"),
    (r#"attribute(span:$root, "http.response.status_code") >= 500"#, ""),
    (r#"attribute(span:$root, "http.response.status_code") = "502""#, "predicate"),
    (r#"attribute(span:$root, "http.route") = "/checkout""#, ""),
    (r#"attribute(span:$root, "http.route") = "/Checkout""#, "predicate"),
    (r#"attribute(span:$root, "http.route") != "/cart""#, ""),
    (r#"attribute(span:$root, "no.such") != "x""#, "predicate"),
    (r#"attribute(span:$stock, "cache.hit") = true"#, ""),
    (r#"attribute(span:$stock, "cache.hit") = false"#, "predicate"),
    (r#"attribute(span:$stock, "cache.hit") != null"#, "predicate"),
    (r#"attribute(span:$stock, "user.email") = "jane@example.org""#, "redacted"),
    (r#"attribute(span:$stock, "user.email") != "jane@example.org""#, "redacted"),
    (r#"attribute(span:$stock, "user.email") = "hmac:0123abcd:00""#, "redacted"),
    (r#"attribute(log:2, "amount") = 12.50"#, ""),
    (r#"attribute(log:2, "amount") < 12.5"#, "predicate"),
    (r#"duration(span:$root) = 4s"#, ""),
    (r#"duration(span:$root) >= 4000ms"#, ""),
    (r#"duration(span:$root) > 4s"#, "predicate"),
    (r#"duration(span:$root) < 4.000000001s"#, ""),
    (r#"duration(span:$root) <= 1min"#, ""),
    (r#"contains(log:2, "overflow")"#, ""),
    (r#"contains(log:2, "decimal   overflow")"#, ""),
    (r#"contains(log:2, "overflo")"#, "predicate"),
    (r#"contains(log:2, "underflow")"#, "predicate"),
    (r#"contains(log:2, "underflow") = false"#, ""),
    (r#"contains(log:2, "overflo") = false"#, "predicate"),
    (r#"contains(log:3, "secret") = false"#, "predicate"),
    (r#"contains(log:3, "<email>")"#, "redacted"),
    (r#"contains(log:3, "")"#, "predicate"),
    (r#"contains(failure:0, "decimal")"#, ""),
    (r#"severity(log:2) = ERROR"#, ""),
    (r#"severity(log:2) >= WARN"#, ""),
    (r#"severity(log:2) < ERROR"#, "predicate"),
    (r#"severity(log:0) >= ERROR"#, "predicate"),
    (r#"ancestor(span:$root, span:$pay)"#, ""),
    (r#"ancestor(span:$pay, span:$root)"#, "causality"),
    (r#"ancestor(span:$pay, span:$root) = false"#, ""),
    (r#"ancestor(span:$stock, span:$pay)"#, "causality"),
    (r#"ancestor(span:$root, span:$root)"#, "causality"),
    (r#"before(span:$root, span:$pay)"#, ""),
    (r#"before(span:$pay, span:$root)"#, "causality"),
    (r#"before(span:$pay, log:2)"#, ""),
    (r#"before(log:2, span:$pay)"#, "causality"),
    (r#"before(log:1, log:2)"#, ""),
    (r#"before(log:0, log:1)"#, "causality"),
    (r#"before(span:$stock, span:$pay)"#, "causality"),
    (r#"before(span:$pay, span:$stock)"#, "causality"),
    (r#"before(span:$pay, span:$stock) = false"#, "causality"),
    (r#"before(flag:payments.decimal_mode, span:$root)"#, ""),
    (r#"before(span:$root, flag:payments.decimal_mode@payments)"#, "causality"),
    (r#"before(build:payments, failure:0)"#, ""),
    (r#"before(build:checkout@2.3.0, span:$root)"#, "causality"),
    (r#"before(flag:beta.ui, span:$root)"#, "causality"),
    (r#"overlaps(span:$root, span:$pay)"#, ""),
    (r#"overlaps(span:$stock, span:$pay)"#, ""),
    (r#"overlaps(span:$stock, span:$pay) = false"#, "causality"),
    (r#"event(span:$pay, "exception")"#, ""),
    (r#"event(span:$pay, "retry")"#, "predicate"),
    (r#"event(span:$root, "exception") = false"#, ""),
    (r#"flag("payments.decimal_mode") = "strict""#, ""),
    (r#"flag("payments.decimal_mode") = "lenient""#, "predicate"),
    (r#"flag("payments.decimal_mode") != "lenient""#, ""),
    (r#"flag("no.such") = "on""#, "existence"),
    (r#"flag("checkout.cache") = "on""#, "predicate"),
    (r#"flag("checkout.cache") != "half""#, ""),
    (r#"flag("beta.ui") = "bold""#, "predicate"),
    (r#"flag("beta.ui") != "plain""#, "predicate"),
    (r#"config("payments.pool.size") = "20""#, ""),
    (r#"config("payments.pool.size") = "21""#, "predicate"),
    (r#"flag("payments.pool.size") = "20""#, "existence"),
    (r#"version("payments") = "1.9.0""#, ""),
    (r#"version("payments") = "1.9.1""#, "predicate"),
    (r#"version("inventory") != "1.9.1""#, "existence"),
    (r#"version("cart") = "3.0.0""#, "predicate"),
    (r#"git_sha("payments") = "a1b2c3d""#, ""),
    (r#"git_sha("payments") = "a1b2c3e""#, "predicate"),
    (r#"git_sha("payments") != "a1b2c3e""#, ""),
    (r#"git_sha("checkout") != "a1b2c3d""#, "predicate"),
    (r#"deployed_before("payments", span:$root)"#, ""),
    (r#"deployed_before("checkout", span:$root)"#, "causality"),
    (r#"failures("abcd") = 1"#, ""),
    (r#"failures("abcd") > 1"#, "predicate"),
    (r#"failures("ffff") = 0"#, ""),
    (r#"heap_share(heap:0, "decimal.Big") >= 0.3"#, ""),
    (r#"heap_share(heap:0, "decimal.Big") = 76.8%"#, ""),
    (r#"heap_share(heap:0, "decimal.Big") >= 77%"#, "predicate"),
    (r#"heap_share(heap:0, "other.Type") < 1"#, "existence"),
    (r#"heap_bytes(heap:0, "decimal.Big") = 3.84MB"#, ""),
    (r#"heap_bytes(heap:0, "Round") = 10"#, ""),
    (r#"heap_bytes(heap:0, "Round") = 11"#, "predicate"),
    (r#"payload(payload:$pay#request, "/amount") = "12.345678901234567890""#, ""),
    (r#"payload(payload:$pay#request, "/amount") = "12.345678901234567891""#, "predicate"),
    (r#"payload(payload:$pay#request, "/customer_id") != "7""#, "redacted"),
    (r#"payload(payload:$pay#request, "/nothing") != "7""#, "existence"),
    (r#"payload(payload:$pay#response, "/amount") = "12.345678901234567890""#, "existence"),
    (r#"payload_type(payload:$pay#request, "/amount") = string"#, ""),
    (r#"payload_type(payload:$pay#request, "/amount") = number"#, "predicate"),
    (r#"payload_type(payload:$pay#request, "") = object"#, "redacted"),
    (r#"payload_length(payload:$pay#request, "/amount") = 21"#, ""),
    (r#"payload_length(payload:$pay#request, "/amount") > 21"#, "predicate"),
    (r#"exception_type(failure:0) = "OverflowError""#, ""),
    (r#"exception_type(failure:0) = "ValueError""#, "predicate"),
    (r#"fingerprint(failure:0) = "abcd""#, ""),
    (r#"fingerprint(failure:0) = "abce""#, "predicate"),
    (r#"frame(failure:0, $line)"#, ""),
    (r#"frame(failure:0, code:payments/rounding.go:118@a1b2c3d4e5f6a7b8)"#, "existence"),
    (r#"critical(span:$pay)"#, ""),
    (r#"critical(span:$stock)"#, "predicate"),
    (r#"critical(span:$stock) = false"#, ""),
    (r#"same_error("abcd", "$bad", "$good") = 1"#, ""),
    (r#"same_error("abcd", "$bad", "$good") = 2"#, "predicate"),
    (r#"same_error("abcd", "$bad", "ffffffffffffffffffffffffffffffff") = 1"#, "existence"),
    (r#"same_error("abcd", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee") = 0"#, "predicate"),
    (r#"differs(flag:payments.decimal_mode, "abcd", "$bad", "$good") = "strict""#, ""),
    (r#"differs(flag:payments.decimal_mode, "abcd", "$bad", "$good") = "lenient""#, "predicate"),
    (r#"differs(flag:payments.decimal_mode, "abcd", "$bad") = "strict""#, "predicate"),
    (r#"differs(build:payments, "abcd", "$bad", "$good") = "1.9.0""#, "predicate"),
    (r#"lake_failures("abcd") >= 12"#, ""),
    (r#"lake_failures("abcd") > 12"#, "predicate"),
    (r#"lake_failures("ffff") = 0"#, "predicate"),
    (r#"metric_max(metric:0) = 2"#, ""),
    (r#"metric_max(metric:1) = 9007199254740993"#, ""),
    (r#"metric_max(metric:1) >= 9007199254740994"#, "predicate"),
];

/// Every predicate of the table holds, or is rejected by the check that the table says. Guarantees that true ones hold to
/// the last digit, and that whatever is unknown, ambiguous or masked never does, denied or not.
#[test]
fn predicates_hold_or_say_why() {
    let bundle = bundle();
    let beyond = beyond();
    let facts = Facts::new(&bundle, true).with(Some(&beyond));
    for (predicate, wanted) in PREDICATES {
        let why = why_not(&facts, &text(predicate));
        assert_eq!(check(&why), *wanted, "{predicate}: {why}");
    }
}

/// Without a lake, nothing that goes beyond the bundle holds. Guarantees that a signed file alone proves nothing of other
/// traces.
#[test]
fn nothing_beyond_the_bundle_holds_without_a_lake() {
    let bundle = bundle();
    let facts = Facts::new(&bundle, true);
    let beyond = ["same_error(", "differs(", "lake_failures("];
    for (predicate, _) in PREDICATES.iter().filter(|(row, _)| beyond.iter().any(|name| row.starts_with(name))) {
        assert_eq!(check(&why_not(&facts, &text(predicate))), "predicate", "{predicate}");
    }
}

/// Who may not see heap summaries has none of them verified, and no reason tells of one.
#[test]
fn withheld_heaps_are_not_there() {
    let bundle = bundle();
    let facts = Facts::new(&bundle, true).without_heaps();
    for predicate in [r#"heap_bytes(heap:0, "decimal.Big") = 1"#, r#"heap_share(heap:0, "decimal.Big") > 0.1"#] {
        assert_eq!(why_not(&facts, predicate), "existence: the bundle has no heap:0");
    }
    assert_eq!(why_not(&facts, &text("frame(failure:0, $line)")), "", "the line stands in a frame, too");
}

/// Each function has a row that holds and one that does not. Guarantees that none is left untried.
#[test]
fn every_function_is_tried_both_ways() {
    for operator in OPERATORS {
        let begins = format!("{}(", operator.name);
        let mut rows = PREDICATES.iter().filter(|(predicate, _)| predicate.starts_with(&begins)).map(|(_, why)| why);
        let holds = rows.clone().any(|why| why.is_empty());
        assert!(holds && rows.any(|why| !why.is_empty()), "{}", operator.name);
    }
}

/// Each predicate that a prompt shows to a model can be read, with a number and a name in the place of what stands for
/// them. Guarantees that no prompt teaches what the verifier refuses.
#[test]
fn the_predicates_of_prompts_can_be_read() {
    let (_, text) = include_str!("../../prompt/form.md").rsplit_once("```").unwrap();
    let shown: Vec<String> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains('('))
        .map(|code| code.replace(":N", ":0").replace("LINE", "7").replace("ANCHOR", "log:0"))
        .collect();
    assert!(shown.len() > 20, "{shown:?}");
    for code in shown {
        parse::predicate(&code).unwrap_or_else(|error| panic!("{code}: {error}"));
    }
}

/// The guide for agents has a row for each function and for each reason, and each example in it can be read.
#[test]
fn the_guide_has_every_function_and_reason() {
    let guide = include_str!("../../../../docs/agents.md");
    let rows = |heading: &str| -> Vec<Vec<&str>> {
        let (_, table) = guide.split_once(heading).unwrap();
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
        rows.map(|row| row.split(" | ").map(|cell| cell.trim_matches([' ', '|', '`'])).collect()).collect()
    };
    let functions = rows("| function | is | example |\n");
    let documented: Vec<&str> = functions.iter().map(|row| row[0]).collect();
    assert_eq!(documented, OPERATORS.iter().map(|operator| operator.name).collect::<Vec<_>>());
    for row in &functions {
        let predicate = parse::predicate(row[2]).unwrap_or_else(|error| panic!("{}: {error}", row[2]));
        assert_eq!(predicate.operator.name, row[0]);
    }
    let reasons = rows("| reason | means | do |\n");
    let every: [fn(String) -> Reason; 13] = [
        Reason::Claims,
        Reason::Existence,
        Reason::Scope,
        Reason::Quote,
        Reason::Redacted,
        Reason::Predicate,
        Reason::Causality,
        Reason::Coverage,
        Reason::Unsupported,
        Reason::Names,
        Reason::Contradiction,
        Reason::Integrity,
        Reason::Unattested,
    ];
    let names: Vec<String> = every.iter().map(|reason| check(&reason(String::new()).to_string()).to_owned()).collect();
    assert_eq!(reasons.iter().map(|row| row[0]).collect::<Vec<_>>(), names);
}

/// The guide's claims in JSON and in Markdown can be read, and the grammar names each function. Guarantees that what is
/// documented is what is taken.
#[test]
fn documented_claims_can_be_read() {
    let guide = include_str!("../../../../docs/agents.md");
    let block = |fence: &str, part: &str| -> String {
        let blocks = guide.split(fence).skip(1).filter_map(|rest| rest.split("\n```").next());
        blocks.map(str::to_owned).find(|block| block.contains(part)).unwrap()
    };
    for (text, claims) in [(block("```json\n", "tracerag.claims/1"), 1), (block("```markdown\n", "strict mode"), 2)] {
        let document = Document::read(&text).unwrap();
        assert!(document.statements.len() >= claims, "{document:?}");
        assert!(document.statements.iter().all(|statement| statement.mistakes.is_empty()), "{document:?}");
        let predicates = document.statements.iter().flat_map(|statement| &statement.claim.predicates);
        for predicate in predicates.filter(|predicate| !predicate.contains("...")) {
            parse::predicate(predicate).unwrap();
        }
    }
    let grammar = include_str!("../../../../schemas/claims.ebnf");
    let (_, functions) = grammar.split_once("function    = ").unwrap();
    let (functions, _) = functions.split_once(';').unwrap();
    let named: Vec<&str> = functions.split('|').map(|name| name.trim().trim_matches('"')).collect();
    assert_eq!(named, OPERATORS.iter().map(|operator| operator.name).collect::<Vec<_>>());
}

/// What is no predicate is refused with its place and with what would be right.
#[test]
fn errors_have_a_place() {
    for (predicate, at, wanted) in [
        ("", 1, "begins with one of"),
        ("  stattus(span:a) = OK", 3, "status"),
        ("status span:a = OK", 8, "after status stands ("),
        ("status(log:0) = OK", 8, "an anchor of kind span"),
        ("status(spam:0) = OK", 8, "its kind must be"),
        ("status(span:a = OK", 15, "stands )"),
        ("status(span:a)", 15, "is compared with something"),
        ("status(span:a) = ok", 18, "one of UNSET, OK, ERROR"),
        ("status(span:a) = \"OK\"", 18, "one of UNSET, OK, ERROR"),
        ("status(span:a) >= OK", 16, "no order"),
        ("status(span:a) = OK and more", 21, "ends before this"),
        ("status(span:a) == OK", 17, "a text in"),
        ("duration(span:a) > 2", 20, "unit of time"),
        ("duration(span:a) > 2MB", 20, "unit of time"),
        ("duration(span:a) > 2parsec", 21, "parsec"),
        ("duration(span:a) > 1.2.3s", 20, "is no number"),
        ("contains(log:0, \"a)", 17, "does not end"),
        ("contains(log:0, \"\\x\")", 17, "no JSON string"),
        ("contains(log:0)", 15, "2 values"),
        ("contains(log:0, \"a\") = maybe", 24, "true or false"),
        ("contains(log:0, \"a\") > true", 22, "no order"),
        ("git_sha(\"a\") = \"a1b2c3\"", 16, "7 or more"),
        ("flag(payments) = \"on\"", 6, "in \"quotes\""),
        ("payload(payload:a#request/x, \"/x\") = 1", 9, "a value of its own"),
        ("heap_share(heap:0, \"t\") > 3s", 27, "0.3 or 30%"),
        ("before(span:a span:b)", 15, "2 values"),
        ("same_error(\"a\", \"x\") = 1", 17, "ids of traces"),
        ("lake_failures(\"a\")", 19, "is compared with something"),
        ("version(\"ü\") ~ \"1\"", 14, "is compared with"),
    ] {
        let error = parse::predicate(predicate).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.ends_with(&format!("(at character {at})")), "{predicate}: {error}");
    }
    assert!(parse::predicate(&format!("flag(\"{}\") = \"on\"", "a".repeat(5000))).is_err());
}

/// Anchors may stand in quotes, for names with white space, commas or parentheses; a short form stands for every entry.
#[test]
fn anchors_may_be_quoted() {
    let bundle = bundle();
    let facts = Facts::new(&bundle, true);
    for predicate in [
        r#"status("span:$root") = ERROR"#,
        r#"status ( span:$root ) = ERROR"#,
        r#"before( "flag:checkout.cache" ,span:$root)=true"#,
    ] {
        assert_eq!(why_not(&facts, &text(predicate)), "", "{predicate}");
    }
}
