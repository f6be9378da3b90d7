//! How far a table is: the greatest position stamped on one of its versions.
//!
//! The stamp is a property of the transaction that added the rows, so it lands with them or not at
//! all. Compactions, index builds and barriers carry none and are walked past.

use lance::Dataset;

use super::DatasetHead;
use crate::error::{At, Result, is_absent};

/// Transaction property, and key of the table's metadata, that holds the position.
pub(crate) const POSITION: &str = "tracerag.position";

/// The position up to which a dataset at its version holds everything recorded.
///
/// `floor` is what a head says: at that version the dataset was at least at that position, so the
/// walk back through the versions ends there.
pub(crate) async fn position_of(name: &str, dataset: &Dataset, floor: Option<(&DatasetHead, u64)>) -> Result<u64> {
    let (floor_version, floor_position) = floor.map_or((0, 0), |(head, position)| (head.version, position));
    // Clean-up writes the position here before it removes the version that was stamped.
    let kept = dataset.metadata().get(POSITION).and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut version = dataset.version_id();
    while version > floor_version {
        match dataset.read_transaction_by_version(version).await {
            Ok(transaction) => {
                let stamp = transaction
                    .and_then(|transaction| transaction.transaction_properties)
                    .and_then(|properties| properties.get(POSITION).and_then(|value| value.parse::<u64>().ok()));
                if let Some(stamp) = stamp {
                    return Ok(stamp.max(kept).max(floor_position));
                }
            }
            Err(error) if is_absent(&error) => break,
            Err(error) => return Err(error).at(name, "reading its position"),
        }
        version -= 1;
    }
    Ok(kept.max(floor_position))
}
