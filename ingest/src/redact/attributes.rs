//! What the name of an attribute decides about its value.

use std::sync::RwLock;

use regex::bytes::Regex;
use rustc_hash::FxHashMap;

use super::class::Class;
use super::config::{PayloadConfig, Policy, RedactionConfig};
use super::names::{ends_with, is_ambiguous, is_record_id, personal_class, secret_class, segments};

/// What is done with the values of an attribute. Depends on the name only, so callers cache it per distinct name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeRule {
    /// The value becomes a keyed token.
    Identifier,
    /// The value is a payload: never stored, only its [`super::PayloadSummary`].
    Payload,
    /// The name says that the value is a secret or personal: it is masked whole.
    Secret(Class),
    /// The name may be a secret's or an ordinary word: a value that looks like a secret is masked whole, another one is
    /// searched.
    Suspect(Class),
    /// The name is that of a record's id: a number is taken as it is, also one that looks like a card's, another value is
    /// searched.
    RecordId,
    /// The strict policy does not keep the attribute.
    Drop,
    /// A deny pattern matches the name: the value is masked whole.
    DenyMask,
    /// The value is searched like any text.
    Scan,
    /// The value is an enumeration or a number by its convention and is taken as it is.
    Pass,
}

/// Attributes that mean the same as an identifier, in the spelling of older conventions or of a header.
/// From the attribute registries of the OpenTelemetry semantic conventions 1.4 to 1.44.
const ALIASES: &[(&str, &[&str])] = &[
    (
        "client.address",
        &[
            "http.client_ip",
            "client.ip",
            "client.socket.address",
            "http.request.header.x-forwarded-for",
            "http.request.header.x-real-ip",
            "http.request.header.forwarded",
            "http.request.header.true-client-ip",
            "http.request.header.cf-connecting-ip",
            "http.request.header.x-client-ip",
        ],
    ),
    ("user.id", &["feature_flag.context.id"]),
    ("session.id", &["session.previous_id"]),
    ("user.email", &["enduser.email"]),
];

/// Attributes that mean the same as an identifier on the span of a server only, whose peer is the client. Elsewhere
/// the peer is a server, a broker or a database: a machine, whose address is no person's.
const SERVER_ALIASES: &[(&str, &[&str])] =
    &[("client.address", &["net.peer.ip", "net.sock.peer.addr", "network.peer.address"])];

/// Headers whose values are credentials, in the form after `http.request.header.` and the like.
const SECRET_HEADERS: &[(&str, Class)] = &[
    ("authorization", Class::Credentials),
    ("proxy.authorization", Class::Credentials),
    ("www.authenticate", Class::Credentials),
    ("x.amz.security.token", Class::Secret),
    ("cookie", Class::Cookie),
    ("set.cookie", Class::Cookie),
    ("x.api.key", Class::Secret),
    ("api.key", Class::Secret),
    ("x.auth.token", Class::Secret),
    ("x.access.token", Class::Secret),
    ("x.csrf.token", Class::Secret),
    ("x.xsrf.token", Class::Secret),
    ("x.vault.token", Class::Secret),
    ("x.goog.api.key", Class::Secret),
    ("x.functions.key", Class::Secret),
    ("x.hub.signature", Class::Secret),
    ("x.hub.signature.256", Class::Secret),
];

/// Enumerations and numbers by their convention.
const PASS: &[&str] = &[
    "http.request.method",
    "http.method",
    "http.response.status_code",
    "http.status_code",
    "http.flavor",
    "url.scheme",
    "http.scheme",
    "server.port",
    "client.port",
    "net.peer.port",
    "net.host.port",
    "network.peer.port",
    "network.local.port",
    "network.transport",
    "network.type",
    "network.protocol.name",
    "network.protocol.version",
    "net.transport",
    "rpc.system",
    "rpc.system.name",
    "rpc.grpc.status_code",
    "rpc.status_code",
    "rpc.response.status_code",
    "db.system",
    "db.system.name",
    "messaging.system",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "os.type",
    "host.arch",
    "process.pid",
    "thread.id",
    "code.lineno",
    "code.line.number",
    "code.column",
    "code.column.number",
    "k8s.container.restart_count",
];

