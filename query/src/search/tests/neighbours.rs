//! Incidents joined with those near them.

use super::*;

/// Incidents of two tenants are joined with their neighbours, one incident after people have merged two. Guarantees that
/// the nearest comes first with a score that fits its distance, that no incident is its own neighbour or another
/// tenant's, that a merged one stands for both, and that a filter through a join is all that is looked up.
#[tokio::test]
async fn neighbours_are_joined() {
    let mut fixture = Fixture::new().await;
    let foreign = Incident { tenant: "other", ..incident("d", "decimal overflow in rounding") };
    fixture
        .incidents(&[
            incident("a", "decimal overflow in rounding"),
            incident("b", "decimal overflow in rounding mode"),
            incident("c", "the connection pool of the database is exhausted"),
            foreign,
        ])
        .await;
    fixture.failure("default", "a", "decimal overflow in rounding").await;
    let embedding = Arc::new(hashed());
    fixture.embed(&embedding).await;
    let ask = async |query: &str| {
        let options = SessionOptions { embedding: Some(Arc::clone(&embedding)), ..SessionOptions::new("default") };
        let session = Session::open(&fixture.lake, options).await.unwrap();
        let batches = session.collect(query, None).await.unwrap();
        let rows: Vec<_> = batches.iter().flat_map(|batch| shown(batch).unwrap()).collect();
        Value::from(rows)
    };
    let joined =
        "select n.neighbour_fingerprint f, n.score = 1 - n.distance s from failures f join incident_neighbours n
                  on f.fingerprint = n.fingerprint where f.fingerprint = 'a' order by n.distance";
    assert_eq!(ask(joined).await, serde_json::json!([{"f": "b", "s": true}, {"f": "c", "s": true}]));
    let all = "select count(*) n, count(distinct fingerprint) d from incident_neighbours";
    assert_eq!(ask(all).await, serde_json::json!([{"n": 6, "d": 3}]));

    let rule = batch(Table::GroupingRules, 1, &|name| match name {
        "tenant_id" => Some(texts(vec!["default".to_owned()])),
        "action" => Some(texts(vec!["merge".to_owned()])),
        "fingerprint" => Some(texts(vec!["b".to_owned()])),
        "target" => Some(texts(vec!["a".to_owned()])),
        "created_at" => Some(times(vec![NOON])),
        _ => None,
    });
    fixture.lake.append_side(Table::GroupingRules, rule).await.unwrap();
    let of_two = "select fingerprint f, neighbour_fingerprint n from incident_neighbours order by 1";
    assert_eq!(
        ask(of_two).await,
        serde_json::json!([{"f": "a", "n": "c"}, {"f": "b", "n": "c"}, {"f": "c", "n": "a"}])
    );
}
