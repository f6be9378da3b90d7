//! Where the test enters: the innermost request on the way to the failure that can be made again.

use serde::Serialize;
use serde_json::Value;
use tracerag_schemas::bundle::{Evidence, Frame, Payload, Span};
use tracerag_schemas::conventions::{GRPC_SERVER_FAILURES, GRPC_STATUS};

use super::origin::Origin;
use super::payload::{self, Body};
use super::redacted::{is_masked, is_named_by};
use super::{Language, Missing};

/// A request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
pub(super) enum Operation {
    Http {
        method: String,
        /// Path and query.
        target: String,
        status: u16,
    },
    Grpc {
        /// Full name, as `payments.v1.Payments`.
        service: String,
        method: String,
        /// Go package of the generated code, and the anchor of the frame that names it.
        package: String,
        package_anchor: String,
        code: String,
        /// The number of the code.
        number: usize,
        faults: Vec<usize>,
    },
}

impl Operation {
    /// `POST /checkout`, `payments.v1.Payments/Charge`
    pub(super) fn name(&self) -> String {
        match self {
            Self::Http { method, target, .. } => format!("HTTP {method} {target}"),
            Self::Grpc { service, method, .. } => format!("gRPC {service}/{method}"),
        }
    }

    /// What the service answered in the trace.
    pub(super) fn outcome(&self) -> String {
        match self {
            Self::Http { status, .. } => status.to_string(),
            Self::Grpc { code, .. } => code.clone(),
        }
    }
}

/// A request that can be made again.
#[derive(Debug)]
pub(super) struct Boundary<'a> {
    pub span: &'a Span,
    pub operation: Operation,
    pub body: Body,
    /// What is not as it was.
    pub notes: Vec<String>,
}

/// Goes up from the failure.
///
/// # Errors
/// What each request lacks.
pub(super) fn find<'a>(
    evidence: &'a Evidence,
    origin: &Origin<'a>,
    language: Language,
) -> Result<Boundary<'a>, Missing> {
    let mut missing = Vec::new();
    for (depth, &span) in origin.path.iter().enumerate() {
        let above = origin.path.get(depth + 1..).unwrap_or_default();
        let entered = match span.kind.as_deref() {
            Some("SERVER") if is_grpc(span) => grpc(evidence, origin, span, above, language),
            Some("SERVER") => http(evidence, origin, span, above),
            Some("CONSUMER") => Err(String::from("it took a message; requests of HTTP and gRPC can be made again")),
            _ => continue,
        };
        match entered {
            Ok(boundary) => return Ok(boundary),
            Err(why) => missing.push(format!("[{}] of {}: {why}", span.anchor, span.service.as_deref().unwrap_or("-"))),
        }
    }
    if missing.is_empty() {
        missing.push(format!(
            "[{}] has no span of a server above it, so its boundary is not known",
            origin.failure.anchor
        ));
    }
    Err(Missing(missing))
}

fn http<'a>(
    evidence: &'a Evidence,
    origin: &Origin<'_>,
    span: &'a Span,
    above: &[&Span],
) -> Result<Boundary<'a>, String> {
    let method = method(span).ok_or("its method is not known, nor another protocol than HTTP")?;
    let status = http_status(span).ok_or("the status of its answer is not known")?;
    if status < 500 {
        return Err(format!("it answered {status}, so the failure is not seen there"));
    }
    let mut notes = Vec::new();
    let path = http_path(span)?;
    let query = query(span, origin, &mut notes)?;
    let target = format!("{path}{query}");
    let body = match request(evidence, span, above) {
        Some(found) => payload::body(found, origin.failure)?,
        None if is_without_body(span, &method) => Body::default(),
        None => {
            return Err(format!(
                "the evidence has no payload of {method} {path}; payload.attributes names what carries it"
            ));
        }
    };
    Ok(Boundary { span, operation: Operation::Http { method, target, status }, body, notes })
}

