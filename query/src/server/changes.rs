//! What others report of flags, configuration and deployments: the server finds out who reports, and hands it on.
//!
//! The server itself writes nothing but `audit` and what people record; changes go into the topics that the workers
//! read. Who starts it gives a [`ChangeIntake`] that knows the formats, the webhooks and Kafka.

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderMap;
use futures::future::BoxFuture;

/// A request that reports changes. Its `Debug` form shows neither the headers, in which secrets are, nor the body.
#[derive(Clone)]
pub struct Delivery {
    /// The name of a webhook of the configuration, or of a format; without one the body tells.
    pub from: Option<String>,
    /// The headers: signatures, ids, attributes of a CloudEvent.
    pub headers: HeaderMap,
    /// The body as it came, over which signatures are.
    pub body: Bytes,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("from", &self.from).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Records that are in their topics, acknowledged.
    pub records: usize,
    /// Whether the same delivery was taken before, so that nothing was written.
    pub repeated: bool,
    /// Why it says nothing about flags or builds, if so: a ping, a deployment that has not ended.
    pub passed_over: Option<String>,
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    /// The signature, or the secret in a header, is not that of the webhook.
    #[error("{0}")]
    Forged(String),
    /// The body is no JSON.
    #[error("{0}")]
    Malformed(String),
    /// The body is JSON that nobody here understands.
    #[error("{0}")]
    Unknown(String),
    /// The same delivery is being written at this moment.
    #[error("the same delivery is being written; its answer is under way")]
    UnderWay,
    /// It is larger than what can be written.
    #[error("{0}")]
    TooLarge(String),
    /// It cannot be written now.
    #[error("{0}")]
    Unavailable(String),
}

/// What takes changes.
pub trait ChangeIntake: fmt::Debug + Send + Sync {
    /// The tenant of a webhook; `None` if no webhook has this name. Whoever names one needs no token, and has to sign.
    fn webhook(&self, name: &str) -> Option<Arc<str>>;

    /// That a request is signed by the webhook that it names.
    ///
    /// # Errors
    /// [`ChangeRefusal::Forged`].
    fn verify(&self, name: &str, delivery: &Delivery) -> Result<(), ChangeRefusal>;

    /// Writes what a request reports, as the tenant's, and waits until it is acknowledged.
    ///
    /// # Errors
    /// See [`ChangeRefusal`].
    fn take<'a>(&'a self, tenant: &'a str, delivery: &'a Delivery) -> BoxFuture<'a, Result<Taken, ChangeRefusal>>;
}
