//! The executable form of a call: one partition, one batch, computed when it is first asked for.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};

use super::Function;
use super::arguments::Arguments;
use crate::bundle::Bundler;

/// A call with its arguments' values.
pub(super) struct CallExec {
    function: Function,
    arguments: Arguments,
    bundler: Bundler,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl CallExec {
    pub(super) fn new(function: Function, arguments: Arguments, bundler: Bundler, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { function, arguments, bundler, schema, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for CallExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallExec").field("function", &self.function).finish_non_exhaustive()
    }
}

impl DisplayAs for CallExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallExec: {}", self.function.name())
    }
}

impl ExecutionPlan for CallExec {
    fn name(&self) -> &str {
        "CallExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if !children.is_empty() {
            return internal_err!("a call of a table function has no children");
        }
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a call of a table function has one partition, not {partition}");
        }
        let (function, arguments, bundler) = (self.function, self.arguments.clone(), self.bundler.clone());
        let batch = async move { function.call(&bundler, &arguments).await.map_err(DataFusionError::from) };
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::once(batch))))
    }
}
