//! Answers as users see them, as snapshots: a change of any of them is a change for somebody.

use serde_json::Value;

use crate::support::program::Tracerag;
use crate::worked_example::{TRACE, replayed};

/// What depends on the run and not on the telemetry.
const VOLATILE: &[&str] = &["bundle_id", "position", "created_at"];

fn without_volatile(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if VOLATILE.contains(&name.as_str()) {
                    *member = Value::from("...");
                } else {
                    without_volatile(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_volatile),
        // Tokens depend on the installation's key.
        Value::String(text) if text.starts_with("hmac:") => *text = String::from("hmac:..."),
        _ => {}
    }
}

/// The bundle of the worked example, whole, with the similar incidents that the real model finds.
#[test]
fn bundle() {
    let tracerag = replayed();
    let mut bundle = tracerag.bundle(TRACE);
    without_volatile(&mut bundle);
    insta::assert_json_snapshot!("bundle", bundle);
}

/// The Markdown view of the same bundle.
#[test]
fn bundle_as_markdown() {
    let tracerag = replayed();
    let text = tracerag.done(&["bundle", "--format", "markdown", TRACE]);
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("bundle `sha256:")).collect();
    insta::assert_snapshot!("bundle-markdown", text.join("\n"));
}

/// Questions that analysts ask first. The model that made the vectors is asserted: it is the real one.
#[test]
fn sql() {
    let tracerag = replayed();
    assert_model(&tracerag);
    for (name, query) in [
        (
            "traces",
            "select root_name, root_service_name, services, service_path, status, span_count, error_span_count, log_count, failure_count, complete, flags_in_effect, builds_in_effect from traces",
        ),
        (
            "failures",
            "select service_name, kind, exception_type, message, message_masked, frames, span_path, grouped_by, flags, causes, origin_id is null as is_origin, interruption from failures order by service_name, kind, span_id",
        ),
        (
            "flags",
            "select kind, key, variant, value, source, valid_from, valid_to from flags order by key, valid_from, source",
        ),
        (
            "builds",
            "select service_name, version, git_sha, build_number, source, valid_from, valid_to from builds order by service_name, valid_from, source",
        ),
        (
            "trace-tree",
            &format!("select name, service_name, depth, self_time_ns, on_critical_path from trace_tree('{TRACE}')"),
        ),
        (
            "incidents",
            "select title, service_name, exception_type, failure_count, echo_count, trace_count, versions from incidents order by title",
        ),
        ("payloads", "select direction, content_type, shape, sample, redactions from payloads"),
    ] {
        insta::assert_json_snapshot!(name, tracerag.sql(query));
    }
}

fn assert_model(tracerag: &Tracerag) {
    let models = tracerag.sql("select distinct model from incident_vectors where kind = 'masked'");
    // The form in which a model reads messages stands behind its name.
    let models: Vec<&str> = models.iter().filter_map(|row| row["model"].as_str()).collect();
    assert!(
        matches!(models[..], [model] if model.starts_with("all-MiniLM-L6-v2+gloss")),
        "{models:?}: the sentence model is absent: run ./check"
    );
}
