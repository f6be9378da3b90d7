//! What is known of flags, configuration and deployments, by tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::Xxh3;

use super::as_of::{Change, History, Scope};
use crate::columns::{Entries, Text, number, times};
use crate::error::{Error, Result};

/// `source` of a row that a deployment event brought; others of `builds` are sightings.
const SIGHTING: &str = "resource";
/// `source` of a row that an evaluation brought.
const EVALUATION: &str = "evaluation";
/// Sightings that are remembered; beyond it the memory begins anew, and known builds are written again.
const SIGHTINGS: usize = 1 << 20;
/// Changes taken between two prunings.
const PRUNE_EVERY: usize = 1 << 14;

/// A flag's or key's setting. Not both are `None`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub variant: Option<Box<str>>,
    pub value: Option<Box<str>>,
}

/// A lock file and its digest, if the event has one.
pub(crate) type Digest = (Box<str>, Option<Box<str>>);

/// A deployed version.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub version: Option<Box<str>>,
    pub git_sha: Option<Box<str>>,
    pub build_number: Option<Box<str>>,
    pub artifact: Option<Box<str>>,
    /// File and digest; `None` where the event has none.
    pub lockfile_digests: Option<Vec<Digest>>,
    pub schema_migrations: Option<Vec<Option<Box<str>>>>,
}

/// A build is its version and commit.
impl PartialEq for Build {
    fn eq(&self, other: &Self) -> bool {
        (&self.version, &self.git_sha) == (&other.version, &other.git_sha)
    }
}

/// (`flag` or `config`, key).
pub(crate) type Key = (Box<str>, Box<str>);

/// What is known in one tenant.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub settings: BTreeMap<Key, History<Setting>>,
    pub builds: FxHashMap<Arc<str>, History<Build>>,
    /// Times of all changes: between two of them every answer is the same.
    times: Vec<i64>,
}

impl Known {
    /// Number of the interval between changes in which a time lies.
    pub(crate) fn interval(&self, at: i64) -> usize {
        self.times.partition_point(|change| *change <= at)
    }

    fn note(&mut self, at: i64) {
        if let Err(place) = self.times.binary_search(&at) {
            self.times.insert(place, at);
        }
    }
}

/// What is known in all tenants, and which builds were sighted on resources.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    tenants: FxHashMap<Box<str>, Known>,
    sightings: FxHashSet<u64>,
    taken: usize,
}

/// What a resource says of its build: the identity of a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sighting<'a> {
    pub tenant: &'a str,
    pub service: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub version: Option<&'a str>,
    pub revision: Option<&'a str>,
}

impl Sighting<'_> {
    fn hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for part in [Some(self.tenant), self.service, self.instance, self.environment, self.version, self.revision] {
            hasher.update(&[u8::from(part.is_some())]);
            hasher.update(part.unwrap_or_default().as_bytes());
            hasher.update(&[0xff]);
        }
        hasher.digest()
    }
}

impl Changes {
    pub(crate) fn of(&self, tenant: &str) -> Option<&Known> {
        self.tenants.get(tenant)
    }

    /// Whether a sighting is the first of its kind.
    pub(crate) fn sight(&mut self, sighting: &Sighting<'_>) -> bool {
        if self.sightings.len() >= SIGHTINGS {
            self.sightings.clear();
        }
        self.sightings.insert(sighting.hash())
    }

    fn known(&mut self, tenant: &str) -> &mut Known {
        self.taken += 1;
        self.tenants.entry(tenant.into()).or_default()
    }

    pub(crate) fn push_flags(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = ScopeColumns::of(batch)?;
        let [kind, key, variant, value, source] = texts(batch, ["kind", "key", "variant", "value", "source"])?;
        let digest = Text::of(batch, "digest")?;
        for row in 0..batch.num_rows() {
            let (Some(key), Some(at)) = (key.get(row), columns.at(row)) else { continue };
            if source.get(row) == Some(EVALUATION) {
                continue;
            }
            let value = value.get(row).or_else(|| digest.get(row));
            let setting = Setting { variant: boxed(variant.get(row)), value: boxed(value) };
            let setting = (setting.variant.is_some() || setting.value.is_some()).then_some(setting);
            let known = self.known(columns.tenant.get(row).unwrap_or_default());
            let history = known.settings.entry((kind.get(row).unwrap_or("flag").into(), key.into())).or_default();
            if history.insert(Change { at, scope: columns.scope(row), value: setting }) {
                known.note(at);
            }
        }
        Ok(())
    }

