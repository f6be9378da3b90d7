//! Lakes that many tests begin with: each is made once, and every test has a copy of its own.
//!
//! To replay the same records for every test would be half of what the tests do. Whoever compares two lakes that were
//! made apart makes them with [`Tracerag::new`].

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::process::Process;
use super::program::Tracerag;

/// A lake that was made, and what removes its folder when the test binary has ended.
type Made = (Tracerag, Process);

/// The copy of the lake that `make` makes, which is called for the first test that asks for `name`.
///
/// # Panics
/// If the lake cannot be made; the next test tries again.
pub fn copy_of(name: &str, make: impl FnOnce() -> Tracerag) -> Tracerag {
    static MADE: Mutex<BTreeMap<String, Arc<OnceLock<Made>>>> = Mutex::new(BTreeMap::new());
    let made = Arc::clone(MADE.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default());
    let (template, _) = made.get_or_init(|| {
        let template = make();
        let keeper = Process::start(&["sleep", "infinity"].map(str::to_owned), &template.path(""), "keeper.log");
        (template, keeper)
    });
    let copy = Tracerag::new();
    copy_folder(&template.path(""), &copy.path(""));
    copy
}

/// Copies files and folders. Nothing in a lake depends on where it lies.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder for the copy");
    for entry in fs::read_dir(from).expect("the folder of a lake") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("the kind of an entry").is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("the folder takes a copy");
        }
    }
}
