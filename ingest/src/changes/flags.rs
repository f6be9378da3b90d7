//! Changes of flags and of configuration.

use std::collections::HashMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder, TimestampNanosecondBuilder};
use arrow::error::ArrowError;
use tracerag_schemas::Table;

use super::cleaning::Cleaner;
use super::flag_configuration::{Definitions, FlagConfiguration, SetKey};
use super::json::{self, Object};
use super::rows::{OriginColumns, times};
use super::{ChangeError, Origin};
use crate::redact::{AttributeRule, RedactionCounts, Redactor};

const KEY: &str = "feature_flag.key";
const VARIANT: &str = "feature_flag.result.variant";
const VALUE: &str = "feature_flag.result.value";
const REASON: &str = "feature_flag.result.reason";
const PROVIDER: &str = "feature_flag.provider.name";
const SET_ID: &str = "feature_flag.set.id";
const VERSION: &str = "feature_flag.version";

/// What a record of the flags topic became.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlagOutcome {
    /// Rows added: one for a change, one for each changed flag of a whole configuration.
    pub rows: usize,
    /// Entries of a whole configuration that were left out: they are no flags, or the redaction makes their keys equal.
    pub skipped: usize,
    /// Whether the record is a whole configuration: its rows are what has changed since the one before.
    pub is_configuration: bool,
}

/// Decodes records of the flags topic into rows of `flags`, and remembers the last whole configuration
/// of each flag set.
///
/// A worker that takes over a partition first gives it the stored rows ([`Self::restore`]); otherwise the
/// first configuration that it sees would look as if every flag had changed.
pub struct FlagDecoder {
    redactor: Arc<Redactor>,
    sets: HashMap<SetKey, Definitions>,
    counts: RedactionCounts,
    rows: FlagRows,
}

/// One row.
#[derive(Default)]
struct FlagRow<'r> {
    kind: &'static str,
    key: &'r str,
    variant: Option<&'r str>,
    value: Option<&'r str>,
    service: Option<&'r str>,
    instance: Option<&'r str>,
    environment: Option<&'r str>,
    valid_from: i64,
    reason: Option<&'r str>,
    provider: Option<&'r str>,
    set_id: Option<&'r str>,
    version: Option<&'r str>,
    digest: Option<&'r str>,
}

