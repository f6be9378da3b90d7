use arrow::datatypes::{DataType, Field};

use super::column::*;

/// `retained_paths` are lists of type or field names from a root to the type that it keeps alive.
pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        text("trace_id"),
        text("span_id"),
        time("captured_at"),
        text("service_name"),
        text("service_instance_id"),
        text("git_sha"),
        text("format"),
        structs("top_types", vec![text("type"), int("bytes"), int("count")]),
        structs("top_sites", vec![text("function"), text("file"), int("line"), int("bytes"), int("count")]),
        list("retained_paths", texts("path").data_type().clone()),
        int("total_bytes"),
        text("snapshot_uri"),
        text("snapshot_sha256"),
        Field::new("truncated", DataType::Boolean, true),
    ])
}
