//! The body of a request or an answer, from the sample that the evidence has of it.

use serde::Serialize;
use serde_json::{Number, Value};
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Evidence, Failure, Payload, Span};
use url::form_urlencoded::byte_serialize;

use super::Line;
use super::redacted::{is_masked, is_named_by};

/// Stands for a value that was redacted.
const STAND_IN: &str = "redacted";
/// Characters of a text that is known by its length only; a longer one was cut for good.
const MAX_TEXT: usize = 4_096;
const FORM: &str = "application/x-www-form-urlencoded";

/// A body, and where it is from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Body {
    /// Empty where there is no body.
    pub content_type: String,
    /// Together they are the body.
    pub lines: Vec<Line>,
    /// Anchor of the payload; empty where there is none.
    pub anchor: String,
    /// What is not as it was.
    pub notes: Vec<String>,
}

impl Body {
    /// The whole text.
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| line.text.as_str()).collect()
    }
}

/// The payload of the first of `spans` that has one.
pub(super) fn of<'a>(evidence: &'a Evidence, spans: &[&Span], direction: &str) -> Option<&'a Payload> {
    spans.iter().find_map(|span| {
        evidence.payloads.iter().find(|payload| {
            payload.span_id.as_deref() == Some(span.span_id.as_str())
                && payload.direction.as_deref() == Some(direction)
                && !payload.sample.is_null()
        })
    })
}

/// The body of a payload, with stand-ins for what was redacted.
///
/// # Errors
/// What keeps the sample from being sent: it was cut, or `failure` names what was redacted.
pub(super) fn body(payload: &Payload, failure: &Failure) -> Result<Body, String> {
    let mut sample = payload.sample.clone();
    let mut stand_ins = StandIns { failure, anchor: &payload.anchor, pointers: Vec::new() };
    if is_cut(&payload.shape) {
        return Err(cut(&payload.anchor));
    }
    stand_ins.replace(&mut sample, "")?;
    let mut body = Body {
        content_type: payload.content_type.clone().unwrap_or_default(),
        anchor: payload.anchor.clone(),
        ..Body::default()
    };
    for redaction in &payload.redactions {
        if !stand_ins.insert(&mut sample, redaction)? {
            body.notes.push(format!("a part of [{}] is left out, its place was redacted", payload.anchor));
        }
    }
    body.notes.dedup();
    body.lines = match body.content_type == FORM {
        true => form_lines(&sample, payload, &stand_ins.pointers),
        false => json_lines(&sample, payload, &stand_ins.pointers),
    };
    Ok(body)
}

fn cut(anchor: &str) -> String {
    format!("[{anchor}] is a part of the payload only, for it is too large or too deep to be kept whole")
}

/// Whether a shape says that there was more.
fn is_cut(shape: &Value) -> bool {
    match shape {
        Value::Object(members) => members.contains_key("<more>") || members.values().any(is_cut),
        Value::Array(elements) => elements.iter().any(is_cut),
        // A structure below the greatest depth.
        Value::String(text) => text.starts_with("<more:") || text == "object" || text == "array",
        _ => false,
    }
}

struct StandIns<'a> {
    failure: &'a Failure,
    anchor: &'a str,
    /// JSON pointers of what was replaced.
    pointers: Vec<String>,
}

