//! The configuration: `tracerag.toml`, overridden by environment variables and options.
//!
//! Precedence: option, environment, file, default. Every key is documented in the shipped
//! `tracerag.example.toml`.

mod check;
mod document;
mod incident_events;
mod load;
mod units;
mod webhooks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use tracerag_index::failures::{FailureRules, InAppRules};
use tracerag_index::incidents::Embedding;
use tracerag_index::{LakeOptions, Retention};
use tracerag_ingest::otlp::DecoderConfig;
use tracerag_ingest::redact::{PayloadConfig, RedactionConfig, Redactor};
use tracerag_ingest::rekey::RekeyConfig;
use tracerag_ingest::source::{KafkaConfig, TopicsConfig};
use tracerag_ingest::tenant::TenantConfig;
use tracerag_query::verify::{SigningKey, is_public_key};
use tracerag_schemas::Table;

pub use document::Unresolved;
pub use incident_events::{EventKind, IncidentEventsSection, SpikeRule, Webhook};
pub use load::{ConfigError, Overrides};
pub(crate) use units::parse_bytes;
pub use units::{Bytes, MaxBytes, Span};
pub use webhooks::{Platform, WebhookSection};

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What fetch buffers, window, staging and embedding may take together.
    pub memory_limit: MemoryLimit,
    /// The cluster to read.
    pub kafka: KafkaConfig,
    /// Topics by signal.
    pub topics: TopicsConfig,
    /// Where re-keyed spans and logs are written.
    pub rekey: RekeyConfig,
    /// How a record's tenant is found.
    pub tenant: TenantConfig,
    /// The trace window.
    pub window: WindowSection,
    /// What is removed before anything is stored.
    pub redaction: RedactionConfig,
    /// Which attributes are payloads.
    pub payload: PayloadConfig,
    /// Where the lake is and how often it is written.
    pub lake: LakeSection,
    /// With what bundles are signed.
    pub signing: SigningSection,
    /// How failures are grouped.
    pub failures: FailuresSection,
    /// How long rows are kept.
    pub retention: RetentionSection,
    /// The sentence model.
    pub embedding: EmbeddingSection,
    /// Who is told what of incidents.
    pub incident_events: IncidentEventsSection,
    /// Where a worker answers about itself.
    pub metrics: MetricsSection,
    /// Where a server listens.
    pub serve: ServeSection,
    /// Placeholders that could not be resolved; who needs them says so with [`Config::require`].
    #[serde(skip)]
    pub(crate) unresolved: Vec<Unresolved>,
}

impl Config {
    /// Bytes of fetched records that wait to be taken: a thirty-second of the limit, 64 MiB at least, so that the
    /// largest message fits.
    pub(crate) fn fetch_bytes(&self) -> usize {
        (self.memory_limit.0.0 / 32).max(64 << 20)
    }

    /// How telemetry is decoded. The rows of one message may take half of the window, which takes a message whole.
    pub(crate) fn decoder(&self, redactor: Arc<Redactor>) -> DecoderConfig {
        let config = DecoderConfig::new(redactor);
        let bytes = self.window.memory.0 / 2;
        DecoderConfig { max_point_bytes: config.max_point_bytes.min(bytes), max_row_bytes: bytes, ..config }
    }

    /// Bytes of one trace beyond which it closes: an eighth of the window at most, because a flush takes it whole and
    /// has it there three times.
    pub(crate) fn trace_bytes(&self) -> usize {
        self.window.max_trace_bytes.0.min(self.window.memory.0 / 8)
    }

    /// What a worker is granted in bytes: the window, an epoch that is put together, one that is written, and what is
    /// fetched ahead.
    fn granted_bytes(&self) -> usize {
        self.window.memory.0.saturating_add(2 * self.lake.flush_bytes.0).saturating_add(self.fetch_bytes())
    }

    /// Whether the key of the redaction is in a file that nobody has made yet.
    pub(crate) fn lacks_key_file(&self) -> bool {
        self.unresolved.iter().any(|unresolved| unresolved.key == "redaction.key" && unresolved.is_absent_file)
    }
}

/// `memory_limit`: 2 GiB unless said.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct MemoryLimit(pub Bytes);

