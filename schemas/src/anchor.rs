//! Anchors: the addresses of single facts in a bundle.
//!
//! An anchor is text, `KIND:NAME`, with an optional `~N` that tells apart entries whose names
//! collide (the first has none, the second `~2`). Names may hold any character: `%`, `@`, `~`, `#`
//! and control characters stand percent-encoded, all others as they are.
//!
//! ```
//! use tracerag_schemas::anchor::{Anchor, Target};
//! let anchor: Anchor = "flag:payments.decimal_mode@payments".parse()?;
//! assert_eq!(anchor.target, Target::Flag { key: "payments.decimal_mode".into(), service: Some("payments".into()) });
//! assert_eq!(anchor.to_string(), "flag:payments.decimal_mode@payments");
//! # Ok::<(), tracerag_schemas::anchor::AnchorError>(())
//! ```

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The service part of a flag that holds for all services.
pub const ALL_SERVICES: &str = "*";
/// Hex characters of a commit that stand in for an unknown version.
pub const COMMIT_LENGTH: usize = 12;

/// What an anchor points at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `span:ID`
    Span(String),
    /// `log:N`
    Log(u32),
    /// `failure:N`
    Failure(u32),
    /// `metric:N`
    Metric(u32),
    /// `payload:SPAN#direction`, or with a JSON pointer into it `payload:SPAN#direction/amount`.
    Payload {
        /// Span id.
        span_id: String,
        /// `request` or `response`.
        direction: String,
        /// JSON pointer (RFC 6901) that begins with `/`.
        pointer: Option<String>,
    },
    /// `heap:N`
    Heap(u32),
    /// `build:SERVICE@VERSION`; without a version the short form, for every build of the service.
    Build {
        /// Service name.
        service: String,
        /// Version; see [`version_or_commit`].
        version: Option<String>,
    },
    /// `flag:KEY@SERVICE`; without a service the short form, for every entry of the key.
    Flag {
        /// Flag key.
        key: String,
        /// Service name, or [`ALL_SERVICES`].
        service: Option<String>,
    },
    /// `config:KEY@SERVICE`
    Config {
        /// Configuration key.
        key: String,
        /// Service name, or [`ALL_SERVICES`].
        service: String,
    },
    /// `link:N`
    Link(u32),
    /// `incident:FINGERPRINT`
    Incident(String),
    /// `code:FILE:LINE@SHA`: a line that stands in a frame or a heap site.
    Code {
        /// File as in the frame.
        file: String,
        /// Line number.
        line: u32,
        /// Commit.
        sha: String,
    },
}

/// An address of one fact, or of every fact that a short form matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// What it points at.
    pub target: Target,
    /// Which of the entries with this name, from 1 on.
    pub nth: u32,
}

/// Text that is no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an anchor: {why}")]
pub struct AnchorError {
    /// The text.
    pub text: String,
    /// What is wrong, and what would be right.
    pub why: &'static str,
}

impl Anchor {
    /// The first entry of a name.
    pub fn first(target: Target) -> Self {
        Self { target, nth: 1 }
    }

    /// Whether the anchor is `build:SERVICE` or `flag:KEY`, which stand for every entry they match.
    pub fn is_short(&self) -> bool {
        matches!(self.target, Target::Build { version: None, .. } | Target::Flag { service: None, .. })
    }
}

impl From<Target> for Anchor {
    fn from(target: Target) -> Self {
        Self::first(target)
    }
}

/// Hands out anchors that are unique within one bundle, in list order.
#[derive(Debug, Default)]
pub struct Anchors {
    used: HashMap<Target, u32>,
}

impl Anchors {
    /// The anchor of the next entry with this name.
    pub fn next(&mut self, target: Target) -> Anchor {
        let used = self.used.entry(target.clone()).or_insert(0);
        *used += 1;
        Anchor { target, nth: *used }
    }
}

/// The version part of a build's anchor: the version, else the commit's first characters, else `unknown`.
pub fn version_or_commit<'a>(version: Option<&'a str>, git_sha: Option<&'a str>) -> &'a str {
    let present = |text: &&str| !text.is_empty();
    match (version.filter(present), git_sha.filter(present)) {
        (Some(version), _) => version,
        (None, Some(sha)) => sha.get(..COMMIT_LENGTH).unwrap_or(sha),
        (None, None) => "unknown",
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Span(id) => write!(f, "span:{}", Escaped(id))?,
            Target::Log(n) => write!(f, "log:{n}")?,
            Target::Failure(n) => write!(f, "failure:{n}")?,
            Target::Metric(n) => write!(f, "metric:{n}")?,
            Target::Payload { span_id, direction, pointer } => {
                write!(f, "payload:{}#{}", Escaped(span_id), Escaped(direction))?;
                // The number belongs to the payload, so it stands before the pointer, which may hold `~`.
                write_nth(f, self.nth)?;
                return f.write_str(pointer.as_deref().unwrap_or_default());
            }
            Target::Heap(n) => write!(f, "heap:{n}")?,
            Target::Build { service, version: Some(version) } => {
                write!(f, "build:{}@{}", Escaped(service), Escaped(version))?;
            }
            Target::Build { service, version: None } => write!(f, "build:{}", Escaped(service))?,
            Target::Flag { key, service: Some(service) } => write!(f, "flag:{}@{}", Escaped(key), Escaped(service))?,
            Target::Flag { key, service: None } => write!(f, "flag:{}", Escaped(key))?,
            Target::Config { key, service } => write!(f, "config:{}@{}", Escaped(key), Escaped(service))?,
            Target::Link(n) => write!(f, "link:{n}")?,
            Target::Incident(fingerprint) => write!(f, "incident:{}", Escaped(fingerprint))?,
            Target::Code { file, line, sha } => write!(f, "code:{}:{line}@{}", Escaped(file), Escaped(sha))?,
        }
        write_nth(f, self.nth)
    }
}

