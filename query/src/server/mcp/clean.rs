//! Telemetry as a model may read it: text without what a reader does not see.
//!
//! What [`untrusted`](crate::untrusted) does to a text, done to whole values.

use serde_json::Value;

use crate::untrusted::clean;

/// A value with every text cleaned, names included. Members that are null or empty are left out.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(clean(&string)),
        Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        Value::Object(members) => {
            let told = members.into_iter().filter(|(_, member)| !is_empty(member));
            Value::Object(told.map(|(name, member)| (clean(&name), self::value(member))).collect())
        }
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Names and nested texts are cleaned, too; null and empty members go, items of lists keep their places.
    #[test]
    fn values_are_cleaned_throughout() {
        let given =
            json!({"a\u{202e}": {"b": ["\u{1b}[1mx", null, {"c": null}]}, "d": null, "e": [], "f": {}, "g": ""});
        assert_eq!(value(given), json!({"a": {"b": ["x", null, {}]}, "g": ""}));
    }
}