impl Default for MemoryLimit {
    fn default() -> Self {
        Self(Bytes(2 << 30))
    }
}

/// `[window]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowSection {
    /// Quiet time after the root's end.
    pub root_grace: Span,
    /// Quiet time without an ended root.
    pub idle_gap: Span,
    /// The oldest that an open trace may become.
    pub max_duration: Span,
    /// Bytes of open traces.
    pub memory: Bytes,
    /// Bytes of one open trace.
    pub max_trace_bytes: Bytes,
    /// How long closed traces are remembered, in stream time.
    pub late_horizon: Span,
    /// How long hashes of written log records are remembered, in stream time.
    pub dedupe_horizon: Span,
    /// When nothing more becomes evidence of a closed trace.
    pub seal_after: Span,
    /// When a partition without data no longer holds time back.
    pub idle_partition: Span,
}

impl Default for WindowSection {
    fn default() -> Self {
        Self {
            root_grace: Span::seconds(2),
            idle_gap: Span::seconds(10),
            max_duration: Span::seconds(300),
            memory: Bytes(512 << 20),
            max_trace_bytes: Bytes(64 << 20),
            late_horizon: Span::seconds(3600),
            dedupe_horizon: Span::seconds(600),
            seal_after: Span::seconds(600),
            idle_partition: Span::seconds(5),
        }
    }
}

/// `[lake]`. Its `Debug` form never shows the values of `storage_options`: they may hold passwords.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeSection {
    /// A folder, or `s3://BUCKET/PREFIX`.
    pub uri: String,
    /// How often an epoch is written.
    pub flush_interval: Span,
    /// Bytes of waiting rows that write an epoch earlier.
    pub flush_bytes: Bytes,
    /// Whether what is written is brought to the disk before it counts as written.
    pub fsync: bool,
    /// Options of the store.
    pub storage_options: BTreeMap<String, String>,
}

impl Default for LakeSection {
    fn default() -> Self {
        Self {
            uri: String::from("./lake"),
            flush_interval: Span::seconds(2),
            flush_bytes: Bytes(64 << 20),
            fsync: false,
            storage_options: BTreeMap::new(),
        }
    }
}

impl std::fmt::Debug for LakeSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeSection")
            .field("uri", &self.uri)
            .field("flush_interval", &self.flush_interval)
            .field("flush_bytes", &self.flush_bytes)
            .field("storage_options", &self.storage_options.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl LakeSection {
    /// Where the lake is, and how to reach it.
    pub(crate) fn options(&self) -> LakeOptions {
        LakeOptions {
            fsync: self.fsync,
            storage_options: self.storage_options.clone().into_iter().collect(),
            ..LakeOptions::new(self.uri.clone())
        }
    }
}

/// `[signing]`. Its `Debug` form never shows the private key.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningSection {
    /// The private key with which `bundle` signs what it hands out, 64 hex digits; empty: it signs nothing.
    pub key: String,
    /// Public keys of installations whose bundles count without their lake, 64 hex digits each.
    pub public_keys: Vec<String>,
}

impl std::fmt::Debug for SigningSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningSection")
            .field("key", &if self.key.is_empty() { "unset" } else { "set" })
            .field("public_keys", &self.public_keys)
            .finish()
    }
}

impl SigningSection {
    /// The private key, if there is one.
    pub(crate) fn key(&self) -> Result<Option<SigningKey>, ConfigError> {
        if self.key.is_empty() {
            return Ok(None);
        }
        let key = SigningKey::from_hex(&self.key);
        key.map(Some).ok_or_else(|| {
            ConfigError::Together(String::from("signing.key is not 64 hex digits; `openssl rand -hex 32` makes a key"))
        })
    }

    /// Public keys whose signatures count: that of the private key, and those that are named. A private key in a file
    /// that this user may not read is none.
    pub(crate) fn trusted_keys(&self) -> Result<Vec<String>, ConfigError> {
        if let Some(wrong) = self.public_keys.iter().find(|key| !is_public_key(key)) {
            return Err(ConfigError::Together(format!(
                "{wrong:?} of signing.public_keys is not 64 hex digits; `tracerag keys` prints those of an installation"
            )));
        }
        let own = if self.key.starts_with("${") { None } else { self.key()? };
        let own = own.map(|key| key.public_key());
        let others = self.public_keys.iter().filter(|key| own.as_ref() != Some(*key)).cloned();
        Ok(own.clone().into_iter().chain(others).collect())
    }
}

