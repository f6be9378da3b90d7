//! What stands at the head of a test: where it is from, how it is run, and what it rests on.

use tracerag_query::untrusted::short;
use tracerag_schemas::bundle::{Bundle, Failure};

use super::boundary::{Boundary, Operation};
use super::dependencies::Below;
use super::effect::{self, Flags};
use super::origin::Origin;

/// Characters of a message.
const MESSAGE: usize = 200;

/// A failure in one line.
pub(super) fn failure(failure: &Failure) -> String {
    let of = failure.service.as_deref().unwrap_or("-");
    let named = failure.exception_type.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
    let message = short(failure.message.as_deref().unwrap_or_default(), MESSAGE);
    format!("[{}] {of}: {named}{message}", failure.anchor)
}

/// The lines of the head.
pub(super) fn lines(
    bundle: &Bundle,
    origin: &Origin<'_>,
    boundary: &Boundary<'_>,
    below: &Below<'_>,
    flags: &Flags,
) -> Vec<String> {
    let evidence = &bundle.evidence;
    let service = boundary.span.service.as_deref().unwrap_or("-");
    let (operation, outcome) = (boundary.operation.name(), boundary.operation.outcome());
    let mut lines = vec![
        format!("trace: {}", evidence.trace.trace_id),
        format!("bundle: {}", bundle.bundle_id),
        format!("failure: {}", failure(origin.failure)),
        format!("boundary: [{}] {service}, {operation}, which answered {outcome}", boundary.span.anchor),
    ];
    for build in effect::builds(evidence, &below.services) {
        let commit = build.git_sha.as_deref().unwrap_or("not known");
        let known = build.r#match.as_deref().unwrap_or("-");
        lines.push(format!("build in effect: [{}] commit {commit}, {known}", build.anchor));
    }
    lines.extend(flags.notes.iter().cloned());
    lines.extend(boundary.notes.iter().chain(&boundary.body.notes).map(|note| format!("not as it was: {note}")));
    let services: Vec<&str> = below.services.iter().copied().collect();
    lines.push(format!("runs for real: {}", services.join(", ")));
    lines.extend(below.real.iter().map(|call| format!("called for real: {call}")));
    let target = match boundary.operation {
        Operation::Http { .. } => "as http://127.0.0.1:8080",
        Operation::Grpc { .. } => "as 127.0.0.1:8080",
    };
    lines.push(format!("SCAFFOLD_TARGET: where {service} listens, {target}"));
    for mock in &below.mocks {
        lines.push(format!(
            "{}: address at which the test answers for {}, as 127.0.0.1:8081; services have to call it there",
            mock.variable, mock.name
        ));
    }
    if !flags.lines.is_empty() {
        lines.push(String::from(
            "SCAFFOLD_FLAGS_FILE: file of flags in flagd's format that the services read; the test writes it. Not set: the \
             flags are set otherwise",
        ));
    }
    lines
}
