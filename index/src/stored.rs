//! What the lake holds of given traces already: late fragments are compared with it before they are written.

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use futures::future::try_join_all;
use lance_table::format::Fragment;
use tracerag_schemas::Table;

use crate::columns::{complete, present};
use crate::error::{At, Error, Result};
use crate::journal::{DatasetHead, Head};
use crate::lake::Lake;

/// Trace ids in one filter; more are asked for in several scans.
const IDS_PER_SCAN: usize = 1_000;
/// Datasets that are looked into at once.
const DAYS_AT_ONCE: usize = 8;

/// The rows of `table` with one of these trace ids (lower-case hex), of all tenants, with the named columns, from days
/// that hold something taken at or after `since` (ns).
///
/// # Errors
/// When a dataset of the head cannot be read.
pub async fn stored_rows(
    lake: &Lake,
    head: &Head,
    table: Table,
    trace_ids: &[String],
    columns: &[&str],
    since: i64,
) -> Result<RecordBatch> {
    let schema = Arc::new(project(&lake.schemas().newest(table), columns));
    let mut batches = Vec::new();
    if !trace_ids.is_empty() {
        let is_recent = |dataset: &DatasetHead| dataset.ingested_at.is_none_or(|(_, greatest)| greatest >= since);
        let days: Vec<(String, u64)> = head
            .of(table)
            .filter(|(_, dataset)| dataset.rows > 0 && is_recent(dataset))
            .map(|(name, dataset)| (name.to_owned(), dataset.version))
            .collect();
        for days in days.chunks(DAYS_AT_ONCE) {
            let found = days.iter().map(|(name, version)| look_up(lake, name, *version, &schema, trace_ids, columns));
            batches.extend(try_join_all(found).await?.into_iter().flatten());
        }
    }
    concat_batches(&schema, &batches).at(table.name(), "joining stored rows")
}

/// The rows of one dataset.
async fn look_up(
    lake: &Lake,
    name: &str,
    version: u64,
    schema: &SchemaRef,
    trace_ids: &[String],
    columns: &[&str],
) -> Result<Vec<RecordBatch>> {
    let opened = lake.dataset(name, version).await?;
    let mut batches = Vec::new();
    for ids in trace_ids.chunks(IDS_PER_SCAN) {
        let mut scan = opened.scan();
        let scan = scan
            .project(&present(&opened, columns))
            .and_then(|scan| scan.filter(&in_list(ids)))
            .at(name, "planning a look-up")?;
        let stream = scan.try_into_stream().await.at(name, "looking up stored rows")?;
        let found: Vec<RecordBatch> = stream.try_collect().await.at(name, "looking up stored rows")?;
        for batch in found {
            // Lance may give fields other metadata, too.
            batches.push(complete(&batch, schema).at(name, "reading stored rows")?);
        }
    }
    Ok(batches)
}

/// The rows of a table with `ingested_at` at or after `since` (ns), of all tenants, with the named columns.
///
/// # Errors
/// When a dataset of the head cannot be read.
pub async fn rows_since(lake: &Lake, head: &Head, table: Table, since: i64, columns: &[&str]) -> Result<RecordBatch> {
    let schema = Arc::new(project(&lake.schemas().newest(table), columns));
    let recent = instant(since);
    let mut batches = Vec::new();
    for (name, dataset) in head.of(table) {
        if dataset.ingested_at.is_none_or(|(_, greatest)| greatest < since) {
            continue;
        }
        let opened = lake.dataset(name, dataset.version).await?;
        let mut scan = opened.scan();
        scan.project(&present(&opened, columns)).at(name, "planning a look-up")?;
        scan.filter_expr(col("ingested_at").gt_eq(lit(recent.clone())));
        let stream = scan.try_into_stream().await.at(name, "looking up recent rows")?;
        let found: Vec<RecordBatch> = stream.try_collect().await.at(name, "looking up recent rows")?;
        for batch in found {
            batches.push(complete(&batch, &schema).at(name, "reading recent rows")?);
        }
    }
    concat_batches(&schema, &batches).at(table.name(), "joining recent rows")
}

/// Partitions of one topic, and since when rows of them are wanted.
#[derive(Debug, Clone)]
pub struct TakenOf<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Numbers of the partitions.
    pub partitions: Vec<i32>,
    /// The earliest `ingested_at` in ns.
    pub since: i64,
}

/// Which of the rows that were taken since some time are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Only<'a> {
    /// Those without a trace id that came from one of these.
    WithoutTrace(&'a [TakenOf<'a>]),
    /// Those of some services whose `time` lies within one of some stretches.
    Near {
        /// The first and last time of each, both included, in ns.
        stretches: &'a [(i64, i64)],
        /// Names of services.
        services: &'a [String],
    },
}

impl Only<'_> {
    fn condition(self) -> Expr {
        match self {
            Only::WithoutTrace(topics) => {
                let from_topic = |of: &TakenOf<'_>| {
                    let partitions = of.partitions.iter().map(|number| lit(*number)).collect();
                    let is_of = col("kafka_topic").eq(lit(of.topic));
                    let is_of = is_of.and(col("kafka_partition").in_list(partitions, false));
                    is_of.and(col("ingested_at").gt_eq(lit(instant(of.since))))
                };
                let is_of_any = topics.iter().map(from_topic).reduce(Expr::or).unwrap_or_else(|| lit(false));
                col("trace_id").is_null().and(is_of_any)
            }
            Only::Near { stretches, services } => {
                let services = services.iter().map(|name| lit(name.as_str())).collect();
                let within = |(first, last): &(i64, i64)| {
                    col("time").gt_eq(lit(instant(*first))).and(col("time").lt_eq(lit(instant(*last))))
                };
                let is_near = stretches.iter().map(within).reduce(Expr::or).unwrap_or_else(|| lit(false));
                is_near.and(col("service_name").in_list(services, false))
            }
        }
    }
}

