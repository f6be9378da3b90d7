//! Which key of the redaction stands behind the tokens of a lake.
//!
//! Identifiers are stored as tokens (`hmac:<key id>:...`), so a worker with another key would tear one person in two
//! without a word. The ids of a lake's keys stand in the metadata of its journal, the current one last. A writer compares
//! them at its first claim and before each record, where it has the newest journal at hand; a change of the key ends with
//! a barrier, behind which no record of a writer lands that has not seen it.

use lance::Dataset;
use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Result};
use crate::journal::fence;
use crate::journal::log::JOURNAL;
use crate::journal::now;
use crate::lake::Lake;

/// Key of the journal's metadata: a JSON list.
const KEYS: &str = "tracerag.redaction_keys";

/// A key under which tokens of a lake were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedactionKey {
    /// Its id, as tokens name it.
    pub id: String,
    /// Since when it is the lake's, in ns by the clock of the worker that brought it.
    pub since: i64,
}

impl Lake {
    /// The keys under which tokens of this lake were made, the current one last; none where no worker said one yet.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn redaction_keys(&self) -> Result<Vec<RedactionKey>> {
        let journal = self.newest(JOURNAL).await?;
        stored(&journal)
    }
}

fn stored(journal: &Dataset) -> Result<Vec<RedactionKey>> {
    let Some(text) = journal.metadata().get(KEYS) else { return Ok(vec![]) };
    serde_json::from_str(text).map_err(|error| Error::Damaged {
        position: 0,
        detail: format!("its metadata {KEYS} cannot be read ({error})"),
    })
}

/// What a writer makes its tokens with.
#[derive(Debug, Clone)]
pub(crate) struct OwnKey {
    pub(crate) id: String,
    /// Keys that this one may take the place of.
    pub(crate) previous: Vec<String>,
}

impl OwnKey {
    /// That a version of the journal names no other key.
    pub(crate) fn check(&self, journal: &Dataset) -> Result<()> {
        match stored(journal)?.pop() {
            Some(current) if current.id != self.id => Err(self.is_another(current)),
            _ => Ok(()),
        }
    }

    /// Makes this the lake's key, where it has none or one that this one may take the place of.
    pub(crate) async fn adopt(&self, lake: &Lake) -> Result<()> {
        for attempt in 0..fence::ATTEMPTS {
            let journal = lake.newest(JOURNAL).await?;
            let mut keys = stored(&journal)?;
            let is_change = match keys.last() {
                Some(current) if current.id == self.id => return Ok(()),
                Some(current) if !self.previous.contains(&current.id) => return Err(self.is_another(current.clone())),
                current => current.is_some(),
            };
            keys.push(RedactionKey { id: self.id.clone(), since: now() });
            let text = serde_json::to_string(&keys)
                .map_err(|error| Error::Damaged { position: 0, detail: format!("the redaction keys: {error}") })?;
            let mut named = (*journal).clone();
            match named.update_metadata([(KEYS, text.as_str())]).await {
                Ok(_) => {}
                // Of two workers that name a key at once, the second one is told that the two do not go together.
                Err(error)
                    if fence::is_lost(&error) || matches!(error, lance::Error::IncompatibleTransaction { .. }) =>
                {
                    fence::back_off(attempt).await;
                    continue;
                }
                Err(error) => return Err(error).at(JOURNAL, "naming the redaction key"),
            }
            let named = lake.remember(JOURNAL, named);
            if is_change {
                lake.barrier(JOURNAL, &named).await?;
                tracing::info!(key = self.id, "the lake has another redaction key from here on");
            }
            return Ok(());
        }
        Err(Error::Contention {
            dataset: JOURNAL.to_owned(),
            step: "naming the redaction key",
            attempts: fence::ATTEMPTS,
        })
    }

    fn is_another(&self, current: RedactionKey) -> Error {
        Error::OtherKey { current: current.id, own: self.id.clone() }
    }
}
