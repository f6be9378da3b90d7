//! From a triggered text to the masked one: recognisers over the text and its decoded forms, spans merged, masks put in.

use aho_corasick::AhoCorasick;
use regex::bytes::Regex;

use super::class::{Class, RedactionCounts, mask_at};
use super::decode::decode_level;
use super::prefilter::{Prefilter, Triggers};
use super::recognise::{Span, assignment, digits, dsn, email, ip, tokens};

/// Encodings within encodings that are looked through.
const MAX_LEVELS: usize = 4;

/// A mask can bring two parts of a text together that make a new match; real texts settle in the second round.
const MAX_ROUNDS: usize = 4;

/// The compiled recognisers.
pub(super) struct Scanner {
    prefilter: Prefilter,
    keywords: AhoCorasick,
    deny: Vec<Regex>,
    finds_ip: bool,
}

impl Scanner {
    pub(super) fn new(deny: Vec<Regex>, finds_ip: bool) -> Result<Self, aho_corasick::BuildError> {
        let keywords = AhoCorasick::builder().ascii_case_insensitive(true).build(assignment::KEYWORDS)?;
        Ok(Self { prefilter: Prefilter::new(), keywords, deny, finds_ip })
    }

    /// The masked text, or `None` if nothing was found.
    #[inline]
    pub(super) fn redact(&self, text: &str, counts: &mut RedactionCounts) -> Option<String> {
        let triggers = self.prefilter.triggers(text.as_bytes());
        if triggers.is_empty() && self.deny.is_empty() && !self.finds_ip {
            return None;
        }
        self.redact_triggered(text, triggers, &self.deny, counts)
    }

    /// The masked text of a name, in which the operator's patterns mask nothing: where they match a name, its value is
    /// denied, and one reads of which.
    pub(super) fn redact_name(&self, name: &str, counts: &mut RedactionCounts) -> Option<String> {
        let triggers = self.prefilter.triggers(name.as_bytes());
        if triggers.is_empty() && !self.finds_ip {
            return None;
        }
        self.redact_triggered(name, triggers, &[], counts)
    }

    /// The masked text of a number that names a record: in it nothing is found but what the operator denies.
    pub(super) fn redact_number(&self, text: &str, counts: &mut RedactionCounts) -> Option<String> {
        let mut spans = Vec::new();
        deny_matches(text.as_bytes(), &self.deny, &mut spans);
        mask(text, merge(spans), counts)
    }

    #[inline(never)]
    fn redact_triggered(
        &self,
        text: &str,
        triggers: Triggers,
        deny: &[Regex],
        counts: &mut RedactionCounts,
    ) -> Option<String> {
        let mut masked = mask(text, self.spans(text.as_bytes(), triggers, deny), counts)?;
        for _ in 1..MAX_ROUNDS {
            let triggers = self.prefilter.triggers(masked.as_bytes());
            match mask(&masked, self.spans(masked.as_bytes(), triggers, deny), counts) {
                Some(again) if again != masked => masked = again,
                _ => break,
            }
        }
        Some(masked)
    }

    /// Merged spans of the text and of what it hides, in its own offsets.
    fn spans(&self, text: &[u8], triggers: Triggers, deny: &[Regex]) -> Vec<Span> {
        let mut spans = Vec::new();
        self.recognise(text, triggers, deny, &mut spans);
        if triggers.has(Triggers::ENCODED) {
            self.recognise_decoded(text, deny, &mut spans);
        }
        merge(spans)
    }

    fn recognise_decoded(&self, text: &[u8], deny: &[Regex], spans: &mut Vec<Span>) {
        let Some(mut level) = decode_level(text) else { return };
        for _ in 0..MAX_LEVELS {
            let triggers = self.prefilter.triggers(&level.bytes);
            let first = spans.len();
            self.recognise(&level.bytes, triggers, deny, spans);
            for span in &mut spans[first..] {
                span.start = level.offsets[span.start];
                span.end = level.offsets[span.end];
                span.quote = span.quote.map(|(start, end)| (level.offsets[start], level.offsets[end]));
            }
            let Some(mut deeper) = decode_level(&level.bytes) else { break };
            for offset in &mut deeper.offsets {
                *offset = level.offsets[*offset];
            }
            level = deeper;
        }
    }

    fn recognise(&self, text: &[u8], triggers: Triggers, deny: &[Regex], spans: &mut Vec<Span>) {
        let mut found = Vec::new();
        if triggers.has(Triggers::AT) {
            dsn::find(text, &mut found);
            email::find(text, &mut found);
        }
        if triggers.has(Triggers::KEYWORD) {
            assignment::find(text, &self.keywords, &mut found);
        }
        if triggers.has(Triggers::DIGITS) {
            digits::find(text, triggers.has(Triggers::CONTACT), &mut found);
        }
        if triggers.has(Triggers::JWT) {
            tokens::find_jwt(text, &mut found);
        }
        if triggers.has(Triggers::KEY) {
            tokens::find_keys(text, &mut found);
        }
        if triggers.has(Triggers::PEM) {
            tokens::find_private_keys(text, &mut found);
        }
        if self.finds_ip {
            ip::find(text, &mut found);
        }
        if !deny.is_empty() {
            deny_matches(text, deny, &mut found);
        }
        spans.append(&mut found);
    }
}

fn deny_matches(text: &[u8], deny: &[Regex], spans: &mut Vec<Span>) {
    // A pattern such as `denied` must not eat the masks of the round before.
    let masks: Vec<(usize, usize)> =
        memchr::memchr_iter(b'<', text).filter_map(|at| mask_at(&text[at..]).map(|length| (at, at + length))).collect();
    for pattern in deny {
        for found in pattern.find_iter(text) {
            let next = masks.partition_point(|(_, end)| *end <= found.start());
            let is_in_mask = masks.get(next).is_some_and(|(start, _)| *start < found.end());
            if !found.is_empty() && !is_in_mask {
                spans.push(Span::new(found.start(), found.end(), Class::Denied));
            }
        }
    }
}

/// Sorted spans without overlap: where two overlap, one mask of the longer one's class covers both.
fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    if spans.len() < 2 {
        return spans;
    }
    spans.sort_by_key(|span| (span.start, usize::MAX - span.end));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start < last.end => {
                let (length, last_length) = (span.end - span.start, last.end - last.start);
                // What the form of a token says is more than that it stands behind a secret name.
                if length > last_length || (length == last_length && last.class == Class::Secret) {
                    last.class = span.class;
                }
                last.end = last.end.max(span.end);
                last.quote = last.quote.or(span.quote);
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// The text with masks in place of the spans; `None` if there are none.
fn mask(text: &str, spans: Vec<Span>, counts: &mut RedactionCounts) -> Option<String> {
    if spans.is_empty() {
        return None;
    }
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        let start = text.floor_char_boundary(span.start).max(from);
        let end = text.ceil_char_boundary(span.end).max(start);
        let quote = span.quote.and_then(|(start, end)| text.get(start..end)).unwrap_or_default();
        masked.push_str(&text[from..start]);
        masked.push_str(quote);
        masked.push_str(span.class.mask());
        masked.push_str(quote);
        from = end;
        counts.add(span.class);
    }
    masked.push_str(&text[from..]);
    Some(masked)
}
