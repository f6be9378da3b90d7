//! A repository at a commit in one line: how large, which languages, which folders, and the files that say how it is
//! built.

use std::collections::BTreeMap;

use tracerag_query::untrusted::line;

use crate::repository::Commit;

/// Of folders and endings, the most frequent.
const MOST: usize = 8;
/// Files by which a build begins.
const MANIFESTS: [&str; 14] = [
    "go.mod",
    "go.sum",
    "package.json",
    "package-lock.json",
    "pyproject.toml",
    "requirements.txt",
    "poetry.lock",
    "uv.lock",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "Cargo.toml",
    "Makefile",
    "Dockerfile",
];

/// The line for a service.
pub(super) fn digest(service: &str, commit: &Commit) -> String {
    let (mut endings, mut folders) = (BTreeMap::new(), BTreeMap::new());
    let mut manifests = Vec::new();
    for path in commit.files.keys() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if let Some((_, ending)) = name.rsplit_once('.') {
            *endings.entry(format!(".{ending}")).or_insert(0_usize) += 1;
        }
        if let Some((folder, _)) = path.split_once('/') {
            *folders.entry(format!("{folder}/")).or_insert(0_usize) += 1;
        }
        if MANIFESTS.contains(&name) && manifests.len() < MOST {
            manifests.push(path.as_str());
        }
    }
    let parts = [
        format!("{service} at {}: {} files", commit.sha, commit.files.len()),
        frequent(endings),
        frequent(folders),
        manifests.join(", "),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    line(&parts.join("; "))
}

/// `.go 12, .py 3`
fn frequent(counts: BTreeMap<String, usize>) -> String {
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = counts.iter().take(MOST).map(|(name, count)| format!("{name} {count}"));
    shown.collect::<Vec<_>>().join(", ")
}
