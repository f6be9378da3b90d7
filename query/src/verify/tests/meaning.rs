//! What claims mean: who is above and before whom, whose a value is, and what is denied.

use super::*;

/// The bundle of [`bundle`], and besides: a failure of checkout with a line of its own; a second type on a heap; a payload
/// of checkout; a flag of no one service; a similar incident of which the bundle has no failure.
fn rich() -> Bundle {
    let mut bundle = bundle();
    let evidence = &mut bundle.evidence;
    let mut failure = evidence.failures[0].clone();
    (failure.anchor, failure.fingerprint) = ("failure:1".to_owned(), Some("beef".to_owned()));
    failure.exception_type = Some("PaymentException".to_owned());
    failure.message = Some("could not charge".to_owned());
    (failure.service, failure.span_id) = (Some("checkout".to_owned()), Some(text("$root")));
    failure.frames[0].function = Some("pay".to_owned());
    (failure.frames[0].file, failure.frames[0].line) = (Some("PriceClient.java".to_owned()), Some(57));
    failure.frames[0].anchor = Some(CLIENT.to_owned());
    evidence.failures.push(failure);
    let mut held = evidence.heaps[0].top_types[0].clone();
    (held.r#type, held.bytes, held.count) = (Some("dict".to_owned()), Some(1_000_000), Some(30));
    evidence.heaps[0].top_types.push(held);
    let payload = json!({
        "anchor": text("payload:$root#request"), "span_id": text("$root"), "direction": "request",
        "content_type": "application/json", "shape": {"currency": "string", "total": "number", "seats": "number"},
        "sample": {"currency": "XAF", "total": 123.45, "seats": 2}, "redactions": [], "size_bytes": 60,
    });
    evidence.payloads.push(serde_json::from_value(payload).unwrap());
    let mut switch = flag("new_checkout", "x", "on", "as_of");
    (switch.anchor, switch.service) = ("flag:new_checkout@*".to_owned(), None);
    evidence.flags.push(switch);
    let mut similar = bundle.context.similar[0].clone();
    (similar.anchor, similar.fingerprint) = ("incident:f00d".to_owned(), "f00d".to_owned());
    similar.title = Some("PDOException: Deadlock found".to_owned());
    bundle.context.similar.push(similar);
    Bundle::new(bundle.evidence, bundle.context).unwrap()
}

const CLIENT: &str = "code:PriceClient.java:57@c0ffee1234567890";

/// Checks each row: a claim in Markdown with `$client` for the line of checkout, and the checks that reject it, sorted;
/// `*` where any may.
fn check_rows(rows: &[(&str, &str)]) {
    let subject = Subject::known(rich());
    let mut wrong = Vec::new();
    for (claim, wanted) in rows {
        let document = Document::read(&text(&claim.replace("$client", CLIENT))).unwrap();
        let report = verify(&subject, "acme", &document);
        assert_eq!(report.claims.len(), 1, "{claim}");
        let reasons: Vec<String> = report.claims[0].reasons.iter().map(ToString::to_string).collect();
        let mut checks: Vec<&str> = reasons.iter().map(|reason| check(reason)).collect();
        checks.sort_unstable();
        checks.dedup();
        let is_wanted = if *wanted == "*" { !checks.is_empty() } else { checks.join(" ") == *wanted };
        if !is_wanted {
            wrong.push(format!("{claim}: {wanted:?} is wanted, and it has {reasons:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A path is told from above to below. Guarantees that no word for a call or for a kinship passes the other way round, in
/// the active, the passive or the genitive, and that the true one passes.
#[test]
fn paths_have_a_direction() {
    let mut rows = Vec::new();
    let held = "[span:$root] [span:$pay] `ancestor(span:$root, span:$pay)`.";
    for (one, other) in [("checkout", "payments"), ("payments", "checkout")] {
        let is_true = one == "checkout";
        for said in [
            "ONE called OTHER",
            "ONE calls OTHER",
            "ONE invoked OTHER",
            "ONE is the parent of OTHER",
            "ONE is an ancestor of OTHER",
            "ONE triggered OTHER",
            "OTHER was called by ONE",
            "OTHER is invoked by ONE",
            "OTHER is a child of ONE",
            "OTHER is a descendant of ONE",
            "OTHER was triggered by ONE",
            "The parent of OTHER is ONE",
            "The child of ONE is OTHER",
            "OTHER's parent is ONE",
            "OTHER lies below ONE",
            "The span of ONE lies above OTHER",
            "`ONE` called `OTHER`",
        ] {
            let said = said.replace("ONE", one).replace("OTHER", other);
            rows.push((format!("{said} {held}"), if is_true { "" } else { "contradiction" }));
        }
    }
    let rows: Vec<(&str, &str)> = rows.iter().map(|(claim, wanted)| (claim.as_str(), *wanted)).collect();
    check_rows(&rows);
    check_rows(&[
        (r#"checkout called payments [span:$root] [span:$pay] `status(span:$pay) = ERROR`."#, "*"),
        (r#"payments did not call checkout [span:$root] [span:$pay] `ancestor(span:$pay, span:$root) = false`."#, ""),
        (r#"checkout did not call payments [span:$root] [span:$pay] `ancestor(span:$pay, span:$root) = false`."#, "*"),
        (
            r#"payments called checkout, not GET /stock [span:$root] [span:$pay] [span:$stock] `ancestor(span:$pay, span:$root) = false` `ancestor(span:$root, span:$stock)`."#,
            "*",
        ),
    ]);
}

/// An order and a cause are told from the earlier to the later. Guarantees the same of before and after, of what leads to
/// what, of causes and of deployments.
#[test]
fn orders_have_a_direction() {
    let held = "[flag:payments.decimal_mode] [span:$pay] `before(flag:payments.decimal_mode, span:$pay)`.";
    let mut rows = Vec::new();
    for said in [
        "The failure of payments caused the change of payments.decimal_mode",
        "payments failing triggered the flag payments.decimal_mode",
        "payments failed earlier than the flag payments.decimal_mode changed",
        "payments failed, and later the flag payments.decimal_mode changed",
        "payments failed, then the flag payments.decimal_mode changed",
        "payments failed, and the flag payments.decimal_mode changed afterwards",
        "Following the failure of payments, the flag payments.decimal_mode was changed",
        "The failure of payments, preceding the flag change of payments.decimal_mode, is known",
        "payments failed until the flag payments.decimal_mode changed",
        "The flag payments.decimal_mode changed because payments failed",
        "The flag payments.decimal_mode changed once payments had failed",
        "The flag payments.decimal_mode changed owing to the failure of payments",
        "The failure of payments led to the change of payments.decimal_mode",
        "The flag payments.decimal_mode is not before payments",
    ] {
        rows.push((format!("{said} {held}"), "contradiction"));
    }
    for said in [
        "The flag payments.decimal_mode changed, then payments failed",
        "payments failed later than the flag payments.decimal_mode changed",
        "Following the change of payments.decimal_mode, payments failed",
        "The flag payments.decimal_mode led to the failure of payments",
        "payments failed owing to the flag payments.decimal_mode",
        "The failure of payments was preceded by the change of payments.decimal_mode",
        "Before payments failed, the flag payments.decimal_mode changed",
    ] {
        rows.push((format!("{said} {held}"), ""));
    }
    let deployed = "[build:payments] [failure:0] `deployed_before(\"payments\", failure:0)`.";
    for (said, wanted) in [
        ("The failure happened, then payments 1.9.0 was deployed", "contradiction"),
        ("payments 1.9.0 was deployed later than the failure", "contradiction"),
        ("The failure led to the deployment of payments 1.9.0", "contradiction"),
        ("The deployment of payments 1.9.0 came before the failure", ""),
        ("payments 1.9.0 was deployed, then the failure came", ""),
    ] {
        rows.push((format!("{said} {deployed}"), wanted));
    }
    let rows: Vec<(&str, &str)> = rows.iter().map(|(claim, wanted)| (claim.as_str(), *wanted)).collect();
    check_rows(&rows);
    check_rows(&[
        (
            r#"checkout is not before payments [span:$root] [span:$pay] `before(span:$pay, span:$root) = false`."#,
            "contradiction",
        ),
        (r#"payments is not before checkout [span:$root] [span:$pay] `before(span:$pay, span:$root) = false`."#, ""),
        (r#"payments failed after 2 s [span:$pay] `duration(span:$pay) = 2s`."#, ""),
        (r#"payments failed after checkout [span:$pay] `duration(span:$pay) = 2s`."#, "*"),
    ]);
}

/// Words for a cause need an order. Guarantees that no cause is told by other words than `because`.
#[test]
fn causes_need_an_order() {
    let held = "[flag:payments.decimal_mode] [span:$pay] `flag(\"payments.decimal_mode\") = \"strict\"` `status(span:$pay) = ERROR`.";
    let rows: Vec<String> = [
        "The failure of payments stems from the flag payments.decimal_mode",
        "The flag payments.decimal_mode is responsible for the failure of payments",
        "The flag payments.decimal_mode made payments fail",
        "The flag payments.decimal_mode broke payments",
        "payments failed owing to the flag payments.decimal_mode",
        "payments failed thanks to the flag payments.decimal_mode",
        "payments failed since payments.decimal_mode was strict",
        "The reason for the failure of payments is the flag payments.decimal_mode",
        "The culprit is the flag payments.decimal_mode",
    ]
    .iter()
    .map(|said| format!("{said} {held}"))
    .collect();
    check_rows(&rows.iter().map(|claim| (claim.as_str(), "*")).collect::<Vec<_>>());
}

/// A line of code and an incident are of the services that have them. Guarantees that neither bears out what is said of
/// another service, and that what another incident had is only said of that one.
#[test]
fn lines_and_incidents_are_of_someone() {
    check_rows(&[
        (
            r#"payments broke at PriceClient.java:57 [failure:0] [$client] `exception_type(failure:0) = "OverflowError"`."#,
            "names",
        ),
        (
            r#"checkout broke at PriceClient.java:57 [failure:1] [$client] `exception_type(failure:1) = "PaymentException"`."#,
            "",
        ),
        (
            r#"payments raised PDOException [failure:0] [incident:f00d] `exception_type(failure:0) = "OverflowError"`."#,
            "names",
        ),
        (
            r#"The request raised PDOException [failure:0] [incident:f00d] `exception_type(failure:0) = "OverflowError"`."#,
            "names",
        ),
        (
            r#"A similar incident was a PDOException [failure:0] [incident:f00d] `exception_type(failure:0) = "OverflowError"`."#,
            "",
        ),
        (
            r#"payments raised OverflowError like a known incident [failure:0] [incident:abcd] `exception_type(failure:0) = "OverflowError"`."#,
            "",
        ),
        (r#"checkout failed [span:$stock] [incident:f00d] `status(span:$stock) = UNSET`."#, "contradiction"),
        (r#"The request failed [span:$stock] [incident:f00d] `status(span:$stock) = UNSET`."#, "*"),
    ]);
}

/// What one type of a heap or one field of a payload has is not another's. Guarantees that neither a share nor bytes nor a
/// value nor a type is said of a neighbour, whatever service stands beside it.
#[test]
fn parts_have_their_own_values() {
    check_rows(&[
        (r#"dict held 76.8 % of the heap [heap:0] `heap_share(heap:0, "decimal.Big") = 76.8%`."#, "names"),
        (r#"dict held 3.84 MB in payments [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, "names"),
        (r#"`dict` held 3.84 MB in payments [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, "names"),
        (r#"Round allocated 3.84 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, "names"),
        (r#"dict held more than 1 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") > 1MB`."#, "names"),
        (r#"decimal.Big held 3.84 MB in payments [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, ""),
        (r#"In decimal.Big stood 3.84 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, ""),
        (
            r#"decimal.Big held 3.84 MB and dict held 1 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000` `heap_bytes(heap:0, "dict") = 1MB`."#,
            "",
        ),
        (
            r#"decimal.Big held 1 MB and dict held 3.84 MB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000` `heap_bytes(heap:0, "dict") = 1MB`."#,
            "names",
        ),
        (r#"Round (payments/rounding.go:117) allocated 10 bytes [heap:0] `heap_bytes(heap:0, "Round") = 10`."#, ""),
        (r#"The top allocation site is Round with 10 bytes [heap:0] `heap_bytes(heap:0, "Round") = 10`."#, ""),
        (r#"The total was XAF [payload:$root#request] `payload(payload:$root#request, "/currency") = "XAF"`."#, "*"),
        (r#"The currency was EUR [payload:$root#request] `payload(payload:$root#request, "/currency") = "XAF"`."#, "*"),
        (
            r#"The total in the request was 2 [payload:$root#request] `payload(payload:$root#request, "/seats") = 2`."#,
            "*",
        ),
        (
            r#"The currency is a number [payload:$root#request] `payload_type(payload:$root#request, "/currency") = string`."#,
            "contradiction",
        ),
        (
            r#"The currency is an integer [payload:$root#request] `payload_type(payload:$root#request, "/currency") = string`."#,
            "contradiction",
        ),
        (
            r#"The currency is a number [payload:$root#request] `payload_type(payload:$root#request, "/total") = number`."#,
            "names",
        ),
        (
            r#"The total is a number, not a string [payload:$root#request] `payload_type(payload:$root#request, "/total") = number` `payload_type(payload:$root#request, "/total") != string`."#,
            "",
        ),
        (
            r#"The currency is a string [payload:$root#request] `payload_type(payload:$root#request, "/currency") = string`."#,
            "",
        ),
        (r#"The number of seats was 2 [payload:$root#request] `payload(payload:$root#request, "/seats") = 2`."#, ""),
        (
            r#"checkout had XAF as its currency [payload:$root#request] `payload(payload:$root#request, "/currency") = "XAF"`."#,
            "",
        ),
        (
            r#"The request that reached checkout had the currency XAF [payload:$root#request] `payload(payload:$root#request, "/currency") = "XAF"`."#,
            "",
        ),
        (
            r#"checkout received a request with currency=XAF [payload:$root#request] `payload(payload:$root#request, "/currency") = "XAF"`."#,
            "",
        ),
    ]);
}

/// A value is of the subject of its clause. Guarantees that a name which only says more of the subject does not lend it
/// its values.
#[test]
fn values_are_of_the_subject() {
    let took = "[span:$pay] [span:$root] `duration(span:$root) = 4s` `duration(span:$pay) = 2s`.";
    let ran =
        "[build:payments] [build:checkout] `version(\"payments\") = \"1.9.0\"` `version(\"checkout\") = \"2.3.0\"`.";
    let rows: Vec<(String, &str)> = [
        ("payments, called by checkout, took 4 s", "names"),
        ("payments (called by checkout) took 4 s", "names"),
        ("payments in checkout took 4 s", "names"),
        ("payments, like checkout, took 4 s", "names"),
        ("`payments` took 4 s", "names"),
        ("In checkout, payments took 4 s", "names"),
        ("4 s went by within payments", "names"),
        ("4 s: payments", "names"),
        ("payments, called by checkout, took 2 s", ""),
        ("payments (called by checkout) took 2 s", ""),
        ("In checkout, payments took 2 s", ""),
    ]
    .iter()
    .map(|(said, wanted)| {
        let order = if said.contains("called") { "`ancestor(span:$root, span:$pay)` " } else { "" };
        (format!("{said} {order}{took}"), *wanted)
    })
    .chain([
        (format!("payments as a dependency of checkout runs 2.3.0 {ran}"), "names"),
        (format!("payments as a dependency of checkout runs 1.9.0 {ran}"), ""),
    ])
    .collect();
    check_rows(&rows.iter().map(|(claim, wanted)| (claim.as_str(), *wanted)).collect::<Vec<_>>());
}

/// A denial in other words than `not` is one, and a good end in other words than `succeeded`. Guarantees that no text
/// contradicts what failed by a turn of phrase, nor in another language.
#[test]
fn denials_have_many_words() {
    let rows: Vec<String> = [
        "It is false that payments failed",
        "payments hardly failed",
        "Contrary to reports, payments stayed up",
        "payments was unaffected",
        "payments completed as expected",
        "payments performed flawlessly",
        "payments avoided the failure",
        "payments ist nicht ausgefallen",
        "payments lief einwandfrei",
        "payments fue bien",
        "payments est en panne",
    ]
    .iter()
    .map(|said| format!("{said} [span:$pay] `status(span:$pay) = ERROR`."))
    .collect();
    check_rows(&rows.iter().map(|claim| (claim.as_str(), "*")).collect::<Vec<_>>());
    check_rows(&[
        (
            r#"checkout never saw the currency XAF [payload:$root#request] [span:$root] `status(span:$root) != OK` `payload(payload:$root#request, "/currency") = "XAF"`."#,
            "contradiction",
        ),
        (
            r#"payments.decimal_mode was lenient, not unknown [flag:payments.decimal_mode] `flag("payments.decimal_mode") != "lenient"`."#,
            "*",
        ),
        (
            r#"payments.decimal_mode was not lenient [flag:payments.decimal_mode] `flag("payments.decimal_mode") != "lenient"`."#,
            "",
        ),
        (r#"charge of payments is off the critical path [span:$pay] `critical(span:$pay)`."#, "contradiction"),
        (r#"charge of payments is outside the critical path [span:$pay] `critical(span:$pay)`."#, "contradiction"),
        (r#"GET /stock is off the critical path [span:$stock] `critical(span:$stock) = false`."#, ""),
        (r#"The log record of payments has severity INFO [log:1] `severity(log:1) >= INFO`."#, "names"),
        (r#"The log record of payments has severity WARN [log:1] `severity(log:1) = WARN`."#, ""),
        (r#"The log record of payments has at least severity INFO [log:1] `severity(log:1) >= INFO`."#, "*"),
        (r#"The log record of payments is at least INFO [log:1] `severity(log:1) >= INFO`."#, ""),
        (r#"The new_checkout flag reads off [flag:new_checkout@*] `flag("new_checkout") = "on"`."#, "contradiction"),
        (
            r#"With new_checkout off, payments failed [flag:new_checkout@*] [span:$pay] `flag("new_checkout") = "on"` `status(span:$pay) = ERROR`."#,
            "contradiction",
        ),
        (
            r#"With the disabled new_checkout payments failed [flag:new_checkout@*] [span:$pay] `flag("new_checkout") = "on"` `status(span:$pay) = ERROR`."#,
            "contradiction",
        ),
        (
            r#"With new_checkout on, payments failed [flag:new_checkout@*] [span:$pay] `flag("new_checkout") = "on"` `status(span:$pay) = ERROR`."#,
            "",
        ),
    ]);
}

/// True claims as they are written pass: values at the end of a sentence, names behind their kind, units of metrics.
#[test]
fn true_claims_pass() {
    check_rows(&[
        (
            r#"The flag payments.decimal_mode was set to strict. [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`"#,
            "",
        ),
        (
            r#"It ran with variant strict in payments [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
            "",
        ),
        (
            r#"payments was on variant strict [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
            "",
        ),
        (
            r#"payments was on variant half [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
            "*",
        ),
        (r#"The error comes from service payments [span:$pay] `status(span:$pay) = ERROR`."#, ""),
        (
            r#"payments.decimal_mode=strict was in effect [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
            "",
        ),
        (
            r#"payments.decimal_mode=lenient was in effect [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
            "*",
        ),
        (r#"orders.value of payments reached 2 bytes [metric:0] `metric_max(metric:0) = 2`."#, ""),
        (r#"The bundle has a failure in payments [span:$pay] `status(span:$pay) = ERROR`."#, ""),
        (r#"The evidence is that payments failed [span:$pay] `status(span:$pay) = ERROR`."#, ""),
        (
            r#"The root cause is in payments, below checkout [span:$pay] [span:$root] `ancestor(span:$root, span:$pay)` `status(span:$pay) = ERROR`."#,
            "",
        ),
    ]);
}

/// A file of a bundle in which a member stands twice has no canonical form, so it does not count.
#[test]
fn members_that_stand_twice_are_refused() {
    let file = serde_json::to_string(&rich()).unwrap();
    assert_eq!(Subject::of_file(&file, &[]).bundle().unwrap_err().to_string().split(':').next(), Some("unattested"));
    for (once, twice) in [
        (r#""tenant":"acme""#, r#""tenant":"other","tenant":"acme""#),
        (r#""evidence":{"#, r#""evidence":{"schema":"x","#),
    ] {
        let changed = file.replacen(once, twice, 1);
        assert_ne!(changed, file, "{once}");
        let subject = Subject::of_file(&changed, &[]);
        let reason = subject.bundle().unwrap_err().to_string();
        assert!(reason.starts_with("integrity: ") && reason.contains("stands twice"), "{reason}");
        assert_eq!(subject.id_to_look_up(), None);
    }
}
