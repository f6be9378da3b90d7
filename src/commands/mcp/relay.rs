//! Hands messages on between standard input and output and the `/mcp` of a server: for agents that start programs, and a
//! lake that is elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::output;
use crate::server::Server;

/// The version of the protocol, as messages have it since 2026-07-28.
const VERSION: &str = "/params/_meta/io.modelcontextprotocol~1protocolVersion";
/// What JSON-RPC calls a message that is no JSON.
const NO_JSON: i32 = -32700;
/// What JSON-RPC calls an error of what answers.
const INTERNAL: i32 = -32603;

/// A server, and the version that was agreed on with it, in the older era of the protocol.
struct Relay {
    server: Server,
    version: Mutex<Option<String>>,
}

/// Until standard input is closed and everything is answered, or `stopped` is done.
pub(super) async fn run(server: Server, stopped: impl Future<Output = ()>) -> Result<(), Error> {
    let relay = Arc::new(Relay { server, version: Mutex::default() });
    let relayed = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut asked = JoinSet::new();
        while let Some(line) = lines.next_line().await.map_err(Error::io("read standard input"))? {
            let message = match serde_json::from_str::<Value>(&line) {
                Ok(message) => message,
                Err(error) => {
                    tell(&failure(Value::Null, NO_JSON, &error.to_string()))?;
                    continue;
                }
            };
            let is_first = message["method"] == "initialize";
            let relay = Arc::clone(&relay);
            let answered = async move { tell(&relay.answer(&message).await) };
            // What follows needs the version that this one agrees on; anything else may overtake.
            if is_first {
                answered.await?;
            } else {
                asked.spawn(answered);
            }
            while asked.try_join_next().is_some() {}
        }
        while asked.join_next().await.is_some() {}
        Ok::<(), Error>(())
    };
    tokio::select! {
        done = relayed => done,
        () = stopped => Ok(()),
    }
}

/// A message a line; nothing for what has no answer.
fn tell(message: &str) -> Result<(), Error> {
    match message.trim() {
        "" => Ok(()),
        message => output::data(&format!("{}\n", message.replace(['\n', '\r'], " "))),
    }
}

fn failure(id: Value, code: i32, message: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string()
}

impl Relay {
    /// The server's answer, or why there is none.
    async fn answer(&self, message: &Value) -> String {
        let headers = headers(message, self.agreed());
        match self.server.relay(message.to_string(), &headers).await {
            Ok(answer) => {
                if message["method"] == "initialize" {
                    self.agree(&answer);
                }
                answer
            }
            Err(error) => match message.get("id") {
                Some(id) => failure(id.clone(), INTERNAL, &error.to_string()),
                None => {
                    tracing::warn!(%error, "a notification was not taken");
                    String::new()
                }
            },
        }
    }

    fn agreed(&self) -> Option<String> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn agree(&self, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let version = answer.pointer("/result/protocolVersion").and_then(Value::as_str);
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version.map(str::to_owned);
    }
}

/// What the protocol says in headers over HTTP.
fn headers(message: &Value, agreed: Option<String>) -> Vec<(&'static str, String)> {
    let Some(version) = message.pointer(VERSION).and_then(Value::as_str) else {
        return agreed.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
    };
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let mut headers = vec![("mcp-protocol-version", version.to_owned())];
    headers.extend(text("/method").map(|method| ("mcp-method", encoded(method))));
    let name = match text("/method") {
        Some("tools/call" | "prompts/get") => text("/params/name"),
        Some("resources/read") => text("/params/uri"),
        _ => None,
    };
    headers.extend(name.map(|name| ("mcp-name", encoded(name))));
    headers
}

/// A value as a header can have it.
fn encoded(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        && value.trim() == value
        && !value.starts_with("=?base64?");
    match is_plain {
        true => value.to_owned(),
        false => format!("=?base64?{}?=", BASE64_STANDARD.encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the newer era each message says in headers what it is; in the older one only the version, once it is agreed on.
    #[test]
    fn headers_say_what_a_message_is() {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        let call = json!({"method": "tools/call", "params": {"name": "get_tr\u{e4}ce", "_meta": meta}});
        let expected = [
            ("mcp-protocol-version", "2026-07-28".to_owned()),
            ("mcp-method", "tools/call".to_owned()),
            ("mcp-name", format!("=?base64?{}?=", BASE64_STANDARD.encode("get_tr\u{e4}ce"))),
        ];
        assert_eq!(headers(&call, None), expected);
        let read = json!({"method": "resources/read", "params": {"uri": "bundle://00", "_meta": meta}});
        assert_eq!(headers(&read, None).last(), Some(&("mcp-name", "bundle://00".to_owned())));
        let older = json!({"method": "tools/list"});
        assert!(headers(&older, None).is_empty());
        let agreed = Some("2025-11-25".to_owned());
        assert_eq!(headers(&older, agreed), [("mcp-protocol-version", "2025-11-25".to_owned())]);
    }
}
