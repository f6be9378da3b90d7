//! The client of `--server`: asks a running server what a command would ask the lake.

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::error::Error;

/// Names the token.
const TOKEN: &str = "TRACERAG_TOKEN";

/// A server.
pub(crate) struct Server {
    url: Url,
    token: Option<String>,
    client: Client,
}

impl Server {
    /// The server at an address, with the token of the environment.
    ///
    /// # Errors
    /// When the address is none, or a token would cross the network in clear.
    pub(crate) fn at(url: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Usage(format!("--server {url}: {why}; write e.g. https://tracerag.example.com"));
        let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("it is no address of HTTP"));
        }
        let token = std::env::var(TOKEN).ok().filter(|token| !token.trim().is_empty());
        let is_here = is_this_machine(&parsed);
        if token.is_some() && parsed.scheme() == "http" && !is_here {
            return Err(wrong("the token would cross the network in clear"));
        }
        let mut client = Client::builder();
        if is_here {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { url: parsed, token, client })
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Sends JSON; the answer is one that went well.
    ///
    /// # Errors
    /// What the server refused, or that it did not answer.
    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Response, Error> {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(body.to_string());
        self.send(request).await
    }

    /// Asks without a body; `accept` is a media type.
    ///
    /// # Errors
    /// As [`Server::post`].
    pub(crate) async fn ask(&self, method: Method, path: &[&str], accept: &str) -> Result<Response, Error> {
        self.send(self.request(method, path).header(ACCEPT, accept)).await
    }

    /// Asks for JSON with parameters behind the question mark.
    ///
    /// # Errors
    /// As [`Server::post`].
    pub(crate) async fn get(&self, path: &[&str], parameters: &[(&str, String)]) -> Result<Response, Error> {
        let mut url = self.address(path);
        url.query_pairs_mut().extend_pairs(parameters);
        self.send(self.request_at(Method::GET, url).header(ACCEPT, "application/json")).await
    }

    /// An answer's JSON.
    ///
    /// # Errors
    /// When it is none, or breaks off.
    pub(crate) async fn json(&self, response: Response) -> Result<Value, Error> {
        let bytes = response.bytes().await.map_err(|error| self.failed(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::NoServer {
            url: self.url().to_owned(),
            detail: format!("its answer is no JSON ({error})"),
        })
    }

    /// Hands an answer on as it comes.
    ///
    /// # Errors
    /// When it breaks off, or `take` fails.
    pub(crate) async fn each(
        &self,
        mut response: Response,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while let Some(bytes) = response.chunk().await.map_err(|error| self.failed(&error))? {
            take(&bytes)?;
        }
        Ok(())
    }

    /// Hands a message of MCP on; the answer is one of MCP, too, whatever its status, or empty.
    ///
    /// # Errors
    /// As [`Server::post`].
    pub(crate) async fn relay(&self, message: String, headers: &[(&'static str, String)]) -> Result<String, Error> {
        let mut request = self
            .request(Method::POST, &["mcp"])
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.body(message).send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.failed(&error))?;
        let is_message = serde_json::from_str(&text).is_ok_and(|answer: Value| answer.get("jsonrpc").is_some());
        match is_message || (status.is_success() && text.is_empty()) {
            true => Ok(text),
            false => Err(self.refused(status, &text)),
        }
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_at(method, self.address(path))
    }

    fn request_at(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.trim()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        Err(self.refused(status, &text))
    }

    /// What an answer says that did not go well.
    fn refused(&self, status: StatusCode, text: &str) -> Error {
        let problem: Option<Value> = serde_json::from_str(text).ok();
        match problem.as_ref().and_then(|problem| problem.get("detail")).and_then(Value::as_str) {
            Some(detail) => Error::Refused(detail.to_owned()),
            None => Error::NoServer { url: self.url().to_owned(), detail: format!("it answers {status}") },
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        // The reason lies at the bottom: a refused connection, a certificate.
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Error::NoServer { url: self.url().to_owned(), detail: cause.to_string() }
    }
}

pub(crate) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
