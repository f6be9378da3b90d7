//! A configuration as a document: values that know where they stand, placeholders filled in, variables put in.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::Config;

/// A value of this section is never shown in an error: it may be secret, even where it is misplaced.
const SECRETS: [&str; 6] = [
    "redaction.key",
    "redaction.previous_keys",
    "kafka.options",
    "lake.storage_options",
    "signing.key",
    "serve.webhooks",
];

/// Where a value stands that came from a variable, not from the text.
const NOWHERE: Range<usize> = usize::MAX..usize::MAX;

/// `${...}` that could not be resolved.
#[derive(Debug, Clone)]
pub struct Unresolved {
    /// Dotted key.
    pub key: String,
    /// As written.
    pub placeholder: String,
    /// Why.
    pub reason: String,
    /// The file that is named does not exist.
    pub is_absent_file: bool,
}

/// What is wrong with a value, and where.
pub(super) struct Mistake {
    pub span: Option<Range<usize>>,
    pub message: String,
}

/// The tables of a configuration.
#[derive(Clone)]
pub(super) struct Document {
    root: Spanned<DeTable<'static>>,
    /// Values of placeholders, which are taken as text first and as TOML where text is refused.
    texts: Vec<Range<usize>>,
    pub unresolved: Vec<Unresolved>,
}

impl Document {
    /// Reads TOML and fills in its placeholders.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        // A process reads its configuration once, so the text may live as long as the process.
        let text: &'static str = String::leak(text.to_owned());
        let root = DeTable::parse(text)
            .map_err(|error| Mistake { span: error.span(), message: error.message().to_owned() })?;
        let mut document = Self { root, texts: vec![], unresolved: vec![] };
        let (texts, unresolved) = (&mut document.texts, &mut document.unresolved);
        each_value(document.root.get_mut(), "", &mut |key, span, value| {
            let DeValue::String(text) = value else { return };
            match placeholder(key, text) {
                None => {}
                Some(Ok(found)) => {
                    *text = Cow::Owned(found);
                    texts.push(span);
                }
                Some(Err(error)) => unresolved.push(error),
            }
        });
        Ok(document)
    }

    /// The document with `value` at a dotted path of keys.
    pub(super) fn with(&self, path: &[&str], value: DeValue<'static>) -> Result<Self, String> {
        let mut document = self.clone();
        let Some((last, sections)) = path.split_last() else { return Ok(document) };
        let mut table = document.root.get_mut();
        for section in sections {
            let key = Spanned::new(NOWHERE, Cow::Owned((*section).to_owned()));
            let entry = table.entry(key).or_insert_with(|| Spanned::new(NOWHERE, DeValue::Table(DeTable::new())));
            let DeValue::Table(inner) = entry.get_mut() else {
                return Err(format!("`{section}` is a value, not a section"));
            };
            table = inner;
        }
        table.insert(Spanned::new(NOWHERE, Cow::Owned((*last).to_owned())), Spanned::new(NOWHERE, value));
        Ok(document)
    }

    /// The configuration that the document holds.
    pub(super) fn config(&mut self) -> Result<Config, Mistake> {
        loop {
            let error = match Config::deserialize(Deserializer::from(self.root.clone())) {
                Ok(config) => return Ok(config),
                Err(error) => error,
            };
            if !self.read_as_toml(&error) {
                return Err(self.mistake(&error));
            }
        }
    }

    /// Where the value of a dotted key stands in the text.
    pub(super) fn place_of(&mut self, key: &str) -> Option<Range<usize>> {
        let mut place = None;
        each_value(self.root.get_mut(), "", &mut |path, at, _| {
            if path == key && at != NOWHERE {
                place.get_or_insert(at);
            }
        });
        place
    }

    /// A placeholder's text where something else than text is wanted: `4`, `true`, `["a", "b"]`.
    fn read_as_toml(&mut self, error: &Error) -> bool {
        let Some(span) = error.span() else { return false };
        let Some(position) = self.texts.iter().position(|text| *text == span) else { return false };
        self.texts.swap_remove(position);
        let mut found = false;
        each_value(self.root.get_mut(), "", &mut |_, at, value| {
            if at == span
                && let DeValue::String(text) = value
                && let Some(typed) = typed(text)
            {
                *value = typed;
                found = true;
            }
        });
        found
    }

    fn mistake(&mut self, error: &Error) -> Mistake {
        let span = error.span();
        let mut key = None;
        each_value(self.root.get_mut(), "", &mut |path, at, _| {
            if span.as_ref().is_some_and(|span| at.start <= span.start && span.end <= at.end) {
                key = Some(path.to_owned());
            }
        });
        let is_secret = |key: &String| SECRETS.iter().any(|secret| key.starts_with(secret));
        let message = match key.filter(is_secret) {
            // What serde says quotes the value.
            Some(key) => format!("`{key}` has a value of a wrong type, which is not shown here; give text in quotes"),
            None => error.message().to_owned(),
        };
        Mistake { span: span.filter(|span| *span != NOWHERE), message }
    }
}

/// TOML's own values; `None` for what is no TOML and for strings.
pub(super) fn typed(text: &str) -> Option<DeValue<'static>> {
    let value = DeValue::parse(String::leak(text.to_owned())).ok()?.into_inner();
    (!value.is_str() && !value.is_datetime()).then_some(value)
}

/// Calls `each` with the dotted key, the place and the value of everything below a table, outer values first.
fn each_value(
    table: &mut DeTable<'static>,
    prefix: &str,
    each: &mut dyn FnMut(&str, Range<usize>, &mut DeValue<'static>),
) {
    for (key, value) in table.iter_mut() {
        let path = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        each_below(value, &path, each);
    }
}

fn each_below(
    value: &mut Spanned<DeValue<'static>>,
    path: &str,
    each: &mut dyn FnMut(&str, Range<usize>, &mut DeValue<'static>),
) {
    each(path, value.span(), value.get_mut());
    match value.get_mut() {
        DeValue::Array(items) => items.iter_mut().for_each(|item| each_below(item, path, each)),
        DeValue::Table(table) => each_value(table, path, each),
        _ => {}
    }
}

/// What `${env:NAME}` and `${file:/path}` stand for; `None` for any other text.
pub(super) fn placeholder(key: &str, text: &str) -> Option<Result<String, Unresolved>> {
    let inner = text.strip_prefix("${")?.strip_suffix('}')?;
    let fail = |reason: String, is_absent_file| {
        Err(Unresolved { key: key.to_owned(), placeholder: text.to_owned(), reason, is_absent_file })
    };
    Some(match inner.split_once(':') {
        Some(("env", name)) => {
            std::env::var(name).or_else(|_| fail(format!("set the environment variable {name}"), false))
        }
        Some(("file", path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                let is_absent = error.kind() == std::io::ErrorKind::NotFound;
                fail(format!("{error}; make the file readable or change the path"), is_absent)
            }
        },
        _ => fail(String::from("write ${env:NAME} or ${file:/path}"), false),
    })
}
