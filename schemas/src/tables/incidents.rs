use arrow::datatypes::Field;

use super::column::*;

/// One row an epoch, fingerprint and environment: what to add to the incident's counts. A trace that fails
/// alike in two environments is a trace of both.
/// `failure_count` counts origins, `echo_count` failures that only pass one on. `text`, `context` and `shape`
/// are what is embedded, those of the first failure in journal order that has them: its masked message with its type and
/// place; service, span path and first functions; the names of the spans on its path, to which the shapes of its
/// trace's payloads are added.
pub(super) fn count_columns() -> Vec<Field> {
    data_table(vec![
        text("fingerprint"),
        code("fingerprint_version"),
        text("title"),
        text("service_name"),
        text("exception_type"),
        text("message"),
        text("text"),
        text("deployment_environment_name"),
        time("first_seen"),
        time("last_seen"),
        int("failure_count"),
        int("trace_count"),
        texts("versions"),
        texts("example_trace_ids"),
        int("echo_count"),
        text("context"),
        text("shape"),
    ])
}
