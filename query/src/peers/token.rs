//! How one server of a lake shows another that it is one: by a message that only who has the lake's secret can sign, and
//! that is good for a few minutes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderValue};
use ring::hmac;
use tracerag_index::Lake;

use crate::error::Result;
use crate::secret;

/// The header of the token.
pub(super) const HEADER: &str = "tracerag-exchange";
/// How long a token is good. The clocks of two servers may be as far apart.
const LASTS: Duration = Duration::from_secs(300);
/// What the key is for, so that it signs nothing else.
const PURPOSE: &[u8] = b"exchange between the servers of a lake, 1";

/// What the servers of a lake sign with.
#[derive(Debug, Clone)]
pub(crate) struct Key(hmac::Key);

impl Key {
    /// That of a lake.
    ///
    /// # Errors
    /// When the lake's secret can neither be read nor made.
    pub(crate) async fn of(lake: &Lake) -> Result<Self> {
        Ok(Self::derived(&secret::of(lake).await?))
    }

    fn derived(secret: &hmac::Key) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(secret, PURPOSE).as_ref()))
    }

    /// A token that is good from now on: when it ends, in Unix seconds, and the signature of that. `None`: the clock
    /// cannot be right.
    pub(super) fn token(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.token_until(now().checked_add(LASTS)?.as_secs())).ok()
    }

    /// The header that shows such a token.
    #[cfg(test)]
    pub(crate) fn header(&self) -> Option<(axum::http::HeaderName, HeaderValue)> {
        Some((axum::http::HeaderName::from_static(HEADER), self.token()?))
    }

    fn token_until(&self, ends: u64) -> String {
        format!("{ends}.{}", hex::encode(hmac::sign(&self.0, ends.to_string().as_bytes())))
    }

    /// Whether a request is of another server of the lake.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        headers
            .get(HEADER)
            .and_then(|token| token.to_str().ok())
            .is_some_and(|token| self.holds(token, now().as_secs()))
    }

    /// Whether a token is signed with this key, in constant time, and good at a time in Unix seconds. One that is good
    /// for longer than any is made would be one whose clock is wrong.
    fn holds(&self, token: &str, now: u64) -> bool {
        let Some((ends, signature)) = token.split_once('.') else { return false };
        let Ok(signature) = hex::decode(signature) else { return false };
        if hmac::verify(&self.0, ends.as_bytes(), &signature).is_err() {
            return false;
        }
        ends.parse().is_ok_and(|ends: u64| now <= ends && ends <= now.saturating_add(2 * LASTS.as_secs()))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tests::lake::TestLake;

    fn key(secret: &[u8]) -> Key {
        Key::derived(&hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Two servers of one lake have the same key, and a server of another lake has another: the token of the one lets in
    /// at its peer and not at the stranger, and a request without a token nowhere.
    #[tokio::test]
    async fn a_token_is_good_at_the_servers_of_its_lake() {
        let (lake, foreign) = (TestLake::example(false, 100).await, TestLake::example(false, 100).await);
        let (one, other) = (Key::of(&lake.lake).await.unwrap(), Key::of(&lake.lake).await.unwrap());
        let mut headers = HeaderMap::new();
        assert!(!other.admits(&headers));
        headers.insert(HEADER, one.token().unwrap());
        assert!(other.admits(&headers));
        assert!(!Key::of(&foreign.lake).await.unwrap().admits(&headers));
    }

    /// A token is good until it ends; one that ends later than any that is made now is refused as well.
    #[test]
    fn a_token_ends() {
        let key = key(b"secret");
        let token = key.token_until(1_000);
        assert!(key.holds(&token, 1_000) && key.holds(&token, 400));
        assert!(!key.holds(&token, 1_001) && !key.holds(&token, 399));
    }

    /// A token of which any one byte is another, that is cut, or that was made with another secret lets in nobody.
    #[test]
    fn a_token_cannot_be_changed() {
        let of_lake = key(b"secret");
        let token = of_lake.token_until(1_000);
        for place in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert!(!of_lake.holds(&String::from_utf8(changed).unwrap(), 900), "byte {place}");
            assert!(!of_lake.holds(&token[..place], 900), "{place} bytes");
        }
        assert!(!of_lake.holds(&key(b"another").token_until(1_000), 900));
    }
}
