//! Payloads in the texts of the kind `shape`.
//!
//! Payloads do not pass the window: they are written when they come, so who finds the failures of a trace has not got
//! them, while whoever sees its incidents at a head sees its payloads there as well.

use std::collections::{BTreeSet, HashMap};

use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use tracerag_schemas::Table;

use super::texts::{IncidentText, column};
use crate::error::{At, Result};
use crate::failures::projections;
use crate::journal::Head;
use crate::lake::Lake;

/// Different payloads of a trace that are part of a text.
const MOST_PAYLOADS: usize = 4;
/// Traces whose payloads are read at a time.
const TRACES_AT_A_TIME: usize = 500;

/// Different payloads of traces as texts, by tenant and trace id.
type Payloads = HashMap<(String, String), BTreeSet<String>>;

/// Puts the payloads of their example traces behind the names of spans that the texts have. Of many payloads the least
/// are taken, so that a text does not depend on the order of reading.
///
/// # Errors
/// When the payloads of the head cannot be read.
pub(super) async fn add(lake: &Lake, head: &Head, texts: &mut [IncidentText]) -> Result<()> {
    for texts in texts.chunks_mut(TRACES_AT_A_TIME) {
        let payloads = read(lake, head, texts).await?;
        for text in texts {
            let Some(trace_id) = &text.example_trace_id else { continue };
            if let Some(found) = payloads.get(&(text.tenant.clone(), trace_id.clone())) {
                text.text = projections::shape(&text.text, found.iter().map(String::as_str));
            }
        }
    }
    Ok(())
}

async fn read(lake: &Lake, head: &Head, texts: &[IncidentText]) -> Result<Payloads> {
    let mut payloads = Payloads::new();
    let traces: BTreeSet<&str> = texts.iter().filter_map(|text| text.example_trace_id.as_deref()).collect();
    let stored = head.of(Table::Payloads).next().filter(|(_, payloads)| payloads.rows > 0 && !traces.is_empty());
    let Some((name, known)) = stored else { return Ok(payloads) };
    let dataset = lake.dataset(name, known.version).await?;
    let mut scan = dataset.scan();
    scan.project(&["tenant_id", "trace_id", "shape"]).at(name, "reading payloads of incidents")?;
    scan.filter_expr(col("trace_id").in_list(traces.into_iter().map(lit).collect(), false));
    let mut rows = scan.try_into_stream().await.at(name, "reading payloads of incidents")?;
    while let Some(batch) = rows.try_next().await.at(name, "reading payloads of incidents")? {
        let (tenants, ids) = (column(&batch, "tenant_id")?, column(&batch, "trace_id")?);
        for ((tenant, id), shape) in tenants.iter().zip(ids).zip(column(&batch, "shape")?) {
            let (Some(tenant), Some(id), Some(shape)) = (tenant, id, shape) else { continue };
            let Some(payload) = projections::payload(shape) else { continue };
            let found = payloads.entry((tenant.to_owned(), id.to_owned())).or_default();
            found.insert(payload);
            if found.len() > MOST_PAYLOADS {
                found.pop_last();
            }
        }
    }
    Ok(payloads)
}
