//! Which tenant a record belongs to: by its topic, by a header, or the default.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

/// The `[tenant]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantConfig {
    /// The tenant of everything that nothing else assigns.
    pub default: String,
    /// The Kafka header that names the tenant; empty for none.
    pub header: String,
    /// Topic to tenant.
    pub topics: BTreeMap<String, String>,
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self { default: "default".to_owned(), header: String::new(), topics: BTreeMap::new() }
    }
}

/// A tenant's name that nobody can use: it would be lost in paths, logs or SQL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("tenant {name:?} of {place} is not usable; use 1 to 128 printable characters")]
pub struct TenantError {
    name: String,
    place: String,
}

/// Assigns tenants.
///
/// A topic that the operator gave to a tenant is that tenant's, whatever a sender claims in a header;
/// a header counts in shared topics only. The name never comes from a span's attribute, which anybody
/// who sends telemetry can set.
#[derive(Debug, Clone)]
pub struct Tenants {
    default: Arc<str>,
    header: Option<String>,
    topics: BTreeMap<String, Arc<str>>,
}

impl Tenants {
    /// Checks the names of the configuration.
    ///
    /// # Errors
    /// When a tenant's name is empty, too long or has control characters.
    pub fn new(config: &TenantConfig) -> Result<Self, TenantError> {
        let default = checked(&config.default, "tenant.default")?;
        let topics = config
            .topics
            .iter()
            .map(|(topic, tenant)| Ok((topic.clone(), checked(tenant, &format!("tenant.topics.{topic}"))?)))
            .collect::<Result<_, TenantError>>()?;
        let header = (!config.header.is_empty()).then(|| config.header.clone());
        Ok(Self { default, header, topics })
    }

    /// The tenant of a record. Of a header that comes more than once the last one counts, as in Kafka's
    /// own clients; one that is no usable name counts as absent.
    pub fn of<'h>(&self, topic: &str, headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>) -> Arc<str> {
        if let Some(tenant) = self.topics.get(topic) {
            return Arc::clone(tenant);
        }
        let Some(name) = &self.header else { return Arc::clone(&self.default) };
        headers
            .into_iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| std::str::from_utf8(value?).ok())
            .filter(|tenant| is_usable(tenant))
            .last()
            .map_or_else(|| Arc::clone(&self.default), Arc::from)
    }

    /// The tenant that the configuration gives to a topic.
    pub fn named_for(&self, topic: &str) -> Option<&str> {
        self.topics.get(topic).map(|tenant| &**tenant)
    }

    /// The header that names the tenant of a record, if there is one.
    pub fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// The tenant of all records of a topic, if their headers cannot matter: then nobody needs to look at them.
    pub fn of_topic(&self, topic: &str) -> Option<Arc<str>> {
        match (self.topics.get(topic), &self.header) {
            (Some(tenant), _) => Some(Arc::clone(tenant)),
            (None, None) => Some(Arc::clone(&self.default)),
            (None, Some(_)) => None,
        }
    }
}

fn checked(name: &str, place: &str) -> Result<Arc<str>, TenantError> {
    if is_usable(name) {
        Ok(Arc::from(name))
    } else {
        Err(TenantError { name: name.to_owned(), place: place.to_owned() })
    }
}

/// Whether a tenant may have a name: 1 to 128 bytes that are not all spaces, and no control characters.
pub fn is_usable(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 128 && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tenants(json: &str) -> Tenants {
        Tenants::new(&serde_json::from_str(json).unwrap()).unwrap()
    }

    /// Without configuration every record is the default tenant's, whatever headers it carries.
    #[test]
    fn the_default_holds_for_all() {
        let tenants = tenants("{}");
        assert_eq!(&*tenants.of("otlp_spans", [("x-tenant", Some(&b"evil"[..]))]), "default");
        assert_eq!(tenants.of_topic("otlp_spans").as_deref(), Some("default"));
    }

    /// A topic's tenant stands above the header; the header above the default; unusable values are ignored.
    #[test]
    fn topic_then_header_then_default() {
        let tenants = tenants(r#"{"header": "X-Tenant", "topics": {"acme_spans": "acme"}}"#);
        let header = |value: &'static [u8]| [("x-tenant", Some(value))];
        assert_eq!(&*tenants.of("acme_spans", header(b"other")), "acme");
        assert_eq!(&*tenants.of("otlp_spans", header(b"other")), "other");
        assert_eq!(&*tenants.of("otlp_spans", header(b"\xff\xfe")), "default");
        assert_eq!(&*tenants.of("otlp_spans", header(b"")), "default");
        assert_eq!(&*tenants.of("otlp_spans", [("x-tenant", None)]), "default");
        let twice = [("x-tenant", Some(&b"first"[..])), ("x-tenant", Some(&b"second"[..]))];
        assert_eq!(&*tenants.of("otlp_spans", twice), "second");
        assert_eq!(tenants.of_topic("otlp_spans"), None);
        assert_eq!(tenants.of_topic("acme_spans").as_deref(), Some("acme"));
    }

    /// A name that could not be stored or shown, and an unknown key, are refused with their place.
    #[test]
    fn bad_names_are_refused() {
        let config: TenantConfig = serde_json::from_str(r#"{"topics": {"t": "a\nb"}}"#).unwrap();
        assert!(Tenants::new(&config).unwrap_err().to_string().contains("tenant.topics.t"));
        let config: TenantConfig = serde_json::from_str(r#"{"default": " "}"#).unwrap();
        assert!(Tenants::new(&config).is_err());
        assert!(serde_json::from_str::<TenantConfig>(r#"{"topic": {}}"#).is_err());
    }
}
