//! Long constants of a statement, its parameters among them, as calls of a function: whoever wants one for each row of a
//! batch writes it out as often, which a constant cannot refuse, and a function can.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::Bounded;
use super::cost::{Length, Rule, Work};

/// As plans name it.
pub(super) const NAME: &str = "constant";
/// Functions that look at a constant once, and do not write it out.
const LOOKING: [&str; 5] = ["array_has", "array_has_any", "contains", "starts_with", "ends_with"];

/// Puts long constants into calls, wherever they may be written out. It comes after what makes constants of expressions.
#[derive(Debug)]
pub(crate) struct LongConstants {
    constant: Arc<ScalarUDF>,
    /// Bytes of a constant that is short.
    short: u64,
}

impl LongConstants {
    /// For queries that hold so many bytes.
    pub(crate) fn new(memory_limit: usize) -> Self {
        let rule = Rule { length: Length::Sum(1), work: Work::Linear };
        let bounded = Bounded::new(function(), rule, memory_limit);
        Self { short: bounded.short(), constant: Arc::new(ScalarUDF::from(bounded)) }
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        // The arguments of table functions have to be constants; these and rows that are written out are read once.
        if matches!(
            node,
            LogicalPlan::Extension(_) | LogicalPlan::Limit(_) | LogicalPlan::TableScan(_) | LogicalPlan::Values(_)
        ) {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_down(|expr| Ok(self.expr(expr)))?;
            // That an expression is not looked into further is no matter of the plan around it.
            Ok(Transformed::new(name.restore(rewritten.data), rewritten.transformed, TreeNodeRecursion::Continue))
        })
    }

    fn expr(&self, expr: Expr) -> Transformed<Expr> {
        match expr {
            Expr::Literal(value, metadata) if value.size() as u64 > self.short => {
                let args = vec![Expr::Literal(value, metadata)];
                let call = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.constant), args));
                Transformed::new(call, true, TreeNodeRecursion::Jump)
            }
            looks if self.only_looks(&looks) => Transformed::new(looks, false, TreeNodeRecursion::Jump),
            other => Transformed::no(other),
        }
    }

    /// Whether constants below an expression are compared with columns, which takes no copies of them.
    fn only_looks(&self, expr: &Expr) -> bool {
        let is_plain = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(..));
        match expr {
            Expr::BinaryExpr(binary) if binary.op != Operator::StringConcat => {
                is_plain(&binary.left) && is_plain(&binary.right)
            }
            Expr::Like(like) => is_plain(&like.expr) && is_plain(&like.pattern),
            Expr::InList(list) => is_plain(&list.expr) && list.list.iter().all(is_plain),
            Expr::ScalarFunction(call) => {
                // What was put into a call stays there when the rule runs again.
                call.func == self.constant || (LOOKING.contains(&call.name()) && call.args.iter().all(is_plain))
            }
            _ => false,
        }
    }
}

impl OptimizerRule for LongConstants {
    fn name(&self) -> &str {
        "long_constants"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|node| self.node(node))
    }
}

/// The function that gives what it is called with.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Constant { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        NAME
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.iter().map(|value| value.schema_name().to_string()).collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().map_or_else(|| plan_err!("a constant is one value"), |kind| Ok(kind.clone()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        args.arg_fields.first().map_or_else(|| plan_err!("a constant is one value"), |field| Ok(Arc::clone(field)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args.into_iter().next().unwrap_or(ColumnarValue::Scalar(ScalarValue::Null)))
    }
}
