//! What is kept of a payload: shape, redacted sample, and the list of what was left out; never the text.

use serde_json::{Map, Value};

use super::class::RedactionCounts;
use super::config::PayloadConfig;
use super::error::RedactError;
use super::json_tokens::{Token, Tokens, is_json, unquote};
use super::names::{end_of_name, is_personal_field};
use super::recognise::digits::luhn;
use super::{Class, Redactor};

/// Larger payloads are not parsed; in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Values per payload that shape and sample show.
const MAX_VALUES: usize = 512;
/// Elements of an array that shape and sample show.
const MAX_ELEMENTS: usize = 8;
/// Nesting that shape and sample show.
const MAX_DEPTH: usize = 12;
/// Characters of a name that stand in a pointer: each value below a long name would have it again.
const MAX_NAME: usize = 256;
/// Longest code that a sample keeps, in characters.
const MAX_CODE: usize = 8;

/// What is kept of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct PayloadSummary {
    /// Media type without parameters, lower case; empty if unknown.
    pub content_type: String,
    /// The structure with a type name (`string`, `number`, `boolean`, `null`) for every value; null if not parsed.
    pub shape: Value,
    /// The structure with redacted values; null if not parsed.
    pub sample: Value,
    /// JSON pointers, without the leading slash, of what stands in neither; sorted.
    pub redactions: Vec<String>,
    /// Size of the text in bytes.
    pub size_bytes: u64,
    /// How often each class was met on the way.
    pub counts: RedactionCounts,
}

/// The rules of one configuration.
pub(super) struct PayloadRules {
    content_types: Vec<String>,
    sample_fields: Vec<String>,
}

impl PayloadRules {
    pub(super) fn new(config: &PayloadConfig) -> Result<Self, RedactError> {
        if let Some(index) = config.sample_fields.iter().position(|pointer| !pointer.starts_with('/')) {
            return Err(RedactError::SampleField { index });
        }
        let content_types = config.content_types.iter().map(|name| essence(name)).collect();
        Ok(Self { content_types, sample_fields: config.sample_fields.clone() })
    }

    pub(super) fn summarize(&self, redactor: &Redactor, content_type: &str, text: &str) -> PayloadSummary {
        let mut content_type = essence(content_type);
        if content_type.is_empty()
            && matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['))
            && text.len() <= MAX_BYTES
            && is_json(text)
        {
            content_type = "application/json".to_owned();
        }
        let mut summary = PayloadSummary {
            shape: Value::Null,
            sample: Value::Null,
            redactions: Vec::new(),
            size_bytes: text.len() as u64,
            counts: RedactionCounts::default(),
            content_type,
        };
        if text.len() > MAX_BYTES || !self.content_types.contains(&summary.content_type) {
            return summary;
        }
        let mut shaper = Shaper {
            rules: self,
            redactor,
            redactions: Vec::new(),
            counts: RedactionCounts::default(),
            values: 0,
            pointer: String::new(),
        };
        let parsed = if summary.content_type == "application/x-www-form-urlencoded" {
            Some(shaper.form(text))
        } else if is_json(text) {
            shaper.value(&mut Tokens::new(text), "", 0)
        } else {
            None
        };
        if let Some((shape, sample)) = parsed {
            (summary.shape, summary.sample) = (shape, sample);
        } else if shaper.redactions.is_empty() {
            return summary;
        }
        shaper.redactions.sort_unstable();
        shaper.redactions.dedup();
        summary.redactions = shaper.redactions;
        summary.counts = shaper.counts;
        summary
    }
}

/// The media type without parameters; empty if it has not the form of one, since it comes from outside too.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-'))
    };
    let is_media_type =
        essence.len() <= 100 && essence.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name));
    if is_media_type { essence } else { String::new() }
}

/// Shape and sample of a value.
type Pair = (Value, Value);

struct Shaper<'r> {
    rules: &'r PayloadRules,
    redactor: &'r Redactor,
    redactions: Vec<String>,
    counts: RedactionCounts,
    values: usize,
    pointer: String,
}

