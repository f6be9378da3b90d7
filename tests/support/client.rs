//! An HTTP client of the server under test.

use reqwest::Method;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// A client that shows one token, or none.
pub struct Client {
    url: String,
    token: Option<String>,
    http: reqwest::Client,
    runtime: Runtime,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON: {error}\n{}", self.text))
    }

    /// The JSON of an answer that went well.
    pub fn good(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }

    /// The short name of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// A client of the server on a port of this machine.
    pub fn of(port: u16, token: Option<&str>) -> Client {
        Client {
            url: format!("http://127.0.0.1:{port}"),
            token: token.map(str::to_owned),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            runtime: Builder::new_current_thread().enable_all().build().expect("a runtime"),
        }
    }

    /// Sends a request; `None` if nobody answers.
    pub fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Option<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        self.runtime.block_on(async {
            let response = request.send().await.ok()?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Some(Answer { status, headers, text: response.text().await.ok()? })
        })
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).expect("the server answers")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body)).expect("the server answers")
    }

    /// One statement, as JSON.
    pub fn sql(&self, query: &str) -> Answer {
        self.post("/v1/sql", &serde_json::json!({"query": query}))
    }
}
