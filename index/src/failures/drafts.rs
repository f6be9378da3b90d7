//! From a row that tells of a failure to what it says: a draft, before equal ones are merged.

use std::borrow::Cow;
use std::rc::Rc;

use super::FailureRules;
use super::before::StoredFailures;
use super::candidates::FailedSpan;
use super::columns::{Attributes, Logs, Spans, text, value};
use super::frames::StackTrace;
use super::mask::clip;
use super::stacks::Stacks;

/// Log attributes in which programs that know no `exception.*` put the error's text.
const ERROR_TEXTS: &[&str] = &["error", "err", "error.message", "exception"];
/// The same for the stack.
const STACKS: &[&str] = &[
    "exception.stacktrace",
    "stacktrace",
    "stack_trace",
    "error.stack",
    "error.stack_trace",
    "stack",
    "code.stacktrace",
];

/// The form of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Exception,
    SpanStatus,
    Log,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Exception => "exception",
            Kind::SpanStatus => "span_status",
            Kind::Log => "log",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Kind::Exception, Kind::SpanStatus, Kind::Log].into_iter().find(|kind| kind.name() == name)
    }
}

/// The row that a draft comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Span(usize),
    Log(usize),
    /// Of a failure that is stored already: what others are compared with, and nothing that is written.
    Stored(usize),
}

/// One failure as one row tells it.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub row: Row,
    pub kind: Kind,
    pub time: Option<i64>,
    pub span_id: Option<&'a str>,
    /// Its span's position in the tree, if that span is here.
    pub span: Option<usize>,
    pub service: &'a str,
    pub exception_type: Option<Cow<'a, str>>,
    pub message: Cow<'a, str>,
    pub stacktrace: Option<&'a str>,
    pub stack: Rc<StackTrace>,
    /// The attribute that states a fingerprint.
    pub stated: Option<(&'a str, &'a str)>,
    pub error_type: Option<Cow<'a, str>>,
}

impl Draft<'_> {
    pub(super) fn is_stored(&self) -> bool {
        matches!(self.row, Row::Stored(_))
    }
}

/// `exception.*` of one event, log record or span.
struct ExceptionAttributes<'a> {
    exception_type: Option<&'a str>,
    message: Option<&'a str>,
    stacktrace: Option<&'a str>,
}

impl<'a> ExceptionAttributes<'a> {
    fn read(attributes: Attributes<'a>, at: usize) -> Self {
        ExceptionAttributes {
            exception_type: attributes.get(at, "exception.type"),
            message: attributes.get(at, "exception.message"),
            stacktrace: attributes.get(at, "exception.stacktrace"),
        }
    }
}

fn stated<'a>(rules: &'a FailureRules, attributes: Attributes<'a>, at: usize) -> Option<(&'a str, &'a str)> {
    rules.fingerprint_attributes.iter().find_map(|name| Some((name.as_str(), attributes.get(at, name)?)))
}

/// The exceptions that a span records, and its status if that says ERROR and no exception explains it.
pub(super) fn of_span<'a>(
    spans: &Spans<'a>,
    found: &FailedSpan,
    span: Option<usize>,
    rules: &'a FailureRules,
    stacks: &mut Stacks<'a>,
) -> Vec<Draft<'a>> {
    let row = found.row;
    let status = || {
        let http =
            value(spans.signs.http_status, row).filter(|code| *code >= 400).map(|code| Cow::Owned(code.to_string()));
        text(spans.error_type, row)
            .map(Cow::Borrowed)
            .or(http)
            .or_else(|| text(spans.signs.rpc_status, row).map(Cow::Borrowed))
    };
    let draft = |kind, time| Draft {
        row: Row::Span(row),
        kind,
        time,
        span_id: text(spans.span_id, row),
        span,
        service: text(spans.service_name, row).unwrap_or_default(),
        exception_type: None,
        message: Cow::Borrowed(""),
        stacktrace: None,
        stack: Rc::default(),
        stated: stated(rules, spans.signs.attributes, row),
        error_type: status(),
    };
    let mut exception = |attributes: Attributes<'a>, at: usize, time: Option<i64>| {
        let read = ExceptionAttributes::read(attributes, at);
        let mut draft = draft(Kind::Exception, time);
        draft.stated = stated(rules, attributes, at).or(draft.stated);
        fill(&mut draft, read, rules, stacks);
        draft
    };
    let end = value(spans.end_time, row);
    let mut drafts: Vec<Draft<'a>> = found
        .events
        .iter()
        .map(|&event| exception(spans.signs.events.attributes, event, value(spans.signs.events.time, event).or(end)))
        .collect();
    if found.own_attributes {
        drafts.push(exception(spans.signs.attributes, row, end));
    }
    // An event without type and message says no more than the status does.
    drafts.retain(|draft| draft.exception_type.is_some() || !draft.message.is_empty());
    if drafts.is_empty() && (found.by_status || !found.events.is_empty()) {
        let mut draft = draft(Kind::SpanStatus, end);
        draft.message =
            Cow::Borrowed(clip(text(spans.status_message, row).unwrap_or_default(), rules.max_message_bytes));
        drafts.push(draft);
    }
    drafts
}

