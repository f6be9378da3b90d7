//! Typed access to the columns of the batches that failures are found in. Everything borrows from
//! the batches; a row is an index.

use arrow::array::{
    Array, AsArray, Int32Array, Int64Array, ListArray, MapArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType};

use super::FailureError;

pub(super) type Times = PrimitiveArray<TimestampNanosecondType>;

/// A batch and its table's name, for errors.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub batch: &'a RecordBatch,
    pub table: &'static str,
}

impl<'a> Source<'a> {
    pub(super) fn find<T: ?Sized>(
        self,
        column: &'static str,
        cast: impl FnOnce(&'a dyn Array) -> Option<&'a T>,
    ) -> Result<&'a T, FailureError> {
        self.batch
            .column_by_name(column)
            .and_then(|array| cast(array.as_ref()))
            .ok_or(FailureError::Column { table: self.table, column })
    }

    pub(super) fn text(self, column: &'static str) -> Result<&'a StringArray, FailureError> {
        self.find(column, |array| array.as_string_opt::<i32>())
    }

    pub(super) fn primitive<T: ArrowPrimitiveType>(
        self,
        column: &'static str,
    ) -> Result<&'a PrimitiveArray<T>, FailureError> {
        self.find(column, |array| array.as_primitive_opt::<T>())
    }

    fn map(self, column: &'static str) -> Result<Attributes<'a>, FailureError> {
        let map = self.find(column, |array| array.as_map_opt())?;
        Attributes::new(map).ok_or(FailureError::Column { table: self.table, column })
    }
}

/// The text at `row`; null and empty are both nothing.
pub(super) fn text(column: &StringArray, row: usize) -> Option<&str> {
    (column.is_valid(row) && column.value_length(row) > 0).then(|| column.value(row))
}

pub(super) fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}

/// A column of attribute maps.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a> {
    offsets: &'a [i32],
    keys: &'a StringArray,
    values: &'a StringArray,
}

impl<'a> Attributes<'a> {
    fn new(map: &'a MapArray) -> Option<Self> {
        let keys = map.keys().as_string_opt::<i32>()?;
        let values = map.values().as_string_opt::<i32>()?;
        Some(Attributes { offsets: map.value_offsets(), keys, values })
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        offset(self.offsets, row)..offset(self.offsets, row + 1)
    }

    /// The value of `key` at `row`; an empty one counts as absent.
    pub(super) fn get(&self, row: usize, key: &str) -> Option<&'a str> {
        let entry = self.range(row).find(|&entry| self.keys.value(entry) == key)?;
        text(self.values, entry)
    }

    /// Calls `found` with each row that has a key beginning with `prefix`.
    pub(super) fn rows_with_prefix(&self, prefix: &str, mut found: impl FnMut(usize)) {
        let rows = self.offsets.len().saturating_sub(1);
        for row in 0..rows {
            if self.range(row).any(|entry| self.keys.value(entry).starts_with(prefix)) {
                found(row);
            }
        }
    }
}

pub(super) fn offset(offsets: &[i32], at: usize) -> usize {
    usize::try_from(offsets[at]).unwrap_or_default()
}

/// Where a row came from.
pub(super) struct Origin<'a> {
    pub topic: &'a StringArray,
    pub partition: &'a Int32Array,
    pub offset: &'a Int64Array,
    pub ingested_at: &'a Times,
}

impl<'a> Origin<'a> {
    fn new(source: Source<'a>) -> Result<Self, FailureError> {
        Ok(Origin {
            topic: source.text("kafka_topic")?,
            partition: source.primitive::<Int32Type>("kafka_partition")?,
            offset: source.primitive::<Int64Type>("kafka_offset")?,
            ingested_at: source.primitive("ingested_at")?,
        })
    }
}

/// The events of spans.
pub(super) struct Events<'a> {
    offsets: &'a [i32],
    pub time: &'a Times,
    pub name: &'a StringArray,
    pub attributes: Attributes<'a>,
}

impl<'a> Events<'a> {
    fn new(list: &'a ListArray) -> Option<Self> {
        let fields = list.values().as_struct_opt()?;
        Some(Events {
            offsets: list.value_offsets(),
            time: fields.column_by_name("time")?.as_primitive_opt()?,
            name: fields.column_by_name("name")?.as_string_opt()?,
            attributes: Attributes::new(fields.column_by_name("attributes")?.as_map_opt()?)?,
        })
    }

    /// The positions of a span's events.
    pub(super) fn of(&self, row: usize) -> std::ops::Range<usize> {
        offset(self.offsets, row)..offset(self.offsets, row + 1)
    }
}

/// The links of spans.
pub(super) struct Links<'a> {
    offsets: &'a [i32],
    trace_id: &'a StringArray,
    span_id: &'a StringArray,
}

impl<'a> Links<'a> {
    fn new(list: &'a ListArray) -> Option<Self> {
        let fields = list.values().as_struct_opt()?;
        Some(Links {
            offsets: list.value_offsets(),
            trace_id: fields.column_by_name("trace_id")?.as_string_opt()?,
            span_id: fields.column_by_name("span_id")?.as_string_opt()?,
        })
    }