fn grpc<'a>(
    evidence: &'a Evidence,
    origin: &Origin<'_>,
    span: &'a Span,
    above: &[&Span],
    language: Language,
) -> Result<Boundary<'a>, String> {
    let (service, method) = grpc_method(span).ok_or("its method of gRPC is not known")?;
    let code = grpc_code(span).ok_or("the code of its answer is not known")?;
    let numbers = |name: &&str| GRPC_STATUS.iter().position(|code| code == name);
    let faults: Vec<usize> = GRPC_SERVER_FAILURES.iter().filter_map(numbers).collect();
    let number = numbers(&code).ok_or("the code of its answer is not known")?;
    if !faults.contains(&number) {
        return Err(format!("it answered {code}, so the failure is not seen there"));
    }
    if language != Language::Go {
        return Err(format!(
            "a request of gRPC ({service}/{method}) needs its messages, which only the test in Go can have"
        ));
    }
    let (package, package_anchor) = go_package(evidence, span, &service, &method)
        .ok_or_else(|| format!("no frame names the Go package with the messages of {service}/{method}"))?;
    let mut notes = Vec::new();
    let found = match request(evidence, span, above) {
        Some(found) => found,
        None => {
            let found = above.iter().find_map(|span| payload::of(evidence, &[*span], "request"));
            let found = found.ok_or_else(|| format!("neither {service}/{method} nor what led there has a payload"))?;
            notes.push(format!(
                "{service}/{method} has no payload of its own: members of [{}] are taken for fields of the same name",
                found.anchor
            ));
            found
        }
    };
    let body = payload::body(found, origin.failure)?;
    if !body.lines.first().is_some_and(|line| line.text.starts_with('{')) {
        return Err(format!("[{}] is no object of JSON, so no message can be made of it", found.anchor));
    }
    let operation = Operation::Grpc { service, method, package, package_anchor, code: code.to_owned(), number, faults };
    Ok(Boundary { span, operation, body, notes })
}

/// The payload of a request: at its server, or at the client that sent it.
fn request<'a>(evidence: &'a Evidence, span: &Span, above: &[&Span]) -> Option<&'a Payload> {
    let client = above.first().copied().filter(|span| span.kind.as_deref() == Some("CLIENT"));
    let spans: Vec<&Span> = std::iter::once(span).chain(client).collect();
    payload::of(evidence, &spans, "request")
}

fn is_without_body(span: &Span, method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE") || number(span, &["http.request.body.size"]) == Some(0)
}

/// The first attribute of these names, as text.
pub(super) fn text<'a>(span: &'a Span, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| span.attributes.get(*name)?.as_str())
}

/// The first attribute of these names, as a number; old instrumentations write it as text.
fn number(span: &Span, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| match span.attributes.get(*name)? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    })
}

/// The method, as far as it is one that HTTP names.
pub(super) fn method(span: &Span) -> Option<String> {
    let is_name = |method: &&str| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    text(span, &["http.request.method", "http.method"]).filter(is_name).map(str::to_owned)
}

/// The status of an answer.
pub(super) fn http_status(span: &Span) -> Option<u16> {
    let status = number(span, &["http.response.status_code", "http.status_code"])?;
    u16::try_from(status).ok().filter(|status| (100..=599).contains(status))
}

/// The path of a request, as it goes over the wire.
///
/// # Errors
/// That it is not known, or redacted.
pub(super) fn http_path(span: &Span) -> Result<String, String> {
    let whole = || text(span, &["url.full", "http.url", "http.target"]).map(|url| split(url).0);
    let path = text(span, &["url.path"]).or_else(whole).ok_or("its path is not known")?;
    if is_masked(path) {
        return Err(format!("its path {path} is redacted"));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("{slash}{}", encoded(path)))
}

/// The query with its question mark, without parameters that are redacted; empty if there is none.
fn query(span: &Span, origin: &Origin<'_>, notes: &mut Vec<String>) -> Result<String, String> {
    let whole = || text(span, &["url.full", "http.url", "http.target"]).and_then(|url| split(url).1);
    let Some(query) = text(span, &["url.query"]).or_else(whole) else { return Ok(String::new()) };
    let mut kept = Vec::new();
    for parameter in query.trim_start_matches('?').split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        if !is_masked(parameter) {
            kept.push(encoded(parameter));
        } else if is_named_by(origin.failure, name) {
            let failure = &origin.failure.anchor;
            return Err(format!("[{failure}] names the parameter {name}, whose value is redacted"));
        } else {
            notes.push(format!("the parameter {name} of [{}] is left out, its value is redacted", span.anchor));
        }
    }
    Ok(if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) })
}

