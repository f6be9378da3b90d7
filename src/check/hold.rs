//! The head that a check reads, held for as long as it reads.
//!
//! Reading the topics again may take hours, and upkeep removes the files of a head when newer ones have been there for
//! longer than any query may take. So a check makes a snapshot, and lets it go in the end. What a check that was killed has
//! left behind is let go by one that comes later.

use tracerag_index::Error::SnapshotOvertaken;
use tracerag_index::{Head, Lake};
use tracerag_schemas::time::DAY;

use crate::error::Error;

/// How the names of these snapshots begin; the process and the time in ns follow, with a `-` between them.
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
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            match lake.create_snapshot(&name).await {
                Ok(pinned) => return Ok(Self { head: pinned.head, name: Some(name) }),
                Err(error @ SnapshotOvertaken { .. }) => failed = Some(error),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = failed {
            tracing::warn!(%error, "nothing holds the lake's files while topics are read: upkeep may remove them");
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

/// Whether a check has named a snapshot so. A person may have others that begin alike.
fn is_of_check(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = name.strip_prefix(NAME).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(process, time)| is_number(process) && is_number(time))
}

async fn drop_forgotten(lake: &Lake, now: i64) {
    let snapshots = lake.snapshots().await.unwrap_or_default();
    let is_forgotten = |name: &str, created_at: i64| is_of_check(name) && now - created_at > LEFT_BEHIND;
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
    /// and those of people stay, also where they are named much alike. Guarantees that a check neither loses its files nor
    /// keeps them for ever, and lets go nothing that is not its own.
    #[tokio::test]
    async fn a_head_is_held_and_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
        let of_people = ["check-12", "check-12-34-before", "check-before-release", "checked"];
        for name in of_people {
            lake.create_snapshot(name).await.unwrap();
        }
        let killed = Hold::newest(&lake, now()).await.unwrap();
        assert_eq!(killed.head, lake.newest_head().await.unwrap());
        assert_eq!(names(&lake).await.len(), of_people.len() + 1);

        let hold = Hold::newest(&lake, now() + LEFT_BEHIND / 2).await.unwrap();
        assert_eq!(names(&lake).await.len(), of_people.len() + 2);
        hold.release(&lake).await;
        assert_eq!(names(&lake).await.len(), of_people.len() + 1);
        Hold::newest(&lake, now() + LEFT_BEHIND + DAY).await.unwrap().release(&lake).await;
        let mut left = names(&lake).await;
        left.sort();
        assert_eq!(left, of_people);
    }
}