    /// The ids of the spans of one trace that a span links to.
    pub(super) fn within(&self, row: usize, trace_id: &str) -> impl Iterator<Item = &'a str> {
        let links = offset(self.offsets, row)..offset(self.offsets, row + 1);
        links
            .filter(move |link| text(self.trace_id, *link) == Some(trace_id))
            .filter_map(move |link| text(self.span_id, link))
    }
}

/// The columns of `spans` that tell whether something failed.
pub(super) struct SpanSigns<'a> {
    pub rows: usize,
    pub kind: &'a StringArray,
    pub status_code: &'a StringArray,
    pub http_status: &'a Int32Array,
    pub rpc_status: &'a StringArray,
    pub attributes: Attributes<'a>,
    pub events: Events<'a>,
}

impl<'a> SpanSigns<'a> {
    /// Their names.
    pub(super) const COLUMNS: [&'static str; 6] =
        ["kind", "status_code", "http_response_status_code", "rpc_status_code", "attributes", "events"];

    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, FailureError> {
        let source = Source { batch, table: "spans" };
        let events = source.find("events", |array| array.as_list_opt::<i32>())?;
        Ok(SpanSigns {
            rows: batch.num_rows(),
            kind: source.text("kind")?,
            status_code: source.text("status_code")?,
            http_status: source.primitive("http_response_status_code")?,
            rpc_status: source.text("rpc_status_code")?,
            attributes: source.map("attributes")?,
            events: Events::new(events).ok_or(FailureError::Column { table: "spans", column: "events" })?,
        })
    }
}

/// The columns of `spans` that take part.
pub(super) struct Spans<'a> {
    pub rows: usize,
    pub signs: SpanSigns<'a>,
    pub tenant_id: &'a StringArray,
    pub trace_id: &'a StringArray,
    pub span_id: &'a StringArray,
    pub parent_span_id: &'a StringArray,
    pub revision: &'a Int32Array,
    pub name: &'a StringArray,
    pub service_name: &'a StringArray,
    pub service_version: &'a StringArray,
    pub service_instance: &'a StringArray,
    pub environment: &'a StringArray,
    pub start_time: &'a Times,
    pub end_time: &'a Times,
    pub status_message: &'a StringArray,
    pub error_type: &'a StringArray,
    pub links: Links<'a>,
    pub build_git_sha: &'a StringArray,
    pub origin: Origin<'a>,
}

impl<'a> Spans<'a> {
    /// Their names.
    pub(super) const COLUMNS: [&'static str; 26] = [
        "tenant_id",
        "trace_id",
        "span_id",
        "parent_span_id",
        "revision",
        "name",
        "kind",
        "service_name",
        "service_version",
        "service_instance_id",
        "deployment_environment_name",
        "start_time",
        "end_time",
        "status_code",
        "status_message",
        "error_type",
        "http_response_status_code",
        "rpc_status_code",
        "attributes",
        "events",
        "links",
        "build_git_sha",
        "kafka_topic",
        "kafka_partition",
        "kafka_offset",
        "ingested_at",
    ];

    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, FailureError> {
        let source = Source { batch, table: "spans" };
        Ok(Spans {
            rows: batch.num_rows(),
            signs: SpanSigns::new(batch)?,
            tenant_id: source.text("tenant_id")?,
            trace_id: source.text("trace_id")?,
            span_id: source.text("span_id")?,
            parent_span_id: source.text("parent_span_id")?,
            revision: source.primitive("revision")?,
            name: source.text("name")?,
            service_name: source.text("service_name")?,
            service_version: source.text("service_version")?,
            service_instance: source.text("service_instance_id")?,
            environment: source.text("deployment_environment_name")?,
            start_time: source.primitive("start_time")?,
            end_time: source.primitive("end_time")?,
            status_message: source.text("status_message")?,
            error_type: source.text("error_type")?,
            links: Links::new(source.find("links", |array| array.as_list_opt::<i32>())?)
                .ok_or(FailureError::Column { table: "spans", column: "links" })?,
            build_git_sha: source.text("build_git_sha")?,
            origin: Origin::new(source)?,
        })
    }
}

/// The columns of `logs` that tell whether something failed.
pub(super) struct LogSigns<'a> {
    pub rows: usize,
    pub severity_number: &'a Int32Array,
    pub severity_text: &'a StringArray,
    pub event_name: &'a StringArray,
    pub attributes: Attributes<'a>,
}

