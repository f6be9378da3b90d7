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

/// The newest points before each trace, of the places that the traces ran on. However many points are taken, no more is
/// kept than a time and a number of each metric for each of them.
pub(super) struct Memory(HashMap<Place, OfPlace>);

/// What is known of a place.
#[derive(Default)]
struct OfPlace {
    /// Who ran there, by when the trace began.
    ran: Vec<Ran>,
    /// By metric and place in `ran`: the time of the newest point, and its value. Points of one time are parts of a whole
    /// (types, pools, states), which are added.
    newest: BTreeMap<String, BTreeMap<usize, (i64, f64)>>,
}

/// A service of a trace that ran on a place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ran {
    /// When the trace began, ns.
    start: i64,
    trace: u32,
    service: String,
}

impl OfPlace {
    fn take(&mut self, time: i64, name: &str, value: f64) {
        let begin = self.ran.partition_point(|ran| ran.start < time);
        let end = self.ran.partition_point(|ran| ran.start <= time.saturating_add(POINT_AGE));
        if begin == end {
            return;
        }
        let newest = self.newest.entry(name.to_owned()).or_default();
        for ran in begin..end {
            let (known, used) = newest.entry(ran).or_insert((time, 0.0));
            if *known < time {
                (*known, *used) = (time, 0.0);
            }
            if *known == time {
                *used += value;
            }
        }
    }
}

impl Memory {
    /// That of all places of the traces, of which nothing is known yet.
    pub(super) fn of(traces: &Traces<'_>, spans: &Spans) -> Self {
        let mut places: HashMap<Place, OfPlace> = HashMap::new();
        for (trace, ran_on) in &spans.ran_on {
            let Some(start) = traces.member(*trace).map(|member| member.start) else { continue };
            for (service, place) in ran_on {
                let ran = Ran { start, trace: *trace, service: service.clone() };
                places.entry(place.clone()).or_default().ran.push(ran);
            }
        }
        for of_place in places.values_mut() {
            of_place.ran.sort();
        }
        Self(places)
    }

    /// Takes points.
    pub(super) fn take(&mut self, metrics: &RecordBatch) -> Result<()> {
        let columns = Columns::of("metrics", metrics);
        let (times, names, values) = (columns.time("time")?, columns.text("name")?, columns.double("value")?);
        let (services, ids) = (columns.text("service_name")?, columns.text("service_instance_id")?);
        let (resources, monotonic) = (columns.map("resource_attributes")?, columns.boolean("monotonic")?);
        for row in 0..metrics.num_rows() {
            let (Some(time), Some(name), Some(value)) = (number(times, row), text(names, row), number(values, row))
            else {
                continue;
            };
            // What was allocated in all says how old a process is.
            if truth(monotonic, row) == Some(true) {
                continue;
            }
            for place in Place::told(text(services, row), text(ids, row), entries(resources, row)) {
                if let Some(of_place) = self.0.get_mut(&place) {
                    of_place.take(time, name, value);
                }
            }
        }
        Ok(())
    }

    /// Notes what is known.
    pub(super) fn note(&self, variables: &mut Variables) {
        for OfPlace { ran, newest } in self.0.values() {
            for (name, of) in newest {
                for (place, (_, used)) in of {
                    let Some(Ran { trace, service, .. }) = ran.get(*place) else { continue };
                    let name = format!("{service} {name}");
                    variables.measure(Kind::Memory, &name, *trace, *used, Several::Ends, || None);
                }
            }
        }
    }
}
