//! Rows by their ids where no index knows them: in fragments that are younger than the index, and in tables that are too
//! small for one.
//!
//! Planning a scan for each such look-up takes longer than all the rest of it. The ids of a fragment never change, so those
//! of one are read once, and of each a hash is kept that no two ids share. Fragments that compaction has replaced are not
//! asked for any more and leave as what was not used for the longest time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance_table::format::Fragment;
use xxhash_rust::xxh3::xxh3_128;

use crate::fragment_key::FragmentKey;

/// Rows outside an index up to which their ids are kept; among more a scan looks.
const MOST_ROWS: usize = 500_000;
/// Bytes that are kept at once.
const KEPT_BYTES: usize = 64 << 20;
/// Bytes of a fragment besides its rows: its key, and its place in the map.
const FRAGMENT_BYTES: usize = 512;
/// Bytes of a row.
const ROW_BYTES: usize = size_of::<u128>() + size_of::<u32>();

/// Ids of fragments that no index knows.
#[derive(Debug)]
pub struct UnindexedIds(Mutex<Kept>);

impl Default for UnindexedIds {
    fn default() -> Self {
        Self(Mutex::new(Kept::holding(KEPT_BYTES)))
    }
}

#[derive(Debug)]
struct Kept {
    /// With the number of the look-up that used them last.
    fragments: HashMap<Key, (Arc<Ids>, u64)>,
    bytes: usize,
    most_bytes: usize,
    uses: u64,
}

/// A column of a fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    column: String,
    fragment: FragmentKey,
}

impl Key {
    fn of(dataset: &Dataset, column: &str, fragment: &Fragment) -> Self {
        Self { column: column.to_owned(), fragment: FragmentKey::of(dataset, fragment) }
    }
}

/// The ids of a fragment.
#[derive(Debug, Default)]
struct Ids {
    /// Hashes, rising.
    hashes: Vec<u128>,
    /// The row of each within the fragment.
    rows: Vec<u32>,
}

impl Ids {
    fn of(mut ids: Vec<(u128, u32)>) -> Self {
        ids.sort_unstable();
        let (hashes, rows) = ids.into_iter().unzip();
        Self { hashes, rows }
    }

    fn bytes(&self) -> usize {
        FRAGMENT_BYTES + self.hashes.len() * ROW_BYTES
    }

    /// The rows with an id.
    fn with(&self, hash: u128) -> &[u32] {
        let from = self.hashes.partition_point(|known| *known < hash);
        let to = self.hashes.partition_point(|known| *known <= hash);
        self.rows.get(from..to).unwrap_or_default()
    }
}

impl UnindexedIds {
    /// The addresses of the rows of some fragments that have one of some texts in a column, in no order; `None` where the
    /// fragments have too many rows. The dataset has no stable row ids, and no row of the fragments was deleted.
    ///
    /// # Errors
    /// When the column cannot be read.
    pub async fn rows(
        &self,
        dataset: &Dataset,
        column: &str,
        fragments: &[Fragment],
        texts: &[&str],
    ) -> lance::Result<Option<Vec<u64>>> {
        let count: Option<usize> = fragments.iter().map(|fragment| fragment.physical_rows).sum();
        if count.is_none_or(|count| count > MOST_ROWS) {
            return Ok(None);
        }
        let (mut known, mut unread) = (Vec::with_capacity(fragments.len()), Vec::new());
        for fragment in fragments {
            match self.kept().get(&Key::of(dataset, column, fragment)) {
                Some(ids) => known.push((fragment.id, ids)),
                None => unread.push(fragment.clone()),
            }
        }
        if !unread.is_empty() {
            let mut read = read(dataset, column, unread.clone()).boxed().await?;
            for fragment in &unread {
                let ids = Arc::new(Ids::of(read.remove(&fragment.id).unwrap_or_default()));
                self.kept().keep(Key::of(dataset, column, fragment), Arc::clone(&ids));
                known.push((fragment.id, ids));
            }
        }
        let hashes: Vec<u128> = texts.iter().map(|text| xxh3_128(text.as_bytes())).collect();
        let mut rows = Vec::new();
        for (fragment, ids) in &known {
            let found = hashes.iter().flat_map(|hash| ids.with(*hash));
            rows.extend(found.map(|row| (fragment << 32) | u64::from(*row)));
        }
        Ok(Some(rows))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // An entry is put in whole or not at all, so what a panic left behind is sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn holding(most_bytes: usize) -> Self {
        Self { fragments: HashMap::new(), bytes: 0, most_bytes, uses: 0 }
    }

