//! What tells a fragment from all others, and what is kept of fragments.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lance::Dataset;
use lance_table::format::Fragment;

/// Fragments of which something is kept. With more all is forgotten and begun anew.
const MOST_FRAGMENTS: usize = 100_000;

/// A fragment of a dataset. Ids of fragments alone come again after a restore, names of files do not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FragmentKey {
    dataset: String,
    fragment: u64,
    file: String,
}

impl FragmentKey {
    pub(crate) fn of(dataset: &Dataset, fragment: &Fragment) -> Self {
        let file = fragment.files.first().map(|file| file.path.clone()).unwrap_or_default();
        Self { dataset: dataset.uri().to_owned(), fragment: fragment.id, file }
    }

    #[cfg(test)]
    pub(crate) fn numbered(fragment: u64) -> Self {
        Self { dataset: String::from("a"), fragment, file: String::new() }
    }
}

/// Something small that holds of all rows that fragments were written with, and so in every version that names them.
#[derive(Debug)]
pub(crate) struct ByFragment<T>(Mutex<HashMap<FragmentKey, T>>);

impl<T> Default for ByFragment<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> ByFragment<T> {
    pub(crate) fn get(&self, dataset: &Dataset, fragment: &Fragment) -> Option<T> {
        self.kept().get(&FragmentKey::of(dataset, fragment)).cloned()
    }

    pub(crate) fn keep(&self, dataset: &Dataset, fragment: &Fragment, known: T) {
        let mut kept = self.kept();
        if kept.len() >= MOST_FRAGMENTS {
            kept.clear();
        }
        kept.insert(FragmentKey::of(dataset, fragment), known);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<FragmentKey, T>> {
        // An entry is put in whole or not at all, so what a panic left behind is sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
