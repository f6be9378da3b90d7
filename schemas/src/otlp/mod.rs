//! Rows back to OTLP: what was sent, but for what the decoder says that it drops, masks or cannot tell apart
//! (a missing resource from an empty one, a log without a time from one with the time observed).
//!
//! - **In:** rows in the schema of the lake.
//! - **Out:** messages of `opentelemetry-proto`; rows in a sequence with the same resource and scope share them.

mod fields;
mod metrics;
mod values;

use arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::values::{SPAN_KINDS, STATUS_CODES};
use fields::Fields;
pub use values::any_value;

/// Rows that are not those of the table.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A column is missing or has another type than in the lake.
    #[error("the column {0} is missing or has another type than the lake's; give rows in the schema of the lake")]
    Column(String),
    /// A text that should hold a number, an id or JSON does not.
    #[error("{text:?} in the column {column} is no {wanted}")]
    Value {
        /// The column.
        column: String,
        /// What stands there.
        text: String,
        /// What should.
        wanted: &'static str,
    },
}

/// Spans of the lake as a request.
///
/// # Errors
/// When the rows do not have the schema of `spans`.
pub fn spans_to_otlp(rows: &RecordBatch) -> Result<ExportTraceServiceRequest, EncodeError> {
    let fields = Fields::of_batch(rows);
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    for row in 0..rows.num_rows() {
        let group = Group::read(&fields, row)?;
        let span = span(&fields, row)?;
        match resource_spans.last_mut() {
            Some(last) if last.resource == group.resource && last.schema_url == group.schema_url => {
                match last.scope_spans.last_mut() {
                    Some(scope) if scope.scope == group.scope && scope.schema_url == group.scope_schema_url => {
                        scope.spans.push(span);
                    }
                    _ => last.scope_spans.push(group.scope_spans(span)),
                }
            }
            _ => {
                let (resource, schema_url) = (group.resource.clone(), group.schema_url.clone());
                resource_spans.push(ResourceSpans { resource, schema_url, scope_spans: vec![group.scope_spans(span)] });
            }
        }
    }
    Ok(ExportTraceServiceRequest { resource_spans })
}

/// Log records of the lake as a request.
///
/// # Errors
/// When the rows do not have the schema of `logs`.
pub fn logs_to_otlp(rows: &RecordBatch) -> Result<ExportLogsServiceRequest, EncodeError> {
    let fields = Fields::of_batch(rows);
    let mut resource_logs: Vec<ResourceLogs> = Vec::new();
    for row in 0..rows.num_rows() {
        let group = Group::read(&fields, row)?;
        let log = log(&fields, row)?;
        match resource_logs.last_mut() {
            Some(last) if last.resource == group.resource && last.schema_url == group.schema_url => {
                match last.scope_logs.last_mut() {
                    Some(scope) if scope.scope == group.scope && scope.schema_url == group.scope_schema_url => {
                        scope.log_records.push(log);
                    }
                    _ => last.scope_logs.push(group.scope_logs(log)),
                }
            }
            _ => {
                let (resource, schema_url) = (group.resource.clone(), group.schema_url.clone());
                resource_logs.push(ResourceLogs { resource, schema_url, scope_logs: vec![group.scope_logs(log)] });
            }
        }
    }
    Ok(ExportLogsServiceRequest { resource_logs })
}

