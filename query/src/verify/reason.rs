//! Why a claim is rejected.

use std::fmt;

/// A reason. Each begins with the check that failed; `docs/agents.md` says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The bundle is not what its id says, of an unknown schema, or not the one that the claims are about.
    Integrity(String),
    /// Nobody vouches for the bundle.
    Unattested(String),
    /// The claims cannot be read.
    Claims(String),
    /// An anchor, a service or a key that the bundle does not have.
    Existence(String),
    /// Another tenant, trace or time.
    Scope(String),
    /// A quote that does not stand there.
    Quote(String),
    /// What redaction has masked cannot be quoted or compared.
    Redacted(String),
    /// A predicate that cannot be read, or does not hold.
    Predicate(String),
    /// A path or an order that does not lie in parents, links and times, or for which no predicate speaks.
    Causality(String),
    /// No anchor.
    Coverage(String),
    /// Neither a quote nor a predicate that holds.
    Unsupported(String),
    /// The text names what is in nothing that the claim points to.
    Names(String),
    /// The text says something else than its own predicates.
    Contradiction(String),
}

impl Reason {
    /// The name of the check, and what it found.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Integrity(text) => ("integrity", text),
            Self::Unattested(text) => ("unattested", text),
            Self::Claims(text) => ("claims", text),
            Self::Existence(text) => ("existence", text),
            Self::Scope(text) => ("scope", text),
            Self::Quote(text) => ("quote", text),
            Self::Redacted(text) => ("redacted", text),
            Self::Predicate(text) => ("predicate", text),
            Self::Causality(text) => ("causality", text),
            Self::Coverage(text) => ("coverage", text),
            Self::Unsupported(text) => ("unsupported", text),
            Self::Names(text) => ("names", text),
            Self::Contradiction(text) => ("contradiction", text),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (check, text) = self.parts();
        write!(f, "{check}: {text}")
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let shown = <String as serde::Deserialize>::deserialize(deserializer)?;
        let (check, text) = shown.split_once(": ").unwrap_or((shown.as_str(), ""));
        let every: [fn(String) -> Self; 13] = [
            Self::Integrity,
            Self::Unattested,
            Self::Claims,
            Self::Existence,
            Self::Scope,
            Self::Quote,
            Self::Redacted,
            Self::Predicate,
            Self::Causality,
            Self::Coverage,
            Self::Unsupported,
            Self::Names,
            Self::Contradiction,
        ];
        let found = every.iter().map(|reason| reason(text.to_owned())).find(|reason| reason.parts().0 == check);
        found.ok_or_else(|| serde::de::Error::custom(format!("the check {check:?} is unknown to this release")))
    }
}
