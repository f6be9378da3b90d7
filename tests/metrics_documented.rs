//! The table of metrics in the operators' manual, from which alarms and dashboards are made, is what the program exposes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::kafka_worker::{LIMIT, Topics, config, get, lines, metrics_port};
use crate::support::kafka::{Kafka, Record};
use crate::support::program::Tracerag;
use crate::support::wait_for;

/// Ways in which the source counts something: what stands before a metric's name, and the type of the metric.
const CALLS: [(&str, &str); 5] = [
    ("counter!(", "counter"),
    ("count(source, ", "counter"),
    ("gauge!(", "gauge"),
    ("PartitionGauge::new(", "gauge"),
    ("histogram!(", "histogram"),
];

/// Type and labels of a metric.
#[derive(Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

/// The manual's table.
fn documented() -> BTreeMap<String, Metric> {
    let manual = include_str!("../docs/operators.md");
    let (_, table) = manual.split_once("| metric | type | labels | is |\n").expect("the manual has the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        (cells[1].trim_matches('`').to_owned(), Metric { kind: cells[2].to_owned(), labels })
    })
    .collect()
}

/// Names and types of the metrics in the sources below a folder.
fn find_in(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for (call, kind) in CALLS {
                let call = format!("{call}\"");
                let calls = text.split(&call).skip(1);
                found.extend(calls.filter_map(|rest| Some((rest.split_once('"')?.0.to_owned(), kind.to_owned()))));
            }
        }
    }
}

/// What `/metrics` tells: each metric with its type and the labels of its series.
fn exposed(text: &str) -> BTreeMap<String, Metric> {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    kinds
        .map(|(name, kind)| {
            let series = text.lines().filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let rest = rest.strip_prefix("_bucket").unwrap_or(rest);
                Some(rest.strip_prefix('{')?.split_once('}')?.0)
            });
            let labels = series.flat_map(|labels| labels.split(',').filter_map(|label| label.split_once('=')));
            let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le").collect();
            (name.to_owned(), Metric { kind: kind.to_owned(), labels })
        })
        .collect()
}

/// All sources of the program are searched for what they count. Guarantees that every metric stands in the manual with
/// its type, and that the manual has none that is gone.
#[test]
fn every_metric_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for folder in ["src", "ingest/src", "enrich/src", "index/src", "query/src"] {
        find_in(&root.join(folder), &mut found);
    }
    let documented: BTreeMap<String, String> =
        documented().into_iter().map(|(name, metric)| (name, metric.kind)).collect();
    assert_eq!(found, documented);
}

/// A worker takes traces and a message that is none, and is asked for its metrics. Guarantees that each that it exposes
/// has the type and the labels that the manual gives it, and that it tells that it is ready.
#[test]
fn a_worker_exposes_what_is_documented() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let config = config(&tracerag, kafka, &topics, "otlp_json");
    let traces = lines("traces.jsonl.zst");
    let good = traces.iter().take(50).map(|line| Record { payload: Some(line.as_bytes()), ..Record::default() });
    let bad = Record { payload: Some(b"no OTLP"), ..Record::default() };
    kafka.produce(&topics.spans, good.chain([bad]));

    let worker = tracerag.worker(&config);
    let wanted = [
        "tracerag_ready 1",
        "tracerag_dead_letters_total{",
        "tracerag_epoch_seconds_bucket{",
        "tracerag_lag_records{",
        "tracerag_spans_total{",
        "tracerag_traces_closed_total{",
        "process_resident_memory_bytes ",
    ];
    let text = wait_for("the worker has written, and tells of it", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        let (_, text) = get(metrics_port(&config), "/metrics")?;
        wanted.iter().all(|start| text.lines().any(|line| line.starts_with(start))).then_some(text)
    });

    let documented = documented();
    for (name, metric) in exposed(&text) {
        assert_eq!(Some(&metric), documented.get(&name), "{name} in the manual");
    }
}
