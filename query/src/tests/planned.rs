//! How much a bundle reads.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracerag_index::incidents::{Embedding, Indexer};
use tracerag_index::{MaintainOptions, maintain};
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

use super::lake::{FAILING, NOON, TestLake, batch};
use crate::reads::TARGET;
use crate::{Session, SessionOptions, bundle};

/// How often what was done to which table.
type Counts = BTreeMap<(String, String), usize>;

/// Counts what is told of reads.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Counts>>);

/// The fields of one event.
#[derive(Default)]
struct Fields {
    table: String,
    how: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "table" => value.clone_into(&mut self.table),
            "how" => value.clone_into(&mut self.how),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        *self.0.lock().unwrap().entry((fields.how, fields.table)).or_default() += 1;
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Told {
    /// Tables with how often this was done to each.
    fn of(&self, how: &str) -> Vec<(String, usize)> {
        let all = self.0.lock().unwrap();
        let done = all.iter().filter(|((known, _), _)| known == how);
        done.map(|((_, table), count)| (table.clone(), *count)).collect()
    }
}

/// The bundle of a trace that failed, for the second time on a lake with indices, vectors, and a rule about incidents.
/// Guarantees that nothing is planned but what has to be looked for by time (records, points and heaps without ids), that
/// each table is looked up once for the evidence, and that its search reads no vectors, no rules, and counts twice: the
/// texts to ask with, and all histories together.
#[tokio::test]
async fn a_bundle_plans_what_has_no_ids() {
    let lake = TestLake::example(false, 10_000).await;
    let rule = serde_json::json!({"tenant_id": "acme", "rule_id": "1", "action": "merge", "fingerprint": "b", "target": "abcd"});
    lake.lake.append_side(Table::GroupingRules, batch(Table::GroupingRules, &[rule])).await.unwrap();
    let embedding = Arc::new(Embedding::new("hashed-ngrams", Path::new("/nonexistent")));
    Indexer::new(lake.lake.clone(), Arc::clone(&embedding)).catch_up().await.unwrap();
    let options =
        MaintainOptions { now: NOON + 10_000 * SECOND, index_delay: Duration::ZERO, ..MaintainOptions::default() };
    assert_eq!(maintain(&lake.lake, &options).await.unwrap().failed, vec![]);
    let options = SessionOptions { embedding: Some(embedding), ..SessionOptions::new("acme") };
    let session = Session::open(&lake.lake, options).await.unwrap();
    let first = bundle::assemble(&session, FAILING).await.unwrap();

    let told = Told::default();
    let listens = subscriber::set_default(told.clone());
    let again = bundle::assemble(&session, FAILING).await.unwrap();
    drop(listens);
    assert_eq!(again, first);
    let named = |counts: &[(&str, usize)]| -> Vec<_> {
        counts.iter().map(|(table, count)| ((*table).to_owned(), *count)).collect()
    };
    assert_eq!(told.of("plan"), named(&[("heaps", 1), ("logs", 1), ("metrics", 1)]));
    let expected = [
        ("failures", 1),
        ("heaps", 1),
        ("incident_counts", 2),
        ("logs", 1),
        ("metrics", 1),
        ("payloads", 1),
        // Those of the trace, and those that link to it.
        ("spans", 2),
        ("traces", 1),
    ];
    assert_eq!(told.of("take"), named(&expected));
}
