//! Signed tokens: the compact form of RFC 7515, with claims of RFC 7519 and keys of RFC 7517.
//!
//! Only what cannot be made with what everybody may know is a signature here: RS256 and ES256, no shared secrets and
//! no `none`.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Seconds by which the clock of who signs may differ.
const LEEWAY: u64 = 60;
/// Types of access tokens: that of RFC 9068, and what issuers write who came before it. Media types may leave out
/// `application/` (RFC 7515, section 4.1.9).
const ACCESS_TOKEN: &str = "at+jwt";
const ANY_TOKEN: &str = "jwt";
/// Claims that ID tokens have by OpenID Connect, and access tokens have not.
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];
/// Bytes of a coordinate on P-256.
const COORDINATE: usize = 32;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Algorithm {
    /// RSA by PKCS#1 version 1.5, with SHA-256.
    RS256,
    /// ECDSA on P-256, with SHA-256.
    ES256,
}

/// What a token says of its signature.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: Algorithm,
    pub(super) kid: Option<String>,
    /// What it is a token for.
    typ: Option<String>,
    /// What has to be understood of the header. Nothing of that kind is.
    crit: Option<Value>,
}

impl Header {
    /// The type in lower case, without what it may leave out.
    fn kind(&self) -> Option<String> {
        let kind = self.typ.as_deref()?.to_ascii_lowercase();
        Some(kind.strip_prefix("application/").map(str::to_owned).unwrap_or(kind))
    }
}

/// A token, whose signature was not looked at.
pub(super) struct Unverified<'a> {
    pub(super) header: Header,
    claims: &'a str,
    signed: &'a str,
    signature: Vec<u8>,
}

/// What the claims of a token have to be.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    /// One of these is enough.
    pub(super) audiences: &'a [String],
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// What is wrong with its form, in words.
    pub(super) fn parse(token: &'a str) -> Result<Self, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("it is no token of three parts")?;
        let (header, claims) = signed.split_once('.').ok_or("it is no token of three parts")?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| "its header is no base64url")?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| "it is signed with another algorithm than RS256 and ES256")?;
        if header.crit.is_some() {
            return Err("its header has to be understood, and is not");
        }
        if !matches!(header.kind().as_deref(), None | Some(ACCESS_TOKEN | ANY_TOKEN)) {
            return Err("it is a token for something else than access");
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature is no base64url")?;
        Ok(Self { header, claims, signed, signature })
    }

    /// The claims, if the key has signed them and they are what is expected now.
    ///
    /// # Errors
    /// What is not so, in words.
    pub(super) fn verify(&self, key: &PublicKey, expected: &Expected<'_>) -> Result<Map<String, Value>, &'static str> {
        if !key.has_signed(self.signed.as_bytes(), &self.signature) {
            return Err("its signature is wrong");
        }
        let claims = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| "its claims are no base64url")?;
        let claims: Map<String, Value> = serde_json::from_slice(&claims).map_err(|_| "its claims are no object")?;
        expected.check(&claims, now())?;
        let may_be_id_token = self.header.kind().as_deref() != Some(ACCESS_TOKEN);
        if may_be_id_token && OF_ID_TOKENS.iter().any(|name| claims.contains_key(*name)) {
            return Err("it is an ID token, which says who has logged in and lets in nobody");
        }
        Ok(claims)
    }
}

impl Expected<'_> {
    fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<(), &'static str> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer) {
            return Err("it is of another issuer");
        }
        let is_ours = |value: &Value| value.as_str().is_some_and(|name| self.audiences.iter().any(|ours| ours == name));
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if !is_for_us {
            return Err("it is for somebody else");
        }
        // A NumericDate may have a fraction (RFC 7519, section 2).
        let at = |name: &str| claims.get(name).map(|value| value.as_f64().filter(|at| at.is_finite()));
        let (earliest, latest) = (now.saturating_sub(LEEWAY) as f64, now.saturating_add(LEEWAY) as f64);
        match at("exp") {
            Some(Some(end)) if end > earliest => {}
            _ => return Err("it has expired, or says not when it will"),
        }
        match at("nbf") {
            None => Ok(()),
            Some(Some(begin)) if begin <= latest => Ok(()),
            Some(_) => Err("it holds later only"),
        }
    }
}

/// A public key that signs tokens.
#[derive(Debug, Clone)]
pub(super) enum PublicKey {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// A point on P-256, uncompressed.
    P256(Vec<u8>),
}

/// A key as a set has it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl PublicKey {
    /// A key of a set with its id, if it is one that signs in a way that is accepted.
    pub(super) fn of_set(value: &Value) -> Option<(Option<String>, Self)> {
        let jwk = Jwk::deserialize(value).ok()?;
        let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Self::Rsa(RsaPublicKeyComponents { n: number(&jwk.n)?, e: number(&jwk.e)? }),
            ("EC", Some("P-256")) => {
                let (x, y) = (number(&jwk.x)?, number(&jwk.y)?);
                if x.len() != COORDINATE || y.len() != COORDINATE {
                    return None;
                }
                Self::P256([[4].as_slice(), &x, &y].concat())
            }
            _ => return None,
        };
        let signs = jwk.usage.is_none_or(|usage| usage == "sig");
        let is_named_so = jwk.alg.is_none_or(|name| name == format!("{:?}", key.algorithm()));
        (signs && is_named_so).then_some((jwk.kid, key))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::RS256,
            Self::P256(_) => Algorithm::ES256,
        }
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
        }
        .is_ok()
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
