//! What names no trace: heaps and memory that were told where and when the traces ran.

use serde_json::{Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::planted::{FINGERPRINT, TRACES, compared, tables, tables_every, trace_id};
use crate::compare::near::Near;
use crate::compare::sides::Sides;
use crate::compare::{Kind, Request, reading};
use crate::tests::lake::{NOON, TestLake, at};

/// Makes heaps name the instance in place of the trace.
fn without_trace(number: usize, heap: &mut Value) {
    (heap["trace_id"], heap["span_id"]) = (Value::Null, Value::Null);
    heap["service_instance_id"] = format!("payments-{number}").into();
}

/// Profilers of processes know no traces, and a kubelet knows no services. Guarantees that the heaps of the instances that
/// failing traces ran on are compared though they name no trace, and the memory of their pods though it names no
/// instance.
#[tokio::test]
async fn what_names_no_trace_is_joined_by_where_it_ran() {
    let mut tables = tables(&[Kind::HeapType, Kind::Memory]);
    for (table, rows) in &mut tables {
        for (number, row) in rows.iter_mut().enumerate() {
            match table {
                Table::Heaps => without_trace(number, row),
                Table::Metrics => {
                    row["name"] = "k8s.pod.memory.working_set".into();
                    (row["service_name"], row["service_instance_id"]) = (Value::Null, Value::Null);
                    row["resource_attributes"] = json!({"k8s.pod.uid": format!("pod of payments-{number}")});
                }
                Table::Spans if row["service_name"] == "payments" && !row["service_instance_id"].is_null() => {
                    let pod = format!("pod of {}", row["service_instance_id"].as_str().unwrap());
                    row["resource_attributes"] = json!({"k8s.pod.uid": pod});
                }
                _ => {}
            }
        }
    }
    let lake = TestLake::empty().await;
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let report = compared(&lake.session("acme").await, FINGERPRINT).await;
    for (kind, name) in [(Kind::HeapType, "payments"), (Kind::Memory, "payments k8s.pod.memory.working_set")] {
        let found = report.differences.iter().find(|one| (one.kind, one.name.as_str()) == (kind, name));
        let counts = found.map(|one| (one.failing_with, one.failing));
        assert_eq!(counts, Some((20, 20)), "{kind:?}: {report:?}");
    }
}

/// In each pod runs a proxy, whose memory is high where payments fail; its points name the pod. Guarantees that it is not
/// taken for the memory of the service whose spans ran in that pod.
#[tokio::test]
async fn memory_of_a_sidecar_is_not_of_its_neighbour() {
    let mut tables = tables(&[Kind::Memory]);
    for (table, rows) in &mut tables {
        for (number, row) in rows.iter_mut().enumerate() {
            match table {
                Table::Metrics => {
                    row["service_name"] = "proxy".into();
                    row["service_instance_id"] = format!("proxy-{number}").into();
                    row["resource_attributes"] = json!({"k8s.pod.uid": format!("pod of {}", trace_id(number))});
                }
                Table::Spans => {
                    let pod = format!("pod of {}", row["trace_id"].as_str().unwrap());
                    row["resource_attributes"] = json!({"k8s.pod.uid": pod});
                }
                _ => {}
            }
        }
    }
    let lake = TestLake::empty().await;
    lake.write(&tables, NOON + 10_000 * SECOND).await;
    let report = compared(&lake.session("acme").await, FINGERPRINT).await;
    assert!(report.differences.iter().all(|one| one.kind != Kind::Memory), "{report:?}");
}

/// Heaps without a trace, every other one of which is of a service that no trace ran on, and a good deal of them a day after
/// the traces. Guarantees that only those are handed out that may belong to a trace.
#[tokio::test]
async fn only_heaps_of_the_services_and_the_time_are_read() {
    let mut tables = tables(&[]);
    for (table, rows) in &mut tables {
        if *table == Table::Heaps {
            for (number, row) in rows.iter_mut().enumerate() {
                without_trace(number, row);
                if number % 2 == 1 {
                    row["service_name"] = "search".into();
                }
            }
            let later = rows.clone();
            rows.extend(later.into_iter().map(|mut row| {
                row["captured_at"] = at(86_400).into();
                row
            }));
        }
    }
    let lake = TestLake::empty().await;
    lake.write(&tables, NOON + 100_000 * SECOND).await;
    let session = lake.session("acme").await;
    let ids: Vec<String> = (0..10).map(trace_id).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let sides = Sides::given(session.snapshot(), &ids[..5], &ids[5..]).await.unwrap();
    let near = Near::of(&sides.failing, &sides.good).unwrap();
    let services = [String::from("checkout"), String::from("payments")];
    let mut read = 0;
    let take = |batch: &arrow::record_batch::RecordBatch| {
        read += batch.num_rows();
        Ok(())
    };
    reading::heaps(session.snapshot(), &sides, &services, near, take).await.unwrap();
    // All traces of the lake began within a quarter of an hour, which is near enough.
    assert_eq!(read, TRACES / 2);
}

/// A trace every ten minutes, for more than half a day, and all of it is asked about; heaps name no trace. Guarantees that
/// heaps and memory are compared of the traces of six hours, up to the newest failing one, that a note says so, and that a
/// short time has no such note.
#[tokio::test]
async fn of_a_long_time_a_part_is_read() {
    let mut tables = tables_every(600, &[Kind::HeapType, Kind::Memory]);
    for (_, rows) in tables.iter_mut().filter(|(table, _)| *table == Table::Heaps) {
        rows.iter_mut().enumerate().for_each(|(number, row)| without_trace(number, row));
    }
    let lake = TestLake::empty().await;
    lake.write(&tables, NOON + 100_000 * SECOND).await;
    let session = lake.session("acme").await;
    let asked = async |until: i64| {
        let options = json!({"since": at(-1), "until": at(until)}).to_string();
        session.compare(&Request::about(FINGERPRINT).narrowed(&options).unwrap()).await.unwrap()
    };
    let has_note = |notes: &[String]| notes.iter().any(|note| note.contains("six hours around"));
    let whole = asked(50_000).await;
    assert!(has_note(&whole.notes), "{whole:?}");
    for (kind, name) in [(Kind::HeapType, "payments"), (Kind::Memory, "payments process.memory.usage")] {
        let found = whole.differences.iter().find(|one| (one.kind, one.name.as_str()) == (kind, name));
        // Traces 43 to 79, of which every fourth fails.
        assert_eq!(found.map(|one| (one.failing_with, one.failing, one.good)), Some((9, 9, 28)), "{kind:?}: {whole:?}");
    }
    let short = asked(6 * 3_600).await;
    assert!(!has_note(&short.notes) && short.tested > 0, "{short:?}");
}
