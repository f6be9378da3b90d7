//! Puts bounded functions into a plan, whichever way they came there: by their name, as an operator, as a literal of a
//! list, or by the planner, which has functions of its own.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, plan_err};
use datafusion::functions::regex::regexp_like;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF, WindowFunctionDefinition, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::cast;

use super::{Bounded, concatenation, pattern, table, width};

/// States of a pattern of an operator that needs no bound.
const SMALL: u64 = 500;

/// Bounds the functions of a plan. It comes after the types are as the functions want them, and before anything runs.
#[derive(Debug)]
pub(crate) struct BoundFunctions {
    memory_limit: usize,
}

impl BoundFunctions {
    /// For queries that hold so many bytes.
    pub(crate) fn new(memory_limit: usize) -> Self {
        Self { memory_limit }
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        if matches!(node, LogicalPlan::Extension(_)) {
            node.apply_expressions(|expr| expr.apply(|expr| width::check(expr).map(|()| TreeNodeRecursion::Continue)))?;
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_down(|expr| self.expr(expr))?;
            // That an expression is not looked into further is no matter of the plan around it.
            Ok(Transformed::new(name.restore(rewritten.data), rewritten.transformed, TreeNodeRecursion::Continue))
        })
    }

    fn expr(&self, expr: Expr) -> Result<Transformed<Expr>> {
        width::check(&expr)?;
        match expr {
            // A list that is written out is no longer than the statement, and what looks into it has ways of its own.
            Expr::ScalarFunction(call) if is_literal_list(&call) => {
                Ok(Transformed::new(Expr::ScalarFunction(call), false, TreeNodeRecursion::Jump))
            }
            Expr::ScalarFunction(call) if is_format_of_postgres(&call) => plan_err!(
                "formats of to_char are those of strftime, as '%Y-%m-%d %H:%M'; without a % the format would be the answer"
            ),
            Expr::ScalarFunction(call) => Ok(match self.bounded(&call.func) {
                Some(func) => Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, ..call })),
                None => Transformed::no(Expr::ScalarFunction(call)),
            }),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                Ok(Transformed::yes(self.call(&concatenation::function(), vec![*left, *right])))
            }
            Expr::BinaryExpr(binary) if is_search(binary.op) && !is_small(&binary.right) => {
                Ok(Transformed::yes(self.search(binary)))
            }
            // DataFusion takes its pattern for a regular expression that may match anywhere.
            Expr::SimilarTo(_) => {
                plan_err!("SIMILAR TO is not computed here; use like, or ~ with a regular expression")
            }
            Expr::WindowFunction(window) => match &window.fun {
                WindowFunctionDefinition::AggregateUDF(function) if table::GATHERING.contains(&function.name()) => {
                    plan_err!(
                        "{} over a window gives each row a list as long as the window; use group by, and join what it gives",
                        function.name()
                    )
                }
                _ => Ok(Transformed::no(Expr::WindowFunction(window))),
            },
            other => Ok(Transformed::no(other)),
        }
    }

    /// The function with its bound, if it needs one and has none.
    fn bounded(&self, function: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
        if function.inner().is::<Bounded>() {
            return None;
        }
        let rule = table::rule(function.name())?;
        Some(Arc::new(ScalarUDF::from(Bounded::new(Arc::clone(function), rule, self.memory_limit))))
    }

    fn call(&self, function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
        let func = self.bounded(function).unwrap_or_else(|| Arc::clone(function));
        Expr::ScalarFunction(ScalarFunction::new_udf(func, args))
    }

    /// An operator such as `~` as the function that does the same.
    fn search(&self, binary: BinaryExpr) -> Expr {
        let mut args = vec![cast(*binary.left, DataType::Utf8), cast(*binary.right, DataType::Utf8)];
        if matches!(binary.op, Operator::RegexIMatch | Operator::RegexNotIMatch) {
            args.push(lit("i"));
        }
        let found = self.call(&regexp_like(), args);
        match binary.op {
            Operator::RegexNotMatch | Operator::RegexNotIMatch => Expr::Not(Box::new(found)),
            _ => found,
        }
    }
}

impl AnalyzerRule for BoundFunctions {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| self.node(node)).data()
    }

    fn name(&self) -> &str {
        "bound_functions"
    }
}

fn is_search(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch
    )
}

/// Whether an expression is a pattern of a few states.
pub(super) fn is_small(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => {
            value.try_as_str().is_some_and(|text| text.is_none_or(|text| pattern::states(text) <= SMALL))
        }
        Expr::Cast(cast) => is_small(&cast.expr),
        _ => false,
    }
}

/// Whether `to_char` is given a format in which nothing stands for a part of the time: `YYYY-MM-DD`.
fn is_format_of_postgres(call: &ScalarFunction) -> bool {
    let format = call.args.get(1).and_then(|format| match format {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    });
    call.func.name() == "to_char" && format.is_some_and(|format| !format.contains('%'))
}

fn is_literal_list(call: &ScalarFunction) -> bool {
    call.name() == "make_array" && call.args.iter().all(|item| matches!(item, Expr::Literal(..)))
}
