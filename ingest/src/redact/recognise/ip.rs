//! IP addresses, for those who ask for it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::class::Class;
use super::{Span, at, before, run_end};

/// Longest textual form of an IPv6 address.
const MAX_LEN: usize = 45;

pub(in super::super) fn find(text: &[u8], spans: &mut Vec<Span>) {
    let is_part = |b: u8| b.is_ascii_hexdigit() || matches!(b, b'.' | b':');
    let mut start = 0;
    while start < text.len() {
        if !is_part(text[start]) {
            start += 1;
            continue;
        }
        let end = run_end(text, start, is_part);
        // The colon of `peer:10.0.0.1` belongs to the name.
        let is_named = text[start] == b':' && at(text, start + 1) != b':';
        let first = if is_named { start + 1 } else { start };
        let is_joined = !is_named && before(text, start).is_ascii_alphanumeric();
        if !is_joined && !at(text, end).is_ascii_alphanumeric() {
            let mut token = &text[first..end];
            // `feed:10.0.0.1` and a full stop behind an address.
            while token.last().is_some_and(|b| matches!(b, b'.')) || token.ends_with(b":") && !token.ends_with(b"::") {
                token = &token[..token.len() - 1];
            }
            if let Some((from, to)) = address(token) {
                spans.push(Span::new(first + from, first + to, Class::Ip));
            }
        }
        start = end;
    }
}

fn address(token: &[u8]) -> Option<(usize, usize)> {
    if token.len() < 2 || token.len() > MAX_LEN + 8 {
        return None;
    }
    let text = std::str::from_utf8(token).ok()?;
    if text.parse::<Ipv6Addr>().is_ok() {
        // `::` alone is the empty address of a listener.
        return (text.len() > 3).then_some((0, token.len()));
    }
    let mut from = 0;
    for part in text.split(':') {
        if part.parse::<Ipv4Addr>().is_ok() {
            return Some((from, from + part.len()));
        }
        from += part.len() + 1;
    }
    None
}
