use arrow::array::RecordBatch;

use super::*;
use crate::testing::{cell, deployments, flag_changes, printable};

fn started() -> Bench {
    let mut bench = Bench::new(WindowConfig::default());
    bench.at(100);
    bench
}

fn evaluation(
    attributes: Vec<(&'static str, &'static str)>,
) -> Option<(&'static str, Vec<(&'static str, &'static str)>)> {
    Some(("feature_flag.evaluation", attributes))
}

/// Entries of a list column as JSON, absent fields left out.
fn entries(flushed: &Flushed, column: &str) -> Vec<serde_json::Value> {
    let index = flushed.traces.schema().index_of(column).unwrap();
    let one = RecordBatch::try_from_iter([(column, printable(flushed.traces.column(index)))]).unwrap();
    let mut json = vec![];
    let mut writer = arrow::json::ArrayWriter::new(&mut json);
    writer.write(&one).unwrap();
    writer.finish().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&json).unwrap();
    rows[0][column].as_array().cloned().unwrap_or_default()
}

/// Without any evaluation the newest change before the span's start counts, for the services it names;
/// a change of another service or environment does not show.
#[test]
fn flags_as_of_the_start() {
    let mut bench = started();
    let changes = flag_changes(&[
        (5, "mode", "lenient", "payments", ""),
        (15, "mode", "strict", "payments", "production"),
        (15, "mode", "odd", "payments", "test"),
        (1, "theme", "dark", "", ""),
        (1, "other", "on", "shipping", ""),
        (500, "theme", "light", "", ""),
    ]);
    bench.window.push_flag_events(&changes).unwrap();
    bench.window.push_flag_events(&changes).unwrap();
    let spans = [root(1, 1), child(1, 2, 1)].map(|span| Span { environment: "production", ..span });
    let flushed = bench.spans(&spans).at(102).flush();
    let flags = entries(&flushed, "flags_in_effect");
    assert_eq!(flags.len(), 2, "{flags:?}");
    assert_eq!(
        (&flags[0]["key"], &flags[0]["variant"], &flags[0]["match"]),
        (&"mode".into(), &"strict".into(), &"as_of".into())
    );
    assert_eq!(
        (&flags[0]["service"], &flags[0]["since"]),
        (&"payments".into(), &"1970-01-01T00:00:00.000000015Z".into())
    );
    assert_eq!(
        (&flags[1]["key"], &flags[1]["variant"], flags[1].get("service")),
        (&"theme".into(), &"dark".into(), None)
    );
}

/// A change while the trace runs leaves two candidates and no variant to cite.
#[test]
fn a_change_during_the_trace_is_ambiguous() {
    let mut bench = started();
    let changes = flag_changes(&[(5, "mode", "lenient", "payments", ""), (50, "mode", "strict", "payments", "")]);
    bench.window.push_flag_events(&changes).unwrap();
    let flushed = bench.spans(&[root(1, 1), child(1, 2, 1)]).at(102).flush();
    let flags = entries(&flushed, "flags_in_effect");
    assert_eq!((&flags[0]["match"], flags[0].get("variant")), (&"ambiguous".into(), None));
    let candidates = ["lenient@1970-01-01T00:00:00.000000005Z", "strict@1970-01-01T00:00:00.000000050Z"];
    assert_eq!(flags[0]["candidates"], serde_json::json!(candidates));
}