/// Metric points of the lake as a request; each point is a metric of its own.
///
/// # Errors
/// When the rows do not have the schema of `metrics`.
pub fn metrics_to_otlp(rows: &RecordBatch) -> Result<ExportMetricsServiceRequest, EncodeError> {
    let fields = Fields::of_batch(rows);
    let mut resource_metrics = Vec::new();
    for row in 0..rows.num_rows() {
        let group = Group::read(&fields, row)?;
        let metrics = vec![metrics::metric(&fields, row)?];
        let scope_metrics = vec![ScopeMetrics { scope: group.scope, schema_url: group.scope_schema_url, metrics }];
        resource_metrics.push(ResourceMetrics {
            resource: group.resource,
            schema_url: group.schema_url,
            scope_metrics,
        });
    }
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

/// What a record belongs to.
struct Group {
    resource: Option<Resource>,
    schema_url: String,
    scope: Option<InstrumentationScope>,
    scope_schema_url: String,
}

impl Group {
    fn read(fields: &Fields<'_>, row: usize) -> Result<Self, EncodeError> {
        let entity_refs = match fields.text("resource_entity_refs", row)? {
            Some(json) => values::entity_refs(json)?,
            None => Vec::new(),
        };
        Ok(Self {
            resource: Some(Resource {
                attributes: fields.attributes("resource_attributes", row, true)?,
                dropped_attributes_count: fields.count("resource_dropped_attributes_count", row)?,
                entity_refs,
            }),
            schema_url: fields.string("schema_url", row)?,
            scope: Some(InstrumentationScope {
                name: fields.string("scope_name", row)?,
                version: fields.string("scope_version", row)?,
                attributes: fields.attributes("scope_attributes", row, false)?,
                dropped_attributes_count: fields.count("scope_dropped_attributes_count", row)?,
            }),
            scope_schema_url: fields.string("scope_schema_url", row)?,
        })
    }

    fn scope_spans(self, span: Span) -> ScopeSpans {
        ScopeSpans { scope: self.scope, schema_url: self.scope_schema_url, spans: vec![span] }
    }

    fn scope_logs(self, log: LogRecord) -> ScopeLogs {
        ScopeLogs { scope: self.scope, schema_url: self.scope_schema_url, log_records: vec![log] }
    }
}

fn span(fields: &Fields<'_>, row: usize) -> Result<Span, EncodeError> {
    let code = fields.number_of("status_code", row, &STATUS_CODES)?;
    let message = fields.string("status_message", row)?;
    let is_set = code != 0 || !message.is_empty();
    Ok(Span {
        trace_id: fields.id("trace_id", row)?,
        span_id: fields.id("span_id", row)?,
        trace_state: fields.string("trace_state", row)?,
        parent_span_id: fields.id("parent_span_id", row)?,
        flags: fields.count("flags", row)?,
        name: fields.string("name", row)?,
        kind: fields.number_of("kind", row, &SPAN_KINDS)?,
        start_time_unix_nano: fields.time("start_time", row)?,
        end_time_unix_nano: fields.time("end_time", row)?,
        attributes: fields.attributes("attributes", row, true)?,
        dropped_attributes_count: fields.count("dropped_attributes_count", row)?,
        events: fields.each("events", row, event)?,
        dropped_events_count: fields.count("dropped_events_count", row)?,
        links: fields.each("links", row, link)?,
        dropped_links_count: fields.count("dropped_links_count", row)?,
        status: is_set.then_some(Status { message, code }),
    })
}

fn event(fields: &Fields<'_>, row: usize) -> Result<Event, EncodeError> {
    Ok(Event {
        time_unix_nano: fields.time("time", row)?,
        name: fields.string("name", row)?,
        attributes: fields.attributes("attributes", row, true)?,
        dropped_attributes_count: fields.count("dropped_attributes_count", row)?,
    })
}

fn link(fields: &Fields<'_>, row: usize) -> Result<Link, EncodeError> {
    Ok(Link {
        trace_id: fields.id("trace_id", row)?,
        span_id: fields.id("span_id", row)?,
        trace_state: fields.string("trace_state", row)?,
        attributes: fields.attributes("attributes", row, true)?,
        dropped_attributes_count: fields.count("dropped_attributes_count", row)?,
        flags: fields.count("flags", row)?,
    })
}

fn log(fields: &Fields<'_>, row: usize) -> Result<LogRecord, EncodeError> {
    Ok(LogRecord {
        time_unix_nano: fields.time("time", row)?,
        observed_time_unix_nano: fields.time("observed_time", row)?,
        severity_number: fields.int32("severity_number", row)?.unwrap_or_default(),
        severity_text: fields.string("severity_text", row)?,
        body: any_value("body", fields.text("body_type", row)?, fields.text("body", row)?)?,
        attributes: fields.attributes("attributes", row, true)?,
        dropped_attributes_count: fields.count("dropped_attributes_count", row)?,
        flags: fields.count("flags", row)?,
        trace_id: fields.id("trace_id", row)?,
        span_id: fields.id("span_id", row)?,
        event_name: fields.string("event_name", row)?,
    })
}
