//! Failures as rows of the table `failures`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, BooleanBuilder, Int32Array, Int64Array, Int64Builder, ListArray, ListBuilder,
    MapBuilder, MapFieldNames, RecordBatch, StringBuilder, StructArray, TimestampNanosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use tracerag_schemas::Table;

use super::columns::{Origin, text, value};
use super::drafts::Row;
use super::extract::{Batches, Failure};
use super::frames::StackTrace;
use super::interruption::Interruption;
use super::{FailureError, causes};

/// Values that are a time each.
pub(super) fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}

/// Values that are a text each.
pub(super) fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>> + Clone) -> ArrayRef {
    let bytes = values.clone().flatten().map(|text| text.as_ref().len()).sum();
    let mut texts = StringBuilder::with_capacity(values.size_hint().0, bytes);
    values.for_each(|text| texts.append_option(text));
    Arc::new(texts.finish())
}

/// The batch of `table` from columns by name; a column of the table that is not given is null.
pub(super) fn assemble(
    table: Table,
    rows: usize,
    mut columns: Vec<(&'static str, ArrayRef)>,
) -> Result<RecordBatch, FailureError> {
    let schema = table.lake_schema();
    let arrays = schema
        .fields()
        .iter()
        .map(|field| match columns.iter().position(|(name, _)| name == field.name()) {
            Some(at) => columns.swap_remove(at).1,
            None => new_null_array(field.data_type(), rows),
        })
        .collect();
    Ok(RecordBatch::try_new(schema, arrays)?)
}

/// Where the row of a failure came from; one that is stored has its row already.
fn origin<'b, 'a>(failure: &Failure<'_>, batches: &'b Batches<'a>) -> Option<(&'b Origin<'a>, usize)> {
    match failure.draft.row {
        Row::Span(row) => Some((&batches.spans.origin, row)),
        Row::Log(row) => Some((&batches.logs.origin, row)),
        Row::Stored(_) => None,
    }
}

/// When the row of a failure was taken.
pub(super) fn ingested_at(failure: &Failure<'_>, batches: &Batches<'_>) -> Option<i64> {
    origin(failure, batches).and_then(|(origin, row)| value(origin.ingested_at, row))
}

/// The rows, whose fingerprints are of a version.
pub(super) fn batch(
    failures: &[Failure<'_>],
    batches: &Batches<'_>,
    version: i32,
) -> Result<RecordBatch, FailureError> {
    let filled = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let columns = vec![
        ("tenant_id", texts(failures.iter().map(|failure| Some(failure.tenant)))),
        ("failure_id", texts(failures.iter().map(|failure| Some(&failure.id)))),
        ("trace_id", texts(failures.iter().map(|failure| failure.trace_id))),
        ("span_id", texts(failures.iter().map(|failure| failure.draft.span_id))),
        ("revision", Arc::new(failures.iter().map(|failure| failure.revision).collect::<Int32Array>())),
        ("time", times(failures.iter().map(|failure| failure.draft.time))),
        ("service_name", texts(failures.iter().map(|failure| filled(failure.draft.service)))),
        ("service_version", texts(failures.iter().map(|failure| failure.service_version))),
        ("deployment_environment_name", texts(failures.iter().map(|failure| failure.environment))),
        ("kind", texts(failures.iter().map(|failure| Some(failure.draft.kind.name())))),
        ("exception_type", texts(failures.iter().map(|failure| failure.draft.exception_type.as_deref()))),
        ("message", texts(failures.iter().map(|failure| filled(&failure.draft.message)))),
        ("message_masked", texts(failures.iter().map(|failure| filled(&failure.identity.masked)))),
        ("frames", frames(failures)?),
        ("stacktrace", texts(failures.iter().map(|failure| failure.draft.stacktrace))),
        ("span_name", texts(failures.iter().map(|failure| failure.span_name))),
        ("span_path", texts(failures.iter().map(|failure| failure.span_path.as_deref()))),
        ("fingerprint", texts(failures.iter().map(|failure| Some(&failure.identity.fingerprint.id)))),
        ("fingerprint_version", Arc::new(Int32Array::from(vec![version; failures.len()])) as ArrayRef),
        ("grouped_by", texts(failures.iter().map(|failure| Some(&failure.identity.fingerprint.grouped_by)))),
        ("build_git_sha", texts(failures.iter().map(|failure| failure.git_sha))),
        ("flags", flags(failures)?),
        ("frame_columns", frame_columns(failures)),
        ("causes", causes(failures)?),
        ("stacktrace_minified", truths(failures, StackTrace::is_minified)),
        ("stacktrace_truncated", truths(failures, |stack| stack.truncated)),
        ("origin_id", texts(failures.iter().map(|failure| failure.origin_id.as_deref()))),
        ("origin_span_id", texts(failures.iter().map(|failure| failure.origin_span_id))),
        ("interruption", texts(failures.iter().map(|failure| failure.identity.interruption.map(Interruption::name)))),
        ("gave_up_span_id", texts(failures.iter().map(|failure| failure.gave_up_span_id))),
        (
            "fingerprint_all_frames",
            texts(failures.iter().map(|failure| Some(&failure.identity.fingerprint.all_frames))),
        ),
        ("grouping_path", texts(failures.iter().map(|failure| Some(&failure.identity.local_path)))),
        ("grouping_error", texts(failures.iter().map(|failure| failure.draft.error_type.as_deref()))),
        (
            "kafka_topic",
            texts(failures.iter().map(|failure| {
                let (origin, row) = origin(failure, batches)?;
                text(origin.topic, row)
            })),
        ),
        (
            "kafka_partition",
            Arc::new(
                failures
                    .iter()
                    .map(|failure| origin(failure, batches).and_then(|(origin, row)| value(origin.partition, row)))
                    .collect::<Int32Array>(),
            ),
        ),
        (
            "kafka_offset",
            Arc::new(
                failures
                    .iter()
                    .map(|failure| origin(failure, batches).and_then(|(origin, row)| value(origin.offset, row)))
                    .collect::<Int64Array>(),
            ),
        ),
        ("ingested_at", times(failures.iter().map(|failure| ingested_at(failure, batches)))),
    ];
    assemble(Table::Failures, failures.len(), columns)
}

/// The item of a list column of structs, and the fields of these.
fn item_of(column: &'static str) -> Result<(FieldRef, Fields), FailureError> {
    const TABLE: &str = "failures";
    let schema = Table::Failures.lake_schema();
    if let DataType::List(item) = schema.field_with_name(column)?.data_type()
        && let DataType::Struct(fields) = item.data_type()
    {
        return Ok((Arc::clone(item), fields.clone()));
    }
    Err(FailureError::Column { table: TABLE, column })
}

/// A list column of structs from the values of their fields by name; `lengths` has how many each row has, none of which
/// is null.
fn list_of(
    column: &'static str,
    by_name: &[(&str, ArrayRef)],
    lengths: impl Iterator<Item = usize> + Clone,
) -> Result<ArrayRef, FailureError> {
    let (item, fields) = item_of(column)?;
    let rows = by_name.first().map_or(0, |(_, values)| values.len());
    let columns = fields
        .iter()
        .map(|field| {
            by_name
                .iter()
                .find(|(name, _)| name == field.name())
                .map_or_else(|| new_null_array(field.data_type(), rows), |(_, array)| Arc::clone(array))
        })
        .collect();
    let values = StructArray::try_new(fields, columns, None)?;
    let nulls: NullBuffer = lengths.clone().map(|length| length > 0).collect();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(values), Some(nulls))?))
}

