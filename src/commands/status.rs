//! `tracerag status`: what the pipeline has taken and where it stands.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use clap::Args;
use futures::TryStreamExt;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use tracerag_index::{Head, Lake};
use tracerag_ingest::source::files::FILE_CLUSTER;
use tracerag_query::{Session, json as rows_json};
use tracerag_schemas::{Table, time};

use crate::cli::{Context, Format};
use crate::config::Config;
use crate::error::Error;
use crate::output::{self, thousands};

/// How long a broker may take to tell its offsets.
const BROKER_WITHIN: Duration = Duration::from_secs(2);

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// `table` or `json`
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints positions, lag, tables, dead letters and what each service says of itself.
pub(crate) async fn run(context: Context, args: StatusArgs) -> Result<(), Error> {
    if !matches!(args.format, Format::Table | Format::Json) {
        return Err(Error::Usage(String::from("status prints --format table or json")));
    }
    let lake = Lake::open(context.config.lake.options()).await?;
    let head = lake.newest_head().await?;
    let ends = ends(&context.config, &head).await;
    let session = super::session(&context).await?;
    let services = rows(&session, SERVICES).await?;
    let dead = rows(&session, DEAD_LETTERS).await?;
    if args.format == Format::Json {
        return as_json(&head, &ends, &services, &dead);
    }
    output::data(&format!("lake {}  position {}\n\nPartitions\n", lake.uri(), head.position))?;
    output::data(&partitions(&head, &ends))?;
    output::data("\nTables\n")?;
    output::data(&tables(&head))?;
    output::data("\nServices: builds and flags stated, inferred (as_of) or missing\n")?;
    output::data(&format!("{}\n", pretty_format_batches(&services)?))?;
    output::data("\nDead letters\n")?;
    output::data(&format!("{}\n", pretty_format_batches(&dead)?))
}

const SERVICES: &str = "select s.service_name service, s.spans, s.builds_stated, s.builds_inferred, s.builds_missing, \
     coalesce(e.evaluations, 0) flag_evaluations, coalesce(c.changes, 0) flag_changes from \
     (select service_name, count(*) spans, sum(case when build_match = 'stated' then 1 else 0 end) builds_stated, \
      sum(case when build_match in ('as_of', 'ambiguous') then 1 else 0 end) builds_inferred, \
      sum(case when build_match is null then 1 else 0 end) builds_missing from spans group by 1) s \
     left join (select service_name, count(*) evaluations from flag_events where source = 'evaluation' group by 1) e \
      on e.service_name = s.service_name \
     left join (select service_name, count(*) changes from flag_events where source = 'change' group by 1) c \
      on c.service_name = s.service_name order by s.spans desc, 1";

const DEAD_LETTERS: &str = "select reason, kafka_topic topic, count(*) letters, max(timestamp) newest from dead_letters group by 1, 2 order by 3 desc";

async fn rows(session: &Session, query: &str) -> Result<Vec<RecordBatch>, Error> {
    let stream = session.sql(query, None).await?;
    Ok(stream.try_collect().await.map_err(tracerag_query::QueryError::from)?)
}

/// The ends of the partitions of the head, asked from the broker; `None` where it does not answer.
async fn ends(config: &Config, head: &Head) -> Vec<Option<i64>> {
    let kafka: Vec<_> = head.sources.iter().map(|state| state.source.clone()).collect();
    if kafka.iter().all(|source| source.cluster.as_ref() == FILE_CLUSTER) {
        return vec![None; kafka.len()];
    }
    let config = config.kafka.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &config.bootstrap_servers);
        for (key, value) in &config.options {
            client.set(key, value);
        }
        let consumer: Option<BaseConsumer> = client.create().ok();
        let reachable = consumer.filter(|consumer| consumer.fetch_metadata(None, BROKER_WITHIN).is_ok());
        kafka
            .iter()
            .map(|source| match &reachable {
                Some(consumer) if source.cluster.as_ref() != FILE_CLUSTER => {
                    consumer.fetch_watermarks(&source.topic, source.partition, BROKER_WITHIN).ok().map(|(_, high)| high)
                }
                _ => None,
            })
            .collect::<Vec<_>>()
    });
    asked.await.unwrap_or_else(|_| vec![None; head.sources.len()])
}

fn lag(next: Option<i64>, end: Option<i64>) -> Option<i64> {
    Some((end? - next.unwrap_or(0)).max(0))
}

fn partitions(head: &Head, ends: &[Option<i64>]) -> String {
    let number = |value: Option<i64>| value.map_or_else(|| String::from("-"), thousands);
    let rows = head
        .sources
        .iter()
        .zip(ends)
        .map(|(state, end)| {
            let open = state.next.zip(state.low_watermark).map(|(next, low)| next - low);
            vec![
                state.source.topic.to_string(),
                state.source.partition.to_string(),
                number(state.next),
                number(lag(state.next, *end)),
                number(open),
                state.stream_time.filter(|time| *time > 0).map_or_else(|| String::from("-"), time::rfc3339),
            ]
        })
        .collect();
    output::table(
        &["topic", "partition", "next offset", "lag", "records held by open traces", "stream time"],
        rows,
        &[1, 2, 3, 4],
    )
}

fn tables(head: &Head) -> String {
    let rows = Table::ALL
        .iter()
        .filter(|table| !table.is_side())
        .map(|table| {
            let (days, rows) =
                head.of(*table).fold((0, 0), |(days, rows), (_, dataset)| (days + 1, rows + dataset.rows));
            vec![table.name().to_owned(), thousands(rows), thousands(days)]
        })
        .collect();
    output::table(&["table", "rows written (all tenants)", "datasets"], rows, &[1, 2])
}

fn as_json(head: &Head, ends: &[Option<i64>], services: &[RecordBatch], dead: &[RecordBatch]) -> Result<(), Error> {
    let partitions: Vec<Value> = head
        .sources
        .iter()
        .zip(ends)
        .map(|(state, end)| {
            json!({
                "topic": state.source.topic.as_ref(), "partition": state.source.partition, "next_offset": state.next,
                "lag": lag(state.next, *end), "low_watermark": state.low_watermark,
                "stream_time": state.stream_time.filter(|time| *time > 0).map(time::rfc3339),
            })
        })
        .collect();
    let tables: serde_json::Map<String, Value> = Table::ALL
        .iter()
        .filter(|table| !table.is_side())
        .map(|table| (table.name().to_owned(), json!(head.of(*table).map(|(_, dataset)| dataset.rows).sum::<u64>())))
        .collect();
    let objects = |batches: &[RecordBatch]| -> Result<Vec<Value>, Error> {
        let mut all = Vec::new();
        for batch in batches {
            all.extend(rows_json::rows(batch)?.into_iter().map(Value::Object));
        }
        Ok(all)
    };
    let status = json!({
        "position": head.position, "partitions": partitions, "tables": tables,
        "services": objects(services)?, "dead_letters": objects(dead)?,
    });
    output::data(&format!("{status:#}\n"))
}
