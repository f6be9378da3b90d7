//! Functions of SQL: the table functions, which are planned into a node of their own so that bound
//! parameters reach them, and the scalars.
//!
//! DataFusion's `TableFunctionImpl` gets its arguments while the statement is planned, before
//! parameters have values. Here a [`RelationPlanner`] makes an extension node that gives its arguments
//! out as expressions, so that binding, constant folding and type checks find them; an
//! [`ExtensionPlanner`] takes their values when the plan becomes executable.

mod arguments;
pub(crate) mod bounded;
mod compare;
mod evidence;
mod exec;
mod node;
pub(crate) mod scalars;
pub(crate) mod similar;
mod templates;
mod tree;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Extension, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, ObjectName, TableFactor};

use crate::bundle::Bundler;
use crate::error::QueryError;
use arguments::Arguments;
use exec::CallExec;
use node::CallNode;

/// A table function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Function {
    SimilarIncidents,
    EvidenceBundle,
    TraceTree,
    LogTemplates,
    CompareToBaseline,
}

impl Function {
    const ALL: [Self; 5] =
        [Self::SimilarIncidents, Self::EvidenceBundle, Self::TraceTree, Self::LogTemplates, Self::CompareToBaseline];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SimilarIncidents => "similar_incidents",
            Self::EvidenceBundle => "evidence_bundle",
            Self::TraceTree => "trace_tree",
            Self::LogTemplates => "log_templates",
            Self::CompareToBaseline => "compare_to_baseline",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::SimilarIncidents => "similar_incidents(text_or_trace_id, k [, options])",
            Self::EvidenceBundle => "evidence_bundle(trace_id)",
            Self::TraceTree => "trace_tree(trace_id)",
            Self::LogTemplates => "log_templates([options])",
            Self::CompareToBaseline => "compare_to_baseline(trace_id_or_fingerprint [, options])",
        }
    }

    /// Least and greatest number of arguments.
    fn arity(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::SimilarIncidents => 1..=3,
            Self::EvidenceBundle | Self::TraceTree => 1..=1,
            Self::LogTemplates => 0..=1,
            Self::CompareToBaseline => 1..=2,
        }
    }

    /// Whether the argument of this index is a whole number; all others are text.
    fn takes_number(self, index: usize) -> bool {
        self == Self::SimilarIncidents && index == 1
    }

    fn schema(self) -> SchemaRef {
        match self {
            Self::SimilarIncidents => similar::schema(),
            Self::EvidenceBundle => evidence::schema(),
            Self::TraceTree => tree::schema(),
            Self::LogTemplates => templates::schema(),
            Self::CompareToBaseline => compare::schema(),
        }
    }

    pub(crate) async fn call(self, bundler: &Bundler, arguments: &Arguments) -> crate::Result<RecordBatch> {
        match self {
            Self::SimilarIncidents => similar::call(bundler, arguments).await,
            Self::EvidenceBundle => evidence::call(bundler, arguments).await,
            Self::TraceTree => tree::call(bundler.snapshot(), arguments).await,
            Self::LogTemplates => templates::call(bundler.snapshot(), arguments).await,
            Self::CompareToBaseline => compare::call(bundler, arguments).await,
        }
    }

    fn by_name(name: &ObjectName) -> Option<Self> {
        let [part] = name.0.as_slice() else { return None };
        let ident = part.as_ident()?;
        Self::ALL.into_iter().find(|function| function.name().eq_ignore_ascii_case(&ident.value))
    }

    fn wrong(self, why: impl Into<String>) -> QueryError {
        QueryError::Argument { function: self.name(), why: why.into() }
    }
}

/// The table functions, as name and arguments: `("trace_tree", "trace_id")`.
pub fn table_functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    Function::ALL.into_iter().map(|function| {
        let arguments = function.usage().split_once('(').map_or("", |(_, arguments)| arguments);
        (function.name(), arguments.trim_end_matches(')'))
    })
}

/// Plans calls of the table functions in `FROM`.
#[derive(Debug)]
pub(crate) struct FunctionRelations;

impl RelationPlanner for FunctionRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (function, args, alias) = match relation {
            TableFactor::Table { ref name, args: Some(ref args), ref alias, .. } => match Function::by_name(name) {
                Some(function) => (function, args.args.clone(), alias.clone()),
                None => return Ok(RelationPlanning::Original(Box::new(relation))),
            },
            TableFactor::Function { ref name, ref args, ref alias, .. } => match Function::by_name(name) {
                Some(function) => (function, args.clone(), alias.clone()),
                None => return Ok(RelationPlanning::Original(Box::new(relation))),
            },
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        if !function.arity().contains(&args.len()) {
            return Err(function.wrong(format!("write {}", function.usage())).into());
        }
        let nothing = DFSchema::empty();
        let mut exprs = Vec::with_capacity(args.len());
        for (index, arg) in args.into_iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
                return Err(function.wrong(format!("arguments go by position: {}", function.usage())).into());
            };
            let expr = context.sql_to_expr(expr, &nothing).map_err(|_| {
                function.wrong("arguments are constants (text in single quotes) or bound parameters such as $1")
            })?;
            exprs.push(arguments::with_type(expr, function.takes_number(index)));
        }
        let schema = DFSchema::try_from_qualified_schema(function.name(), &function.schema())?;
        let node = CallNode::new(function, exprs, Arc::new(schema));
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// Makes calls executable once their parameters are bound.
pub(crate) struct FunctionPlanner {
    bundler: Bundler,
}

impl FunctionPlanner {
    pub(crate) fn new(bundler: Bundler) -> Self {
        Self { bundler }
    }
}

#[async_trait]
impl ExtensionPlanner for FunctionPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        state: &SessionState,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(call) = node.as_any().downcast_ref::<CallNode>() else { return Ok(None) };
        let arguments = Arguments::evaluate(call.function(), call.args(), state)?;
        Ok(Some(Arc::new(CallExec::new(call.function(), arguments, self.bundler.clone(), call.function().schema()))))
    }
}
