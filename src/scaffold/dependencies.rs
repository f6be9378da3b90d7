//! What runs below the boundary, and what it calls: the way to the failure is real, calls beside it get stand-ins.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use tracerag_schemas::bundle::{Evidence, Failure, Span};

use super::boundary::{http_path, http_status, method, text};
use super::origin::Origin;
use super::payload;

/// A service that the test answers for.
#[derive(Debug, Serialize)]
pub(super) struct Mock {
    /// The variable that says where it listens.
    pub variable: String,
    pub name: String,
    pub answers: Vec<Answer>,
}

/// What it answers to one kind of call, as it did in the trace.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub note: String,
    pub method: String,
    /// Regular expression of the path.
    pub path: String,
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// What is below a boundary.
#[derive(Debug, Default)]
pub(super) struct Below<'a> {
    /// Services that run.
    pub services: BTreeSet<&'a str>,
    pub mocks: Vec<Mock>,
    /// Calls that the test does not answer.
    pub real: Vec<String>,
}

/// Spans stand parents first, so one pass finds them all.
pub(super) fn below<'a>(evidence: &'a Evidence, origin: &Origin<'_>, entry: &'a Span) -> Below<'a> {
    let above: HashSet<&str> = origin.path.iter().skip(1).map(|span| span.span_id.as_str()).collect();
    let servers = servers(evidence);
    let mut inside = HashSet::from([entry.span_id.as_str()]);
    let mut below = Below { services: entry.service.as_deref().into_iter().collect(), ..Below::default() };
    let mut mocks: BTreeMap<String, Mock> = BTreeMap::new();
    for span in &evidence.spans {
        if !span.parent_span_id.as_deref().is_some_and(|parent| inside.contains(parent)) {
            continue;
        }
        let is_call = matches!(span.kind.as_deref(), Some("CLIENT" | "PRODUCER"));
        if !is_call || above.contains(span.span_id.as_str()) {
            inside.insert(&span.span_id);
            below.services.extend(span.service.as_deref());
            continue;
        }
        let server = servers.get(span.span_id.as_str()).copied();
        match answer(evidence, origin.failure, span, server) {
            Some(answer) => {
                let name = server.and_then(|server| server.service.as_deref());
                let name = name.or_else(|| text(span, &["server.address"])).unwrap_or("dependency");
                let mock = mocks.entry(variable(name)).or_insert_with_key(|variable| Mock {
                    variable: variable.clone(),
                    name: name.to_owned(),
                    answers: Vec::new(),
                });
                // Of several calls of a kind, what the service heard last is what it acted on.
                mock.answers.retain(|known| (&known.method, &known.path) != (&answer.method, &answer.path));
                mock.answers.push(answer);
            }
            None => {
                let name = span.name.as_deref().unwrap_or("-");
                below.real.push(format!("[{}] {name} of {}", span.anchor, span.service.as_deref().unwrap_or("-")));
            }
        }
    }
    below.mocks = mocks.into_values().collect();
    below
}

/// The first server span below each span.
fn servers(evidence: &Evidence) -> HashMap<&str, &Span> {
    let mut servers: HashMap<&str, &Span> = HashMap::new();
    for span in evidence.spans.iter().filter(|span| span.kind.as_deref() == Some("SERVER")) {
        if let Some(parent) = span.parent_span_id.as_deref() {
            servers.entry(parent).or_insert(span);
        }
    }
    servers
}

/// The recorded answer to a call over HTTP. `None` if it is not one, or not enough of it is known.
fn answer(evidence: &Evidence, failure: &Failure, call: &Span, server: Option<&Span>) -> Option<Answer> {
    let method = method(call)?;
    let status = http_status(call)?;
    let path = match server.and_then(|server| text(server, &["http.route"])) {
        Some(route) => route_pattern(route),
        None => format!("^{}$", literal(&http_path(call).ok()?)),
    };
    let spans: Vec<&Span> = std::iter::once(call).chain(server).collect();
    let recorded = payload::of(evidence, &spans, "response").and_then(|found| payload::body(found, failure).ok());
    let (content_type, body, lack) = match recorded {
        Some(body) => (body.content_type.clone(), body.text(), format!(", body of [{}]", body.anchor)),
        None => (String::new(), String::new(), String::from(", its body is not in the evidence")),
    };
    Some(Answer {
        note: format!("[{}] answered {status}{lack}", call.anchor),
        method,
        path,
        status,
        content_type,
        body,
    })
}

/// `SCAFFOLD_MOCK_INVENTORY`
fn variable(name: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("SCAFFOLD_MOCK_{}", name.chars().map(upper).collect::<String>())
}

/// A route as a regular expression: `/users/{id}`, `/users/:id` and `/users/<id>` have a part that varies.
fn route_pattern(route: &str) -> String {
    let varies = |part: &str| {
        part == "*"
            || part.starts_with(':')
            || (part.starts_with('{') && part.ends_with('}'))
            || (part.starts_with('<') && part.ends_with('>'))
    };
    let takes_rest = |part: &str| part.contains('*') || part.contains(":path") || part.contains("path:");
    let parts = route.split('/').map(|part| match part {
        part if varies(part) && takes_rest(part) => String::from(".+"),
        part if varies(part) => String::from("[^/]+"),
        part => literal(part),
    });
    format!("^{}$", parts.collect::<Vec<_>>().join("/"))
}

/// Text in a regular expression of any of the languages.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '/' | '-' | '_' | '~' | '%') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Routes of several frameworks become patterns; what is literal stays so, whatever it means in an expression.
    #[test]
    fn routes_become_patterns() {
        for (route, pattern) in [
            ("/reservations/{sku}", "^/reservations/[^/]+$"),
            ("/users/:id/files/<name>", "^/users/[^/]+/files/[^/]+$"),
            ("/static/{rest:path}", "^/static/.+$"),
            ("/v1.0/a+b(c)", "^/v1\\.0/a\\+b\\(c\\)$"),
        ] {
            assert_eq!(route_pattern(route), pattern);
        }
        assert_eq!(variable("shop-inventory.eu"), "SCAFFOLD_MOCK_SHOP_INVENTORY_EU");
    }
}
