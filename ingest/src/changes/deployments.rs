//! Deployed versions, from CDEvents.
//!
//! An event comes bare, in a structured CloudEvent (`data`), or as the data of a binary one (headers `ce_...`).
//! The commit of a deployment often stands in an earlier event, so commits are remembered (within a bound) by
//! event id, chain, change and artifact, and found over `context.links` and `context.chainId`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, ListBuilder, MapBuilder, MapFieldNames, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder,
};
use arrow::error::ArrowError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tracerag_schemas::Table;

use super::cleaning::Cleaner;
use super::json::{self, Object};
use super::purl::{Purl, is_commit};
use super::rows::{OriginColumns, times};
use super::{ChangeError, Origin};
use crate::redact::{RedactionCounts, Redactor};

/// Commits that are remembered. A chain from merge to deployment takes hours, not months.
const REMEMBERED: usize = 50_000;

/// What a record of the deployments topic became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentOutcome {
    /// A row.
    Row,
    /// No row, but it may tell the commit of a later deployment.
    Remembered,
    /// An event of another type (given), which says nothing about deployed versions. Count it.
    Skipped(String),
}

/// Decodes records of the deployments topic into rows of `builds`.
pub struct DeploymentDecoder {
    redactor: Arc<Redactor>,
    counts: RedactionCounts,
    commits: Commits,
    rows: BuildRows,
}

/// A CDEvent out of its envelope.
struct CdEvent<'e> {
    /// `service.deployed` of `dev.cdevents.service.deployed.0.3.0`.
    kind: String,
    id: Option<String>,
    chain: Option<String>,
    time: Option<i64>,
    links: Vec<String>,
    subject_id: Option<String>,
    content: Option<&'e Object>,
    custom: Custom,
}

/// What `customData` says.
#[derive(Default)]
struct Custom {
    commit: Option<String>,
    version: Option<String>,
    instance: Option<String>,
    build_number: Option<String>,
    lockfile_digests: Vec<(String, String)>,
    schema_migrations: Vec<String>,
}

/// A row, redacted.
struct BuildRow<'r> {
    service: String,
    environment: Option<String>,
    version: Option<String>,
    commit: Option<String>,
    artifact: Option<String>,
    custom: Custom,
    valid_from: i64,
    is_removed: bool,
    event_type: &'r str,
}

