//! Sending events to an address, signed as <https://www.standardwebhooks.com> says.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url, redirect};
use sha2::Sha256;

use super::event::{CONTENT_TYPE as CLOUD_EVENT, Event};
use crate::config::{ConfigError, Webhook};
use crate::server::is_this_machine;

/// How long a receiver may take to answer.
const WITHIN: Duration = Duration::from_secs(10);
/// The beginning of a secret that is written in base64.
const PREFIX: &str = "whsec_";
/// Bytes that a secret has at least.
const SHORTEST: usize = 16;

/// A receiver of events.
pub(super) struct Receiver {
    url: Url,
    secret: Vec<u8>,
    client: Client,
}

impl Receiver {
    /// The receiver of a configuration. Its secret is in the environment.
    ///
    /// # Errors
    /// When there is no secret, or none that is one.
    pub(super) fn new(webhook: &Webhook) -> Result<Self, ConfigError> {
        let refuse = |why: &str| {
            ConfigError::Together(format!(
                "the secret of the receiver at {} is not in the environment variable {}: {why}; make one with `echo \
                 whsec_$(openssl rand -base64 32)` and give it to the receiver, too",
                webhook.host(),
                webhook.secret_env
            ))
        };
        let text = std::env::var(&webhook.secret_env).map_err(|_| refuse("it is not set"))?;
        let secret = secret(&text).ok_or_else(|| refuse("it is too short, or no base64 behind whsec_"))?;
        let url = Url::parse(&webhook.url).map_err(|_| refuse("its address is none"))?;
        let mut client = Client::builder().timeout(WITHIN).redirect(redirect::Policy::none());
        if is_this_machine(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| refuse(&error.to_string()))?;
        Ok(Self { url, secret, client })
    }

    /// Sends one event. `now` is the time of the attempt, in ns.
    ///
    /// # Errors
    /// Why the receiver has not taken it, without its address.
    pub(super) async fn send(&self, event: &Event, now: i64) -> Result<(), String> {
        let (body, seconds) = (event.text(), now.div_euclid(1_000_000_000));
        let signature = sign(&self.secret, &event.id, seconds, &body).ok_or_else(|| String::from("no key"))?;
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, CLOUD_EVENT)
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signature)
            .body(body);
        let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(refusal(status)),
        }
    }
}

fn refusal(status: StatusCode) -> String {
    format!("it answers {}", status.as_u16())
}

/// The bytes of a secret as it is written.
fn secret(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let bytes = match text.strip_prefix(PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).ok()?,
        None => text.as_bytes().to_vec(),
    };
    (bytes.len() >= SHORTEST).then_some(bytes)
}

/// `v1,` and the HMAC-SHA256 of `ID.SECONDS.BODY` in base64.
fn sign(secret: &[u8], id: &str, seconds: i64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks test themselves with is signed. Guarantees that receivers who
    /// use one of them can verify what comes from here.
    #[test]
    fn the_standards_example_is_signed_alike() {
        let secret = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    /// Secrets are taken with the prefix and without; what is too short to be one is not.
    #[test]
    fn short_secrets_are_refused() {
        assert_eq!(secret("0123456789abcdef").unwrap().len(), 16);
        assert!(secret("whsec_AAAA").is_none() && secret("whsec_???").is_none() && secret("").is_none());
    }
}
