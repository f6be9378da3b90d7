//! Parameters of prepared statements: how they are written, which types they want, and the values that clients bind.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::wire;
use crate::error::{QueryError, Result};
use crate::session::Parameters;

/// The statement with `?`, which JDBC and ODBC write, as `$1`, `$2` and so on, which the engine reads. A statement that
/// has `$` already, and what is no SQL, stays as it is.
pub(super) fn numbered(query: &str) -> Cow<'_, str> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, query).tokenize_with_location() else {
        return Cow::Borrowed(query);
    };
    let mut marks = HashMap::new();
    for token in &tokens {
        let Token::Placeholder(text) = &token.token else { continue };
        let Some(number) = text.strip_prefix('?') else { return Cow::Borrowed(query) };
        let number = if number.is_empty() { (marks.len() + 1).to_string() } else { number.to_owned() };
        marks.insert((token.span.start.line, token.span.start.column), (text.chars().count(), number));
    }
    if marks.is_empty() {
        return Cow::Borrowed(query);
    }
    let mut text = String::with_capacity(query.len() + 2 * marks.len());
    let (mut line, mut column, mut skipped) = (1, 1, 0);
    for character in query.chars() {
        if let Some((length, number)) = marks.get(&(line, column)) {
            text.push('$');
            text.push_str(number);
            skipped = *length;
        }
        match skipped {
            0 => text.push(character),
            _ => skipped -= 1,
        }
        match character {
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
    }
    Cow::Owned(text)
}

/// The parameters of a plan with the types that it wants, by number, else by name. Where it tells of no type, a text is
/// asked for, which becomes what it has to.
///
/// # Errors
/// When one parameter would have to be of two types.
pub(super) fn schema(plan: &LogicalPlan) -> Result<SchemaRef> {
    let counts = counts(plan)?;
    let mut wanted: Vec<(String, DataType)> = plan
        .get_parameter_types()?
        .into_iter()
        .map(|(name, data_type)| {
            let guess = if counts.contains(&name) { DataType::Int64 } else { DataType::Utf8 };
            (name, data_type.as_ref().map_or(guess, wire::data_type))
        })
        .collect();
    wanted.sort_by(|(a, _), (b, _)| (number(a), a).cmp(&(number(b), b)));
    let fields = wanted.into_iter().map(|(name, data_type)| Field::new(name, data_type, true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The parameters that stand for a number of rows: of `limit` and `offset`, whose type the planner does not tell.
fn counts(plan: &LogicalPlan) -> Result<HashSet<String>> {
    let mut counts = HashSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for expr in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(Placeholder { id, .. }) = expr.as_ref() {
                    counts.insert(id.clone());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(counts)
}

/// The number of `$1`; `None` of `$name`.
fn number(name: &str) -> Option<usize> {
    name.trim_start_matches('$').parse().ok()
}

/// The values of one row: by position for parameters with numbers; for those with names by the columns' names, or by
/// position where no column has their name.
///
/// # Errors
/// [`QueryError::Parameters`] if a parameter with a name has no value.
pub(super) fn values(row: &RecordBatch, parameters: &[String]) -> Result<Parameters> {
    let values = row.columns().iter().map(|column| {
        let plain = wire::array(column, &plain(column.data_type()))?;
        Ok(ScalarValue::try_from_array(&plain, 0)?)
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    let is_numbered = parameters.iter().all(|parameter| number(parameter).is_some());
    if is_numbered {
        return Ok(Parameters::from(values));
    }
    let schema = row.schema();
    let given: HashMap<&str, &ScalarValue> =
        schema.fields().iter().map(|field| field.name().trim_start_matches('$')).zip(&values).collect();
    let named = parameters.iter().enumerate().map(|(place, parameter)| {
        let name = parameter.trim_start_matches('$');
        let by_place = || values.get(place).filter(|_| values.len() == parameters.len());
        match given.get(name).copied().or_else(by_place) {
            Some(value) => Ok((name.to_owned(), value.clone())),
            None => Err(QueryError::Parameters(format!("parameter ${name} has no value"))),
        }
    });
    Ok(Parameters::from(named.collect::<Result<Vec<_>>>()?))
}

/// The type under which the engine compares values with stored ones as they are, without changing the stored ones.
fn plain(bound: &DataType) -> DataType {
    match wire::data_type(bound) {
        DataType::LargeUtf8 => DataType::Utf8,
        DataType::LargeBinary => DataType::Binary,
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, LargeStringArray};
    use datafusion::common::ParamValues;

    use super::*;

    /// Each `?` gets its number, those in texts, comments and quoted names stay, and so do statements with `$`.
    #[test]
    fn question_marks_get_numbers() {
        for (query, expected) in [
            ("select ? + ?", "select $1 + $2"),
            ("select '?' as \"a?\", -- ?\n /* ? */ ?", "select '?' as \"a?\", -- ?\n /* ? */ $1"),
            ("select 'ü\n?', ?\nwhere x = ?", "select 'ü\n?', $1\nwhere x = $2"),
            ("select ?2, ?1", "select $2, $1"),
            ("select $1, ?", "select $1, ?"),
            ("select $name", "select $name"),
            ("select 'open", "select 'open"),
            ("select 1", "select 1"),
        ] {
            assert_eq!(numbered(query), expected);
        }
    }

    fn row() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("b", Arc::new(Int64Array::from(vec![2])) as ArrayRef),
            ("a", Arc::new(LargeStringArray::from(vec!["x"])) as ArrayRef),
        ])
        .unwrap()
    }

    fn parameters(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Values go by position to numbers and by name to names, whatever the order; a text of the large layout becomes a
    /// plain one.
    #[test]
    fn values_find_their_parameters() {
        let ParamValues::List(list) = values(&row(), &parameters(&["$1", "$2"])).unwrap() else { panic!("no list") };
        assert_eq!(list[0].value, ScalarValue::from(2_i64));
        assert_eq!(list[1].value, ScalarValue::from("x"));
        let ParamValues::Map(map) = values(&row(), &parameters(&["$a", "$b"])).unwrap() else { panic!("no map") };
        assert_eq!(map["b"].value, ScalarValue::from(2_i64));
        let ParamValues::Map(map) = values(&row(), &parameters(&["$x", "$y"])).unwrap() else { panic!("no map") };
        assert_eq!(map["y"].value, ScalarValue::from("x"));
        let error = values(&row(), &parameters(&["$a", "$b", "$c"])).unwrap_err();
        assert!(error.to_string().contains("$c"), "{error}");
    }
}
