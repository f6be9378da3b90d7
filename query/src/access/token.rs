//! A token: a random secret of 256 bits, of which only the SHA-256 is kept.
//!
//! A hash without salt or stretching is enough: nobody finds 256 random bits by trying.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::caller::{Caller, Scopes};

/// Begins every secret, so that scanners for leaked secrets recognise it.
pub(super) const PREFIX: &str = "tracerag_";
/// Bytes of the hash that name a token where people read.
const ID_BYTES: usize = 6;

/// What is kept of a token. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The first 12 hex digits of `sha256`.
    pub id: String,
    /// SHA-256 of the secret, in hex.
    pub sha256: String,
    /// Whose rows it shows.
    pub tenant: String,
    /// What it permits.
    pub scopes: Scopes,
    /// What it is for, in words of whoever made it; may be empty.
    #[serde(default)]
    pub name: String,
    /// When it was made.
    pub created_at: u64,
    /// From when on it no longer holds; `None`: it holds until it is revoked.
    pub expires_at: Option<u64>,
}

/// A token that was just made, with its secret, which nobody can have again.
pub struct MintedToken {
    /// What is kept.
    pub token: Token,
    /// What is shown to the server.
    pub secret: String,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken").field("token", &self.token).finish_non_exhaustive()
    }
}

impl MintedToken {
    /// Makes a token that holds for a time in seconds, or until it is revoked.
    pub fn new(tenant: &str, scopes: Scopes, name: &str, lasts: Option<u64>) -> Self {
        let secret = format!("{PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
        let hash = digest(&secret);
        let created_at = now();
        let token = Token {
            id: hex::encode(&hash[..ID_BYTES]),
            sha256: hex::encode(hash),
            tenant: tenant.to_owned(),
            scopes,
            name: name.to_owned(),
            created_at,
            expires_at: lasts.map(|lasts| created_at.saturating_add(lasts)),
        };
        Self { token, secret }
    }
}

impl Token {
    /// Whether it holds at a time.
    pub fn holds_at(&self, seconds: u64) -> bool {
        self.expires_at.is_none_or(|expires| seconds < expires)
    }

    fn caller(&self) -> Caller {
        let principal = match self.name.as_str() {
            "" => self.id.clone(),
            name => format!("{} ({name})", self.id),
        };
        Caller { tenant: self.tenant.as_str().into(), principal: principal.into(), scopes: self.scopes.clone() }
    }
}

/// The caller of the token that a secret belongs to. Every token is compared, in the same time for each, so that
/// neither a match nor its place can be told from how long it took.
pub(super) fn caller(tokens: &[Token], secret: &str) -> Option<Caller> {
    let shown = hex::encode(digest(secret));
    let mut found = None;
    for token in tokens {
        if bool::from(token.sha256.as_bytes().ct_eq(shown.as_bytes())) {
            found = Some(token);
        }
    }
    found.filter(|token| token.holds_at(now())).map(Token::caller)
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
