//! From rows to variables: what each trace that is compared has.

mod changes;
mod heaps;
mod memory;
mod payload;
mod payloads;
mod place;
mod spans;

use std::collections::HashMap;

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
    fn of(sides: &'a Sides) -> Self {
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

/// Everything that is known of the traces.
pub(super) fn observe(rows: &Rows, sides: &Sides) -> Result<Variables> {
    let traces = Traces::of(sides);
    let mut variables = Variables::default();
    changes::observe(&mut variables, &traces, &rows.traces)?;
    let spans = spans::observe(&mut variables, &traces, &rows.spans)?;
    payloads::observe(&mut variables, &traces, &spans, &rows.payloads)?;
    heaps::observe(&mut variables, &traces, &spans, &rows.heaps)?;
    memory::observe(&mut variables, &traces, &spans, &rows.metrics)?;
    Ok(variables)
}
