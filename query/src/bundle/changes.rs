//! Flags and builds in effect, as the trace's row has fixed them at its close.

use tracerag_schemas::anchor::{ALL_SERVICES, Anchors, Target, version_or_commit};
use tracerag_schemas::bundle::{Build, Flag};

use crate::error::Result;
use crate::rows::{Columns, instant, items, owned, texts};

/// A row's flags, in stated order, without anchors.
pub(crate) fn flags_in_effect(columns: Columns<'_>, row: usize) -> Result<Vec<Flag>> {
    let list = columns.list("flags_in_effect")?;
    let fields = columns.items(list, "flags_in_effect")?;
    let text = |name| fields.text(name);
    let (kind, key, variant, value) = (text("kind")?, text("key")?, text("variant")?, text("value")?);
    let (service, instance, environment) = (text("service")?, text("instance")?, text("environment")?);
    let (since, matched, span_id) = (fields.time("since")?, text("match")?, text("span_id")?);
    let candidates = fields.list("candidates")?;
    let mut flags: Vec<Flag> = items(list, row)
        .map(|item| Flag {
            anchor: String::new(),
            kind: owned(kind, item),
            key: owned(key, item),
            variant: owned(variant, item),
            value: owned(value, item),
            service: owned(service, item),
            instance: owned(instance, item),
            environment: owned(environment, item),
            since: instant(since, item),
            r#match: owned(matched, item),
            span_id: owned(span_id, item),
            candidates: texts(candidates, item),
        })
        .collect();
    flags.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(flags)
}

fn order(flag: &Flag) -> impl Ord + use<'_> {
    (
        (&flag.kind, &flag.key, &flag.service, &flag.instance, &flag.environment),
        (&flag.since, &flag.span_id, &flag.variant, &flag.value, &flag.r#match),
    )
}

/// Gives flags their anchors, in list order.
pub(super) fn flags(mut flags: Vec<Flag>, anchors: &mut Anchors) -> Vec<Flag> {
    for flag in &mut flags {
        let key = flag.key.clone().unwrap_or_default();
        let service = flag.service.clone().unwrap_or_else(|| ALL_SERVICES.to_owned());
        let target = match flag.kind.as_deref() {
            Some("config") => Target::Config { key, service },
            _ => Target::Flag { key, service: Some(service) },
        };
        flag.anchor = anchors.next(target).to_string();
    }
    flags
}

/// A row's builds, in stated order, without anchors.
pub(crate) fn builds_in_effect(columns: Columns<'_>, row: usize) -> Result<Vec<Build>> {
    let list = columns.list("builds_in_effect")?;
    let fields = columns.items(list, "builds_in_effect")?;
    let text = |name| fields.text(name);
    let (service, instance, environment) = (text("service")?, text("instance")?, text("environment")?);
    let (version, git_sha) = (text("version")?, text("git_sha")?);
    let (build_number, artifact) = (text("build_number")?, text("artifact")?);
    let (lockfiles, migrations) = (fields.texts_map("lockfile_digests")?, fields.list("schema_migrations")?);
    let (deployed_at, matched, candidates) = (fields.time("deployed_at")?, text("match")?, fields.list("candidates")?);
    let mut builds: Vec<Build> = items(list, row)
        .map(|item| Build {
            anchor: String::new(),
            service: owned(service, item),
            instance: owned(instance, item),
            environment: owned(environment, item),
            version: owned(version, item),
            git_sha: owned(git_sha, item),
            build_number: owned(build_number, item),
            artifact: owned(artifact, item),
            lockfile_digests: lockfiles.json(item),
            schema_migrations: texts(migrations, item),
            deployed_at: instant(deployed_at, item),
            r#match: owned(matched, item),
            candidates: texts(candidates, item),
        })
        .collect();
    builds.sort_by(|a, b| {
        let key = |build: &Build| {
            (
                build.service.clone(),
                build.instance.clone(),
                build.version.clone(),
                build.git_sha.clone(),
                build.environment.clone(),
                build.deployed_at.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    Ok(builds)
}

/// Gives builds their anchors, in list order.
pub(super) fn builds(mut builds: Vec<Build>, anchors: &mut Anchors) -> Vec<Build> {
    for build in &mut builds {
        let version = version_or_commit(build.version.as_deref(), build.git_sha.as_deref());
        let service = build.service.clone().unwrap_or_else(|| "unknown".to_owned());
        build.anchor = anchors.next(Target::Build { service, version: Some(version.to_owned()) }).to_string();
    }
    builds
}

/// The build that ran a span: of its service, of its commit or version where the span says one, and
/// of its instance before one of any instance.
pub(super) fn build_of<'a>(
    builds: &'a [Build],
    service: Option<&str>,
    instance: Option<&str>,
    version: Option<&str>,
    git_sha: Option<&str>,
) -> Option<&'a Build> {
    let fits = |build: &&Build| {
        build.service.as_deref() == service
            && (build.instance.is_none() || build.instance.as_deref() == instance)
            && match (git_sha, build.git_sha.as_deref()) {
                (Some(own), Some(known)) => own == known,
                _ => version.is_none() || build.version.is_none() || build.version.as_deref() == version,
            }
    };
    builds.iter().filter(fits).max_by_key(|build| (build.instance.is_some(), std::cmp::Reverse(&build.anchor)))
}
