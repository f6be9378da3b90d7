//! Addresses of people, hosts, files and resources, and the tokens that stand for someone.

use super::classes::{Hit, REACH, View, mask};
use super::is_word;

/// `hmac:k1:9f86d081...`: what redaction makes of an identifier.
pub(super) fn keyed_hash(view: &View<'_>, at: usize) -> Option<Hit> {
    let body = at + 5;
    if !view.starts_with(at, "hmac:") {
        return None;
    }
    let length = view.run(body, REACH, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'+' | b'/' | b'=')
    });
    (length >= 4).then_some(Hit::Mask { end: body + length, placeholder: "<id>" })
}

/// `eyJhbGciOi....eyJzdWIi....signature`
pub(super) fn web_token(view: &View<'_>, at: usize) -> Option<Hit> {
    let part = |at: usize| view.run(at, 1 << 14, |byte| is_word(byte) || byte == b'-');
    if !view.starts_with(at, "eyJ") {
        return None;
    }
    let mut end = at;
    for part_of_token in 0..3 {
        if part_of_token > 0 {
            end = (view.byte(end) == b'.').then_some(end + 1)?;
        }
        end += Some(part(end)).filter(|length| *length >= 8 || part_of_token == 2)?;
    }
    mask(end, "<jwt>")
}

/// A URL keeps its host where that has no digits: which dependency was called is not a variable part.
pub(super) fn url(view: &View<'_>, at: usize) -> Option<Hit> {
    let scheme = view.run(at, 16, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'));
    if scheme < 2 || !view.byte(at).is_ascii_alphabetic() || !view.starts_with(at + scheme, "://") {
        return None;
    }
    let start = at + scheme + 3;
    let ends = |byte: u8| {
        byte <= b' ' || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b')' | b']' | b'}' | b'|' | b'\\')
    };
    let mut end = start + view.run(start, usize::MAX, |byte| !ends(byte));
    while end > start && matches!(view.bytes[end - 1], b'.' | b',' | b';' | b':' | b'!') {
        end -= 1;
    }
    let rest = &view.text[start..end];
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
    let plain = !host.is_empty()
        && host.len() < 200
        && host.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'-' | b'_'));
    if plain {
        return Some(Hit::Write { end, text: format!("<url:{}>", host.to_ascii_lowercase()) });
    }
    mask(end, "<url>")
}

/// `?page=3&user=7` behind a path.
pub(super) fn query_string(view: &View<'_>, at: usize) -> Option<Hit> {
    if view.byte(at) != b'?' {
        return None;
    }
    let key = view.run(at + 1, 64, |byte| is_word(byte) || matches!(byte, b'.' | b'-' | b'[' | b']' | b'%'));
    if key == 0 || view.byte(at + 1 + key) != b'=' {
        return None;
    }
    let length = view.run(at, usize::MAX, |byte| {
        byte > b' ' && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b')' | b']' | b'}' | b'\\')
    });
    Some(Hit::Write { end: at + length, text: "?<query>".to_owned() })
}

