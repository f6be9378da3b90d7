//! What is embedded of a failure beside its message: where it happened, and what went through there, as texts.
//!
//! What is stored and what is asked are made into texts here alike, so that equal failures have equal texts, and vectors
//! of equal texts are equal.

use std::collections::BTreeSet;

use serde_json::Value;

use super::frames::StackTrace;
use super::mask::{clip, mask};

/// Bytes of a text.
const MAX_TEXT: usize = 1_000;
/// Bytes of one payload in it.
const MAX_PAYLOAD: usize = 400;
/// Steps of a span path that take part, the last ones: those before are the same for much that a system does.
const MAX_STEPS: usize = 8;
/// Functions that take part, the innermost ones.
const MAX_FUNCTIONS: usize = 5;
/// Fields of a payload that are looked at.
const MAX_FIELDS: usize = 512;

/// The text of the kind `context`: service, masked span path, and the first functions of the application. Empty where
/// neither path nor functions are known: all failures of a service would have one context.
#[must_use]
pub fn context(service: &str, span_path: &str, stack: &StackTrace) -> String {
    let mut functions: Vec<&str> = Vec::new();
    for function in stack.frames().filter(|frame| frame.in_app).filter_map(|frame| frame.function.as_deref()) {
        if functions.len() == MAX_FUNCTIONS {
            break;
        }
        // A recursion says no more than one call.
        if functions.last() != Some(&function) {
            functions.push(function);
        }
    }
    let (path, functions) = (mask(&last_steps(span_path).join(" > ")), functions.join(", "));
    if path.is_empty() && functions.is_empty() {
        return String::new();
    }
    let parts: Vec<&str> = [service, &path, &functions].into_iter().filter(|part| !part.is_empty()).collect();
    clip(&parts.join("\n"), MAX_TEXT).to_owned()
}

/// The names of the spans of a path as `failures.span_path` has it (`checkout: POST /checkout > payments: Charge`),
/// masked and without the services.
#[must_use]
pub fn span_names(span_path: &str) -> String {
    let name = |step: &str| step.split_once(": ").map_or(step, |(_, name)| name).to_owned();
    let names: Vec<String> = last_steps(span_path).into_iter().map(name).collect();
    clip(&mask(&names.join(" > ")), MAX_TEXT).to_owned()
}

/// The text of the kind `shape`: the names of spans, and payloads as [`payload`] gives them.
#[must_use]
pub fn shape<'a>(span_names: &'a str, payloads: impl IntoIterator<Item = &'a str>) -> String {
    let parts: Vec<&str> = std::iter::once(span_names).chain(payloads).filter(|part| !part.is_empty()).collect();
    clip(&parts.join("\n"), MAX_TEXT).to_owned()
}

/// The fields of a payload, or of its shape, as a text; `None` of what is no JSON or has no field.
#[must_use]
pub fn payload(json: &str) -> Option<String> {
    let fields = fields(&serde_json::from_str(json).ok()?);
    let named: Vec<&str> = fields.iter().map(|field| field.trim_start_matches('.')).collect();
    (!named.is_empty()).then(|| clip(&named.join(", "), MAX_PAYLOAD).to_owned())
}

/// The fields of a payload, or of its shape, as `.order.items[].price: number`. In a shape the values are the names of
/// their types.
#[must_use]
pub fn fields(payload: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, at: &mut String, fields: &mut BTreeSet<String>) {
        if fields.len() >= MAX_FIELDS {
            return;
        }
        let length = at.len();
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    at.push('.');
                    at.push_str(name);
                    walk(member, at, fields);
                    at.truncate(length);
                }
            }
            Value::Array(items) => {
                at.push_str("[]");
                items.iter().for_each(|item| walk(item, at, fields));
                at.truncate(length);
            }
            value => {
                fields.insert(format!("{at}: {}", type_name(value)));
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(payload, &mut String::new(), &mut found);
    found
}

fn type_name(value: &Value) -> &str {
    match value {
        Value::String(name) if matches!(name.as_str(), "number" | "boolean" | "null") => name,
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Null => "null",
        _ => "string",
    }
}

fn last_steps(span_path: &str) -> Vec<&str> {
    let steps: Vec<&str> = span_path.split(" > ").map(str::trim).filter(|step| !step.is_empty()).collect();
    let left_out = steps.len().saturating_sub(MAX_STEPS);
    steps.into_iter().skip(left_out).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::frames::InAppRules;
    use super::*;

    const PATH: &str = "checkout: POST /checkout > payments: Charge";

    /// A context has service, path and the application's functions, no library's, and nothing that changes from request
    /// to request; of a service alone there is none.
    #[test]
    fn a_context_is_where_it_failed() {
        let stack = "Error: x\n    at charge (/app/src/pay.js:12:5)\n    at f (/app/node_modules/x/y.js:1:1)\n    at \
                     pay (/app/src/cart.js:3:1)";
        let stack = StackTrace::parse(stack, &InAppRules::default());
        assert_eq!(context("payments", PATH, &stack), format!("payments\n{PATH}\ncharge, pay"));
        let none = StackTrace::default();
        assert_eq!(context("cart", "cart: GET /orders/4711", &none), context("cart", "cart: GET /orders/4712", &none));
        assert_eq!(context("cart", "", &none), "");
        assert_eq!(context("", PATH, &none), PATH);
    }

    /// Of a long path the end takes part, which says where it failed, and a text never exceeds its bound.
    #[test]
    fn the_end_of_a_long_path_counts() {
        let steps: Vec<String> = ('a'..='t').map(|name| format!("{name} {}", "word ".repeat(60))).collect();
        let found = span_names(&steps.join(" > "));
        assert!(found.len() <= MAX_TEXT && found.starts_with("m word"), "{found}");
        assert_eq!(span_names("a: b > c > d: e"), "b > c > e");
        assert_eq!(span_names(""), "");
    }

    /// A payload and its shape make one text, which stands behind the names of the spans; what is no JSON makes none.
    #[test]
    fn a_shape_is_names_and_fields() {
        let of_shape = payload(&json!({"order": {"items": [{"price": "number"}]}, "paid": "boolean"}).to_string());
        let of_payload = payload(&json!({"order": {"items": [{"price": 3}, {"price": 4}]}, "paid": true}).to_string());
        assert_eq!(of_shape.as_deref(), Some("order.items[].price: number, paid: boolean"));
        assert_eq!(of_shape, of_payload);
        assert_eq!(
            shape("POST /checkout > Charge", of_shape.as_deref()),
            format!("POST /checkout > Charge\n{}", of_shape.unwrap())
        );
        assert_eq!(shape("Charge", []), "Charge");
        assert_eq!((payload("no json"), payload("{}")), (None, None));
    }
}