/// What a service evaluated in the trace wins over the change: on a span event with a value in JSON quotes,
/// and in a log record with a variant alone, which the change completes. Each is a row of `flags`.
#[test]
fn evaluations_win() {
    let mut bench = started();
    let changes = flag_changes(&[
        (5, "mode", "lenient", "", ""),
        (15, "mode", "strict", "", ""),
        (30, "mode", "lenient", "", ""),
    ]);
    bench.window.push_flag_events(&changes).unwrap();
    let event = evaluation(vec![
        ("feature_flag.key", "mode"),
        ("feature_flag.result.value", "\"strict\""),
        ("feature_flag.result.variant", "strict"),
        ("feature_flag.result.reason", "static"),
    ]);
    let spans = [root(1, 1), Span { event, ..child(1, 2, 1) }];
    let attributes = vec![("feature_flag.key", "theme"), ("feature_flag.result.variant", "dark")];
    let record = Log { event_name: "feature_flag.evaluation", attributes, span: 2, ..log(1, 7) };
    let flushed = bench.spans(&spans).logs(&[record]).at(102).flush();
    let flags = entries(&flushed, "flags_in_effect");
    let of =
        |service: &str, key: &str| flags.iter().find(|flag| flag["service"] == service && flag["key"] == key).unwrap();
    let mode = of("payments", "mode");
    assert_eq!(
        (&mode["variant"], &mode["value"], &mode["match"]),
        (&"strict".into(), &"strict".into(), &"evaluated".into())
    );
    assert_eq!(
        (&mode["since"], &mode["span_id"]),
        (&"1970-01-01T00:00:00.000000015Z".into(), &"0000000000000002".into())
    );
    assert_eq!(of("payments", "theme")["match"], "evaluated");
    // Checkout did not evaluate it: for it the changes are all there is.
    assert!(flags.iter().any(|flag| flag["key"] == "mode" && flag["match"] == "ambiguous"));
    assert_eq!(cells(&flushed.flags, "value"), ["strict", ""]);
    assert_eq!(cells(&flushed.flags, "source"), ["evaluation", "evaluation"]);
    assert_eq!(cells(&flushed.flags, "reason"), ["static", ""]);
    assert_eq!(cells(&flushed.flags, "kafka_topic"), ["otlp_spans", "otlp_logs"]);
    assert_eq!(cells(&flushed.flags, "span_id"), ["0000000000000002", "0000000000000002"]);
}

/// What a resource says of its build wins over the newest deployment, which completes it: in a rolling
/// deployment both versions serve. Each is sighted once.
#[test]
fn stated_builds_win() {
    let mut bench = started();
    let events =
        deployments(&[(1, "payments", "", "1.8.2", "0ld5ha000000"), (15, "payments", "", "1.9.0", "a1b2c3d4e5f6")]);
    bench.window.push_build_events(&events).unwrap();
    let old = Span { version: "1.8.2", instance: "a", ..child(1, 2, 1) };
    let new = Span { revision: "a1b2c3d4e5f6a7b8", instance: "b", ..child(1, 3, 1) };
    let flushed = bench.spans(&[root(1, 1), old.clone(), new]).at(102).flush();
    let builds = entries(&flushed, "builds_in_effect");
    assert_eq!(builds.len(), 2, "{builds:?}");
    assert_eq!((&builds[0]["version"], &builds[0]["git_sha"]), (&"1.8.2".into(), &"0ld5ha000000".into()));
    assert_eq!((&builds[1]["version"], &builds[1]["git_sha"]), (&"1.9.0".into(), &"a1b2c3d4e5f6a7b8".into()));
    assert!(builds.iter().all(|build| build["match"] == "stated" && build["build_number"] == "77"));
    assert_eq!(cells(&flushed.spans, "build_git_sha"), ["", "0ld5ha000000", "a1b2c3d4e5f6a7b8"]);
    assert_eq!(cells(&flushed.spans, "build_match"), ["", "stated", "stated"]);
    assert_eq!(cells(&flushed.builds, "service_instance_id"), ["a", "b"]);
    assert_eq!(
        (cells(&flushed.builds, "version"), cells(&flushed.builds, "git_sha")),
        (vec!["1.8.2".to_owned(), String::new()], vec![String::new(), "a1b2c3d4e5f6a7b8".to_owned()])
    );
    let again = bench.spans(&[root(2, 1), Span { trace: 2, ..old.clone() }]).at(104).flush();
    assert_eq!((again.traces.num_rows(), again.builds.num_rows()), (1, 0));
    // A restarted window knows what the lake knows.
    let mut next = started();
    next.window.push_build_events(&flushed.builds).unwrap();
    let again = next.spans(&[root(2, 1), Span { trace: 2, ..old }]).at(104).flush();
    assert_eq!(again.builds.num_rows(), 0);
    assert_eq!(cell(&again.spans, "build_git_sha", 1), None, "a sighting is no deployment");
}

