//! Builds rows of `traces`, in lake schema.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, ListArray, ListBuilder, MapBuilder, MapFieldNames,
    RecordBatch, StringBuilder, StructArray, TimestampNanosecondBuilder, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use tracerag_schemas::Table;
use tracerag_schemas::ids::push_hex;

use super::builds::BuildInEffect;
use super::flags::FlagInEffect;
use super::summary::Summary;
use crate::error::{Error, Result};
use crate::window::flushed::Closed;

/// What stands in one row beside the summary.
pub(crate) struct TraceFacts<'a> {
    pub closed: &'a Closed,
    pub revision: i32,
    pub logs: i64,
    /// Failures of the stored revisions; `None` without any.
    pub failures: Option<i64>,
    pub sampled_by: Option<&'a str>,
}

/// Columns of `traces` under construction, without the two lists of what was in effect.
#[derive(Default)]
pub(crate) struct TraceRows {
    tenant: StringBuilder,
    trace_id: StringBuilder,
    revision: Int32Builder,
    root_span_id: StringBuilder,
    root_name: StringBuilder,
    root_service: StringBuilder,
    services: Option<ListBuilder<StringBuilder>>,
    path: StringBuilder,
    environment: StringBuilder,
    start: TimestampNanosecondBuilder,
    end: TimestampNanosecondBuilder,
    duration: Int64Builder,
    status: StringBuilder,
    spans: Int64Builder,
    errors: Int64Builder,
    logs: Int64Builder,
    failures: Int64Builder,
    closed_at: TimestampNanosecondBuilder,
    reason: StringBuilder,
    complete: BooleanBuilder,
    reasons: Option<ListBuilder<StringBuilder>>,
    sampled_by: StringBuilder,
}

/// Lower-case hex of an id.
pub(crate) fn hex(id: &[u8]) -> String {
    let mut text = String::with_capacity(id.len() * 2);
    push_hex(id, &mut text);
    text
}

impl TraceRows {
    pub(crate) fn push(&mut self, summary: &Summary<'_>, facts: &TraceFacts<'_>) {
        let closed = facts.closed;
        self.tenant.append_value(&*closed.tenant);
        self.trace_id.append_value(hex(&closed.trace_id));
        self.revision.append_value(facts.revision);
        self.root_span_id.append_option(summary.root.and_then(|root| root.span_id).map(|id| hex(&id)));
        self.root_name.append_option(summary.root.and_then(|root| root.name));
        self.root_service.append_option(summary.root.and_then(|root| root.service));
        self.services.get_or_insert_default().append_value(summary.services.iter().map(|service| Some(*service)));
        self.path.append_option(summary.path.as_deref());
        self.environment.append_option(summary.environment);
        self.start.append_option(summary.start);
        self.end.append_option(summary.end);
        self.duration.append_option(summary.start.zip(summary.end).map(|(start, end)| end.saturating_sub(start)));
        self.status.append_option(summary.status);
        self.spans.append_value(summary.spans);
        self.errors.append_value(summary.errors);
        self.logs.append_value(facts.logs);
        self.failures.append_option(facts.failures);
        self.closed_at.append_value(closed.closed_at);
        self.reason.append_value(closed.reason.text());
        self.complete.append_value(summary.reasons.is_empty());
        self.reasons.get_or_insert_default().append_value(summary.reasons.iter().map(|reason| Some(*reason)));
        self.sampled_by.append_option(facts.sampled_by);
    }

