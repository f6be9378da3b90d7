//! Functions of PostgreSQL that are computed here.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, BooleanArray, Int32Builder, ListBuilder, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::rewrite::{GENERATE_SUBSCRIPTS, LIKE_ESCAPE};

/// All of them, where these tables are on no search path.
pub(super) fn all(hidden: BTreeSet<i32>) -> Vec<ScalarUDF> {
    let kinds = [Kind::LikeEscape, Kind::GenerateSubscripts, Kind::TableIsVisible(hidden)];
    kinds.into_iter().map(|kind| ScalarUDF::from(Computed::new(kind))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// `like_escape(pattern, character)`: the same pattern with the backslash as its escape character.
    LikeEscape,
    /// `generate_subscripts(list, dimension)`: the numbers of its elements, to be unnested.
    GenerateSubscripts,
    /// `pg_table_is_visible(oid)`: whether its name is enough to find a table. Those that are not are named here.
    TableIsVisible(BTreeSet<i32>),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Computed {
    kind: Kind,
    signature: Signature,
}

impl Computed {
    fn new(kind: Kind) -> Self {
        let signature = match kind {
            Kind::LikeEscape => Signature::any(2, Volatility::Immutable),
            Kind::GenerateSubscripts => {
                Signature::one_of(vec![TypeSignature::Any(2), TypeSignature::Any(3)], Volatility::Immutable)
            }
            Kind::TableIsVisible(_) => Signature::any(1, Volatility::Stable),
        };
        Self { kind, signature }
    }
}

impl ScalarUDFImpl for Computed {
    fn name(&self) -> &str {
        match self.kind {
            Kind::LikeEscape => LIKE_ESCAPE,
            Kind::GenerateSubscripts => GENERATE_SUBSCRIPTS,
            Kind::TableIsVisible(_) => "pg_table_is_visible",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::LikeEscape => DataType::Utf8,
            Kind::GenerateSubscripts => DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
            Kind::TableIsVisible(_) => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let computed: ArrayRef = match (&self.kind, columns.as_slice()) {
            (Kind::LikeEscape, [patterns, characters]) => Arc::new(with_backslashes(patterns, characters)?),
            (Kind::GenerateSubscripts, [lists, ..]) => subscripts(lists)?,
            (Kind::TableIsVisible(hidden), [oids]) => {
                let oids = cast(oids, &DataType::Int32)?;
                let oids = oids.as_primitive::<Int32Type>();
                Arc::new(oids.iter().map(|oid| Some(!hidden.contains(&oid?))).collect::<BooleanArray>())
            }
            _ => return exec_err!("{} has other arguments", self.name()),
        };
        Ok(ColumnarValue::Array(computed))
    }
}

fn with_backslashes(patterns: &ArrayRef, characters: &ArrayRef) -> Result<StringArray> {
    let (patterns, characters) = (cast(patterns, &DataType::Utf8)?, cast(characters, &DataType::Utf8)?);
    let pairs = patterns.as_string::<i32>().iter().zip(characters.as_string::<i32>());
    let changed = pairs.map(|(pattern, character)| match (pattern, character) {
        (Some(pattern), Some(character)) => with_backslash(pattern, character).map(Some),
        _ => Ok(None),
    });
    changed.collect()
}

/// A pattern whose escape character is another one, or none.
fn with_backslash(pattern: &str, character: &str) -> Result<String> {
    let mut escapes = character.chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return exec_err!("an escape character is one character or none; write escape '/'");
    }
    let mut changed = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(next) = characters.next() {
        if Some(next) == escape {
            let Some(escaped) = characters.next() else {
                return exec_err!("a pattern of LIKE ends with its escape character; write it twice to find it");
            };
            changed.extend(['\\', escaped]);
        } else if next == '\\' {
            changed.push_str("\\\\");
        } else {
            changed.push(next);
        }
    }
    Ok(changed)
}

fn subscripts(lists: &ArrayRef) -> Result<ArrayRef> {
    let mut subscripts = ListBuilder::new(Int32Builder::new());
    let lengths: Vec<Option<usize>> = match lists.data_type() {
        DataType::List(_) => lists.as_list::<i32>().iter().map(|list| list.map(|list| list.len())).collect(),
        DataType::LargeList(_) => lists.as_list::<i64>().iter().map(|list| list.map(|list| list.len())).collect(),
        DataType::FixedSizeList(..) => {
            lists.as_fixed_size_list().iter().map(|list| list.map(|list| list.len())).collect()
        }
        DataType::Null => vec![None; lists.len()],
        other => return exec_err!("generate_subscripts wants a list, and {other} is none"),
    };
    for length in lengths {
        if let Some(length) = length {
            subscripts.values().extend((1_i32..).take(length).map(Some));
        }
        subscripts.append(length.is_some());
    }
    Ok(Arc::new(subscripts.finish()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is escaped stays escaped, the escape character itself too; a backslash, which is none here, is one that is
    /// looked for. A pattern that ends in the middle and a character of two letters are refused.
    #[test]
    fn patterns_have_backslashes() {
        for (pattern, character, changed) in [
            ("pg/_%", "/", r"pg\_%"),
            ("a//b", "/", r"a\/b"),
            (r"a\b/%", "/", r"a\\b\%"),
            (r"a\_b", "", r"a\\_b"),
            ("äöä%", "ä", r"\ö\%"),
        ] {
            assert_eq!(with_backslash(pattern, character).unwrap(), changed, "{pattern}");
        }
        assert!(with_backslash("a/", "/").is_err() && with_backslash("a", "//").is_err());
    }
}
