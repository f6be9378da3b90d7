//! Incidents over the interface: how they are listed, merged and split.

use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::*;
use crate::tests::lake::{NOON, at, row};

/// An incident is listed with its newest fix and whether it came back, and with what it appeared with only where that is
/// asked for, which changes neither the incidents nor their order.
#[tokio::test]
async fn incidents_tell_what_became_of_them() {
    let interface = Interface::with(Limits::default()).await;
    let token = interface.token("acme", &[Scope::Read, Scope::Write]).await;
    let plain = interface.get("/v1/incidents", &token).await.json();
    assert_eq!(plain["incidents"][0]["fix_id"], Value::Null, "{plain:#}");
    assert!(plain["incidents"][0].get("appeared_with").is_none(), "{plain:#}");
    let fix = json!({"fingerprint": "abcd", "summary": "rounded", "fixed_at": at(5)});
    let recorded = interface.post("/v1/fixes", &token, &fix).await.json();
    let mut listed = interface.get("/v1/incidents?appeared_with=true", &token).await.json();
    let incident = listed["incidents"][0].as_object_mut().unwrap();
    assert_eq!((&incident["fix_id"], &incident["fixed_at"]), (&recorded["fix_id"], &json!(at(5))));
    assert_eq!((&incident["regressed_at"], &incident["regressed_version"]), (&json!(at(9)), &json!("1.8.2")));
    let appeared = incident.remove("appeared_with").unwrap();
    assert_eq!((&appeared[0]["kind"], &appeared[1]["value"]), (&json!("flag"), &json!("1.9.0")), "{appeared:#}");
    let told = interface.get("/v1/incidents/abcd?appeared_with=true", &token).await.json();
    assert_eq!(told["incident"]["appeared_with"], appeared, "{told:#}");
    let again = interface.get("/v1/incidents?appeared_with=false", &token).await.json();
    assert_eq!(again["incidents"], listed["incidents"]);
}

/// Whether a fix held is judged by the version that it names, or that its commit was built as; else by time. It is said by
/// which, alike in the list of fixes and beside similar incidents.
#[tokio::test]
async fn fixes_are_judged_by_their_version() {
    let lake = TestLake::example(false, 100).await;
    let build = json!({"service_name": "payments", "version": "1.9.0", "git_sha": "a1b2c3d4e5f6a7b8",
        "valid_from": at(-600), "source": "cdevent", "lockfile_digests": {}, "schema_migrations": []});
    lake.write(&[(Table::Builds, vec![row("acme", 95_000, 101, build)])], NOON + 101 * SECOND).await;
    let interface = Interface::to(lake, Limits::default());
    let token = interface.token("acme", &[Scope::Read, Scope::Similar, Scope::Write]).await;
    let cases = [
        (json!({"fixed_git_sha": "A1B2C3D"}), true, "by version"),
        (json!({"fixed_version": "9.0.0"}), false, "by version"),
        (json!({"fixed_version": "1.0.0"}), true, "by version"),
        (json!({"fixed_version": "nightly"}), true, "by time"),
        (json!({}), true, "by time"),
    ];
    for (own, _, _) in &cases {
        let mut fix = json!({"fingerprint": "abcd", "summary": "rounded", "fixed_at": "2020-01-01T00:00:00Z"});
        fix.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        assert_eq!(interface.post("/v1/fixes", &token, &fix).await.status, 201, "{fix}");
    }
    let listed = interface.get("/v1/fixes", &token).await.json();
    let similar = interface.post("/v1/similar", &token, &json!({"text": "decimal overflow"})).await.json();
    for fixes in [&listed["fixes"], &similar["incidents"][0]["fixes"]] {
        let fixes = fixes.as_array().unwrap();
        assert_eq!(fixes.len(), cases.len(), "{fixes:?}");
        for (own, came_back, by) in &cases {
            let is_own = |fix: &&Value| ["fixed_version", "fixed_git_sha"].iter().all(|name| fix[name] == own[name]);
            let fix = fixes.iter().find(is_own).unwrap();
            assert_eq!(&fix["came_back"], &json!(came_back), "{fix:#}");
            assert!(fix["came_back_reason"].as_str().unwrap().starts_with(by), "{fix:#}");
        }
    }
    for wrong in [json!({"fixed_version": "jane@example.org"}), json!({"fixed_git_sha": "main"})] {
        let mut fix = json!({"fingerprint": "abcd", "summary": "rounded"});
        fix.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(interface.post("/v1/fixes", &token, &fix).await.json()["code"], "wrong-argument", "{fix}");
    }
}

