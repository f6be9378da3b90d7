//! `tracerag similar`: incidents like a text or like a trace.

use clap::Args;
use tracerag_query::SimilarRequest;

use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `similar`.
#[derive(Debug, Args)]
pub(crate) struct SimilarArgs {
    /// How many incidents at most
    #[arg(long, short = 'k', default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    k: u32,
    /// A failing trace to compare with
    #[arg(long, value_name = "ID", conflicts_with = "text", required_unless_present = "text")]
    trace: Option<String>,
    /// Only incidents of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// An error message, or a question in plain words
    text: Option<String>,
}

/// Prints the incidents, nearest first.
pub(crate) async fn run(context: Context, args: SimilarArgs) -> Result<(), Error> {
    let session = super::session(&context).await?;
    let request = SimilarRequest {
        text: args.text,
        trace_id: args.trace,
        k: args.k as usize,
        service: args.service,
        ..SimilarRequest::default()
    };
    let found = session.similar(&request).await?;
    if found.is_empty() {
        output::note("no incident is similar; `tracerag sql \"select title, failure_count from incidents\"` lists all");
        return Ok(());
    }
    let rows = found
        .iter()
        .map(|incident| {
            vec![
                incident.fingerprint.chars().take(12).collect(),
                incident.title.clone(),
                incident.distance.map_or_else(String::new, |distance| format!("{distance:.3}")),
                output::thousands(incident.failure_count),
                incident.reason.clone(),
                incident.fix_summary.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let header = ["fingerprint", "title", "distance", "failures", "reason", "known fix"];
    output::data(&output::table(&header, rows, &[2, 3]))
}