/// Path and query of an address, with or without the host.
fn split(url: &str) -> (&str, Option<&str>) {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => url,
    };
    let rest = rest.split('#').next().unwrap_or_default();
    match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    }
}

/// What may not stand in an address, percent-encoded. What is encoded already stays.
fn encoded(text: &str) -> String {
    let stays = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#?".contains(&byte);
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match stays(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn is_grpc(span: &Span) -> bool {
    text(span, &["rpc.system.name", "rpc.system"]) == Some("grpc")
}

/// Full name of the service, and the method. Older conventions have them in two attributes.
fn grpc_method(span: &Span) -> Option<(String, String)> {
    let whole = text(span, &["rpc.method"])?.trim_start_matches('/');
    let (service, method) = match whole.split_once('/') {
        Some(pair) => pair,
        None => (text(span, &["rpc.service"])?, whole),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    };
    (is_name(service) && is_name(method)).then(|| (service.to_owned(), method.to_owned()))
}

fn grpc_code(span: &Span) -> Option<&'static str> {
    let names = ["rpc.response.status_code", "rpc.status_code", "rpc.grpc.status_code"];
    let by_number = || GRPC_STATUS.get(usize::try_from(number(span, &names)?).ok()?).copied();
    let named = text(span, &names).and_then(|name| GRPC_STATUS.iter().find(|code| **code == name).copied());
    named.or_else(by_number)
}

/// The package of the handler that protoc's plugin for Go generates, `PACKAGE._Service_Method_Handler`, which stands on
/// the stack of whatever fails below it.
fn go_package(evidence: &Evidence, span: &Span, service: &str, method: &str) -> Option<(String, String)> {
    let short = service.rsplit('.').next().unwrap_or(service);
    let handler = format!("._{short}_{method}_Handler");
    let of_service = evidence.failures.iter().filter(|failure| failure.service == span.service);
    of_service.flat_map(|failure| failure.frames.iter().map(move |frame| (failure, frame))).find_map(
        |(failure, frame)| {
            let anchor = frame.anchor.as_ref().unwrap_or(&failure.anchor);
            package_of(frame, &handler).map(|package| (package, anchor.clone()))
        },
    )
}

fn package_of(frame: &Frame, handler: &str) -> Option<String> {
    let (package, rest) = frame.function.as_deref()?.split_once(handler)?;
    // Go writes dots of the last part as %2e.
    let package = package.replace("%2e", ".");
    let is_path = package.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte));
    (is_path && !package.is_empty() && package != "main" && (rest.is_empty() || rest.starts_with('.')))
        .then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses with and without host, query and fragment come apart, and what may not stand in one is encoded once.
    #[test]
    fn addresses_come_apart() {
        for (url, path, query) in [
            ("http://shop:80/checkout?a=1#x", "/checkout", Some("a=1")),
            ("/checkout", "/checkout", None),
            ("https://shop", "/", None),
            ("https://shop?q", "", Some("q")),
        ] {
            assert_eq!(split(url), (path, query), "{url}");
        }
        assert_eq!(encoded("/a b/%20/\u{e9}\"\n"), "/a%20b/%20/%C3%A9%22%0A");
    }

    /// The generated package is that of the handler, with dots as in its path; the program's own package and what is
    /// masked are none.
    #[test]
    fn packages_are_those_of_handlers() {
        let frame = |function: &str| Frame {
            function: Some(function.to_owned()),
            file: None,
            line: None,
            in_app: None,
            anchor: None,
        };
        let of = |function: &str| package_of(&frame(function), "._Payments_Charge_Handler");
        assert_eq!(of("payments/paymentsv1._Payments_Charge_Handler.func1").as_deref(), Some("payments/paymentsv1"));
        assert_eq!(of("example.com/pay%2ev1._Payments_Charge_Handler").as_deref(), Some("example.com/pay.v1"));
        for none in
            ["main._Payments_Charge_Handler", "x/****/y._Payments_Charge_Handler", "x._Payments_Charge_Handlers"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
