//! Predicates: a small typed language over the evidence, and what each of its functions takes and answers.

use tracerag_schemas::anchor::Anchor;

use super::decimal::Decimal;

/// What is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Ancestor,
    Attribute,
    Before,
    Config,
    Contains,
    Critical,
    DeployedBefore,
    Differs,
    Duration,
    Event,
    ExceptionType,
    Failures,
    Fingerprint,
    Flag,
    Frame,
    GitSha,
    HeapBytes,
    HeapShare,
    LakeFailures,
    MetricMax,
    Overlaps,
    Payload,
    PayloadLength,
    PayloadType,
    SameError,
    Severity,
    Status,
    Version,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    /// An anchor of one of these kinds.
    Anchor(&'static [&'static str]),
    /// A text in quotes.
    Text,
    /// Ids of traces in quotes, one or more; always the last parameter.
    Traces,
}

/// What a function answers, which says how it may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Yes or no. It may stand alone, or be compared with `true` or `false`.
    Truth,
    /// A text: `=`, `!=`.
    Text,
    /// A commit: `=`, `!=` with 7 or more of its hex digits.
    Commit,
    /// One of these words: `=`, `!=`.
    Word(&'static [&'static str]),
    /// One of these words, from the least to the greatest.
    Ordered(&'static [&'static str]),
    /// A value of any type: `=`, `!=`; numbers have an order.
    Scalar,
    /// A number with an order, in a dimension.
    Number(Dimension),
}

/// What a number measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    /// Nothing: counts, lengths, points of a metric in its own unit.
    Plain,
    /// A part of a whole: `0.3` or `30%`.
    Share,
    /// Time in ns; the unit has to be written.
    Duration,
    /// Bytes.
    Bytes,
}

/// What an answer measures; none for what is no number or has no unit.
pub(super) fn dimension(answer: Answer) -> Option<Dimension> {
    match answer {
        Answer::Number(Dimension::Plain) => None,
        Answer::Number(dimension) => Some(dimension),
        _ => None,
    }
}

/// A function of the language.
#[derive(Debug)]
pub(super) struct Operator {
    pub name: &'static str,
    pub function: Function,
    pub parameters: &'static [Parameter],
    pub answer: Answer,
}

const SPAN: Parameter = Parameter::Anchor(&["span"]);
const LOG: Parameter = Parameter::Anchor(&["log"]);
const FAILURE: Parameter = Parameter::Anchor(&["failure"]);
const HEAP: Parameter = Parameter::Anchor(&["heap"]);
const METRIC: Parameter = Parameter::Anchor(&["metric"]);
const PAYLOAD: Parameter = Parameter::Anchor(&["payload"]);
const CODE: Parameter = Parameter::Anchor(&["code"]);
/// Entries that have a time.
const TIMED: Parameter = Parameter::Anchor(&["span", "log", "failure", "metric", "heap", "build", "flag", "config"]);
/// What may be told apart between traces.
const CHANGE: Parameter = Parameter::Anchor(&["flag", "config", "build"]);
const TEXT: Parameter = Parameter::Text;

/// Names of severities, from the least to the greatest.
pub(super) const SEVERITIES: &[&str] = &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
/// Names of JSON types.
pub(super) const JSON_TYPES: &[&str] = &["string", "number", "boolean", "null", "array", "object"];

const fn operator(
    name: &'static str,
    function: Function,
    parameters: &'static [Parameter],
    answer: Answer,
) -> Operator {
    Operator { name, function, parameters, answer }
}

