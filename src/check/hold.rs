//! The head that a check reads, held for as long as it reads.
//!
//! Reading the topics again may take hours, and upkeep removes the files of a head when newer ones have been there for
//! longer than any query may take. So a check makes a snapshot, and lets it go in the end. What a check that was killed has
//! left behind is let go by one that comes later.

use tracerag_index::Error::SnapshotOvertaken;
use tracerag_index::{Head, Lake};
use tracerag_schemas::time::DAY;

use crate::error::Error;

/// How the names of these snapshots begin.
const NAME: &str = "check-";
/// A snapshot that is older was left behind, in ns: no check takes so long.
const LEFT_BEHIND: i64 = 7 * DAY;
/// A clean-up may overtake a snapshot; so often it is tried again.
const ATTEMPTS: usize = 3;

/// A head, and the snapshot that holds it.
pub(super) struct Hold {
    pub head: Head,
    /// `None`: the lake cannot be written from here.
    name: Option<String>,
}

impl Hold {
    /// Holds the newest head. Where the lake may only be read, nothing holds it: the check ends with an error then if it
    /// takes longer than the files are there.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(super) async fn newest(lake: &Lake, now: i64) -> Result<Self, Error> {
        drop_forgotten(lake, now).await;
        let name = format!("{NAME}{}-{now}", std::process::id());
        for _ in 0..ATTEMPTS {
            match lake.create_snapshot(&name).await {
                Ok(pinned) => return Ok(Self { head: pinned.head, name: Some(name) }),
                Err(SnapshotOvertaken { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, "nothing holds the lake's files while topics are read: upkeep may remove them");
                    break;
                }
            }
        }
        Ok(Self { head: lake.newest_head().await?, name: None })
    }

    /// Lets it go. If that fails a later check does it.
    pub(super) async fn release(self, lake: &Lake) {
        if let Some(name) = &self.name {
            drop_snapshot(lake, name).await;
        }
    }
}

async fn drop_forgotten(lake: &Lake, now: i64) {
    let snapshots = lake.snapshots().await.unwrap_or_default();
    let is_forgotten = |name: &str, created_at: i64| name.starts_with(NAME) && now - created_at > LEFT_BEHIND;
    for snapshot in snapshots.iter().filter(|snapshot| is_forgotten(&snapshot.name, snapshot.created_at)) {
        drop_snapshot(lake, &snapshot.name).await;
    }
}

async fn drop_snapshot(lake: &Lake, name: &str) {
    if let Err(error) = lake.drop_snapshot(name).await {
        tracing::warn!(%error, name, "a snapshot of the check stays; tracerag snapshot drop lets it go");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracerag_index::LakeOptions;

    use super::*;
    use crate::worker::now;

    async fn names(lake: &Lake) -> Vec<String> {
        lake.snapshots().await.unwrap().into_iter().map(|snapshot| snapshot.name).collect()
    }

    /// A check holds its head by a snapshot as long as it reads; the snapshot of one that was killed goes after a week,
    /// and those of people stay. Guarantees that a check neither loses its files nor keeps them for ever.
    #[tokio::test]
    async fn a_head_is_held_and_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
        lake.create_snapshot("checked").await.unwrap();
        let killed = Hold::newest(&lake, now()).await.unwrap();
        assert_eq!(killed.head, lake.newest_head().await.unwrap());
        assert_eq!(names(&lake).await.len(), 2);

        let hold = Hold::newest(&lake, now() + LEFT_BEHIND / 2).await.unwrap();
        assert_eq!(names(&lake).await.len(), 3);
        hold.release(&lake).await;
        assert_eq!(names(&lake).await.len(), 2);
        Hold::newest(&lake, now() + LEFT_BEHIND + DAY).await.unwrap().release(&lake).await;
        assert_eq!(names(&lake).await, ["checked"]);
    }
}
