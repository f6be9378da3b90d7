//! What the demo found, and what to type next.

use arrow::array::{AsArray, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use tracerag_query::{Session, SimilarRequest, bundle};

use super::{evidence, next};
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Prints counts and incidents, the evidence of one failing trace in short, similar incidents and three commands.
pub(super) async fn tell(context: &Context) -> Result<(), Error> {
    let session = crate::commands::session(context).await?;
    output::data("\nCounts\n")?;
    show(&session, COUNTS).await?;
    output::data("\nIncidents\n")?;
    show(&session, INCIDENTS).await?;
    let Some(trace_id) = failing_trace(&session).await? else {
        output::note("the recording has no failing trace; this copy of tracerag is damaged, build it again");
        return Ok(());
    };
    let bundle = bundle::store(&session, bundle::assemble(&session, &trace_id).await?).await?;
    output::data(&format!(
        "\nThe newest incident with flag, build, heap and payload, in trace {trace_id}\n{}",
        evidence::in_short(&bundle)
    ))?;
    output::data("\nSimilar incidents\n")?;
    output::data(&similar(&session, &trace_id).await?)?;
    output::data(&next::commands(context, &bundle.evidence))
}

const COUNTS: &str = "select (select count(*) from traces) traces, (select count(*) from spans) spans, \
     (select count(*) from logs) logs, (select count(*) from metrics) metric_points, \
     (select count(*) from failures) failures, (select count(*) from incidents) incidents, \
     (select count(*) from dead_letters) dead_letters";

const INCIDENTS: &str = "select substr(title, 1, 80) title, service_name, failure_count failures, trace_count traces, \
     versions from incidents order by failure_count desc, title limit 8";

/// The newest trace of the newest incident of which everything is known: a heap of the span that failed, the payload,
/// the build and the flags. What has failed all along is not what somebody is called for.
const FAILING: &str = "select f.trace_id from failures f join incidents i on i.fingerprint = f.fingerprint \
     join heaps h on h.trace_id = f.trace_id and h.span_id = f.span_id join payloads p on p.trace_id = f.trace_id \
     where f.build_git_sha is not null and cardinality(f.flags) > 0 \
     order by i.first_seen desc, f.time desc, f.trace_id limit 1";

/// As many as there are failures in the trace, as a rule, and some that only resemble them.
const SIMILAR: usize = 5;

async fn rows(session: &Session, query: &str) -> Result<Vec<RecordBatch>, Error> {
    let stream = session.sql(query, None).await?;
    Ok(stream.try_collect().await.map_err(tracerag_query::QueryError::from)?)
}

async fn show(session: &Session, query: &str) -> Result<(), Error> {
    output::data(&format!("{}\n", pretty_format_batches(&rows(session, query).await?)?))
}

async fn failing_trace(session: &Session) -> Result<Option<String>, Error> {
    let batches = rows(session, FAILING).await?;
    let found = batches.iter().find(|batch| batch.num_rows() > 0);
    Ok(found.and_then(|batch| batch.column(0).as_string_opt::<i32>().map(|ids| ids.value(0).to_owned())))
}

async fn similar(session: &Session, trace_id: &str) -> Result<String, Error> {
    let request = SimilarRequest { trace_id: Some(trace_id.to_owned()), k: SIMILAR, ..SimilarRequest::default() };
    let found = session.similar(&request).await?;
    let rows = found
        .iter()
        .map(|incident| {
            let distance = incident.distance.map_or_else(String::new, |distance| format!("{distance:.3}"));
            vec![evidence::clip(&incident.title, 80), distance, incident.reason.clone()]
        })
        .collect();
    Ok(output::table(&["title", "distance", "reason"], rows, &[1]))
}
