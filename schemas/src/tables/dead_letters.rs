use arrow::datatypes::Field;

use super::column::*;

/// `key` and `value` are the bytes as they came; they are not redacted and kept for seven days.
/// A bad record inside a good message has no `value`: its message is in the topic. A `gap` has only its interval, in
/// `detail`: its records were deleted from the topic before they could be taken. A row of reason `replayed` is no letter:
/// it says that the letter of its origin, timestamp and size was replayed; `detail` is the reason that this had.
pub(super) fn columns() -> Vec<Field> {
    data_table(vec![
        text("reason"),
        text("detail"),
        int("size_bytes"),
        time("timestamp"),
        bytes("key"),
        structs("headers", vec![text("name"), bytes("value")]),
        bytes("value"),
    ])
}
