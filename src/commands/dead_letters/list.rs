//! `tracerag dead-letters list`: how many letters there are, of what kind, and the newest of them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use clap::{Args, ValueEnum};
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use tracerag_query::{QueryError, Session, json as rows_json};

use super::{LETTERS, dump, quoted};
use crate::cli::Context;
use crate::error::Error;
use crate::output::{self, thousands};

/// Options of `dead-letters list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only letters of this reason: decode, change, too_large, gap
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only letters of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Those that were replayed, too
    #[arg(long)]
    all: bool,
    /// How many of the newest letters are listed one by one
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// How it is printed; csv has the letters only
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// Formats of `dead-letters list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// Aligned columns
    Table,
    /// One object: `summary` and `letters`
    Json,
    /// Comma-separated values with a header
    Csv,
}

/// Prints the summary and the newest letters.
pub(super) async fn run(context: Context, args: ListArgs) -> Result<(), Error> {
    let session = crate::commands::session(&context).await?;
    let chosen = chosen(&args);
    let (schema, letters) = rows(&session, &newest(&chosen, args.limit)).await?;
    if args.format == ListFormat::Csv {
        return crate::commands::sql::csv(&schema, &letters);
    }
    let (_, summary) = rows(&session, &summary(&chosen)).await?;
    let (summary, letters) = (objects(&summary)?, objects(&letters)?);
    if args.format == ListFormat::Json {
        return output::data(&format!("{:#}\n", json!({"summary": summary, "letters": letters})));
    }
    if summary.is_empty() {
        output::note(&nothing(&context.tenant, &args));
        return Ok(());
    }
    let mut text = String::from("Dead letters by reason\n");
    text.push_str(&summary_table(&summary));
    if !letters.is_empty() {
        text.push_str("\nThe newest; `tracerag dead-letters show LETTER` shows one\n");
        text.push_str(&letters_table(&letters, args.all));
    }
    output::data(&text)
}

fn chosen(args: &ListArgs) -> String {
    let mut terms = Vec::new();
    if let Some(reason) = &args.reason {
        terms.push(format!("reason = {}", quoted(reason)));
    }
    if let Some(topic) = &args.topic {
        terms.push(format!("topic = {}", quoted(topic)));
    }
    if !args.all {
        terms.push(String::from("replayed_at is null"));
    }
    if terms.is_empty() { String::from("true") } else { terms.join(" and ") }
}

/// A letter of a gap has no timestamp of its own.
fn summary(chosen: &str) -> String {
    format!(
        "select reason, topic, part as \"partition\", count(*) as letters, sum(size_bytes) as bytes, \
         min(coalesce(stamp, ingested_at)) as \"first\", max(coalesce(stamp, ingested_at)) as \"last\" \
         from ({LETTERS}) as known where {chosen} group by reason, topic, part \
         order by letters desc, reason, topic, \"partition\""
    )
}

fn newest(chosen: &str, limit: u32) -> String {
    format!(
        "select reason, topic, part as \"partition\", pos as \"offset\", size_bytes, \
         coalesce(stamp, ingested_at) as \"time\", replayed_at, detail \
         from ({LETTERS}) as known where {chosen} \
         order by ingested_at desc, topic, part, pos desc limit {limit}"
    )
}

async fn rows(session: &Session, query: &str) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
    let stream = session.sql(query, None).await?;
    let schema = stream.schema();
    let batches = stream.try_collect().await.map_err(QueryError::from)?;
    Ok((schema, batches))
}

fn objects(batches: &[RecordBatch]) -> Result<Vec<Map<String, Value>>, Error> {
    let mut objects = Vec::new();
    for batch in batches {
        objects.extend(rows_json::rows(batch)?);
    }
    for object in &mut objects {
        if let (Some(topic), Some(partition), Some(offset)) =
            (object.get("topic").and_then(Value::as_str), object.get("partition"), object.get("offset"))
        {
            let name = format!("{topic}/{partition}/{offset}");
            object.insert(String::from("letter"), Value::from(name));
        }
    }
    Ok(objects)
}

fn nothing(tenant: &str, args: &ListArgs) -> String {
    let of = |name: &str, value: &Option<String>| {
        value.as_ref().map_or_else(String::new, |value| format!(" of {name} {value}"))
    };
    let waits = if args.all { "" } else { " that waits to be replayed" };
    format!("tenant {tenant} has no dead letter{}{}{waits}", of("reason", &args.reason), of("topic", &args.topic))
}

fn cell(row: &Map<String, Value>, key: &str) -> String {
    match row.get(key) {
        Some(Value::String(text)) => dump::harmless(text),
        Some(Value::Number(number)) => number.as_i64().map_or_else(|| number.to_string(), thousands),
        _ => String::from("-"),
    }
}

fn summary_table(rows: &[Map<String, Value>]) -> String {
    let header = ["reason", "topic", "partition", "letters", "bytes", "first", "last"];
    let cells = rows.iter().map(|row| header.iter().map(|key| cell(row, key)).collect()).collect();
    output::table(&header, cells, &[2, 3, 4])
}

fn letters_table(rows: &[Map<String, Value>], all: bool) -> String {
    let keys: &[&str] = match all {
        true => &["letter", "reason", "size_bytes", "time", "replayed_at", "detail"],
        false => &["letter", "reason", "size_bytes", "time", "detail"],
    };
    let header: Vec<String> = keys.iter().map(|key| key.replace('_', " ")).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let cells = rows.iter().map(|row| keys.iter().map(|key| cell(row, key)).collect()).collect();
    output::table(&header, cells, &[2])
}
