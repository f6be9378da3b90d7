//! Which bundles count: intact, of a known schema, of the tenant, and vouched for by the lake or a signature.

use super::*;
use crate::verify::SigningKey;

const CLAIM: &str = "payments failed [span:$pay] `status(span:$pay) = ERROR`.";

fn key(digit: &str) -> SigningKey {
    SigningKey::from_hex(&digit.repeat(64)).unwrap()
}

/// The check that rejects a true claim about a subject; empty where it is accepted.
fn rejected_by(subject: &Subject, tenant: &str) -> String {
    let report = verify(subject, tenant, &Document::read(&text(CLAIM)).unwrap());
    assert_eq!(report.all_hold, report.claims[0].accepted);
    let reason = report.claims[0].reasons.first().map(|reason| reason.to_string()).unwrap_or_default();
    check(&reason).to_owned()
}

fn of_file(document: &Value, trusted: &[String]) -> Subject {
    Subject::of_file(&document.to_string(), trusted)
}

/// A file counts with a signature by a key that is trusted, or once the lake is found to have the bundle; with another
/// key, another id's signature, or none, it does not.
#[test]
fn somebody_vouches_for_a_bundle() {
    let (own, other) = (key("1"), key("2"));
    let trusted = [own.public_key()];
    let plain = bundle();
    let json = |bundle: &Bundle| serde_json::to_value(bundle).unwrap();
    assert_eq!(rejected_by(&of_file(&json(&plain), &trusted), "acme"), "unattested");
    let signed = own.signed(plain.clone());
    assert_eq!(rejected_by(&of_file(&json(&signed), &trusted), "acme"), "");
    assert_eq!(rejected_by(&of_file(&json(&signed), &[]), "acme"), "unattested");
    assert_eq!(rejected_by(&of_file(&json(&other.signed(plain.clone())), &trusted), "acme"), "unattested");

    let mut forged = plain.clone();
    forged.evidence.spans[1].status = Some("ERROR".to_owned());
    forged.evidence.spans[1].name = Some("refund".to_owned());
    let mut forged = Bundle::new(forged.evidence, forged.context).unwrap();
    forged.signature = signed.signature.clone();
    assert_eq!(rejected_by(&of_file(&json(&forged), &trusted), "acme"), "unattested", "a consistent hash is no proof");

    let unknown = of_file(&json(&plain), &[]);
    assert_eq!(unknown.id_to_look_up(), Some(plain.bundle_id.as_str()));
    assert_eq!(rejected_by(&unknown.stored_as(plain.clone()), "acme"), "");
    assert_eq!(rejected_by(&of_file(&json(&forged), &[]).stored_as(plain), "acme"), "unattested");
}

/// A signature covers the evidence, not what stands beside it: similar incidents count only from the lake.
#[test]
fn a_signature_does_not_cover_the_context() {
    let key = key("1");
    let signed = serde_json::to_value(key.signed(bundle())).unwrap();
    let claim = "payments met an incident [incident:abcd] [span:$pay] `status(span:$pay) = ERROR`.";
    let document = Document::read(&text(claim)).unwrap();
    let report = verify(&of_file(&signed, &[key.public_key()]), "acme", &document);
    assert_eq!(check(&report.claims[0].reasons[0].to_string()), "existence");
    assert!(verify(&Subject::known(bundle()), "acme", &document).all_hold);
}

/// Whatever is changed in a file, even where the lake would know the id, is an error of integrity: a value, a member that
/// nobody knows, the schema, the id, a section that is withheld, or that it is no JSON.
#[test]
fn a_changed_file_is_no_bundle() {
    let key = key("1");
    let good = serde_json::to_value(key.signed(bundle())).unwrap();
    let stored = bundle();
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 6] = [
        ("a value", |document| document["evidence"]["spans"][1]["status"] = json!("OK")),
        ("a member", |document| document["evidence"]["note"] = json!("x")),
        ("the schema", |document| document["evidence"]["schema"] = json!("tracerag.bundle/2")),
        ("the id", |document| document["bundle_id"] = json!(format!("sha256:{}", "0".repeat(64)))),
        ("a section", |document| document["evidence"]["heaps"] = json!([])),
        ("the evidence", |document| document["evidence"] = Value::Null),
    ];
    for (what, change) in changes {
        let mut document = good.clone();
        change(&mut document);
        let subject = of_file(&document, &[key.public_key()]).stored_as(stored.clone());
        assert_eq!(rejected_by(&subject, "acme"), "integrity", "{what}");
    }
    assert_eq!(rejected_by(&Subject::of_file("no JSON", &[]), "acme"), "integrity");
    // A member that is hashed, too, is one that this release cannot check.
    let mut document = good.clone();
    document["evidence"]["note"] = json!("x");
    document["bundle_id"] = json!(tracerag_schemas::bundle::content_id(&document["evidence"]).unwrap());
    assert_eq!(rejected_by(&of_file(&document, &[key.public_key()]), "acme"), "integrity");
    let mut damaged = bundle();
    damaged.evidence.spans[1].status = Some("OK".to_owned());
    assert_eq!(rejected_by(&Subject::known(damaged), "acme"), "integrity", "a damaged row of the lake");
}

/// Claims about another bundle, and those of another tenant, are rejected whatever they say.
#[test]
fn claims_are_about_one_bundle_of_one_tenant() {
    let subject = Subject::known(bundle());
    assert_eq!(rejected_by(&subject, "other"), "scope");
    let id = subject.bundle_id().unwrap().to_owned();
    for (named, wanted) in [(id.clone(), ""), (format!("sha256:{}", "0".repeat(64)), "integrity")] {
        let text = format!("Bundle: `{named}`\n\n{}", text(CLAIM));
        let report = verify(&subject, "acme", &Document::read(&text).unwrap());
        let reason = report.claims[0].reasons.first().map(|reason| reason.to_string()).unwrap_or_default();
        assert_eq!((check(&reason), report.all_hold), (wanted, wanted.is_empty()), "{named}");
    }
}
