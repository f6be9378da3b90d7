//! Sealed handles: what a server would have to remember of a client between its requests, the client carries itself, and
//! every server of the lake can take it up again. A client can neither read nor change it, and in the hands of
//! another caller it opens nothing.
//!
//! A handle is a random id and behind it the text, encrypted and authenticated (AES-256-GCM) together with what it is and
//! whose. The key is made of the lake's [secret] and the id, so no key is used for two texts and the nonce need not differ.
//! Who can read the lake's files can open and make handles; that adds nothing to reading all rows of all tenants, and a
//! handle alone is no permission: each request shows its token.

use bytes::Bytes;
use futures::FutureExt as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use tokio::sync::OnceCell;
use tracerag_index::Lake;

use crate::access::Caller;
use crate::error::Result;
use crate::secret;
use crate::server::sessions::in_time;

/// Bytes of an id.
const ID: usize = 16;
/// Bytes of a text that is carried. Handles travel in messages beside others, of which some clients take 4 MiB.
pub(super) const MOST_CARRIED: usize = 256 << 10;

/// What a handle is for: one of a kind opens nothing as another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// For the rows of a statement.
    Ticket,
    /// Of a prepared statement.
    Prepared,
}

/// Closes and opens handles.
pub(super) struct Seal {
    lake: Lake,
    /// There once it was needed.
    secret: OnceCell<hmac::Key>,
}

impl Seal {
    /// With the secret of a lake, which is read when it is needed.
    pub(super) fn new(lake: Lake) -> Self {
        Self { lake, secret: OnceCell::new() }
    }

    /// A handle that carries a text for a caller. `None`: the text is longer than [`MOST_CARRIED`].
    ///
    /// # Errors
    /// When the lake's secret can neither be read nor made, or not in time.
    pub(super) async fn close(&self, kind: Kind, caller: &Caller, text: &[u8]) -> Result<Option<Bytes>> {
        if text.len() > MOST_CARRIED {
            return Ok(None);
        }
        let id: [u8; ID] = rand::random();
        let mut sealed = text.to_vec();
        let key = self.key(&id).await?;
        let whole = key.and_then(|key| key.seal_in_place_append_tag(nonce(), owner(kind, caller), &mut sealed).ok());
        Ok(whole.map(|()| [&id[..], &sealed[..]].concat().into()))
    }

    /// The text that a handle carries. `None`: it is no handle of this kind and this caller.
    ///
    /// # Errors
    /// As [`Seal::close`].
    pub(super) async fn open(&self, kind: Kind, caller: &Caller, handle: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some((id, sealed)) = handle.split_at_checked(ID).filter(|(_, sealed)| !sealed.is_empty()) else {
            return Ok(None);
        };
        let mut text = sealed.to_vec();
        let key = self.key(id).await?;
        let length = key.and_then(|key| Some(key.open_in_place(nonce(), owner(kind, caller), &mut text).ok()?.len()));
        Ok(length.map(|length| {
            text.truncate(length);
            text
        }))
    }

    /// The key of the one handle that has this id.
    async fn key(&self, id: &[u8]) -> Result<Option<LessSafeKey>> {
        let secret = in_time(self.secret.get_or_try_init(|| secret::of(&self.lake).boxed())).await?;
        let key = UnboundKey::new(&AES_256_GCM, hmac::sign(secret, id).as_ref());
        Ok(key.ok().map(LessSafeKey::new))
    }
}

/// The id of a handle: what is kept beside it on one server is kept under this. What is kept only there has no more than
/// an id for a handle.
pub(super) fn id(handle: &[u8]) -> &[u8] {
    handle.get(..ID).unwrap_or(handle)
}

