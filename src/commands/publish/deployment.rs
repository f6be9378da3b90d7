//! `tracerag publish deployment`: a deployed version, with what its repository knows of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracerag_ingest::source::Change;

use super::Place;
use crate::changes::event::{Deployment, Happened, now};
use crate::changes::lockfiles;
use crate::error::Error;
use crate::repository::{Commit, Repository, RepositoryError};

/// Options of `publish deployment`.
#[derive(Debug, Args)]
pub(super) struct DeploymentArgs {
    #[command(flatten)]
    place: Place,
    /// What happened
    #[arg(long, value_enum, default_value_t = Event::Deployed)]
    event: Event,
    /// The version, as spans state it in service.version [default: the tag of the commit, if it has one]
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// The commit that it is built from, 7 or more digits [default: the one that is checked out]
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// The git repository that it is built from
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// Look into no repository: version, commit and lock files are those that are given here
    #[arg(long, conflicts_with_all = ["lockfile", "folder"])]
    no_git: bool,
    /// The folder of the service in the repository: lock files are looked for below it
    #[arg(long, value_name = "PATH", default_value = "")]
    folder: String,
    /// A lock file, by its path in the repository, instead of those that are found
    #[arg(long, value_name = "PATH")]
    lockfile: Vec<String>,
    /// What is deployed, as a purl: pkg:oci/payments@sha256%3A...?tag=1.9.0
    #[arg(long, value_name = "PURL")]
    artifact: Option<String>,
    /// The number of the build
    #[arg(long, value_name = "NUMBER")]
    build_number: Option<String>,
    /// A migration of a schema that comes with it
    #[arg(long, value_name = "NAME")]
    migration: Vec<String>,
}

/// What happened to the service.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Event {
    /// A version runs that did not before
    Deployed,
    /// A newer version has replaced one
    Upgraded,
    /// An older version has replaced one
    Rolledback,
    /// It runs no more
    Removed,
}

/// What a repository says of a build.
#[derive(Default)]
struct Built {
    version: Option<String>,
    commit: Option<String>,
    repository: Option<String>,
    lockfile_digests: Vec<(String, String)>,
}

impl DeploymentArgs {
    /// The record.
    ///
    /// # Errors
    /// When the repository cannot be read, or lacks the commit or a lock file.
    pub(super) fn change(self) -> Result<Change, Error> {
        let Some(service) = self.place.service.clone() else {
            return Err(Error::Usage(String::from("name the service that was deployed: --service payments")));
        };
        let built = match self.no_git {
            true => Built { commit: self.commit.clone(), ..Built::default() },
            false => self.built()?,
        };
        let deployment = Deployment {
            happened: match self.event {
                Event::Deployed => Happened::Deployed,
                Event::Upgraded => Happened::Upgraded,
                Event::Rolledback => Happened::RolledBack,
                Event::Removed => Happened::Removed,
            },
            id: hex::encode(rand::random::<[u8; 16]>()),
            source: built.repository.clone().unwrap_or_else(|| String::from("/tracerag/publish")),
            time: self.place.at.unwrap_or_else(now),
            service,
            instance: self.place.instance,
            environment: self.place.environment,
            artifact: self.artifact,
            version: self.release.or(built.version),
            commit: built.commit,
            repository: built.repository,
            build_number: self.build_number,
            lockfile_digests: built.lockfile_digests,
            schema_migrations: self.migration,
        };
        Ok(deployment.change())
    }

    fn built(&self) -> Result<Built, Error> {
        let repository = Repository::open(&self.repo)?;
        let commit = match &self.commit {
            Some(digits) => repository.commit(digits)?,
            None => repository.head()?,
        };
        Ok(Built {
            version: repository.tag(&commit)?,
            repository: repository.origin()?,
            lockfile_digests: self.lockfiles(&commit)?,
            commit: Some(commit.sha),
        })
    }

    fn lockfiles(&self, commit: &Commit) -> Result<Vec<(String, String)>, Error> {
        if self.lockfile.is_empty() {
            return Ok(lockfiles::below(commit, &self.folder)?);
        }
        let named: Result<_, RepositoryError> = lockfiles::named(commit, &self.lockfile);
        named?.map_err(|path| {
            Error::Usage(format!(
                "--lockfile {path}: commit {} has no such file; give its path from the top of the repository",
                commit.short()
            ))
        })
    }
}
