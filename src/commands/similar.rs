//! `tracerag similar`: incidents like a text or like a trace.

use clap::Args;
use serde_json::{Value, json};
use tracerag_query::{SimilarIncident, SimilarRequest};

use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::server::Server;

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
    /// Only incidents seen in these versions of their service, such as ">=1.8 <2"
    #[arg(long, value_name = "BOUNDS")]
    versions: Option<String>,
    /// What the text is; where it is not said, a text with frames in it is a stack
    #[arg(long = "as", value_name = "KIND", value_parser = ["message", "stacktrace", "span_path", "payload"])]
    asked: Option<String>,
    /// An error message, a question in plain words, or a stack trace
    text: Option<String>,
}

/// Prints the incidents, nearest first.
pub(crate) async fn run(context: Context, args: SimilarArgs) -> Result<(), Error> {
    let found = match &context.server {
        Some(server) => ask(server, &args).await?,
        None => {
            let session = super::session(&context).await?;
            let request = SimilarRequest {
                text: args.text,
                trace_id: args.trace,
                k: args.k as usize,
                service: args.service,
                versions: args.versions,
                asked: args.asked.and_then(|asked| serde_json::from_value(json!(asked)).ok()),
                ..SimilarRequest::default()
            };
            session.similar(&request).await?.iter().map(SimilarIncident::json).collect()
        }
    };
    if found.is_empty() {
        output::note("no incident is similar; `tracerag sql \"select title, failure_count from incidents\"` lists all");
        return Ok(());
    }
    let header = ["fingerprint", "title", "distance", "failures", "reason", "known fix"];
    output::data(&output::table(&header, found.iter().map(row).collect(), &[2, 3]))
}

/// Asks a server.
async fn ask(server: &Server, args: &SimilarArgs) -> Result<Vec<Value>, Error> {
    let request = json!({"text": args.text, "trace_id": args.trace, "k": args.k, "service": args.service,
                         "versions": args.versions, "asked": args.asked});
    let answer = server.post(&["v1", "similar"], &request).await?;
    let mut answer = server.json(answer).await?;
    match answer.get_mut("incidents").map(Value::take) {
        Some(Value::Array(incidents)) => Ok(incidents),
        _ => Ok(vec![]),
    }
}

fn row(incident: &Value) -> Vec<String> {
    let text = |name: &str| incident[name].as_str().unwrap_or_default();
    let mut fixes = incident["fixes"].as_array().into_iter().flatten();
    let came_back = fixes.any(|fix| fix["summary"] == incident["fix_summary"] && fix["came_back"] == true);
    let after = match (incident["regressed_version"].as_str(), came_back) {
        (Some(version), true) => format!(" (it came back afterwards, in {version})"),
        (None, true) => String::from(" (it came back afterwards)"),
        (_, false) => String::new(),
    };
    vec![
        text("fingerprint").chars().take(12).collect(),
        text("title").to_owned(),
        incident["distance"].as_f64().map_or_else(String::new, |distance| format!("{distance:.3}")),
        output::thousands(incident["failure_count"].as_i64().unwrap_or_default()),
        text("reason").to_owned(),
        format!("{}{after}", text("fix_summary")),
    ]
}