/// Where the resource says nothing, the deployment before the start counts; one while the trace runs, or on
/// an instance that may be this one, leaves candidates.
#[test]
fn builds_as_of_the_start() {
    let mut bench = started();
    bench.window.push_build_events(&deployments(&[(1, "payments", "", "1.8.2", "0ld5ha0")])).unwrap();
    let flushed = bench.spans(&[root(1, 1), child(1, 2, 1)]).at(102).flush();
    assert_eq!(entries(&flushed, "builds_in_effect")[0]["match"], "as_of");
    assert_eq!(cell(&flushed.spans, "build_git_sha", 1), Some("0ld5ha0".into()));
    bench.window.push_build_events(&deployments(&[(15, "payments", "b", "1.9.0", "a1b2c3d")])).unwrap();
    let known = Span { instance: "a", ..child(2, 2, 1) };
    let flushed = bench.spans(&[root(2, 1), known, root(3, 1), child(3, 2, 1)]).at(104).flush();
    assert_eq!(cells(&flushed.spans, "build_match"), ["", "as_of", "", "ambiguous"]);
    assert_eq!(cells(&flushed.spans, "build_git_sha"), ["", "0ld5ha0", "", ""]);
    let second = flushed.traces.slice(1, 1);
    let ambiguous = entries(&Flushed { traces: second, ..Flushed::empty() }, "builds_in_effect");
    assert_eq!(ambiguous[0]["candidates"], serde_json::json!(["1.8.2+0ld5ha0", "1.9.0+a1b2c3d"]));
}

/// A row of `traces` sums the structure up: the earliest root, services by first start, their path by
/// distance from the root even where a clock is ahead, ERROR of any span, and what was dropped.
#[test]
fn traces_are_summed_up() {
    let mut bench = started();
    let early = Span { start: 5, end: 7, environment: "test", error: true, ..child(1, 2, 1) };
    let deep = Span { service: "ledger", dropped_events: 3, ..child(1, 3, 2) };
    let second_root = Span { start: 12, ..root(1, 4) };
    let flushed = bench.spans(&[root(1, 1), early, deep, second_root]).at(102).flush();
    let expected = [
        ("root_span_id", "0000000000000001"),
        ("root_name", "GET /"),
        ("root_service_name", "checkout"),
        ("services", "[payments, checkout, ledger]"),
        ("service_path", "checkout > payments > ledger"),
        ("deployment_environment_name", "test"),
        ("duration_ns", "85"),
        ("status", "ERROR"),
        ("error_span_count", "1"),
        ("complete", "false"),
        ("incomplete_reasons", "[dropped_events]"),
    ];
    for (column, value) in expected {
        assert_eq!(cell(&flushed.traces, column, 0).as_deref(), Some(value), "{column}");
    }
    assert_eq!(cell(&flushed.traces, "failure_count", 0), None);
    assert_eq!(cell(&flushed.traces, "ingested_at", 0), cell(&flushed.traces, "closed_at", 0));
}

/// Spans that are each other's parents, or their own, end no loop.
#[test]
fn circles_of_parents_are_harmless() {
    let mut bench = started();
    let flushed = bench.spans(&[child(1, 1, 2), child(1, 2, 1), child(1, 3, 3), child(1, 4, 1)]).at(110).flush();
    assert_eq!(cells(&flushed.traces, "incomplete_reasons"), ["[root_missing]"]);
}
