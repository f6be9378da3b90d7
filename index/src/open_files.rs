//! Files of rows and indices that stay open from one read to the next.
//!
//! A question makes some hundred reads of about a kilobyte, mostly of the same few files, and opening a file takes longer
//! than reading that much of it. Lance writes such a file once, under a name that never comes again, so what is open is the
//! file. One that was deleted is not read any more, and is let go of so that its place on the disk is free.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::path::Path;

/// Files that are kept open at once.
const MOST: usize = 256;
/// Files that are opened between two looks for deleted ones.
const BETWEEN_LOOKS: u64 = 64;
/// What the names of files of rows and indices end with. Manifests, transactions and documents have other endings.
const WRITTEN_ONCE: [&str; 2] = ["lance", "idx"];

/// Open files, the least recently used leaving first.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By their address, with the number of the read that asked for them last.
    files: HashMap<Path, (Arc<File>, u64)>,
    reads: u64,
    opened: u64,
}

impl OpenFiles {
    /// A file to read of; `path` gives where it is. It may have been deleted since it was opened: see [`is_deleted`].
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(
        &self,
        location: &Path,
        path: impl FnOnce() -> object_store::Result<PathBuf>,
    ) -> io::Result<Arc<File>> {
        if !location.extension().is_some_and(|ending| WRITTEN_ONCE.contains(&ending)) {
            return Ok(Arc::new(File::open(path()?)?));
        }
        if let Some(known) = self.kept().get(location) {
            return Ok(known);
        }
        let file = Arc::new(File::open(path()?)?);
        self.kept().keep(location.clone(), Arc::clone(&file));
        Ok(file)
    }

    /// Closes a file as soon as nobody reads of it any more.
    pub(crate) fn let_go(&self, location: &Path) {
        self.kept().files.remove(location);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // An entry is put in whole or not at all, so what a panic left behind is sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, location: &Path) -> Option<Arc<File>> {
        self.reads += 1;
        let (file, read) = self.files.get_mut(location)?;
        *read = self.reads;
        Some(Arc::clone(file))
    }

    fn keep(&mut self, location: Path, file: Arc<File>) {
        self.opened += 1;
        if self.opened.is_multiple_of(BETWEEN_LOOKS) {
            self.files.retain(|_, (file, _)| file.metadata().is_ok_and(|metadata| !is_deleted(&metadata)));
        }
        if self.files.len() >= MOST {
            let oldest = self.files.iter().min_by_key(|(_, (_, read))| *read).map(|(location, _)| location.clone());
            if let Some(oldest) = oldest {
                self.files.remove(&oldest);
            }
        }
        self.files.insert(location, (file, self.reads));
    }
}

/// Whether an open file has no name any more.
pub(crate) fn is_deleted(metadata: &std::fs::Metadata) -> bool {
    metadata.nlink() == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Files are opened one after the other, more than are kept. Guarantees that those that were used last stay open, that
    /// a deleted one is let go of, and that one whose name may come again is opened each time.
    #[test]
    fn files_stay_open_while_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = OpenFiles::default();
        let opened = |name: &str| {
            let path = folder.path().join(name);
            if !path.exists() {
                std::fs::write(&path, name).unwrap();
            }
            open.open(&Path::from(name), || Ok(path)).unwrap()
        };
        let first = opened("0.lance");
        assert!(Arc::ptr_eq(&first, &opened("0.lance")));
        assert!(!Arc::ptr_eq(&opened("1.manifest"), &opened("1.manifest")));
        for n in 1..=MOST {
            opened(&format!("{n}.lance"));
            opened("0.lance");
        }
        assert!(Arc::ptr_eq(&first, &opened("0.lance")), "it was used in between");
        let kept = |name: &str| open.kept().files.contains_key(&Path::from(name));
        assert!(!kept("1.lance") && kept("2.lance") && open.kept().files.len() == MOST);
        let last = format!("{MOST}.lance");
        std::fs::remove_file(folder.path().join(&last)).unwrap();
        for n in 0..BETWEEN_LOOKS {
            opened(&format!("{n}.idx"));
        }
        assert!(!kept(&last), "it was deleted");
        open.let_go(&Path::from("0.lance"));
        assert!(!kept("0.lance"));
    }
}
