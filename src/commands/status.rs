//! `tracerag status`: what the pipeline has taken and where it stands.
//!
//! One document has it all; the table is made of the document, wherever that comes from.

mod broker;
mod worker;

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};
use tracerag_query::status::{SERVICE_KEYS, of_installation, of_tenant};

use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::output::{self, thousands};
use crate::server::Server;

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// How it is printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// Formats of `status` and of `run --plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// Aligned columns
    Table,
    /// One object
    Json,
}

/// Prints positions, lag, open traces, tables, dead letters and what each service says of itself.
pub(crate) async fn run(context: Context, args: StatusArgs) -> Result<(), Error> {
    let (of, status) = match &context.server {
        Some(server) => (format!("server {}", server.url()), of_server(server).await?),
        None => (format!("lake {}", context.config.lake.uri), of_lake(&context).await?),
    };
    match args.format {
        StatusFormat::Table => output::data(&text(&of, &context.config, &status)),
        StatusFormat::Json => output::data(&format!("{status:#}\n")),
    }
}

async fn of_server(server: &Server) -> Result<Value, Error> {
    let answer = server.ask(Method::GET, &["v1", "status"], "application/json").await?;
    server.json(answer).await
}

/// The lake's status, with what brokers and a running worker add to it; null is what they do not say.
async fn of_lake(context: &Context) -> Result<Value, Error> {
    let session = super::session(context).await?;
    let head = session.snapshot().head();
    let listen = context.config.metrics.listen.as_str();
    let (broker, open_traces) = tokio::join!(broker::ask(&context.config, head), worker::open_traces(listen));
    let mut status = of_tenant(&session).await?;
    status.extend(of_installation(head));
    if let Some(partitions) = status.get_mut("partitions").and_then(Value::as_array_mut) {
        for ((partition, state), end) in partitions.iter_mut().zip(&head.sources).zip(&broker.ends) {
            partition["lag"] = json!(lag(state.next, *end));
        }
    }
    status.insert("waiting_for_topics".to_owned(), json!(broker.waiting_for.as_ref().ok()));
    status.insert("broker_error".to_owned(), json!(broker.waiting_for.as_ref().err()));
    status.insert("open_traces".to_owned(), json!(open_traces));
    Ok(Value::Object(status))
}

fn lag(next: Option<i64>, end: Option<i64>) -> Option<i64> {
    Some((end? - next.unwrap_or(0)).max(0))
}

/// The document as tables; `of` says what it is of.
fn text(of: &str, config: &Config, status: &Value) -> String {
    let mut text = format!("{of}  position {}\n{}", status["position"], schema(status));
    if let Some(tenant) = status["tenant"].as_str() {
        text.push_str(&format!("tenant {tenant}\n"));
    }
    // A server does not ask Kafka, and knows no worker.
    if let Some(reason) = status["broker_error"].as_str() {
        text.push_str(&format!("lag and missing topics are not known: {reason}\n"));
    }
    let waiting: Vec<&str> = entries(&status["waiting_for_topics"]).iter().filter_map(Value::as_str).collect();
    if !waiting.is_empty() {
        text.push_str(&format!("waiting for topics: {}\n", waiting.join(", ")));
    }
    if let Some(open) = status.get("open_traces") {
        let listen = config.metrics.listen.as_str();
        text.push_str(&match (open.as_u64(), listen) {
            (Some(open), listen) => format!("open traces: {} (worker at {listen})\n", thousands(open)),
            (None, "") => String::from("open traces: not known, metrics.listen is empty\n"),
            (None, listen) => format!("open traces: not known, no worker answers at {listen}\n"),
        });
    }
    if status["partitions"].is_array() {
        text.push_str("\nPartitions\n");
        text.push_str(&partitions(entries(&status["partitions"])));
    }
    text.push_str("\nTables\n");
    text.push_str(&tables(&status["tables"]));
    text.push_str(&match (status["services_error"].as_str(), status["services_since"].as_str()) {
        (Some(reason), _) => format!("\nServices are not known: {reason}\n"),
        (None, Some(since)) => format!(
            "\nServices, by the telemetry since {since}: whether builds (of spans) and flags (of traces) are stated, \
             inferred from changes, or missing\n{}",
            services(entries(&status["services"]))
        ),
        (None, None) => String::from("\nServices: none, the lake has no telemetry\n"),
    });
    text.push_str(&format!("\nDead letters\n{}", letters(entries(&status["dead_letters"]))));
    text
}

fn entries(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn schema(status: &Value) -> String {
    let (version, newest) = (&status["schema_version"], &status["newest_schema_version"]);
    match version.as_u64() < newest.as_u64() {
        true => format!(
            "schema version {version}; this release knows {newest}, `tracerag migrate` moves the lake when all workers \
             are of this release\n"
        ),
        false => format!("schema version {version}, that of this release\n"),
    }
}

fn partitions(partitions: &[Value]) -> String {
    let row = |partition: &Value| {
        // What was read and would be read again after a restart, because an open trace has one of it.
        let held = partition["next_offset"].as_i64().zip(partition["low_watermark"].as_i64());
        vec![
            cell(&partition["topic"]),
            cell(&partition["partition"]),
            cell(&partition["next_offset"]),
            cell(&partition["lag"]),
            held.map_or_else(|| String::from("-"), |(next, low)| thousands(next - low)),
            cell(&partition["stream_time"]),
        ]
    };
    output::table(
        &["topic", "partition", "next offset", "lag", "read again after a restart", "stream time"],
        partitions.iter().map(row).collect(),
        &[1, 2, 3, 4],
    )
}

fn tables(tables: &Value) -> String {
    let tables = tables.as_object().into_iter().flatten();
    output::table(&["table", "rows written"], tables.map(|(name, rows)| vec![name.clone(), cell(rows)]).collect(), &[1])
}

fn services(services: &[Value]) -> String {
    let header = SERVICE_KEYS.map(|key| key.replace('_', " "));
    let rows = services.iter().map(|row| Vec::from(SERVICE_KEYS.map(|key| cell(&row[key])))).collect();
    let right: Vec<usize> = (1..SERVICE_KEYS.len()).collect();
    output::table(&header.each_ref().map(String::as_str), rows, &right)
}

fn letters(letters: &[Value]) -> String {
    let keys = ["reason", "topic", "letters", "newest"];
    let rows = letters.iter().map(|row| Vec::from(keys.map(|key| cell(&row[key])))).collect();
    output::table(&keys, rows, &[2])
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_i64().map_or_else(|| number.to_string(), thousands),
        _ => String::from("-"),
    }
}