impl DeploymentDecoder {
    /// A decoder that remembers nothing yet and masks with this policy: the name of an artifact may carry the
    /// credentials of its registry, a migration the name of whom it was made for.
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, counts: RedactionCounts::default(), commits: Commits::default(), rows: BuildRows::default() }
    }

    /// Decodes one record. `headers` are those of the Kafka record; only `ce_...` matter.
    ///
    /// # Errors
    /// Says what is wrong, for the dead letters.
    pub fn decode<'h>(
        &mut self,
        bytes: &[u8],
        headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
        origin: &Origin<'_>,
    ) -> Result<DeploymentOutcome, ChangeError> {
        let outer = json::object(bytes)?;
        let attributes = cloud_event_headers(headers);
        let data = structured_data(&outer)?;
        let event = match &data {
            Some(data) => CdEvent::read(data, &outer)?,
            None => CdEvent::read(&outer, &attributes)?,
        };
        match event.kind.as_str() {
            "service.deployed" | "service.upgraded" | "service.rolledback" => self.deployed(&event, origin),
            "service.removed" => self.removed(&event, origin),
            "change.merged" | "artifact.packaged" | "artifact.published" => {
                let commit = self.find_commit(&event, origin.tenant);
                self.remember(&event, commit, origin.tenant);
                Ok(DeploymentOutcome::Remembered)
            }
            _ => {
                // A pipeline's own events may stand between the merge and the deployment in a chain of links.
                let commit = self.linked_commit(&event, origin.tenant);
                self.remember(&event, commit, origin.tenant);
                Ok(DeploymentOutcome::Skipped(event.kind))
            }
        }
    }

    fn deployed(&mut self, event: &CdEvent<'_>, origin: &Origin<'_>) -> Result<DeploymentOutcome, ChangeError> {
        let service = event.service()?;
        let environment = event.environment()?;
        let artifact = event.artifact()?;
        let purl = artifact.as_deref().and_then(Purl::parse).unwrap_or_default();
        let commit = self.find_commit(event, origin.tenant);
        let version = event.custom.version.as_deref().or(purl.human_version());
        let mut clean = Cleaner::new(&self.redactor, &mut self.counts, origin.tenant);
        let row = BuildRow {
            service: clean.attribute("service.name", &service),
            environment: environment.map(|environment| clean.attribute("deployment.environment.name", &environment)),
            version: version.map(|version| clean.attribute("service.version", version)),
            commit: commit.as_deref().map(|commit| clean.attribute("vcs.ref.head.revision", commit)),
            artifact: artifact.map(|artifact| clean.text(&artifact)),
            custom: event.custom.cleaned(&mut clean),
            valid_from: event.time.unwrap_or_else(|| origin.time()),
            is_removed: false,
            event_type: &event.kind,
        };
        self.rows.push(&row, origin);
        self.remember(event, commit, origin.tenant);
        Ok(DeploymentOutcome::Row)
    }

    fn removed(&mut self, event: &CdEvent<'_>, origin: &Origin<'_>) -> Result<DeploymentOutcome, ChangeError> {
        let service = event.service()?;
        let environment = event.environment()?;
        let mut clean = Cleaner::new(&self.redactor, &mut self.counts, origin.tenant);
        let row = BuildRow {
            service: clean.attribute("service.name", &service),
            environment: environment.map(|environment| clean.attribute("deployment.environment.name", &environment)),
            version: None,
            commit: None,
            artifact: None,
            custom: event.custom.cleaned(&mut clean),
            valid_from: event.time.unwrap_or_else(|| origin.time()),
            is_removed: true,
            event_type: &event.kind,
        };
        self.rows.push(&row, origin);
        Ok(DeploymentOutcome::Row)
    }

    /// The commit that an event stands for: what it says itself, what is linked, what its artifact's name says.
    fn find_commit(&mut self, event: &CdEvent<'_>, tenant: &str) -> Option<String> {
        if let Some(commit) = &event.custom.commit {
            return Some(commit.clone());
        }
        if event.kind == "change.merged"
            && let Some(commit) = event.subject_id.as_deref().map(last_segment).filter(|id| is_commit(id))
        {
            return Some(commit.to_owned());
        }
        let change = event.content.and_then(|content| json::child(content, "change").ok()?);
        let change = change.and_then(|change| json::text(change, "id").ok()?);
        if let Some(change) = change {
            if let Some(commit) = self.commits.get(tenant, "change", &change) {
                return Some(commit);
            }
            if is_commit(last_segment(&change)) {
                return Some(last_segment(&change).to_owned());
            }
        }
        self.linked_commit(event, tenant).or_else(|| {
            let artifact = event.artifact().ok()??;
            let named = || Purl::parse(&artifact)?.version.filter(|version| is_commit(version));
            self.commits.get(tenant, "artifact", &artifact).or_else(named)
        })
    }

    fn linked_commit(&self, event: &CdEvent<'_>, tenant: &str) -> Option<String> {
        let linked = event.links.iter().find_map(|id| self.commits.get(tenant, "event", id));
        linked.or_else(|| self.commits.get(tenant, "chain", event.chain.as_deref()?))
    }

    fn remember(&mut self, event: &CdEvent<'_>, commit: Option<String>, tenant: &str) {
        let Some(commit) = commit else { return };
        let commits = &mut self.commits;
        if let Some(id) = &event.id {
            commits.put(tenant, "event", id, &commit);
        }
        if let Some(chain) = &event.chain {
            commits.put(tenant, "chain", chain, &commit);
        }
        match (event.kind.as_str(), &event.subject_id) {
            ("change.merged", Some(change)) => commits.put(tenant, "change", change, &commit),
            ("artifact.packaged" | "artifact.published", Some(artifact)) => {
                commits.put(tenant, "artifact", artifact, &commit);
            }
            _ => {}
        }
    }

    /// Number of rows waiting.
    pub fn len(&self) -> usize {
        self.rows.origin.len()
    }

    /// Whether no row is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was redacted since the last call.
    pub fn take_redactions(&mut self) -> RedactionCounts {
        std::mem::take(&mut self.counts)
    }

    /// The rows so far, in the order of the records, with the schema `Table::Builds.lake_schema()`. What is
    /// remembered stays.
    ///
    /// # Errors
    /// When the rows do not fit the schema, which only a defect can cause.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows.finish()
    }
}

