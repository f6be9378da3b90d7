//! The logical node of a call.

use std::cmp::Ordering;
use std::fmt;

use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::Function;

/// A call of a table function, with its arguments as expressions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CallNode {
    function: Function,
    args: Vec<Expr>,
    schema: DFSchemaRef,
}

impl CallNode {
    pub(super) fn new(function: Function, args: Vec<Expr>, schema: DFSchemaRef) -> Self {
        Self { function, args, schema }
    }

    pub(super) fn function(&self) -> Function {
        self.function
    }

    pub(super) fn args(&self) -> &[Expr] {
        &self.args
    }
}

impl PartialOrd for CallNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.function.cmp(&other.function) {
            Ordering::Equal => self.args.partial_cmp(&other.args),
            unequal => Some(unequal),
        }
    }
}

impl UserDefinedLogicalNodeCore for CallNode {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.args.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args.iter().map(ToString::to_string).collect();
        write!(f, "{}({})", self.function.name(), args.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { function: self.function, args: exprs, schema: self.schema.clone() })
    }
}