pub(super) fn email(view: &View<'_>, at: usize) -> Option<Hit> {
    let local =
        view.run(at, 64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-'));
    if local == 0 || view.byte(at) == b'-' || view.byte(at + local) != b'@' {
        return None;
    }
    let start = at + local + 1;
    let mut length = view.run(start, REACH, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    while length > 0 && matches!(view.bytes[start + length - 1], b'.' | b'-') {
        length -= 1;
    }
    let domain = &view.text[start..start + length];
    let top = domain.rsplit('.').next().unwrap_or_default();
    let holds = domain.contains('.') && top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    holds.then_some(Hit::Mask { end: start + length, placeholder: "<email>" })
}

/// Files below folders that hold people's and programs' variable data, and Windows paths. Other
/// paths and routes keep their words and lose their digits.
pub(super) fn path(view: &View<'_>, at: usize) -> Option<Hit> {
    const ROOTS: &[&str] = &[
        "/tmp/",
        "/home/",
        "/Users/",
        "/var/folders/",
        "/var/tmp/",
        "/var/lib/",
        "/mnt/",
        "/data/",
        "/root/",
        "/proc/",
        "/private/",
        "/media/",
        "~/",
    ];
    let windows = view.byte(at).is_ascii_alphabetic()
        && view.byte(at + 1) == b':'
        && view.byte(at + 2) == b'\\'
        && view.byte(at + 3) > b' ';
    if !windows && !ROOTS.iter().any(|root| view.starts_with(at, root)) {
        return None;
    }
    let mut length = view.run(at, usize::MAX, |byte| {
        byte > b' '
            && !matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b')' | b']' | b'}' | b',' | b';' | b'|' | b'(')
    });
    // A position in a file (`:12:5`) and the end of a sentence do not belong to the path.
    while length > 2
        && (matches!(view.bytes[at + length - 1], b'.' | b':')
            || view.bytes[at + length - 1].is_ascii_digit() && position_behind(view, at, length))
    {
        length -= 1;
    }
    mask(at + length, "<path>")
}

fn position_behind(view: &View<'_>, at: usize, length: usize) -> bool {
    let digits = view.bytes[at..at + length].iter().rev().take(8).take_while(|byte| byte.is_ascii_digit()).count();
    digits < length && view.bytes[at + length - digits - 1] == b':'
}

/// IPv4, IPv6 and hardware addresses. A port below the ephemeral range stays: it says which dependency.
pub(super) fn address(view: &View<'_>, at: usize) -> Option<Hit> {
    if let Some(end) = ipv4(view, at) {
        let prefix = if view.byte(end) == b'/' { view.run(end + 1, 3, |byte| byte.is_ascii_digit()) } else { 0 };
        let end = if (1..=2).contains(&prefix) && view.ends_word(end + 1 + prefix) { end + 1 + prefix } else { end };
        let port = view.run(end + 1, 6, |byte| byte.is_ascii_digit());
        let stop = end + 1 + port;
        if view.byte(end) == b':' && (2..=5).contains(&port) && view.ends_word(stop) {
            return match view.text[end + 1..stop].parse::<u32>() {
                Ok(known) if known < 32_768 => Some(Hit::Write { end: stop, text: format!("<ip>:{known}") }),
                _ => mask(stop, "<ip>"),
            };
        }
        return mask(end, "<ip>");
    }
    let length = view.run(at, 46, |byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    let group = view.text.get(at..at + length)?.trim_end_matches(['.', ':']);
    let end = at + group.len();
    let colons = group.bytes().filter(|byte| *byte == b':').count();
    if colons < 2 || !view.ends_word(end) {
        return None;
    }
    if colons == 5 && group.split(':').all(|part| part.len() == 2) {
        return mask(end, "<mac>");
    }
    let shape = group.split(':').all(|part| part.len() <= 4 || part.contains('.'));
    let holds = shape && (colons == 7 || group.contains("::") && group.bytes().any(|byte| byte.is_ascii_digit()));
    holds.then_some(Hit::Mask { end, placeholder: "<ip>" })
}

fn ipv4(view: &View<'_>, at: usize) -> Option<usize> {
    let mut end = at;
    for part in 0..4 {
        if part > 0 {
            end = (view.byte(end) == b'.').then_some(end + 1)?;
        }
        let count = view.run(end, 4, |byte| byte.is_ascii_digit());
        let value: u32 = view.text.get(end..end + count)?.parse().ok()?;
        if count > 3 || value > 255 {
            return None;
        }
        end += count;
    }
    let longer = view.byte(end) == b'.' && view.byte(end + 1).is_ascii_digit();
    (view.ends_word(end) && !longer).then_some(end)
}

/// A host name of two and more labels, one of them with digits, below a suffix that hosts have.
pub(super) fn host(view: &View<'_>, at: usize) -> Option<Hit> {
    const SUFFIXES: &[&str] = &[
        "app",
        "ch",
        "cloud",
        "com",
        "corp",
        "de",
        "dev",
        "eu",
        "fr",
        "int",
        "internal",
        "io",
        "lan",
        "local",
        "localdomain",
        "net",
        "org",
        "svc",
        "uk",
    ];
    let length = view.run(at, REACH, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let name = view.text.get(at..at + length)?.trim_end_matches(['.', '-']);
    let suffix = name.rsplit('.').next().unwrap_or_default();
    let holds = name.contains('.')
        && name.bytes().any(|byte| byte.is_ascii_digit())
        && SUFFIXES.contains(&suffix)
        && view.ends_word(at + name.len());
    holds.then_some(Hit::Mask { end: at + name.len(), placeholder: "<host>" })
}

/// `payments-7d9f8c6b5d-x2x4z`: Kubernetes makes the last two parts from letters without vowels and digits.
pub(super) fn pod(view: &View<'_>, at: usize) -> Option<Hit> {
    let safe = |part: &str| part.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte));
    let length = view.run(at, 128, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let name = view.text.get(at..at + length)?;
    let (head, unique) = name.rsplit_once('-')?;
    let (owner, template) = head.rsplit_once('-')?;
    let template_holds = (6..=10).contains(&template.len())
        && template.bytes().all(|byte| byte.is_ascii_hexdigit() || safe(&(byte as char).to_string()));
    let holds = unique.len() == 5 && safe(unique) && template_holds && !owner.is_empty() && view.ends_word(at + length);
    if !holds || !template.bytes().chain(unique.bytes()).any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Hit::MaskTail { from: at + owner.len() + 1, end: at + length, placeholder: "<pod>" })
}
