//! What a text says came of something: that it failed, or that it went well.

use super::denial::is_denying;
use super::facts::{Entry, Facts, OTHER_INCIDENTS};
use super::reason::Reason;
use super::subjects::Subjects;
use super::visible::find_words;
use super::words::words_of;

const FAILED: &[&str] = &[
    "fail",
    "fails",
    "failed",
    "failing",
    "failure",
    "failures",
    "error",
    "errors",
    "errored",
    "crash",
    "crashes",
    "crashed",
    "exception",
    "exceptions",
    "raised",
    "threw",
    "thrown",
    "panicked",
    "broke",
    "broken",
    "outage",
    "aborted",
    "refused",
    "rejected",
    "timeout",
    "timeouts",
    "unavailable",
    "unhealthy",
    "faulty",
];
const WENT_WELL: &[&str] = &[
    "succeeded",
    "succeeds",
    "succeed",
    "success",
    "successful",
    "successfully",
    "healthy",
    "worked",
    "works",
    "working",
    "passed",
    "ok",
    "okay",
    "fine",
    "normal",
    "normally",
    "flawless",
    "flawlessly",
    "smoothly",
    "perfectly",
    "unaffected",
    "unharmed",
    "unscathed",
    "unimpaired",
    "untroubled",
    "intact",
    "survived",
    "recovered",
    "recovers",
    "uneventfully",
    "uneventful",
    "stable",
    "faultless",
    "faultlessly",
    "impeccably",
    "error-free",
    "trouble-free",
];
/// The same in several words.
const WELL: &[&str] = &[
    "as expected",
    "as intended",
    "as planned",
    "as usual",
    "as designed",
    "stayed up",
    "remained up",
    "kept running",
    "up and running",
    "in good health",
];

/// A text that speaks of a failure where nothing failed, or of success where something did.
pub(super) fn outcome(facts: &Facts<'_>, text: &str, subjects: &Subjects<'_>, entries: &[Entry<'_>]) -> Option<Reason> {
    let failed = entries.iter().any(Entry::is_failing);
    let found = if failed { "failed" } else { "did not fail; add the anchor of what did" };
    let contradiction =
        |word: &str| Reason::Contradiction(format!("the text says {word:?}, but what the claim points to {found}"));
    if failed && let Some(word) = WELL.iter().find(|word| find_words(text, word).is_some()) {
        return Some(contradiction(word));
    }
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-' | '_' | '.');
    let words: Vec<(usize, &str)> =
        words_of(text).into_iter().map(|(at, word)| (at, word.trim_matches(|c| !is_letter(c) || c == '.'))).collect();
    words.iter().enumerate().find_map(|(index, (at, word))| {
        let before = words.get(index.saturating_sub(3)..index).unwrap_or_default();
        let is_denied = before.iter().any(|(_, word)| is_denying(word));
        let says_failed = match (FAILED.contains(word), WENT_WELL.contains(word)) {
            (true, _) => !is_denied,
            (_, true) => is_denied,
            _ => return None,
        };
        if says_failed != failed {
            return Some(contradiction(word));
        }
        if !says_failed {
            return None;
        }
        // Where something failed, it has to be that of which it is said; another incident is not what happened here.
        let names = subjects.at(text, *at, at + word.len());
        let mut failing = entries.iter().filter(|entry| entry.is_failing());
        if names.is_empty() {
            let is_here = failing.any(|entry| !entry.is_foreign(facts));
            let is_other = OTHER_INCIDENTS.iter().any(|other| find_words(text, other).is_some());
            return (!is_here && !is_other).then(|| {
                Reason::Contradiction(format!(
                    "the text says {word:?}, but only another incident that is pointed to did"
                ))
            });
        }
        let about: Vec<Vec<String>> = failing.map(|entry| entry.about(facts)).collect();
        let is_of = |name: &str| about.iter().any(|about| about.is_empty() || about.iter().any(|known| known == name));
        names.into_iter().find(|name| !is_of(name)).map(|name| {
            Reason::Contradiction(format!("the text says {word:?} of {name}, but nothing of it that is pointed to did"))
        })
    })
}