/// Attributes of a binary CloudEvent, as the object that a structured one would be.
fn cloud_event_headers<'h>(headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>) -> Object {
    let attribute = |(name, value): (&str, Option<&[u8]>)| {
        let name = name.strip_prefix("ce_").or_else(|| name.strip_prefix("ce-"))?;
        Some((name.to_ascii_lowercase(), Value::String(std::str::from_utf8(value?).ok()?.to_owned())))
    };
    headers.into_iter().filter_map(attribute).collect()
}

/// The `data` of a structured CloudEvent; `None` if the object is none.
fn structured_data(outer: &Object) -> Result<Option<Object>, ChangeError> {
    if !outer.contains_key("specversion") || outer.contains_key("context") {
        return Ok(None);
    }
    let wrong = |detail: &str| ChangeError::NotACdEvent { detail: format!("the cloud event's {detail}") };
    match (outer.get("data"), outer.get("data_base64")) {
        (Some(Value::Object(data)), _) => Ok(Some(data.clone())),
        (Some(Value::String(text)), _) => json::object(text.as_bytes()).map(Some),
        (None | Some(Value::Null), Some(Value::String(text))) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| wrong("data_base64 is not base64"))?;
            json::object(&bytes).map(Some)
        }
        (None | Some(Value::Null), None) => Err(wrong("data is missing")),
        _ => Err(wrong("data is no object")),
    }
}

impl<'e> CdEvent<'e> {
    /// `envelope` has the CloudEvent's attributes, which stand in where the event's own context says nothing.
    fn read(event: &'e Object, envelope: &Object) -> Result<Self, ChangeError> {
        let wrong = |detail: &str| ChangeError::NotACdEvent { detail: detail.to_owned() };
        let empty = Object::new();
        let context = json::child(event, "context")?.unwrap_or(&empty);
        let event_type = match json::text(context, "type")? {
            Some(event_type) => event_type,
            None => json::text(envelope, "type")?.ok_or_else(|| wrong("context.type is missing"))?,
        };
        let mut parts = event_type.strip_prefix("dev.cdevents.").unwrap_or_default().splitn(3, '.');
        let kind = match (parts.next(), parts.next()) {
            (Some(subject), Some(predicate)) if !subject.is_empty() && !predicate.is_empty() => {
                format!("{subject}.{predicate}")
            }
            _ => return Err(wrong("its type is not \"dev.cdevents.\", a subject and a predicate")),
        };
        let time = match json::time(context, "timestamp")? {
            Some(time) => Some(time),
            None => json::time(envelope, "time")?,
        };
        let subject = json::child(event, "subject")?;
        let or_none =
            |object: Option<&Object>, field: &str| object.map_or(Ok(None), |object| json::text(object, field));
        let subject_id = match or_none(subject, "id")? {
            Some(id) => Some(id),
            None => json::text(envelope, "subject")?,
        };
        let content = match subject {
            Some(subject) => json::child(subject, "content")?,
            None => None,
        };
        Ok(Self {
            kind,
            id: json::text(context, "id")?,
            chain: json::text(context, "chainId")?,
            time,
            links: link_targets(context),
            subject_id,
            content,
            custom: Custom::read(event)?,
        })
    }

