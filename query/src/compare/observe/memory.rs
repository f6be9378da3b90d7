//! Memory in use on the instances that a trace ran on, when it began.

use std::collections::{BTreeMap, HashMap};

use arrow::record_batch::RecordBatch;

use super::Traces;
use super::spans::Spans;
use crate::compare::reading::POINT_AGE;
use crate::compare::variables::{Kind, Variables};
use crate::error::Result;
use crate::rows::{Columns, number, text};

/// Metrics of an instance, each with its points: at one time they are parts of a whole (types, pools, states).
type Metrics<'a> = BTreeMap<&'a str, BTreeMap<i64, f64>>;

pub(super) fn observe(
    variables: &mut Variables,
    traces: &Traces<'_>,
    spans: &Spans,
    batches: &[RecordBatch],
) -> Result<()> {
    let mut instances: HashMap<(&str, &str), Metrics<'_>> = HashMap::new();
    for batch in batches {
        let columns = Columns::of("metrics", batch);
        let (times, names, values) = (columns.time("time")?, columns.text("name")?, columns.double("value")?);
        let (services, ids) = (columns.text("service_name")?, columns.text("service_instance_id")?);
        for row in 0..batch.num_rows() {
            let (Some(time), Some(name), Some(value)) = (number(times, row), text(names, row), number(values, row))
            else {
                continue;
            };
            let (Some(service), Some(instance)) = (text(services, row), text(ids, row)) else { continue };
            let points = instances.entry((service, instance)).or_default().entry(name).or_default();
            *points.entry(time).or_default() += value;
        }
    }
    for (trace, ran_on) in &spans.instances {
        let Some(start) = traces.member(*trace).map(|member| member.start) else { continue };
        for (service, instance) in ran_on {
            for (name, points) in instances.get(&(service.as_str(), instance.as_str())).into_iter().flatten() {
                let last = points.range(start.saturating_sub(POINT_AGE)..=start).next_back();
                if let Some((_, used)) = last {
                    variables.measure(Kind::Memory, &format!("{service} {name}"), *trace, *used, f64::max, || None);
                }
            }
        }
    }
    Ok(())
}
