//! Dead letters: what more than one stage has to know of their table.

use crate::SourcePartition;

/// The reason of a row that is no record but an interval of offsets that were deleted before they could be taken.
pub const GAP: &str = "gap";

/// The reason of a row that is no letter: it says that the letter of the same tenant, origin, timestamp and size was
/// replayed, and stands in the epoch that brought the letter's rows.
pub const REPLAYED: &str = "replayed";

/// The cluster of [`replays`], which no Kafka cluster has as its id.
pub const REPLAY_CLUSTER: &str = "dead-letters";

/// The partition under which replays of dead letters stand in the journal. Whoever replays claims it, which shuts out
/// all others; its offsets count the letters that were replayed.
pub fn replays() -> SourcePartition {
    SourcePartition::new(REPLAY_CLUSTER, "dead-letters", 0)
}
