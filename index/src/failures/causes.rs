//! The exceptions behind an exception.
//!
//! Most languages print them: the parts of a parsed stack trace behind its first are the causes, whether the trace
//! says `Caused by`, `During handling of`, `--->`, `[cause]` or `Next`. Go prints nothing, but the text of an error that
//! wraps another ends with the other's text, so it is cut there.

use super::drafts::Draft;

/// Causes of one failure.
const MAX_CAUSES: usize = 32;

/// Go's types whose text is `what was done: the wrapped error's text`.
const WRAPPERS: &[&str] = &[
    "*fmt.wrapError",
    "*fmt.wrapErrors",
    "*errors.withStack",
    "*errors.withMessage",
    "*url.Error",
    "*net.OpError",
    "*os.SyscallError",
    "*os.LinkError",
    "*fs.PathError",
    "*exec.Error",
];
/// Go's type whose text has an error a line.
const JOINED: &str = "*errors.joinError";
/// How the text of a gRPC status begins; what follows is no error by itself.
const RPC_STATUS: &str = "rpc error: ";

/// One exception behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cause<'d> {
    pub exception_type: Option<&'d str>,
    pub message: Option<&'d str>,
}

/// What is behind a failure, the nearest first.
pub(super) fn of<'d>(draft: &'d Draft<'_>) -> Vec<Cause<'d>> {
    let behind = draft.stack.sections.iter().skip(1).take(MAX_CAUSES);
    let told: Vec<Cause<'d>> = behind
        .map(|section| Cause { exception_type: section.exception_type.as_deref(), message: section.message.as_deref() })
        .filter(|cause| cause.exception_type.is_some() || cause.message.is_some())
        .collect();
    if !told.is_empty() {
        return told;
    }
    let texts: Vec<&str> = match draft.exception_type.as_deref() {
        Some(JOINED) => draft.message.lines().filter(|line| !line.is_empty()).take(MAX_CAUSES).collect(),
        Some(wrapper) if WRAPPERS.contains(&wrapper) => wrapped(&draft.message),
        _ => Vec::new(),
    };
    texts.into_iter().map(|text| Cause { exception_type: None, message: Some(text) }).collect()
}

/// The texts behind each colon and blank that is not within quotes.
fn wrapped(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_quoted = false;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b':' if !is_quoted && bytes.get(at + 1) == Some(&b' ') => {
                let rest = text.get(at + 2..).unwrap_or_default();
                if rest.is_empty() || found.len() == MAX_CAUSES {
                    break;
                }
                found.push(rest);
                if rest.starts_with(RPC_STATUS) {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    /// Each wrapping ends with what it wraps; colons of addresses and in quotes, and the text of a gRPC status, are none.
    #[test]
    fn wrapped_errors_are_cut_at_their_colons() {
        assert_eq!(
            wrapped("charge: Post \"http://pay: x/\": dial tcp 10.0.0.7:80: connect: connection refused"),
            [
                "Post \"http://pay: x/\": dial tcp 10.0.0.7:80: connect: connection refused",
                "dial tcp 10.0.0.7:80: connect: connection refused",
                "connect: connection refused",
                "connection refused",
            ]
        );
        assert_eq!(
            wrapped("reserve: rpc error: code = Internal desc = a: b"),
            ["rpc error: code = Internal desc = a: b"]
        );
        assert!(wrapped("EOF").is_empty() && wrapped("odd: ").is_empty());
    }
}
