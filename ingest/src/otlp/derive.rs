//! The values that a rename gives (see `tracerag_schemas::conventions`).

use std::borrow::Cow;

use tracerag_schemas::conventions::{GRPC_STATUS, Rename};

use super::any_value::{AnyValue, plain, utf8};

/// The kind of a span, as far as renames and rules of names depend on it: who the peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    /// Spans of servers: the peer is the client.
    Server,
    /// All other spans, consumers' among them, and what is no span.
    #[default]
    Other,
}

/// A derived value.
pub(super) enum Derived<'a> {
    /// The old value as it is.
    Same,
    Text(Cow<'a, str>),
    Int(i64),
}

/// Up to two entries: name and value.
pub(super) type Entries<'a> = [Option<(Cow<'static, str>, Derived<'a>)>; 2];

/// The entries that `old` gives by `rename`. `namespace` is the value of `code.namespace` in the same list.
pub(super) fn derive<'a>(
    old: &str,
    rename: Rename,
    value: AnyValue<'a>,
    side: Side,
    namespace: Option<&'a str>,
) -> Entries<'a> {
    let one = |name: &'static str, value| [Some((Cow::Borrowed(name), value)), None];
    match rename {
        Rename::To(name) => one(name, Derived::Same),
        Rename::AsText(name) => match text(value) {
            Some(text) => one(name, Derived::Text(text)),
            None => one(name, Derived::Same),
        },
        Rename::Prefix { old: old_prefix, new } => match old.strip_prefix(old_prefix) {
            Some(rest) => [Some((Cow::Owned(format!("{new}{rest}")), Derived::Same)), None],
            None => [None, None],
        },
        Rename::Peer { on_server, on_client } => {
            one(if side == Side::Server { on_server } else { on_client }, Derived::Same)
        }
        Rename::GrpcStatus => match text(value) {
            Some(text) => one("rpc.status_code", Derived::Text(grpc_status(text))),
            None => [None, None],
        },
        Rename::Target => string(value).map_or([None, None], target),
        Rename::Flavor => text(value).map_or([None, None], flavor),
        Rename::Host => string(value).map_or([None, None], authority),
        Rename::ConnectionString => {
            string(value).and_then(url_authority).map_or([None, None], |host| authority(Cow::Owned(host)))
        }
        Rename::Function => match string(value) {
            Some(function) => {
                let name = match namespace {
                    Some(namespace) if !namespace.is_empty() => Cow::Owned(format!("{namespace}.{function}")),
                    _ => function,
                };
                one("code.function.name", Derived::Text(name))
            }
            None => [None, None],
        },
        Rename::Namespace => [None, None],
    }
}

/// The text of a string value; invalid UTF-8 was counted where the original was written.
pub(super) fn string(value: AnyValue<'_>) -> Option<Cow<'_, str>> {
    match value {
        AnyValue::Text(bytes) => Some(utf8(bytes, &mut 0)),
        _ => None,
    }
}

/// The text of a scalar.
pub(super) fn text(value: AnyValue<'_>) -> Option<Cow<'_, str>> {
    match value {
        AnyValue::Int(_) | AnyValue::Double(_) | AnyValue::Bool(_) => {
            let mut text = Vec::new();
            plain(value, &mut text);
            String::from_utf8(text).ok().map(Cow::Owned)
        }
        _ => string(value),
    }
}

fn grpc_status(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.parse::<usize>().ok().and_then(|number| GRPC_STATUS.get(number)) {
        Some(name) => Cow::Borrowed(*name),
        None => text,
    }
}

/// Path and query of `http.target`, which may be a whole URL behind a proxy.
fn target(target: Cow<'_, str>) -> Entries<'_> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.split_once('#').map_or(query, |(query, _)| query))),
        None => (target.split_once('#').map_or(&*target, |(path, _)| path), None),
    };
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => path,
    };
    let owned = |text: &str| Derived::Text(Cow::Owned(text.to_owned()));
    let entry = |name: &'static str, text: &str| (!text.is_empty()).then(|| (Cow::Borrowed(name), owned(text)));
    [entry("url.path", path), query.and_then(|query| entry("url.query", query))]
}

