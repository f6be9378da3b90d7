//! The classes of variable parts, each a function that looks at the start of a word.
//!
//! A function looks at no more than `REACH` bytes unless it recognises something, so masking stays
//! linear in the length of the text.

use super::addresses::{address, email, host, keyed_hash, path, pod, query_string, url, web_token};
use super::signs::{self, Signs};
use super::times::{date, time};
use super::words;
use super::{is_word, word_end};

/// How far ahead a class looks before it gives up.
pub(super) const REACH: usize = 256;

/// What a class sees.
pub(super) struct View<'a> {
    pub text: &'a str,
    pub bytes: &'a [u8],
    /// What the pass has written so far.
    pub before: &'a str,
}

/// What a class does with what it recognised.
pub(super) enum Hit {
    /// Replaces everything to `end`.
    Mask { end: usize, placeholder: &'static str },
    /// Copies to `from`, replaces the rest to `end`.
    MaskTail { from: usize, end: usize, placeholder: &'static str },
    /// Copies to `end`: it looks variable and is not.
    Keep { end: usize },
    /// Writes `text` in place of everything to `end`.
    Write { end: usize, text: String },
}

type Class = fn(&View<'_>, usize) -> Option<Hit>;

/// All classes in the order in which they are tried, each with the signs of which a word has one if the class recognises
/// something there. A change here is a new `MASK_VERSION`.
pub(super) const CLASSES: &[(&str, Signs, Class)] = &[
    ("keyed hash", signs::COLON, keyed_hash),
    ("json web token", signs::TOKEN, web_token),
    ("url", signs::COLON | signs::DASH | signs::MARK, url),
    ("query string", signs::QUESTION, query_string),
    ("e-mail address", signs::DOT | signs::DASH | signs::MARK, email),
    ("path", signs::COLON | signs::ROOT, path),
    ("traceparent", signs::DASH, traceparent),
    ("uuid", signs::DASH, uuid),
    ("date", signs::NUMBER | signs::DAY, date),
    ("time", signs::NUMBER, time),
    ("network address", signs::COLON | signs::DOT, address),
    ("host with digits", signs::DOT | signs::DASH, host),
    ("pod name", signs::DASH, pod),
    ("error code", signs::DIGIT | signs::DASH, error_code),
    ("hexadecimal", signs::DIGIT | signs::LONG, hexadecimal),
    ("duration", signs::NUMBER, duration),
    ("size", signs::NUMBER, size),
    ("version", signs::DIGIT, version),
    ("number", signs::NUMBER, number),
    ("id with digits", signs::DIGIT, id),
];

pub(super) fn mask(end: usize, placeholder: &'static str) -> Option<Hit> {
    Some(Hit::Mask { end, placeholder })
}

impl View<'_> {
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    pub(super) fn run(&self, at: usize, max: usize, keep: impl Fn(u8) -> bool) -> usize {
        self.bytes.get(at..).map_or(0, |rest| rest.iter().take(max).take_while(|byte| keep(**byte)).count())
    }

    /// The end of exactly `count` digits at `at`.
    pub(super) fn digits(&self, at: usize, count: usize) -> Option<usize> {
        (self.run(at, count, |byte| byte.is_ascii_digit()) == count).then_some(at + count)
    }

    pub(super) fn ends_word(&self, at: usize) -> bool {
        !is_word(self.byte(at))
    }

    pub(super) fn starts_with(&self, at: usize, prefix: &str) -> bool {
        self.bytes.get(at..).is_some_and(|rest| rest.starts_with(prefix.as_bytes()))
    }
}

fn hex_run(view: &View<'_>, at: usize, count: usize) -> Option<usize> {
    (view.run(at, count, |byte| byte.is_ascii_hexdigit()) == count).then_some(at + count)
}

fn dash(view: &View<'_>, at: usize) -> Option<usize> {
    (view.byte(at) == b'-').then_some(at + 1)
}

/// The header of W3C trace context: `00-` trace id `-` span id `-` flags.
fn traceparent(view: &View<'_>, at: usize) -> Option<Hit> {
    let end = hex_run(view, at, 2)
        .and_then(|end| dash(view, end))
        .and_then(|end| hex_run(view, end, 32))
        .and_then(|end| dash(view, end))?;
    let end = hex_run(view, end, 16).and_then(|end| dash(view, end)).and_then(|end| hex_run(view, end, 2))?;
    view.ends_word(end).then_some(Hit::Mask { end, placeholder: "<traceparent>" })
}

fn uuid(view: &View<'_>, at: usize) -> Option<Hit> {
    let mut end = hex_run(view, at, 8)?;
    for count in [4, 4, 4, 12] {
        end = dash(view, end).and_then(|end| hex_run(view, end, count))?;
    }
    view.ends_word(end).then_some(Hit::Mask { end, placeholder: "<uuid>" })
}

/// Codes that name an error stay as they are.
fn error_code(view: &View<'_>, at: usize) -> Option<Hit> {
    let end = word_end(view.bytes, at);
    let word = &view.text[at..end];
    if word.len() > 12 || !word.is_ascii() || word.is_empty() {
        return None;
    }
    if words::is_technical(word) {
        return Some(Hit::Keep { end });
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        let count = view.run(end + 1, 7, |byte| byte.is_ascii_digit());
        let hyphenated = view.byte(end) == b'-' && (3..=6).contains(&count) && view.ends_word(end + 1 + count);
        return (hyphenated && words::is_error_code(word)).then_some(Hit::Keep { end: end + 1 + count });
    }
    if digits == word.len() && view.before.ends_with("HTTP/") && view.byte(end) != b'.' {
        return Some(Hit::Keep { end });
    }
    if digits == word.len() && words::reason_phrase_follows(word, &view.text[end..]) {
        return Some(Hit::Keep { end });
    }
    let fraction = view.byte(end) == b'.' && view.byte(end + 1).is_ascii_digit();
    if fraction && view.before.ends_with("HTTP/") {
        return Some(Hit::Keep { end: word_end(view.bytes, end + 1) });
    }
    let announced = word.len() <= 6 && !fraction && words::announces_code(view.before);
    (announced || (word.len() >= 5 && words::is_error_code(word))).then_some(Hit::Keep { end })
}

fn hexadecimal(view: &View<'_>, at: usize) -> Option<Hit> {
    let end = word_end(view.bytes, at);
    let word = &view.bytes[at..end];
    if let Some(digits) = word.strip_prefix(b"0x").or_else(|| word.strip_prefix(b"0X")) {
        return (!digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
            .then_some(Hit::Mask { end, placeholder: "<hex>" });
    }
    if word.len() < 8 || !word.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    // `5242881B` is a size.
    let mixed = digits > 0 && digits < word.len() && !(digits + 1 == word.len() && word.ends_with(b"B"));
    // An id of 16 and more hexadecimal digits may happen to have no letter.
    (mixed || word.len() >= 16).then_some(Hit::Mask { end, placeholder: "<hex>" })
}

/// The end of an unsigned decimal number with thousands, fraction and exponent.
fn decimal(view: &View<'_>, at: usize) -> Option<usize> {
    let whole = view.run(at, usize::MAX, |byte| byte.is_ascii_digit());
    if whole == 0 {
        return None;
    }
    let mut end = at + whole;
    while matches!(view.byte(end), b',' | b'_') && whole <= 3 {
        match view.digits(end + 1, 3).filter(|next| !view.byte(*next).is_ascii_digit()) {
            Some(next) => end = next,
            None => break,
        }
    }
    if view.byte(end) == b'.' {
        let fraction = view.run(end + 1, usize::MAX, |byte| byte.is_ascii_digit());
        end += if fraction > 0 { fraction + 1 } else { 0 };
    }
    if matches!(view.byte(end), b'e' | b'E') {
        let sign = usize::from(matches!(view.byte(end + 1), b'+' | b'-'));
        let exponent = view.run(end + 1 + sign, 5, |byte| byte.is_ascii_digit());
        end += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    Some(end)
}

fn unsigned(view: &View<'_>, at: usize) -> usize {
    at + usize::from(matches!(view.byte(at), b'+' | b'-'))
}

/// The end of one of `units` at `at`.
fn unit(view: &View<'_>, at: usize, units: &[&str]) -> Option<usize> {
    let length = view.run(at, 13, |byte| is_word(byte) || byte >= 0x80);
    let word = view.text.get(at..at + length)?;
    units.contains(&word).then_some(at + length)
}

fn duration(view: &View<'_>, at: usize) -> Option<Hit> {
    const GLUED: &[&str] =
        &["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "sec", "secs", "m", "min", "mins", "h", "hr", "hrs", "d"];
    const SPACED: &[&str] = &[
        "ns",
        "us",
        "\u{b5}s",
        "ms",
        "msec",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "min",
        "mins",
        "minute",
        "minutes",
        "hour",
        "hours",
        "day",
        "days",
        "millis",
        "millisecond",
        "milliseconds",
        "microseconds",
        "nanoseconds",
    ];
    let mut end = decimal(view, unsigned(view, at))?;
    if view.byte(end) == b' ' {
        return unit(view, end + 1, SPACED).and_then(|end| mask(end, "<duration>"));
    }
    if let Some(end) = unit(view, end, GLUED).or_else(|| unit(view, end, SPACED)) {
        return mask(end, "<duration>");
    }
    // `1h2m3.5s`
    let mut parts = 0;
    loop {
        let letters = view.run(end, 2, |byte| matches!(byte, b'h' | b'm' | b's'));
        if letters == 0 {
            return None;
        }
        end += letters;
        parts += 1;
        if view.ends_word(end) {
            return (parts > 1).then_some(Hit::Mask { end, placeholder: "<duration>" });
        }
        end = decimal(view, end)?;
    }
}

fn size(view: &View<'_>, at: usize) -> Option<Hit> {
    const UNITS: &[&str] = &[
        "B", "KB", "kB", "kb", "MB", "mb", "GB", "gb", "TB", "tb", "KiB", "MiB", "GiB", "TiB", "byte", "bytes", "Byte",
        "Bytes", "Ki", "Mi", "Gi",
    ];
    let end = decimal(view, unsigned(view, at))?;
    let end = unit(view, end + usize::from(view.byte(end) == b' '), UNITS)?;
    mask(end, "<size>")
}

/// `1.9.0`, `v2.14`, `1.0.0-rc.1`.
fn version(view: &View<'_>, at: usize) -> Option<Hit> {
    let marked = matches!(view.byte(at), b'v' | b'V') && view.byte(at + 1).is_ascii_digit();
    let mut end = at + usize::from(marked);
    let mut parts = 0;
    loop {
        let count = view.run(end, 12, |byte| byte.is_ascii_digit());
        if count == 0 {
            return None;
        }
        end += count;
        parts += 1;
        if view.byte(end) != b'.' || !view.byte(end + 1).is_ascii_digit() || parts > 8 {
            break;
        }
        end += 1;
    }
    if parts < 2 || (parts == 2 && !marked) {
        return None;
    }
    if matches!(view.byte(end), b'-' | b'+') && view.byte(end + 1).is_ascii_alphanumeric() {
        end += 1 + view.run(end + 1, 64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+'));
        while view.byte(end) == b'.' && view.byte(end + 1).is_ascii_digit() {
            end += 1 + view.run(end + 1, 12, |byte| byte.is_ascii_digit());
        }
    }
    view.ends_word(end).then_some(Hit::Mask { end, placeholder: "<version>" })
}

/// Integers and decimal fractions alike: whether 12 was written 12.0 is no difference of failures.
fn number(view: &View<'_>, at: usize) -> Option<Hit> {
    let end = decimal(view, unsigned(view, at))?;
    view.ends_word(end).then_some(Hit::Mask { end, placeholder: "<num>" })
}

/// Words in which digits make an id: `D1345`, `order12345`, `ch_3MmlLrLk`, `x2x4z`.
fn id(view: &View<'_>, at: usize) -> Option<Hit> {
    let end = word_end(view.bytes, at);
    let word = &view.bytes[at..end];
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || word.len() < 3 {
        return None;
    }
    let tail = word.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if tail == digits && tail >= 2 {
        let head = word.len() - tail;
        // Without a head these are the digits before a fraction that letters follow: `123.5abc`.
        let is_short_prefix = (1..=3).contains(&head) && word[head - 1] != b'_';
        return if is_short_prefix {
            mask(end, "<id>")
        } else {
            Some(Hit::MaskTail { from: at + head, end, placeholder: "<num>" })
        };
    }
    let changes = word.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    let from_digit = word[0].is_ascii_digit() && word.len() >= 5 && digits >= 2;
    (from_digit || (digits >= 3 && word.len() >= 5) || (changes >= 3 && word.len() >= 5))
        .then_some(Hit::Mask { end, placeholder: "<id>" })
}
