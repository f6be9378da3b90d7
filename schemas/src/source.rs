//! Where rows come from.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One partition of one topic of one Kafka cluster, or a replayed file (`file:<sha256>`, partition 0).
///
/// Offsets belonging to a source count up from 0; the *next* offset is the one that is read next.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourcePartition {
    /// The Kafka cluster's id; `file` for replayed files.
    #[serde(with = "shared_text")]
    pub cluster: Arc<str>,
    /// Topic name, or `file:<sha256>`.
    #[serde(with = "shared_text")]
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
}

impl SourcePartition {
    /// A partition of a topic in a cluster.
    pub fn new(cluster: impl Into<Arc<str>>, topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { cluster: cluster.into(), topic: topic.into(), partition }
    }
}

impl fmt::Display for SourcePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Serde for `Arc<str>` without its `rc` feature, which would let shared values of any kind in.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}