impl Shaper<'_> {
    /// Shape and sample of the next value, which stands under `name`; `None` if it was redacted.
    fn value(&mut self, tokens: &mut Tokens<'_>, name: &str, depth: usize) -> Option<Pair> {
        let (token, raw) = tokens.next()?;
        self.values += 1;
        match token {
            Token::Mark(b'{') if depth >= MAX_DEPTH => self.cut(tokens, "object"),
            Token::Mark(b'[') if depth >= MAX_DEPTH => self.cut(tokens, "array"),
            Token::Mark(b'{') => Some(self.object(tokens, name, depth)),
            Token::Mark(_) => Some(self.array(tokens, name, depth)),
            Token::String => self.string(&unquote(raw)),
            Token::Number => self.number(raw),
            Token::Word => {
                let kind = if raw == "null" { "null" } else { "boolean" };
                let value = match raw {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    _ => Value::Null,
                };
                Some((kind.into(), value))
            }
        }
    }

    fn object(&mut self, tokens: &mut Tokens<'_>, parent: &str, depth: usize) -> Pair {
        let (mut shapes, mut samples) = (Map::new(), Map::new());
        let mut omitted = 0u64;
        loop {
            match tokens.next() {
                Some((Token::String, raw)) => {
                    let name = unquote(raw).into_owned();
                    tokens.next();
                    if self.values >= MAX_VALUES {
                        omitted += 1;
                        skip_value(tokens);
                        continue;
                    }
                    let length = self.enter(&name);
                    let pair = self.member(tokens, parent, &name, depth);
                    self.pointer.truncate(length);
                    if let (Some((shape, sample)), Some(name)) = (pair, self.clean_name(&name)) {
                        shapes.insert(name.clone(), shape);
                        samples.insert(name, sample);
                    }
                }
                Some((Token::Mark(b','), _)) => {}
                _ => break,
            }
        }
        if omitted > 0 {
            shapes.insert("<more>".to_owned(), omitted.into());
        }
        (Value::Object(shapes), Value::Object(samples))
    }

    /// A name is judged together with the one around it: `{"customer": {"id": 1077}}` has a customer's id.
    fn member(&mut self, tokens: &mut Tokens<'_>, parent: &str, name: &str, depth: usize) -> Option<Pair> {
        let is_null = tokens.peek().is_some_and(|(token, raw)| token == Token::Word && raw == "null");
        let is_personal = is_personal_field(name)
            || (!parent.is_empty() && is_personal_field(&format!("{}.{name}", end_of_name(parent))));
        if is_personal && !is_null && !self.is_allowed() {
            skip_value(tokens);
            return self.redacted(Class::Field);
        }
        self.value(tokens, name, depth + 1)
    }

    fn array(&mut self, tokens: &mut Tokens<'_>, name: &str, depth: usize) -> Pair {
        let (mut shapes, mut samples) = (Vec::new(), Vec::new());
        let mut index = 0usize;
        loop {
            match tokens.peek() {
                None | Some((Token::Mark(b']'), _)) => {
                    tokens.next();
                    break;
                }
                Some((Token::Mark(b','), _)) => {
                    tokens.next();
                    continue;
                }
                Some(_) if index >= MAX_ELEMENTS || self.values >= MAX_VALUES => skip_value(tokens),
                Some(_) => {
                    let length = self.enter(&index.to_string());
                    let pair = self.value(tokens, name, depth + 1);
                    self.pointer.truncate(length);
                    // Elements keep their places, so that a pointer finds the same one in shape and sample.
                    let (shape, sample) = pair.unwrap_or((Value::from("redacted"), Value::from("<redacted>")));
                    shapes.push(shape);
                    samples.push(sample);
                }
            }
            index += 1;
        }
        if index > shapes.len() {
            let more = Value::from(format!("<more:{}>", index - shapes.len()));
            shapes.push(more.clone());
            samples.push(more);
        }
        (Value::Array(shapes), Value::Array(samples))
    }

    fn string(&mut self, text: &str) -> Option<Pair> {
        let shape = Value::from("string");
        if self.is_allowed() {
            let sample = self.redactor.redact_text(text, &mut self.counts);
            return Some((shape, Value::from(sample.into_owned())));
        }
        if is_personal_number(text) || self.finds_something(text) {
            return self.redacted(Class::Field);
        }
        let sample = if is_decimal(text) || is_code(text) {
            text.to_owned()
        } else {
            format!("<string:{}>", text.chars().count())
        };
        Some((shape, Value::from(sample)))
    }

    fn number(&mut self, raw: &str) -> Option<Pair> {
        if is_personal_number(raw) || self.finds_something(raw) {
            return self.redacted(Class::Field);
        }
        // Digits that a JSON number of this program cannot carry stay as text.
        let parsed: Option<Value> = serde_json::from_str(raw).ok();
        let printed = parsed.as_ref().map(ToString::to_string);
        let sample = parsed.filter(|_| printed.as_deref() == Some(raw)).unwrap_or_else(|| Value::from(raw));
        Some(("number".into(), sample))
    }

    fn form(&mut self, text: &str) -> Pair {
        let (mut shapes, mut samples) = (Map::new(), Map::new());
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()).take(MAX_VALUES) {
            let length = self.enter(&name);
            let pair = if is_personal_field(&name) && !self.is_allowed() {
                self.redacted(Class::Field)
            } else {
                self.string(&value)
            };
            self.pointer.truncate(length);
            if let (Some((shape, sample)), Some(name)) = (pair, self.clean_name(&name)) {
                push_form_value(&mut shapes, &name, shape);
                push_form_value(&mut samples, &name, sample);
            }
        }
        (Value::Object(shapes), Value::Object(samples))
    }

    /// A structure that is nested too deep to be shown.
    fn cut(&mut self, tokens: &mut Tokens<'_>, kind: &str) -> Option<Pair> {
        skip_rest(tokens, 1);
        Some((kind.into(), format!("<{kind}>").into()))
    }

    /// Appends a reference token to the pointer and gives the length to go back to.
    fn enter(&mut self, name: &str) -> usize {
        let length = self.pointer.len();
        self.pointer.push('/');
        let mut rest = name.chars();
        for c in rest.by_ref().take(MAX_NAME) {
            match c {
                '~' => self.pointer.push_str("~0"),
                '/' => self.pointer.push_str("~1"),
                c => self.pointer.push(c),
            }
        }
        if rest.next().is_some() {
            self.pointer.push('\u{2026}');
        }
        length
    }

    fn is_allowed(&self) -> bool {
        self.rules.sample_fields.contains(&self.pointer)
    }

    fn finds_something(&mut self, text: &str) -> bool {
        let mut counts = RedactionCounts::default();
        let is_found = matches!(self.redactor.redact_text(text, &mut counts), std::borrow::Cow::Owned(_));
        self.counts.merge(&counts);
        is_found
    }

    fn redacted(&mut self, class: Class) -> Option<Pair> {
        self.counts.add(class);
        let pointer = self.pointer.strip_prefix('/').unwrap_or(&self.pointer);
        let pointer = self.redactor.redact_text(pointer, &mut self.counts).into_owned();
        self.redactions.push(pointer);
        None
    }

    /// A name that is personal itself (a map from address to something) is listed, not shown.
    fn clean_name(&mut self, name: &str) -> Option<String> {
        if self.finds_something(name) || is_personal_number(name) {
            let length = self.enter("<name>");
            self.redacted(Class::Field);
            self.pointer.truncate(length);
            return None;
        }
        Some(name.to_owned())
    }
}

