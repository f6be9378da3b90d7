//! Casts to types of which each value has a length that the type says: a null of one takes as much as any other, so
//! `arrow_try_cast([1], 'FixedSizeList(2000000000, Int64)')` would take 16 GB for nothing.

use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::Expr;

/// Items or bytes of a value of such a type, at most: enough for any vector.
const ITEMS: u64 = 4_096;
/// Functions that cast to the type that their second argument names.
const CASTS: [&str; 2] = ["arrow_cast", "arrow_try_cast"];

/// That an expression is no cast to a type of long values.
///
/// # Errors
/// When it is.
pub(super) fn check(expr: &Expr) -> Result<()> {
    let items = match expr {
        Expr::Cast(cast) => items(cast.field.data_type()),
        Expr::TryCast(cast) => items(cast.field.data_type()),
        Expr::ScalarFunction(call) if CASTS.contains(&call.name()) => {
            named(call.args.get(1)).map_or(1, |to| items(&to))
        }
        _ => return Ok(()),
    };
    if items > ITEMS {
        return plan_err!(
            "each value of the type that is cast to has {items} items, and {ITEMS} are the most; cast to a List"
        );
    }
    Ok(())
}

/// The type that a constant names; who names none is told so by the function.
fn named(constant: Option<&Expr>) -> Option<DataType> {
    let Some(Expr::Literal(name, _)) = constant else { return None };
    name.try_as_str().flatten()?.parse().ok()
}

/// Items of each value of a type, whatever is in it.
fn items(kind: &DataType) -> u64 {
    match kind {
        DataType::FixedSizeBinary(length) => u64::try_from(*length).unwrap_or_default(),
        DataType::FixedSizeList(item, length) => {
            u64::try_from(*length).unwrap_or_default().saturating_mul(items(item.data_type()))
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _)
        | DataType::RunEndEncoded(_, item) => items(item.data_type()),
        DataType::Dictionary(_, item) => items(item),
        DataType::Struct(fields) => fields.iter().map(|field| items(field.data_type())).fold(0, u64::saturating_add),
        DataType::Union(fields, _) => {
            fields.iter().map(|(_, field)| items(field.data_type())).fold(0, u64::saturating_add)
        }
        _ => 1,
    }
}
