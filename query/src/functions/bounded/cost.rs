//! What a call of a function will take, before it is made.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::ColumnarValue;

use super::{pattern, sizes};

/// Bytes of an item of a list, at least.
const ITEM: u64 = 8;
/// Bytes of a character, at most.
const CHARACTER: u64 = 4;
/// Bytes of a number or time as text, and of what a letter of a format stands for.
const PRINTED: u64 = 32;
/// Steps that it takes to compile one state of a pattern.
const COMPILED: u64 = 1_000;
/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;
/// Days of a month, at least: a step of a month is no shorter.
const MONTH: i128 = 28;

/// What a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rule {
    pub length: Length,
    pub work: Work,
}

/// How long a value becomes, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Length {
    /// No longer than what goes in, or of a fixed length.
    Plain,
    /// So many times all arguments together.
    Sum(u64),
    /// The text of the first argument, as often as the second says.
    Repeated,
    /// The first argument as an item, as often as the second says.
    Times,
    /// As many characters as the second argument says.
    Padded,
    /// As many items of the first argument, or else the third, as the second says.
    Resized,
    /// From the first to the second argument, by steps of the third.
    Between,
    /// All arguments with the first between them.
    Joined,
    /// The innermost items of the first argument with the second between them, and the third in the place of nulls.
    Printed,
    /// The first argument with the third in the place of the second.
    Replaced,
    /// The first argument with the third, and what it cites, in the place of each match.
    Rewritten,
    /// What the groups of the second argument find in the first, one within the other.
    Matched,
    /// The items of the first argument, each perhaps the third.
    Swapped,
    /// A number for each item.
    Positions,
    /// A time in the form of the second argument.
    Formatted,
}

/// How many steps a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// A few for each byte.
    Linear,
    /// One for each pair of bytes of the first two arguments.
    Product,
    /// The same, but for one text that is looked for in many, which takes one step for each of their bytes.
    Search,
    /// One for each pair of their items.
    Items,
    /// One for each byte of the first argument and each state of the pattern that is the second, which has to be compiled.
    Regex,
}

/// The arguments of a call, or one row of them if all are the same for every row.
pub(super) struct Inputs {
    arguments: Vec<Argument>,
    rows: usize,
    /// Whether they are.
    pub is_one: bool,
}

struct Argument {
    values: ArrayRef,
    /// Whether it is one value for all rows.
    is_scalar: bool,
    /// Bytes of each value.
    bytes: Vec<u64>,
}

impl Inputs {
    pub(super) fn new(values: &[ColumnarValue], rows: usize) -> Result<Self> {
        let is_one = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arguments = values.iter().map(|value| {
            let (values, is_scalar) = match value {
                ColumnarValue::Array(values) => (Arc::clone(values), false),
                ColumnarValue::Scalar(value) => (value.to_array()?, true),
            };
            Ok(Argument { bytes: sizes::bytes(&values), values, is_scalar })
        });
        Ok(Self { arguments: arguments.collect::<Result<_>>()?, rows: if is_one { 1 } else { rows }, is_one })
    }

    /// Bytes of an argument in a row; none where there is no such argument.
    fn bytes(&self, argument: usize, row: usize) -> u64 {
        self.arguments.get(argument).map_or(0, |argument| at(&argument.bytes, row))
    }

    fn is_scalar(&self, argument: usize) -> bool {
        self.arguments.get(argument).is_some_and(|argument| argument.is_scalar)
    }

    /// Bytes of the argument that has most.
    pub(super) fn largest(&self) -> u64 {
        let bytes = self.arguments.iter().map(|argument| argument.bytes.iter().copied().fold(0, u64::saturating_add));
        bytes.max().unwrap_or_default()
    }

    fn sum(&self, row: usize) -> u64 {
        self.arguments.iter().map(|argument| at(&argument.bytes, row)).fold(0, u64::saturating_add)
    }

    fn values(&self, argument: usize) -> Option<&ArrayRef> {
        self.arguments.get(argument).map(|argument| &argument.values)
    }

    /// What an argument is in each row, as whole numbers; times in nanoseconds.
    fn numbers(&self, argument: usize) -> Result<Vec<Option<i128>>> {
        self.values(argument).map_or_else(|| Ok(vec![]), numbers)
    }

    fn items(&self, argument: usize) -> Vec<u64> {
        self.values(argument).map(sizes::items).unwrap_or_default()
    }

