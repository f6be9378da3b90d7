//! Which traces have spans that are looked for.

use datafusion::common::JoinType;
use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::expr_fn::{bool_or, count, max};
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, col, lit};
use futures::TryStreamExt;

use super::Interval;
use crate::error::Result;
use crate::rows::{Columns, number, text};
use crate::session::Session;

/// What is looked for.
#[derive(Debug, Clone)]
pub(in crate::server) struct Search {
    /// Conditions on spans. A span is looked for that meets any of them.
    pub conditions: Vec<Expr>,
    /// What has to hold for the trace, where more than one condition is given: a formula over `met_0`, `met_1` ..,
    /// each of which is whether a span meets that condition.
    pub trace: Option<Expr>,
    /// Whether conditions name columns of the whole trace; see [`spans`].
    pub of_traces: bool,
    /// When the spans started.
    pub interval: Interval,
    /// Traces at most.
    pub limit: usize,
}

/// A trace that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Hit {
    pub trace_id: String,
    /// Spans of it that were looked for.
    pub matched: u64,
}

impl Search {
    /// That a span is looked for.
    pub(in crate::server) fn filter(&self) -> Expr {
        let any = disjunction(self.conditions.iter().cloned());
        self.interval.filter().and(any.unwrap_or_else(|| lit(true)))
    }
}

/// The spans; if asked for with the columns `trace_root_name`, `trace_root_service` and `trace_duration_ns` of the
/// traces that they are of.
///
/// # Errors
/// When the lake cannot be read.
pub(in crate::server) async fn spans(session: &Session, of_traces: bool) -> Result<DataFrame> {
    let spans = session.context().table("spans").await?;
    if !of_traces {
        return Ok(spans);
    }
    let traces = session.context().table("traces").await?.select(vec![
        col("trace_id").alias("trace_of"),
        col("root_name").alias("trace_root_name"),
        col("root_service_name").alias("trace_root_service"),
        col("duration_ns").alias("trace_duration_ns"),
    ])?;
    Ok(spans.join(traces, JoinType::Left, &["trace_id"], &["trace_of"], None)?)
}

/// The traces that are found, the newest first.
///
/// # Errors
/// As [`Session::execute`].
pub(in crate::server) async fn find(session: &Session, search: &Search) -> Result<Vec<Hit>> {
    let mut told = vec![max(col("start_time")).alias("newest"), count(lit(1_i64)).alias("matched")];
    let met = search.conditions.iter().enumerate();
    told.extend(met.map(|(number, condition)| bool_or(condition.clone()).alias(format!("met_{number}"))));
    let frame = spans(session, search.of_traces).await?.filter(search.filter())?;
    let mut frame = frame.aggregate(vec![col("trace_id")], told)?;
    if let Some(trace) = &search.trace {
        frame = frame.filter(trace.clone())?;
    }
    let frame = frame
        .sort(vec![col("newest").sort(false, true), col("trace_id").sort(true, true)])?
        .limit(0, Some(search.limit))?
        .select_columns(&["trace_id", "matched"])?;
    let mut batches = session.execute(frame.into_unoptimized_plan(), None).await?;
    let mut hits = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let columns = Columns::of("spans", &batch);
        let (ids, counts) = (columns.text("trace_id")?, columns.int("matched")?);
        hits.extend((0..batch.num_rows()).filter_map(|row| {
            let matched = number(counts, row).and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
            Some(Hit { trace_id: text(ids, row)?.to_owned(), matched })
        }));
    }
    Ok(hits)
}
