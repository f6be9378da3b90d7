//! Whole flagd configurations, and what changed from one to the next.
//!
//! flagd has no message for a change: its streams bring the whole set each time
//! (open-feature/flagd-schemas, `sync.v1`). What changed is the difference to the configuration before
//! it, flag by flag; a flag is compared by the digest of its definition. The digest stands in the rows
//! (`digest`), so the base of the next difference can be restored from what was stored.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ChangeError;
use super::json::{self, Object};

/// Which set of flags a configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SetKey {
    pub(super) tenant: String,
    pub(super) set_id: Option<String>,
    pub(super) service: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) environment: Option<String>,
}

/// Key to digest of the definition; to none where a change of the one flag has come since, with which the definition is
/// no more what holds.
pub(super) type Definitions = BTreeMap<String, Option<String>>;

/// A configuration as it came.
#[derive(Debug)]
pub(super) struct FlagConfiguration {
    pub(super) set_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) service: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) time: Option<i64>,
    pub(super) flags: BTreeMap<String, FlagDefinition>,
    /// Entries that are no flags.
    pub(super) skipped: usize,
}

/// What one flag resolves to for those whom no targeting rule matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FlagDefinition {
    pub(super) variant: Option<String>,
    pub(super) value: Option<String>,
    /// `static`, `default` (there is targeting, so others may get another variant) or `disabled`.
    pub(super) reason: &'static str,
    pub(super) version: Option<String>,
    pub(super) digest: String,
}

impl FlagConfiguration {
    /// Reads a configuration: `flags` as an object by key or as an array of objects with a `key`; bare, or as
    /// the text in `flag_configuration` (or `flagConfiguration`) of a sync message.
    pub(super) fn read(object: &Object) -> Result<Option<Self>, ChangeError> {
        for field in ["flag_configuration", "flagConfiguration"] {
            match object.get(field) {
                Some(Value::String(text)) => return Self::read(&json::object(text.as_bytes())?),
                Some(Value::Object(inner)) => return Self::read(inner),
                _ => {}
            }
        }
        let Some(flags) = object.get("flags") else { return Ok(None) };
        let empty = Object::new();
        let metadata = json::child(object, "metadata")?.unwrap_or(&empty);
        let here_or_there = |fields: &[&str]| -> Result<Option<String>, ChangeError> {
            json::any_text(object, fields).and_then(|found| match found {
                Some(text) => Ok(Some(text)),
                None => json::any_text(metadata, fields),
            })
        };
        let time = match json::time(object, "time")? {
            Some(time) => Some(time),
            None => json::time(metadata, "time")?,
        };
        let mut configuration = Self {
            set_id: match here_or_there(&["feature_flag.set.id", "flagSetId", "flag_set_id"])? {
                Some(id) => Some(id),
                None => json::text(metadata, "id")?,
            },
            version: match here_or_there(&["feature_flag.version", "version"])? {
                Some(version) => Some(version),
                None => json::text(metadata, "flagSetVersion")?,
            },
            service: here_or_there(&["service.name"])?,
            instance: here_or_there(&["service.instance.id"])?,
            environment: here_or_there(&["deployment.environment.name", "deployment.environment"])?,
            time,
            flags: BTreeMap::new(),
            skipped: 0,
        };
        match flags {
            Value::Object(flags) => {
                for (key, flag) in flags {
                    configuration.add(key, flag);
                }
            }
            Value::Array(flags) => {
                for flag in flags {
                    match flag.get("key").or_else(|| flag.get("flagKey")).and_then(Value::as_str) {
                        Some(key) => configuration.add(key, flag),
                        None => configuration.skipped += 1,
                    }
                }
            }
            _ => return Err(ChangeError::FieldType { field: "flags".to_owned(), wanted: "an object or an array" }),
        }
        Ok(Some(configuration))
    }

    fn add(&mut self, key: &str, flag: &Value) {
        match FlagDefinition::read(flag) {
            Some(definition) if !key.is_empty() => {
                self.flags.insert(key.to_owned(), definition);
            }
            _ => self.skipped += 1,
        }
    }

    /// What was different: added or changed flags with their definition, removed ones with none.
    pub(super) fn changes_since<'c>(
        &'c self,
        before: &'c Definitions,
    ) -> impl Iterator<Item = (&'c str, Option<&'c FlagDefinition>)> {
        let changed =
            self.flags.iter().filter(|(key, flag)| before.get(*key).and_then(Option::as_ref) != Some(&flag.digest));
        let removed = before.keys().filter(|key| !self.flags.contains_key(*key));
        let changed = changed.map(|(key, flag)| (key.as_str(), Some(flag)));
        changed.chain(removed.map(|key| (key.as_str(), None)))
    }

    pub(super) fn definitions(&self) -> Definitions {
        self.flags.iter().map(|(key, flag)| (key.clone(), Some(flag.digest.clone()))).collect()
    }
}

impl FlagDefinition {
    fn read(flag: &Value) -> Option<Self> {
        let flag = flag.as_object()?;
        let is_disabled =
            flag.get("state").and_then(Value::as_str).is_some_and(|state| state.eq_ignore_ascii_case("disabled"));
        let has_targeting = flag.get("targeting").is_some_and(|rule| rule.as_object().is_some_and(|r| !r.is_empty()));
        let default = flag.get("defaultVariant").and_then(json::scalar).filter(|variant| !variant.is_empty());
        let value = default.as_ref().and_then(|variant| variant_value(flag.get("variants")?, variant));
        // Without a default variant, or switched off, the application's own default holds.
        let (variant, value) = if is_disabled { (None, None) } else { (default, value) };
        let reason = match (is_disabled, has_targeting) {
            (true, _) => "disabled",
            (false, true) => "default",
            (false, false) => "static",
        };
        let version = flag.get("metadata").and_then(|metadata| metadata.get("version")).and_then(json::scalar);
        Some(Self { variant, value, reason, version, digest: digest(flag) })
    }
}

/// Variants are an object by name, or an array of objects with `name` (or `key`) and `value`.
fn variant_value(variants: &Value, wanted: &str) -> Option<String> {
    match variants {
        Value::Object(by_name) => by_name.get(wanted).and_then(json::any_value),
        Value::Array(list) => list
            .iter()
            .find(|variant| {
                let name = variant.get("name").or_else(|| variant.get("key")).and_then(json::scalar);
                name.as_deref() == Some(wanted)
            })
            .and_then(|variant| json::any_value(variant.get("value")?)),
        _ => None,
    }
}

/// Over what decides an evaluation; the order of keys in the JSON and metadata do not count.
fn digest(flag: &Object) -> String {
    let mut hash = Sha256::new();
    for field in ["state", "variants", "defaultVariant", "targeting"] {
        hash.update(field.as_bytes());
        hash_value(flag.get(field).unwrap_or(&Value::Null), &mut hash);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

fn hash_value(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Object(object) => {
            hash.update(b"{");
            let sorted: BTreeMap<&String, &Value> = object.iter().collect();
            for (key, value) in sorted {
                hash_text(key, hash);
                hash_value(value, hash);
            }
            hash.update(b"}");
        }
        Value::Array(list) => {
            hash.update(b"[");
            for value in list {
                hash_value(value, hash);
            }
            hash.update(b"]");
        }
        Value::String(text) => hash_text(text, hash),
        scalar => {
            hash.update(b"=");
            hash_text(&scalar.to_string(), hash);
        }
    }
}

fn hash_text(text: &str, hash: &mut Sha256) {
    // The length keeps neighbours apart.
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}
