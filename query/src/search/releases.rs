//! The versions that commits were released as, by the builds that the lake knows.

use std::collections::HashMap;

use datafusion::logical_expr::col;
use tracerag_schemas::Table;

use super::KnownFix;
use super::versions::compare;
use crate::error::Result;
use crate::rows::{Columns, owned};
use crate::snapshot::{Read, Snapshot};

/// Digits by which a commit is known.
const LEAST_DIGITS: usize = 7;

/// A build that names both its commit and its version.
#[derive(Debug)]
struct Release {
    service: Option<String>,
    git_sha: String,
    version: String,
}

/// Releases of services.
#[derive(Debug, Default)]
pub(super) struct Releases(Vec<Release>);

impl Releases {
    /// Those that are needed for the versions of some fixes: none where each fix names its own, or no commit.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(super) async fn for_fixes(snapshot: &Snapshot, fixes: &HashMap<String, Vec<KnownFix>>) -> Result<Self> {
        let lacks_version = |fix: &KnownFix| fix.fixed_version.is_none() && fix.fixed_git_sha.is_some();
        if !fixes.values().flatten().any(lacks_version) {
            return Ok(Self::default());
        }
        let read = Read {
            columns: &["service_name", "version", "git_sha"],
            filter: Some(col("git_sha").is_not_null().and(col("version").is_not_null())),
            ranges: vec![],
        };
        let mut releases = Vec::new();
        for batch in snapshot.read(Table::Builds, read).await? {
            let columns = Columns::of("builds", &batch);
            let (services, versions, commits) =
                (columns.text("service_name")?, columns.text("version")?, columns.text("git_sha")?);
            releases.extend((0..batch.num_rows()).filter_map(|row| {
                let (git_sha, version) = (owned(commits, row)?, owned(versions, row)?);
                Some(Release { service: owned(services, row), git_sha, version })
            }));
        }
        Ok(Self(releases))
    }

    /// The first version that has a fix: the one that the fix names, else the least that its commit was released as for a
    /// service.
    pub(super) fn version<'a>(&'a self, fix: &'a KnownFix, service: Option<&str>) -> Option<&'a str> {
        if let Some(version) = &fix.fixed_version {
            return Some(version);
        }
        let commit = fix.fixed_git_sha.as_deref()?;
        let releases = self.0.iter().filter(|release| {
            is_same(&release.git_sha, commit) && (service.is_none() || release.service.as_deref() == service)
        });
        releases.map(|release| release.version.as_str()).min_by(|one, other| compare(one, other))
    }
}

/// Whether two are one commit, of which either may be cut.
fn is_same(one: &str, other: &str) -> bool {
    let digits = one.len().min(other.len());
    digits >= LEAST_DIGITS
        && one.bytes().zip(other.bytes()).take(digits).all(|(one, other)| one.eq_ignore_ascii_case(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(version: Option<&str>, git_sha: &str) -> KnownFix {
        KnownFix {
            fixed_version: version.map(str::to_owned),
            fixed_git_sha: Some(git_sha.to_owned()),
            ..KnownFix::default()
        }
    }

    /// A commit is the least version that it was released as, of its own service, cut or whole; what the fix says itself
    /// counts for more. A commit that was never released has no version.
    #[test]
    fn a_commit_is_a_version() {
        let release = |service: &str, git_sha: &str, version: &str| Release {
            service: Some(service.to_owned()),
            git_sha: git_sha.to_owned(),
            version: version.to_owned(),
        };
        let releases = Releases(vec![
            release("payments", "a1b2c3d4e5f60718", "1.10.0"),
            release("payments", "A1B2C3D4", "1.9.1"),
            release("orders", "a1b2c3d4e5f60718", "1.0.0"),
        ]);
        let version = |fix: &KnownFix, service| releases.version(fix, service).map(str::to_owned);
        assert_eq!(version(&fix(None, "a1b2c3d"), Some("payments")).as_deref(), Some("1.9.1"));
        assert_eq!(version(&fix(None, "a1b2c3d"), None).as_deref(), Some("1.0.0"));
        assert_eq!(version(&fix(Some("2.0.0"), "a1b2c3d"), Some("payments")).as_deref(), Some("2.0.0"));
        assert_eq!(version(&fix(None, "ffffffff"), Some("payments")), None);
        assert_eq!(version(&fix(None, "a1b2"), Some("payments")), None, "too few digits");
    }
}
