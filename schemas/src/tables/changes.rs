use arrow::datatypes::Field;

use super::column::*;

/// A row an event: `valid_to` is computed by the view. Variant and value both null mean a deletion.
pub(super) fn flag_columns() -> Vec<Field> {
    data_table(vec![
        text("kind"),
        text("key"),
        text("variant"),
        text("value"),
        text("service_name"),
        text("service_instance_id"),
        text("deployment_environment_name"),
        time("valid_from"),
        text("source"),
        text("trace_id"),
        text("span_id"),
        text("reason"),
        text("provider_name"),
        text("set_id"),
        text("version"),
        text("digest"),
    ])
}

/// A row an event; `removed` marks `service.removed`.
pub(super) fn build_columns() -> Vec<Field> {
    data_table(vec![
        text("service_name"),
        text("service_instance_id"),
        text("deployment_environment_name"),
        text("version"),
        text("git_sha"),
        text("build_number"),
        text("artifact"),
        map("lockfile_digests"),
        texts("schema_migrations"),
        time("valid_from"),
        text("source"),
        boolean("removed"),
        text("event_type"),
    ])
}
