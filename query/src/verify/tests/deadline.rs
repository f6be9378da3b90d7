//! A verification ends when its time is over.

use std::time::Duration;

use super::*;
use crate::error::QueryError;
use crate::tests::lake::{FAILING, TestLake};
use crate::verify::deadline::Deadline;
use crate::verify::{verify_until, verify_with};
use crate::{Session, SessionOptions};

/// Claims that hold, each with several predicates over spans.
fn document(bundle_id: &str) -> Document {
    let predicates = vec![text("ancestor(span:$root, span:$pay)"); 50];
    let claim = |id: u32| {
        let (anchors, predicates) = (vec![text("span:$pay")], predicates.clone());
        json!({"id": format!("c{id}"), "text": "payments failed", "anchors": anchors, "predicates": predicates})
    };
    let claims: Vec<Value> = (0..100).map(claim).collect();
    let claims = json!({"schema": "tracerag.claims/1", "bundle_id": bundle_id, "claims": claims});
    Document::read(&claims.to_string()).unwrap()
}

/// With time all claims are looked at; without, none is.
#[test]
fn nothing_is_looked_at_when_the_time_is_over() {
    let bundle = bundle();
    let document = document(&bundle.bundle_id);
    let subject = Subject::known(bundle);
    let checked = |deadline: &Deadline| verify_until(&subject, "acme", &document, deadline).claims.len();
    assert_eq!(checked(&Deadline::after(Duration::from_secs(3600))), 100);
    assert_eq!(checked(&Deadline::after(Duration::ZERO)), 0);
}

/// In a session without time the answer is that there was none, and no report, which would be about some of the claims
/// only; with time it is the report.
#[tokio::test]
async fn a_session_has_its_time() {
    let lake = TestLake::example(false, 10_000).await;
    let bundle = crate::bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
    let document = document(&bundle.bundle_id);
    for (time_limit, expected) in [(Duration::ZERO, None), (Duration::from_secs(60), Some(100))] {
        let options = SessionOptions { time_limit, ..SessionOptions::new("acme") };
        let session = Session::open(&lake.lake, options).await.unwrap();
        let verified = verify_with(&session, Subject::known(bundle.clone()), &document).await;
        match expected {
            Some(claims) => assert_eq!(verified.unwrap().claims.len(), claims),
            None => assert!(matches!(verified, Err(QueryError::ClaimsTimeLimit { seconds: 0 })), "{verified:?}"),
        }
    }
}