    pub(crate) fn push_builds(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = ScopeColumns::of(batch)?;
        let [version, git_sha, build_number, artifact, source] =
            texts(batch, ["version", "git_sha", "build_number", "artifact", "source"])?;
        let missing = |name: &str| Error::Column { name: name.to_owned(), wanted: "as in the lake's builds" };
        let removed = batch.column_by_name("removed").and_then(|column| column.as_boolean_opt());
        let removed = removed.ok_or_else(|| missing("removed"))?;
        let lockfiles = batch.column_by_name("lockfile_digests").ok_or_else(|| missing("lockfile_digests"))?;
        let digests = Entries::of(lockfiles, "lockfile_digests")?;
        let migrations = batch.column_by_name("schema_migrations").and_then(|column| column.as_list_opt::<i32>());
        let migrations = migrations.ok_or_else(|| missing("schema_migrations"))?;
        for row in 0..batch.num_rows() {
            let (Some(service), Some(at)) = (columns.service.get(row), columns.at(row)) else { continue };
            let tenant = columns.tenant.get(row).unwrap_or_default();
            if source.get(row) == Some(SIGHTING) {
                let (instance, environment) = (columns.instance.get(row), columns.environment.get(row));
                let (version, revision) = (version.get(row), git_sha.get(row));
                let service = Some(service);
                self.sight(&Sighting { tenant, service, instance, environment, version, revision });
                continue;
            }
            let build = || Build {
                version: boxed(version.get(row)),
                git_sha: boxed(git_sha.get(row)),
                build_number: boxed(build_number.get(row)),
                artifact: boxed(artifact.get(row)),
                lockfile_digests: lockfiles
                    .is_valid(row)
                    .then(|| digests.row(row).map(|(file, digest)| (file.into(), boxed(digest))).collect()),
                schema_migrations: migrations.is_valid(row).then(|| {
                    let names = migrations.value(row);
                    let names = names.as_string_opt::<i32>();
                    names.map(|names| names.iter().map(boxed).collect()).unwrap_or_default()
                }),
            };
            let gone = removed.is_valid(row) && removed.value(row);
            let change = Change { at, scope: columns.scope(row), value: (!gone).then(build) };
            let known = self.known(tenant);
            if known.builds.entry(service.into()).or_default().insert(change) {
                known.note(at);
            }
        }
        Ok(())
    }

    /// Forgets what no trace that starts at or after `before` asks about, when enough has come together.
    pub(crate) fn prune(&mut self, before: i64) {
        if self.taken < PRUNE_EVERY {
            return;
        }
        self.taken = 0;
        for known in self.tenants.values_mut() {
            let mut changed = false;
            known.settings.values_mut().for_each(|history| changed |= history.prune(before));
            known.builds.values_mut().for_each(|history| changed |= history.prune(before));
            if changed {
                let settings = known.settings.values().flat_map(|history| history.changes().iter().map(|c| c.at));
                let builds = known.builds.values().flat_map(|history| history.changes().iter().map(|c| c.at));
                known.times = settings.chain(builds).collect();
                known.times.sort_unstable();
                known.times.dedup();
            }
        }
    }
}

struct ScopeColumns<'a> {
    tenant: Text<'a>,
    service: Text<'a>,
    instance: Text<'a>,
    environment: Text<'a>,
    at: &'a arrow::array::TimestampNanosecondArray,
}

impl<'a> ScopeColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            tenant: Text::of(batch, "tenant_id")?,
            service: Text::of(batch, "service_name")?,
            instance: Text::of(batch, "service_instance_id")?,
            environment: Text::of(batch, "deployment_environment_name")?,
            at: times(batch, "valid_from")?,
        })
    }

    fn at(&self, row: usize) -> Option<i64> {
        number(self.at, row)
    }

    fn scope(&self, row: usize) -> Scope {
        let part = |text: Text<'_>| text.get(row).map(Arc::from);
        Scope { service: part(self.service), instance: part(self.instance), environment: part(self.environment) }
    }
}

fn texts<'a, const N: usize>(batch: &'a RecordBatch, names: [&str; N]) -> Result<[Text<'a>; N]> {
    let columns = names.into_iter().map(|name| Text::of(batch, name)).collect::<Result<Vec<_>>>()?;
    columns.try_into().map_err(|_| Error::Column { name: names.join(", "), wanted: "text" })
}

fn boxed(text: Option<&str>) -> Option<Box<str>> {
    text.map(Box::from)
}