    fn texts(&self, argument: usize) -> Result<Option<ArrayRef>> {
        Ok(self.values(argument).map(|values| cast(values, &DataType::LargeUtf8)).transpose()?)
    }

    fn each(&self, bytes: impl Fn(usize) -> u64) -> Vec<u64> {
        (0..self.rows).map(bytes).collect()
    }
}

impl Length {
    /// Bytes that the value of each row takes at most, roughly.
    pub(super) fn bytes(self, inputs: &Inputs) -> Result<Vec<u64>> {
        Ok(match self {
            Self::Plain => inputs.each(|_| 0),
            Self::Sum(times) => inputs.each(|row| inputs.sum(row).saturating_mul(times)),
            Self::Repeated => {
                let times = inputs.numbers(1)?;
                inputs.each(|row| inputs.bytes(0, row).saturating_mul(count(&times, row)))
            }
            Self::Times => {
                let times = inputs.numbers(1)?;
                inputs.each(|row| inputs.bytes(0, row).max(ITEM).saturating_mul(count(&times, row)))
            }
            Self::Padded => {
                let lengths = inputs.numbers(1)?;
                inputs.each(|row| count(&lengths, row).saturating_mul(CHARACTER))
            }
            Self::Resized => {
                let lengths = inputs.numbers(1)?;
                inputs.each(|row| {
                    let items = inputs.bytes(2, row).max(ITEM).saturating_mul(count(&lengths, row));
                    items.saturating_add(inputs.bytes(0, row))
                })
            }
            Self::Between => between(inputs)?,
            Self::Joined => {
                let others = inputs.arguments.len() as u64;
                inputs.each(|row| inputs.sum(row).saturating_add(inputs.bytes(0, row).saturating_mul(others)))
            }
            Self::Printed => {
                let items = inputs.values(0).map(sizes::innermost).unwrap_or_default();
                inputs.each(|row| {
                    let between = PRINTED.saturating_add(inputs.bytes(1, row)).saturating_add(inputs.bytes(2, row));
                    inputs.bytes(0, row).saturating_add(at(&items, row).saturating_mul(between))
                })
            }
            Self::Replaced => replaced(inputs)?,
            Self::Rewritten => inputs.each(|row| {
                let (text, replacement) = (inputs.bytes(0, row), inputs.bytes(2, row));
                text.saturating_add(1).saturating_mul(replacement.saturating_mul(2).saturating_add(1))
            }),
            Self::Matched => {
                inputs.each(|row| inputs.bytes(0, row).saturating_mul(inputs.bytes(1, row).saturating_add(1)))
            }
            Self::Swapped => {
                let items = inputs.items(0);
                inputs.each(|row| {
                    inputs.bytes(0, row).saturating_add(at(&items, row).saturating_mul(inputs.bytes(2, row)))
                })
            }
            Self::Positions => {
                let items = inputs.items(0);
                inputs.each(|row| at(&items, row).saturating_mul(ITEM))
            }
            Self::Formatted => inputs.each(|row| inputs.bytes(1, row).saturating_mul(PRINTED)),
        })
    }
}

impl Work {
    /// Steps of all rows together, in the worst case.
    pub(super) fn steps(self, inputs: &Inputs) -> Result<u64> {
        let total = |steps: Vec<u64>| steps.into_iter().fold(0, u64::saturating_add);
        Ok(match self {
            Self::Linear => 0,
            // DataFusion prepares such a text once; two constants it compares as if each were another.
            Self::Search if inputs.is_scalar(1) && !inputs.is_scalar(0) => 0,
            Self::Product | Self::Search => {
                total(inputs.each(|row| inputs.bytes(0, row).saturating_mul(inputs.bytes(1, row))))
            }
            Self::Items => {
                let (these, those) = (inputs.items(0), inputs.items(1));
                total(inputs.each(|row| at(&these, row).saturating_mul(at(&those, row))))
            }
            Self::Regex => {
                let Some(patterns) = inputs.texts(1)? else { return Ok(0) };
                let patterns = patterns.as_string::<i64>();
                let states: Vec<u64> = patterns.iter().map(|pattern| pattern.map_or(0, pattern::states)).collect();
                let searched = total(inputs.each(|row| at(&states, row).saturating_mul(inputs.bytes(0, row))));
                // Each of them may be another.
                searched.saturating_add(total(states).saturating_mul(COMPILED))
            }
        })
    }
}

