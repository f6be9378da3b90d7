//! Who asks, and what they may do.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a token permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// SQL.
    Sql,
    /// Bundles, traces, incidents, status.
    Read,
    /// Similar incidents.
    Similar,
    /// Heap summaries, wherever they stand.
    Heap,
    /// Recording fixes, pinning bundles, reporting changes.
    Write,
    /// What only who runs the server should see: bytes of dead letters as they came, `audit`, the partitions.
    Admin,
}

/// Several scopes.
pub type Scopes = BTreeSet<Scope>;

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] = [Self::Sql, Self::Read, Self::Similar, Self::Heap, Self::Write, Self::Admin];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Read => "read",
            Self::Similar => "similar",
            Self::Heap => "heap",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| format!("{text:?} is no scope; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Somebody whom the gate knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose rows they see.
    pub tenant: Arc<str>,
    /// Who they are in `audit`: the token's id and name.
    pub principal: Arc<str>,
    /// What they may do.
    pub scopes: Scopes,
}

impl Caller {
    /// Whether they may.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// That they may.
    ///
    /// # Errors
    /// [`Refusal::Scope`].
    pub fn require(&self, scope: Scope) -> Result<(), Refusal> {
        if self.may(scope) { Ok(()) } else { Err(Refusal::Scope { scope: scope.name() }) }
    }
}

/// Why somebody does not come in, or not now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was shown.
    #[error("a token is needed; whoever runs this server makes one with `tracerag token create`")]
    NoToken,
    /// The token is unknown, revoked or expired: which of these is told to nobody.
    #[error("this token does not hold, or no longer; ask whoever runs this server for another")]
    UnknownToken,
    /// The token does not permit that.
    #[error("this token lacks the scope {scope}; ask whoever runs this server for one that has it")]
    Scope {
        /// The scope.
        scope: &'static str,
    },
    /// Too many queries of the tenant run and wait.
    #[error("your tenant has as many queries as may run and wait at once; ask again in {retry_after} s")]
    Busy {
        /// Seconds.
        retry_after: u64,
    },
    /// The file of tokens cannot be read.
    #[error("the server cannot read its tokens and lets nobody in; its log says why")]
    NoTokens,
    /// No keys of the issuer are known, so its tokens cannot be told from others.
    #[error("the server could not fetch the keys of its issuer and takes none of its tokens; its log says why")]
    NoKeys,
    /// What is done cannot be written down.
    #[error("the server cannot write down who asks, so it answers nobody; its log says why")]
    NoAudit,
}

impl Refusal {
    /// Whether nobody knows who it was. That a caller who is known may not do something is a visit of theirs, and while
    /// `audit` is behind nothing is written that need not be.
    pub(super) fn is_of_a_stranger(&self) -> bool {
        match self {
            Self::NoToken | Self::UnknownToken | Self::NoTokens | Self::NoKeys => true,
            Self::Scope { .. } | Self::Busy { .. } | Self::NoAudit => false,
        }
    }

    /// The short name that interfaces and `audit` give it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoToken => "token-missing",
            Self::UnknownToken => "token-unknown",
            Self::Scope { .. } => "scope-missing",
            Self::Busy { .. } => "busy",
            Self::NoTokens => "tokens-unreadable",
            Self::NoKeys => "issuer-unreachable",
            Self::NoAudit => "audit-behind",
        }
    }
}
