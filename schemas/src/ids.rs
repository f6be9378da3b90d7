//! Trace and span ids: 16 and 8 bytes on the way, lower-case hex in the lake.

/// Bytes of a trace id.
pub type TraceId = [u8; 16];
/// Bytes of a span id.
pub type SpanId = [u8; 8];

/// An id is invalid when it has another length or is all zeros
/// (opentelemetry-proto, `trace.proto`): it then counts as absent.
pub fn valid<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let id: [u8; N] = bytes.try_into().ok()?;
    (id != [0; N]).then_some(id)
}

/// Parses hex text of either case into a valid id.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut id = [0u8; N];
    hex::decode_to_slice(text.as_bytes(), &mut id).ok()?;
    valid(&id)
}

/// Lower-case hex of bytes, appended to `out`.
pub fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids of another length, all zeros or with a foreign character are absent; case does not matter.
    #[test]
    fn invalid_ids_are_absent() {
        assert_eq!(valid::<8>(&[0; 8]), None);
        assert_eq!(valid::<8>(&[1; 7]), None);
        assert_eq!(parse_hex::<8>("AC1D92b0AC1D92b0"), Some([0xac, 0x1d, 0x92, 0xb0, 0xac, 0x1d, 0x92, 0xb0]));
        assert_eq!(parse_hex::<8>("zz1d92b0ac1d92b0"), None);
        let mut text = String::new();
        push_hex(&[0xac, 0x01], &mut text);
        assert_eq!(text, "ac01");
    }
}
