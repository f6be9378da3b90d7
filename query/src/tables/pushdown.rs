//! Which filters Lance may evaluate.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Column;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown};

/// How far a filter can be left to Lance.
///
/// `Exact` is said of comparisons that index and scan answer alike. Negations are pushed but checked
/// again, because an index may not know of nulls; floats too, because of NaN.
pub(super) fn support(filter: &Expr, schema: &Schema) -> TableProviderFilterPushDown {
    match judge(filter, schema) {
        Judgement::Exact => TableProviderFilterPushDown::Exact,
        Judgement::Inexact => TableProviderFilterPushDown::Inexact,
        Judgement::No => TableProviderFilterPushDown::Unsupported,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Judgement {
    No,
    Inexact,
    Exact,
}

fn judge(filter: &Expr, schema: &Schema) -> Judgement {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => judge(left, schema).min(judge(right, schema)),
            Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                comparison(left, right, schema)
            }
            Operator::NotEq => comparison(left, right, schema).min(Judgement::Inexact),
            _ => Judgement::No,
        },
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
            column(inner, schema).map_or(Judgement::No, |_| Judgement::Exact)
        }
        Expr::Not(inner) => judge(inner, schema).min(Judgement::Inexact),
        Expr::Between(Between { expr, negated, low, high }) => {
            let judged = comparison(expr, low, schema).min(comparison(expr, high, schema));
            if *negated { judged.min(Judgement::Inexact) } else { judged }
        }
        Expr::InList(InList { expr, list, negated }) => {
            let judged = list.iter().map(|item| comparison(expr, item, schema)).min().unwrap_or(Judgement::No);
            if *negated { judged.min(Judgement::Inexact) } else { judged }
        }
        Expr::Column(_) => match column(filter, schema) {
            Some(DataType::Boolean) => Judgement::Exact,
            _ => Judgement::No,
        },
        _ => Judgement::No,
    }
}

fn comparison(left: &Expr, right: &Expr, schema: &Schema) -> Judgement {
    let (column_type, literal) = match (column(left, schema), column(right, schema)) {
        (Some(column), None) => (column, right),
        (None, Some(column)) => (column, left),
        _ => return Judgement::No,
    };
    match literal {
        Expr::Literal(value, _) if !value.is_null() && &value.data_type() == column_type => match column_type {
            DataType::Float64 => Judgement::Inexact,
            _ => Judgement::Exact,
        },
        _ => Judgement::No,
    }
}

/// The type of a column that holds one value a row.
fn column<'a>(expr: &Expr, schema: &'a Schema) -> Option<&'a DataType> {
    let Expr::Column(Column { name, .. }) = expr else { return None };
    let data_type = schema.field_with_name(name).ok()?.data_type();
    let plain = matches!(
        data_type,
        DataType::Utf8
            | DataType::Boolean
            | DataType::Int32
            | DataType::Int64
            | DataType::Float64
            | DataType::Timestamp(..)
    );
    plain.then_some(data_type)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};
    use tracerag_schemas::Table;

    use super::*;
    use crate::snapshot::time_literal;

    /// Comparisons of plain columns go down; a map, a computed side or another type never does.
    #[test]
    fn only_plain_comparisons_are_pushed() {
        let schema = Table::Spans.lake_schema();
        let judge = |filter: Expr| support(&filter, &schema);
        let exact = TableProviderFilterPushDown::Exact;
        assert_eq!(judge(col("trace_id").eq(lit("a"))), exact);
        assert_eq!(judge(time_literal(5).lt(col("start_time"))), exact);
        assert_eq!(judge(col("name").eq(lit("a")).or(col("duration_ns").gt(lit(5_i64)))), exact);
        assert_eq!(judge(col("name").in_list(vec![lit("a"), lit("b")], false)), exact);
        assert_eq!(judge(col("name").not_eq(lit("a"))), TableProviderFilterPushDown::Inexact);
        let no = TableProviderFilterPushDown::Unsupported;
        assert_eq!(judge(col("attributes").is_null()), no);
        assert_eq!(judge(col("attributes").eq(lit("a"))), no);
        assert_eq!(judge(col("duration_ns").gt(lit(5_i32))), no);
        assert_eq!(judge(col("name").eq(col("kind"))), no);
        assert_eq!(judge(col("name").eq(lit("a")).or(col("links").is_not_null())), no);
    }
}
