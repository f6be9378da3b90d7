//! E-mail addresses.

use super::super::{class::Class, decode::skip_escape_tail};
use super::{Span, at, run_start};

/// RFC 5321 limits, which also bound how far each `@` is looked around.
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

/// Last labels that are endings of files or versions, not of hosts, in texts like `logo@2x.png`, `lib@1.2.Final`.
const NO_HOST_ENDINGS: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "svg", "webp", "js", "mjs", "ts", "css", "jar", "dll", "tgz", "final", "release",
    "snapshot",
];

pub(in super::super) fn find(text: &[u8], spans: &mut Vec<Span>) {
    // Behind a DSN password stands a host, not a domain of an address.
    let mut dsn_hosts: Vec<usize> = spans.iter().map(|span| span.end).collect();
    dsn_hosts.sort_unstable();
    for sign in memchr::memchr_iter(b'@', text) {
        if dsn_hosts.binary_search(&sign).is_ok() {
            continue;
        }
        if let Some((start, end)) = address(text, sign) {
            spans.push(Span::new(start, end, Class::Email));
        }
    }
}

fn address(text: &[u8], sign: usize) -> Option<(usize, usize)> {
    let is_local = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b'.' | b'_' | b'+' | b'-' | b'\'');
    let mut start = skip_escape_tail(text, run_start(text, sign, MAX_LOCAL, is_local), sign);
    // A quote or dash opens the address, a dot ends the sentence before it.
    while start < sign && matches!(text[start], b'\'' | b'.' | b'-' | b'+') {
        start += 1;
    }
    if start == sign {
        return None;
    }
    let limit = text.len().min(sign + 1 + MAX_DOMAIN);
    let is_domain = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b'.' | b'-');
    let run = text[sign + 1..limit].iter().position(|b| !is_domain(*b)).unwrap_or(limit - sign - 1);
    let mut end = sign + 1 + run;
    while end > sign + 1 && matches!(text[end - 1], b'.' | b'-') {
        end -= 1;
    }
    let domain = &text[sign + 1..end];
    let last_dot = memchr::memrchr(b'.', domain)?;
    let last = &domain[last_dot + 1..];
    let is_host = last_dot > 0
        && last.len() >= 2
        && (last.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80) || last.starts_with(b"xn--"))
        && !is_version(domain)
        && !NO_HOST_ENDINGS.iter().any(|ending| last.eq_ignore_ascii_case(ending.as_bytes()));
    // `git@host:path` and `ssh://git@host` are the user of every Git server.
    let is_git = text[start..sign].eq_ignore_ascii_case(b"git") && matches!(at(text, end), b':' | b'/');
    (is_host && !is_git && !is_user_of_url(text, start, end)).then_some((start, end))
}

/// `postgres://app@db.example.com/shop`: a user and a host. An address as the user has another sign behind it.
fn is_user_of_url(text: &[u8], start: usize, end: usize) -> bool {
    let rest = &text[end..text.len().min(end + MAX_DOMAIN)];
    let is_end = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'\\');
    let authority_end = rest.iter().position(is_end).unwrap_or(rest.len());
    text[..start].ends_with(b"://") && memchr::memchr(b'@', &rest[..authority_end]).is_none()
}

/// `1.2...`, as behind the `@` of a package.
fn is_version(domain: &[u8]) -> bool {
    let digits = domain.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && domain.get(digits) == Some(&b'.') && domain.get(digits + 1).is_some_and(u8::is_ascii_digit)
}
