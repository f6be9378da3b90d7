//! Texts that hide other texts: percent-encoding and backslash escapes, decoded with the way back to the original.

/// A decoded text in which every byte knows where it came from.
pub(super) struct Decoded {
    /// The decoded bytes; not necessarily UTF-8.
    pub(super) bytes: Vec<u8>,
    /// For each decoded byte, and for the end, the offset in the text that was decoded.
    pub(super) offsets: Vec<usize>,
}

/// Decodes one level of `%40` and of `\u0040`, `\n`, `\"`, `\\` and the like. `None` if nothing was encoded.
pub(super) fn decode_level(text: &[u8]) -> Option<Decoded> {
    let first = memchr::memchr2_iter(b'%', b'\\', text).find(|at| escape_len(&text[*at..]).is_some())?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut offsets = Vec::with_capacity(text.len() + 1);
    bytes.extend_from_slice(&text[..first]);
    offsets.extend(0..first);
    let mut at = first;
    while at < text.len() {
        match escape_len(&text[at..]) {
            Some((length, value)) => {
                let mut buffer = [0; 4];
                let decoded: &[u8] = match value {
                    Value::Byte(byte) => {
                        buffer[0] = byte;
                        &buffer[..1]
                    }
                    Value::Char(c) => c.encode_utf8(&mut buffer).as_bytes(),
                };
                bytes.extend_from_slice(decoded);
                offsets.resize(bytes.len(), at);
                at += length;
            }
            None => {
                bytes.push(text[at]);
                offsets.push(at);
                at += 1;
            }
        }
    }
    offsets.push(text.len());
    Some(Decoded { bytes, offsets })
}

enum Value {
    Byte(u8),
    Char(char),
}

/// Length and meaning of the escape that starts `text`.
fn escape_len(text: &[u8]) -> Option<(usize, Value)> {
    match *text {
        [b'%', high, low, ..] => Some((3, Value::Byte(hex(high)? << 4 | hex(low)?))),
        [b'\\', b'u', a, b, c, d, ..] => {
            let code =
                [a, b, c, d].into_iter().try_fold(0u32, |code, digit| Some(code << 4 | u32::from(hex(digit)?)))?;
            // Halves of a surrogate pair never belong to anything that is looked for.
            Some((6, Value::Char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))))
        }
        [b'\\', b'x', high, low, ..] if hex(high).is_some() && hex(low).is_some() => {
            Some((4, Value::Byte(hex(high)? << 4 | hex(low)?)))
        }
        [b'\\', escaped, ..] => {
            let byte = match escaped {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                b'"' | b'\'' | b'\\' | b'/' => escaped,
                _ => return None,
            };
            Some((2, Value::Byte(byte)))
        }
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Moves `start` behind an escape of which it is the tail: in `%3Dalice@example.com` the address starts at `alice`.
pub(super) fn skip_escape_tail(text: &[u8], start: usize, end: usize) -> usize {
    let Some(before) = start.checked_sub(1) else { return start };
    match escape_len(&text[before..end.max(before)]) {
        Some((length, _)) => (before + length).min(end),
        None => start,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Every decoded byte leads back to the escape that it came from.
    #[test]
    fn offsets_lead_back() {
        let text = br"a%40b\u0040c\n%zz";
        let decoded = decode_level(text).unwrap();
        assert_eq!(decoded.bytes, b"a@b@c\n%zz");
        assert_eq!(decoded.offsets, [0, 1, 4, 5, 11, 12, 14, 15, 16, 17]);
        assert!(decode_level(b"100% of \\ it").is_none());
    }
}