fn write_nth(f: &mut fmt::Formatter<'_>, nth: u32) -> fmt::Result {
    if nth > 1 { write!(f, "~{nth}") } else { Ok(()) }
}

/// A name with the characters that the grammar uses percent-encoded.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special = |c: char| matches!(c, '%' | '@' | '~' | '#') || c.is_ascii_control();
        let mut rest = self.0;
        while let Some(at) = rest.find(special) {
            f.write_str(&rest[..at])?;
            write!(f, "%{:02X}", rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        parse(text).map_err(|why| AnchorError { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Anchor, &'static str> {
    let (kind, rest) = text.split_once(':').ok_or("write KIND:NAME, as in log:0")?;
    if kind == "payload" {
        return payload(rest);
    }
    let (name, nth) = split_nth(rest)?;
    let target = match kind {
        "span" => Target::Span(unescape(name)?),
        "log" => Target::Log(number(name)?),
        "failure" => Target::Failure(number(name)?),
        "metric" => Target::Metric(number(name)?),
        "heap" => Target::Heap(number(name)?),
        "link" => Target::Link(number(name)?),
        "incident" => Target::Incident(unescape(name)?),
        "build" => {
            let (service, version) = pair(name)?;
            Target::Build { service, version }
        }
        "flag" => {
            let (key, service) = pair(name)?;
            Target::Flag { key, service }
        }
        "config" => match pair(name)? {
            (key, Some(service)) => Target::Config { key, service },
            (_, None) => return Err("write config:KEY@SERVICE; configuration has no short form"),
        },
        "code" => {
            let (place, sha) = name.rsplit_once('@').ok_or("write code:FILE:LINE@SHA")?;
            let (file, line) = place.rsplit_once(':').ok_or("write code:FILE:LINE@SHA")?;
            Target::Code { file: unescape(file)?, line: number(line)?, sha: unescape(sha)? }
        }
        _ => {
            return Err(
                "its kind must be span, log, failure, metric, payload, heap, build, flag, config, link, incident or code",
            );
        }
    };
    let anchor = Anchor { target, nth };
    if anchor.is_short() && nth > 1 {
        return Err("a short form stands for every entry and takes no number");
    }
    Ok(anchor)
}

fn payload(rest: &str) -> Result<Anchor, &'static str> {
    let (span_id, place) = rest.split_once('#').ok_or("write payload:SPAN#request")?;
    let (direction, pointer) = match place.find('/') {
        Some(at) => (&place[..at], Some(place[at..].to_owned())),
        None => (place, None),
    };
    let (direction, nth) = split_nth(direction)?;
    let target = Target::Payload { span_id: unescape(span_id)?, direction: unescape(direction)?, pointer };
    Ok(Anchor { target, nth })
}

/// The name and its number; the first entry has none.
fn split_nth(text: &str) -> Result<(&str, u32), &'static str> {
    let Some((name, nth)) = text.split_once('~') else {
        return Ok((text, 1));
    };
    match number(nth) {
        Ok(nth) if nth >= 2 => Ok((name, nth)),
        _ => Err("after ~ stands a number from 2 on; a ~ within a name is written %7E"),
    }
}

fn number(text: &str) -> Result<u32, &'static str> {
    const WHY: &str = "a number is written in digits, without leading zeros";
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !canonical {
        return Err(WHY);
    }
    text.parse().map_err(|_| WHY)
}

fn pair(text: &str) -> Result<(String, Option<String>), &'static str> {
    match text.split_once('@') {
        Some((left, right)) if right.contains('@') || left.is_empty() => {
            Err("exactly one @ stands between the two names; an @ within a name is written %40")
        }
        Some((left, right)) => Ok((unescape(left)?, Some(unescape(right)?))),
        None => Ok((unescape(text)?, None)),
    }
}

