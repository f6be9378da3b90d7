//! The failure of a bundle, as it may stand in what a test prints.

use std::collections::HashSet;

use tracerag_query::untrusted::line;
use tracerag_schemas::bundle::Bundle;

use crate::scaffold::{ANOTHER_FAILURE, origin};

/// Letters and digits that a part of a message has at least, and those of all parts together.
const LEAST_IN_PART: usize = 3;
const LEAST_IN_MESSAGE: usize = 8;
/// Names of types that say nothing of a failure.
const GENERIC: [&str; 8] =
    ["error", "errorstring", "exception", "throwable", "wraperror", "joinerror", "fundamental", "withstack"];

/// By what the failure is known again: types, and the parts of messages that do not vary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    types: Vec<String>,
    messages: Vec<Vec<String>>,
}

impl Failure {
    /// The failure that the others came of, with those of the spans above it; where no failure belongs to a span, all.
    pub(super) fn of(bundle: &Bundle) -> Self {
        let evidence = &bundle.evidence;
        let origin = origin::of(evidence);
        let is_meant = |span: Option<&str>| match &origin {
            Some(origin) => origin.path.iter().any(|above| Some(above.span_id.as_str()) == span),
            None => true,
        };
        let mut this = Self { types: vec![], messages: vec![] };
        for failure in evidence.failures.iter().filter(|failure| is_meant(failure.span_id.as_deref())) {
            this.types.extend(failure.exception_type.as_deref().and_then(name));
            this.messages.extend(failure.message.as_deref().and_then(parts));
        }
        this
    }

    /// What of the failure stands in an output. A test that was made of the evidence and fails of something else says so.
    /// Runners show the source where a test fails, and what stands in a line that `test`, its diff, adds says nothing of
    /// why it failed.
    pub(super) fn found(&self, output: &str, test: &str) -> Option<String> {
        if output.contains(ANOTHER_FAILURE) {
            return None;
        }
        let added = test.lines().filter_map(|line| line.strip_prefix('+')).filter(|line| !line.starts_with("++ "));
        let own: HashSet<&str> = added.map(source).filter(|line| !line.is_empty()).collect();
        let printed = || output.lines().filter(|printed| !own.contains(source(printed)));
        for printed in printed() {
            if let Some(parts) = self.messages.iter().find(|parts| in_order(printed, parts)) {
                return Some(format!("message: {}", line(&parts.join("…"))));
            }
        }
        let found = self.types.iter().find(|name| printed().any(|printed| has_word(printed, name)))?;
        Some(format!("type: {}", line(found)))
    }

    /// What is looked for, for people.
    pub(super) fn told(&self) -> String {
        let messages = self.messages.iter().map(|parts| format!("{:?}", parts.join("…")));
        let all: Vec<String> = messages.chain(self.types.iter().cloned()).collect();
        if all.is_empty() { String::from("no message and no type by which it could be known") } else { all.join(", ") }
    }
}

/// A line of source, without its number and the marks that a runner puts before it.
fn source(line: &str) -> &str {
    line.trim_end().trim_start_matches(|c: char| !c.is_alphabetic())
}

/// The name of a type without where it is defined, unless it says nothing.
fn name(full: &str) -> Option<String> {
    let name = full.rsplit(['.', ':', '/', '$', '*', '\\']).next()?.trim();
    let is_generic = GENERIC.iter().any(|generic| name.eq_ignore_ascii_case(generic));
    (!is_generic && name.len() >= LEAST_IN_PART).then(|| name.to_owned())
}

