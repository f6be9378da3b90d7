use arrow::datatypes::Field;

use super::column::*;

/// `flags` maps a flag's key to the variant (or value) in effect for the failing service. `frame_columns` has a column
/// for each of `frames`, whose struct cannot grow. `causes` are those behind the exception, the nearest first.
/// `origin_id` names the failure of the trace that this one is an echo of, and is null of an origin; `origin_span_id`
/// the span that owns the failure. `interruption` is `timeout` or `cancellation`, `gave_up_span_id` the span whose
/// patience ended. `fingerprint_all_frames` is the fingerprint over all frames, not those of the application alone.
/// `grouping_path` and `grouping_error` are what went into the fingerprint and is stored nowhere else: the masked names of
/// the service's own spans down to the failing one, and its `error.type` or status code. The path is empty, not null,
/// where no span is known: null says that the row is older than the column.
pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        text("failure_id"),
        text("trace_id"),
        text("span_id"),
        code("revision"),
        time("time"),
        text("service_name"),
        text("service_version"),
        text("deployment_environment_name"),
        text("kind"),
        text("exception_type"),
        text("message"),
        text("message_masked"),
        structs("frames", frame_fields()),
        text("stacktrace"),
        text("span_name"),
        text("span_path"),
        text("fingerprint"),
        code("fingerprint_version"),
        text("grouped_by"),
        text("build_git_sha"),
        map("flags"),
        ints("frame_columns"),
        structs("causes", cause_fields()),
        boolean("stacktrace_minified"),
        boolean("stacktrace_truncated"),
        text("origin_id"),
        text("origin_span_id"),
        text("interruption"),
        text("gave_up_span_id"),
        text("fingerprint_all_frames"),
        text("grouping_path"),
        text("grouping_error"),
    ])
}

fn cause_fields() -> Vec<Field> {
    vec![text("exception_type"), text("message")]
}

fn frame_fields() -> Vec<Field> {
    vec![text("function"), text("file"), int("line"), boolean("in_app")]
}
