//! Functions that make long values of short ones, within a bound: what they allocate is no part of a query's memory
//! that DataFusion counts, so `repeat('x', 1000000000)` would take it from everybody.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::QueryError;

/// What part of a query's memory one batch of such values may take.
const PART: usize = 4;
/// Bytes of an item of a list, at least.
const ITEM: u64 = 8;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// How long the values become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Length {
    /// The text of the first argument, as often as the second says.
    Repeated,
    /// As long as this argument says.
    Said(usize),
    /// From the first to the second argument, by steps of the third.
    Between,
}

/// The functions that are bounded; their aliases are with them.
const BOUNDED: [(&str, Length); 7] = [
    ("repeat", Length::Repeated),
    ("lpad", Length::Said(1)),
    ("rpad", Length::Said(1)),
    ("array_repeat", Length::Said(1)),
    ("array_resize", Length::Said(1)),
    ("range", Length::Between),
    ("generate_series", Length::Between),
];

/// Those of a session's functions that are to be put in the place of the ones it has.
pub(crate) fn bounded(state: &SessionState, memory_limit: usize) -> Vec<ScalarUDF> {
    let most = (memory_limit / PART) as u64;
    let known = BOUNDED.iter().filter_map(|(name, length)| Some((state.scalar_functions().get(*name)?, *length)));
    known.map(|(inner, length)| ScalarUDF::from(Bounded { inner: Arc::clone(inner), length, most })).collect()
}

/// A function of DataFusion whose values have so many bytes together at most, in one batch.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    length: Length,
    most: u64,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
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

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.length.bytes(&ColumnarValue::values_to_arrays(&args.args)?)?;
        if bytes > self.most {
            let detail = format!("{} would make values of {bytes} bytes", self.name());
            return Err(
                QueryError::MemoryLimit { bytes: usize::try_from(self.most).unwrap_or(usize::MAX), detail }.into()
            );
        }
        self.inner.invoke_with_args(args)
    }
}

impl Length {
    /// Bytes of all values of a batch together, roughly. What is null makes none.
    fn bytes(self, args: &[ArrayRef]) -> Result<u64> {
        match (self, args) {
            (Self::Repeated, [texts, times]) => {
                let (texts, times) = (cast(texts, &DataType::LargeUtf8)?, numbers(times)?);
                let texts = texts.as_string::<i64>();
                let lengths = texts.iter().map(|text| text.map_or(0, str::len) as u64);
                Ok(sum(lengths.zip(times.iter()).map(|(length, times)| length.saturating_mul(count(times)))))
            }
            (Self::Said(index), args) => match args.get(index) {
                Some(lengths) => Ok(sum(numbers(lengths)?.iter().map(|length| count(length).saturating_mul(ITEM)))),
                None => Ok(0),
            },
            (Self::Between, [stop]) => Ok(sum(numbers(stop)?.iter().map(|stop| count(stop).saturating_mul(ITEM)))),
            (Self::Between, [start, stop, step @ ..]) => {
                let (starts, stops) = (numbers(start)?, numbers(stop)?);
                let steps = step.first().map(steps).transpose()?;
                let step_of = |row: usize| steps.as_ref().and_then(|steps| steps.get(row).copied()).unwrap_or(1).max(1);
                let items = starts.iter().zip(stops.iter()).enumerate().map(|(row, (start, stop))| {
                    let span = start.zip(stop).map_or(0, |(start, stop)| start.abs_diff(stop));
                    (span / step_of(row)).saturating_mul(ITEM)
                });
                Ok(sum(items))
            }
            _ => Ok(0),
        }
    }
}

fn sum(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}

fn count(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}

/// Whole numbers as they are, times in microseconds.
fn numbers(array: &ArrayRef) -> Result<Int64Array> {
    let array = match array.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?
        }
        _ => Arc::clone(array),
    };
    Ok(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The sizes of steps, forwards or backwards, in the unit of [`numbers`].
fn steps(array: &ArrayRef) -> Result<Vec<u64>> {
    if let Some(intervals) = array.as_primitive_opt::<IntervalMonthDayNanoType>() {
        let microseconds = intervals.iter().map(|interval| {
            interval.map_or(0, |interval| {
                let days = i64::from(interval.months) * 30 + i64::from(interval.days);
                days.saturating_mul(DAY).saturating_add(interval.nanoseconds / 1_000).unsigned_abs()
            })
        });
        return Ok(microseconds.collect());
    }
    Ok(numbers(array)?.iter().map(|step| step.unwrap_or_default().unsigned_abs()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::tests::lake::{TestLake, ask};
    use crate::{QueryError, Session, SessionOptions};

    /// Values as analysts make them come out as without the bound, by every name; what would take more than a quarter
    /// of the query's memory ends with its limit, however the length is said.
    #[tokio::test]
    async fn long_values_are_bounded() {
        let lake = TestLake::example(false, 100).await;
        let options = SessionOptions { memory_limit: 64 << 20, ..SessionOptions::new("acme") };
        let session = Session::open(&lake.lake, options).await.unwrap();
        let query = "select repeat('ab', 3) as a, lpad('7', 3, '0') as b, list_repeat(1, 2) as c, range(3) as d,
                       generate_series(4, 2, -1) as e, array_resize([1], 2, 0) as f,
                       cardinality(generate_series(timestamp '2026-01-01', timestamp '2026-01-02', interval '1 hour')) as g";
        let expected =
            json!([{"a": "ababab", "b": "007", "c": [1, 1], "d": [0, 1, 2], "e": [4, 3, 2], "f": [1, 0], "g": 25}]);
        assert_eq!(ask(&session, query).await, expected);
        for long in [
            "repeat('x', 1000000000)",
            "repeat(name, 100000000 + cast(duration_ns / 1000000000 as int))",
            "rpad('x', 1000000000)",
            "array_repeat(1, 1000000000)",
            "range(1000000000)",
            "range(0, -10000000000, -1)",
            "generate_series(timestamp '2000-01-01', timestamp '2026-01-01', interval '1 millisecond')",
        ] {
            let error = session.collect(&format!("select {long} from spans"), None).await.unwrap_err();
            assert!(matches!(error, QueryError::MemoryLimit { .. }), "{long}: {error}");
        }
    }
}
