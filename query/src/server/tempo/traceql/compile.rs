//! Conditions of TraceQL as those of DataFusion. What the query wrote becomes literals, and no text of it is planned.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, Operator as Op, binary_expr, col, lit, try_cast, when};
use regex::RegexBuilder;
use tracerag_schemas::attributes::type_name;

use super::ast::{Attribute, Condition, Field, Intrinsic, Operator, Query, Scope, Value};
use crate::error::{QueryError, Result};
use crate::functions::scalars::attribute;

/// A query for [`crate::server::traces::find`].
#[derive(Debug)]
pub(in crate::server::tempo) struct Compiled {
    /// On spans, one for each set of the query.
    pub conditions: Vec<Expr>,
    /// On `met_0`, `met_1` .., for a query of several sets.
    pub trace: Option<Expr>,
    /// Whether a condition names columns of the whole trace.
    pub of_traces: bool,
}

impl Compiled {
    /// Only spans of traces that last at least so many ns, or at most.
    pub(in crate::server::tempo) fn lasting(&mut self, ns: i64, is_least: bool) {
        let lasts = column(Intrinsic::TraceDuration);
        let bound = if is_least { lasts.gt_eq(lit(ns)) } else { lasts.lt_eq(lit(ns)) };
        for condition in &mut self.conditions {
            *condition = condition.clone().and(bound.clone());
        }
        self.of_traces = true;
    }
}

/// Attributes of resources that have a column of their own, which is indexed or read faster.
const COLUMNS: [(&str, &str); 5] = [
    ("service.name", "service_name"),
    ("service.namespace", "service_namespace"),
    ("service.version", "service_version"),
    ("service.instance.id", "service_instance_id"),
    ("deployment.environment.name", "deployment_environment_name"),
];

/// Bytes of a regular expression when it is compiled: a query may have a hundred, and nobody waits in line for its turn
/// yet when they are checked.
const MOST_REGEX_BYTES: usize = 2 << 20;

/// What a query stands for.
///
/// # Errors
/// [`QueryError::Sql`] for values that do not fit their fields, and regular expressions that are none.
pub(in crate::server::tempo) fn compile(query: &Query) -> Result<Compiled> {
    let mut sets = Vec::new();
    query.conditions(&mut sets);
    let conditions = sets.into_iter().map(condition).collect::<Result<Vec<_>>>()?;
    let trace = match query {
        Query::Spans(_) => None,
        several => Some(formula(several, &mut 0)),
    };
    let is_of_trace = |field: &&Field| matches!(field, Field::Intrinsic(intrinsic) if intrinsic.is_of_trace());
    Ok(Compiled { conditions, trace, of_traces: query.fields().iter().any(is_of_trace) })
}

/// Which sets a trace has, by their numbers in the order of the text.
fn formula(query: &Query, next: &mut usize) -> Expr {
    let mut parts = |parts: &[Query]| parts.iter().map(|part| formula(part, next)).collect::<Vec<_>>();
    match query {
        Query::Spans(_) => {
            let met = col(format!("met_{next}"));
            *next += 1;
            Expr::IsTrue(Box::new(met))
        }
        Query::All(sets) => conjunction(parts(sets)).unwrap_or_else(|| lit(true)),
        Query::Any(sets) => disjunction(parts(sets)).unwrap_or_else(|| lit(false)),
    }
}

fn condition(condition: &Condition) -> Result<Expr> {
    let each = |parts: &[Condition]| parts.iter().map(self::condition).collect::<Result<Vec<_>>>();
    Ok(match condition {
        Condition::Always(truth) => lit(*truth),
        Condition::All(parts) => conjunction(each(parts)?).unwrap_or_else(|| lit(true)),
        Condition::Any(parts) => disjunction(each(parts)?).unwrap_or_else(|| lit(false)),
        // What is not known is not so.
        Condition::Not(inner) => Expr::IsNotTrue(Box::new(self::condition(inner)?)),
        Condition::Exists(field) => text_of(field).is_not_null(),
        Condition::Compare(Field::Intrinsic(field), operator, value) => intrinsic(*field, *operator, value)?,
        Condition::Compare(Field::Attribute(field), operator, value) => of_attribute(field, *operator, value)?,
    })
}