/// `[failures]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailuresSection {
    /// Beginnings of functions, or parts of files, that belong to the application although a built-in rule says
    /// otherwise.
    pub in_app: Vec<String>,
    /// The same for what does not belong to it.
    pub not_in_app: Vec<String>,
    /// Attributes that state a fingerprint; the first that is there wins.
    pub fingerprint_attributes: Vec<String>,
}

impl Default for FailuresSection {
    fn default() -> Self {
        let FailureRules { in_app: InAppRules { in_app, not_in_app }, fingerprint_attributes, .. } =
            FailureRules::default();
        Self { in_app, not_in_app, fingerprint_attributes }
    }
}

impl FailuresSection {
    /// What the pipeline goes by.
    pub(crate) fn rules(&self) -> FailureRules {
        FailureRules {
            in_app: InAppRules { in_app: self.in_app.clone(), not_in_app: self.not_in_app.clone() },
            fingerprint_attributes: self.fingerprint_attributes.clone(),
            ..FailureRules::default()
        }
    }
}

/// `[retention]`: `default`, `max_bytes`, and one key a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// For every table without a key of its own.
    pub default: Span,
    /// Upper bound of the lake; empty: none.
    pub max_bytes: MaxBytes,
    /// See `default`.
    pub traces: Option<Span>,
    /// See `default`.
    pub spans: Option<Span>,
    /// See `default`.
    pub logs: Option<Span>,
    /// See `default`.
    pub metrics: Option<Span>,
    /// See `default`.
    pub failures: Option<Span>,
    /// See `default`.
    pub payloads: Option<Span>,
    /// See `default`.
    pub heaps: Option<Span>,
    /// See `default`; counted from when a bundle was handed out. Pinned bundles stay.
    pub bundles: Option<Span>,
    /// Dead letters hold what was not redacted, so they go early.
    pub dead_letters: Span,
    /// Without it changes of flags are kept for ever: what was set long ago may still be in effect.
    pub flags: Option<Span>,
    /// Evaluations of flags, which spans bring. Without it they stay as long as `flags`, else as long as spans.
    pub flag_evaluations: Option<Span>,
    /// Without it builds are kept for ever, like flags.
    pub builds: Option<Span>,
    /// Without it the counts of incidents are kept for ever.
    pub incident_counts: Option<Span>,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self {
            default: Span::seconds(14 * 86_400),
            max_bytes: MaxBytes::default(),
            traces: None,
            spans: None,
            logs: None,
            metrics: None,
            failures: None,
            payloads: None,
            heaps: None,
            bundles: None,
            dead_letters: Span::seconds(7 * 86_400),
            flags: None,
            flag_evaluations: None,
            builds: None,
            incident_counts: None,
        }
    }
}

impl RetentionSection {
    /// What upkeep goes by.
    pub(crate) fn retention(&self) -> Retention {
        let named = [
            (Table::Traces, self.traces),
            (Table::Spans, self.spans),
            (Table::Logs, self.logs),
            (Table::Metrics, self.metrics),
            (Table::Failures, self.failures),
            (Table::Payloads, self.payloads),
            (Table::Heaps, self.heaps),
            (Table::Bundles, self.bundles),
            (Table::DeadLetters, Some(self.dead_letters)),
            (Table::Flags, self.flags),
            (Table::Builds, self.builds),
            (Table::IncidentCounts, self.incident_counts),
        ];
        Retention {
            default: Some(self.default.0),
            tables: named.into_iter().filter_map(|(table, keep)| Some((table, keep?.0))).collect(),
            flag_evaluations: self.flag_evaluations.map(|keep| keep.0),
            max_bytes: self.max_bytes.0,
        }
    }
}

/// `[embedding]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingSection {
    /// `all-MiniLM-L6-v2`, `hashed-ngrams`, or a folder with an ONNX model and its tokenizer.
    pub model: String,
    /// Where models and ONNX Runtime lie.
    pub cache: PathBuf,
}

