//! The rename map of the semantic conventions: old attribute names and the current names of the same fact.
//!
//! Names as of semantic conventions 1.44.0 (<https://github.com/open-telemetry/semantic-conventions>,
//! `model/` with its `deprecated` notes). The map goes by the presence of an old name, whatever the schema
//! URL says: one trace mixes instrumentations of many versions.
//!
//! An original entry always stays. Where only the old name is present, an entry under the new name is added
//! behind all originals ("derived"). So that the original list can be told from the stored one, **an entry is
//! derived if and only if an old name that may lead to it stands before it in the same list**; an original
//! entry under a new name is therefore moved before the old names.

/// How the value of an old attribute becomes that of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// The same value under a new name.
    To(&'static str),
    /// The same value as a string.
    AsText(&'static str),
    /// The number of a gRPC status, whose name becomes `rpc.status_code`.
    GrpcStatus,
    /// What the other side is depends on the span's kind: the client's peer is the server.
    Peer {
        /// Name on spans of servers. A consumer's peer is the broker, which is a server.
        on_server: &'static str,
        /// Name on all other spans.
        on_client: &'static str,
    },
    /// `http.target`: path and query of a URL.
    Target,
    /// `http.flavor`: name and version of the protocol.
    Flavor,
    /// `http.host`: a host with or without a port.
    Host,
    /// `db.connection_string`: host and port of a URL.
    ConnectionString,
    /// `code.function`: joined behind `code.namespace`, where there is one.
    Function,
    /// `code.namespace`: only joined with `code.function`.
    Namespace,
    /// A family of names, whose beginning changes.
    Prefix {
        /// Beginning of the old names, with the dot.
        old: &'static str,
        /// Beginning of the new names, with the dot.
        new: &'static str,
    },
}

impl Rename {
    /// Fixed names that may come out of this rename; empty for a family.
    pub fn targets(self) -> &'static [&'static str] {
        match self {
            Rename::GrpcStatus => &["rpc.status_code"],
            Rename::Peer { on_client: "server.port", .. } => &["server.port", "client.port"],
            Rename::Peer { .. } => &["server.address", "client.address"],
            Rename::Target => &["url.path", "url.query"],
            Rename::Flavor => &["network.protocol.name", "network.protocol.version"],
            Rename::Host | Rename::ConnectionString => &["server.address", "server.port"],
            Rename::Function | Rename::Namespace => &["code.function.name"],
            Rename::To(_) | Rename::AsText(_) | Rename::Prefix { .. } => &[],
        }
    }

    /// Whether this rename of `old` may bring an entry named `new`.
    pub fn may_give(self, old: &str, new: &str) -> bool {
        match self {
            Rename::To(target) | Rename::AsText(target) => target == new,
            Rename::Prefix { old: old_prefix, new: new_prefix } => {
                old.strip_prefix(old_prefix).is_some() && old.strip_prefix(old_prefix) == new.strip_prefix(new_prefix)
            }
            _ => self.targets().contains(&new),
        }
    }
}

/// Families of names. The old beginning never equals the new one.
const PREFIXES: &[(&str, &str)] = &[
    ("k8s.pod.labels.", "k8s.pod.label."),
    ("rpc.grpc.request.metadata.", "rpc.request.metadata."),
    ("rpc.grpc.response.metadata.", "rpc.response.metadata."),
    ("rpc.connect_rpc.request.metadata.", "rpc.request.metadata."),
    ("rpc.connect_rpc.response.metadata.", "rpc.response.metadata."),
];

