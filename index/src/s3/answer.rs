//! What S3 says of a request that it refuses, as it may be shown.
//!
//! The answer is XML, and repeats the request: its headers, with the token of a session among them, or the token itself
//! where it has ended. The client puts the whole of it into its error. Code and message say what is wrong; the rest is
//! cut out here, before the error can come into a log, `status` or `/readyz`.

use object_store::Error;

const BEGIN: &str = "<Error>";
const END: &str = "</Error>";

/// The error without what repeats the request.
pub(super) fn brief(error: Error) -> Error {
    match error {
        Error::Generic { store, source } => Error::Generic { store, source: brief_source(source) },
        Error::PermissionDenied { path, source } => Error::PermissionDenied { path, source: brief_source(source) },
        Error::Unauthenticated { path, source } => Error::Unauthenticated { path, source: brief_source(source) },
        Error::Precondition { path, source } => Error::Precondition { path, source: brief_source(source) },
        Error::AlreadyExists { path, source } => Error::AlreadyExists { path, source: brief_source(source) },
        Error::NotFound { path, source } => Error::NotFound { path, source: brief_source(source) },
        other => other,
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Left as it is, with its own causes, where there is no answer in it.
fn brief_source(source: Source) -> Source {
    match brief_text(&source.to_string()) {
        Some(text) => text.into(),
        None => source,
    }
}

/// `None`: there is no answer in the text.
fn brief_text(text: &str) -> Option<String> {
    let (before, answer) = text.split_once(BEGIN)?;
    let after = answer.rsplit_once(END).map_or("", |(_, after)| after);
    // The declaration of XML stands on a line before it.
    let before = before.split("<?xml").next().unwrap_or_default().trim_end();
    let code = element(answer, "Code").unwrap_or("no code");
    let message = element(answer, "Message").unwrap_or("no message");
    Some(format!("{before} {code}: {message}{after}"))
}

fn element<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refused signature and an ended session keep code and message, and nothing of the request; an answer that was cut
    /// off keeps nothing but what stands before it. Guarantees that no token of a session comes into a log.
    #[test]
    fn tokens_are_not_repeated() {
        for (answer, kept) in [
            (
                "403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>SignatureDoesNotMatch</Code><Message>Check your key.\
                 </Message><CanonicalRequest>GET\nx-amz-security-token:opensesame\n</CanonicalRequest></Error>",
                "403 Forbidden: SignatureDoesNotMatch: Check your key.",
            ),
            (
                "400 Bad Request: <Error><Code>ExpiredToken</Code><Message>Ended.</Message><Token-0>opensesame</Token-0></Error>",
                "400 Bad Request: ExpiredToken: Ended.",
            ),
            ("403 Forbidden: <Error><Token-0>opensesame", "403 Forbidden: no code: no message"),
        ] {
            let error = Error::PermissionDenied { path: String::from("lake/heads.lance"), source: answer.into() };
            let text = brief(error).to_string();
            assert!(text.ends_with(kept), "{text}");
        }
    }

    /// An error without an answer stays what it is, its cause included. Guarantees that an unreachable store is still
    /// told from a wrong one by its cause.
    #[test]
    fn other_errors_stay() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let Error::Generic { source, .. } = brief(Error::Generic { store: "S3", source: Box::new(refused) }) else {
            panic!("an error of another kind")
        };
        assert!(source.downcast_ref::<std::io::Error>().is_some(), "{source}");
    }
}