fn push_form_value(fields: &mut Map<String, Value>, name: &str, value: Value) {
    match fields.get_mut(name) {
        None => {
            fields.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

fn skip_value(tokens: &mut Tokens<'_>) {
    if let Some((Token::Mark(b'{' | b'['), _)) = tokens.next() {
        skip_rest(tokens, 1);
    }
}

fn skip_rest(tokens: &mut Tokens<'_>, mut open: usize) {
    while open > 0 {
        match tokens.next() {
            Some((Token::Mark(b'{' | b'['), _)) => open += 1,
            Some((Token::Mark(b'}' | b']'), _)) => open -= 1,
            Some(_) => {}
            None => return,
        }
    }
}

/// Decimal digits with an optional sign, fraction and exponent.
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.len() <= 64 && part.bytes().all(|b| b.is_ascii_digit());
    is_digits(whole) && is_digits(fraction) && is_digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))
}

/// `EUR`, `DE_1`, `A-17`
fn is_code(text: &str) -> bool {
    text.len() <= MAX_CODE
        && text.as_bytes().first().is_some_and(u8::is_ascii_uppercase)
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

/// Digits that may number a person: cards, anything of their length with a check digit, international phone numbers.
fn is_personal_number(text: &str) -> bool {
    if text.len() > 40 || !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b' ' | b'-' | b'+')) {
        return false;
    }
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    let is_phone = text.starts_with('+') && (8..=15).contains(&digits.len());
    let is_dashed = digits.len() >= 9 && text.trim_start_matches('-').contains('-');
    is_phone || is_dashed || (digits.len() >= 13 && luhn(&digits))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::super::{PayloadConfig, RedactionConfig, Redactor};

    fn redactor(fields: &[&str]) -> Redactor {
        let redaction = RedactionConfig { key: "0123456789abcdef".into(), ..Default::default() };
        let payload =
            PayloadConfig { sample_fields: fields.iter().map(|f| (*f).to_owned()).collect(), ..Default::default() };
        Redactor::new(&redaction, &payload).unwrap()
    }

    /// The worked example of the bundle's documentation: the amount stays digit for digit, the customer is gone.
    #[test]
    fn worked_example() {
        let summary = redactor(&[]).summarize_payload(
            "application/json; charset=utf-8",
            r#"{"amount":"12.345678901234567890","customer_id":"c-77"}"#,
        );
        assert_eq!(summary.content_type, "application/json");
        assert_eq!(summary.shape, json!({"amount": "string"}));
        assert_eq!(summary.sample, json!({"amount": "12.345678901234567890"}));
        assert_eq!(summary.redactions, ["customer_id"]);
        assert_eq!(summary.size_bytes, 55);
    }

    /// Numbers, booleans, numeric strings and short codes stay; other strings become their length; numbers keep
    /// digits that a float would lose.
    #[test]
    fn sample_rules() {
        let text = r#"{"currency":"EUR","note":"hello world","n":1.5,"big":12.345678901234567890,"ok":true,"none":null,
            "items":[{"sku":"abc-1","qty":2}],"customer":{"email":"a@example.com","tier":"GOLD"},"pay":"4111111111111111","num":4111111111111111}"#;
        let summary = redactor(&["/items/0/sku"]).summarize_payload("application/json", text);
        assert_eq!(
            summary.sample,
            json!({"currency": "EUR", "note": "<string:11>", "n": 1.5, "big": "12.345678901234567890", "ok": true, "none": null,
                "items": [{"sku": "abc-1", "qty": 2}], "customer": {"tier": "GOLD"}})
        );
        assert_eq!(summary.shape["items"], json!([{"sku": "string", "qty": "number"}]));
        assert_eq!(summary.redactions, ["customer/email", "num", "pay"]);
    }

    /// A name that says nothing alone is personal under the name of a person, in lists too; under a thing's it is not.
    #[test]
    fn names_are_judged_with_what_they_stand_in() {
        let text = r#"{"customer":{"id":1077},"contacts":[{"id":7}],"order":{"id":9},"id":1}"#;
        let summary = redactor(&[]).summarize_payload("application/json", text);
        assert_eq!(summary.redactions, ["contacts/0/id", "customer/id"]);
        assert_eq!(summary.sample, json!({"customer": {}, "contacts": [{}], "order": {"id": 9}, "id": 1}));
    }

    /// Forms are parsed like flat objects; what is no JSON or not allowed is not parsed; JSON without a type is seen.
    #[test]
    fn other_content_types() {
        let redactor = redactor(&[]);
        let form = redactor
            .summarize_payload("application/x-www-form-urlencoded", "qty=2&email=a%40b.com&tag=x&tag=yy&code=AB1");
        assert_eq!(form.sample, json!({"qty": "2", "tag": ["<string:1>", "<string:2>"], "code": "AB1"}));
        assert_eq!(form.redactions, ["email"]);
        let text = redactor.summarize_payload("text/plain", "alice@example.com");
        assert!(text.shape.is_null() && text.sample.is_null() && text.redactions.is_empty());
        assert_eq!(redactor.summarize_payload("", r#"{"a":1}"#).content_type, "application/json");
        let broken = redactor.summarize_payload("application/json", r#"{"a":"alice@exam"#);
        assert!(broken.shape.is_null() && broken.sample.is_null());
    }

    /// Wide and deep payloads are cut and say so.
    #[test]
    fn bounded() {
        let redactor = redactor(&[]);
        let wide = format!("[{}]", vec!["1"; 100].join(","));
        let summary = redactor.summarize_payload("application/json", &wide);
        assert_eq!(summary.sample, json!([1, 1, 1, 1, 1, 1, 1, 1, "<more:92>"]));
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(redactor.summarize_payload("application/json", &deep).sample.to_string().contains("<array>"));
    }
}
