//! The stages depend on each other only as `ARCHITECTURE.md` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What each crate may use of the workspace, dev-dependencies included.
const ALLOWED: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("ingest", &["tracerag-schemas"]),
    ("enrich", &["tracerag-schemas"]),
    ("index", &["tracerag-schemas"]),
    ("query", &["tracerag-schemas", "tracerag-index"]),
];

/// Reads every member's manifest: a stage that reaches for another one fails here, with its name.
#[test]
fn stages_depend_forward_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, allowed) in ALLOWED {
        let text = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        let used: BTreeSet<&str> = ["dependencies", "dev-dependencies", "build-dependencies"]
            .iter()
            .filter_map(|section| manifest.get(*section)?.as_table())
            .flat_map(|section| section.keys().map(String::as_str))
            .filter(|name| name.starts_with("tracerag"))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(used.is_subset(&allowed), "{folder} may use {allowed:?}, but uses {used:?}");
    }
}
