//! Access tokens of an OAuth issuer: JWTs that it has signed for this server (RFC 9068).
//!
//! - **In:** a token; the issuer's public keys, which are fetched from where its metadata says, again and again, and when
//!   a token names a key that is not known.
//! - **Out:** a [`Caller`], of the tenant that a claim names and with the scopes that the token has.
//!
//! Whatever is missing, unknown or in doubt lets nobody in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::caller::{Caller, Refusal, Scopes};
use super::jws::{Algorithm, Expected, PublicKey, Unverified};
use super::token::PREFIX;
use crate::untrusted;

/// How often the keys are fetched.
pub(super) const FETCH_EVERY: Duration = Duration::from_secs(300);
/// How soon after an attempt the next one may be made, whoever asks for it.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long keys hold that could not be fetched again.
const KEYS_LAST: Duration = Duration::from_secs(24 * 3600);
/// How long each request to the issuer may take.
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer of the issuer.
const MOST_BYTES: usize = 1 << 20;
/// Keys of an issuer.
const MOST_KEYS: usize = 100;
/// Bytes of a token.
const MOST_TOKEN: usize = 16 << 10;
/// Characters of a tenant, and of a subject in `audit`.
const MOST_CHARACTERS: usize = 200;

/// Whose access tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerOptions {
    /// The issuer, exactly as its tokens name it: `https://login.example.com`.
    pub issuer: String,
    /// For whom its tokens have to be; one of these is enough.
    pub audiences: Vec<String>,
    /// The claim that names the tenant.
    pub tenant_claim: String,
}

/// An issuer with what is known of its keys.
#[derive(Debug)]
pub(super) struct Issuer {
    options: IssuerOptions,
    client: Option<reqwest::Client>,
    keys: Mutex<Keys>,
    /// When keys were last asked for; who holds it asks.
    tried: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Keys {
    keys: Vec<Key>,
    fetched: Option<Instant>,
}

/// A public key with its id.
#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    key: PublicKey,
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0} is neither https nor on this machine")]
    InClear(String),
    #[error("{url} gives no answer: {source}")]
    Request { url: String, source: reqwest::Error },
    #[error("{url} answers with status {status}")]
    Status { url: String, status: u16 },
    #[error("{0} answers with more than {MOST_BYTES} bytes")]
    TooLarge(String),
    #[error("{url} is not what it should be: {why}")]
    Form { url: String, why: String },
    #[error("there is no client of HTTP")]
    NoClient,
}

impl Issuer {
    pub(super) fn new(options: IssuerOptions) -> Self {
        let client = reqwest::Client::builder().timeout(FETCH_WITHIN).redirect(reqwest::redirect::Policy::none());
        // An issuer on this machine is not behind the proxy of the environment.
        let client = if is_this_machine(&options.issuer) { client.no_proxy() } else { client };
        let client =
            client.build().inspect_err(|error| tracing::error!(%error, "no keys of the issuer can be fetched"));
        Self { options, client: client.ok(), keys: Mutex::default(), tried: tokio::sync::Mutex::default() }
    }

    /// Whether a secret may be a token of an issuer: it is none of ours, and has the three parts of a JWT.
    pub(super) fn may_be_of_one(secret: &str) -> bool {
        !secret.starts_with(PREFIX) && secret.len() <= MOST_TOKEN && secret.split('.').count() == 3
    }

