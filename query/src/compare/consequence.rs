//! What says only that a trace failed, and is therefore no cause of it.

/// Parts of the names of attributes that are set when an operation has ended, and tell how: statuses, exceptions, what
/// came back. Names end their parts at punctuation, as `http.response.status_code` and `rpc.grpc.status_code` do.
const TELLING: [&str; 16] = [
    "cancelled",
    "canceled",
    "error",
    "errors",
    "exception",
    "exceptions",
    "failed",
    "failure",
    "fault",
    "outcome",
    "response",
    "result",
    "stacktrace",
    "status",
    "statuscode",
    "success",
];

/// Whether an attribute is told by the end of its operation, and so may follow from the failure.
pub(super) fn is_consequence(key: &str) -> bool {
    key.split(['.', '_', '-', '/', ':']).any(|part| TELLING.iter().any(|telling| part.eq_ignore_ascii_case(telling)))
}

/// Whether a payload was made of what happened, as a response is.
pub(super) fn is_answer(direction: &str) -> bool {
    !direction.eq_ignore_ascii_case("request")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statuses, exceptions and answers of all conventions are consequences; what a caller sent is none, though its name
    /// holds the same letters.
    #[test]
    fn statuses_and_answers_are_consequences() {
        for key in [
            "error.type",
            "error",
            "exception.message",
            "http.status_code",
            "http.response.status_code",
            "http.response_content_length",
            "rpc.grpc.status_code",
            "rpc.status_code",
            "otel.status_description",
            "db.response.returned_rows",
            "feature_flag.result.variant",
            "grpc.statusCode.status",
        ] {
            assert!(is_consequence(key), "{key}");
        }
        for key in
            ["http.request.method", "app.region", "errand.kind", "customer.tier", "messaging.batch.message_count"]
        {
            assert!(!is_consequence(key), "{key}");
        }
        assert!(is_answer("response") && !is_answer("request"));
    }
}
