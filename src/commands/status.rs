//! `tracerag status`: what the pipeline has taken and where it stands.

mod broker;
mod services;
mod worker;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use tracerag_index::{Head, Lake};
use tracerag_query::{Session, json as rows_json};
use tracerag_schemas::{Table, time};

use crate::cli::Context;
use crate::error::Error;
use crate::output::{self, thousands};

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

/// Everything that is shown.
struct Status<'a> {
    lake: &'a Lake,
    head: &'a Head,
    broker: broker::Broker,
    /// Where a worker of this configuration answers; empty: nowhere.
    listen: &'a str,
    open_traces: Option<u64>,
    /// Or in words why they could not be counted.
    services: Result<Option<services::Services>, String>,
    dead_letters: Vec<RecordBatch>,
}

/// Prints positions, lag, open traces, tables, dead letters and what each service says of itself.
pub(crate) async fn run(context: Context, args: StatusArgs) -> Result<(), Error> {
    let lake = Lake::open_to_ask(context.config.lake.options()).await?;
    let head = lake.newest_head().await?;
    let session = super::session(&context).await?;
    let listen = context.config.metrics.listen.as_str();
    let (broker, open_traces) = tokio::join!(broker::ask(&context.config, &head), worker::open_traces(listen));
    // A lake with more than can be counted in a minute has a status all the same.
    let services = services::of(&session, &head).await.map_err(|error| error.to_string());
    let dead_letters = rows(&session, &dead_letters()).await?;
    let status = Status { lake: &lake, head: &head, broker, listen, open_traces, services, dead_letters };
    match args.format {
        StatusFormat::Table => output::data(&status.text()?),
        StatusFormat::Json => output::data(&format!("{:#}\n", status.json()?)),
    }
}

/// Those that wait: what was replayed stands elsewhere.
fn dead_letters() -> String {
    let letters = super::dead_letters::LETTERS;
    format!(
        "select reason, topic, count(*) letters, max(stamp) newest from ({letters}) as known \
         where replayed_at is null group by 1, 2 order by 3 desc"
    )
}

async fn rows(session: &Session, query: &str) -> Result<Vec<RecordBatch>, Error> {
    let stream = session.sql(query, None).await?;
    Ok(stream.try_collect().await.map_err(tracerag_query::QueryError::from)?)
}

fn lag(next: Option<i64>, end: Option<i64>) -> Option<i64> {
    Some((end? - next.unwrap_or(0)).max(0))
}

/// Records that were read and would be read again after a restart, because an open trace has one of them.
fn held(next: Option<i64>, low_watermark: Option<i64>) -> Option<i64> {
    Some(next? - low_watermark?)
}

