//! Functions that make long values of short ones, or take many steps for few bytes, within a bound. What they allocate is
//! no part of a query's memory that DataFusion counts, and no thread is stopped within a call, so
//! `repeat('x', 1000000000)` would take the memory from everybody, and `levenshtein` of two long texts the thread.
//!
//! - `table` says of each function how long its values become and how much work it takes; `cost` computes that for a
//!   call before it is made, of `sizes` and `pattern`.
//! - `rewrite` puts the bound around the functions of a plan, and makes functions of operators that need one.
//! - `width` refuses casts to types of which each value is long.
//! - `planning` leaves long constants uncomputed until it is known for how many rows, and `constant` does the same with
//!   those that a statement was written with.

mod concatenation;
mod constant;
mod cost;
mod pattern;
mod planning;
mod rewrite;
pub(crate) mod sizes;
mod table;
#[cfg(test)]
mod tests;
mod width;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::QueryError;
pub(crate) use constant::LongConstants;
use cost::{Inputs, Length, Rule, Work};
pub(crate) use planning::planning;
pub(crate) use rewrite::BoundFunctions;

/// What part of a query's memory one batch of such values may take.
const PART: usize = 4;
/// Rows for which a constant is written out, at most.
const BATCH: u64 = 8_192;
/// Steps of one call: some seconds of a thread.
const STEPS: u64 = 10_000_000_000;

/// The functions that are to be put in the place of those that a session has, and those that it has not.
pub(crate) fn functions(state: &SessionState, memory_limit: usize) -> Vec<ScalarUDF> {
    let all = state.scalar_functions().values().cloned().chain([concatenation::function(), constant::function()]);
    all.filter_map(|inner| {
        let rule = table::rule(inner.name())?;
        Some(ScalarUDF::from(Bounded::new(inner, rule, memory_limit)))
    })
    .collect()
}

/// A function of which one call makes so many bytes at most, in so many steps.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    rule: Rule,
    most: u64,
}

impl Bounded {
    fn new(inner: Arc<ScalarUDF>, rule: Rule, memory_limit: usize) -> Self {
        Self { inner, rule, most: (memory_limit / PART) as u64 }
    }

    /// Bytes of a constant that may be written out for a whole batch.
    fn short(&self) -> u64 {
        self.most / BATCH
    }

    /// Bytes that values may have which are made of so many: what is there already may be there once more, as in
    /// lower(body), and become longer, up to half of the memory, or each call could double what another has made.
    fn most_of(&self, largest: u64) -> u64 {
        let longer = largest.saturating_mul(2).min(self.most.saturating_mul(2));
        self.most.max(largest).max(longer)
    }

    fn check_steps(&self, steps: u64) -> Result<()> {
        if steps <= STEPS {
            return Ok(());
        }
        let why = format!(
            "lets {} take {steps} steps at once, and {STEPS} are the most; shorten what it compares, as with left(text, \
             1000), or the pattern",
            self.inner.name()
        );
        Err(QueryError::TooLarge { why }.into())
    }

    fn too_long(&self, bytes: u64) -> QueryError {
        let detail = format!("{} would make values of {bytes} bytes", self.inner.name());
        QueryError::MemoryLimit { bytes: usize::try_from(self.most).unwrap_or(usize::MAX), detail }
    }

    /// A value that is the same for all rows: whoever needs it in each of them writes it out as often.
    fn check_one(&self, bytes: u64, rows: usize) -> Result<()> {
        let is_constant = rows == 1 && planning::is_planning();
        let total = bytes.saturating_mul(rows as u64);
        if total > self.most || (is_constant && (bytes > self.short() || !planning::take(bytes))) {
            return Err(self.too_long(total).into());
        }
        Ok(())
    }

    /// As many rows in each call as are sure to fit; together they may take what they really take.
    fn invoke_in_parts(&self, args: &ScalarFunctionArgs, bytes: &[u64], most: u64) -> Result<ColumnarValue> {
        let (mut parts, mut used, mut begin) = (Vec::new(), 0_u64, 0);
        while begin < args.number_rows {
            let (mut end, mut sum) = (begin, 0_u64);
            while let Some(next) = bytes.get(end).map(|bytes| sum.saturating_add(*bytes)).filter(|sum| *sum <= most) {
                sum = next;
                end += 1;
            }
            if end == begin {
                return Err(self.too_long(bytes.get(begin).copied().unwrap_or_default()).into());
            }
            let part = self.inner.invoke_with_args(slice(args, begin, end - begin))?.into_array(end - begin)?;
            used = used.saturating_add(total(&sizes::bytes(&part)));
            if used > most {
                return Err(self.too_long(used).into());
            }
            parts.push(part);
            begin = end;
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|part: &ArrayRef| part.as_ref()).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

/// Some rows of the arguments of a call.
fn slice(args: &ScalarFunctionArgs, begin: usize, rows: usize) -> ScalarFunctionArgs {
    let values = args.args.iter().map(|value| match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(begin, rows)),
        ColumnarValue::Scalar(_) => value.clone(),
    });
    ScalarFunctionArgs {
        args: values.collect(),
        arg_fields: args.arg_fields.clone(),
        number_rows: rows,
        return_field: Arc::clone(&args.return_field),
        config_options: Arc::clone(&args.config_options),
    }
}

fn total(bytes: &[u64]) -> u64 {
    bytes.iter().copied().fold(0, u64::saturating_add)
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    /// What a function is simplified to would be without its bound. A search for a small pattern needs none.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.rule.work == Work::Regex && args.get(1).is_some_and(rewrite::is_small) {
            true => self.inner.simplify(args, info),
            false => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let inputs = Inputs::new(&args.args, args.number_rows)?;
        self.check_steps(self.rule.work.steps(&inputs)?)?;
        if self.rule.length == Length::Plain {
            return self.inner.invoke_with_args(args);
        }
        let bytes = self.rule.length.bytes(&inputs)?;
        if inputs.is_one {
            self.check_one(total(&bytes), args.number_rows)?;
            return self.inner.invoke_with_args(args);
        }
        let most = self.most_of(inputs.largest());
        if total(&bytes) <= most {
            return self.inner.invoke_with_args(args);
        }
        self.invoke_in_parts(&args, &bytes, most)
    }
}
