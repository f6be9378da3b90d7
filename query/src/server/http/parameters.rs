//! The parameters of a request's address, and values in JSON.

use std::num::IntErrorKind;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use datafusion::common::{ParamValues, ScalarValue};
use serde::de::{Deserialize as _, Deserializer, Error as _};
use serde_json::{Number, Value};
use url::form_urlencoded;

use crate::bounds;
use crate::error::QueryError;
use crate::server::app::App;
use crate::server::problem::Problem;

/// The id in the path of a request.
pub(in crate::server) struct Id(pub(in crate::server) String);

impl FromRequestParts<App> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, app).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => {
                Err(Problem::wrong_request("the id in the path is no text; write it as it was given out".to_owned()))
            }
        }
    }
}

/// The parameters behind the question mark. Each is taken out once; one that is left over is unknown.
pub(in crate::server) struct Query(Vec<(String, String)>);

impl Query {
    pub(in crate::server) fn of(uri: &Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// A text, if it is given.
    pub(in crate::server) fn text(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(index).1)
    }

    /// A number, if it is given; the largest that there is for a larger one.
    pub(in crate::server) fn number(&mut self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<usize>() {
            Ok(number) => Ok(Some(number)),
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => Ok(Some(usize::MAX)),
            Err(_) => Err(Problem::wrong_request(format!("{name} is a whole number, not {text:?}"))),
        }
    }

    /// `true` or `false`, if it is given.
    pub(super) fn truth(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |_| Problem::wrong_request(format!("{name} is true or false, not {text:?}"));
        text.parse::<bool>().map(Some).map_err(wrong)
    }

    /// That nothing is left over.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::wrong_request(format!(
                "there is no parameter {name:?} here, or it is given twice; /openapi.json lists what there is"
            ))),
        }
    }
}

/// A time in ns since 1970, read before the query is: where there are no rows nobody would notice that it is none.
pub(super) fn time(function: &'static str, name: &str, text: &str) -> Result<i64, Problem> {
    let wrong = |_| QueryError::Argument { function, why: format!("{name} is a time as in RFC 3339, not {text:?}") };
    Ok(string_to_timestamp_nanos(text).map_err(wrong)?)
}

/// A whole number in JSON, if it is given. It may be written with a fraction of nothing, as JSON Schema has it: `10.0`.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let text = number.to_string();
    let digits = text.strip_suffix(".0").unwrap_or(&text);
    let expected = || D::Error::custom(format!("{text} is no whole number from 0 on, or too large"));
    digits.parse().map(Some).map_err(|_| expected())
}

/// Values for `$1`, `$2` .. of a list, or for `$name` of an object.
pub(in crate::server) fn bound(params: &Value) -> Result<Option<ParamValues>, Problem> {
    let given = match params {
        Value::Array(values) => values.len(),
        Value::Object(values) => values.len(),
        _ => 0,
    };
    if given > bounds::VALUES {
        let most = bounds::VALUES;
        return Err(Problem::wrong_request(format!("params has {given} values, and {most} are the most")));
    }
    match params {
        Value::Null => Ok(None),
        Value::Array(values) => {
            let values = values.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
            Ok(Some(ParamValues::from(values)))
        }
        Value::Object(values) => {
            let values = values.iter().map(|(name, value)| Ok((name.clone(), scalar(value)?)));
            Ok(Some(ParamValues::from(values.collect::<Result<Vec<_>, Problem>>()?)))
        }
        _ => Err(Problem::wrong_request("params is a list for $1, $2 .. or an object for $name".to_owned())),
    }
}

fn scalar(value: &Value) -> Result<ScalarValue, Problem> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(value) => Ok(ScalarValue::from(*value)),
        Value::String(value) => Ok(ScalarValue::from(value.as_str())),
        Value::Number(value) => match (value.as_i64(), value.as_u64(), value.as_f64()) {
            (Some(value), ..) => Ok(ScalarValue::from(value)),
            (_, Some(value), _) => Ok(ScalarValue::from(value)),
            (.., Some(value)) => Ok(ScalarValue::from(value)),
            _ => Err(Problem::wrong_request(format!("{value} is no number that SQL has"))),
        },
        Value::Array(_) | Value::Object(_) => {
            Err(Problem::wrong_request("a value of params is a text, a number, true, false or null".to_owned()))
        }
    }
}
