//! Values of a table function's arguments.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::create_physical_expr;

use super::Function;
use crate::error::{QueryError, Result};

/// Evaluated arguments, in the order of the function's usage.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    function: Function,
    values: Vec<ScalarValue>,
}

/// A parameter that stands alone gets the type that the function wants; clients that prepare a
/// statement ask for it before they bind.
pub(super) fn with_type(expr: Expr, number: bool) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let data_type = if number { DataType::Int64 } else { DataType::Utf8 };
            Expr::Placeholder(Placeholder::new_with_field(id, Some(Arc::new(Field::new("", data_type, true)))))
        }
        other => other,
    }
}

impl Arguments {
    pub(super) fn evaluate(function: Function, args: &[Expr], state: &SessionState) -> Result<Self> {
        let values = args.iter().map(|arg| constant(function, arg, state)).collect::<Result<_>>()?;
        Ok(Self { function, values })
    }

    /// A text that must be there.
    pub(super) fn text(&self, index: usize, name: &str) -> Result<&str> {
        self.optional_text(index)?.ok_or_else(|| self.function.wrong(format!("{name} is null; give a text")))
    }

    /// A text, if there is one.
    pub(super) fn optional_text(&self, index: usize) -> Result<Option<&str>> {
        match self.values.get(index) {
            None => Ok(None),
            Some(value) if value.is_null() => Ok(None),
            Some(value) => match value.try_as_str() {
                Some(text) => Ok(text),
                None => Err(self.function.wrong(format!(
                    "argument {} must be a text: {}",
                    index + 1,
                    self.function.usage()
                ))),
            },
        }
    }

    /// A whole number above zero, if there is one.
    pub(super) fn count(&self, index: usize) -> Result<Option<usize>> {
        let Some(value) = self.values.get(index).filter(|value| !value.is_null()) else { return Ok(None) };
        let wrong = || self.function.wrong(format!("argument {} must be a whole number above 0", index + 1));
        let ScalarValue::Int64(Some(count)) = value.cast_to(&DataType::Int64).map_err(|_| wrong())? else {
            return Err(wrong());
        };
        usize::try_from(count).ok().filter(|count| *count > 0).map(Some).ok_or_else(wrong)
    }
}

fn constant(function: Function, arg: &Expr, state: &SessionState) -> Result<ScalarValue> {
    if let Expr::Literal(value, _) = arg {
        return Ok(value.clone());
    }
    if let Expr::Placeholder(parameter) = arg {
        return Err(QueryError::Parameters(format!("parameter {} of {} has no value", parameter.id, function.name())));
    }
    let wrong = |_| function.wrong("arguments are constants (text in single quotes) or bound parameters such as $1");
    let physical = create_physical_expr(arg, &DFSchema::empty(), state.execution_props()).map_err(wrong)?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
    match physical.evaluate(&row).map_err(wrong)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).map_err(wrong),
    }
}
