//! Gives a dataset's scan the schema that this release knows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// The plan with exactly the wanted columns: absent ones as null, others cast where their type
/// differs. A plan that has them already is given back as it is.
pub(super) fn conform(plan: Arc<dyn ExecutionPlan>, wanted: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    let found = plan.schema();
    if found.fields() == wanted.fields() {
        return Ok(plan);
    }
    let columns = wanted
        .fields()
        .iter()
        .map(|field| {
            let expr: Arc<dyn PhysicalExpr> = match found.column_with_name(field.name()) {
                Some((index, stored)) => {
                    let column = Arc::new(Column::new(field.name(), index));
                    if stored.data_type() == field.data_type() {
                        column
                    } else {
                        Arc::new(CastExpr::new(column, field.data_type().clone(), None))
                    }
                }
                None => Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?)),
            };
            Ok((expr, field.name().clone()))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}