fn instant(time: i64) -> ScalarValue {
    ScalarValue::TimestampNanosecond(Some(time), Some(Arc::from("UTC")))
}

/// Hands out rows of a table with `ingested_at` at or after `since` (ns), of all tenants, with the named columns, batch by
/// batch in no stated order, until `take` says `false`: it has enough.
///
/// # Errors
/// When a dataset of the head cannot be read, or what `take` ends with.
pub async fn each_since<E: From<Error>>(
    lake: &Lake,
    head: &Head,
    table: Table,
    (since, only): (i64, Only<'_>),
    columns: &[&str],
    mut take: impl FnMut(RecordBatch) -> Result<bool, E>,
) -> Result<(), E> {
    let schema = Arc::new(project(&lake.schemas().newest(table), columns));
    let condition = col("ingested_at").gt_eq(lit(instant(since))).and(only.condition());
    for (name, dataset) in head.of(table) {
        if dataset.rows == 0 || dataset.ingested_at.is_none_or(|(_, greatest)| greatest < since) {
            continue;
        }
        let opened = lake.dataset(name, dataset.version).await?;
        let mut scan = opened.scan();
        scan.project(&present(&opened, columns)).at(name, "planning a look-up")?;
        scan.filter_expr(condition.clone());
        let mut stream = scan.try_into_stream().await.at(name, "looking up recent rows")?;
        while let Some(batch) = stream.try_next().await.at(name, "looking up recent rows")? {
            if !take(complete(&batch, &schema).at(name, "reading recent rows")?)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Hands out all rows of a table at a head, of all tenants, with the named columns, batch by batch in no stated order.
///
/// # Errors
/// When a dataset of the head cannot be read, or what `take` ends with.
pub async fn each_batch<E: From<Error>>(
    lake: &Lake,
    head: &Head,
    table: Table,
    columns: &[&str],
    mut take: impl FnMut(RecordBatch) -> Result<(), E>,
) -> Result<(), E> {
    let schema = Arc::new(project(&lake.schemas().newest(table), columns));
    for (name, dataset) in head.of(table).filter(|(_, dataset)| dataset.rows > 0) {
        let opened = lake.dataset(name, dataset.version).await?;
        let mut scan = opened.scan();
        scan.project(&present(&opened, columns)).at(name, "planning to read all rows")?;
        let mut stream = scan.try_into_stream().await.at(name, "reading all rows")?;
        while let Some(batch) = stream.try_next().await.at(name, "reading all rows")? {
            take(complete(&batch, &schema).at(name, "reading all rows")?)?;
        }
    }
    Ok(())
}

/// How far a small table was read: the greatest number that a fragment of it ever had; `None` before any.
pub type ReadTo = Option<u32>;

/// All changes of a small table at a head, of all tenants, in the order of the journal: all of `builds`, and of
/// `flags` all but the evaluations, which nothing later is joined with and of which there may be very many.
///
/// # Errors
/// When a dataset of the head cannot be read.
pub async fn changes(lake: &Lake, head: &Head, table: Table) -> Result<RecordBatch> {
    Ok(changes_since(lake, head, table, None).await?.0)
}

/// Those of them that were written since the table was read, and how far it is read now. Numbers of fragments only rise,
/// so only newer ones are looked into; rows that upkeep has merged meanwhile may come once more.
///
/// # Errors
/// When a dataset of the head cannot be read.
pub async fn changes_since(lake: &Lake, head: &Head, table: Table, since: ReadTo) -> Result<(RecordBatch, ReadTo)> {
    let schema = lake.schemas().newest(table);
    let mut batches = Vec::new();
    let mut read_to = since;
    for (name, dataset) in head.of(table).filter(|(_, dataset)| dataset.rows > 0) {
        let opened = lake.dataset(name, dataset.version).await?;
        read_to = read_to.max(opened.manifest().max_fragment_id);
        let is_new = |fragment: &&Fragment| since.is_none_or(|since| fragment.id > u64::from(since));
        let fragments: Vec<Fragment> = opened.fragments().iter().filter(is_new).cloned().collect();
        if fragments.is_empty() {
            continue;
        }
        let mut scan = opened.scan();
        // Differences of flag configurations build upon each other.
        scan.scan_in_order(true);
        if since.is_some() {
            scan.with_fragments(fragments);
            scan.use_scalar_index(false);
        }
        if table == Table::Flags {
            let source = || col("source");
            scan.filter_expr(source().is_null().or(source().not_eq(lit("evaluation"))));
        }
        let stream = scan.try_into_stream().await.at(name, "reading changes")?;
        let found: Vec<RecordBatch> = stream.try_collect().await.at(name, "reading changes")?;
        for batch in found {
            batches.push(complete(&batch, &schema).at(name, "reading changes")?);
        }
    }
    Ok((concat_batches(&schema, &batches).at(table.name(), "joining changes")?, read_to))
}

fn project(schema: &Schema, columns: &[&str]) -> Schema {
    let fields = columns.iter().filter_map(|name| schema.field_with_name(name).ok().cloned());
    Schema::new(fields.collect::<Vec<_>>())
}

fn in_list(ids: &[String]) -> String {
    // Ids are hex digits that we printed ourselves, so nothing needs quoting.
    debug_assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    format!("trace_id IN ({})", list.join(", "))
}