    /// Fetches the keys, unless somebody did a moment ago.
    pub(super) async fn fetch(&self) {
        let mut tried = self.tried.lock().await;
        if tried.is_some_and(|tried| tried.elapsed() < AGAIN_AFTER) {
            return;
        }
        let fetched = self.fetched().await;
        *tried = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                tracing::debug!(issuer = %self.options.issuer, keys = keys.len(), "fetched the keys of the issuer");
                *self.keys() = Keys { keys, fetched: Some(Instant::now()) };
            }
            Err(error) => {
                let issuer = &self.options.issuer;
                tracing::warn!(%issuer, %error, "the keys of the issuer were not fetched; see serve.oauth_issuer");
            }
        }
    }

    /// Fetches the keys if the token may be signed by one that is not known. A client that leaves meanwhile does not break
    /// it off: that attempt would not count, and whoever asks and leaves, again and again, would have the issuer asked as
    /// often.
    pub(super) async fn look_up(self: &Arc<Self>, secret: &str) {
        let Ok(token) = Unverified::parse(secret) else { return };
        if self.key(token.header.kid.as_deref(), token.header.alg).is_none() {
            let this = Arc::clone(self);
            // If it fails, the key stays unknown.
            let _ = tokio::spawn(async move { this.fetch().await }).await;
        }
    }

    /// Whom the issuer has given a token to.
    ///
    /// # Errors
    /// [`Refusal::UnknownToken`]; [`Refusal::NoKeys`] as long as no key of the issuer is known.
    pub(super) fn caller(&self, secret: &str) -> Result<Caller, Refusal> {
        let unknown = |why: &str| {
            tracing::debug!(issuer = %self.options.issuer, why, "a token is refused");
            Refusal::UnknownToken
        };
        let token = Unverified::parse(secret).map_err(unknown)?;
        if self.is_without_keys() {
            return Err(Refusal::NoKeys);
        }
        let key = self.key(token.header.kid.as_deref(), token.header.alg);
        let key = key.ok_or_else(|| unknown("its key is not known"))?;
        let expected = Expected { issuer: &self.options.issuer, audiences: &self.options.audiences };
        let claims = token.verify(&key, &expected).map_err(unknown)?;
        self.of_claims(&claims).ok_or_else(|| unknown("it names no tenant or nobody"))
    }

    /// The caller that the claims of a token describe.
    fn of_claims(&self, claims: &Map<String, Value>) -> Option<Caller> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let tenant = text(&self.options.tenant_claim)?;
        // A tenant is compared with what rows have, so it is taken as it is or not at all.
        if tenant.chars().count() > MOST_CHARACTERS || untrusted::line(tenant) != tenant {
            return None;
        }
        // Tokens of programs that act for nobody may name the program only.
        let who = text("sub").or_else(|| text("client_id")).or_else(|| text("azp"))?;
        let principal = format!("oauth {}", untrusted::short(who, MOST_CHARACTERS));
        Some(Caller { tenant: tenant.into(), principal: principal.into(), scopes: scopes(claims) })
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no key is known, or all are too old to be trusted.
    pub(super) fn is_without_keys(&self) -> bool {
        let keys = self.keys();
        keys.keys.is_empty() || keys.fetched.is_none_or(|fetched| fetched.elapsed() > KEYS_LAST)
    }

    /// The key of an id; where a token names none, the only one there is.
    fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Option<PublicKey> {
        let keys = self.keys();
        let mut fitting = keys.keys.iter().filter(|key| key.key.algorithm() == algorithm);
        let found = match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        };
        found.map(|key| key.key.clone())
    }

    async fn fetched(&self) -> Result<Vec<Key>, FetchError> {
        let metadata = self.metadata().await?;
        let url = metadata.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        let set = self.document(url).await?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| FetchError::Form { url: url.to_owned(), why: String::from("it has no keys") })?;
        // A key of a kind that is not known here is one that signs nothing for us.
        Ok(keys.iter().take(MOST_KEYS).filter_map(PublicKey::of_set).map(|(id, key)| Key { id, key }).collect())
    }

    /// What the issuer says of itself, by OpenID Connect or by RFC 8414.
    async fn metadata(&self) -> Result<Value, FetchError> {
        let issuer = self.options.issuer.trim_end_matches('/');
        let openid = format!("{issuer}/.well-known/openid-configuration");
        let (url, found) = match self.document(&openid).await {
            Ok(found) => (openid, found),
            Err(error) => {
                // There the path of the issuer stands behind the well-known one.
                let Ok(mut url) = url::Url::parse(issuer) else { return Err(error) };
                let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
                url.set_path(&path);
                let found = self.document(url.as_str()).await.map_err(|_| error)?;
                (url.to_string(), found)
            }
        };
        // Somebody else's metadata would bring somebody else's keys.
        let named = found.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if named != self.options.issuer {
            return Err(FetchError::Form { url, why: format!("it is of the issuer {named:?}; name it so") });
        }
        Ok(found)
    }

    async fn document(&self, url: &str) -> Result<Value, FetchError> {
        if !url.starts_with("https://") && !is_this_machine(url) {
            return Err(FetchError::InClear(url.to_owned()));
        }
        let client = self.client.as_ref().ok_or(FetchError::NoClient)?;
        let failed = |source| FetchError::Request { url: url.to_owned(), source };
        let mut response = client.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(FetchError::Status { url: url.to_owned(), status: response.status().as_u16() });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(FetchError::TooLarge(url.to_owned()));
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| FetchError::Form { url: url.to_owned(), why: error.to_string() })
    }
}

/// The scopes of a token that are some here, out of `scope` (a text with spaces) and `scp` (a text or a list).
fn scopes(claims: &Map<String, Value>) -> Scopes {
    let mut named: Vec<&str> = Vec::new();
    for claim in ["scope", "scp"].iter().filter_map(|name| claims.get(*name)) {
        match claim {
            Value::String(text) => named.extend(text.split_whitespace()),
            Value::Array(list) => named.extend(list.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    named.into_iter().filter_map(|name| name.parse().ok()).collect()
}

fn is_this_machine(url: &str) -> bool {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().filter(|url| url.scheme() == "http").and_then(url::Url::host);
    match host {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
