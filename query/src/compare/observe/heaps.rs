//! Heap summaries that name a trace, or that were taken where and when it ran: the types and lines that hold most.

use arrow::record_batch::RecordBatch;

use super::Traces;
use super::spans::Spans;
use crate::bundle::{Footprint, HEAPS_AROUND};
use crate::compare::variables::{Kind, Variables};
use crate::error::Result;
use crate::rows::{Columns, items, number, text};

/// Types and lines of a summary that count, those with the most bytes.
const LARGEST: usize = 5;

pub(super) fn observe(
    variables: &mut Variables,
    traces: &Traces<'_>,
    spans: &Spans,
    heaps: &RecordBatch,
) -> Result<()> {
    let columns = Columns::of("heaps", heaps);
    let (ids, services) = (columns.text("trace_id")?, columns.text("service_name")?);
    let (instances, captured) = (columns.text("service_instance_id")?, columns.time("captured_at")?);
    let (types, sites) = (columns.list("top_types")?, columns.list("top_sites")?);
    let (of_type, of_site) = (columns.items(types, "top_types")?, columns.items(sites, "top_sites")?);
    let (type_names, type_bytes) = (of_type.text("type")?, of_type.int("bytes")?);
    let (functions, files) = (of_site.text("function")?, of_site.text("file")?);
    let (lines, site_bytes) = (of_site.int("line")?, of_site.int("bytes")?);
    for row in 0..heaps.num_rows() {
        let of: Vec<u32> = match text(ids, row) {
            Some(id) => traces.number(Some(id)).into_iter().collect(),
            // As a bundle joins them.
            None => {
                let Some(captured_at) = number(captured, row) else { continue };
                let (service, instance) = (text(services, row), text(instances, row));
                let covers = |footprint: &Footprint| footprint.covers(service, instance, captured_at, HEAPS_AROUND);
                spans.footprints.iter().filter(|(_, ran)| covers(ran)).map(|(trace, _)| *trace).collect()
            }
        };
        if of.is_empty() {
            continue;
        }
        let service = text(services, row).unwrap_or("(no service)");
        let held =
            items(types, row).filter_map(|item| Some((number(type_bytes, item), text(type_names, item)?.to_owned())));
        for name in largest(held.collect()) {
            for trace in &of {
                variables.say(Kind::HeapType, service, *trace, &name, || None);
            }
        }
        let allocated = items(sites, row).filter_map(|item| {
            let line = number(lines, item).map_or_else(String::new, |line| format!(":{line}"));
            let place = format!("{}{line}", text(files, item)?);
            let function = text(functions, item).map_or_else(String::new, |function| format!(" {function}"));
            Some((number(site_bytes, item), format!("{place}{function}")))
        });
        for name in largest(allocated.collect()) {
            for trace in &of {
                variables.say(Kind::HeapSite, service, *trace, &name, || None);
            }
        }
    }
    Ok(())
}

/// The names with the most bytes.
fn largest(mut held: Vec<(Option<i64>, String)>) -> Vec<String> {
    held.sort_by(|a, b| b.cmp(a));
    held.truncate(LARGEST);
    held.into_iter().map(|(_, name)| name).collect()
}
