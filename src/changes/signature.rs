//! Whether a webhook is from whom it names: by each platform's own scheme, compared in constant time.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::header;
use crate::config::{Platform, WebhookSection};

/// Where Unleash and Argo CD show the secret, unless it is said.
const AUTHORIZATION: &str = "authorization";

/// Whether a body comes with the proof that its platform gives: LaunchDarkly and GitHub sign it by HMAC-SHA256, Unleash
/// and Argo CD show the secret in a header, bare or behind `Bearer`.
pub(super) fn holds(platform: Platform, webhook: &WebhookSection, headers: &HeaderMap, body: &[u8]) -> bool {
    let secret = webhook.secret.as_bytes();
    match platform {
        Platform::LaunchDarkly => header(headers, "x-ld-signature").is_some_and(|hex| is_signed(secret, body, hex)),
        Platform::GitHub => header(headers, "x-hub-signature-256")
            .and_then(|shown| shown.strip_prefix("sha256="))
            .is_some_and(|hex| is_signed(secret, body, hex)),
        Platform::Unleash | Platform::ArgoCd => {
            let name = if webhook.header.is_empty() { AUTHORIZATION } else { webhook.header.as_str() };
            header(headers, name).is_some_and(|shown| {
                let bare = shown.strip_prefix("Bearer ").unwrap_or(shown);
                is_same(shown.as_bytes(), secret) || is_same(bare.as_bytes(), secret)
            })
        }
    }
}

/// What a platform has to send, for whoever sets it up.
pub(super) fn expected(platform: Platform, webhook: &WebhookSection) -> String {
    match platform {
        Platform::LaunchDarkly => String::from("X-LD-Signature: the HMAC-SHA256 of the body in hex"),
        Platform::GitHub => String::from("X-Hub-Signature-256: sha256= and the HMAC-SHA256 of the body in hex"),
        Platform::Unleash | Platform::ArgoCd => {
            let name = if webhook.header.is_empty() { "Authorization" } else { webhook.header.as_str() };
            format!("{name}: the secret")
        }
    }
}

fn is_signed(secret: &[u8], body: &[u8], shown: &str) -> bool {
    let Ok(shown) = hex::decode(shown.trim()) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(body);
    mac.verify_slice(&shown).is_ok()
}

/// Digests are compared, so that the time does not tell the length either.
fn is_same(shown: &[u8], secret: &[u8]) -> bool {
    Sha256::digest(shown).as_slice().ct_eq(Sha256::digest(secret).as_slice()).into()
}
