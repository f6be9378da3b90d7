//! Access tokens of an issuer on this machine: a server of HTTP with metadata and keys, as issuers have them.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::access::Scope;
use crate::access::jws::now;

const AUDIENCE: &str = "https://tracerag.example.com/mcp";

/// Keys of RSA in PKCS#8, as base64.
const RSA: &str = include_str!("rsa.txt");
const OTHER_RSA: &str = include_str!("other_rsa.txt");

/// A private key with its name.
enum Signer {
    Rsa(&'static str, RsaKeyPair),
    Ec(&'static str, EcdsaKeyPair),
}

impl Signer {
    /// One of two keys that were made for this test and protect nothing: `ring` makes none.
    fn rsa(id: &'static str, file: &str) -> Self {
        let lines: String = file.lines().collect();
        Self::Rsa(id, RsaKeyPair::from_pkcs8(&STANDARD.decode(lines).unwrap()).unwrap())
    }

    fn ec(id: &'static str) -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let file = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self::Ec(id, EcdsaKeyPair::from_pkcs8(kind, file.as_ref(), &random).unwrap())
    }

    /// The public key as a set has it.
    fn public(&self) -> Value {
        match self {
            Self::Rsa(id, key) => {
                let parts = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": coded(&parts.n), "e": coded(&parts.e)})
            }
            Self::Ec(id, key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (coded(&point[1..33]), coded(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y})
            }
        }
    }

    /// A token with these claims.
    fn token(&self, claims: &Value) -> String {
        self.token_of(json!({"typ": "at+jwt"}), claims)
    }

    /// The same with more in its header.
    fn token_of(&self, mut head: Value, claims: &Value) -> String {
        let (algorithm, id) = match self {
            Self::Rsa(id, _) => ("RS256", id),
            Self::Ec(id, _) => ("ES256", id),
        };
        head["alg"] = json!(algorithm);
        head["kid"] = json!(id);
        let signed = format!("{}.{}", coded(head.to_string().as_bytes()), coded(claims.to_string().as_bytes()));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(_, key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(_, key) => key.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", coded(&signature))
    }
}

fn coded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A server that gives out keys, which may change, and counts how often it is asked for them.
struct Served {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Served {
    /// With its metadata under this path.
    async fn under(path: &str, keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (keys, asked) = (Arc::new(Mutex::new(keys)), Arc::new(AtomicUsize::new(0)));
        let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
        let (given, count) = (Arc::clone(&keys), Arc::clone(&asked));
        let set = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let keys = given.lock().unwrap().clone();
            std::future::ready(json!({"keys": keys}).to_string())
        };
        let router =
            Router::new().route(path, get(move || std::future::ready(metadata.clone()))).route("/keys", get(set));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, keys, asked }
    }

    async fn new(keys: Vec<Value>) -> Self {
        Self::under("/.well-known/openid-configuration", keys).await
    }

    fn issuer(&self) -> Issuer {
        Issuer::new(IssuerOptions {
            issuer: self.url.clone(),
            audiences: vec![AUDIENCE.to_owned()],
            tenant_claim: "org".to_owned(),
        })
    }

    /// Claims that let in, with these besides; null takes one away.
    fn claims(&self, other: Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.url, "aud": ["other", AUDIENCE], "sub": "agent-7", "exp": now + 600, "nbf": now - 5,
            "org": "acme", "scope": "openid read sql",
        });
        for (name, value) in other.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }
}

/// Tokens that are signed with RSA and with an elliptic curve let in, as the tenant of the claim and with the scopes that
/// are some here, in whichever of the two claims they stand; so does one of a program that acts for nobody.
#[tokio::test]
async fn tokens_of_the_issuer_let_in() {
    let (rsa, ec) = (Signer::rsa("r1", RSA), Signer::ec("e1"));
    let served = Served::new(vec![json!({"kty": "OKP", "crv": "X25519", "x": "AA"}), rsa.public(), ec.public()]).await;
    let issuer = served.issuer();
    assert_eq!(issuer.caller(&rsa.token(&served.claims(json!({})))), Err(Refusal::NoKeys));
    issuer.fetch().await;
    let caller = issuer.caller(&rsa.token(&served.claims(json!({})))).unwrap();
    assert_eq!((caller.tenant.as_ref(), caller.principal.as_ref()), ("acme", "oauth agent-7"));
    assert_eq!(caller.scopes, [Scope::Read, Scope::Sql].into_iter().collect::<Scopes>());
    let other = served.claims(json!({"scope": null, "scp": ["similar", "root"], "sub": null, "client_id": "ci"}));
    let caller = issuer.caller(&ec.token(&other)).unwrap();
    assert_eq!(
        (caller.principal.as_ref(), caller.scopes),
        ("oauth ci", [Scope::Similar].into_iter().collect::<Scopes>())
    );
    assert!(issuer.caller(&ec.token(&served.claims(json!({"aud": AUDIENCE})))).is_ok());
}