/// What the strict policy keeps without being told: the names that the columns of the tables come from.
/// Their values are searched all the same.
const STRUCTURAL: &[&str] = &[
    "service.name",
    "service.namespace",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
    "deployment.environment",
    "vcs.ref.head.revision",
    "exception.type",
    "exception.message",
    "exception.stacktrace",
    "error.type",
    "http.route",
    "url.path",
    "rpc.method",
    "rpc.service",
    "db.namespace",
    "db.collection.name",
    "db.operation.name",
    "db.query.summary",
    "messaging.destination.name",
    "server.address",
    "event.name",
    "feature_flag.key",
    "feature_flag.result.variant",
    "feature_flag.result.value",
    "feature_flag.result.reason",
    "feature_flag.provider.name",
    "feature_flag.set.id",
    "feature_flag.version",
];

/// Names of members of JSON texts whose rules are remembered; beyond that a rule is found anew each time.
const MAX_REMEMBERED: usize = 4096;
/// Longest of them, in bytes. Texts have names that nobody would give to an attribute.
const MAX_REMEMBERED_NAME: usize = 512;

/// The rules of one configuration.
pub(super) struct AttributeRules {
    policy: Policy,
    identifiers: Vec<Vec<String>>,
    /// Further ones on spans of servers.
    server_identifiers: Vec<Vec<String>>,
    payloads: Vec<String>,
    allowed: Vec<String>,
    deny: Vec<Regex>,
    remembered: RwLock<FxHashMap<String, AttributeRule>>,
}

impl AttributeRules {
    pub(super) fn new(redaction: &RedactionConfig, payload: &PayloadConfig, deny: Vec<Regex>) -> Self {
        let aliases = |table: &[(&str, &[&str])]| -> Vec<Vec<String>> {
            let configured =
                table.iter().filter(|(current, _)| redaction.identifiers.iter().any(|name| name == current));
            configured.flat_map(|(_, aliases)| aliases.iter().map(|alias| segments(alias))).collect()
        };
        let mut identifiers: Vec<Vec<String>> = redaction.identifiers.iter().map(|name| segments(name)).collect();
        identifiers.extend(aliases(ALIASES));
        identifiers.retain(|words| !words.is_empty());
        Self {
            policy: redaction.policy,
            identifiers,
            server_identifiers: aliases(SERVER_ALIASES),
            payloads: payload.attributes.clone(),
            allowed: redaction.allow_attributes.clone(),
            deny,
            remembered: RwLock::default(),
        }
    }

    /// The rule of a name that is met again and again and that no caller keeps.
    pub(super) fn remembered_rule(&self, key: &str) -> AttributeRule {
        if let Ok(remembered) = self.remembered.read()
            && let Some(rule) = remembered.get(key)
        {
            return *rule;
        }
        let rule = self.rule(key, false);
        if key.len() <= MAX_REMEMBERED_NAME
            && let Ok(mut remembered) = self.remembered.write()
            && remembered.len() < MAX_REMEMBERED
        {
            remembered.insert(key.to_owned(), rule);
        }
        rule
    }

    /// The rule of a name; `on_server` if it stands on the span of a server.
    pub(super) fn rule(&self, key: &str, on_server: bool) -> AttributeRule {
        if self.payloads.iter().any(|name| name == key) {
            return AttributeRule::Payload;
        }
        if self.policy == Policy::Off {
            return AttributeRule::Pass;
        }
        let words = segments(key);
        let is_any_of = |names: &[Vec<String>]| names.iter().any(|identifier| ends_with(&words, identifier));
        if is_any_of(&self.identifiers) || (on_server && is_any_of(&self.server_identifiers)) {
            return AttributeRule::Identifier;
        }
        let is_pass = PASS.contains(&key);
        if self.policy == Policy::Strict && !is_pass && !STRUCTURAL.contains(&key) && !self.is_allowed(key) {
            return AttributeRule::Drop;
        }
        if self.deny.iter().any(|pattern| pattern.is_match(key.as_bytes())) {
            return AttributeRule::DenyMask;
        }
        if is_pass {
            return AttributeRule::Pass;
        }
        match secret_rule(key, &words) {
            Some(class) if is_ambiguous(key.as_bytes()) => AttributeRule::Suspect(class),
            Some(class) => AttributeRule::Secret(class),
            None if is_record_id(&words) => AttributeRule::RecordId,
            None => AttributeRule::Scan,
        }
    }

