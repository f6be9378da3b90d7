//! What tells a fragment from all others, for what is kept of fragments.

use lance::Dataset;
use lance_table::format::Fragment;

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
