//! Bodies with members: a JSON object as text, or a list of keys and values in its OTLP/JSON form.

use serde_json::Value;

use super::WILDCARD;

/// Members whose text is the message, the first of them that is there.
const MESSAGES: [&str; 7] = ["message", "msg", "@message", "log", "event", "text", "body"];
/// Bytes of a body that is read as JSON.
const MAX_JSON: usize = 64 * 1024;
/// Members that are named.
const MAX_NAMED: usize = 32;

/// What a body with members says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// One of its members is the message.
    Message(String),
    /// Nothing: its template are the names of its members.
    Names(String),
}

/// What `body` says if it has members; `None` if it is a text like any other.
pub(super) fn said(body: &str, is_list: bool) -> Option<Said> {
    let looks_so = is_list || (body.starts_with('{') && body.ends_with('}'));
    if !looks_so || body.len() > MAX_JSON {
        return None;
    }
    let members: Vec<(String, Option<String>)> = match serde_json::from_str(body).ok()? {
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, into_text(value))).collect(),
        Value::Array(entries) if is_list => entries.iter().filter_map(entry).collect(),
        _ => return None,
    };
    let message = MESSAGES.iter().find_map(|wanted| {
        let (_, text) = members.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        text.clone().filter(|text| !text.trim().is_empty())
    });
    if let Some(message) = message {
        return Some(Said::Message(message));
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let named: Vec<String> = names.iter().take(MAX_NAMED).map(|name| format!("{name}={WILDCARD}")).collect();
    (!named.is_empty()).then(|| Said::Names(named.join(" ")))
}

/// The text of a value that is one.
fn into_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// `{"key": ..., "value": {"stringValue": ...}}`
fn entry(entry: &Value) -> Option<(String, Option<String>)> {
    let text = entry.get("value").and_then(|value| value.get("stringValue")).and_then(Value::as_str);
    Some((entry.get("key")?.as_str()?.to_owned(), text.map(str::to_owned)))
}
