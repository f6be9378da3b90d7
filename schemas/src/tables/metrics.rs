use arrow::datatypes::{DataType, Field, Fields};

use super::column::*;

/// One row a data point. A point's number is in `value` or, if it was an integer, in `value_int`
/// and in `value` as the nearest double.
pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        time("time"),
        time("start_time"),
        text("name"),
        text("description"),
        text("unit"),
        text("kind"),
        text("temporality"),
        boolean("monotonic"),
        double("value"),
        int("value_int"),
        int("count"),
        double("sum"),
        double("min"),
        double("max"),
        list("bounds", DataType::Float64),
        list("buckets", DataType::Int64),
        code("scale"),
        int("zero_count"),
        double("zero_threshold"),
        code("positive_offset"),
        list("positive_buckets", DataType::Int64),
        code("negative_offset"),
        list("negative_buckets", DataType::Int64),
        list("quantiles", DataType::Struct(Fields::from(vec![double("quantile"), double("value")]))),
        int("flags"),
        text("service_name"),
        text("service_namespace"),
        text("service_version"),
        text("service_instance_id"),
        text("deployment_environment_name"),
        map("attributes"),
        map("attributes_types"),
        map("metadata"),
        map("metadata_types"),
        map("resource_attributes"),
        map("resource_attributes_types"),
        text("resource_entity_refs"),
        text("scope_name"),
        text("scope_version"),
        text("scope_schema_url"),
        map("scope_attributes"),
        map("scope_attributes_types"),
        text("schema_url"),
        int("resource_dropped_attributes_count"),
        int("scope_dropped_attributes_count"),
        structs("exemplars", exemplar_fields()),
    ])
}

fn exemplar_fields() -> Vec<Field> {
    vec![
        time("time"),
        double("value"),
        int("value_int"),
        text("trace_id"),
        text("span_id"),
        map("attributes"),
        map("attributes_types"),
    ]
}
