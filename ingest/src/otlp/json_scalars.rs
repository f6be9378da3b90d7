//! Scalars that OTLP/JSON writes as text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::counts::DecodeCounts;

/// An id that no record has.
pub(super) const NO_ID: [u8; 1] = [0];

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Base64 in either alphabet, padded or not.
pub(super) fn read_bytes(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).ok()
}

/// Hex by the rule, else base64. What is neither becomes a byte that no id has: the record is then dropped or
/// its reference left out, and counted, by the decoder.
pub(super) fn read_id<'t>(text: &'t str, counts: &mut DecodeCounts) -> Cow<'t, [u8]> {
    let hex = hex::decode(text).ok();
    if let Some(bytes) = hex.as_ref().filter(|bytes| matches!(bytes.len(), 0 | 8 | 16)) {
        return Cow::Owned(bytes.clone());
    }
    match read_bytes(text).filter(|bytes| matches!(bytes.len(), 8 | 16)) {
        Some(bytes) => {
            counts.json_base64_ids += 1;
            Cow::Owned(bytes)
        }
        None => Cow::Owned(hex.unwrap_or_else(|| NO_ID.to_vec())),
    }
}

/// A double and whether it is one of the three words that stand for what JSON has no number for.
pub(super) fn read_double(text: &str) -> Option<(f64, bool)> {
    match text {
        "NaN" => Some((f64::NAN, true)),
        "Infinity" => Some((f64::INFINITY, true)),
        "-Infinity" => Some((f64::NEG_INFINITY, true)),
        _ => text.trim().parse().ok().map(|number| (number, false)),
    }
}
