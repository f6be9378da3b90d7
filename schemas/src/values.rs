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

/// The least severity number that a severity text stands for, where a record states no number: the names of syslog,
/// log4j, java.util.logging, Python, .NET and others as the data model of OpenTelemetry's logs maps them, in any case.
/// Only what is `ERROR` and above is told from the rest; `None` of all other texts.
pub fn severity_of_text(text: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 18] = [
        ("ERROR", 17),
        ("ERR", 17),
        ("SEVERE", 17),
        ("ERROR2", 18),
        ("CRITICAL", 18),
        ("CRIT", 18),
        ("DPANIC", 18),
        ("ERROR3", 19),
        ("ALERT", 19),
        ("PANIC", 19),
        ("ERROR4", 20),
        ("FATAL", 21),
        ("EMERGENCY", 21),
        ("EMERG", 21),
        ("FATAL2", 22),
        ("FATAL3", 23),
        ("FATAL4", 24),
        ("FTL", 21),
    ];
    let said = text.trim();
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(said)).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Common names of errors in any case stand for a number at or above `ERROR`'s, in the range of their name where it
    /// is one of OpenTelemetry's; lower levels and prose stand for none.
    #[test]
    fn severity_texts_stand_for_numbers() {
        for (said, range) in [
            ("ERROR", "ERROR"),
            ("error", "ERROR"),
            (" Err ", "ERROR"),
            ("SEVERE", "ERROR"),
            ("Critical", "ERROR"),
            ("alert", "ERROR"),
            ("ERROR4", "ERROR"),
            ("FATAL", "FATAL"),
            ("emerg", "FATAL"),
        ] {
            let number = severity_of_text(said);
            assert!(number.is_some_and(|number| number >= SEVERITY_ERROR), "{said}");
            assert_eq!(number.and_then(severity_name), Some(range), "{said}");
        }
        for said in ["", "WARN", "info", "ERROR: no stock", "errors", "50"] {
            assert_eq!(severity_of_text(said), None, "{said}");
        }
    }
}