/// All functions, by name. `docs/agents.md` has each with an example.
pub(super) const OPERATORS: &[Operator] = &[
    operator("ancestor", Function::Ancestor, &[SPAN, SPAN], Answer::Truth),
    operator("attribute", Function::Attribute, &[Parameter::Anchor(&["span", "log", "metric"]), TEXT], Answer::Scalar),
    operator("before", Function::Before, &[TIMED, TIMED], Answer::Truth),
    operator("config", Function::Config, &[TEXT], Answer::Text),
    operator("contains", Function::Contains, &[Parameter::Anchor(&["log", "failure"]), TEXT], Answer::Truth),
    operator("critical", Function::Critical, &[SPAN], Answer::Truth),
    operator("deployed_before", Function::DeployedBefore, &[TEXT, TIMED], Answer::Truth),
    operator("differs", Function::Differs, &[CHANGE, TEXT, Parameter::Traces], Answer::Text),
    operator("duration", Function::Duration, &[SPAN], Answer::Number(Dimension::Duration)),
    operator("event", Function::Event, &[SPAN, TEXT], Answer::Truth),
    operator("exception_type", Function::ExceptionType, &[FAILURE], Answer::Text),
    operator("failures", Function::Failures, &[TEXT], Answer::Number(Dimension::Plain)),
    operator("fingerprint", Function::Fingerprint, &[FAILURE], Answer::Text),
    operator("flag", Function::Flag, &[TEXT], Answer::Text),
    operator("frame", Function::Frame, &[FAILURE, CODE], Answer::Truth),
    operator("git_sha", Function::GitSha, &[TEXT], Answer::Commit),
    operator("heap_bytes", Function::HeapBytes, &[HEAP, TEXT], Answer::Number(Dimension::Bytes)),
    operator("heap_share", Function::HeapShare, &[HEAP, TEXT], Answer::Number(Dimension::Share)),
    operator("lake_failures", Function::LakeFailures, &[TEXT], Answer::Number(Dimension::Plain)),
    operator("metric_max", Function::MetricMax, &[METRIC], Answer::Number(Dimension::Plain)),
    operator("overlaps", Function::Overlaps, &[SPAN, SPAN], Answer::Truth),
    operator("payload", Function::Payload, &[PAYLOAD, TEXT], Answer::Scalar),
    operator("payload_length", Function::PayloadLength, &[PAYLOAD, TEXT], Answer::Number(Dimension::Plain)),
    operator("payload_type", Function::PayloadType, &[PAYLOAD, TEXT], Answer::Word(JSON_TYPES)),
    operator("same_error", Function::SameError, &[TEXT, Parameter::Traces], Answer::Number(Dimension::Plain)),
    operator("severity", Function::Severity, &[LOG], Answer::Ordered(SEVERITIES)),
    operator("status", Function::Status, &[SPAN], Answer::Word(&tracerag_schemas::values::STATUS_CODES)),
    operator("version", Function::Version, &[TEXT], Answer::Text),
];

/// How an answer is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Whether it asks for an order, not only for equality.
    pub(super) fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Whether two values in this order fulfil it.
    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// What an answer is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    /// A text that stood in quotes.
    Text(String),
    /// A word: `ERROR`, `true`.
    Word(String),
    /// A number in the base unit of its dimension: ns, bytes, a part of 1.
    Number {
        /// The number.
        value: Decimal,
        /// What its unit measures; none without a unit.
        unit: Option<Dimension>,
    },
}

/// What a function is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    Anchor(Anchor),
    Text(String),
    /// Ids of traces, each once.
    Traces(Vec<String>),
}

/// A predicate that was read, and whose types fit.
#[derive(Debug, Clone)]
pub(super) struct Predicate {
    /// As written.
    pub text: String,
    pub operator: &'static Operator,
    pub arguments: Vec<Argument>,
    pub comparison: Option<(Comparison, Literal)>,
}

impl Predicate {
    /// Anchors among the arguments.
    pub(super) fn anchors(&self) -> impl Iterator<Item = &Anchor> {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::Anchor(anchor) => Some(anchor),
            Argument::Text(_) | Argument::Traces(_) => None,
        })
    }

    /// Texts among the arguments.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::Text(text) => Some(text.as_str()),
            Argument::Anchor(_) | Argument::Traces(_) => None,
        })
    }

    /// The traces among the arguments, where the function takes some.
    pub(super) fn traces(&self) -> Option<&[String]> {
        self.arguments.iter().find_map(|argument| match argument {
            Argument::Traces(traces) => Some(traces.as_slice()),
            Argument::Anchor(_) | Argument::Text(_) => None,
        })
    }

    /// Whether it says that something is not so.
    pub(super) fn is_denial(&self) -> bool {
        match &self.comparison {
            None => false,
            Some((comparison, Literal::Word(word))) if self.operator.answer == Answer::Truth => {
                (*comparison == Comparison::Equal) == (word == "false")
            }
            Some((comparison, _)) => *comparison == Comparison::NotEqual,
        }
    }
}
