//! Public error codes in a text, explained in plain words.
//!
//! `codes.tsv` has them by family, from the documents that are named in it: names such as `NOAUTH` and `DataLoss`, which
//! stand for themselves, and numbers, which mean something only behind the words that announce them (`errno 98`, `HTTP
//! 504`, `exit code 137`). It has nothing that is peculiar to an application.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::names;

const TABLE: &str = include_str!("codes.tsv");
/// Explanations of one text, the first ones: more would hide what it says itself.
const MOST: usize = 6;
/// Words before a number that are looked at.
const BEFORE: usize = 4;
/// Bytes at most between a number and the word that announces it.
const GAP: usize = 4;
/// Words at most in the name of an alert of TLS.
const ALERT_WORDS: usize = 3;

/// What a code belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    Curl,
    Errno,
    Exit,
    Grpc,
    Http,
    MySql,
    Name,
    Oracle,
    Signal,
    SqlState,
    Tls,
}

impl Family {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "curl" => Self::Curl,
            "errno" => Self::Errno,
            "exit" => Self::Exit,
            "grpc" => Self::Grpc,
            "http" => Self::Http,
            "mysql" => Self::MySql,
            "name" => Self::Name,
            "oracle" => Self::Oracle,
            "signal" => Self::Signal,
            "sqlstate" => Self::SqlState,
            "tls" => Self::Tls,
            _ => return None,
        })
    }

    /// The family of a number or a SQLSTATE behind words in lower case, the nearest first; `None`: nothing announces it.
    fn announced(before: &[&str], code: &str) -> Option<Self> {
        Some(match before {
            ["errno", ..] | ["error", "os", ..] => Self::Errno,
            ["sqlstate", ..] => Self::SqlState,
            ["ora", ..] => Self::Oracle,
            ["signal", ..] => Self::Signal,
            ["error", "curl", ..] => Self::Curl,
            ["exitcode", ..] => Self::Exit,
            ["code" | "status", others @ ..] if others.iter().any(|word| word.starts_with("exit")) => Self::Exit,
            ["grpc_status", ..] | ["status", "grpc", ..] => Self::Grpc,
            ["code", others @ ..] if others.contains(&"rpc") => Self::Grpc,
            ["alert", ..] | [_, "alert", ..] => Self::Tls,
            ["error", ..] if code.len() == 4 => Self::MySql,
            // Masking leaves no other number of three digits than one that is a status.
            _ if code.len() == 3 => Self::Http,
            _ => return None,
        })
    }
}

/// All codes with their explanations.
struct Codes {
    /// Names as they are written.
    written: HashMap<&'static str, &'static str>,
    /// Names of several words, in one spelling.
    spelled: HashMap<String, &'static str>,
    /// What only counts where it is announced.
    announced: HashMap<(Family, &'static str), &'static str>,
}

static CODES: LazyLock<Codes> = LazyLock::new(|| {
    let mut codes = Codes { written: HashMap::new(), spelled: HashMap::new(), announced: HashMap::new() };
    for (family, written, phrase) in lines().filter_map(entry) {
        for code in written.split(' ') {
            let is_number = code.bytes().all(|byte| byte.is_ascii_digit());
            if is_number || matches!(family, Family::SqlState | Family::Tls) {
                codes.announced.insert((family, code), phrase);
                continue;
            }
            codes.written.entry(code).or_insert(phrase);
            if let Some(spelled) = spelled(code) {
                codes.spelled.entry(spelled).or_insert(phrase);
            }
        }
    }
    codes
});

fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#'))
}

/// Family, codes and phrase of a line.
fn entry(line: &'static str) -> Option<(Family, &'static str, &'static str)> {
    let (family, rest) = line.split_once('\t')?;
    let (codes, phrase) = rest.split_once('\t')?;
    Some((Family::named(family)?, codes, phrase))
}

/// One spelling of a name of several words: `DEADLINE_EXCEEDED`, `DeadlineExceeded` and `DeadlineExceededException` are
/// `deadline_exceeded`. `None` of a single word.
fn spelled(name: &str) -> Option<String> {
    let mut parts: Vec<String> = names::parts(name).map(str::to_ascii_lowercase).collect();
    if parts.len() < 2 {
        return None;
    }
    if parts.last().is_some_and(|last| last == "exception" || last == "error") {
        parts.pop();
    }
    Some(parts.join("_"))
}

impl Codes {
    /// What a name means.
    fn of_name(&self, name: &str) -> Option<&'static str> {
        let as_written = || self.written.get(name);
        let of_words = || self.spelled.get(spelled(name)?.as_str());
        // Windows has the names of sockets' errors with a prefix.
        let of_sockets = || self.written.get(name.strip_prefix("WSA")?);
        as_written().or_else(of_words).or_else(of_sockets).copied()
    }

    /// What an announced number or SQLSTATE means.
    fn of_announced(&self, family: Family, code: &str) -> Option<&'static str> {
        let known = |family: Family, code: &str| self.announced.get(&(family, code)).copied();
        known(family, code).or_else(|| match family {
            // The first two letters are the class.
            Family::SqlState => known(family, code.get(..2)?),
            // A shell gives the number of the signal that ended a program so.
            Family::Exit => known(Family::Signal, &code.parse::<u8>().ok()?.checked_sub(128)?.to_string()),
            _ => None,
        })
    }

    /// What the alert of TLS means that these words begin with.
    fn of_alert(&self, words: &[&str]) -> Option<&'static str> {
        let lengths = (1..=words.len().min(ALERT_WORDS)).rev();
        let name = |length: usize| words[..length].join("_").to_ascii_lowercase();
        lengths.map(name).find_map(|name| self.announced.get(&(Family::Tls, name.as_str())).copied())
    }
}

