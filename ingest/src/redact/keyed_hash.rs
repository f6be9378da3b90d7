//! Identifiers become keyed tokens: equal within a tenant, unrelated between tenants, not to be guessed without the key.

use std::sync::RwLock;

use hmac::{Hmac, KeyInit, Mac};
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

/// Keyed HMAC states kept at once; beyond that a tenant's key is derived again for each value.
const MAX_CACHED_TENANTS: usize = 4096;

/// Bytes of a derived secret: six blocks, more than the 136 bytes that XXH3 asks for.
pub(super) const SECRET_BYTES: usize = 192;

type HmacSha256 = Hmac<Sha256>;

/// Makes tokens `hmac:<key id>:<32 hex digits>` from identifiers.
pub(super) struct KeyedHash {
    master: HmacSha256,
    key_id: String,
    tenants: RwLock<FxHashMap<String, HmacSha256>>,
}

impl KeyedHash {
    /// Tokens under `key`; the key itself is not kept, only the HMAC state made from it.
    pub(super) fn new(key: &[u8]) -> Self {
        let mut id = Sha256::new();
        id.update(b"tracerag/redaction/key-id\0");
        id.update(key);
        Self { master: keyed(key), key_id: hex::encode(&id.finalize()[..4]), tenants: RwLock::default() }
    }

    /// First 8 hex digits of the SHA-256 of the key under a domain tag: names the key, tells nothing about it.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The token of `text` for `tenant`; `None` if `text` is a token already.
    pub(super) fn token(&self, tenant: &str, text: &str) -> Option<String> {
        if is_token(text) {
            return None;
        }
        let mut mac = self.tenant_state(tenant);
        mac.update(text.as_bytes());
        let digest = mac.finalize().into_bytes();
        Some(format!("hmac:{}:{}", self.key_id, hex::encode(&digest[..16])))
    }

    /// A secret for a hash of another kind, the same for the same key and purpose.
    pub(super) fn secret(&self, purpose: &str) -> [u8; SECRET_BYTES] {
        let mut secret = [0; SECRET_BYTES];
        for (number, block) in secret.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let mut derive = self.master.clone();
            derive.update(b"tracerag/redaction/secret\0");
            derive.update(purpose.as_bytes());
            derive.update(&[0, number as u8]);
            block.copy_from_slice(&derive.finalize().into_bytes());
        }
        secret
    }

    fn tenant_state(&self, tenant: &str) -> HmacSha256 {
        if let Ok(tenants) = self.tenants.read()
            && let Some(state) = tenants.get(tenant)
        {
            return state.clone();
        }
        let mut derive = self.master.clone();
        derive.update(b"tracerag/redaction/tenant-key\0");
        derive.update(tenant.as_bytes());
        let state = keyed(&derive.finalize().into_bytes());
        if let Ok(mut tenants) = self.tenants.write()
            && tenants.len() < MAX_CACHED_TENANTS
        {
            tenants.insert(tenant.to_owned(), state.clone());
        }
        state
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// True for `hmac:` + 8 hex digits + `:` + 32 hex digits.
pub(super) fn is_token(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    bytes.len() == 46
        && bytes.starts_with(b"hmac:")
        && is_hex(&bytes[5..13])
        && bytes[13] == b':'
        && is_hex(&bytes[14..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The same identifier joins within a tenant; another tenant or another key gives another token,
    /// and the token names its key.
    #[test]
    fn tokens_depend_on_key_and_tenant() {
        let one = KeyedHash::new(b"0123456789abcdef");
        let two = KeyedHash::new(b"fedcba9876543210");
        let token = one.token("acme", "alice").unwrap();
        assert_eq!(token, one.token("acme", "alice").unwrap());
        assert_ne!(token, one.token("other", "alice").unwrap());
        assert_ne!(token, one.token("acme", "bob").unwrap());
        assert_ne!(token, two.token("acme", "alice").unwrap());
        assert!(token.starts_with(&format!("hmac:{}:", one.key_id())));
        assert!(is_token(&token));
        assert_eq!(one.token("acme", &token), None);
    }

    /// A secret is the same for a key and purpose, another one for any other, and does not repeat itself.
    #[test]
    fn secrets_depend_on_key_and_purpose() {
        let hash = KeyedHash::new(b"0123456789abcdef");
        assert_eq!(hash.secret("a"), KeyedHash::new(b"0123456789abcdef").secret("a"));
        assert_ne!(hash.secret("a"), hash.secret("b"));
        assert_ne!(hash.secret("a"), KeyedHash::new(b"fedcba9876543210").secret("a"));
        assert_ne!(hash.secret("a")[..32], hash.secret("a")[32..64]);
    }

    /// The construction is fixed: the token equals HMAC-SHA-256 computed step by step, so tokens survive upgrades.
    #[test]
    fn token_construction_is_stable() {
        let key = b"0123456789abcdef";
        let mut derive = keyed(key);
        derive.update(b"tracerag/redaction/tenant-key\0acme");
        let mut mac = keyed(&derive.finalize().into_bytes());
        mac.update(b"alice");
        let expected = hex::encode(&mac.finalize().into_bytes()[..16]);
        assert!(KeyedHash::new(key).token("acme", "alice").unwrap().ends_with(&expected));
    }
}
