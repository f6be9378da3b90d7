//! MCP over HTTP: `/mcp`, behind the checks and the gate of every other path.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};

use super::Handler;
use crate::access::{Caller, Scope};
use crate::server::MOST_BYTES;
use crate::server::app::App;
use crate::server::problem::Problem;

/// The path.
const PATH: &str = "/mcp";
/// Where clients look up who gives tokens (RFC 9728).
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Who gives the tokens of a server, for clients that can log in by OAuth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedResource {
    /// The issuer: `https://login.example.com`.
    pub issuer: String,
    /// Where clients reach this server: `https://tracerag.example.com`.
    pub public_url: String,
}

impl ProtectedResource {
    /// What tokens are for that are made for this server: its agents' address.
    pub fn resource(&self) -> String {
        self.at(PATH)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.trim_end_matches('/'))
    }

    /// The document of RFC 9728.
    fn metadata(&self) -> Value {
        json!({
            "resource": self.resource(),
            "authorization_servers": [self.issuer],
            "bearer_methods_supported": ["header"],
            "scopes_supported": Scope::ALL.map(Scope::name),
            "resource_name": "tracerag",
        })
    }
}

/// The paths, for the router of everything.
pub(in crate::server) fn routes(app: App, resource: Option<ProtectedResource>) -> Router<App> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MOST_BYTES)
        // Host and origin are checked before, as for every path.
        .disable_allowed_hosts();
    let handler = Handler::new(app);
    let service =
        StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(NeverSessionManager::default()), config);
    let metadata: Option<Arc<str>> = resource.as_ref().map(|resource| resource.at(&format!("{METADATA}{PATH}")).into());
    let answer = move |caller: Result<Caller, Problem>, request: Request| {
        let (service, metadata) = (service.clone(), metadata.clone());
        async move {
            match caller {
                Ok(caller) => {
                    let mut request = request;
                    request.extensions_mut().insert(caller);
                    service.handle(request).await.map(Body::new)
                }
                Err(problem) => refused(problem, metadata.as_deref()),
            }
        }
    };
    let mut router = Router::new().route(PATH, post(answer));
    if let Some(resource) = resource {
        let text = resource.metadata().to_string();
        for path in [METADATA.to_owned(), format!("{METADATA}{PATH}")] {
            let text = text.clone();
            router = router.route(
                &path,
                get(move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], text.clone()))),
            );
        }
    }
    router
}

fn refused(problem: Problem, metadata: Option<&str>) -> Response {
    let challenge = problem.challenge(metadata);
    let mut response = problem.into_response();
    if let Some(Ok(challenge)) = challenge.as_deref().map(HeaderValue::from_str) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
