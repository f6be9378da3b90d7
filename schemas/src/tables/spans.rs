use arrow::datatypes::Field;

use super::column::*;

pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        text("trace_id"),
        text("span_id"),
        text("parent_span_id"),
        code("revision"),
        text("name"),
        text("kind"),
        text("service_name"),
        text("service_namespace"),
        text("service_version"),
        text("service_instance_id"),
        text("deployment_environment_name"),
        time("start_time"),
        time("end_time"),
        int("duration_ns"),
        text("status_code"),
        text("status_message"),
        text("error_type"),
        text("http_request_method"),
        text("http_route"),
        code("http_response_status_code"),
        text("url_path"),
        text("rpc_system_name"),
        text("rpc_method"),
        text("rpc_status_code"),
        text("db_system_name"),
        text("db_namespace"),
        text("db_collection_name"),
        text("db_operation_name"),
        text("db_query_summary"),
        text("messaging_system"),
        text("messaging_destination_name"),
        text("server_address"),
        code("server_port"),
        text("scope_name"),
        text("scope_version"),
        text("scope_schema_url"),
        text("schema_url"),
        text("trace_state"),
        int("flags"),
        map("attributes"),
        map("attributes_types"),
        map("resource_attributes"),
        map("resource_attributes_types"),
        text("resource_entity_refs"),
        map("scope_attributes"),
        map("scope_attributes_types"),
        structs("events", event_fields()),
        structs("links", link_fields()),
        int("dropped_attributes_count"),
        int("dropped_events_count"),
        int("dropped_links_count"),
        int("resource_dropped_attributes_count"),
        int("scope_dropped_attributes_count"),
        text("build_git_sha"),
        text("build_match"),
    ])
}

fn event_fields() -> Vec<Field> {
    vec![time("time"), text("name"), map("attributes"), map("attributes_types"), int("dropped_attributes_count")]
}

fn link_fields() -> Vec<Field> {
    vec![
        text("trace_id"),
        text("span_id"),
        text("trace_state"),
        int("flags"),
        map("attributes"),
        map("attributes_types"),
        int("dropped_attributes_count"),
    ]
}
