//! Records as the topics have them: a deployed version as a CDEvent, a change of a flag or of configuration.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracerag_ingest::source::{Change, Signal};
use tracerag_schemas::time::rfc3339;

/// What happened to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Happened {
    /// A version runs that did not before.
    #[default]
    Deployed,
    /// A newer version has replaced one.
    Upgraded,
    /// An older version has replaced one.
    RolledBack,
    /// It runs no more.
    Removed,
}

impl Happened {
    /// The type of the CDEvent.
    fn kind(self) -> &'static str {
        match self {
            Self::Deployed => "dev.cdevents.service.deployed.0.2.0",
            Self::Upgraded => "dev.cdevents.service.upgraded.0.2.0",
            Self::RolledBack => "dev.cdevents.service.rolledback.0.2.0",
            Self::Removed => "dev.cdevents.service.removed.0.2.0",
        }
    }
}

/// A version of a service that runs from a time on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deployment {
    pub(crate) happened: Happened,
    /// Tells it from every other event of its source.
    pub(crate) id: String,
    /// Who says it.
    pub(crate) source: String,
    /// RFC 3339.
    pub(crate) time: String,
    pub(crate) service: String,
    pub(crate) instance: Option<String>,
    pub(crate) environment: Option<String>,
    /// A purl.
    pub(crate) artifact: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) commit: Option<String>,
    /// Where its source is.
    pub(crate) repository: Option<String>,
    pub(crate) build_number: Option<String>,
    /// `sha256:` and 64 hex digits by the file's path.
    pub(crate) lockfile_digests: Vec<(String, String)>,
    pub(crate) schema_migrations: Vec<String>,
}

impl Deployment {
    /// The CDEvent.
    pub(crate) fn event(&self) -> Value {
        let environment = self.environment.as_ref().map(|id| json!({"id": id}));
        let content = object([("environment", environment), ("artifactId", self.artifact.clone().map(Value::from))]);
        let digests = self.lockfile_digests.iter().map(|(file, digest)| (file.clone(), Value::from(digest.as_str())));
        let digests: Map<String, Value> = digests.collect();
        let migrations = self.schema_migrations.clone();
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let custom = object([
            ("vcs.ref.head.revision", text(&self.commit)),
            ("vcs.repository.url.full", text(&self.repository)),
            ("service.version", text(&self.version)),
            ("service.instance.id", text(&self.instance)),
            ("build_number", text(&self.build_number)),
            ("lockfile_digests", (!digests.is_empty()).then_some(Value::Object(digests))),
            ("schema_migrations", (!migrations.is_empty()).then(|| Value::from(migrations))),
        ]);
        json!({
            "context": {"version": "0.4.1", "id": self.id, "source": self.source, "type": self.happened.kind(),
                        "timestamp": self.time},
            "subject": {"id": self.service, "source": self.source, "type": "service", "content": content},
            "customData": custom,
            "customDataContentType": "application/json",
        })
    }

    /// The record.
    pub(crate) fn change(&self) -> Change {
        Change {
            signal: Signal::Deployments,
            key: Some(self.service.clone()),
            value: self.event().to_string().into_bytes(),
            headers: vec![],
        }
    }
}

/// What a flag is from a time on. Without variant and value it is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct FlagChange {
    /// RFC 3339.
    pub(crate) time: String,
    pub(crate) key: String,
    pub(crate) variant: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) set_id: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) reason: Option<String>,
}

impl FlagChange {
    /// The record.
    pub(crate) fn change(&self) -> Change {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let mut change = object([("time", Some(Value::from(self.time.as_str())))]);
        change.insert("feature_flag.key".to_owned(), Value::from(self.key.as_str()));
        // Both are there: null for both is a deletion.
        change.insert("feature_flag.result.variant".to_owned(), text(&self.variant).unwrap_or_default());
        change.insert("feature_flag.result.value".to_owned(), text(&self.value).unwrap_or_default());
        change.extend(object([
            ("feature_flag.result.reason", text(&self.reason)),
            ("feature_flag.provider.name", text(&self.provider)),
            ("feature_flag.set.id", text(&self.set_id)),
            ("feature_flag.version", text(&self.version)),
        ]));
        change.extend(place(&self.service, &self.instance, &self.environment));
        of_flags(&self.key, change)
    }
}

/// What a key of configuration is from a time on. Without value and digest it is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigChange {
    /// RFC 3339.
    pub(crate) time: String,
    pub(crate) key: String,
    pub(crate) value: Option<String>,
    /// Stands for a value that nobody may know.
    pub(crate) digest: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) environment: Option<String>,
}

impl ConfigChange {
    /// The record.
    pub(crate) fn change(&self) -> Change {
        let mut change = object([("time", Some(Value::from(self.time.as_str())))]);
        change.insert("config.key".to_owned(), Value::from(self.key.as_str()));
        match &self.digest {
            Some(digest) => change.insert("config.digest".to_owned(), Value::from(digest.as_str())),
            None => {
                let value = self.value.clone().map(Value::from);
                change.insert("config.value".to_owned(), value.unwrap_or_default())
            }
        };
        change.extend(place(&self.service, &self.instance, &self.environment));
        of_flags(&self.key, change)
    }
}

fn of_flags(key: &str, change: Map<String, Value>) -> Change {
    Change {
        signal: Signal::Flags,
        key: Some(key.to_owned()),
        value: Value::Object(change).to_string().into_bytes(),
        headers: vec![],
    }
}

/// For whom a change holds; what is absent stands for all.
fn place(service: &Option<String>, instance: &Option<String>, environment: &Option<String>) -> Map<String, Value> {
    object([
        ("service.name", service.clone().map(Value::from)),
        ("service.instance.id", instance.clone().map(Value::from)),
        ("deployment.environment.name", environment.clone().map(Value::from)),
    ])
}

/// The members that there are.
pub(super) fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The time of this machine's clock.
pub(crate) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
