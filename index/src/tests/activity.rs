//! The tail of `incident_counts`, and documents that one of several writers replaces.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::upkeep::eager;
use super::{Fixture, NOON, epoch, rows, source};
use crate::activity::{Looked, touched};
use crate::{Document, Epoch, MaintainOptions, maintain};

/// One row of counts of an incident: so many failures of its own, and echoes.
fn counts(fingerprint: &str, failures: i64) -> RecordBatch {
    let row = rows(Table::IncidentCounts, [0], NOON);
    let schema = row.schema();
    let columns = schema.fields().iter().zip(row.columns()).map(|(field, column)| -> ArrayRef {
        match field.name().as_str() {
            "fingerprint" => Arc::new(StringArray::from(vec![fingerprint])),
            "failure_count" => Arc::new(Int64Array::from(vec![failures])),
            "echo_count" => Arc::new(Int64Array::from(vec![3])),
            "last_seen" => Arc::new(TimestampNanosecondArray::from(vec![NOON]).with_timezone("UTC")),
            _ => Arc::clone(column),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

/// Incidents are counted in several epochs, then merged into one fragment, and counted again. Guarantees that each look
/// names what came since the one before and nothing else, whether a fragment was merged after it was looked at or
/// before, and that what was seen longer ago than asked for is left out, as is an incident that has echoes only.
#[tokio::test]
async fn a_look_names_what_came_since_the_last() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.worker("w", &[source(0)]).await;
    let mut offset = 0;
    let mut add = async |fingerprint: &str, failures: i64| {
        let plain = epoch(source(0), offset, offset + 1, NOON);
        offset += 1;
        let rows = vec![(Table::IncidentCounts, counts(fingerprint, failures))];
        writer.write(Epoch { rows, ..plain }).await.unwrap();
    };
    let look = async |before: Looked, since: i64| {
        let lake = fixture.reopen().await;
        let found = touched(&lake, &lake.newest_head().await.unwrap(), before, since).await.unwrap();
        let of_tenant = found.fingerprints.get("default").cloned().unwrap_or_default();
        (found.looked, of_tenant)
    };
    let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    add("a", 1).await;
    add("b", 1).await;
    add("echoed", 0).await;
    let (looked, found) = look(Looked::default(), NOON).await;
    assert_eq!(found, names(&["a", "b"]));
    assert_eq!(look(Looked::default(), NOON + SECOND).await.1, names(&[]));

    let keeps_versions = MaintainOptions { longest_query: Duration::from_secs(600), ..eager() };
    let merged = maintain(&fixture.reopen().await, &keeps_versions).await.unwrap();
    assert!(merged.compacted.iter().any(|(name, ..)| name == "incident_counts"), "{merged:?}");
    let (looked, found) = look(looked, NOON).await;
    assert_eq!(found, names(&[]), "rows that were merged are not new");

    add("c", 1).await;
    maintain(&fixture.reopen().await, &keeps_versions).await.unwrap();
    let (looked, found) = look(looked, NOON).await;
    assert!(found.contains("c"), "what was merged before it was looked at is new: {found:?}");
    assert_eq!(look(looked, NOON).await.1, names(&[]));
}

/// Two writers read a document and replace it. Guarantees that one of them is told that it was too late, that what it
/// wrote is nowhere, and that it may go on from what it reads then.
#[tokio::test]
async fn one_of_two_replaces_a_document() {
    let fixture = Fixture::new().await;
    let one = Document::new(fixture.reopen().await, "notes");
    let other = Document::new(fixture.reopen().await, "notes");
    assert_eq!(one.read().await.unwrap(), None);
    assert_eq!(one.replace(None, b"first", &[]).await.unwrap(), Some(0));
    assert_eq!(other.replace(None, b"lost", &[]).await.unwrap(), None);
    let (number, text) = other.read().await.unwrap().unwrap();
    assert_eq!((number, &text[..]), (0, &b"first"[..]));
    assert_eq!(other.replace(Some(0), b"second", &[]).await.unwrap(), Some(1));
    assert_eq!(one.replace(Some(0), b"lost", &[]).await.unwrap(), None);
    assert_eq!(one.read().await.unwrap().map(|(number, text)| (number, text.to_vec())), Some((1, b"second".to_vec())));
}

/// Two writers with parts: one is too late, and one goes on after it. Guarantees that parts which the newest text names are
/// there with their content, that the part of a text which counted for nothing goes, and that the part of a writer who has
/// read the newest text is left alone.
#[tokio::test]
async fn parts_stay_as_long_as_the_text_names_them() {
    let fixture = Fixture::new().await;
    let one = Document::new(fixture.reopen().await, "notes");
    let other = Document::new(fixture.reopen().await, "notes");
    let base = one.add_part(None, b"base").await.unwrap();
    assert_eq!(one.replace(None, b"first", &[&base]).await.unwrap(), Some(0));
    let change = one.add_part(Some(0), b"change").await.unwrap();
    let late = other.add_part(Some(0), b"late").await.unwrap();
    assert_eq!(one.replace(Some(0), b"second", &[&base, &change]).await.unwrap(), Some(1));
    assert_eq!(other.replace(Some(0), b"lost", &[&base, &late]).await.unwrap(), None);
    let ahead = other.add_part(Some(2), b"ahead").await.unwrap();
    assert_eq!(one.replace(Some(1), b"third", &[&base, &change]).await.unwrap(), Some(2));
    let part = async |name: &str| other.part(name).await.unwrap().map(|part| part.to_vec());
    assert_eq!(part(&base).await, Some(b"base".to_vec()));
    assert_eq!(part(&change).await, Some(b"change".to_vec()));
    assert_eq!((part(&late).await, part(&ahead).await), (None, Some(b"ahead".to_vec())));
    assert_eq!(other.replace(Some(2), b"fourth", &[&ahead]).await.unwrap(), Some(3));
    assert_eq!((part(&base).await, part(&ahead).await), (None, Some(b"ahead".to_vec())));
    assert_eq!(one.read().await.unwrap().map(|(number, text)| (number, text.to_vec())), Some((3, b"fourth".to_vec())));
}
