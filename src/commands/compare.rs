//! `tracerag compare`: what differs between failing traces and comparable good ones.

use clap::Args;
use serde_json::{Map, Value, json};
use tracerag_query::QueryError;
use tracerag_query::compare::Request;
use tracerag_query::untrusted::clean;

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::server::Server;

/// Digits of a reference at most that a server is asked about as a trace first: those of a trace id.
const TRACE_DIGITS: usize = 32;

/// Options of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A failing trace, or the fingerprint of an incident
    #[arg(value_name = "TRACE|FINGERPRINT")]
    reference: String,
    /// Only traces that began at or after this time, such as 2026-11-16T12:00:00Z [default: an hour before the trace, two
    /// before the incident's last failure]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only traces that began at or before it [default: an hour after the trace, the incident's last failure]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only traces of this deployment.environment.name [default: that of the failing trace]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// Prints what was compared, and what differs, most telling first.
pub(crate) async fn run(context: Context, args: CompareArgs) -> Result<(), Error> {
    let report = match &context.server {
        Some(server) => ask(server, &args).await?,
        None => {
            let session = super::session(&context).await?;
            let request = Request::about(&args.reference).narrowed(&Value::Object(options(&args)).to_string())?;
            session.compare(&request).await?.json()
        }
    };
    match args.format {
        StatusFormat::Table => output::data(&table(&report)),
        StatusFormat::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(QueryError::from)?;
            output::data(&format!("{text}\n"))
        }
    }
}

fn options(args: &CompareArgs) -> Map<String, Value> {
    let given = [("since", &args.since), ("until", &args.until), ("environment", &args.environment)];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))).collect()
}

/// Asks a server: about a trace, and where there is none of this id, about an incident.
async fn ask(server: &Server, args: &CompareArgs) -> Result<Value, Error> {
    let reference = args.reference.trim().to_ascii_lowercase();
    let about = |member: &str| {
        let mut request = options(args);
        request.insert(member.to_owned(), json!(reference));
        Value::Object(request)
    };
    let is_trace_id = reference.len() == TRACE_DIGITS && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_trace_id {
        match server.post(&["v1", "compare"], &about("trace_id")).await {
            Err(Error::Refused(detail)) if detail.starts_with("trace-unknown") => {}
            answer => return server.json(answer?).await,
        }
    }
    let answer = server.post(&["v1", "compare"], &about("fingerprint")).await?;
    server.json(answer).await
}

fn table(report: &Value) -> String {
    let text = |name: &str| report[name].as_str().unwrap_or_default();
    let mut lines = format!("{}\n{}\n", text("said"), text("rule"));
    for note in report["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        lines.push_str(&format!("- {note}\n"));
    }
    let mut lines = clean(&lines);
    let differences: Vec<Vec<String>> = report["differences"].as_array().into_iter().flatten().map(row).collect();
    if !differences.is_empty() {
        let header = ["rank", "kind", "name", "value", "failing", "good", "lift", "p, corrected"];
        lines.push_str(&output::table(&header, differences, &[0, 4, 5, 6, 7]));
    }
    lines
}

fn row(difference: &Value) -> Vec<String> {
    let text = |name: &str| clean(difference[name].as_str().unwrap_or_default());
    let of = |with: &str, all: &str| format!("{} of {}", difference[with], difference[all]);
    vec![
        difference["rank"].to_string(),
        text("kind"),
        text("name"),
        text("value"),
        of("failing_with", "failing"),
        of("good_with", "good"),
        difference["lift"].as_f64().map_or_else(String::new, |lift| format!("{lift:.1}")),
        difference["q_value"].as_f64().map_or_else(String::new, |q| format!("{q:.1e}")),
    ]
}