impl FlagDecoder {
    /// A decoder that knows no configuration yet.
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, sets: HashMap::new(), counts: RedactionCounts::default(), rows: FlagRows::default() }
    }

    /// Takes up the last whole configurations from stored rows of `flags`. Rows count in the order given:
    /// give them by partition and offset.
    ///
    /// # Errors
    /// When a column of `flags` is missing from the rows.
    pub fn restore(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let column = |name: &str| {
            let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.ok_or_else(|| ArrowError::SchemaError(format!("stored flags have no text column {name}")))
        };
        let (tenant, kind, key, source) = (column("tenant_id")?, column("kind")?, column("key")?, column("source")?);
        let (variant, value, digest) = (column("variant")?, column("value")?, column("digest")?);
        let (set_id, service) = (column("set_id")?, column("service_name")?);
        let (instance, environment) = (column("service_instance_id")?, column("deployment_environment_name")?);
        let text =
            |column: &arrow::array::StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
        for row in 0..rows.num_rows() {
            if kind.value(row) != "flag" || source.value(row) != "change" {
                continue;
            }
            let set = SetKey {
                tenant: tenant.value(row).to_owned(),
                set_id: text(set_id, row),
                service: text(service, row),
                instance: text(instance, row),
                environment: text(environment, row),
            };
            // Single changes have no digest: they are no part of a configuration. A row without anything is a
            // flag that a configuration no longer had, or that was deleted alone.
            match text(digest, row) {
                Some(digest) => {
                    self.sets.entry(set).or_default().insert(key.value(row).to_owned(), Some(digest));
                }
                None => self.outdate(&set, key.value(row), variant.is_null(row) && value.is_null(row)),
            }
        }
        Ok(())
    }

    /// Takes in that a flag was changed alone: what the last configuration of its set says of it does not hold any more,
    /// so the next one that says it, even if it says the same, is a change again.
    fn outdate(&mut self, set: &SetKey, key: &str, is_deleted: bool) {
        let Some(definitions) = self.sets.get_mut(set) else { return };
        if is_deleted {
            definitions.remove(key);
        } else if let Some(definition) = definitions.get_mut(key) {
            *definition = None;
        }
    }

    /// Decodes one record. After an error nothing of it is kept.
    ///
    /// # Errors
    /// Says what is wrong, for the dead letters.
    pub fn decode(&mut self, bytes: &[u8], origin: &Origin<'_>) -> Result<FlagOutcome, ChangeError> {
        let object = json::object(bytes)?;
        let is_flag = object.contains_key(KEY);
        match (is_flag, object.contains_key("config.key")) {
            (true, true) => Err(ChangeError::TwoChanges),
            (true, false) => self.flag_change(&object, origin),
            (false, true) => self.config_change(&object, origin),
            (false, false) => match FlagConfiguration::read(&object)? {
                Some(configuration) => Ok(self.configuration(configuration, origin)),
                None => Err(ChangeError::NotAChange),
            },
        }
    }

    fn flag_change(&mut self, object: &Object, origin: &Origin<'_>) -> Result<FlagOutcome, ChangeError> {
        let scope = Scope::read(object)?;
        let key = json::text(object, KEY)?.ok_or(ChangeError::Missing { field: KEY })?;
        let variant = object.get(VARIANT).or_else(|| object.get("feature_flag.variant"));
        let value = object.get(VALUE);
        if variant.is_none() && value.is_none() {
            return Err(ChangeError::NoValue { first: VARIANT, second: VALUE });
        }
        let set_id = json::text(object, SET_ID)?;
        let version = json::text(object, VERSION)?;
        let provider = json::any_text(object, &[PROVIDER, "feature_flag.provider_name"])?;
        let reason = json::any_text(object, &[REASON, "feature_flag.evaluation.reason"])?;
        let mut clean = self.cleaner(origin.tenant);
        let scope = scope.cleaned(&mut clean);
        let key = clean.attribute(KEY, &key);
        let mut of = |name: &str, text: Option<String>| text.map(|text| clean.attribute(name, &text));
        let variant = of(VARIANT, variant.and_then(json::any_value));
        let value = of(VALUE, value.and_then(json::any_value));
        let (set_id, version) = (of(SET_ID, set_id), of(VERSION, version));
        let (provider, reason) = (of(PROVIDER, provider), of(REASON, reason));
        let row = FlagRow {
            kind: "flag",
            key: &key,
            variant: variant.as_deref(),
            value: value.as_deref(),
            reason: reason.as_deref(),
            provider: provider.as_deref(),
            set_id: set_id.as_deref(),
            version: version.as_deref(),
            ..scope.row(origin)
        };
        self.rows.push(&row, origin);
        let is_deleted = variant.is_none() && value.is_none();
        let set = SetKey {
            tenant: origin.tenant.to_owned(),
            set_id,
            service: scope.service,
            instance: scope.instance,
            environment: scope.environment,
        };
        self.outdate(&set, &key, is_deleted);
        Ok(FlagOutcome { rows: 1, ..FlagOutcome::default() })
    }

    fn config_change(&mut self, object: &Object, origin: &Origin<'_>) -> Result<FlagOutcome, ChangeError> {
        let scope = Scope::read(object)?;
        let key = json::text(object, "config.key")?.ok_or(ChangeError::Missing { field: "config.key" })?;
        let digest = json::text(object, "config.digest")?;
        if !object.contains_key("config.value") && digest.is_none() {
            return Err(ChangeError::NoValue { first: "config.value", second: "config.digest" });
        }
        let value = object.get("config.value").and_then(json::any_value);
        let version = json::text(object, "config.version")?;
        let value = value.map(|value| self.clean_config(&key, &value, origin.tenant));
        let mut clean = self.cleaner(origin.tenant);
        let scope = scope.cleaned(&mut clean);
        let key = clean.name(&key);
        let digest = digest.map(|digest| clean.text(&digest));
        let version = version.map(|version| clean.text(&version));
        // A digest stands for a value that must not be known; without one the row would mean a deletion.
        let value = value.or_else(|| digest.clone());
        let row = FlagRow {
            kind: "config",
            key: &key,
            value: value.as_deref(),
            version: version.as_deref(),
            digest: digest.as_deref(),
            ..scope.row(origin)
        };
        self.rows.push(&row, origin);
        Ok(FlagOutcome { rows: 1, ..FlagOutcome::default() })
    }

    fn configuration(&mut self, configuration: FlagConfiguration, origin: &Origin<'_>) -> FlagOutcome {
        // Before it is compared: what it is compared with may have been restored from rows.
        let configuration = self.with_clean_names(configuration, origin.tenant);
        let set = SetKey {
            tenant: origin.tenant.to_owned(),
            set_id: configuration.set_id.clone(),
            service: configuration.service.clone(),
            instance: configuration.instance.clone(),
            environment: configuration.environment.clone(),
        };
        let before = self.sets.insert(set, configuration.definitions()).unwrap_or_default();
        let mut rows = 0;
        for (key, flag) in configuration.changes_since(&before) {
            let mut clean = self.cleaner(origin.tenant);
            let mut of = |name: &str, text: Option<&str>| text.map(|text| clean.attribute(name, text));
            let variant = of(VARIANT, flag.and_then(|flag| flag.variant.as_deref()));
            let value = of(VALUE, flag.and_then(|flag| flag.value.as_deref()));
            let version = flag.and_then(|flag| flag.version.as_deref()).or(configuration.version.as_deref());
            let version = of(VERSION, version);
            let row = FlagRow {
                kind: "flag",
                key,
                variant: variant.as_deref(),
                value: value.as_deref(),
                service: configuration.service.as_deref(),
                instance: configuration.instance.as_deref(),
                environment: configuration.environment.as_deref(),
                valid_from: configuration.time.unwrap_or_else(|| origin.time()),
                reason: flag.map(|flag| flag.reason),
                provider: Some("flagd"),
                set_id: configuration.set_id.as_deref(),
                version: version.as_deref(),
                digest: flag.map(|flag| flag.digest.as_str()),
            };
            self.rows.push(&row, origin);
            rows += 1;
        }
        FlagOutcome { rows, skipped: configuration.skipped, is_configuration: true }
    }

    /// The configuration with the names redacted that its rows are told apart by. Of flags whose keys become equal the
    /// first one stays: rows of two would pass for changes of one. The others are left out and counted.
    fn with_clean_names(&mut self, mut configuration: FlagConfiguration, tenant: &str) -> FlagConfiguration {
        let mut clean = self.cleaner(tenant);
        let mut of = |name: &str, text: Option<String>| text.map(|text| clean.attribute(name, &text));
        configuration.set_id = of(SET_ID, configuration.set_id);
        configuration.service = of("service.name", configuration.service);
        configuration.instance = of("service.instance.id", configuration.instance);
        configuration.environment = of("deployment.environment.name", configuration.environment);
        for (key, flag) in std::mem::take(&mut configuration.flags) {
            match configuration.flags.entry(clean.attribute(KEY, &key)) {
                Entry::Vacant(place) => {
                    place.insert(flag);
                }
                Entry::Occupied(_) => configuration.skipped += 1,
            }
        }
        configuration
    }

    fn cleaner<'c>(&'c mut self, tenant: &'c str) -> Cleaner<'c> {
        Cleaner::new(&self.redactor, &mut self.counts, tenant)
    }

    /// A key such as `db.password` says more than its value does, so the rule of the name comes first.
    fn clean_config(&mut self, key: &str, value: &str, tenant: &str) -> String {
        match self.redactor.attribute_rule(key) {
            // A configuration key is no attribute that somebody could have allowed: it is kept, but scanned.
            AttributeRule::Pass | AttributeRule::Drop => self.cleaner(tenant).text(value),
            rule => self.redactor.redact_value(tenant, rule, value, &mut self.counts).into_owned(),
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

    /// The rows so far, in the order of the records, with the schema `Table::Flags.lake_schema()`. The
    /// configurations stay known.
    ///
    /// # Errors
    /// When the rows do not fit the schema, which only a defect can cause.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows.finish()
    }
}

