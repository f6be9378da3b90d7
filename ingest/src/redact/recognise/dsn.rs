//! Passwords in data source names and URLs: `scheme://user:password@host` and `user:password@tcp(host)`.

use super::super::class::{Class, mask_at};
use super::{Span, run_end, run_start};

/// Longest user and password that are looked for.
const MAX_USERINFO: usize = 512;

pub(in super::super) fn find(text: &[u8], spans: &mut Vec<Span>) {
    let mut next = 0;
    for found in memchr::memmem::find_iter(text, b"://") {
        let start = found + 3;
        if start < next || !text[..found].last().is_some_and(u8::is_ascii_alphanumeric) {
            continue;
        }
        if let Some(span) = userinfo_password(text, start) {
            next = span.end;
            spans.push(span);
        }
    }
    for network in [b"@tcp(".as_slice(), b"@unix("] {
        for sign in memchr::memmem::find_iter(text, network) {
            let start =
                run_start(text, sign, MAX_USERINFO, |b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\'' | b'`'));
            if let Some(colon) = memchr::memchr(b':', &text[start..sign]) {
                push_password(text, start + colon + 1, sign, spans);
            }
        }
    }
    // Oracle's thin driver: `jdbc:oracle:thin:user/password@host`.
    for found in memchr::memmem::find_iter(text, b":thin:") {
        let start = found + 6;
        let end = (start + MAX_USERINFO).min(text.len());
        if let Some(sign) =
            text[start..end].iter().position(|b| b.is_ascii_whitespace() || *b == b'@').map(|at| start + at)
            && text[sign] == b'@'
            && let Some(slash) = memchr::memchr(b'/', &text[start..sign])
        {
            push_password(text, start + slash + 1, sign, spans);
        }
    }
}

fn push_password(text: &[u8], start: usize, end: usize, spans: &mut Vec<Span>) {
    if start < end && mask_at(&text[start..end]) != Some(end - start) {
        spans.push(Span::new(start, end, Class::Password));
    }
}

fn userinfo_password(text: &[u8], start: usize) -> Option<Span> {
    let limit = (start + MAX_USERINFO).min(text.len());
    let bounded = &text[..limit];
    let is_word = |b: u8| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\'' | b'`' | b'|');
    let word_end = run_end(bounded, start, is_word);
    let authority_end = run_end(bounded, start, |b| is_word(b) && !matches!(b, b'/' | b'?' | b'#' | b',' | b'\\'));
    let authority = &text[start..authority_end];
    let sign = match memchr::memrchr(b'@', authority) {
        Some(sign) => start + sign,
        // A password with an unencoded slash or the like: then what looks like a port is none.
        None => {
            let colon = start + memchr::memchr(b':', authority)?;
            let is_port = text[colon + 1..authority_end].iter().all(u8::is_ascii_digit);
            if is_port {
                return None;
            }
            start + memchr::memchr(b'@', &text[start..word_end])?
        }
    };
    // A user may itself be an address, whose sign is not the last one.
    let colon = start + memchr::memchr(b':', &text[start..sign])?;
    let password = &text[colon + 1..sign];
    (!password.is_empty() && mask_at(password) != Some(password.len()))
        .then(|| Span::new(colon + 1, sign, Class::Password))
}
