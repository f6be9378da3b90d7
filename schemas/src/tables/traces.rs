use arrow::datatypes::Field;

use super::column::*;

/// One row a revision. Counts and times are cumulative: those of the newest revision hold for the trace.
pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        text("trace_id"),
        code("revision"),
        text("root_span_id"),
        text("root_name"),
        text("root_service_name"),
        texts("services"),
        text("service_path"),
        text("deployment_environment_name"),
        time("start_time"),
        time("end_time"),
        int("duration_ns"),
        text("status"),
        int("span_count"),
        int("error_span_count"),
        int("log_count"),
        int("failure_count"),
        time("closed_at"),
        text("close_reason"),
        boolean("complete"),
        texts("incomplete_reasons"),
        structs("flags_in_effect", flag_in_effect_fields()),
        structs("builds_in_effect", build_in_effect_fields()),
        text("sampled_by"),
        text("redaction_policy"),
        code("redaction_version"),
    ])
}

/// `candidates` are `variant@since` texts where `match` is `ambiguous`, else null.
fn flag_in_effect_fields() -> Vec<Field> {
    vec![
        text("kind"),
        text("key"),
        text("variant"),
        text("value"),
        text("service"),
        text("instance"),
        text("environment"),
        time("since"),
        text("match"),
        text("span_id"),
        texts("candidates"),
    ]
}

/// `candidates` are `version+git_sha` texts where `match` is `ambiguous`, else null.
fn build_in_effect_fields() -> Vec<Field> {
    vec![
        text("service"),
        text("instance"),
        text("environment"),
        text("version"),
        text("git_sha"),
        text("build_number"),
        text("artifact"),
        map("lockfile_digests"),
        texts("schema_migrations"),
        time("deployed_at"),
        text("match"),
        texts("candidates"),
    ]
}
