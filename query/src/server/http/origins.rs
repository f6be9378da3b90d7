//! From which web pages requests may come. A browser sends along where its page is from; other clients send nothing.
//!
//! A page of anywhere can make a browser ask a server on its user's machine. Where no token is needed that would be
//! enough to read everything, and a name that is made to point to this machine would even count as the same origin; so
//! such a server answers only to the names of this machine.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::{Host, Url};

use crate::server::app::App;
use crate::server::problem::Problem;

/// What a page may read of an answer besides its body.
const EXPOSED: &str = "tracerag-position, tracerag-next-cursor, retry-after";
/// What a page may send.
const METHODS: &str = "GET, POST, DELETE";

/// Where pages may be from.
#[derive(Debug)]
pub(in crate::server) struct Origins {
    allowed: Vec<String>,
    /// Whether only names of this machine are answered to.
    is_local: bool,
}

impl Origins {
    /// These origins besides the server's own.
    pub(in crate::server) fn new(allowed: Vec<String>, is_local: bool) -> Self {
        Self { allowed, is_local }
    }

    /// That a request may be answered that is sent to this host, by a page of this origin if by any.
    fn permit(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Problem> {
        if self.is_local && !host.is_some_and(is_this_machine) {
            return Err(Problem::forbidden(
                "host-unknown",
                "without tokens this server answers to localhost and 127.0.0.1 only; use one of them, or configure tokens",
            ));
        }
        let Some(origin) = origin else { return Ok(()) };
        let is_own = host.is_some() && origin.split_once("://").map(|(_, rest)| rest) == host;
        match is_own || self.allowed.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
            true => Ok(()),
            false => Err(Problem::forbidden(
                "origin-unknown",
                "pages of this origin may not ask; whoever runs the server can add it to serve.allowed_origins",
            )),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let parsed = Url::parse(&format!("http://{host}/"));
    match parsed.as_ref().ok().and_then(Url::host) {
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Lets requests on that may be answered. A browser keeps an answer from its page, and does not even send a request that
/// no form could, unless it is told that the page may (CORS). Pages show their token themselves: there are no cookies,
/// so whichever headers a page wants to send, it may.
pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("\u{0}"));
    app.origins().permit(text(header::HOST), text(header::ORIGIN))?;
    let Some(origin) = headers.get(header::ORIGIN).cloned() else { return Ok(next.run(request).await) };
    let asks_before =
        request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = match asks_before {
        true => (StatusCode::NO_CONTENT, [(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)]).into_response(),
        false => next.run(request).await,
    };
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    answer.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(wanted) = wanted.filter(|_| asks_before) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients without a page come in by any name where tokens are needed, and by names of this machine where not;
    /// pages only from here and from where they are permitted.
    #[test]
    fn pages_of_elsewhere_are_refused() {
        let permits = |is_local, host, origin| {
            let origins = Origins::new(vec![String::from("https://wiki.example.com/")], is_local);
            origins.permit(Some(host), origin).is_ok()
        };
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST"] {
            assert!(permits(true, host, None), "{host}");
        }
        for host in ["evil.example.com", "127.0.0.1.example.com:8080", "10.0.0.1:8080", "\u{0}", ""] {
            assert!(!permits(true, host, None), "{host}");
        }
        assert!(permits(false, "tracerag.example.com", None));
        assert!(permits(false, "tracerag.example.com", Some("https://tracerag.example.com")));
        assert!(permits(false, "tracerag.example.com", Some("https://wiki.example.com")));
        for origin in ["https://evil.example.com", "null", "", "https://wiki.example.com.evil.com", "\u{0}"] {
            assert!(!permits(false, "tracerag.example.com", Some(origin)), "{origin}");
        }
    }
}
