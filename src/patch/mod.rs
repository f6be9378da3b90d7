//! Whether a patch keeps to what the evidence points to.
//!
//! It may change files of the application that stand on stacks or heap paths of the bundle, and their tests; every other
//! file only by name and with a reason, which the report records. The lock files of the builds are those that the bundle
//! knows, and the patch is small enough to be read. It fails closed: what cannot be read, found or compared does not hold.

mod diff;
mod locks;
mod report;
mod tests_of;

use std::collections::BTreeMap;

use tracerag_query::untrusted::line;
use tracerag_schemas::bundle::Bundle;

use crate::repository::{Commit, How, Kind, Locator, Place, Prefix, Repository, RepositoryError, cited};
use diff::{Change, FileDiff};
use tests_of::is_test_of;

pub(crate) use diff::parse;
pub(crate) use locks::of_build as lock_files;
pub(crate) use report::{Allowed, LockRow, Report, Verdict};
use report::{FileRow, LimitRow};
pub(crate) use tests_of::is_test;

/// What a patch may do beyond its files.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Reasons by the path that they allow.
    pub allowed: BTreeMap<String, String>,
    /// Files that it may change.
    pub most_files: usize,
    /// Lines that it may add and take away together.
    pub most_lines: usize,
}

/// Bytes of a diff that is read.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Compares a diff with the evidence, in the repository that the builds are made from.
///
/// # Errors
/// When the repository cannot be read, or has none of the commits of the bundle. What is wrong with the patch stands in
/// the report.
pub(crate) fn guard(
    bundle: &Bundle,
    diff: &[u8],
    repository: &Repository,
    prefixes: &[Prefix],
    rules: &Rules,
) -> Result<Report, RepositoryError> {
    let commits = commits(bundle, repository)?;
    let evidence = Evidence::of(bundle, &commits, prefixes)?;
    let mut reasons = Vec::new();
    if commits.is_empty() {
        reasons.push(String::from("the bundle states no commit of a build, so there is nothing to compare with"));
    }
    let text = match diff.len() {
        0..=MAX_BYTES => str::from_utf8(diff).map_err(|_| String::from("it is not UTF-8 throughout")),
        _ => Err(format!("it has more than {MAX_BYTES} bytes")),
    };
    let files = text.and_then(|text| parse(text).map_err(|error| error.to_string()));
    let files = files.unwrap_or_else(|why| {
        reasons.push(format!("the diff cannot be judged: {why}"));
        vec![]
    });
    let rows: Vec<FileRow> = files.iter().map(|file| evidence.judge(file, &commits, rules)).collect();
    let lines: usize = files.iter().map(|file| file.added + file.deleted).sum();
    let limits = vec![
        LimitRow::new("files changed", files.len(), rules.most_files),
        LimitRow::new("lines added and taken away", lines, rules.most_lines),
    ];
    let used = |path: &String| rows.iter().any(|row| row.path == *path && row.verdict == Verdict::AllowedByName);
    let allowed = rules.allowed.iter().map(|(path, reason)| Allowed {
        path: path.clone(),
        reason: reason.clone(),
        used: used(path),
    });
    let allowed = allowed.collect();
    let mut report = Report {
        bundle_id: bundle.bundle_id.clone(),
        holds: false,
        files: rows,
        lock_files: locks::compare(bundle, &commits)?,
        limits,
        allowed,
        unclear: evidence.unclear,
        reasons,
    };
    report.holds = report.is_right();
    Ok(report)
}

/// The commits of the bundle that the repository has, by what the bundle calls them.
type Commits = BTreeMap<String, Commit>;

