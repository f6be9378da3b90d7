//! What a text of TraceQL says.

/// Sets of spans, and which of them a trace has.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::server::tempo) enum Query {
    /// Spans that meet a condition.
    Spans(Condition),
    /// Traces that have spans of all.
    All(Vec<Query>),
    /// Traces that have spans of any.
    Any(Vec<Query>),
}

/// A condition on a span.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::server::tempo) enum Condition {
    Always(bool),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Field, Operator, Value),
    /// `field != nil`.
    Exists(Field),
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server::tempo) enum Field {
    Attribute(Attribute),
    Intrinsic(Intrinsic),
}

/// An attribute by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server::tempo) struct Attribute {
    pub scope: Scope,
    pub key: String,
}

/// Whose attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::tempo) enum Scope {
    /// `.key`: the span's, or its resource's.
    Any,
    Span,
    Resource,
    Instrumentation,
}

/// What every span has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::tempo) enum Intrinsic {
    Name,
    Duration,
    Status,
    StatusMessage,
    Kind,
    TraceId,
    SpanId,
    ParentId,
    /// Below 0 for roots. Where else a span stands in its tree is not asked for.
    NestedSetParent,
    InstrumentationName,
    InstrumentationVersion,
    RootName,
    RootService,
    TraceDuration,
}

impl Intrinsic {
    /// With the name that is given out for each, and the others that it has.
    pub(in crate::server::tempo) const ALL: [(Self, &'static str, &'static [&'static str]); 14] = [
        (Self::Name, "name", &["span:name"]),
        (Self::Duration, "duration", &["span:duration"]),
        (Self::Status, "status", &["span:status"]),
        (Self::StatusMessage, "statusMessage", &["span:statusMessage"]),
        (Self::Kind, "kind", &["span:kind"]),
        (Self::TraceId, "trace:id", &[]),
        (Self::SpanId, "span:id", &[]),
        (Self::ParentId, "span:parentID", &[]),
        (Self::NestedSetParent, "nestedSetParent", &[]),
        (Self::InstrumentationName, "instrumentation:name", &[]),
        (Self::InstrumentationVersion, "instrumentation:version", &[]),
        (Self::RootName, "rootName", &["trace:rootName"]),
        (Self::RootService, "rootServiceName", &["trace:rootService"]),
        (Self::TraceDuration, "traceDuration", &["trace:duration"]),
    ];

    pub(super) fn by_name(name: &str) -> Option<Self> {
        let named = |(_, known, others): &&(Self, &str, &[&str])| *known == name || others.contains(&name);
        Self::ALL.iter().find(named).map(|(intrinsic, ..)| *intrinsic)
    }

    /// The name that is given out.
    pub(in crate::server::tempo) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, ..)| *known == self).map_or("", |(_, name, _)| *name)
    }

    /// Whether it is of the whole trace.
    pub(in crate::server::tempo) fn is_of_trace(self) -> bool {
        matches!(self, Self::RootName | Self::RootService | Self::TraceDuration)
    }
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::tempo) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The whole text matches.
    Matches,
    NotMatches,
}

impl Operator {
    /// The same seen from the other side.
    pub(super) fn swapped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            other => other,
        }
    }
}

/// With what.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::server::tempo) enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// In ns.
    Duration(i64),
    /// `ok`, `error`, `unset`.
    Status(&'static str),
    /// `server`, `client` ..
    Kind(&'static str),
}

impl Query {
    /// Every condition on spans, in the order of the text.
    pub(super) fn conditions<'a>(&'a self, found: &mut Vec<&'a Condition>) {
        match self {
            Self::Spans(condition) => found.push(condition),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.conditions(found)),
        }
    }

    /// The fields that are compared, each once.
    pub(in crate::server::tempo) fn fields(&self) -> Vec<&Field> {
        let mut conditions = Vec::new();
        self.conditions(&mut conditions);
        let mut fields = Vec::new();
        for condition in conditions {
            condition.fields(&mut fields);
        }
        fields
    }
}

impl Condition {
    fn fields<'a>(&'a self, found: &mut Vec<&'a Field>) {
        match self {
            Self::Always(_) => {}
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.fields(found)),
            Self::Not(inner) => inner.fields(found),
            Self::Compare(field, ..) | Self::Exists(field) => {
                if !found.contains(&field) {
                    found.push(field);
                }
            }
        }
    }
}
