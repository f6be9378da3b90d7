//! The messages of OTLP as tables: JSON name, field number and type of each field
//! (opentelemetry-proto 1.11.0, `opentelemetry/proto/*/v1/*.proto`).

/// A message.
pub(super) struct MessageType {
    pub(super) name: &'static str,
    pub(super) fields: &'static [FieldType],
}

/// A field of a message.
pub(super) struct FieldType {
    pub(super) json: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) is_repeated: bool,
    /// Whether a default value is written: members of a oneof and optional fields.
    pub(super) is_explicit: bool,
}

/// The type of a field.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// `trace_id` and the like: hex in JSON, unlike other bytes.
    Id,
    Bytes,
    Bool,
    Uint32,
    Sint32,
    Int64,
    Uint64,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    /// An enumeration and what its names begin with.
    Enum(&'static [&'static str]),
    Message(&'static MessageType),
}

const fn one(json: &'static str, number: u32, kind: Kind) -> FieldType {
    FieldType { json, number, kind, is_repeated: false, is_explicit: false }
}

const fn explicit(json: &'static str, number: u32, kind: Kind) -> FieldType {
    FieldType { json, number, kind, is_repeated: false, is_explicit: true }
}

const fn many(json: &'static str, number: u32, kind: Kind) -> FieldType {
    FieldType { json, number, kind, is_repeated: true, is_explicit: true }
}

macro_rules! message {
    ($name:ident, $text:literal, [$($field:expr),* $(,)?]) => {
        pub(super) static $name: MessageType = MessageType { name: $text, fields: &[$($field),*] };
    };
}

const SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
const TEMPORALITIES: &[&str] =
    &["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];
const SEVERITIES: &[&str] = &[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];

message!(
    ANY_VALUE,
    "AnyValue",
    [
        explicit("stringValue", 1, Kind::Text),
        explicit("boolValue", 2, Kind::Bool),
        explicit("intValue", 3, Kind::Int64),
        explicit("doubleValue", 4, Kind::Double),
        explicit("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        explicit("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        explicit("bytesValue", 7, Kind::Bytes),
    ]
);
message!(ARRAY_VALUE, "ArrayValue", [many("values", 1, Kind::Message(&ANY_VALUE))]);
message!(KEY_VALUE_LIST, "KeyValueList", [many("values", 1, Kind::Message(&KEY_VALUE))]);
message!(KEY_VALUE, "KeyValue", [one("key", 1, Kind::Text), one("value", 2, Kind::Message(&ANY_VALUE))]);
message!(
    SCOPE,
    "InstrumentationScope",
    [
        one("name", 1, Kind::Text),
        one("version", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ]
);
message!(
    ENTITY_REF,
    "EntityRef",
    [
        one("schemaUrl", 1, Kind::Text),
        one("type", 2, Kind::Text),
        many("idKeys", 3, Kind::Text),
        many("descriptionKeys", 4, Kind::Text),
    ]
);
message!(
    RESOURCE,
    "Resource",
    [
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Kind::Uint32),
        many("entityRefs", 3, Kind::Message(&ENTITY_REF)),
    ]
);

message!(TRACES, "ExportTraceServiceRequest", [many("resourceSpans", 1, Kind::Message(&RESOURCE_SPANS))]);
message!(
    RESOURCE_SPANS,
    "ResourceSpans",
    [
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeSpans", 2, Kind::Message(&SCOPE_SPANS)),
        one("schemaUrl", 3, Kind::Text),
    ]
);
message!(
    SCOPE_SPANS,
    "ScopeSpans",
    [one("scope", 1, Kind::Message(&SCOPE)), many("spans", 2, Kind::Message(&SPAN)), one("schemaUrl", 3, Kind::Text),]
);
message!(
    SPAN,
    "Span",
    [
        one("traceId", 1, Kind::Id),
        one("spanId", 2, Kind::Id),
        one("traceState", 3, Kind::Text),
        one("parentSpanId", 4, Kind::Id),
        one("name", 5, Kind::Text),
        one("kind", 6, Kind::Enum(SPAN_KINDS)),
        one("startTimeUnixNano", 7, Kind::Fixed64),
        one("endTimeUnixNano", 8, Kind::Fixed64),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Kind::Uint32),
        many("events", 11, Kind::Message(&EVENT)),
        one("droppedEventsCount", 12, Kind::Uint32),
        many("links", 13, Kind::Message(&LINK)),
        one("droppedLinksCount", 14, Kind::Uint32),
        one("status", 15, Kind::Message(&STATUS)),
        one("flags", 16, Kind::Fixed32),
    ]
);
message!(
    EVENT,
    "Span.Event",
    [
        one("timeUnixNano", 1, Kind::Fixed64),
        one("name", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ]
);
message!(
    LINK,
    "Span.Link",
    [
        one("traceId", 1, Kind::Id),
        one("spanId", 2, Kind::Id),
        one("traceState", 3, Kind::Text),
        many("attributes", 4, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Kind::Uint32),
        one("flags", 6, Kind::Fixed32),
    ]
);
message!(STATUS, "Status", [one("message", 2, Kind::Text), one("code", 3, Kind::Enum(STATUS_CODES))]);

message!(LOGS, "ExportLogsServiceRequest", [many("resourceLogs", 1, Kind::Message(&RESOURCE_LOGS))]);
message!(
    RESOURCE_LOGS,
    "ResourceLogs",
    [
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeLogs", 2, Kind::Message(&SCOPE_LOGS)),
        one("schemaUrl", 3, Kind::Text),
    ]
);
message!(
    SCOPE_LOGS,
    "ScopeLogs",
    [
        one("scope", 1, Kind::Message(&SCOPE)),
        many("logRecords", 2, Kind::Message(&LOG_RECORD)),
        one("schemaUrl", 3, Kind::Text),
    ]
);
message!(
    LOG_RECORD,
    "LogRecord",
    [
        one("timeUnixNano", 1, Kind::Fixed64),
        one("severityNumber", 2, Kind::Enum(SEVERITIES)),
        one("severityText", 3, Kind::Text),
        one("body", 5, Kind::Message(&ANY_VALUE)),
        many("attributes", 6, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 7, Kind::Uint32),
        one("flags", 8, Kind::Fixed32),
        one("traceId", 9, Kind::Id),
        one("spanId", 10, Kind::Id),
        one("observedTimeUnixNano", 11, Kind::Fixed64),
        one("eventName", 12, Kind::Text),
    ]
);

message!(METRICS, "ExportMetricsServiceRequest", [many("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))]);
message!(
    RESOURCE_METRICS,
    "ResourceMetrics",
    [
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
        one("schemaUrl", 3, Kind::Text),
    ]
);
message!(
    SCOPE_METRICS,
    "ScopeMetrics",
    [
        one("scope", 1, Kind::Message(&SCOPE)),
        many("metrics", 2, Kind::Message(&METRIC)),
        one("schemaUrl", 3, Kind::Text),
    ]
);
message!(
    METRIC,
    "Metric",
    [
        one("name", 1, Kind::Text),
        one("description", 2, Kind::Text),
        one("unit", 3, Kind::Text),
        explicit("gauge", 5, Kind::Message(&GAUGE)),
        explicit("sum", 7, Kind::Message(&SUM)),
        explicit("histogram", 9, Kind::Message(&HISTOGRAM)),
        explicit("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        explicit("summary", 11, Kind::Message(&SUMMARY)),
        many("metadata", 12, Kind::Message(&KEY_VALUE)),
    ]
);
message!(GAUGE, "Gauge", [many("dataPoints", 1, Kind::Message(&NUMBER_POINT))]);
message!(
    SUM,
    "Sum",
    [
        many("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
        one("aggregationTemporality", 2, Kind::Enum(TEMPORALITIES)),
        one("isMonotonic", 3, Kind::Bool),
    ]
);
message!(
    HISTOGRAM,
    "Histogram",
    [
        many("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)),
        one("aggregationTemporality", 2, Kind::Enum(TEMPORALITIES)),
    ]
);
message!(
    EXPONENTIAL_HISTOGRAM,
    "ExponentialHistogram",
    [
        many("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)),
        one("aggregationTemporality", 2, Kind::Enum(TEMPORALITIES)),
    ]
);
message!(SUMMARY, "Summary", [many("dataPoints", 1, Kind::Message(&SUMMARY_POINT))]);
message!(
    NUMBER_POINT,
    "NumberDataPoint",
    [
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        explicit("asDouble", 4, Kind::Double),
        many("exemplars", 5, Kind::Message(&EXEMPLAR)),
        explicit("asInt", 6, Kind::Sfixed64),
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("flags", 8, Kind::Uint32),
    ]
);
message!(
    HISTOGRAM_POINT,
    "HistogramDataPoint",
    [
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        explicit("sum", 5, Kind::Double),
        many("bucketCounts", 6, Kind::Fixed64),
        many("explicitBounds", 7, Kind::Double),
        many("exemplars", 8, Kind::Message(&EXEMPLAR)),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("flags", 10, Kind::Uint32),
        explicit("min", 11, Kind::Double),
        explicit("max", 12, Kind::Double),
    ]
);
message!(
    EXPONENTIAL_POINT,
    "ExponentialHistogramDataPoint",
    [
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        explicit("sum", 5, Kind::Double),
        one("scale", 6, Kind::Sint32),
        one("zeroCount", 7, Kind::Fixed64),
        one("positive", 8, Kind::Message(&BUCKETS)),
        one("negative", 9, Kind::Message(&BUCKETS)),
        one("flags", 10, Kind::Uint32),
        many("exemplars", 11, Kind::Message(&EXEMPLAR)),
        explicit("min", 12, Kind::Double),
        explicit("max", 13, Kind::Double),
        one("zeroThreshold", 14, Kind::Double),
    ]
);
message!(BUCKETS, "Buckets", [one("offset", 1, Kind::Sint32), many("bucketCounts", 2, Kind::Uint64)]);
message!(
    SUMMARY_POINT,
    "SummaryDataPoint",
    [
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("quantileValues", 6, Kind::Message(&QUANTILE)),
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("flags", 8, Kind::Uint32),
    ]
);
message!(QUANTILE, "ValueAtQuantile", [one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)]);
message!(
    EXEMPLAR,
    "Exemplar",
    [
        one("timeUnixNano", 2, Kind::Fixed64),
        explicit("asDouble", 3, Kind::Double),
        one("spanId", 4, Kind::Id),
        one("traceId", 5, Kind::Id),
        explicit("asInt", 6, Kind::Sfixed64),
        many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
    ]
);
