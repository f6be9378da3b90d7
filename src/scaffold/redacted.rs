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
    let (told_words, field_words) = (words(&told), words(field));
    let name = field_words.concat();
    if name.is_empty() {
        return false;
    }
    let parts = field.split(['_', '-', '.', ' ']).filter(|part| !part.is_empty()).map(str::to_lowercase);
    let parts: Vec<String> = parts.collect();
    let follows = |told: &[String], wanted: &[String]| {
        !wanted.is_empty() && told.windows(wanted.len()).any(|window| window == wanted)
    };
    follows(&told_words, std::slice::from_ref(&name)) || follows(&told_words, &parts)
}