    fn is_allowed(&self, key: &str) -> bool {
        self.allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == allowed,
        })
    }
}

fn secret_rule(key: &str, words: &[String]) -> Option<Class> {
    if matches!(key, "db.connection_string" | "db.jdbc.connection_string") {
        return Some(Class::Secret);
    }
    let header = words.iter().position(|word| matches!(word.as_str(), "header" | "headers" | "metadata"));
    if let Some(header) = header {
        let name = words[header + 1..].join(".");
        if let Some((_, class)) = SECRET_HEADERS.iter().find(|(secret, _)| *secret == name) {
            return Some(*class);
        }
    }
    secret_class(key.as_bytes(), false).or_else(|| personal_class(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(redaction: &RedactionConfig) -> AttributeRules {
        AttributeRules::new(redaction, &PayloadConfig::default(), Vec::new())
    }

    /// Old and new names of an identifier, and names that end in one, have the same rule.
    #[test]
    fn identifiers_by_all_their_names() {
        let rules = rules(&RedactionConfig::default());
        for key in [
            "user.id",
            "enduser.id",
            "app.user.id",
            "user_id",
            "userId",
            "client.address",
            "http.client_ip",
            "session.id",
        ] {
            for on_server in [true, false] {
                assert_eq!(rules.rule(key, on_server), AttributeRule::Identifier, "{key}");
            }
        }
        assert_eq!(rules.rule("service.instance.id", true), AttributeRule::RecordId);
    }

    /// The address of a peer is a client's on the spans of servers, and a machine's elsewhere, unless it is an
    /// identifier by configuration.
    #[test]
    fn addresses_of_peers_by_side() {
        let by_default = rules(&RedactionConfig::default());
        for key in ["net.peer.ip", "net.sock.peer.addr", "network.peer.address"] {
            assert_eq!(by_default.rule(key, true), AttributeRule::Identifier, "{key}");
            assert_eq!(by_default.rule(key, false), AttributeRule::Scan, "{key}");
        }
        let identifiers = vec!["network.peer.address".to_owned()];
        let named = rules(&RedactionConfig { identifiers, ..Default::default() });
        assert_eq!(named.rule("network.peer.address", false), AttributeRule::Identifier);
        assert_eq!(named.rule("net.peer.ip", true), AttributeRule::Scan);
    }

    /// Credentials are recognised by the name of their attribute in the spelling of any convention.
    #[test]
    fn secrets_by_name() {
        let rules = rules(&RedactionConfig::default());
        let expected = [
            ("http.request.header.authorization", Class::Credentials),
            ("http.request.header.cookie", Class::Cookie),
            ("http.response.header.set_cookie", Class::Cookie),
            ("http.request.header.x_api_key", Class::Secret),
            ("rpc.request.metadata.authorization", Class::Credentials),
            ("rpc.grpc.request.metadata.x-api-key", Class::Secret),
            ("db.connection_string", Class::Secret),
            ("app.db.password", Class::Password),
            ("customer.phone_number", Class::Phone),
        ];
        for (key, class) in expected {
            assert_eq!(rules.rule(key, false), AttributeRule::Secret(class), "{key}");
        }
        for key in [
            "db.query.text",
            "gen_ai.usage.input_tokens",
            "feature_flag.key",
            "messaging.kafka.message.key",
            "http.request.header.accept",
        ] {
            assert_eq!(rules.rule(key, false), AttributeRule::Scan, "{key}");
        }
    }

    /// Strict keeps what is allowed by name, what the tables need, and identifiers as tokens; nothing else.
    #[test]
    fn strict_fails_closed() {
        let config = RedactionConfig {
            policy: Policy::Strict,
            allow_attributes: vec!["app.*".into(), "order".into()],
            ..Default::default()
        };
        let rules = rules(&config);
        for (key, rule) in [
            ("app.note", AttributeRule::Scan),
            ("order", AttributeRule::Scan),
            ("orders", AttributeRule::Drop),
            ("custom.text", AttributeRule::Drop),
            ("service.name", AttributeRule::Scan),
            ("http.request.method", AttributeRule::Pass),
            ("user.id", AttributeRule::Identifier),
            ("http.request.body.content", AttributeRule::Payload),
        ] {
            assert_eq!(rules.rule(key, false), rule, "{key}");
        }
    }
}
