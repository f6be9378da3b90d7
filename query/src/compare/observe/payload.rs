//! The shape of a payload as texts: at each JSON pointer the type of what stands there, and the class of its length.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What stands at a pointer that other payloads of the kind have.
pub(super) const ABSENT: &str = "absent";
/// What stands there where redaction has taken it out of shape and sample.
const REDACTED: &str = "present, redacted";

/// Pointers with what is said of each.
pub(super) type Shape = BTreeMap<String, BTreeSet<String>>;

/// The shape of a payload; pointers of what was redacted begin without their slash, as the lake has them.
pub(super) fn shape(shape: &Value, sample: &Value, redactions: &[String]) -> Shape {
    let mut said = Shape::new();
    walk(shape, sample, String::new(), &mut said);
    for redacted in redactions {
        said.entry(format!("/{redacted}")).or_default().insert(REDACTED.to_owned());
    }
    said
}

fn walk(shape: &Value, sample: &Value, pointer: String, said: &mut Shape) {
    match shape {
        Value::Object(members) => {
            for (name, member) in members {
                let step = name.replace('~', "~0").replace('/', "~1");
                walk(member, sample.get(name).unwrap_or(&Value::Null), format!("{pointer}/{step}"), said);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, sample.get(index).unwrap_or(&Value::Null), format!("{pointer}/{index}"), said);
            }
        }
        _ => {}
    }
    let texts = match (shape, sample) {
        (Value::Object(_), _) => vec![String::from("object")],
        (Value::Array(items), _) => vec![String::from("array"), format!("array of {} items", class(items.len()))],
        (Value::String(kind), sample) => {
            let more = match sample {
                Value::String(text) => Some(format!("string of {} characters", class(text.chars().count()))),
                Value::Number(number) => Some(of_number(&number.to_string())),
                Value::Bool(truth) => Some(truth.to_string()),
                _ => None,
            };
            std::iter::once(kind.clone()).chain(more).collect()
        }
        _ => vec![],
    };
    if !texts.is_empty() && !pointer.is_empty() {
        said.entry(pointer).or_default().extend(texts);
    }
}

fn of_number(text: &str) -> String {
    if text.starts_with('-') {
        String::from("negative number")
    } else if text.parse::<f64>().is_ok_and(|number| number == 0.0) {
        String::from("zero")
    } else {
        format!("number of {} characters", class(text.len()))
    }
}

/// A length as the powers of two that it lies between.
fn class(length: usize) -> String {
    match length {
        0 | 1 => length.to_string(),
        _ => {
            let low = 1_usize << length.ilog2();
            format!("{low} to {}", low.saturating_mul(2) - 1)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each pointer says its type and the class of its length, also within objects and arrays; what was redacted says
    /// that it was there; without a sample the type alone is known.
    #[test]
    fn shapes_are_told_by_pointer() {
        let of_shape = json!({"amount": "string", "a/b": {"n": "number"}, "items": ["boolean"], "gone": "null"});
        let sample = json!({"amount": "12.345678901234567890", "a/b": {"n": 0}, "items": [true], "gone": null});
        let said = shape(&of_shape, &sample, &["card".to_owned()]);
        let at = |pointer: &str| said.get(pointer).unwrap().iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(at("/amount"), ["string", "string of 16 to 31 characters"]);
        assert_eq!(at("/a~1b/n"), ["number", "zero"]);
        assert_eq!(at("/items"), ["array", "array of 1 items"]);
        assert_eq!(at("/items/0"), ["boolean", "true"]);
        assert_eq!((at("/gone"), at("/card")), (vec!["null"], vec![REDACTED]));
        assert_eq!(shape(&of_shape, &Value::Null, &[]).get("/amount").unwrap().len(), 1);
    }

    /// Classes of length meet without a gap.
    #[test]
    fn lengths_have_classes() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8].map(class), ["0", "1", "2 to 3", "2 to 3", "4 to 7", "4 to 7", "8 to 15"]);
        assert_eq!(["-1", "0.0", "42"].map(of_number), ["negative number", "zero", "number of 2 to 3 characters"]);
    }
}
