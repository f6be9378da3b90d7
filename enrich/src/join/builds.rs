//! Which build served: what the resource says, else the deployments as of the time.

use std::sync::Arc;

use super::as_of::{Change, Effect, Subject};
use super::changes::{Build, Known, Sighting};

/// How a fact was found: the text of `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Match {
    /// The resource says it.
    Stated,
    /// The service evaluated it in this trace.
    Evaluated,
    /// The newest change before.
    AsOf,
    /// More than one is possible.
    Ambiguous,
}

impl Match {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::Evaluated => "evaluated",
            Self::AsOf => "as_of",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// An entry of `builds_in_effect`. Of an ambiguous one version and commit are absent: no claim can
/// rest on them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BuildInEffect {
    pub service: Option<Box<str>>,
    pub instance: Option<Box<str>>,
    pub environment: Option<Box<str>>,
    pub version: Option<Box<str>>,
    pub git_sha: Option<Box<str>>,
    /// What the deployment says beside version and commit.
    pub deployment: Option<Arc<Change<Build>>>,
    pub matched: Match,
    pub candidates: Vec<String>,
}

/// The build of a runtime between two times; `None` where nothing is known.
pub(crate) fn in_effect(runtime: &Sighting<'_>, known: Option<&Known>, from: i64, to: i64) -> Option<BuildInEffect> {
    let history = known.zip(runtime.service).and_then(|(known, service)| known.builds.get(service));
    let entry = |version, git_sha, deployment, matched, candidates| BuildInEffect {
        service: runtime.service.map(Box::from),
        instance: runtime.instance.map(Box::from),
        environment: runtime.environment.map(Box::from),
        version,
        git_sha,
        deployment,
        matched,
        candidates,
    };
    if runtime.version.is_some() || runtime.revision.is_some() {
        let changes = history.map(|history| history.changes()).unwrap_or_default();
        let deployment = deployment_of(runtime, changes, to);
        let said = |stated: Option<&str>, of: fn(&Build) -> &Option<Box<str>>| {
            let deployed =
                deployment.as_ref().and_then(|change| change.value.as_ref()).and_then(|build| of(build).clone());
            stated.map(Box::from).or(deployed)
        };
        let version = said(runtime.version, |build| &build.version);
        let git_sha = said(runtime.revision, |build| &build.git_sha);
        return Some(entry(version, git_sha, deployment, Match::Stated, vec![]));
    }
    match history?.effect(runtime.subject(), from, to) {
        Effect::Nothing => None,
        Effect::One(change) => {
            let build = change.value.as_ref()?;
            let (version, git_sha) = (build.version.clone(), build.git_sha.clone());
            Some(entry(version, git_sha, Some(Arc::clone(&change)), Match::AsOf, vec![]))
        }
        Effect::Ambiguous(changes) => {
            let candidates = changes.iter().map(|change| name(change.value.as_ref())).collect();
            Some(entry(None, None, None, Match::Ambiguous, candidates))
        }
    }
}

/// `version+git_sha`; what is unknown is left out, a removal is `removed`.
fn name(build: Option<&Build>) -> String {
    match build {
        None => "removed".to_owned(),
        Some(Build { version, git_sha, .. }) => {
            let parts: Vec<&str> = [version, git_sha].into_iter().filter_map(|part| part.as_deref()).collect();
            parts.join("+")
        }
    }
}

/// The deployment that brought the stated build: the newest up to `to`, else the first after it.
fn deployment_of(runtime: &Sighting<'_>, changes: &[Arc<Change<Build>>], to: i64) -> Option<Arc<Change<Build>>> {
    let Subject { instance, environment, .. } = runtime.subject();
    let holds = |named: &Option<Arc<str>>, of: Option<&str>| named.is_none() || of.is_none() || named.as_deref() == of;
    let mut matching = changes.iter().filter(|change| {
        let scope = &change.scope;
        let same = change.value.as_ref().is_some_and(|build| is_build(runtime, build));
        same && holds(&scope.instance, instance) && holds(&scope.environment, environment)
    });
    let mut newest = None;
    for change in matching.by_ref() {
        if change.at > to {
            return newest.or(Some(change)).cloned();
        }
        newest = Some(change);
    }
    newest.cloned()
}

/// Whether a deployed build is the one that the resource states. Commits are often cut short.
fn is_build(runtime: &Sighting<'_>, build: &Build) -> bool {
    let commits = runtime.revision.zip(build.git_sha.as_deref());
    let same_commit = commits.map(|(a, b)| a.len().min(b.len()) >= 7 && (a.starts_with(b) || b.starts_with(a)));
    let versions = runtime.version.zip(build.version.as_deref());
    let same_version = versions.map(|(a, b)| a == b);
    match (same_version, same_commit) {
        (Some(version), Some(commit)) => version && commit,
        (one, other) => one.or(other).unwrap_or(false),
    }
}
