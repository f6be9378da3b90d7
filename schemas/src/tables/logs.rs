use arrow::datatypes::{DataType, Field};

use super::column::*;

/// `record_hash` is 16 bytes: resource, scope, times, ids, body and attributes of the record. `template` is what the
/// messages of one log statement have in common, and `template_id` a hash of it; both are null where a body holds a stack.
pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        time("time"),
        time("observed_time"),
        text("trace_id"),
        text("span_id"),
        code("revision"),
        code("severity_number"),
        text("severity_text"),
        text("body"),
        text("body_type"),
        Field::new("record_hash", DataType::FixedSizeBinary(16), true),
        text("template_id"),
        text("template"),
        text("event_name"),
        int("flags"),
        text("service_name"),
        text("service_namespace"),
        text("service_version"),
        text("service_instance_id"),
        text("deployment_environment_name"),
        map("attributes"),
        map("attributes_types"),
        map("resource_attributes"),
        map("resource_attributes_types"),
        text("resource_entity_refs"),
        text("scope_name"),
        text("scope_version"),
        text("scope_schema_url"),
        map("scope_attributes"),
        map("scope_attributes_types"),
        text("schema_url"),
        int("dropped_attributes_count"),
        int("resource_dropped_attributes_count"),
        int("scope_dropped_attributes_count"),
    ])
}