impl<'a> LogSigns<'a> {
    /// Their names.
    pub(super) const COLUMNS: [&'static str; 4] = ["severity_number", "severity_text", "event_name", "attributes"];

    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, FailureError> {
        let source = Source { batch, table: "logs" };
        Ok(LogSigns {
            rows: batch.num_rows(),
            severity_number: source.primitive("severity_number")?,
            severity_text: source.text("severity_text")?,
            event_name: source.text("event_name")?,
            attributes: source.map("attributes")?,
        })
    }
}

/// The columns of `logs` that take part.
pub(super) struct Logs<'a> {
    pub signs: LogSigns<'a>,
    pub tenant_id: &'a StringArray,
    pub time: &'a Times,
    pub observed_time: &'a Times,
    pub trace_id: &'a StringArray,
    pub span_id: &'a StringArray,
    pub revision: &'a Int32Array,
    pub body: &'a StringArray,
    pub service_name: &'a StringArray,
    pub service_version: &'a StringArray,
    pub service_instance: &'a StringArray,
    pub environment: &'a StringArray,
    pub resource_attributes: Attributes<'a>,
    pub origin: Origin<'a>,
}

impl<'a> Logs<'a> {
    /// Their names.
    pub(super) const COLUMNS: [&'static str; 20] = [
        "tenant_id",
        "time",
        "observed_time",
        "trace_id",
        "span_id",
        "revision",
        "severity_number",
        "severity_text",
        "body",
        "event_name",
        "service_name",
        "service_version",
        "service_instance_id",
        "deployment_environment_name",
        "attributes",
        "resource_attributes",
        "kafka_topic",
        "kafka_partition",
        "kafka_offset",
        "ingested_at",
    ];

    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, FailureError> {
        let source = Source { batch, table: "logs" };
        Ok(Logs {
            signs: LogSigns::new(batch)?,
            tenant_id: source.text("tenant_id")?,
            time: source.primitive("time")?,
            observed_time: source.primitive("observed_time")?,
            trace_id: source.text("trace_id")?,
            span_id: source.text("span_id")?,
            revision: source.primitive("revision")?,
            body: source.text("body")?,
            service_name: source.text("service_name")?,
            service_version: source.text("service_version")?,
            service_instance: source.text("service_instance_id")?,
            environment: source.text("deployment_environment_name")?,
            resource_attributes: source.map("resource_attributes")?,
            origin: Origin::new(source)?,
        })
    }
}

/// The flags and builds that were in effect in each trace.
pub(super) struct Traces<'a> {
    pub rows: usize,
    pub tenant_id: &'a StringArray,
    pub trace_id: &'a StringArray,
    pub revision: &'a Int32Array,
    flags: InEffect<'a>,
    builds: InEffect<'a>,
}

/// A list column of structs, its text fields by name.
struct InEffect<'a> {
    offsets: &'a [i32],
    fields: Vec<&'a StringArray>,
}

impl<'a> InEffect<'a> {
    fn new(source: Source<'a>, column: &'static str, names: &[&str]) -> Result<Self, FailureError> {
        let missing = || FailureError::Column { table: source.table, column };
        let list = source.find(column, |array| array.as_list_opt::<i32>())?;
        let structs = list.values().as_struct_opt().ok_or_else(missing)?;
        let fields = names
            .iter()
            .map(|name| structs.column_by_name(name).and_then(|array| array.as_string_opt::<i32>()).ok_or_else(missing))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(InEffect { offsets: list.value_offsets(), fields })
    }

    fn entries<const N: usize>(&self, row: usize) -> impl Iterator<Item = [Option<&'a str>; N]> {
        (offset(self.offsets, row)..offset(self.offsets, row + 1))
            .map(|entry| std::array::from_fn(|field| self.fields.get(field).and_then(|column| text(column, entry))))
    }
}

impl<'a> Traces<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, FailureError> {
        let source = Source { batch, table: "traces" };
        Ok(Traces {
            rows: batch.num_rows(),
            tenant_id: source.text("tenant_id")?,
            trace_id: source.text("trace_id")?,
            revision: source.primitive("revision")?,
            flags: InEffect::new(source, "flags_in_effect", &["kind", "key", "variant", "value", "service"])?,
            builds: InEffect::new(source, "builds_in_effect", &["service", "version", "git_sha"])?,
        })
    }

    /// Keys and variants (else values) of the flags in effect for `service`, by key; an entry that
    /// names the service wins over one for all.
    pub(super) fn flags(&self, row: usize, service: &str) -> Vec<(&'a str, &'a str)> {
        let mut found: Vec<(&str, &str, bool)> = Vec::new();
        for [kind, key, variant, value, of] in self.flags.entries::<5>(row) {
            let (Some(key), Some(variant)) = (key, variant.or(value)) else {
                continue;
            };
            if kind == Some("config") || of.is_some_and(|of| of != service) {
                continue;
            }
            match found.iter_mut().find(|entry| entry.0 == key) {
                Some(entry) if !entry.2 && of.is_some() => *entry = (key, variant, true),
                Some(_) => {}
                None => found.push((key, variant, of.is_some())),
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(key, variant, _)| (key, variant)).collect()
    }

    /// Version and commit of the build of `service`, if one only was in effect.
    pub(super) fn build(&self, row: usize, service: &str) -> (Option<&'a str>, Option<&'a str>) {
        let mut builds = self.builds.entries::<3>(row).filter(|[of, ..]| *of == Some(service));
        match (builds.next(), builds.next()) {
            (Some([_, version, git_sha]), None) => (version, git_sha),
            _ => (None, None),
        }
    }
}