    /// The batch. `flags` and `builds` are lists with one entry a row, in the schema's types.
    pub(crate) fn finish(mut self, flags: ArrayRef, builds: ArrayRef) -> Result<RecordBatch> {
        let closed_at = self.closed_at.finish().with_timezone("UTC");
        let rows = closed_at.len();
        let ingested_at = Arc::new(closed_at.clone());
        let named: Vec<(&str, ArrayRef)> = vec![
            ("tenant_id", Arc::new(self.tenant.finish())),
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("revision", Arc::new(self.revision.finish())),
            ("root_span_id", Arc::new(self.root_span_id.finish())),
            ("root_name", Arc::new(self.root_name.finish())),
            ("root_service_name", Arc::new(self.root_service.finish())),
            ("services", Arc::new(self.services.unwrap_or_default().finish())),
            ("service_path", Arc::new(self.path.finish())),
            ("deployment_environment_name", Arc::new(self.environment.finish())),
            ("start_time", Arc::new(self.start.finish().with_timezone("UTC"))),
            ("end_time", Arc::new(self.end.finish().with_timezone("UTC"))),
            ("duration_ns", Arc::new(self.duration.finish())),
            ("status", Arc::new(self.status.finish())),
            ("span_count", Arc::new(self.spans.finish())),
            ("error_span_count", Arc::new(self.errors.finish())),
            ("log_count", Arc::new(self.logs.finish())),
            ("failure_count", Arc::new(self.failures.finish())),
            ("closed_at", Arc::new(closed_at)),
            ("close_reason", Arc::new(self.reason.finish())),
            ("complete", Arc::new(self.complete.finish())),
            ("incomplete_reasons", Arc::new(self.reasons.unwrap_or_default().finish())),
            ("flags_in_effect", flags),
            ("builds_in_effect", builds),
            ("sampled_by", Arc::new(self.sampled_by.finish())),
            ("ingested_at", ingested_at),
        ];
        rows_of(Table::Traces, named, rows)
    }
}

/// A batch of a table from some of its columns; the others are null.
pub(crate) fn rows_of(table: Table, named: Vec<(&str, ArrayRef)>, rows: usize) -> Result<RecordBatch> {
    let schema = table.lake_schema();
    let mut columns: Vec<Option<ArrayRef>> = vec![None; schema.fields().len()];
    for (name, column) in named {
        columns[schema.index_of(name)?] = Some(column);
    }
    let filled = columns.into_iter().zip(schema.fields());
    let columns = filled.map(|(column, field)| column.unwrap_or_else(|| new_null_array(field.data_type(), rows)));
    let columns: Vec<ArrayRef> = columns.collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The item field of a list column of `traces`, and the fields of its structs.
fn items(column: &str) -> Result<(Arc<Field>, Fields)> {
    let wrong = || Error::Column { name: column.to_owned(), wanted: "a list of structs" };
    let schema = Table::Traces.lake_schema();
    let DataType::List(item) = schema.field_with_name(column)?.data_type() else { return Err(wrong()) };
    let DataType::Struct(fields) = item.data_type() else { return Err(wrong()) };
    Ok((Arc::clone(item), fields.clone()))
}

/// A list column of `traces` from the columns of its entries.
fn lists(column: &str, lengths: &[usize], entries: Vec<(&str, ArrayRef)>) -> Result<ArrayRef> {
    let (item, fields) = items(column)?;
    let mut columns = Vec::with_capacity(fields.len());
    for field in &fields {
        let found = entries.iter().find(|(name, _)| name == field.name()).map(|(_, column)| Arc::clone(column));
        columns.push(found.ok_or_else(|| Error::Column { name: field.name().clone(), wanted: "known to the window" })?);
    }
    let entries = StructArray::try_new(fields, columns, None)?;
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(entries), None)?))
}

fn texts<'a>(entries: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut column = StringBuilder::new();
    entries.for_each(|text| column.append_option(text));
    Arc::new(column.finish())
}

fn candidates<'a>(entries: impl Iterator<Item = &'a Vec<String>>) -> ArrayRef {
    let mut column = ListBuilder::new(StringBuilder::new());
    for entry in entries {
        let present = !entry.is_empty();
        if present {
            entry.iter().for_each(|candidate| column.values().append_value(candidate));
        }
        column.append(present);
    }
    Arc::new(column.finish())
}