fn unescape(text: &str) -> Result<String, &'static str> {
    const WHY: &str = "after % stand two hex digits; a % within a name is written %25";
    if text.is_empty() {
        return Err("the name is empty");
    }
    if text.contains(['@', '~', '#']) {
        return Err("@, ~ and # within a name are written %40, %7E and %23");
    }
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = tail.get(..2).ok_or(WHY)?;
            let mut byte = [0u8];
            hex::decode_to_slice(digits, &mut byte).map_err(|_| WHY)?;
            bytes.push(byte[0]);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| WHY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// The forms of the contract parse, print as they were, and say which of them are short.
    #[test]
    fn the_documented_forms_round_trip() {
        for text in [
            "span:ac1d92b0ac1d92b0",
            "log:0",
            "failure:3",
            "metric:12",
            "payload:ac1d92b0ac1d92b0#request",
            "payload:ac1d92b0ac1d92b0#request/amount",
            "payload:ac1d92b0ac1d92b0#response~2/a~1b/0",
            "heap:0",
            "build:payments@1.9.0",
            "build:payments@1.9.0~2",
            "build:payments",
            "flag:payments.decimal_mode@payments",
            "flag:payments.decimal_mode@*",
            "flag:payments.decimal_mode",
            "config:payments.pool.size@payments",
            "link:0",
            "incident:0123abcd",
            "code:payments/rounding.go:117@a1b2c3d",
            "span:ac1d92b0ac1d92b0~3",
        ] {
            let anchor: Anchor = text.parse().unwrap();
            assert_eq!(anchor.to_string(), text);
            assert_eq!(anchor.is_short(), matches!(text, "build:payments" | "flag:payments.decimal_mode"));
        }
    }

    /// What is nearly an anchor is refused with the reason.
    #[test]
    fn malformed_anchors_are_refused() {
        for text in [
            "",
            "log",
            "log:",
            "log:-1",
            "log:01",
            "log:0~1",
            "log:0~",
            "span:",
            "config:key",
            "build:a@b@c",
            "flag:@s",
            "flag:k~2",
            "code:f@s",
            "payload:a",
            "incident:%4",
            "incident:%zz",
            "other:1",
            "Log:0",
            "log:4294967296",
        ] {
            assert!(text.parse::<Anchor>().is_err(), "{text} parsed");
        }
    }

    /// Entries that share a name are told apart in list order; the first keeps the plain name.
    #[test]
    fn collisions_are_numbered() {
        let mut anchors = Anchors::default();
        let build = || Target::Build { service: "s".into(), version: Some("1".into()) };
        let texts: Vec<String> = (0..3).map(|_| anchors.next(build()).to_string()).collect();
        assert_eq!(texts, ["build:s@1", "build:s@1~2", "build:s@1~3"]);
    }

    /// Without a version the commit stands in, cut to twelve characters, and then `unknown`.
    #[test]
    fn unknown_versions_have_a_name() {
        assert_eq!(version_or_commit(Some("1.9.0"), Some("abc")), "1.9.0");
        assert_eq!(version_or_commit(Some(""), Some("0123456789abcdef")), "0123456789ab");
        assert_eq!(version_or_commit(None, None), "unknown");
    }

    fn name() -> impl Strategy<Value = String> {
        "[\\PC%@~#:/\u{1}\u{7f}]{1,12}".prop_filter("names are not empty", |name: &String| !name.is_empty())
    }

    fn target() -> impl Strategy<Value = Target> {
        prop_oneof![
            name().prop_map(Target::Span),
            any::<u32>().prop_map(Target::Log),
            any::<u32>().prop_map(Target::Heap),
            (name(), prop::option::of(name())).prop_map(|(service, version)| Target::Build { service, version }),
            (name(), prop::option::of(name())).prop_map(|(key, service)| Target::Flag { key, service }),
            (name(), name()).prop_map(|(key, service)| Target::Config { key, service }),
            name().prop_map(Target::Incident),
            (name(), any::<u32>(), name()).prop_map(|(file, line, sha)| Target::Code { file, line, sha }),
            ("[0-9a-f]{16}", "request|response", prop::option::of("/[a-z~/]{0,8}"))
                .prop_map(|(span_id, direction, pointer)| Target::Payload { span_id, direction, pointer }),
        ]
    }

    proptest! {
        /// Whatever characters names hold, an anchor reads back as what was written.
        #[test]
        fn every_anchor_reads_back(target in target(), nth in 1u32..9) {
            let mut anchor = Anchor { target, nth };
            if anchor.is_short() {
                anchor.nth = 1;
            }
            let text = anchor.to_string();
            prop_assert_eq!(text.parse::<Anchor>().unwrap(), anchor);
        }

        /// No text makes the parser panic, and what it takes it prints in the one canonical form.
        #[test]
        fn parsing_is_total(text in "(span|log|build|flag|code|payload|config)?:?\\PC{0,24}") {
            if let Ok(anchor) = text.parse::<Anchor>() {
                let printed = anchor.to_string();
                prop_assert_eq!(printed.parse::<Anchor>().unwrap(), anchor);
            }
        }
    }
}
