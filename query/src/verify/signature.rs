//! Signatures of bundles: who has no lake at hand can still tell whether an installation handed a bundle out.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use tracerag_schemas::bundle::{Bundle, Signature};

const ALGORITHM: &str = "ed25519";
/// Stands before the id in what is signed, so that no signature made for something else is one of a bundle.
const PURPOSE: &[u8] = b"tracerag/bundle-signature/1\0";
/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The private key with which an installation signs what it hands out (Ed25519, RFC 8032).
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key of 64 hex digits; `None` for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut seed = [0u8; KEY_BYTES];
        hex::decode_to_slice(text.trim(), &mut seed).ok()?;
        Some(Self { pair: Ed25519KeyPair::from_seed_unchecked(&seed).ok()? })
    }

    /// The public key in lower-case hex.
    pub fn public_key(&self) -> String {
        hex::encode(self.pair.public_key())
    }

    /// Puts a signature of the bundle's id beside its evidence.
    #[must_use]
    pub fn signed(&self, mut bundle: Bundle) -> Bundle {
        let value = self.pair.sign(&message(&bundle.bundle_id));
        bundle.signature = Some(Signature {
            algorithm: ALGORITHM.to_owned(),
            public_key: self.public_key(),
            value: hex::encode(value),
        });
        bundle
    }
}

/// Whether a text is a public key: 64 hex digits.
pub fn is_public_key(text: &str) -> bool {
    text.len() == 2 * KEY_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a signature is one of a bundle's id by one of the keys that are trusted.
pub(super) fn is_valid(signature: &Signature, bundle_id: &str, trusted: &[String]) -> bool {
    let is_trusted = trusted.iter().any(|key| key.eq_ignore_ascii_case(&signature.public_key));
    let (Ok(key), Ok(value)) = (hex::decode(&signature.public_key), hex::decode(&signature.value)) else {
        return false;
    };
    let is_signed = UnparsedPublicKey::new(&ED25519, key).verify(&message(bundle_id), &value).is_ok();
    is_trusted && signature.algorithm == ALGORITHM && is_signed
}

fn message(bundle_id: &str) -> Vec<u8> {
    [PURPOSE, bundle_id.as_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The first test vector of RFC 8032, section 7.1: the public key is the one that belongs to the private key.
    #[test]
    fn keys_are_those_of_rfc_8032() {
        let key = SigningKey::from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        assert_eq!(key.public_key(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert!(is_public_key(&key.public_key()));
        for text in ["", "9d61", "zz61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"] {
            assert!(SigningKey::from_hex(text).is_none() && !is_public_key(text), "{text}");
        }
    }
}