/// `1.1`, `2.0`, `HTTP/2`, `SPDY`, `QUIC`: semantic conventions 1.20, `http.flavor`.
fn flavor(flavor: Cow<'_, str>) -> Entries<'_> {
    let lower = flavor.to_ascii_lowercase();
    let (name, version) = match lower.split_once('/') {
        Some((name, version)) => (name.to_owned(), version),
        None if lower.starts_with(|first: char| first.is_ascii_digit()) => ("http".to_owned(), lower.as_str()),
        None => (lower.clone(), ""),
    };
    // Versions 2 and 3 have no minor number in the current convention.
    let version = match version {
        "2.0" => "2",
        "3.0" => "3",
        other => other,
    };
    let entry = |key: &'static str, text: String| {
        (!text.is_empty()).then_some((Cow::Borrowed(key), Derived::Text(Cow::Owned(text))))
    };
    [entry("network.protocol.name", name), entry("network.protocol.version", version.to_owned())]
}

/// Host and port of `host`, `host:port`, `[v6]:port`.
fn authority(authority: Cow<'_, str>) -> Entries<'_> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (&*authority, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return [None, None];
    }
    [
        Some((Cow::Borrowed("server.address"), Derived::Text(Cow::Owned(host.to_owned())))),
        port.map(|port| (Cow::Borrowed("server.port"), Derived::Int(i64::from(port)))),
    ]
}

/// The host and port of a URL without its credentials; nothing if it is no URL or names several hosts.
fn url_authority(url: Cow<'_, str>) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if scheme.is_empty() {
        return None;
    }
    let end = rest.find(['/', '?', '#', ';']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!host.contains(',') && !host.contains('=')).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tracerag_schemas::conventions::rename;

    fn derived(old: &str, value: AnyValue<'_>, side: Side) -> Vec<(String, String)> {
        derive(old, rename(old).unwrap(), value, side, Some("shop.Cart"))
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let text = match value {
                    Derived::Same => "=".to_owned(),
                    Derived::Text(text) => text.into_owned(),
                    Derived::Int(number) => number.to_string(),
                };
                (name.into_owned(), text)
            })
            .collect()
    }

    fn texts(old: &str, value: &str) -> Vec<(String, String)> {
        derived(old, AnyValue::Text(value.as_bytes()), Side::Other)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    /// Old values that held two facts are split as the conventions say.
    #[test]
    fn splits() {
        assert_eq!(texts("http.target", "/a/b?x=1#f"), pairs(&[("url.path", "/a/b"), ("url.query", "x=1")]));
        assert_eq!(texts("http.target", "http://proxy/a"), pairs(&[("url.path", "/a")]));
        let version = |name, version| pairs(&[("network.protocol.name", name), ("network.protocol.version", version)]);
        assert_eq!(texts("http.flavor", "1.1"), version("http", "1.1"));
        assert_eq!(texts("http.flavor", "2.0"), version("http", "2"));
        assert_eq!(texts("http.flavor", "SPDY"), pairs(&[("network.protocol.name", "spdy")]));
        assert_eq!(texts("http.host", "shop:8080"), pairs(&[("server.address", "shop"), ("server.port", "8080")]));
        assert_eq!(texts("http.host", "[::1]:80"), pairs(&[("server.address", "::1"), ("server.port", "80")]));
        assert_eq!(texts("http.host", "::1"), pairs(&[("server.address", "::1")]));
        let database = texts("db.connection_string", "postgres://u:p@db:5432/x?y");
        assert_eq!(database, pairs(&[("server.address", "db"), ("server.port", "5432")]));
        assert!(texts("db.connection_string", "Server=db;Password=p").is_empty());
        assert_eq!(texts("code.function", "total"), pairs(&[("code.function.name", "shop.Cart.total")]));
    }

    /// The peer of a client is the server, and the other way round; numbers of statuses become their text.
    #[test]
    fn by_side_and_as_text() {
        let peer = |side| derived("net.peer.name", AnyValue::Text(b"x"), side);
        assert_eq!(peer(Side::Other), pairs(&[("server.address", "=")]));
        assert_eq!(peer(Side::Server), pairs(&[("client.address", "=")]));
        let status = |number| derived("rpc.grpc.status_code", AnyValue::Int(number), Side::Other);
        assert_eq!(status(13), pairs(&[("rpc.status_code", "INTERNAL")]));
        assert_eq!(status(77), pairs(&[("rpc.status_code", "77")]));
        let code = derived("rpc.jsonrpc.error_code", AnyValue::Int(-32602), Side::Other);
        assert_eq!(code, pairs(&[("rpc.status_code", "-32602")]));
    }
}
