use arrow::datatypes::Field;

use super::column::*;

/// `shape` and `sample` are JSON texts; the payload itself is never stored.
pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        text("trace_id"),
        text("span_id"),
        text("direction"),
        text("content_type"),
        text("shape"),
        text("sample"),
        texts("redactions"),
        int("size_bytes"),
    ])
}