/// Each key is used once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// What is authenticated with the text: its kind, and whose it is. Each part has its length before it, so that no two
/// owners are one text.
fn owner(kind: Kind, caller: &Caller) -> Aad<Vec<u8>> {
    let kind = match kind {
        Kind::Ticket => "ticket",
        Kind::Prepared => "prepared",
    };
    let mut owner = Vec::new();
    for part in [kind, &*caller.tenant, &*caller.principal] {
        owner.extend_from_slice(&(part.len() as u64).to_le_bytes());
        owner.extend_from_slice(part.as_bytes());
    }
    Aad::from(owner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tests::lake::TestLake;

    fn caller(tenant: &str, principal: &str) -> Caller {
        Caller { tenant: tenant.into(), principal: principal.into(), scopes: [].into_iter().collect() }
    }

    /// A handle that one server has closed is opened by another one of the lake, for its caller and as what it is. For
    /// another tenant, another principal, another kind or by a server of another lake it opens nothing, even where the
    /// names run together to the same text.
    #[tokio::test]
    async fn a_handle_is_good_at_every_server_of_its_lake() {
        let (lake, foreign) = (TestLake::example(false, 10_000).await, TestLake::example(false, 10_000).await);
        let (one, other) = (Seal::new(lake.lake.clone()), Seal::new(lake.lake.clone()));
        let owner = caller("acme", "somebody");
        let handle = one.close(Kind::Ticket, &owner, b"select 1").await.unwrap().unwrap();
        assert_eq!(other.open(Kind::Ticket, &owner, &handle).await.unwrap().as_deref(), Some(&b"select 1"[..]));
        assert!(!handle.windows(6).any(|part| part == b"select"), "it can be read");
        for wrong in [caller("other", "somebody"), caller("acme", "nobody"), caller("acmes", "omebody")] {
            assert_eq!(other.open(Kind::Ticket, &wrong, &handle).await.unwrap(), None, "{wrong:?}");
        }
        assert_eq!(other.open(Kind::Prepared, &owner, &handle).await.unwrap(), None);
        assert_eq!(Seal::new(foreign.lake.clone()).open(Kind::Ticket, &owner, &handle).await.unwrap(), None);
    }

    /// A handle of which any one byte is another, that is cut or has more behind it opens nothing, and a text that is too
    /// long is not carried.
    #[tokio::test]
    async fn a_handle_cannot_be_changed() {
        let lake = TestLake::example(false, 10_000).await;
        let (seal, owner) = (Seal::new(lake.lake.clone()), caller("acme", "somebody"));
        let handle = seal.close(Kind::Ticket, &owner, b"select 1").await.unwrap().unwrap().to_vec();
        for place in 0..handle.len() {
            let mut changed = handle.clone();
            changed[place] ^= 1;
            assert_eq!(seal.open(Kind::Ticket, &owner, &changed).await.unwrap(), None, "byte {place}");
            assert_eq!(seal.open(Kind::Ticket, &owner, &handle[..place]).await.unwrap(), None, "{place} bytes");
        }
        let longer = [&handle[..], &[0]].concat();
        assert_eq!(seal.open(Kind::Ticket, &owner, &longer).await.unwrap(), None);
        assert!(seal.close(Kind::Ticket, &owner, &vec![0; MOST_CARRIED]).await.unwrap().is_some());
        assert!(seal.close(Kind::Ticket, &owner, &vec![0; MOST_CARRIED + 1]).await.unwrap().is_none());
    }

    /// Servers that start at once on a lake without a secret agree on one.
    #[tokio::test]
    async fn servers_agree_on_a_secret() {
        let lake = TestLake::example(false, 10_000).await;
        let owner = caller("acme", "somebody");
        let seals: Vec<Seal> = (0..8).map(|_| Seal::new(lake.lake.clone())).collect();
        let closing = seals.iter().map(|seal| seal.close(Kind::Ticket, &owner, b"select 1"));
        for handle in futures::future::join_all(closing).await {
            let handle = handle.unwrap().unwrap();
            for seal in &seals {
                assert!(seal.open(Kind::Ticket, &owner, &handle).await.unwrap().is_some());
            }
        }
    }
}
