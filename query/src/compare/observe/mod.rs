//! From rows to variables: what each trace that is compared has.

mod changes;
mod heaps;
mod memory;
mod payload;
mod payloads;
mod place;
mod spans;

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;

use self::memory::Memory;
use self::spans::Spans;
use super::reading::Rows;
use super::sides::{Member, Sides};
use super::variables::Variables;
use crate::error::Result;

/// The traces that are compared, the failing ones first; their places are their numbers.
pub(super) struct Traces<'a> {
    members: Vec<&'a Member>,
    numbers: HashMap<&'a str, u32>,
}

impl<'a> Traces<'a> {
    pub(super) fn of(sides: &'a Sides) -> Self {
        let members: Vec<&Member> = sides.failing.iter().chain(&sides.good).collect();
        let numbers = (0..).zip(&members).map(|(number, member)| (member.trace_id.as_str(), number)).collect();
        Self { members, numbers }
    }

    /// The number of a trace.
    fn number(&self, trace_id: Option<&str>) -> Option<u32> {
        self.numbers.get(trace_id?).copied()
    }

    fn member(&self, number: u32) -> Option<&'a Member> {
        self.members.get(number as usize).copied()
    }
}

/// What is known of the traces. What names them comes first; it says where they ran, and so what else may belong to them.
pub(super) struct Observed {
    variables: Variables,
    spans: Spans,
    memory: Memory,
}

/// Everything that names the traces.
pub(super) fn observe(rows: &Rows, sides: &Sides) -> Result<Observed> {
    let traces = Traces::of(sides);
    let mut variables = Variables::default();
    changes::observe(&mut variables, &traces, &rows.traces)?;
    let spans = spans::observe(&mut variables, &traces, &rows.spans)?;
    payloads::observe(&mut variables, &traces, &spans, &rows.payloads)?;
    let memory = Memory::of(&traces, &spans);
    Ok(Observed { variables, spans, memory })
}

impl Observed {
    /// The services of the traces.
    pub(super) fn services(&self) -> Vec<String> {
        self.spans.services.iter().cloned().collect()
    }

    /// Takes heap summaries.
    pub(super) fn heaps(&mut self, traces: &Traces<'_>, heaps: &RecordBatch) -> Result<()> {
        heaps::observe(&mut self.variables, traces, &self.spans, heaps)
    }

    /// Takes points of memory.
    pub(super) fn memory(&mut self, metrics: &RecordBatch) -> Result<()> {
        self.memory.take(metrics)
    }

    /// All of it.
    pub(super) fn variables(self) -> Variables {
        let Self { mut variables, memory, .. } = self;
        memory.note(&mut variables);
        variables
    }
}