/// The column `flags_in_effect`: entries of all rows, and how many each row has.
pub(crate) fn flag_lists(lengths: &[usize], entries: &[Arc<FlagInEffect>]) -> Result<ArrayRef> {
    let mut since = TimestampNanosecondBuilder::with_capacity(entries.len());
    entries.iter().for_each(|entry| since.append_option(entry.since));
    let span_ids: Vec<Option<String>> = entries.iter().map(|entry| entry.span_id.map(|id| hex(&id))).collect();
    let named: Vec<(&str, ArrayRef)> = vec![
        ("kind", texts(entries.iter().map(|entry| Some(&*entry.kind)))),
        ("key", texts(entries.iter().map(|entry| Some(&*entry.key)))),
        ("variant", texts(entries.iter().map(|entry| entry.variant.as_deref()))),
        ("value", texts(entries.iter().map(|entry| entry.value.as_deref()))),
        ("service", texts(entries.iter().map(|entry| entry.service.as_deref()))),
        ("instance", texts(entries.iter().map(|entry| entry.instance.as_deref()))),
        ("environment", texts(entries.iter().map(|entry| entry.environment.as_deref()))),
        ("since", Arc::new(since.finish().with_timezone("UTC"))),
        ("match", texts(entries.iter().map(|entry| Some(entry.matched.text())))),
        ("span_id", texts(span_ids.iter().map(|id| id.as_deref()))),
        ("candidates", candidates(entries.iter().map(|entry| &entry.candidates))),
    ];
    lists("flags_in_effect", lengths, named)
}

/// The column `builds_in_effect`: entries of all rows, and how many each row has.
pub(crate) fn build_lists(lengths: &[usize], entries: &[Arc<BuildInEffect>]) -> Result<ArrayRef> {
    let deployed = |entry: &Arc<BuildInEffect>| entry.deployment.clone();
    let builds: Vec<_> = entries.iter().map(deployed).collect();
    let build = |index: usize| builds[index].as_ref().and_then(|change| change.value.as_ref());
    let all = || 0..entries.len();
    let mut deployed_at = TimestampNanosecondBuilder::with_capacity(entries.len());
    builds.iter().for_each(|change| deployed_at.append_option(change.as_ref().map(|change| change.at)));
    let names = MapFieldNames { entry: "entries".into(), key: "keys".into(), value: "values".into() };
    let mut lockfiles = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    let mut migrations = ListBuilder::new(StringBuilder::new());
    for index in all() {
        let files = build(index).and_then(|build| build.lockfile_digests.as_ref());
        for (file, digest) in files.into_iter().flatten() {
            lockfiles.keys().append_value(file);
            lockfiles.values().append_option(digest.as_deref());
        }
        lockfiles.append(files.is_some())?;
        let known = build(index).and_then(|build| build.schema_migrations.as_ref());
        known.into_iter().flatten().for_each(|name| migrations.values().append_option(name.as_deref()));
        migrations.append(known.is_some());
    }
    let named: Vec<(&str, ArrayRef)> = vec![
        ("service", texts(entries.iter().map(|entry| entry.service.as_deref()))),
        ("instance", texts(entries.iter().map(|entry| entry.instance.as_deref()))),
        ("environment", texts(entries.iter().map(|entry| entry.environment.as_deref()))),
        ("version", texts(entries.iter().map(|entry| entry.version.as_deref()))),
        ("git_sha", texts(entries.iter().map(|entry| entry.git_sha.as_deref()))),
        ("build_number", texts(all().map(|index| build(index).and_then(|build| build.build_number.as_deref())))),
        ("artifact", texts(all().map(|index| build(index).and_then(|build| build.artifact.as_deref())))),
        ("lockfile_digests", Arc::new(lockfiles.finish())),
        ("schema_migrations", Arc::new(migrations.finish())),
        ("deployed_at", Arc::new(deployed_at.finish().with_timezone("UTC"))),
        ("match", texts(entries.iter().map(|entry| Some(entry.matched.text())))),
        ("candidates", candidates(entries.iter().map(|entry| &entry.candidates))),
    ];
    lists("builds_in_effect", lengths, named)
}
