//! Filters on incidents of several fingerprints.

use super::*;

/// One fingerprint was seen in 1.9 and people merged it into another, which was seen in 1.7 only, as was a branch.
/// Guarantees that the incident is found in either version, by the text of any of its fingerprints and by a trace of it,
/// whatever was kept of the question from before the merge; and that no version is taken for one that it does not compare
/// with.
#[tokio::test]
async fn an_incident_was_seen_where_any_of_its_fingerprints_was() {
    let mut fixture = Fixture::new().await;
    let seen = |fingerprint: &str, message: &str, version: &'static str| Incident {
        version,
        ..incident(fingerprint, message)
    };
    let all = [
        seen("later", "decimal overflow", "1.9.0"),
        seen("earlier", "connection refused", "1.7.0"),
        seen("branch", "connection refused again", "main"),
    ];
    fixture.incidents(&all).await;
    fixture.failure("default", "earlier", "connection refused").await;
    let cache = SearchCache::default();
    let ask = async |fixture: &Fixture, text: &str, least: Option<&str>, most: Option<&str>| {
        let [min_version, max_version] = [least, most].map(|version| version.map(str::to_owned));
        let request = SimilarRequest { min_version, max_version, ..about(text, 5) };
        let head = Arc::new(fixture.lake.newest_head().await.unwrap());
        let snapshot = Snapshot::new(fixture.lake.clone(), head, "default");
        let found = similar_with(&snapshot, None, &cache, &request).await.unwrap();
        found.into_iter().map(|incident| incident.fingerprint).collect::<Vec<_>>()
    };
    assert_eq!(ask(&fixture, "connection refused", Some("1.9"), None).await, Vec::<String>::new());
    let rule = batch(Table::GroupingRules, 1, &|name| match name {
        "tenant_id" => Some(texts(vec!["default".to_owned()])),
        "action" => Some(texts(vec!["merge".to_owned()])),
        "fingerprint" => Some(texts(vec!["later".to_owned()])),
        "target" => Some(texts(vec!["earlier".to_owned()])),
        "created_at" => Some(times(vec![NOON])),
        _ => None,
    });
    fixture.lake.append_side(Table::GroupingRules, rule).await.unwrap();
    for text in ["connection refused", "decimal overflow", TRACE] {
        for (least, most) in [(Some("1.9"), None), (None, Some("1.7"))] {
            assert_eq!(ask(&fixture, text, least, most).await, ["earlier"], "{text} {least:?} {most:?}");
        }
        assert_eq!(ask(&fixture, text, Some("1.10"), None).await, Vec::<String>::new(), "{text}");
    }
}