/// The text of a field, null where there is none.
pub(in crate::server::tempo) fn text_of(field: &Field) -> Expr {
    match field {
        Field::Intrinsic(intrinsic) => column(*intrinsic),
        Field::Attribute(Attribute { scope, key }) => match (own_column(*scope, key), maps(*scope)) {
            (Some(column), _) => col(column),
            (None, [only]) => attribute(col(*only), key),
            (None, several) => coalesce(several.iter().map(|map| attribute(col(*map), key)).collect()),
        },
    }
}

/// The name of the type of an attribute, null for texts.
pub(in crate::server::tempo) fn type_of(field: &Attribute) -> Expr {
    let types = |map: &str| attribute(col(format!("{map}_types")), &field.key);
    match maps(field.scope) {
        [only] => types(only),
        // Of the map that the text is of.
        [first, rest @ ..] => {
            let others: Vec<Expr> = rest.iter().map(|map| types(map)).collect();
            let is_first = attribute(col(*first), &field.key).is_not_null();
            let other = coalesce(others);
            when(is_first, types(first)).otherwise(other).unwrap_or_else(|_| lit(ScalarValue::Utf8(None)))
        }
        [] => lit(ScalarValue::Utf8(None)),
    }
}

fn own_column(scope: Scope, key: &str) -> Option<&'static str> {
    let named = COLUMNS.iter().find(|(known, _)| scope == Scope::Resource && *known == key);
    named.map(|(_, column)| *column)
}

fn maps(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::Any => &["attributes", "resource_attributes"],
        Scope::Span => &["attributes"],
        Scope::Resource => &["resource_attributes"],
        Scope::Instrumentation => &["scope_attributes"],
    }
}

fn column(intrinsic: Intrinsic) -> Expr {
    match intrinsic {
        Intrinsic::Name => col("name"),
        Intrinsic::Duration => col("duration_ns"),
        Intrinsic::Status => col("status_code"),
        Intrinsic::StatusMessage => col("status_message"),
        Intrinsic::Kind => col("kind"),
        Intrinsic::TraceId => col("trace_id"),
        Intrinsic::SpanId => col("span_id"),
        Intrinsic::ParentId | Intrinsic::NestedSetParent => col("parent_span_id"),
        Intrinsic::InstrumentationName => col("scope_name"),
        Intrinsic::InstrumentationVersion => col("scope_version"),
        Intrinsic::RootName => col("trace_root_name"),
        Intrinsic::RootService => col("trace_root_service"),
        Intrinsic::TraceDuration => col("trace_duration_ns"),
    }
}

fn wrong(field: &str, takes: &str) -> QueryError {
    QueryError::Sql(format!("{field} is compared with {takes}"))
}

fn intrinsic(field: Intrinsic, operator: Operator, value: &Value) -> Result<Expr> {
    let column = column(field);
    match (field, value) {
        (Intrinsic::Duration | Intrinsic::TraceDuration, Value::Duration(ns) | Value::Int(ns)) => {
            ordered(field.name(), column, operator, lit(*ns))
        }
        (Intrinsic::Duration | Intrinsic::TraceDuration, _) => Err(wrong(field.name(), "a duration, as 100ms")),
        (Intrinsic::Status, Value::Status(name)) | (Intrinsic::Kind, Value::Kind(name)) => {
            equal(field.name(), column, operator, lit(name.to_ascii_uppercase()))
        }
        // Several are chosen as "error|unset".
        (Intrinsic::Status | Intrinsic::Kind, Value::Text(text)) => words(column, operator, &text.to_ascii_uppercase()),
        (Intrinsic::Status, _) => Err(wrong(field.name(), "ok, error or unset")),
        (Intrinsic::Kind, _) => Err(wrong(field.name(), "server, client, producer, consumer or internal")),
        (Intrinsic::NestedSetParent, Value::Int(number)) => {
            root(operator, *number).ok_or_else(|| wrong(field.name(), "0, as nestedSetParent < 0, which roots are"))
        }
        (Intrinsic::NestedSetParent, _) => Err(wrong(field.name(), "0, as nestedSetParent < 0, which roots are")),
        (_, Value::Text(text)) => words(column, operator, text),
        _ => Err(wrong(field.name(), "a text in quotes")),
    }
}

