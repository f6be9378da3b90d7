//! What is known of the traces that are compared: texts that a trace has or has not, and numbers.
//!
//! A trace counts for a variable only where it is known. Payloads, for instance, are often kept of failing traces
//! alone, and traces without one say nothing of its shape.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};
use tracerag_schemas::anchor::Anchor;

/// The trace whose anchors are named: the first of the failing ones.
pub(super) const EXAMPLE: u32 = 0;

/// What a difference lies in. The first four are what somebody has changed or sent; the others follow from something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The variant of a flag.
    Flag,
    /// The value of a configuration key.
    Config,
    /// The version, or the commit, of a service.
    Build,
    /// What stands at a JSON pointer of a request's payload: its type, and the class of its length.
    Payload,
    /// The versions of a caller and a callee.
    Versions,
    /// An attribute of a span or a resource.
    Attribute,
    /// The instance of a service.
    Instance,
    /// The services and names of a span and those above it.
    SpanPath,
    /// A type that holds much of a heap.
    HeapType,
    /// A line that has allocated much of a heap.
    HeapSite,
    /// Memory in use where the trace ran.
    Memory,
    /// Time in spans in which none of their children ran.
    SelfTime,
}

impl Kind {
    /// As answers name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Config => "config",
            Self::Build => "build",
            Self::Payload => "payload",
            Self::Versions => "versions",
            Self::Attribute => "attribute",
            Self::Instance => "instance",
            Self::SpanPath => "span_path",
            Self::HeapType => "heap_type",
            Self::HeapSite => "heap_site",
            Self::Memory => "memory",
            Self::SelfTime => "self_time",
        }
    }

    /// Whether it is derived: what somebody has changed or sent is named before it.
    pub(super) fn is_derived(self) -> bool {
        !matches!(self, Self::Flag | Self::Config | Self::Build | Self::Payload)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What a variable is of, and its name.
pub(super) type Key = (Kind, String);

/// A variable of texts.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Traces of which it is known.
    pub known: BTreeSet<u32>,
    /// Traces by what they have; a trace may have several.
    pub values: BTreeMap<String, Said>,
}

/// A value of a variable.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub traces: BTreeSet<u32>,
    /// Where it stands in the example's bundle.
    pub anchor: Option<String>,
}

/// What becomes of several numbers of one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Several {
    /// They are added.
    Sum,
    /// The least and the greatest stay: each may be the one that mattered.
    Ends,
}

/// The numbers of a trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub least: f64,
    pub greatest: f64,
}

/// A variable of numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// By trace.
    pub of: BTreeMap<u32, Ends>,
    /// Where it stands in the example's bundle.
    pub anchor: Option<String>,
}

/// All variables; traces are numbered, the failing ones first.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub texts: BTreeMap<Key, Texts>,
    pub numbers: BTreeMap<Key, Numbers>,
    /// Attributes that are no variables, because they may follow from the failure.
    pub consequences: BTreeSet<String>,
}

impl Variables {
    /// Notes that a trace would have a value if there were one.
    pub(super) fn know(&mut self, kind: Kind, name: &str, trace: u32) {
        self.texts.entry((kind, name.to_owned())).or_default().known.insert(trace);
    }

    /// Notes a value of a trace.
    pub(super) fn say(
        &mut self,
        kind: Kind,
        name: &str,
        trace: u32,
        value: &str,
        anchor: impl FnOnce() -> Option<Anchor>,
    ) {
        let texts = self.texts.entry((kind, name.to_owned())).or_default();
        texts.known.insert(trace);
        let said = texts.values.entry(value.to_owned()).or_default();
        said.traces.insert(trace);
        if trace == EXAMPLE && said.anchor.is_none() {
            said.anchor = anchor().map(|anchor| anchor.to_string());
        }
    }

    /// Notes a number of a trace.
    pub(super) fn measure(
        &mut self,
        kind: Kind,
        name: &str,
        trace: u32,
        number: f64,
        several: Several,
        anchor: impl FnOnce() -> Option<Anchor>,
    ) {
        if !number.is_finite() {
            return;
        }
        let numbers = self.numbers.entry((kind, name.to_owned())).or_default();
        let known = numbers.of.get(&trace).copied();
        let ends = match (known, several) {
            (None, _) => Ends { least: number, greatest: number },
            (Some(known), Several::Sum) => Ends { least: known.least + number, greatest: known.greatest + number },
            (Some(known), Several::Ends) => {
                Ends { least: known.least.min(number), greatest: known.greatest.max(number) }
            }
        };
        numbers.of.insert(trace, ends);
        if trace == EXAMPLE && numbers.anchor.is_none() {
            numbers.anchor = anchor().map(|anchor| anchor.to_string());
        }
    }
}
