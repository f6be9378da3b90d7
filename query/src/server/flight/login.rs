//! What a client shows: a bearer token, or a name and a password, of which the password is the token.
//!
//! Clients that are given a name and a password send them once, with the handshake, and from then on the bearer token
//! that the handshake answers with. It is the token itself: a server keeps nothing of a login, so a revoked token ends
//! for these clients as soon as for others, and every replica takes it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tonic::metadata::MetadataMap;

use crate::server::bearer::credentials;

/// Base64 with or without its padding, which Go's client leaves out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The secret of a request, if it shows one.
pub(super) fn secret(metadata: &MetadataMap) -> Option<String> {
    let shown = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, credentials) = credentials(shown)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(credentials).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A bearer token and the password of a name are secrets, however the scheme is written; anything else is none.
    #[test]
    fn secrets_are_found() {
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        for (shown, expected) in [
            ("Bearer tracerag_1".to_owned(), Some("tracerag_1")),
            ("bearer  tracerag_1".to_owned(), Some("tracerag_1")),
            (basic("anyone:tracerag_1"), Some("tracerag_1")),
            (basic(":a:b"), Some("a:b")),
            ("Basic YTpi".to_owned(), Some("b")),
            ("Basic YTpiYw".to_owned(), Some("bc")),
            ("Basic YTpiYw==".to_owned(), Some("bc")),
            (basic("tracerag_1"), None),
            ("Basic !".to_owned(), None),
            ("Digest tracerag_1".to_owned(), None),
            ("tracerag_1".to_owned(), None),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", shown.parse().unwrap());
            assert_eq!(secret(&metadata).as_deref(), expected, "{shown}");
        }
        assert_eq!(secret(&MetadataMap::new()), None);
    }
}
