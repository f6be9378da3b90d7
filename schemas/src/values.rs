//! Enumerations of OTLP as the text that the lake stores: upper case, without OTLP's prefix.

/// `Span.SpanKind` by number.
pub const SPAN_KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
/// `Status.StatusCode` by number.
pub const STATUS_CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];
/// `AggregationTemporality` by number.
pub const TEMPORALITIES: [&str; 3] = ["UNSPECIFIED", "DELTA", "CUMULATIVE"];
/// Metric data kinds.
pub const METRIC_KINDS: [&str; 5] = ["GAUGE", "SUM", "HISTOGRAM", "EXPONENTIAL_HISTOGRAM", "SUMMARY"];

/// The name of a severity number's range: 17-20 is `ERROR`; 0 and what lies outside 1-24 have none.
pub fn severity_name(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let index = usize::try_from(number - 1).ok()? / 4;
    NAMES.get(index).copied()
}

/// The lowest severity number of `ERROR`.
pub const SEVERITY_ERROR: i32 = 17;
