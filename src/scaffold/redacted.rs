//! What redaction has left of values, and whether a failure depends on one.

use tracerag_schemas::bundle::{Failure, REDACTION_CLASSES};

/// Whether the text has a mark of redaction: of this program, or the Collector's.
pub(super) fn is_masked(text: &str) -> bool {
    let has_class = || REDACTION_CLASSES.iter().any(|class| text.contains(&format!("<{class}>")));
    text.contains("****") || text.contains("hmac:") || has_class()
}

/// Whether a failure names a field: then it may have come of the value, which nobody has any more. `customer_id`,
/// `customerId` and `customer id` are one name.
pub(super) fn is_named_by(failure: &Failure, field: &str) -> bool {
    let told = [&failure.exception_type, &failure.message].map(|text| text.as_deref().unwrap_or_default()).join(" ");
    let words = |text: &str| -> Vec<String> {
        let kept = text.to_lowercase().replace(['_', '-'], "");
        kept.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let told = words(&told);
    let as_one = words(field);
    let apart = words(&field.replace(['_', '-'], " "));
    let follow = |wanted: &[String]| !wanted.is_empty() && told.windows(wanted.len()).any(|window| window == wanted);
    follow(&as_one) || follow(&apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field is found by its name in any spelling, as whole words; a part of a word, or another order, is not it.
    #[test]
    fn fields_are_found_in_messages() {
        for (message, field, is_named) in [
            ("KeyError: 'customer_id'", "customer_id", true),
            ("customerId is empty", "customer_id", true),
            ("no Customer ID given", "customer_id", true),
            ("the id of a customer", "customer_id", false),
            ("not a valid e-mail", "email", true),
            ("named pipe", "name", false),
            ("anything", "", false),
        ] {
            let failure = Failure {
                anchor: String::from("failure:0"),
                fingerprint: None,
                kind: None,
                time: None,
                exception_type: None,
                message: Some(message.to_owned()),
                service: None,
                span_id: None,
                frames: Vec::new(),
                grouped_by: None,
            };
            assert_eq!(is_named_by(&failure, field), is_named, "{field} in {message}");
        }
    }

    /// Marks of this program and of the Collector are marks; angle brackets of others are not.
    #[test]
    fn marks_are_known() {
        for (text, masked) in
            [("<email>", true), ("a****b", true), ("hmac:57:85", true), ("<b>", false), ("W3-686", false)]
        {
            assert_eq!(is_masked(text), masked, "{text}");
        }
    }
}