/// For whom a change holds, and from when on.
struct Scope {
    service: Option<String>,
    instance: Option<String>,
    environment: Option<String>,
    time: Option<i64>,
}

impl Scope {
    fn read(object: &Object) -> Result<Self, ChangeError> {
        Ok(Self {
            service: json::text(object, "service.name")?,
            instance: json::text(object, "service.instance.id")?,
            environment: json::any_text(object, &["deployment.environment.name", "deployment.environment"])?,
            time: json::time(object, "time")?,
        })
    }

    fn cleaned(self, clean: &mut Cleaner<'_>) -> Self {
        let mut of = |name: &str, text: Option<String>| text.map(|text| clean.attribute(name, &text));
        Self {
            service: of("service.name", self.service),
            instance: of("service.instance.id", self.instance),
            environment: of("deployment.environment.name", self.environment),
            time: self.time,
        }
    }

    fn row<'r>(&'r self, origin: &Origin<'_>) -> FlagRow<'r> {
        FlagRow {
            service: self.service.as_deref(),
            instance: self.instance.as_deref(),
            environment: self.environment.as_deref(),
            valid_from: self.time.unwrap_or_else(|| origin.time()),
            ..FlagRow::default()
        }
    }
}

struct FlagRows {
    kind: StringBuilder,
    key: StringBuilder,
    variant: StringBuilder,
    value: StringBuilder,
    service: StringBuilder,
    instance: StringBuilder,
    environment: StringBuilder,
    valid_from: TimestampNanosecondBuilder,
    source: StringBuilder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    reason: StringBuilder,
    provider: StringBuilder,
    set_id: StringBuilder,
    version: StringBuilder,
    digest: StringBuilder,
    origin: OriginColumns,
}

