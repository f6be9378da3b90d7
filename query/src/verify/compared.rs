//! Words that compare, or that speak of everything: no predicate bears them out, so numbers and names have to stand in
//! their place.

use super::predicate::{Function, Predicate, SEVERITIES};
use super::reason::Reason;
use super::words::{Mention, mentions, trimmed, words_of};

/// Words that compare with something.
const COMPARED: &[&str] = &[
    "faster",
    "slower",
    "quicker",
    "larger",
    "smaller",
    "bigger",
    "longer",
    "shorter",
    "higher",
    "lower",
    "greater",
    "more",
    "fewer",
    "less",
    "better",
    "worse",
    "increased",
    "increases",
    "decreased",
    "decreases",
    "grew",
    "grows",
    "fastest",
    "slowest",
    "quickest",
    "largest",
    "smallest",
    "biggest",
    "longest",
    "shortest",
    "highest",
    "lowest",
    "most",
    "least",
    "twice",
    "thrice",
    "double",
    "doubled",
    "doubles",
    "triple",
    "tripled",
    "half",
    "halved",
    "quarter",
    "tenfold",
];
/// Words that speak of more than a claim can point to.
const EVERYTHING: &[&str] =
    &["all", "every", "everything", "everywhere", "everyone", "always", "only", "solely", "exclusively", "anything"];

/// Words that English has not, of the languages next to it: what is said in another one is not understood, so it is not
/// borne out either.
const NOT_ENGLISH: &[&str] = &[
    "ist", "sind", "wurde", "wurden", "wird", "hatte", "hatten", "lief", "liefen", "nicht", "kein", "keine", "keinen",
    "keiner", "niemals", "und", "oder", "weil", "dass", "eine", "einen", "einem", "einer", "mit", "ohne", "durch",
    "est", "sont", "une", "dans", "avec", "pas", "jamais", "aucun", "aucune", "mais", "sans", "parce", "été", "était",
    "fue", "fueron", "nunca", "porque", "pero", "ninguna", "ninguno", "sin", "está", "una", "è", "sono", "anche",
    "perché", "não", "foi", "foram", "uma", "niet", "geen", "werd",
];

/// What a text says that no predicate can bear out. A bound such as `more than 2 s` is borne out by a predicate with the
/// same bound, and `all 3 traces` by one over traces.
pub(super) fn beyond_proof(plain: &str, holding: &[&Predicate]) -> Option<Reason> {
    let words = words_of(plain);
    let numbers = mentions(plain);
    let is_number = |index: usize| {
        words.get(index).is_some_and(|(at, _)| {
            numbers.iter().any(|(place, mention)| place == at && matches!(mention, Mention::Number { .. }))
        })
    };
    let is_word = |index: Option<usize>, wanted: &str| {
        index.and_then(|index| words.get(index)).is_some_and(|(_, word)| trimmed(word).eq_ignore_ascii_case(wanted))
    };
    let is_severity = |index: usize| words.get(index).is_some_and(|(_, word)| SEVERITIES.contains(&trimmed(word)));
    let over_traces = [Function::SameError, Function::Differs];
    let over_traces = holding.iter().any(|predicate| over_traces.contains(&predicate.operator.function));
    words.iter().enumerate().find_map(|(index, (_, raw))| {
        let word = trimmed(raw).to_ascii_lowercase();
        if NOT_ENGLISH.contains(&word.as_str()) && trimmed(raw).chars().any(char::is_lowercase) {
            return Some(Reason::Unsupported(format!(
                "the text is not in English ({word:?}), so it is not understood"
            )));
        }
        let is_bound = (is_word(Some(index + 1), "than") && is_number(index + 2))
            || (is_word(index.checked_sub(1), "at") && (is_number(index + 1) || is_severity(index + 1)))
            || (is_word(index.checked_sub(1), "no") && word == "longer");
        if COMPARED.contains(&word.as_str()) && !is_bound {
            return Some(Reason::Unsupported(format!(
                "the text compares ({word:?}), which no predicate bears out; say the numbers, with a predicate of each"
            )));
        }
        // Of traces that are named, a predicate can say something of all.
        let are_named = || {
            let mut behind = (index + 1..index + 4).take_while(|index| *index < words.len());
            over_traces && behind.any(|index| is_number(index) || is_word(Some(index), "named"))
        };
        let is_proven = matches!(word.as_str(), "all" | "every") && are_named();
        (EVERYTHING.contains(&word.as_str()) && !is_proven).then(|| {
            Reason::Unsupported(format!(
                "the text says {word:?}, which is more than the claim points to; name what it is about"
            ))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comparisons without a number and words for everything are beyond proof; bounds are not.
    #[test]
    fn comparisons_need_numbers() {
        for text in [
            "payments was slower than checkout",
            "the slowest span",
            "twice as long",
            "all services failed",
            "It always fails.",
            "more than half",
        ] {
            assert!(beyond_proof(text, &[]).is_some(), "{text}");
        }
        for text in
            ["took more than 2 s", "at least 12 of them", "less than two seconds", "it no longer fails", "failed"]
        {
            assert_eq!(beyond_proof(text, &[]), None, "{text}");
        }
    }
}