/// Whatever is wrong with a token, nobody is let in: issuer, audience, times, tenant, subject, signature, key, algorithm.
#[tokio::test]
async fn anything_else_is_refused() {
    let (rsa, ec) = (Signer::rsa("r1", RSA), Signer::ec("e1"));
    let served = Served::new(vec![rsa.public(), ec.public()]).await;
    let issuer = served.issuer();
    issuer.fetch().await;
    let now = now();
    for wrong in [
        json!({"iss": "https://evil.example.com"}),
        json!({"iss": null}),
        json!({"aud": "https://elsewhere.example.com"}),
        json!({"aud": null}),
        json!({"exp": now - 600}),
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"nbf": now + 600}),
        json!({"org": null}),
        json!({"org": ["acme"]}),
        json!({"org": " "}),
        json!({"org": "ac\u{202e}me"}),
        json!({"sub": null}),
    ] {
        let token = rsa.token(&served.claims(wrong.clone()));
        assert_eq!(issuer.caller(&token), Err(Refusal::UnknownToken), "{wrong}");
    }
    let good = rsa.token(&served.claims(json!({})));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let changed = coded(served.claims(json!({"org": "other"})).to_string().as_bytes());
    let unsigned = coded(br#"{"alg":"none"}"#);
    let shared = coded(br#"{"alg":"HS256","kid":"r1"}"#);
    let critical = coded(br#"{"alg":"RS256","kid":"r1","crit":["x"]}"#);
    for token in [
        format!("{head}.{changed}.{signature}"),
        format!("{unsigned}.{changed}."),
        format!("{shared}.{changed}.{signature}"),
        format!("{critical}.{changed}.{signature}"),
        Signer::rsa("r1", OTHER_RSA).token(&served.claims(json!({}))),
        Signer::ec("r1").token(&served.claims(json!({}))),
        Signer::ec("unknown").token(&served.claims(json!({}))),
        String::from(".."),
        String::new(),
    ] {
        assert_eq!(issuer.caller(&token), Err(Refusal::UnknownToken), "{token}");
    }
    assert!(issuer.caller(&good).is_ok());
}

/// Access tokens come with the type of RFC 9068, with that of any JWT, or with none. A token of another type is refused,
/// and so is an ID token, which has no type of its own and is known by its claims.
#[tokio::test]
async fn only_access_tokens_let_in() {
    let rsa = Signer::rsa("r1", RSA);
    let served = Served::new(vec![rsa.public()]).await;
    let issuer = served.issuer();
    issuer.fetch().await;
    let (access, id) = (served.claims(json!({})), served.claims(json!({"at_hash": "x"})));
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT", "JWT"] {
        assert!(issuer.caller(&rsa.token_of(json!({"typ": typ}), &access)).is_ok(), "{typ}");
    }
    assert!(issuer.caller(&rsa.token_of(json!({}), &access)).is_ok());
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", ""] {
        let refused = issuer.caller(&rsa.token_of(json!({"typ": typ}), &access));
        assert_eq!(refused, Err(Refusal::UnknownToken), "{typ}");
    }
    for head in [json!({}), json!({"typ": "JWT"})] {
        assert_eq!(issuer.caller(&rsa.token_of(head, &id)), Err(Refusal::UnknownToken));
        let nonce = served.claims(json!({"nonce": "x"}));
        assert_eq!(issuer.caller(&rsa.token_of(json!({}), &nonce)), Err(Refusal::UnknownToken));
    }
}

/// A token with a key that is not known makes the keys be fetched again, but not more often than they may be; the key that
/// went lets in nobody any more.
#[tokio::test]
async fn new_keys_are_fetched_when_they_are_needed() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let served = Served::new(vec![old.public()]).await;
    let issuer = Arc::new(served.issuer());
    issuer.fetch().await;
    *served.keys.lock().unwrap() = vec![new.public()];
    let token = new.token(&served.claims(json!({})));
    assert!(issuer.tried.lock().await.is_some());
    for _ in 0..20 {
        // However long those before took, the last attempt was a moment ago.
        *issuer.tried.lock().await = Some(Instant::now());
        issuer.look_up(&token).await;
    }
    assert_eq!(issuer.caller(&token), Err(Refusal::UnknownToken));
    assert_eq!(served.asked.load(Ordering::Relaxed), 1);
    // As if the time until the next attempt had gone by.
    *issuer.tried.lock().await = None;
    issuer.look_up(&token).await;
    assert!(issuer.caller(&token).is_ok());
    assert_eq!(issuer.caller(&old.token(&served.claims(json!({})))), Err(Refusal::UnknownToken));
    assert_eq!(served.asked.load(Ordering::Relaxed), 2);
}

/// Metadata stands where RFC 8414 has it, too; that of another issuer counts for nothing, and neither do keys that would
/// come in clear over the network.
#[tokio::test]
async fn metadata_is_that_of_the_issuer() {
    let key = Signer::ec("e1");
    let served = Served::under("/.well-known/oauth-authorization-server", vec![key.public()]).await;
    let issuer = served.issuer();
    issuer.fetch().await;
    assert!(issuer.caller(&key.token(&served.claims(json!({})))).is_ok());
    let mut options = issuer.options.clone();
    options.issuer.push('/');
    let other = Issuer::new(options.clone());
    other.fetch().await;
    assert!(other.is_without_keys());
    options.issuer = String::from("http://issuer.example.com");
    assert!(matches!(Issuer::new(options).fetched().await, Err(FetchError::InClear(_))));
}
