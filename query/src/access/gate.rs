//! The gate through which every interface goes.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracerag_index::Lake;

use super::audit::{Audit, Visit};
use super::caller::{Caller, Refusal, Scope};
use super::issuer::{self, Issuer, IssuerOptions};
use super::limits::Limits;
use super::refused::{Refused, Remote};
use super::token_file::TokenFile;
use super::turns::{Admission, TimedTurn, Turn};

/// What masks personal data and secrets in a text that a client sent.
pub type Mask = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Who those are that show no token, where none is needed.
const ANYONE: &str = "local";
/// What they may do: everything but what belongs to whoever runs the server.
const ANYONE_MAY: [Scope; 5] = [Scope::Sql, Scope::Read, Scope::Similar, Scope::Heap, Scope::Write];

/// How a gate lets in.
pub struct GateOptions {
    /// The tokens; without them and an issuer everybody comes in who reaches the server, as the tenant below.
    pub tokens_file: Option<PathBuf>,
    /// Whose access tokens are taken besides.
    pub issuer: Option<IssuerOptions>,
    /// The tenant of those without a token, and of the rows about those who are not let in.
    pub tenant: String,
    /// What a query and a tenant may have.
    pub limits: Limits,
    /// What masks the texts that are written down.
    pub mask: Mask,
}

impl GateOptions {
    /// Whether nobody needs a token.
    pub fn is_open(&self) -> bool {
        self.tokens_file.is_none() && self.issuer.is_none()
    }
}

impl std::fmt::Debug for GateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GateOptions")
            .field("tokens_file", &self.tokens_file)
            .field("issuer", &self.issuer)
            .field("tenant", &self.tenant)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Turns what a client shows into a caller, gives callers their turn, and writes down what they do.
pub struct Gate {
    tokens: Option<TokenFile>,
    issuer: Option<Arc<Issuer>>,
    /// Fetches the issuer's keys, and writes down who was refused, until the gate is gone.
    _beside: JoinSet<()>,
    anyone: Caller,
    admission: Admission,
    audit: Arc<Audit>,
    refused: Arc<Refused>,
    mask: Mask,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("tokens", &self.tokens).field("admission", &self.admission).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate to a lake. It needs a Tokio runtime, on which it writes `audit`.
    pub fn open(lake: Lake, options: GateOptions) -> Self {
        let anyone = Caller {
            tenant: options.tenant.into(),
            principal: ANYONE.into(),
            scopes: ANYONE_MAY.into_iter().collect(),
        };
        let audit = Audit::start(lake);
        let issuer = options.issuer.map(|options| Arc::new(Issuer::new(options)));
        let refused = Arc::new(Refused::new(Arc::clone(&audit), Arc::clone(&anyone.tenant)));
        let mut beside = JoinSet::new();
        let counted = Arc::clone(&refused);
        beside.spawn(async move { counted.tell_in_time().await });
        if let Some(issuer) = issuer.clone() {
            beside.spawn(keep_keys(issuer));
        }
        Self {
            tokens: options.tokens_file.map(TokenFile::at),
            issuer,
            _beside: beside,
            refused,
            anyone,
            admission: Admission::new(options.limits),
            audit,
            mask: options.mask,
        }
    }

    /// Whether nobody needs a token.
    pub fn is_open(&self) -> bool {
        self.tokens.is_none() && self.issuer.is_none()
    }

    /// What a query and a tenant may have.
    pub fn limits(&self) -> &Limits {
        self.admission.limits()
    }

    /// Who it is that shows this secret, or none. A token whose issuer may have new keys waits until these are fetched.
    ///
    /// # Errors
    /// As [`Gate::caller`]; they are written down.
    pub async fn let_in(&self, secret: Option<&str>, remote: Remote) -> Result<Caller, Refusal> {
        if let (Some(issuer), Some(secret)) = (&self.issuer, secret)
            && Issuer::may_be_of_one(secret)
        {
            issuer.look_up(secret).await;
        }
        self.caller_from(secret, remote)
    }

    /// The same by what is known already, without waiting.
    ///
    /// # Errors
    /// As [`Gate::caller`]; they are written down.
    pub fn caller_from(&self, secret: Option<&str>, remote: Remote) -> Result<Caller, Refusal> {
        self.caller(secret).inspect_err(|refusal| {
            if refusal.is_of_a_stranger() {
                self.refused.note(remote, refusal.code());
            }
        })
    }

    /// The same for who did not come over a network. A refusal is counted, and not written down.
    ///
    /// # Errors
    /// A [`Refusal`] for who shows none although one is needed, or one that does not hold; for everybody while the
    /// tokens cannot be read or `audit` not be written.
    pub fn caller(&self, secret: Option<&str>) -> Result<Caller, Refusal> {
        let caller = self.audit.keeps_up().and_then(|()| match (&self.tokens, &self.issuer, secret) {
            (None, None, _) => Ok(self.anyone.clone()),
            (_, _, None) => Err(Refusal::NoToken),
            (_, Some(issuer), Some(secret)) if Issuer::may_be_of_one(secret) => issuer.caller(secret),
            (Some(tokens), _, Some(secret)) => tokens.caller(secret),
            (None, Some(_), Some(_)) => Err(Refusal::UnknownToken),
        });
        if let Err(refusal) = &caller {
            metrics::counter!("tracerag_refused_callers_total", "reason" => refusal.code()).increment(1);
        }
        caller
    }

    /// Counts and writes down that somebody was refused for what an interface found out itself, by its short name.
    pub fn refuse(&self, remote: Remote, reason: &'static str) {
        metrics::counter!("tracerag_refused_callers_total", "reason" => reason).increment(1);
        self.refused.note(remote, reason);
    }

    /// Who a webhook is that signs what it sends: it may write, and nothing else.
    ///
    /// # Errors
    /// While `audit` cannot be written.
    pub fn webhook(&self, tenant: &Arc<str>, name: &str) -> Result<Caller, Refusal> {
        self.audit.keeps_up()?;
        Ok(Caller {
            tenant: Arc::clone(tenant),
            principal: format!("webhook:{name}").into(),
            scopes: [Scope::Write].into_iter().collect(),
        })
    }

    /// Begins to write down what a caller does.
    pub fn visit(&self, caller: &Caller, interface: &'static str, operation: &'static str, arguments: &str) -> Visit {
        Visit::begin(&self.audit, &self.mask, caller, interface, operation, arguments)
    }

    /// A turn to run a query; it lasts until the last hold on it is dropped. Whatever computes for the query has to
    /// have one, see [`crate::Session::holding`].
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub async fn turn(&self, caller: &Caller) -> Result<Arc<Turn>, Refusal> {
        self.admission.turn(&caller.tenant).await.map(Arc::new)
    }

    /// A hold on a turn for as long as a query may take from now on, whether or not its answer is read.
    pub fn timed(&self, turn: Arc<Turn>) -> TimedTurn {
        TimedTurn::new(turn, Instant::now() + self.limits().time)
    }

    /// A text without personal data and secrets.
    pub fn masked(&self, text: &str) -> String {
        (self.mask)(text)
    }

    /// Writes down everything that has ended. Visits that end later are lost but for the log.
    pub async fn close(&self) {
        self.refused.close();
        self.audit.stop().await;
    }
}

/// Fetches the keys of an issuer, again and again.
async fn keep_keys(issuer: Arc<Issuer>) {
    loop {
        issuer.fetch().await;
        let pause = if issuer.is_without_keys() { issuer::AGAIN_AFTER } else { issuer::FETCH_EVERY };
        tokio::time::sleep(pause).await;
    }
}