/// Old names with their renames.
const NAMES: &[(&str, Rename)] = &[
    ("http.method", Rename::To("http.request.method")),
    ("http.status_code", Rename::To("http.response.status_code")),
    ("http.url", Rename::To("url.full")),
    ("http.scheme", Rename::To("url.scheme")),
    ("http.target", Rename::Target),
    ("http.host", Rename::Host),
    ("http.user_agent", Rename::To("user_agent.original")),
    ("http.client_ip", Rename::To("client.address")),
    ("http.server_name", Rename::To("server.address")),
    ("http.flavor", Rename::Flavor),
    ("http.request_content_length", Rename::To("http.request.header.content-length")),
    ("http.response_content_length", Rename::To("http.response.header.content-length")),
    ("net.peer.name", Rename::Peer { on_server: "client.address", on_client: "server.address" }),
    ("net.peer.port", Rename::Peer { on_server: "client.port", on_client: "server.port" }),
    ("net.host.name", Rename::To("server.address")),
    ("net.host.port", Rename::To("server.port")),
    ("net.host.ip", Rename::To("network.local.address")),
    ("net.peer.ip", Rename::To("network.peer.address")),
    ("net.sock.peer.addr", Rename::To("network.peer.address")),
    ("net.sock.peer.port", Rename::To("network.peer.port")),
    ("net.transport", Rename::To("network.transport")),
    ("net.protocol.name", Rename::To("network.protocol.name")),
    ("net.protocol.version", Rename::To("network.protocol.version")),
    ("peer.service", Rename::To("service.peer.name")),
    ("otel.library.name", Rename::To("otel.scope.name")),
    ("otel.library.version", Rename::To("otel.scope.version")),
    ("rpc.system", Rename::To("rpc.system.name")),
    ("rpc.grpc.status_code", Rename::GrpcStatus),
    ("rpc.response.status_code", Rename::AsText("rpc.status_code")),
    ("rpc.connect_rpc.error_code", Rename::AsText("rpc.status_code")),
    ("rpc.jsonrpc.error_code", Rename::AsText("rpc.status_code")),
    ("db.system", Rename::To("db.system.name")),
    ("db.name", Rename::To("db.namespace")),
    ("db.statement", Rename::To("db.query.text")),
    ("db.operation", Rename::To("db.operation.name")),
    ("db.mongodb.collection", Rename::To("db.collection.name")),
    ("db.cassandra.table", Rename::To("db.collection.name")),
    ("db.sql.table", Rename::To("db.collection.name")),
    ("db.redis.database_index", Rename::AsText("db.namespace")),
    ("db.connection_string", Rename::ConnectionString),
    ("messaging.operation", Rename::To("messaging.operation.type")),
    ("messaging.kafka.message.offset", Rename::To("messaging.kafka.offset")),
    ("messaging.kafka.consumer.group", Rename::To("messaging.consumer.group.name")),
    ("messaging.kafka.destination.partition", Rename::AsText("messaging.destination.partition.id")),
    ("code.filepath", Rename::To("code.file.path")),
    ("code.lineno", Rename::To("code.line.number")),
    ("code.column", Rename::To("code.column.number")),
    ("code.function", Rename::Function),
    ("code.namespace", Rename::Namespace),
    ("deployment.environment", Rename::To("deployment.environment.name")),
    ("feature_flag.provider_name", Rename::To("feature_flag.provider.name")),
    ("feature_flag.variant", Rename::To("feature_flag.result.variant")),
    ("feature_flag.evaluation.reason", Rename::To("feature_flag.result.reason")),
    ("feature_flag.evaluation.error.message", Rename::To("feature_flag.error.message")),
    ("vcs.repository.ref.revision", Rename::To("vcs.ref.head.revision")),
    ("vcs.repository.ref.name", Rename::To("vcs.ref.head.name")),
    ("vcs.repository.ref.type", Rename::To("vcs.ref.head.type")),
    ("vcs.repository.change.id", Rename::To("vcs.change.id")),
    ("vcs.repository.change.title", Rename::To("vcs.change.title")),
    ("container.runtime", Rename::To("container.runtime.name")),
    ("enduser.role", Rename::To("user.roles")),
    ("process.executable.build_id.profiling", Rename::To("process.executable.build_id.htlhash")),
];

/// The rename of an attribute name, if it is an old one.
///
/// It searches linearly: callers keep the answer per distinct name.
pub fn rename(name: &str) -> Option<Rename> {
    if let Some((_, rename)) = NAMES.iter().find(|(old, _)| *old == name) {
        return Some(*rename);
    }
    let (old, new) = PREFIXES.iter().find(|(old, _)| name.len() > old.len() && name.starts_with(old))?;
    Some(Rename::Prefix { old, new })
}

/// Whether some old name may lead to `name`. Searches linearly, as [`rename`] does.
pub fn is_target(name: &str) -> bool {
    NAMES.iter().any(|(old, rename)| rename.may_give(old, name))
        || PREFIXES.iter().any(|(_, new)| name.starts_with(new))
}

/// Old names that may lead to `name`, for queries that want to name them; families are left out.
pub fn old_names(name: &str) -> impl Iterator<Item = &'static str> {
    NAMES.iter().filter(move |(old, rename)| rename.may_give(old, name)).map(|(old, _)| *old)
}

/// The names of gRPC's status codes by number
/// (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
pub const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Those that are a failure of the server which answers them; a caller fails with any but OK. By OpenTelemetry's
/// conventions for spans of RPC, "Status".
pub const GRPC_SERVER_FAILURES: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// No new name is itself an old one, or a derived entry could bring a further one; and each old name
    /// stands once.
    #[test]
    fn renames_do_not_chain() {
        for (index, (old, rename)) in NAMES.iter().enumerate() {
            assert!(NAMES[index + 1..].iter().all(|(other, _)| other != old), "{old} stands twice");
            for (target, _) in NAMES {
                assert!(!rename.may_give(old, target), "{old} leads to the old name {target}");
            }
        }
        for (old, new) in PREFIXES {
            assert!(old.ends_with('.') && new.ends_with('.') && !new.starts_with(old));
        }
    }

    /// Single names, split names and families say where they may lead, and nothing else does.
    #[test]
    fn leads_to_the_documented_names() {
        assert_eq!(rename("http.method"), Some(Rename::To("http.request.method")));
        assert_eq!(rename("http.request.method"), None);
        let family = rename("k8s.pod.labels.app").unwrap();
        assert!(family.may_give("k8s.pod.labels.app", "k8s.pod.label.app"));
        assert!(!family.may_give("k8s.pod.labels.app", "k8s.pod.label.tier"));
        assert_eq!(rename("k8s.pod.labels."), None);
        assert!(rename("http.target").unwrap().may_give("http.target", "url.query"));
        assert!(is_target("client.port") && is_target("k8s.pod.label.app") && !is_target("http.method"));
        assert_eq!(old_names("db.namespace").collect::<Vec<_>>(), ["db.name", "db.redis.database_index"]);
    }
}