    fn service(&self) -> Result<String, ChangeError> {
        let id = self.subject_id.as_deref().map(last_segment).filter(|id| !id.is_empty());
        id.map(str::to_owned).ok_or(ChangeError::Missing { field: "subject.id" })
    }

    fn environment(&self) -> Result<Option<String>, ChangeError> {
        let Some(content) = self.content else { return Ok(None) };
        match content.get("environment") {
            Some(Value::String(id)) => Ok(Some(id.clone()).filter(|id| !id.is_empty())),
            _ => json::child(content, "environment")?.map_or(Ok(None), |environment| json::text(environment, "id")),
        }
    }

    /// The purl: of a service event in its content, of an artifact event the subject itself.
    fn artifact(&self) -> Result<Option<String>, ChangeError> {
        match self.content {
            Some(content) if self.kind.starts_with("service.") => json::text(content, "artifactId"),
            _ if self.kind.starts_with("artifact.") => Ok(self.subject_id.clone()),
            _ => Ok(None),
        }
    }
}

/// Events that an event comes from: `from` of PATH and END links, `target` of RELATION links.
fn link_targets(context: &Object) -> Vec<String> {
    let Some(Value::Array(links)) = context.get("links") else { return Vec::new() };
    let target = |link: &Value| {
        let end = link.get("from").or_else(|| link.get("target"))?;
        let id = end.get("contextId").or_else(|| end.get("contextid")).unwrap_or(end);
        id.as_str().map(str::to_owned)
    };
    links.iter().filter_map(target).collect()
}

/// The last path segment of a URI-like id; an id without one is taken as it is.
fn last_segment(id: &str) -> &str {
    if !id.contains('/') {
        return id.strip_prefix("urn:").and_then(|urn| urn.rsplit(':').next()).unwrap_or(id);
    }
    let end = id.find(['?', '#']).unwrap_or(id.len());
    let path = id[..end].trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

impl Custom {
    fn read(event: &Object) -> Result<Self, ChangeError> {
        let parsed;
        let custom = match event.get("customData") {
            Some(Value::Object(custom)) => custom,
            // With another content type than JSON it is a text that is nobody's business here.
            Some(Value::String(text)) => match json::object(text.as_bytes()) {
                Ok(object) => {
                    parsed = object;
                    &parsed
                }
                Err(_) => return Ok(Self::default()),
            },
            _ => return Ok(Self::default()),
        };
        let lockfile_digests = json::child(custom, "lockfile_digests")?;
        let schema_migrations = match custom.get("schema_migrations") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().filter_map(json::any_value).collect(),
            Some(_) => return Err(ChangeError::FieldType { field: "schema_migrations".to_owned(), wanted: "a list" }),
        };
        Ok(Self {
            commit: json::any_text(custom, &["vcs.ref.head.revision", "git_sha"])?,
            version: json::text(custom, "service.version")?,
            instance: json::text(custom, "service.instance.id")?,
            build_number: json::text(custom, "build_number")?,
            lockfile_digests: lockfile_digests
                .into_iter()
                .flatten()
                .filter_map(|(file, digest)| Some((file.clone(), json::any_value(digest)?)))
                .collect(),
            schema_migrations,
        })
    }

    /// What goes into a row. Version and commit do so by other ways.
    fn cleaned(&self, clean: &mut Cleaner<'_>) -> Self {
        let instance = self.instance.as_deref();
        let digests = self.lockfile_digests.iter();
        Self {
            commit: None,
            version: None,
            instance: instance.map(|instance| clean.attribute("service.instance.id", instance)),
            build_number: self.build_number.as_deref().map(|number| clean.record_id(number)),
            lockfile_digests: digests.map(|(file, digest)| (clean.name(file), clean.text(digest))).collect(),
            schema_migrations: self.schema_migrations.iter().map(|migration| clean.text(migration)).collect(),
        }
    }
}