fn frames(failures: &[Failure<'_>]) -> Result<ArrayRef, FailureError> {
    let (mut function, mut file) = (StringBuilder::new(), StringBuilder::new());
    let (mut line, mut in_app) = (Int64Builder::new(), BooleanBuilder::new());
    for frame in failures.iter().flat_map(|failure| failure.draft.stack.frames()) {
        function.append_option(frame.function.as_deref());
        file.append_option(frame.file.as_deref());
        line.append_option(frame.line);
        in_app.append_value(frame.in_app);
    }
    let by_name: [(&str, ArrayRef); 4] = [
        ("function", Arc::new(function.finish())),
        ("file", Arc::new(file.finish())),
        ("line", Arc::new(line.finish())),
        ("in_app", Arc::new(in_app.finish())),
    ];
    list_of("frames", &by_name, failures.iter().map(|failure| failure.draft.stack.frames().count()))
}

/// The columns of the frames; null where no frame has one.
fn frame_columns(failures: &[Failure<'_>]) -> ArrayRef {
    let mut list = ListBuilder::new(Int64Builder::new());
    for failure in failures {
        let stack = &failure.draft.stack;
        let any = stack.frames().any(|frame| frame.column.is_some());
        if any {
            stack.frames().for_each(|frame| list.values().append_option(frame.column));
        }
        list.append(any);
    }
    Arc::new(list.finish())
}

fn causes(failures: &[Failure<'_>]) -> Result<ArrayRef, FailureError> {
    let (mut exception_type, mut message) = (StringBuilder::new(), StringBuilder::new());
    let mut lengths = Vec::with_capacity(failures.len());
    for failure in failures {
        let causes = causes::of(&failure.draft);
        lengths.push(causes.len());
        for cause in causes {
            exception_type.append_option(cause.exception_type);
            message.append_option(cause.message);
        }
    }
    let by_name: [(&str, ArrayRef); 2] =
        [("exception_type", Arc::new(exception_type.finish())), ("message", Arc::new(message.finish()))];
    list_of("causes", &by_name, lengths.into_iter())
}

/// What holds of a stack trace; null where there is none.
fn truths(failures: &[Failure<'_>], holds: impl Fn(&StackTrace) -> bool) -> ArrayRef {
    let of = |failure: &Failure<'_>| Some(&*failure.draft.stack).filter(|stack| !stack.is_empty()).map(&holds);
    Arc::new(failures.iter().map(of).collect::<BooleanArray>())
}

fn flags(failures: &[Failure<'_>]) -> Result<ArrayRef, FailureError> {
    let names = MapFieldNames { entry: "entries".to_owned(), key: "keys".to_owned(), value: "values".to_owned() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for failure in failures {
        for (key, variant) in &failure.flags {
            map.keys().append_value(key);
            map.values().append_value(variant);
        }
        map.append(!failure.flags.is_empty())?;
    }
    Ok(Arc::new(map.finish()))
}