/// Five fixes, of which two are told at a time, and then again while a newer one is recorded after each page. Guarantees
/// that the pages have each that was there once in the order of the whole list, that a cursor is good for its own question
/// only, and that each names the incident that it counts for now, also where its own was merged since.
#[tokio::test]
async fn fixes_come_in_pages() {
    let lake = TestLake::example(false, 100).await;
    let other = json!({"tenant_id": "acme", "fingerprint": "b", "title": "b", "failure_count": 1, "trace_count": 1,
        "first_seen": at(20), "last_seen": at(20), "kafka_topic": "otlp_spans", "kafka_partition": 0,
        "kafka_offset": 1, "ingested_at": at(101)});
    lake.write(&[(Table::IncidentCounts, vec![other])], NOON + 101 * SECOND).await;
    let interface = Interface::to(lake, Limits::default());
    let token = interface.token("acme", &[Scope::Read, Scope::Write]).await;
    for (number, fingerprint) in ["abcd", "b", "b", "abcd", "b"].iter().enumerate() {
        let day = number % 2 + 1;
        let fix = json!({"fingerprint": fingerprint, "summary": format!("try {number}"), "fixed_at": format!("2026-11-0{day}T00:00:00Z")});
        assert_eq!(interface.post("/v1/fixes", &token, &fix).await.status, 201, "{fix}");
    }
    let merge = json!({"action": "merge", "fingerprint": "b", "into": "abcd"});
    assert_eq!(interface.post("/v1/groupings", &token, &merge).await.status, 201);
    let whole = interface.get("/v1/fixes", &token).await.json();
    assert_eq!((whole["fixes"].as_array().unwrap().len(), &whole["next_cursor"]), (5, &Value::Null), "{whole:#}");
    let (mut paged, mut path) = (Vec::new(), String::from("/v1/fixes?limit=2"));
    loop {
        let page = interface.get(&path, &token).await.json();
        let fixes = page["fixes"].as_array().unwrap();
        assert!((1..=2).contains(&fixes.len()), "{page:#}");
        paged.extend(fixes.iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/fixes?limit=2&cursor={cursor}");
        let wrong = interface.get(&format!("/v1/fixes?fingerprint=b&cursor={cursor}"), &token).await;
        assert_eq!(wrong.status, 400, "{}", wrong.text);
    }
    assert_eq!(json!(paged), whole["fixes"]);
    assert!(paged.iter().all(|fix| fix["incident"] == "abcd"), "{paged:#?}");
    assert!(paged.iter().any(|fix| fix["fingerprint"] == "b"), "{paged:#?}");
    let of_merged = interface.get("/v1/fixes?fingerprint=b", &token).await.json();
    assert_eq!(of_merged["fixes"], whole["fixes"]);
    let ids = |fixes: &[Value]| -> Vec<Value> { fixes.iter().map(|fix| fix["fix_id"].clone()).collect() };
    let (mut read, mut path) = (Vec::new(), String::from("/v1/fixes?limit=2"));
    loop {
        let page = interface.get(&path, &token).await.json();
        read.extend(ids(page["fixes"].as_array().unwrap()));
        let newer = json!({"fingerprint": "abcd", "summary": "meanwhile", "fixed_at": "2026-11-03T00:00:00Z"});
        assert_eq!(interface.post("/v1/fixes", &token, &newer).await.status, 201);
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/fixes?limit=2&cursor={cursor}");
    }
    assert_eq!(read, ids(&paged));
    for limit in ["0", "1001"] {
        assert_eq!(interface.get(&format!("/v1/fixes?limit={limit}"), &token).await.status, 400, "{limit}");
    }
}

/// Two incidents become one and two again, by whoever has the scope `write`; the reason is masked, the author is the
/// token's. What cannot be done is told apart: what is not there, what is done already, and what is no request.
#[tokio::test]
async fn incidents_are_merged_and_split() {
    let lake = TestLake::example(false, 100).await;
    let other = json!({"tenant_id": "acme", "fingerprint": "b", "title": "b", "failure_count": 1, "trace_count": 1,
        "first_seen": at(20), "last_seen": at(20), "kafka_topic": "otlp_spans", "kafka_partition": 0,
        "kafka_offset": 1, "ingested_at": at(101)});
    lake.write(&[(Table::IncidentCounts, vec![other])], NOON + 101 * SECOND).await;
    let interface = Interface::to(lake, Limits::default());
    let token = interface.token("acme", &[Scope::Read, Scope::Write]).await;
    let merge =
        json!({"action": "merge", "fingerprint": "b", "into": "abcd", "reason": "alike, says jane@example.org"});
    let split = json!({"action": "split", "fingerprint": "b"});
    for (request, listed) in [(&merge, 1), (&split, 2)] {
        let answer = interface.post("/v1/groupings", &token, request).await;
        assert_eq!((answer.status, answer.json()), (201, json!({"fingerprint": "abcd"})), "{}", answer.text);
        let incidents = interface.get("/v1/incidents", &token).await.json();
        assert_eq!(incidents["incidents"].as_array().unwrap().len(), listed, "{incidents:#}");
    }
    for (request, status, code) in [
        (json!({"action": "merge", "fingerprint": "nowhere", "into": "abcd"}), 404, "incident-unknown"),
        (split, 400, "wrong-argument"),
        (json!({"action": "merge", "fingerprint": "b"}), 400, "wrong-request"),
        (json!({"action": "split", "fingerprint": "b", "into": "abcd"}), 400, "wrong-request"),
        (json!({"action": "lump", "fingerprint": "b"}), 400, "wrong-request"),
    ] {
        let answer = interface.post("/v1/groupings", &token, &request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{request}: {}", answer.text);
    }
    let session = interface.lake.session("acme").await;
    let rules = ask_lake(
        &session,
        "select action, reason, author like '%(test)' as named from grouping_rules order by created_at",
    )
    .await;
    assert_eq!(
        rules,
        json!([
            {"action": "merge", "reason": "alike, says <email>", "named": true},
            {"action": "split", "reason": "", "named": true},
        ])
    );
}
