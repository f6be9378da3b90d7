//! The gate: who comes in, whose turn it is, and what is written down.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tracerag_index::{Lake, LakeOptions};

use super::audit::Audit;
use super::refused::Refused;
use super::*;
use crate::tests::lake::ask;
use crate::{Session, SessionOptions};

fn scopes(names: &[&str]) -> Scopes {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A secret that was made is found by its file, as the caller it was made for; any other text is not, and neither is
/// one whose time has passed or that was revoked. The file holds no secret and is its owner's alone.
#[test]
fn a_token_holds_until_it_ends() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/tokens.json");
    let minted = MintedToken::new("acme", scopes(&["sql", "heap"]), "ci", Some(60));
    let ended = MintedToken::new("acme", scopes(&["sql"]), "", Some(0));
    let file = TokenFile::at(&path);
    assert!(file.tokens().unwrap().is_empty());
    file.change(|tokens| tokens.extend([minted.token.clone(), ended.token.clone()])).unwrap();

    let caller = file.caller(&minted.secret).unwrap();
    assert_eq!((caller.tenant.as_ref(), caller.scopes.clone()), ("acme", scopes(&["sql", "heap"])));
    assert_eq!(caller.principal.as_ref(), format!("{} (ci)", minted.token.id));
    assert_eq!(caller.require(Scope::Write), Err(Refusal::Scope { scope: "write" }));
    for other in [ended.secret.as_str(), "", &minted.secret[1..], &minted.token.sha256, &minted.token.id] {
        assert_eq!(file.caller(other), Err(Refusal::UnknownToken), "{other}");
    }

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&minted.secret) && !text.contains(minted.secret.trim_start_matches("tracerag_")));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    file.change(|tokens| tokens.retain(|token| token.id != minted.token.id)).unwrap();
    assert_eq!(TokenFile::at(&path).caller(&minted.secret), Err(Refusal::UnknownToken));
}

/// A file that is damaged lets nobody in, whoever it let in before.
#[test]
fn a_damaged_file_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let minted = MintedToken::new("acme", scopes(&["sql"]), "", None);
    TokenFile::at(&path).change(|tokens| tokens.push(minted.token.clone())).unwrap();
    std::fs::write(&path, "{\"tokens\": [{\"id\": 1}]}").unwrap();
    let file = TokenFile::at(&path);
    assert_eq!(file.caller(&minted.secret), Err(Refusal::NoTokens));
    let error = file.change(Vec::clear).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("tracerag token create"), "{error}");
}

/// A name that is no scope is refused with those that there are.
#[test]
fn scopes_are_named() {
    assert_eq!("admin".parse::<Scope>(), Ok(Scope::Admin));
    let error = "root".parse::<Scope>().unwrap_err();
    assert!(error.contains("similar, heap, write"), "{error}");
}

/// Who shows no token, or one that does not hold, leaves a row for where they came from and why, under the tenant of the
/// installation; a second attempt is counted, and told when the gate closes. Who is known and lacks a scope is none of them.
#[tokio::test]
async fn strangers_are_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().join("lake").to_str().unwrap())).await.unwrap();
    let path = folder.path().join("tokens.json");
    let minted = MintedToken::new("other", scopes(&["sql"]), "", None);
    TokenFile::at(&path).change(|tokens| tokens.push(minted.token.clone())).unwrap();
    let options = GateOptions {
        tokens_file: Some(path),
        issuer: None,
        tenant: "acme".to_owned(),
        limits: Limits::default(),
        mask: Arc::new(|text| text.replace("secret", "<secret>")),
    };
    let gate = Gate::open(lake.clone(), options);
    let remote = |interface, last: u8| Remote { interface, address: Some(IpAddr::from([192, 0, 2, last])) };
    assert_eq!(gate.let_in(None, remote("http", 1)).await, Err(Refusal::NoToken));
    for _ in 0..3 {
        assert_eq!(gate.caller_from(Some("guessed"), remote("postgres", 2)), Err(Refusal::UnknownToken));
    }
    gate.let_in(Some(&minted.secret), remote("http", 3)).await.unwrap().require(Scope::Heap).unwrap_err();
    gate.close().await;

    let session = Session::open(&lake, SessionOptions::new("acme")).await.unwrap();
    let query = "select principal, interface, operation, arguments, outcome from audit order by time, arguments";
    let row = |interface: &str, arguments: &str, outcome: &str| json!({"principal": "", "interface": interface, "operation": "login", "arguments": arguments, "outcome": outcome});
    assert_eq!(
        ask(&session, query).await,
        json!([
            row("http", "from 192.0.2.1", "token-missing"),
            row("postgres", "from 192.0.2.2", "token-unknown"),
            row("postgres", "from 192.0.2.2, 2 times", "token-unknown"),
        ])
    );
}

/// Three attempts of one kind, and then no more. Guarantees that those which were counted are a row once their minute is over,
/// though nobody tries again and the server does not end, and that they are told once.
#[tokio::test]
async fn a_flood_that_has_ended_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
    let audit = Audit::start(lake.clone());
    let refused = Refused::new(Arc::clone(&audit), "acme".into());
    for _ in 0..3 {
        refused.note(Remote { interface: "http", address: None }, "token-unknown");
    }
    for minutes in [1, 2, 3] {
        refused.tell(Instant::now() + Duration::from_secs(60 * minutes));
    }
    audit.stop().await;

    let session = Session::open(&lake, SessionOptions::new("acme")).await.unwrap();
    let told = ask(&session, "select arguments from audit order by arguments").await;
    assert_eq!(told, json!([{"arguments": "from elsewhere"}, {"arguments": "from elsewhere, 2 times"}]));
}

/// Visits of two tenants: one that ended, with what it gave, one that was given up, one that was refused. Once the gate
/// is closed each is a row of its tenant, with its text masked.
#[tokio::test]
async fn every_visit_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
    let options = GateOptions {
        tokens_file: None,
        issuer: None,
        tenant: "acme".to_owned(),
        limits: Limits::default(),
        mask: Arc::new(|text| text.replace("secret", "<secret>")),
    };
    let gate = Gate::open(lake.clone(), options);
    assert!(gate.is_open());
    let caller = gate.caller(None).unwrap();
    let mut ended = gate.visit(&caller, "http", "sql", "select 'secret'");
    ended.gave(2, 30);
    ended.gave(1, 12);
    let bundle_id = format!("sha256:{}", "1".repeat(64));
    ended.of_bundle(&bundle_id);
    ended.of_bundle("of somebody's own words");
    ended.end("ok");
    drop(ended);
    drop(gate.visit(&caller, "http", "similar", ""));
    let other = Caller { tenant: "other".into(), ..caller.clone() };
    gate.visit(&other, "http", "sql", "").end("scope-missing");
    gate.close().await;

    let session = Session::open(&lake, SessionOptions::new("acme")).await.unwrap();
    let query = "select principal, interface, operation, arguments, \"rows\", bytes, bundle_id, outcome from audit
                 order by operation desc";
    assert_eq!(
        ask(&session, query).await,
        json!([
            {"principal": "local", "interface": "http", "operation": "sql", "arguments": "select '<secret>'", "rows": 3,
             "bytes": 42, "bundle_id": bundle_id, "outcome": "ok"},
            {"principal": "local", "interface": "http", "operation": "similar", "arguments": "", "rows": 0, "bytes": 0,
             "bundle_id": null, "outcome": "cancelled"},
        ])
    );
}