/// The parts of a message's first line between numbers, quotes and what redaction has put in. `None` if they are too few
/// to know the message by.
fn parts(message: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut rest = message.trim().lines().next()?.chars();
    while let Some(c) = rest.next() {
        let varies = match c {
            '<' => {
                // A token such as <email>; a comparison is none.
                let ahead = rest.as_str();
                let token = ahead.split_once('>').map(|(token, _)| token).filter(|token| {
                    !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || "_-:.".contains(c))
                });
                if let Some(token) = token {
                    let _ = rest.nth(token.chars().count());
                }
                token.is_some()
            }
            c => c.is_ascii_digit() || matches!(c, '"' | '\'' | '`'),
        };
        if varies {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let weight = |part: &str| part.chars().filter(|c| c.is_alphanumeric()).count();
    let parts: Vec<String> =
        parts.iter().map(|part| part.trim().to_owned()).filter(|part| weight(part) >= LEAST_IN_PART).collect();
    (parts.iter().map(|part| weight(part)).sum::<usize>() >= LEAST_IN_MESSAGE).then_some(parts)
}

/// Whether all parts stand in a line, in their order.
fn in_order(printed: &str, parts: &[String]) -> bool {
    let mut rest = printed;
    parts.iter().all(|part| match rest.split_once(part.as_str()) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// Whether a word stands in a line, and is not a part of another one.
fn has_word(printed: &str, word: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    printed.match_indices(word).any(|(at, _)| {
        let before = printed[..at].chars().next_back().is_some_and(is_of_word);
        let behind = printed[at + word.len()..].chars().next().is_some_and(is_of_word);
        !before && !behind
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A message is known again with other numbers and with what redaction has taken out of it; its parts in another
    /// order, or in several lines, are another message. One of numbers and tokens only is none to know anything by.
    #[test]
    fn messages_are_known_by_what_does_not_vary() {
        let known = parts("decimal overflow: amount of <email> has 18 fractional digits").unwrap();
        assert_eq!(known, ["decimal overflow: amount of", "has", "fractional digits"]);
        for (printed, wanted) in [
            ("    a_test.go:7: decimal overflow: amount of jane@example.org has 21 fractional digits", true),
            ("fractional digits has decimal overflow: amount of", false),
            ("decimal overflow", false),
        ] {
            assert_eq!(in_order(printed, &known), wanted, "{printed}");
        }
        assert_eq!(parts("if a < b then it overflows").unwrap(), ["if a < b then it overflows"]);
        for nothing in ["", "<email> 17", "no", "12 of 13"] {
            assert_eq!(parts(nothing), None, "{nothing}");
        }
    }

    /// A type is known by its own name as a word; the types that every failure has are not.
    #[test]
    fn types_are_known_by_their_names() {
        assert_eq!(name("*payments.OverflowError").as_deref(), Some("OverflowError"));
        assert_eq!(name("com.acme.Orders$TooMany").as_deref(), Some("TooMany"));
        assert_eq!(name("*errors.errorString"), None);
        assert!(has_word("E   shop.OverflowError: x", "OverflowError"));
        assert!(!has_word("NotAnOverflowError", "OverflowError"));
    }

    /// The text by which a scaffolded test says that it fails of something else counts for more than the message that it
    /// also prints.
    #[test]
    fn another_failure_is_not_taken_for_it() {
        let failure = Failure { types: vec![], messages: vec![vec![String::from("decimal overflow")]] };
        assert!(failure.found("x\ndecimal overflow", "").is_some());
        assert_eq!(failure.found(&format!("{ANOTHER_FAILURE}: 503\nin the trace: decimal overflow"), ""), None);
    }

    /// A runner shows the line of the test that fails, in which the message stands: that is no failure with it. What the
    /// program itself prints beside it is.
    #[test]
    fn the_source_of_the_test_is_not_its_failure() {
        let failure = Failure {
            types: vec![String::from("OverflowError")],
            messages: vec![vec![String::from("decimal overflow")]],
        };
        let test = "--- /dev/null\n+++ b/test_a.py\n@@ -0,0 +1,2 @@\n+def test_a():\n\
                    +    assert pay() != 'decimal overflow'  # OverflowError\n";
        for shown in [
            "    assert pay() != 'decimal overflow'  # OverflowError",
            ">   2 | assert pay() != 'decimal overflow'  # OverflowError",
        ] {
            assert_eq!(failure.found(&format!("{shown}\nE   NameError: no pay\n"), test), None, "{shown}");
            assert!(failure.found(&format!("{shown}\nE   Failed: decimal overflow\n"), test).is_some(), "{shown}");
        }
    }
}