impl Default for EmbeddingSection {
    fn default() -> Self {
        Self { model: String::from("all-MiniLM-L6-v2"), cache: PathBuf::from("~/.cache/tracerag") }
    }
}

impl EmbeddingSection {
    /// The sentence model, loaded when it is first needed.
    pub(crate) fn model(&self) -> Arc<Embedding> {
        Arc::new(Embedding::new(&self.model, &self.cache_folder()))
    }

    /// The cache folder with `~` replaced by the home folder.
    pub fn cache_folder(&self) -> PathBuf {
        // Of a service HOME may not be set; then the list of users says where its home is.
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        match (self.cache.strip_prefix("~"), home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.cache.clone(),
        }
    }
}

/// `[metrics]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// Address of `/metrics`, `/healthz` and `/readyz`; empty: nowhere.
    pub listen: String,
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self { listen: String::from("127.0.0.1:9464") }
    }
}

/// `[serve]`: read by `serve` and `token`, accepted by every command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeSection {
    /// API, MCP and page.
    pub http: String,
    /// Flight SQL; empty: nowhere.
    pub flight_sql: String,
    /// PostgreSQL's wire protocol; empty: it is not spoken.
    pub postgres: String,
    /// Where the other servers of the lake have parts of their queries computed; empty: nowhere.
    pub exchange: String,
    /// The servers of the lake that compute parts of large queries, by the addresses of their `exchange`.
    pub peers: Vec<String>,
    /// Certificates that those of the peers are signed with, in PEM.
    pub peers_certificates: String,
    /// Rows that a query reads from which on several servers compute it.
    pub peers_from_rows: u64,
    /// File of tokens.
    pub tokens_file: String,
    /// How clients reach this server.
    pub public_url: String,
    /// Who gives access tokens that are taken besides those of the file; empty: nobody.
    pub oauth_issuer: String,
    /// For whom its access tokens have to be; empty: for `public_url` with `/mcp`.
    pub oauth_audience: String,
    /// The claim of its access tokens that names the tenant.
    pub oauth_tenant_claim: String,
    /// Certificate of the server, in PEM; empty: no TLS.
    pub tls_certificate: String,
    /// Its key.
    pub tls_key: String,
    /// Whether a proxy in front speaks TLS.
    pub behind_tls: bool,
    /// Origins of web pages that may ask, besides the server's own.
    pub allowed_origins: Vec<String>,
    /// What a query may hold.
    pub query_memory: Bytes,
    /// How long a query may take.
    pub query_time: Span,
    /// Rows of an answer.
    pub query_rows: u64,
    /// Bytes of an answer.
    pub query_bytes: Bytes,
    /// Queries of a tenant at once.
    pub queries_per_tenant: usize,
    /// Queries of a tenant that wait.
    pub waiting_per_tenant: usize,
    /// How long a query waits.
    pub waiting_time: Span,
    /// Webhooks of platforms that report changes and cannot show a token, by name.
    pub webhooks: BTreeMap<String, WebhookSection>,
}

impl Default for ServeSection {
    fn default() -> Self {
        Self {
            http: String::from("127.0.0.1:8080"),
            flight_sql: String::from("127.0.0.1:8081"),
            postgres: String::from("127.0.0.1:5433"),
            exchange: String::new(),
            peers: vec![],
            peers_certificates: String::new(),
            peers_from_rows: 4_000_000,
            tokens_file: String::new(),
            public_url: String::new(),
            oauth_issuer: String::new(),
            oauth_audience: String::new(),
            oauth_tenant_claim: String::from("tenant"),
            tls_certificate: String::new(),
            tls_key: String::new(),
            behind_tls: false,
            allowed_origins: vec![],
            query_memory: Bytes(256 << 20),
            query_time: Span::seconds(60),
            query_rows: 1_000_000,
            query_bytes: Bytes(1 << 30),
            queries_per_tenant: 4,
            waiting_per_tenant: 64,
            waiting_time: Span::seconds(30),
            webhooks: BTreeMap::new(),
        }
    }
}