    fn get(&mut self, key: &Key) -> Option<Arc<Ids>> {
        self.uses += 1;
        let (ids, used) = self.fragments.get_mut(key)?;
        *used = self.uses;
        Some(Arc::clone(ids))
    }

    fn keep(&mut self, key: Key, ids: Arc<Ids>) {
        self.bytes += ids.bytes();
        if let Some((replaced, _)) = self.fragments.insert(key.clone(), (ids, self.uses)) {
            self.bytes -= replaced.bytes();
        }
        while self.bytes > self.most_bytes {
            let others = self.fragments.iter().filter(|(known, _)| **known != key);
            let Some(oldest) = others.min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone()) else { break };
            if let Some((ids, _)) = self.fragments.remove(&oldest) {
                self.bytes -= ids.bytes();
            }
        }
    }
}

/// The hashes of a column of some fragments with their rows, by fragment.
async fn read(
    dataset: &Dataset,
    column: &str,
    fragments: Vec<Fragment>,
) -> lance::Result<HashMap<u64, Vec<(u128, u32)>>> {
    let mut scan = dataset.scan();
    scan.with_fragments(fragments);
    scan.project(&[column])?;
    scan.with_row_id();
    let mut batches = scan.try_into_stream().await?;
    let mut read: HashMap<u64, Vec<(u128, u32)>> = HashMap::new();
    while let Some(batch) = batches.try_next().await? {
        let texts = batch.column_by_name(column).and_then(|column| column.as_string_opt::<i32>());
        let rows = batch.column_by_name("_rowid").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let (Some(texts), Some(rows)) = (texts, rows) else {
            return Err(lance::Error::invalid_input(format!("{column} is no column of texts; name another")));
        };
        for row in (0..batch.num_rows()).filter(|row| texts.is_valid(*row)) {
            let address = rows.value(row);
            let of_fragment = read.entry(address >> 32).or_default();
            // The lower half of an address is the row's place.
            of_fragment
                .push((xxh3_128(texts.value(row).as_bytes()), u32::try_from(address & 0xffff_ffff).unwrap_or(0)));
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fragment: u64) -> Key {
        Key { column: String::from("id"), fragment: FragmentKey::numbered(fragment) }
    }

    fn ids(rows: u32) -> Arc<Ids> {
        Arc::new(Ids::of((0..rows).map(|row| (u128::from(row / 2), row)).collect()))
    }

    /// All rows with an id are found, and none of another.
    #[test]
    fn rows_are_found_by_their_hash() {
        let ids = ids(6);
        assert_eq!(ids.with(1), [2, 3]);
        assert!(ids.with(3).is_empty());
    }

    /// What was not used for the longest time leaves when there is no room, and what has just come stays.
    #[test]
    fn the_oldest_leave_first() {
        let mut kept = Kept::holding(3 * ids(10).bytes());
        for fragment in 0..3 {
            kept.get(&key(fragment));
            kept.keep(key(fragment), ids(10));
        }
        assert!(kept.get(&key(0)).is_some());
        kept.keep(key(3), ids(10));
        assert!(kept.get(&key(1)).is_none() && kept.get(&key(0)).is_some() && kept.get(&key(3)).is_some());
        kept.keep(key(4), ids(200));
        assert!(kept.get(&key(4)).is_some() && kept.fragments.len() == 1);
    }
}