fn fill<'a>(draft: &mut Draft<'a>, read: ExceptionAttributes<'a>, rules: &FailureRules, stacks: &mut Stacks<'a>) {
    if let Some(told) = read.stacktrace {
        let (text, stack) = stacks.read(told);
        (draft.stacktrace, draft.stack) = (Some(text), stack);
    }
    let first = draft.stack.sections.first();
    draft.exception_type = read
        .exception_type
        .map(Cow::Borrowed)
        .or_else(|| first.and_then(|section| section.exception_type.clone()).map(Cow::Owned));
    draft.message = match (read.message, first.and_then(|section| section.message.clone())) {
        (Some(message), _) => Cow::Borrowed(clip(message, rules.max_message_bytes)),
        (None, Some(message)) => Cow::Owned(message),
        (None, None) => Cow::Borrowed(""),
    };
}

/// What a stored failure says; `None` of a kind that this release does not know.
pub(super) fn of_stored<'a>(stored: &StoredFailures<'a>, row: usize, span: Option<usize>) -> Option<Draft<'a>> {
    Some(Draft {
        row: Row::Stored(row),
        kind: Kind::named(text(stored.kind, row)?)?,
        time: value(stored.time, row),
        span_id: text(stored.span_id, row),
        span,
        service: text(stored.service_name, row).unwrap_or_default(),
        exception_type: text(stored.exception_type, row).map(Cow::Borrowed),
        message: Cow::Borrowed(text(stored.message, row).unwrap_or_default()),
        stacktrace: None,
        stack: Rc::new(stored.stack(row)),
        stated: None,
        error_type: text(stored.error_type, row).map(Cow::Borrowed),
    })
}

/// What a log record tells.
pub(super) fn of_log<'a>(
    logs: &Logs<'a>,
    row: usize,
    span: Option<usize>,
    rules: &'a FailureRules,
    stacks: &mut Stacks<'a>,
) -> Draft<'a> {
    let attributes = logs.signs.attributes;
    let body = text(logs.body, row).filter(|body| !matches!(*body, "{}" | "[]"));
    let mut draft = Draft {
        row: Row::Log(row),
        kind: Kind::Log,
        time: value(logs.time, row).filter(|time| *time != 0).or_else(|| value(logs.observed_time, row)),
        span_id: text(logs.span_id, row),
        span,
        service: text(logs.service_name, row).unwrap_or_default(),
        exception_type: None,
        message: Cow::Borrowed(""),
        stacktrace: None,
        stack: Rc::default(),
        stated: stated(rules, attributes, row),
        error_type: attributes.get(row, "error.type").map(Cow::Borrowed),
    };
    let mut read = ExceptionAttributes::read(attributes, row);
    let mut from_body = false;
    if read.stacktrace.is_none() {
        read.stacktrace = STACKS.iter().find_map(|name| attributes.get(row, name));
    }
    if read.stacktrace.is_none() {
        read.stacktrace = body.filter(|body| body.contains('\n'));
        from_body = read.stacktrace.is_some();
    }
    let carried = read.exception_type.is_some() || read.message.is_some();
    fill(&mut draft, read, rules, stacks);
    if from_body && draft.stack.is_empty() {
        draft.stacktrace = None;
    }
    if carried || (!draft.stack.is_empty() && draft.exception_type.is_some()) {
        draft.kind = Kind::Exception;
        if draft.message.is_empty() {
            draft.message = Cow::Borrowed(clip(
                body.and_then(|body| body.lines().next()).unwrap_or_default(),
                rules.max_message_bytes,
            ));
        }
        return draft;
    }
    if draft.stack.is_empty() {
        draft.stacktrace = None;
    }
    let said = body.or_else(|| text(logs.signs.event_name, row)).unwrap_or_default();
    draft.exception_type = exception_in(said).map(Cow::Borrowed);
    let said = clip(said, rules.max_message_bytes);
    draft.message = match ERROR_TEXTS.iter().find_map(|name| attributes.get(row, name)) {
        Some(error) if said.is_empty() => Cow::Borrowed(clip(error, rules.max_message_bytes)),
        Some(error) if !said.contains(error) => {
            Cow::Owned(clip(&format!("{said}: {error}"), rules.max_message_bytes).to_owned())
        }
        _ => Cow::Borrowed(said),
    };
    draft
}

/// The last exception named in prose with its package, `java.lang.IllegalStateException: ...`: nested
/// ones stand behind those that wrap them.
fn exception_in(said: &str) -> Option<&str> {
    clip(said, 4096)
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '$' | ':')))
        .filter_map(|word| word.strip_suffix(':'))
        .filter(|word| word.contains('.') && !word.contains(':'))
        .rfind(|word| {
            let last = word.rsplit('.').next().unwrap_or_default();
            let plain = last.split('$').next().unwrap_or_default();
            plain.starts_with(|first: char| first.is_ascii_uppercase())
                && ["Exception", "Error"].iter().any(|end| last.ends_with(end) || plain.ends_with(end))
        })
}

#[cfg(test)]
mod tests {
    use super::exception_in;

    /// A qualified exception before a colon is found, the innermost of several; prose is none.
    #[test]
    fn exceptions_are_found_in_prose() {
        let said = "threw [Request failed; nested exception is org.x.HttpServerErrorException$InternalServerError: 500: [{\"a\":1}]] with root cause";
        assert_eq!(exception_in(said), Some("org.x.HttpServerErrorException$InternalServerError"));
        let nested = "a.b.OuterException: x; nested exception is java.lang.IllegalStateException: No instances";
        assert_eq!(exception_in(nested), Some("java.lang.IllegalStateException"));
        for prose in ["Error: x", "o.a.c.C.dispatcher: Error", "an exception occurred: x", ""] {
            assert_eq!(exception_in(prose), None, "{prose}");
        }
    }
}