/// Whether a span is a root, or is none: it stands at -1 or above 0.
fn root(operator: Operator, number: i64) -> Option<Expr> {
    let is_root = col("parent_span_id").is_null();
    match (operator, number) {
        (Operator::Less, 0) | (Operator::Equal, -1) => Some(is_root),
        (Operator::GreaterOrEqual | Operator::Greater, 0) | (Operator::NotEqual, -1) => {
            Some(col("parent_span_id").is_not_null())
        }
        _ => None,
    }
}

fn of_attribute(field: &Attribute, operator: Operator, value: &Value) -> Result<Expr> {
    if let (Some(column), Value::Text(text)) = (own_column(field.scope, &field.key), value) {
        return words(col(column), operator, text);
    }
    // An attribute of any scope is the span's, or its resource's.
    let each =
        maps(field.scope).iter().map(|map| of_map(map, &field.key, operator, value)).collect::<Result<Vec<_>>>()?;
    Ok(disjunction(each).unwrap_or_else(|| lit(false)))
}

fn of_map(map: &str, key: &str, operator: Operator, value: &Value) -> Result<Expr> {
    let text = || attribute(col(map), key);
    let kind = || attribute(col(format!("{map}_types")), key);
    let has = |name: &str| kind().eq(lit(name));
    let as_double = |number: f64| ordered(key, try_cast(text(), DataType::Float64), operator, lit(number));
    match value {
        Value::Text(wanted) => {
            let is_text = kind().is_null().or(has(type_name::STRING));
            Ok(words(text(), operator, wanted)?.and(is_text))
        }
        // Whole numbers are compared as such: a double has no room for all of them.
        Value::Int(number) => {
            let whole = ordered(key, try_cast(text(), DataType::Int64), operator, lit(*number))?;
            let broken = as_double(*number as f64)?;
            Ok(has(type_name::INT).and(whole).or(has(type_name::DOUBLE).and(broken)))
        }
        Value::Float(number) => Ok(has(type_name::INT).or(has(type_name::DOUBLE)).and(as_double(*number)?)),
        Value::Bool(truth) => {
            let wanted = lit(truth.to_string());
            Ok(has(type_name::BOOL).and(equal(key, text(), operator, wanted)?))
        }
        Value::Duration(_) | Value::Status(_) | Value::Kind(_) => {
            Err(wrong(key, "a text in quotes, a number, true or false"))
        }
    }
}

/// Texts: equal, in order, or matched as a whole.
fn words(text: Expr, operator: Operator, wanted: &str) -> Result<Expr> {
    let matched = match operator {
        Operator::Matches => Op::RegexMatch,
        Operator::NotMatches => Op::RegexNotMatch,
        _ => return ordered("", text, operator, lit(wanted)),
    };
    let anchored = format!("^(?:{wanted})$");
    RegexBuilder::new(&anchored).size_limit(MOST_REGEX_BYTES).build().map_err(|error| {
        let line = error.to_string();
        let why = line.lines().last().unwrap_or_default().trim().to_owned();
        QueryError::Sql(format!("{wanted:?} is no regular expression: {why}"))
    })?;
    Ok(binary_expr(text, matched, lit(anchored)))
}

fn ordered(field: &str, left: Expr, operator: Operator, right: Expr) -> Result<Expr> {
    let op = match operator {
        Operator::Equal => Op::Eq,
        Operator::NotEqual => Op::NotEq,
        Operator::Less => Op::Lt,
        Operator::LessOrEqual => Op::LtEq,
        Operator::Greater => Op::Gt,
        Operator::GreaterOrEqual => Op::GtEq,
        Operator::Matches | Operator::NotMatches => return Err(wrong(field, "a text in quotes by =~ and !~")),
    };
    Ok(binary_expr(left, op, right))
}

fn equal(field: &str, left: Expr, operator: Operator, right: Expr) -> Result<Expr> {
    match operator {
        Operator::Equal | Operator::NotEqual => ordered(field, left, operator, right),
        _ => Err(wrong(field, "a value by = and !=")),
    }
}
