//! Which key the tokens of a lake are made with, and who may change it.

use tracerag_schemas::{SourcePartition, Table};

use super::{Fixture, NOON, epoch, source};
use crate::{Error, Lake, Writer};

/// A new process with a key, and keys that it may take the place of.
async fn writer(lake: Lake, name: &str, key: &str, previous: &[&str]) -> Writer {
    Writer::new(lake, name.to_owned()).await.unwrap().with_redaction_key(key, previous)
}

async fn keys(lake: &Lake) -> Vec<String> {
    lake.redaction_keys().await.unwrap().into_iter().map(|key| key.id).collect()
}

fn assert_is_another(error: &Error, own: &str, current: &str) {
    assert!(matches!(error, Error::OtherKey { own: o, current: c } if o == own && c == current), "{error}");
    assert!(!error.is_passing() && !error.is_lost_claim(), "{error}");
}

/// The first worker names the key of the lake. One with another key gets no partition, not even one of its own, and the
/// first one works on as if it had not been there. Guarantees that two keys never write into one lake by mistake.
#[tokio::test]
async fn another_key_is_refused() {
    let fixture = Fixture::new().await;
    assert!(fixture.lake.redaction_keys().await.unwrap().is_empty());
    let mut first = writer(fixture.reopen().await, "first", "aaaa", &[]).await;
    first.claim(&[source(0)]).await.unwrap();
    let mut second = writer(fixture.reopen().await, "second", "bbbb", &[]).await;
    for partition in [0, 1] {
        assert_is_another(&second.claim(&[source(partition)]).await.unwrap_err(), "bbbb", "aaaa");
    }
    first.write(epoch(source(0), 0, 5, NOON)).await.unwrap();
    assert_eq!(fixture.offsets(Table::Spans).await, [0, 1, 2, 3, 4]);
    assert_eq!(keys(&fixture.reopen().await).await, ["aaaa"]);
}

/// A worker that names the lake's key as its previous one takes the lake over. One with the old key can write no more, not
/// even what it had staged on a partition that is still its own, and cannot come back; who has the new key can. Both keys
/// are remembered. Guarantees that a change of the key is said, and holds from one record on.
#[tokio::test]
async fn a_change_of_the_key_shuts_the_old_one_out() {
    let fixture = Fixture::new().await;
    let mut old = writer(fixture.reopen().await, "old", "aaaa", &[]).await;
    old.claim(&[source(0)]).await.unwrap();
    old.write(epoch(source(0), 0, 3, NOON)).await.unwrap();
    let staged = old.stage(epoch(source(0), 3, 6, NOON)).await.unwrap();

    let mut new = writer(fixture.reopen().await, "new", "bbbb", &["0000", "aaaa"]).await;
    new.claim(&[source(1)]).await.unwrap();
    assert_is_another(&old.record(&staged).await.unwrap_err(), "aaaa", "bbbb");
    assert_is_another(&old.claim(&[source(0)]).await.unwrap_err(), "aaaa", "bbbb");
    let mut again = writer(fixture.reopen().await, "old", "aaaa", &[]).await;
    assert_is_another(&again.claim(&[source(0)]).await.unwrap_err(), "aaaa", "bbbb");

    let mut third = writer(fixture.reopen().await, "third", "bbbb", &[]).await;
    let resumed = third.claim(&[source(0)]).await.unwrap();
    assert_eq!(resumed[0].next, Some(3));
    third.write(epoch(source(0), 3, 4, NOON)).await.unwrap();
    assert_eq!(fixture.offsets(Table::Spans).await, [0, 1, 2, 3]);
    let lake = fixture.reopen().await;
    assert_eq!(keys(&lake).await, ["aaaa", "bbbb"]);
}

/// Two workers with different keys begin on a new lake at once: one of them names its key, the other one is refused,
/// whichever comes first.
#[tokio::test]
async fn one_of_two_keys_wins_a_new_lake() {
    for _ in 0..5 {
        let fixture = Fixture::new().await;
        let claim = async |name: &'static str, partition| {
            let own: [SourcePartition; 1] = [source(partition)];
            writer(fixture.reopen().await, name, name, &[]).await.claim(&own).await.map(|_| ())
        };
        let (first, second) = futures::join!(claim("aaaa", 0), claim("bbbb", 1));
        let refused = match (first, second) {
            (Ok(()), Err(error)) | (Err(error), Ok(())) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(refused, Error::OtherKey { .. }), "{refused}");
        assert_eq!(keys(&fixture.reopen().await).await.len(), 1);
    }
}
