//! Answers beside rules about incidents.

use super::*;

/// Two incidents are asked about, then a person merges one into the other, with what was kept of the question before.
/// Guarantees that the merge is followed at once, and by its tenant alone.
#[tokio::test]
async fn kept_merges_follow_the_rules() {
    async fn ask(fixture: &Fixture, cache: &SearchCache, tenant: &str) -> usize {
        let head = Arc::new(fixture.lake.newest_head().await.unwrap());
        let snapshot = Snapshot::new(fixture.lake.clone(), head, tenant);
        similar_with(&snapshot, Some(&hashed()), cache, &about("decimal overflow", 10)).await.unwrap().len()
    }
    let mut fixture = Fixture::new().await;
    let cache = SearchCache::default();
    let of_both = ["default", "other"].map(|tenant| {
        ["decimal overflow in tax", "decimal overflow in sums"]
            .map(|message| Incident { tenant, ..incident(&format!("in {}", &message[20..]), message) })
    });
    fixture.incidents(&of_both.concat()).await;
    fixture.embed(&hashed()).await;
    let rule = |id: &str, fingerprint: &str, target: &str| {
        rows(
            Table::GroupingRules,
            &[json!({"tenant_id": "default", "rule_id": id, "action": "merge", "fingerprint": fingerprint,
                     "target": target, "created_at": "2026-11-23T12:00:00Z"})],
        )
    };
    fixture.lake.append_side(Table::GroupingRules, rule("1", "elsewhere", "nowhere")).await.unwrap();
    assert_eq!((ask(&fixture, &cache, "default").await, ask(&fixture, &cache, "other").await), (2, 2));
    fixture.lake.append_side(Table::GroupingRules, rule("2", "in tax", "in sums")).await.unwrap();
    for _ in 0..2 {
        assert_eq!((ask(&fixture, &cache, "default").await, ask(&fixture, &cache, "other").await), (1, 2));
    }
}