fn commits(bundle: &Bundle, repository: &Repository) -> Result<Commits, RepositoryError> {
    let mut commits = Commits::new();
    let mut absent = None;
    let of_builds = bundle.evidence.builds.iter().filter_map(|build| build.git_sha.clone());
    for sha in cited(bundle).into_iter().map(|cited| cited.sha).chain(of_builds) {
        if commits.contains_key(&sha) {
            continue;
        }
        match repository.commit(&sha) {
            Ok(commit) => drop(commits.insert(sha, commit)),
            // The other services may be built from other repositories.
            Err(error @ RepositoryError::NoCommit { .. }) => absent = absent.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match absent {
        Some(error) if commits.is_empty() => Err(error),
        _ => Ok(commits),
    }
}

/// The files that the evidence points to.
struct Evidence {
    /// By path, the anchor and the entry that point to it.
    files: BTreeMap<String, String>,
    /// What of the evidence points to no file for sure.
    unclear: Vec<String>,
}

impl Evidence {
    fn of(bundle: &Bundle, commits: &Commits, prefixes: &[Prefix]) -> Result<Self, RepositoryError> {
        let mut locators = BTreeMap::new();
        for (sha, commit) in commits {
            locators.insert(sha.as_str(), Locator::new(commit, prefixes)?);
        }
        let mut this = Self { files: BTreeMap::new(), unclear: vec![] };
        for cited in cited(bundle) {
            let Some(locator) = locators.get(cited.sha.as_str()) else {
                this.unclear.push(format!("{}: its commit is not in this repository", line(&cited.anchor)));
                continue;
            };
            let why = match locator.find(&cited.file, cited.function.as_deref()) {
                Place::One { path, how } if how != How::Name => {
                    let points = format!("{} in {}", line(&cited.anchor), line(&cited.within));
                    this.files.entry(path).or_insert(points);
                    continue;
                }
                Place::One { path, .. } => format!("only the name agrees with {}", line(&path)),
                Place::Several(paths) => format!("it may be {}", line(&paths.join(", "))),
                Place::Nowhere => String::from("the commit has no such file"),
            };
            this.unclear.push(format!("{}: {why}", line(&cited.anchor)));
        }
        Ok(this)
    }

    fn judge(&self, file: &FileDiff, commits: &Commits, rules: &Rules) -> FileRow {
        let (verdict, why) = match self.permitted(file, rules) {
            Ok((verdict, why)) => match fits(file, commits) {
                Ok(()) => (verdict, why),
                Err(why) => (Verdict::Refused, why),
            },
            Err(why) => (Verdict::Refused, why),
        };
        FileRow {
            path: file.path.clone(),
            change: file.change.name().to_owned(),
            added: file.added,
            deleted: file.deleted,
            verdict,
            why,
        }
    }

    /// By which rule a file may be changed, and what it rests on.
    fn permitted(&self, file: &FileDiff, rules: &Rules) -> Result<(Verdict, String), String> {
        if let Some(reason) = rules.allowed.get(&file.path) {
            return Ok((Verdict::AllowedByName, reason.clone()));
        }
        let points = self.files.get(&file.path);
        let tested = self.files.keys().find(|tested| is_test_of(&file.path, tested));
        match (file.change, points, tested) {
            (Change::Modified, Some(points), _) => Ok((Verdict::OnThePath, points.clone())),
            (Change::Modified | Change::Added, _, Some(tested)) => {
                Ok((Verdict::Test, format!("a test of {}", line(tested))))
            }
            (Change::Deleted, Some(_), _) | (Change::Deleted, _, Some(_)) => {
                Err(String::from("it takes a file away; allow it by name if that is meant"))
            }
            _ => Err(String::from(
                "it stands on no stack and no heap path of the bundle and is no test of such a file; allow it by name",
            )),
        }
    }
}

/// Whether the change can be one of a commit of the bundle: what is changed is a file there, what is added is not, and
/// nothing lies below a link or another repository.
fn fits(file: &FileDiff, commits: &Commits) -> Result<(), String> {
    let mut folder = file.path.as_str();
    while let Some((above, _)) = folder.rsplit_once('/') {
        if commits.values().any(|commit| commit.files.contains_key(above)) {
            return Err(format!("{} is no folder in the commit", line(above)));
        }
        folder = above;
    }
    let kinds: Vec<Option<Kind>> =
        commits.values().map(|commit| commit.files.get(&file.path).map(|entry| entry.kind)).collect();
    if kinds.iter().flatten().any(|kind| *kind != Kind::File) {
        return Err(String::from("it is a link or a submodule in the commit"));
    }
    let there = kinds.contains(&Some(Kind::File));
    match (file.change, there) {
        (Change::Added, true) => Err(String::from("it is said to be new, and the commit has it")),
        (Change::Modified | Change::Deleted, false) => Err(String::from("no commit of the bundle has it")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