/// A bounded memory of commits; what came first is forgotten first.
#[derive(Default)]
struct Commits {
    known: HashMap<(String, &'static str, String), String>,
    order: VecDeque<(String, &'static str, String)>,
}

impl Commits {
    fn get(&self, tenant: &str, what: &'static str, id: &str) -> Option<String> {
        self.known.get(&(tenant.to_owned(), what, id.to_owned())).cloned()
    }

    fn put(&mut self, tenant: &str, what: &'static str, id: &str, commit: &str) {
        let key = (tenant.to_owned(), what, id.to_owned());
        if self.known.insert(key.clone(), commit.to_owned()).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

struct BuildRows {
    service: StringBuilder,
    instance: StringBuilder,
    environment: StringBuilder,
    version: StringBuilder,
    commit: StringBuilder,
    build_number: StringBuilder,
    artifact: StringBuilder,
    lockfile_digests: MapBuilder<StringBuilder, StringBuilder>,
    schema_migrations: ListBuilder<StringBuilder>,
    valid_from: TimestampNanosecondBuilder,
    source: StringBuilder,
    is_removed: BooleanBuilder,
    event_type: StringBuilder,
    origin: OriginColumns,
}

impl Default for BuildRows {
    fn default() -> Self {
        let text = StringBuilder::new;
        let names = MapFieldNames { entry: "entries".to_owned(), key: "keys".to_owned(), value: "values".to_owned() };
        Self {
            service: text(),
            instance: text(),
            environment: text(),
            version: text(),
            commit: text(),
            build_number: text(),
            artifact: text(),
            lockfile_digests: MapBuilder::new(Some(names), text(), text()),
            schema_migrations: ListBuilder::new(text()),
            valid_from: times(),
            source: text(),
            is_removed: BooleanBuilder::new(),
            event_type: text(),
            origin: OriginColumns::default(),
        }
    }
}

impl BuildRows {
    fn push(&mut self, row: &BuildRow<'_>, origin: &Origin<'_>) {
        let custom = &row.custom;
        self.service.append_value(&row.service);
        self.instance.append_option(custom.instance.as_deref());
        self.environment.append_option(row.environment.as_deref());
        self.version.append_option(row.version.as_deref());
        self.commit.append_option(row.commit.as_deref());
        self.build_number.append_option(custom.build_number.as_deref());
        self.artifact.append_option(row.artifact.as_deref());
        for (file, digest) in &custom.lockfile_digests {
            self.lockfile_digests.keys().append_value(file);
            self.lockfile_digests.values().append_value(digest);
        }
        let has_digests = !custom.lockfile_digests.is_empty();
        // Every key above has its value, which is all that this can complain of.
        if let Err(error) = self.lockfile_digests.append(has_digests) {
            tracing::error!(%error, "lockfile digests");
        }
        for migration in &custom.schema_migrations {
            self.schema_migrations.values().append_value(migration);
        }
        self.schema_migrations.append(!custom.schema_migrations.is_empty());
        self.valid_from.append_value(row.valid_from);
        self.source.append_value("cdevent");
        self.is_removed.append_value(row.is_removed);
        self.event_type.append_value(row.event_type);
        self.origin.push(origin);
    }

    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let own: Vec<ArrayRef> = vec![
            Arc::new(self.service.finish()),
            Arc::new(self.instance.finish()),
            Arc::new(self.environment.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.commit.finish()),
            Arc::new(self.build_number.finish()),
            Arc::new(self.artifact.finish()),
            Arc::new(self.lockfile_digests.finish()),
            Arc::new(self.schema_migrations.finish()),
            Arc::new(self.valid_from.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.is_removed.finish()),
            Arc::new(self.event_type.finish()),
        ];
        self.origin.finish(Table::Builds, own)
    }
}

#[cfg(test)]
#[path = "deployments_test.rs"]
mod tests;
