//! Codes of answers: which of them are failures, and on which side, by OpenTelemetry's semantic conventions (HTTP and
//! RPC spans, "Status").

use tracerag_schemas::conventions::{GRPC_SERVER_FAILURES, GRPC_STATUS};

use super::columns::{SpanSigns, text, value};

/// Whether a span's answer is a failure whatever its status says: HTTP 500 to 599 on both sides, and RPC codes as
/// the side of the span has it.
pub(super) fn failed(spans: &SpanSigns<'_>, row: usize) -> bool {
    let http = value(spans.http_status, row).is_some_and(|code| (500..600).contains(&code));
    let rpc = text(spans.rpc_status, row);
    if !http && rpc.is_none() {
        return false;
    }
    match text(spans.kind, row) {
        Some("SERVER") => http || rpc.is_some_and(|code| is_rpc_failure(code, true)),
        Some("CLIENT") => http || rpc.is_some_and(|code| is_rpc_failure(code, false)),
        _ => false,
    }
}

/// Whether a span's answer says in any way that it did not go well, also where that is the caller's fault: such a span
/// passes an error on.
pub(super) fn refused(spans: &SpanSigns<'_>, row: usize) -> bool {
    value(spans.http_status, row).is_some_and(|code| code >= 400)
        || text(spans.rpc_status, row).is_some_and(|code| is_rpc_failure(code, false))
}

/// gRPC's codes as names or numbers, Connect's in lower case, and JSON-RPC's, all of which are failures.
fn is_rpc_failure(code: &str, is_server: bool) -> bool {
    match code.parse::<i64>() {
        Ok(number) if number < 0 => true,
        Ok(number) => usize::try_from(number)
            .ok()
            .and_then(|number| GRPC_STATUS.get(number))
            .is_some_and(|name| is_named_failure(name, is_server)),
        // Connect spells one code its own way.
        Err(_) if code.eq_ignore_ascii_case("canceled") => !is_server,
        Err(_) => is_named_failure(code, is_server),
    }
}

fn is_named_failure(name: &str, is_server: bool) -> bool {
    let among = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is_server { among(&GRPC_SERVER_FAILURES) } else { among(&GRPC_STATUS[1..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server fails with what is its own fault, its caller with everything but OK; numbers, gRPC's names and
    /// Connect's mean the same; JSON-RPC has errors only.
    #[test]
    fn sides_differ() {
        for (code, server, client) in [
            ("OK", false, false),
            ("0", false, false),
            ("INTERNAL", true, true),
            ("13", true, true),
            ("unavailable", true, true),
            ("NOT_FOUND", false, true),
            ("5", false, true),
            ("canceled", false, true),
            ("CANCELLED", false, true),
            ("-32603", true, true),
            ("99", false, false),
            ("20", false, false),
            ("whatever", false, false),
        ] {
            assert_eq!((is_rpc_failure(code, true), is_rpc_failure(code, false)), (server, client), "{code}");
        }
    }
}
