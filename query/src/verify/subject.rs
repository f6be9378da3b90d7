//! The bundle that claims are about, and whether it counts: intact, of a known schema, and vouched for.

use serde_json::Value;
use tracerag_schemas::bundle::{Bundle, content_id};
use tracerag_schemas::version::BUNDLE_SCHEMA;

use super::beyond::Beyond;
use super::reason::Reason;
use super::signature::is_valid;
use super::unique::Unique;

/// A bundle that claims are verified against, or why there is none that counts.
#[derive(Debug)]
pub struct Subject {
    pub(super) bundle_id: Option<String>,
    pub(super) bundle: Result<Bundle, Reason>,
    /// Whether what stands outside the hash is vouched for, too: it is where the bundle comes from the lake.
    pub(super) with_context: bool,
    /// Whether who asks may not see heap summaries.
    pub(super) withholds_heaps: bool,
    /// What the lake knows beyond the bundle, once it was asked.
    pub(super) beyond: Option<Beyond>,
}

impl Subject {
    /// A bundle that the lake has stored.
    pub fn known(bundle: Bundle) -> Self {
        Self {
            bundle_id: Some(bundle.bundle_id.clone()),
            bundle: intact(bundle),
            with_context: true,
            withholds_heaps: false,
            beyond: None,
        }
    }

    /// A bundle out of a file. It counts if its signature is one by `trusted` public keys, in hex; else it is
    /// unattested until the lake is found to have it: see [`Self::stored_as`].
    pub fn of_file(text: &str, trusted: &[String]) -> Self {
        let (bundle_id, bundle) = match read(text) {
            Ok(bundle) => (Some(bundle.bundle_id.clone()), intact(bundle)),
            Err(reason) => (None, Err(reason)),
        };
        let attested = |bundle: Bundle| match &bundle.signature {
            Some(signature) if is_valid(signature, &bundle.bundle_id, trusted) => Ok(bundle),
            Some(_) => Err(Reason::Unattested(String::from(
                "the lake does not know the bundle, and its signature is not one by a key of signing.public_keys",
            ))),
            None => Err(Reason::Unattested(String::from(
                "the lake does not know the bundle, and it has no signature; name the lake that handed it out",
            ))),
        };
        Self { bundle_id, bundle: bundle.and_then(attested), with_context: false, withholds_heaps: false, beyond: None }
    }

    /// The bundle's id; none where the file is no intact bundle of a known schema.
    pub fn bundle_id(&self) -> Option<&str> {
        self.bundle_id.as_deref()
    }

    /// Whether the bundle is intact and vouched for.
    pub fn counts(&self) -> bool {
        self.bundle.is_ok()
    }

    /// The bundle, if it is intact and vouched for.
    ///
    /// # Errors
    /// The reason for which claims about it would be rejected.
    pub fn bundle(&self) -> Result<&Bundle, &Reason> {
        self.bundle.as_ref()
    }

    /// The id under which the lake may have the bundle; none where the file is no intact bundle.
    pub fn id_to_look_up(&self) -> Option<&str> {
        match self.bundle {
            Ok(_) | Err(Reason::Unattested(_)) => self.bundle_id.as_deref(),
            Err(_) => None,
        }
    }

    /// What the lake has stored under [`Self::id_to_look_up`] takes the file's place.
    #[must_use]
    pub fn stored_as(self, stored: Bundle) -> Self {
        if self.id_to_look_up() == Some(stored.bundle_id.as_str()) { Self::known(stored) } else { self }
    }
}

fn read(text: &str) -> Result<Bundle, Reason> {
    let no_bundle = |error| Reason::Integrity(format!("the file is no bundle: {error}; `tracerag bundle` prints one"));
    serde_json::from_str::<Unique>(text).map_err(no_bundle)?;
    let value: Value = serde_json::from_str(text).map_err(no_bundle)?;
    let schema = value.pointer("/evidence/schema").and_then(Value::as_str).unwrap_or_default();
    if schema != BUNDLE_SCHEMA {
        return Err(Reason::Integrity(format!("the schema {schema:?} is unknown; this release reads {BUNDLE_SCHEMA}")));
    }
    let id = content_id(value.get("evidence").unwrap_or(&Value::Null)).unwrap_or_default();
    if value.get("bundle_id").and_then(Value::as_str) != Some(id.as_str()) {
        return Err(Reason::Integrity(format!("the evidence has the id {id}, which is not that of the bundle")));
    }
    serde_json::from_value(value).map_err(|error| Reason::Integrity(format!("the file is no bundle: {error}")))
}

/// A bundle whose id is that of what this release knows of its evidence.
fn intact(bundle: Bundle) -> Result<Bundle, Reason> {
    if bundle.evidence.schema != BUNDLE_SCHEMA {
        let schema = &bundle.evidence.schema;
        return Err(Reason::Integrity(format!("the schema {schema:?} is unknown; this release reads {BUNDLE_SCHEMA}")));
    }
    match bundle.is_intact() {
        true => Ok(bundle),
        false => Err(Reason::Integrity(String::from(
            "the id is not that of the evidence, as far as this release knows its members",
        ))),
    }
}