impl StandIns<'_> {
    /// Replaces marks of redaction in a sample.
    fn replace(&mut self, sample: &mut Value, pointer: &str) -> Result<(), String> {
        match sample {
            Value::Object(members) => members
                .iter_mut()
                .try_for_each(|(name, value)| self.replace(value, &format!("{pointer}/{}", escape(name)))),
            Value::Array(elements) => elements
                .iter_mut()
                .enumerate()
                .try_for_each(|(index, value)| self.replace(value, &format!("{pointer}/{index}"))),
            Value::String(text) => {
                let Some(stand_in) = self.stand_in(text)? else { return Ok(()) };
                *text = stand_in;
                self.note(pointer)
            }
            _ => Ok(()),
        }
    }

    /// What stands for a text of which only the mark or the length is known.
    fn stand_in(&self, text: &str) -> Result<Option<String>, String> {
        let length = text.strip_prefix("<string:").and_then(|rest| rest.strip_suffix('>')?.parse::<usize>().ok());
        match length {
            Some(length) if length > MAX_TEXT => Err(cut(self.anchor)),
            Some(length) => Ok(Some("x".repeat(length))),
            None => Ok((is_masked(text) || text == "<redacted>").then(|| String::from(STAND_IN))),
        }
    }

    /// Gives a member that is listed as redacted its stand-in. False if its place is not known.
    fn insert(&mut self, sample: &mut Value, redaction: &str) -> Result<bool, String> {
        let pointer = format!("/{redaction}");
        if sample.pointer(&pointer).is_some() {
            return Ok(true);
        }
        let Some((parent, name)) = pointer.rsplit_once('/') else { return Ok(false) };
        let is_known = !name.is_empty() && !name.starts_with('<') && !name.ends_with('\u{2026}') && !is_masked(name);
        match sample.pointer_mut(parent).and_then(Value::as_object_mut) {
            Some(members) if is_known => {
                members.insert(unescape(name), Value::from(STAND_IN));
                self.note(&pointer).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    fn note(&mut self, pointer: &str) -> Result<(), String> {
        let names = pointer.rsplit('/');
        let field = names.map(unescape).find(|name| name.parse::<usize>().is_err()).unwrap_or_default();
        if is_named_by(self.failure, &field) {
            return Err(format!(
                "[{}] names {field}, whose value is redacted in [{}]; payload.sample_fields can keep it",
                self.failure.anchor, self.anchor
            ));
        }
        self.pointers.push(pointer.to_owned());
        Ok(())
    }
}

/// A member a line, so that each has its anchor.
fn json_lines(sample: &Value, payload: &Payload, stand_ins: &[String]) -> Vec<Line> {
    let Value::Object(members) = sample else {
        return vec![Line { text: json(sample, &payload.shape), note: note(payload, "", stand_ins) }];
    };
    let mut lines = vec![Line { text: String::from("{"), note: String::new() }];
    for (index, (name, value)) in members.iter().enumerate() {
        let comma = if index + 1 < members.len() { "," } else { "" };
        let shape = payload.shape.get(name).unwrap_or(&Value::Null);
        let text = format!("{}: {}{comma}", Value::from(name.as_str()), json(value, shape));
        lines.push(Line { text, note: note(payload, &format!("/{}", escape(name)), stand_ins) });
    }
    lines.push(Line { text: String::from("}"), note: String::new() });
    lines
}

fn form_lines(sample: &Value, payload: &Payload, stand_ins: &[String]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (name, value) in sample.as_object().into_iter().flatten() {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let separator = if lines.is_empty() { "" } else { "&" };
            let text = format!("{separator}{}={}", encoded(name), encoded(&plain));
            lines.push(Line { text, note: note(payload, &format!("/{}", escape(name)), stand_ins) });
        }
    }
    lines
}

/// A number that JSON's readers would round stands in a sample as text, and in the shape as a number.
fn json(sample: &Value, shape: &Value) -> String {
    match sample {
        Value::String(text) if shape == "number" && serde_json::from_str::<Number>(text).is_ok() => text.clone(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{}: {}", Value::from(name.as_str()), json(value, shape.get(name).unwrap_or(&Value::Null)))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => {
            let element = |(index, value): (usize, &Value)| json(value, shape.get(index).unwrap_or(&Value::Null));
            format!("[{}]", elements.iter().enumerate().map(element).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The anchor of a place in a payload, and whether something in it is no longer what it was.
fn note(payload: &Payload, pointer: &str, stand_ins: &[String]) -> String {
    let anchor = match payload.anchor.parse::<Anchor>() {
        Ok(Anchor { target: Target::Payload { span_id, direction, .. }, nth }) => {
            let pointer = Some(pointer.to_owned()).filter(|pointer| !pointer.is_empty());
            Anchor { target: Target::Payload { span_id, direction, pointer }, nth }.to_string()
        }
        _ => payload.anchor.clone(),
    };
    let below = format!("{pointer}/");
    match stand_ins.iter().any(|stand_in| stand_in == pointer || stand_in.starts_with(&below)) {
        true => format!("[{}] redacted, a stand-in: {pointer}", payload.anchor),
        false => format!("[{anchor}]"),
    }
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}