impl Default for FlagRows {
    fn default() -> Self {
        let text = StringBuilder::new;
        Self {
            kind: text(),
            key: text(),
            variant: text(),
            value: text(),
            service: text(),
            instance: text(),
            environment: text(),
            valid_from: times(),
            source: text(),
            trace_id: text(),
            span_id: text(),
            reason: text(),
            provider: text(),
            set_id: text(),
            version: text(),
            digest: text(),
            origin: OriginColumns::default(),
        }
    }
}

impl FlagRows {
    fn push(&mut self, row: &FlagRow<'_>, origin: &Origin<'_>) {
        self.kind.append_value(row.kind);
        self.key.append_value(row.key);
        self.variant.append_option(row.variant);
        self.value.append_option(row.value);
        self.service.append_option(row.service);
        self.instance.append_option(row.instance);
        self.environment.append_option(row.environment);
        self.valid_from.append_value(row.valid_from);
        self.source.append_value("change");
        self.trace_id.append_null();
        self.span_id.append_null();
        self.reason.append_option(row.reason);
        self.provider.append_option(row.provider);
        self.set_id.append_option(row.set_id);
        self.version.append_option(row.version);
        self.digest.append_option(row.digest);
        self.origin.push(origin);
    }

    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let own: Vec<ArrayRef> = vec![
            Arc::new(self.kind.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.variant.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.instance.finish()),
            Arc::new(self.environment.finish()),
            Arc::new(self.valid_from.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.provider.finish()),
            Arc::new(self.set_id.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.digest.finish()),
        ];
        self.origin.finish(Table::Flags, own)
    }
}

#[cfg(test)]
#[path = "flags_test.rs"]
mod tests;
