use arrow::datatypes::Field;

use super::column::*;

/// `flags` maps a flag's key to the variant (or value) in effect for the failing service.
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
    ])
}

fn frame_fields() -> Vec<Field> {
    vec![text("function"), text("file"), int("line"), boolean("in_app")]
}