/// What there is of a row, or of all rows if there is one only.
fn at<T: Copy + Default>(values: &[T], row: usize) -> T {
    let index = if values.len() == 1 { 0 } else { row };
    values.get(index).copied().unwrap_or_default()
}

/// A number of a row that says how many; what is null or below nothing says none.
fn count(numbers: &[Option<i128>], row: usize) -> u64 {
    u64::try_from(at(numbers, row).unwrap_or_default().max(0)).unwrap_or(u64::MAX)
}

fn replaced(inputs: &Inputs) -> Result<Vec<u64>> {
    let (Some(texts), Some(parts), Some(others)) = (inputs.texts(0)?, inputs.texts(1)?, inputs.texts(2)?) else {
        return Ok(inputs.each(|_| 0));
    };
    let (texts, parts, others) = (texts.as_string::<i64>(), parts.as_string::<i64>(), others.as_string::<i64>());
    let value = |array: &arrow::array::LargeStringArray, row: usize| {
        let index = if array.len() == 1 { 0 } else { row };
        array.is_valid(index).then_some(index)
    };
    Ok(inputs.each(|row| {
        let (Some(text), Some(part), Some(other)) = (value(texts, row), value(parts, row), value(others, row)) else {
            return 0;
        };
        let (text, other) = (texts.value(text), others.value(other).len() as u64);
        let found = text.matches(parts.value(part)).count() as u64;
        (text.len() as u64).saturating_add(found.saturating_mul(other))
    }))
}

fn between(inputs: &Inputs) -> Result<Vec<u64>> {
    let (first, second) = (inputs.numbers(0)?, inputs.numbers(1)?);
    if second.is_empty() {
        return Ok(inputs.each(|row| count(&first, row).saturating_mul(ITEM)));
    }
    // From one date to the next there are whole days.
    let is_by_day =
        inputs.values(0).is_some_and(|first| matches!(first.data_type(), DataType::Date32 | DataType::Date64));
    let steps = inputs.values(2).map(|steps| lengths(steps, is_by_day)).transpose()?.unwrap_or_else(|| vec![1]);
    Ok(inputs.each(|row| {
        let ends = at(&first, row).zip(at(&second, row));
        let span = ends.map_or(0, |(start, stop)| start.abs_diff(stop));
        let items = (span / at(&steps, row).max(1)).saturating_add(1);
        u64::try_from(items).unwrap_or(u64::MAX).saturating_mul(ITEM)
    }))
}

/// Whole numbers as they are, times in nanoseconds.
fn numbers(array: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let (array, unit) = match array.data_type() {
        DataType::Date32 | DataType::Date64 => (cast(array, &DataType::Date32)?, DAY),
        DataType::Timestamp(unit, _) => (Arc::clone(array), nanoseconds(*unit)),
        _ => (Arc::clone(array), 1),
    };
    let numbers: Int64Array = cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    Ok(numbers.iter().map(|number| number.map(|number| i128::from(number) * unit)).collect())
}

fn nanoseconds(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// The lengths of steps, forwards or backwards, in the unit of [`numbers`], at least.
///
/// # Errors
/// For an interval that goes forwards and backwards: a step of it may end where it began, and then there is no last one.
fn lengths(array: &ArrayRef, is_by_day: bool) -> Result<Vec<u128>> {
    let Some(intervals) = array.as_primitive_opt::<IntervalMonthDayNanoType>() else {
        return Ok(numbers(array)?.into_iter().map(|step| step.unwrap_or_default().unsigned_abs()).collect());
    };
    let steps = intervals.iter().flatten();
    let signs = |step: IntervalMonthDayNano| {
        let parts = [i64::from(step.months), i64::from(step.days), step.nanoseconds];
        (parts.iter().any(|part| *part > 0), parts.iter().any(|part| *part < 0))
    };
    if steps.map(signs).any(|(forwards, backwards)| forwards && backwards) {
        return plan_err!("the parts of a step have to have one sign: write interval '1 day' for '1 month -29 days'");
    }
    let lengths = intervals.iter().map(|step| {
        step.map_or(0, |step| {
            let days = i128::from(step.months) * MONTH + i128::from(step.days);
            let time = i128::from(step.nanoseconds);
            let time = if is_by_day { time / DAY * DAY } else { time };
            (days * DAY + time).unsigned_abs()
        })
    });
    Ok(lengths.collect())
}
