//! Memory in use on the instances, or in the containers and pods, that a trace ran on, when it began.

use std::collections::{BTreeMap, HashMap};

use arrow::record_batch::RecordBatch;

use super::Traces;
use super::place::Place;
use super::spans::Spans;
use crate::compare::reading::POINT_AGE;
use crate::compare::variables::{Kind, Several, Variables};
use crate::error::Result;
use crate::rows::{Columns, entries, number, text, truth};

/// Metrics of a place, each with its points: at one time they are parts of a whole (types, pools, states).
type Metrics<'a> = BTreeMap<&'a str, BTreeMap<i64, f64>>;

pub(super) fn observe(
    variables: &mut Variables,
    traces: &Traces<'_>,
    spans: &Spans,
    batches: &[RecordBatch],
) -> Result<()> {
    let mut places: HashMap<Place, Metrics<'_>> = HashMap::new();
    for batch in batches {
        let columns = Columns::of("metrics", batch);
        let (times, names, values) = (columns.time("time")?, columns.text("name")?, columns.double("value")?);
        let (services, ids) = (columns.text("service_name")?, columns.text("service_instance_id")?);
        let (resources, monotonic) = (columns.map("resource_attributes")?, columns.boolean("monotonic")?);
        for row in 0..batch.num_rows() {
            let (Some(time), Some(name), Some(value)) = (number(times, row), text(names, row), number(values, row))
            else {
                continue;
            };
            // What was allocated in all says how old a process is.
            if truth(monotonic, row) == Some(true) {
                continue;
            }
            for place in Place::told(text(services, row), text(ids, row), entries(resources, row)) {
                let points = places.entry(place).or_default().entry(name).or_default();
                *points.entry(time).or_default() += value;
            }
        }
    }
    for (trace, ran_on) in &spans.ran_on {
        let Some(start) = traces.member(*trace).map(|member| member.start) else { continue };
        for (service, place) in ran_on {
            for (name, points) in places.get(place).into_iter().flatten() {
                let last = points.range(start.saturating_sub(POINT_AGE)..=start).next_back();
                if let Some((_, used)) = last {
                    let name = format!("{service} {name}");
                    variables.measure(Kind::Memory, &name, *trace, *used, Several::Ends, || None);
                }
            }
        }
    }
    Ok(())
}