impl Status<'_> {
    fn text(&self) -> Result<String, Error> {
        let mut text = format!("lake {}  position {}\n", self.lake.uri(), self.head.position);
        text.push_str(&self.schema());
        match &self.broker.waiting_for {
            Ok(topics) if topics.is_empty() => {}
            Ok(topics) => text.push_str(&format!("waiting for topics: {}\n", topics.join(", "))),
            Err(reason) => text.push_str(&format!("lag and missing topics are not known: {reason}\n")),
        }
        text.push_str(&match (self.open_traces, self.listen) {
            (Some(open), listen) => format!("open traces: {} (worker at {listen})\n", thousands(open)),
            (None, "") => String::from("open traces: not known, metrics.listen is empty\n"),
            (None, listen) => format!("open traces: not known, no worker answers at {listen}\n"),
        });
        text.push_str("\nPartitions\n");
        text.push_str(&self.partitions());
        text.push_str("\nTables\n");
        text.push_str(&self.tables());
        match &self.services {
            Ok(Some(services)) => text.push_str(&format!(
                "\nServices, by the telemetry since {}: whether builds (of spans) and flags (of traces) are stated, \
                 inferred from changes, or missing\n{}",
                services.since,
                service_table(&services.services)
            )),
            Ok(None) => text.push_str("\nServices: none, the lake has no telemetry\n"),
            Err(reason) => text.push_str(&format!("\nServices are not known: {reason}\n")),
        }
        text.push_str(&format!("\nDead letters\n{}\n", pretty_format_batches(&self.dead_letters)?));
        Ok(text)
    }

    fn schema(&self) -> String {
        let (version, newest) = (self.head.schema_version, self.lake.schemas().version());
        match version < newest {
            true => format!(
                "schema version {version}; this release knows {newest}, `tracerag migrate` moves the lake when all \
                 workers are of this release\n"
            ),
            false => format!("schema version {version}, that of this release\n"),
        }
    }

    fn partitions(&self) -> String {
        let number = |value: Option<i64>| value.map_or_else(|| String::from("-"), thousands);
        let rows = self
            .head
            .sources
            .iter()
            .zip(&self.broker.ends)
            .map(|(state, end)| {
                vec![
                    state.source.topic.to_string(),
                    state.source.partition.to_string(),
                    number(state.next),
                    number(lag(state.next, *end)),
                    number(held(state.next, state.low_watermark)),
                    state.stream_time.filter(|time| *time > 0).map_or_else(|| String::from("-"), time::rfc3339),
                ]
            })
            .collect();
        output::table(
            &["topic", "partition", "next offset", "lag", "read again after a restart", "stream time"],
            rows,
            &[1, 2, 3, 4],
        )
    }

    fn tables(&self) -> String {
        let rows = Table::ALL
            .iter()
            .filter(|table| !table.is_side())
            .map(|table| {
                let (days, rows) =
                    self.head.of(*table).fold((0, 0), |(days, rows), (_, dataset)| (days + 1, rows + dataset.rows));
                vec![table.name().to_owned(), thousands(rows), thousands(days)]
            })
            .collect();
        output::table(&["table", "rows written (all tenants)", "datasets"], rows, &[1, 2])
    }

    fn json(&self) -> Result<Value, Error> {
        let partitions: Vec<Value> = self
            .head
            .sources
            .iter()
            .zip(&self.broker.ends)
            .map(|(state, end)| {
                json!({
                    "topic": state.source.topic.as_ref(), "partition": state.source.partition,
                    "next_offset": state.next, "lag": lag(state.next, *end), "low_watermark": state.low_watermark,
                    "stream_time": state.stream_time.filter(|time| *time > 0).map(time::rfc3339),
                })
            })
            .collect();
        let tables: Map<String, Value> = Table::ALL
            .iter()
            .filter(|table| !table.is_side())
            .map(|table| {
                (table.name().to_owned(), json!(self.head.of(*table).map(|(_, dataset)| dataset.rows).sum::<u64>()))
            })
            .collect();
        let mut dead_letters = Vec::new();
        for batch in &self.dead_letters {
            dead_letters.extend(rows_json::rows(batch)?);
        }
        let services = self.services.as_ref().ok();
        let counted = services.and_then(Option::as_ref);
        // What is not known is null; that there are no services is an empty list.
        let rows = services.map(|_| counted.map(|services| services.services.as_slice()).unwrap_or_default());
        Ok(json!({
            "position": self.head.position,
            "schema_version": self.head.schema_version,
            "newest_schema_version": self.lake.schemas().version(),
            "waiting_for_topics": self.broker.waiting_for.as_ref().ok(),
            "broker_error": self.broker.waiting_for.as_ref().err(),
            "open_traces": self.open_traces,
            "partitions": partitions,
            "tables": tables,
            "services_since": counted.map(|services| &services.since),
            "services": rows,
            "dead_letters": dead_letters,
        }))
    }
}

fn service_table(services: &[Map<String, Value>]) -> String {
    let header = services::KEYS.map(|key| key.replace('_', " "));
    let cell = |row: &Map<String, Value>, key: &str| match row.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.as_i64().map_or_else(|| number.to_string(), thousands),
        _ => String::from("-"),
    };
    let rows = services.iter().map(|row| Vec::from(services::KEYS.map(|key| cell(row, key)))).collect();
    let right: Vec<usize> = (1..services::KEYS.len()).collect();
    output::table(&header.each_ref().map(String::as_str), rows, &right)
}