/// What the codes in a masked text mean, each once, in the order of the text.
pub(super) fn phrases(text: &str) -> Vec<&'static str> {
    let tokens = tokens(text);
    let words: Vec<&str> = tokens.iter().map(|(start, end)| &text[*start..*end]).collect();
    let mut found: Vec<&'static str> = Vec::new();
    for (number, (start, _)) in tokens.iter().enumerate() {
        // The name of a placeholder.
        if text[..*start].ends_with('<') {
            continue;
        }
        let first = number.saturating_sub(BEFORE);
        let before: Vec<String> = words[first..number].iter().rev().map(|word| word.to_ascii_lowercase()).collect();
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let gap = number.checked_sub(1).map(|last| &text[tokens[last].1..*start]);
        let phrase = phrase(&before, gap, &words[number..]);
        found.extend(phrase.filter(|phrase| !found.contains(phrase)));
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// What the first of these words means, behind others and a gap.
fn phrase(before: &[&str], gap: Option<&str>, words: &[&str]) -> Option<&'static str> {
    let word = words.first()?;
    let is_state = before.first() == Some(&"sqlstate") && word.len() == 5;
    if !is_state && !word.starts_with(|first: char| first.is_ascii_digit()) {
        let is_alert = matches!(before.first(), Some(&("alert" | "tls")));
        let alert = || if is_alert { CODES.of_alert(words) } else { None };
        return CODES.of_name(word).or_else(alert);
    }
    let family = match gap {
        None => Family::announced(&[], word),
        // Behind a masked address stands a port.
        Some(gap) if gap.len() <= GAP && !gap.contains('>') => Family::announced(before, word),
        Some(_) => None,
    };
    CODES.of_announced(family?, word)
}

/// Where the runs of letters, digits and underscores of a text begin and end.
fn tokens(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
        if length > 0 {
            tokens.push((at, at + length));
        }
        at += length.max(1);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sha2::{Digest, Sha256};

    use super::*;

    /// Every line is one of a known family with a phrase of words, no code is there twice, and nothing changes without a
    /// new version: vectors of two tables must never meet under one name.
    #[test]
    fn the_table_is_sound_and_versioned() {
        let mut codes = HashSet::new();
        for line in lines() {
            let Some((family, written, phrase)) = entry(line) else { panic!("{line:?}") };
            assert!(phrase.len() > 4 && !phrase.contains('\t') && phrase.trim() == phrase, "{line:?}");
            assert!(written.split(' ').all(|code| !code.is_empty() && codes.insert((family, code))), "{line:?}");
        }
        let digest = hex::encode(&Sha256::digest(TABLE.as_bytes())[..8]);
        assert_eq!(
            (super::super::VERSION, digest.as_str()),
            (1, "5462f6a1a2a88ee2"),
            "count VERSION up, then note the new digest"
        );
    }

    /// Names are known in the spellings of several languages, numbers where something announces them, and nothing is
    /// explained that is no code: neither plain words nor ports nor quantities.
    #[test]
    fn codes_are_recognised_where_they_are_codes() {
        for (text, expected) in [
            ("connect ECONNREFUSED <ip>:6379", &["the connection was refused"][..]),
            ("WSAETIMEDOUT <num>", &["the connection timed out"]),
            ("rpc error: code = DeadlineExceeded desc = x", &["the deadline passed"]),
            ("StatusRuntimeException: DEADLINE_EXCEEDED: x", &["the deadline passed"]),
            ("rpc error: code = 14 desc = x", &["the service is unavailable"]),
            ("[Errno 98] x", &["the address or port"]),
            ("(os error 28)", &["no space left"]),
            ("status=504", &["gateway timeout"]),
            ("HTTP/1.1 429", &["too many requests"]),
            ("502 Bad Gateway", &["bad gateway"]),
            ("exit code 137", &["the process was killed by force"]),
            ("exited with status 127", &["the command was not found"]),
            ("SQLSTATE[57P01]: x", &["the database was shut down"]),
            ("SQLSTATE 23999", &["a constraint was violated"]),
            ("ERROR 1213 (<num>)", &["deadlock"]),
            ("ORA-00942: x", &["a table or view"]),
            ("cURL error 28: x", &["the operation timed out"]),
            ("tls: bad certificate", &["the certificate is damaged"]),
            ("alert number 40", &["no common settings"]),
            ("java.lang.NullPointerException: NOAUTH x", &["a value is missing", "a password is required"]),
            ("too busy to ask, moved and aborted", &[]),
            ("dial <ip>:503 after <num> of 7", &[]),
            ("<url:busy> \u{fc}ber 12", &[]),
            ("", &[]),
        ] {
            let found = phrases(text);
            let holds = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.starts_with(b));
            assert!(holds, "{text}: {found:?}");
        }
    }

    /// A text of codes alone is explained by the first ones only, and each is explained once.
    #[test]
    fn explanations_have_a_bound() {
        assert_eq!(phrases("EPIPE EPIPE").len(), 1);
        assert_eq!(phrases(&"EPERM EINTR EIO EBUSY EEXIST EXDEV ENODEV ENOTDIR ".repeat(100)).len(), MOST);
    }
}
