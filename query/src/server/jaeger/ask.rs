//! What a search asks for, in the words of either version of the API.

use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, col, lit};
use serde_json::{Map, Value};

use super::LOOKBACK;
use crate::functions::scalars::attribute;
use crate::server::http::Query;
use crate::server::problem::Problem;
use crate::server::traces::{Interval, MOST_TAGS, Search, duration};
use crate::session::Session;

/// Traces of an answer where the request names no number, as in Jaeger.
const DEFAULT_LIMIT: usize = 100;
/// Traces of an answer at most.
const MOST: usize = 1_500;

/// The names of the parameters.
pub(super) struct Words {
    pub service: &'static str,
    pub operation: &'static str,
    pub tags: &'static str,
    pub least: &'static str,
    pub most: &'static str,
    pub limit: &'static str,
}

/// A span that is looked for.
#[derive(Debug)]
pub(super) struct Ask {
    conditions: Vec<Expr>,
    limit: usize,
}

impl Ask {
    /// Reads the parameters; those that it does not know are none of the search's.
    pub(super) fn of(query: &mut Query, words: &Words) -> Result<Self, Problem> {
        // Jaeger's other form, a tag a parameter.
        let tagged: Vec<String> =
            std::iter::from_fn(|| query.text("tag")).filter(|text| !text.is_empty()).take(MOST_TAGS + 1).collect();
        if tagged.len() > MOST_TAGS {
            return Err(Problem::wrong_request(format!("{MOST_TAGS} values of tag are the most")));
        }
        let mut given = |name| query.text(name).filter(|text| !text.is_empty());
        let mut conditions = Vec::new();
        conditions.extend(given(words.service).map(|service| col("service_name").eq(lit(service))));
        conditions.extend(given(words.operation).map(|operation| col("name").eq(lit(operation))));
        if let Some(text) = given(words.tags) {
            for (key, value) in tags(words.tags, &text)? {
                conditions.push(tag(&key, &value));
            }
        }
        for text in tagged {
            let wrong = || Problem::wrong_request(format!("tag is KEY:VALUE, as error:true, not {text:?}"));
            let (key, value) = text.split_once(':').ok_or_else(wrong)?;
            conditions.push(tag(key, value));
        }
        for (name, is_least) in [(words.least, true), (words.most, false)] {
            let Some(text) = given(name) else { continue };
            let wrong = || Problem::wrong_request(format!("{name} is a duration as 100ms or 1.5s, not {text:?}"));
            let ns = lit(duration(&text).ok_or_else(wrong)?);
            conditions.push(if is_least { col("duration_ns").gt_eq(ns) } else { col("duration_ns").lt_eq(ns) });
        }
        let limit = query.number(words.limit)?.filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT).min(MOST);
        Ok(Self { conditions, limit })
    }

    /// The search among spans that started between, in ns.
    pub(super) fn search(self, from: Option<i64>, to: Option<i64>, session: &Session) -> Search {
        Search {
            conditions: vec![conjunction(self.conditions).unwrap_or_else(|| lit(true))],
            trace: None,
            of_traces: false,
            interval: Interval::of(from, to, session, LOOKBACK),
            limit: self.limit,
        }
    }
}

fn tags(name: &str, text: &str) -> Result<Vec<(String, String)>, Problem> {
    let wrong = || {
        Problem::wrong_request(format!(
            "{name} is a JSON object of texts, as {{\"http.route\":\"/pay\"}}, not {text:?}"
        ))
    };
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    if object.len() > MOST_TAGS {
        return Err(Problem::wrong_request(format!("{name} names {MOST_TAGS} tags at most")));
    }
    let pair = |(key, value): (String, Value)| match value {
        Value::String(value) => Ok((key, value)),
        Value::Bool(_) | Value::Number(_) => Ok((key, value.to_string())),
        _ => Err(wrong()),
    };
    object.into_iter().map(pair).collect()
}

/// A tag of the span or of its process. What Jaeger makes tags of, and OTLP has fields for, is looked for there.
fn tag(key: &str, value: &str) -> Expr {
    match (key, value) {
        ("error", "true") => col("status_code").eq(lit("ERROR")),
        ("error", "false") => col("status_code").not_eq(lit("ERROR")),
        ("span.kind", kind) => col("kind").eq(lit(kind.to_ascii_uppercase())),
        ("otel.status_code", code) => col("status_code").eq(lit(code.to_ascii_uppercase())),
        ("otel.status_description", message) => col("status_message").eq(lit(message)),
        ("otel.scope.name" | "otel.library.name", name) => col("scope_name").eq(lit(name)),
        (key, value) => {
            let of = |map: &str| attribute(col(map), key).eq(lit(value));
            of("attributes").or(of("resource_attributes"))
        }
    }
}
