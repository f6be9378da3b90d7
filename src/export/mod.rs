//! Tables as files that other engines read: Parquet in hive partitions by day, or Delta tables.
//!
//! - **In:** a session on one head, and a folder that an earlier export may have written.
//! - **Out:** a file for each day of a table that has changed since, and a [`Manifest`] that names all files of the head.
//!   It is written last, so a folder whose export broke off is still that of the one before; the next export goes on.
//!
//! A day is written anew as a whole when its dataset has another version than the manifest says, or, where one dataset has
//! all days of a table, other rows: late rows, retention and erasure reach other engines alike, and no row is ever there
//! twice. Versions are numbers that another lake may have, too,
//! so the manifest knows which commits they are, and begins anew where one differs.

mod columns;
mod days;
mod delta;
mod files;
mod manifest;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use tracerag_query::{QueryError, Session};
use tracerag_schemas::Table;
use tracerag_schemas::time::day_name;

use crate::error::Error;
use columns::Columns;
pub(crate) use manifest::Report;
use manifest::{ExportedTable, Manifest};

/// Versions of datasets that are looked at together.
const AT_ONCE: usize = 16;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Parquet files, named by manifest.json
    Parquet,
    /// Delta tables of the protocol's reader version 1 and writer version 2
    Delta,
}

/// How maps of attributes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Maps {
    /// As maps, as the lake has them: MAP in DuckDB, Map in ClickHouse
    Map,
    /// Columns with maps in them as JSON text: for BigQuery, which has no maps
    Json,
}

/// How exact times are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Times {
    /// Nanoseconds, as the lake has them
    Ns,
    /// Microseconds: for BigQuery; Delta has no others
    Us,
}

/// What is exported, and how.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) format: Format,
    pub(crate) to: PathBuf,
    /// Names of tables; empty: all of them.
    pub(crate) tables: Vec<String>,
    /// The position of an earlier export, from which on changes are reported; without it, the last one.
    pub(crate) since_position: Option<u64>,
    pub(crate) maps: Maps,
    pub(crate) times: Times,
}

/// A table that can be exported, as SQL names it, and where it is stored. Views whose rows change with other rows (the
/// newest revision of a trace, incidents) are not: they are queries over these.
struct Source {
    name: &'static str,
    table: Table,
    /// What is selected of it. A column that is computed from other tables may change without the day.
    columns: &'static str,
}

static SOURCES: [Source; 10] = [
    Source { name: "spans", table: Table::Spans, columns: "*" },
    Source { name: "logs", table: Table::Logs, columns: "* except (joined_by)" },
    Source { name: "metrics", table: Table::Metrics, columns: "*" },
    Source { name: "trace_revisions", table: Table::Traces, columns: "*" },
    Source { name: "failures", table: Table::Failures, columns: "*" },
    Source { name: "flag_events", table: Table::Flags, columns: "*" },
    Source { name: "build_events", table: Table::Builds, columns: "*" },
    Source { name: "payloads", table: Table::Payloads, columns: "*" },
    Source { name: "heaps", table: Table::Heaps, columns: "*" },
    Source { name: "incident_counts", table: Table::IncidentCounts, columns: "*" },
];

/// Exports what a session sees, and says what has changed.
///
/// # Errors
/// When a table cannot be read or written, an option fits no table, or the folder holds something else.
pub(crate) async fn export(session: &Session, options: &Options) -> Result<Report, Error> {
    let mut sources = chosen(&options.tables)?;
    let snapshot = session.snapshot();
    let last = Manifest::newest(&options.to)?;
    let mut manifest = Manifest::new(snapshot.lake().uri(), snapshot.tenant(), options, snapshot.head().position);
    let mut known = None;
    if let Some(last) = &last {
        last.is_continued_by(&manifest, &options.to)?;
        if is_of_this_lake(session, last).await? {
            // Tables that are not asked for this time stay as they are.
            manifest.tables.clone_from(&last.tables);
            known = Some(last);
        } else {
            tracing::warn!(
                folder = %options.to.display(),
                of = last.lake,
                "the folder holds an export of another lake, or of this one before it was made anew or restored; all of its \
                 tables are exported anew"
            );
            Manifest::forget_kept(&options.to)?;
            let is_left = |source: &&Source| last.tables.contains_key(source.name);
            let left: Vec<&Source> = SOURCES.iter().filter(is_left).collect();
            let asked: Vec<&str> = sources.iter().map(|source| source.name).collect();
            sources.extend(left.into_iter().filter(|source| !asked.contains(&source.name)));
        }
    }
    let base = match options.since_position {
        Some(position) => Manifest::of_position(&options.to, position)?,
        None => last.clone(),
    };
    for source in sources {
        let exported = table(session, source, known, options).await?;
        manifest.tables.insert(source.name.to_owned(), exported);
    }
    manifest.write(&options.to)?;
    manifest.sweep(options.format, &options.to);
    Ok(manifest.since(base.as_ref()))
}

/// Whether an export is of this lake as it goes on. A lake that was made anew, or has gone back to a backup, may give
/// versions that are known to other rows.
async fn is_of_this_lake(session: &Session, last: &Manifest) -> Result<bool, Error> {
    let (lake, head) = (session.snapshot().lake(), session.snapshot().head());
    if last.lake != lake.uri() || last.position > head.position {
        return Ok(false);
    }
    let mut known = Vec::new();
    for source in &SOURCES {
        let Some(exported) = last.tables.get(source.name) else { continue };
        for (name, dataset) in head.of(source.table) {
            // A table that is not by day has one dataset for all of its days.
            let mut partitions = exported.partitions.iter().filter(|(day, partition)| {
                partition.version == dataset.version && name.split_once('/').is_none_or(|(_, of)| of == day.as_str())
            });
            known.extend(partitions.next().map(|(_, partition)| (name, partition)));
        }
    }
    for some in known.chunks(AT_ONCE) {
        let commits = some.iter().map(|(name, partition)| lake.commit_id(name, partition.version));
        let commits = try_join_all(commits).await?;
        if commits.iter().zip(some).any(|(commit, (_, partition))| *commit != partition.commit) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Source>, Error> {
    let known = || SOURCES.iter().map(|source| source.name).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        return Ok(SOURCES.iter().collect());
    }
    let of_name = |name: &String| {
        let found = SOURCES.iter().find(|source| source.name == name);
        found.ok_or_else(|| Error::Usage(format!("--tables: {name:?} cannot be exported; there are {}", known())))
    };
    names.iter().map(of_name).collect()
}

/// Writes the days of a table that have changed.
async fn table(
    session: &Session,
    source: &Source,
    last: Option<&Manifest>,
    options: &Options,
) -> Result<ExportedTable, Error> {
    let days = days::days(session, source).await?;
    let before = last.and_then(|last| last.tables.get(source.name));
    let schema = session.plan(&format!("select {} from {} limit 0", source.columns, source.name)).await?;
    let columns = Columns::new(schema.schema().as_arrow(), options.maps, options.times);
    let described = columns.described();
    // With other columns, files of before would not fit.
    let before = before.filter(|before| before.columns == described);
    let mut exported = ExportedTable { columns: described, partitions: BTreeMap::new() };
    let mut written = Vec::new();
    for (day, of) in days {
        let kept = before.and_then(|before| before.partitions.get(&day)).filter(|kept| kept.is_there(&options.to));
        let is_kept = match kept {
            Some(kept) => of.is(session, kept).await?,
            None => false,
        };
        let files = match kept.filter(|_| is_kept) {
            Some(kept) => kept.files.clone(),
            None => {
                written.push(day.clone());
                partition(session, source, &day, &columns, options).await?
            }
        };
        let partition = of.exported(session, files).await?;
        if !partition.files.is_empty() {
            exported.partitions.insert(day, partition);
        }
    }
    if options.format == Format::Delta {
        delta::commit(&options.to.join(source.name), &columns, &exported, session.snapshot().head().position)?;
    }
    tracing::info!(table = source.name, days = exported.partitions.len(), written = written.len(), "exported");
    Ok(exported)
}

/// Writes one day of a table; no file where the tenant has no rows.
async fn partition(
    session: &Session,
    source: &Source,
    day: &str,
    columns: &Columns,
    options: &Options,
) -> Result<Vec<manifest::File>, Error> {
    let query = format!(
        "select {} from {} where ingested_at >= timestamp '{day}T00:00:00Z' and ingested_at < timestamp '{}T00:00:00Z'",
        source.columns,
        source.name,
        next_day(day)?
    );
    let mut rows = session.sql(&query, None).await?;
    let mut writer = None;
    while let Some(batch) = rows.try_next().await.map_err(QueryError::from)? {
        if batch.num_rows() == 0 {
            continue;
        }
        let batch = columns.convert(&batch)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(files::Writer::create(&options.to, source.name, day, columns)?),
        };
        writer.write(&batch)?;
    }
    match writer {
        Some(writer) => Ok(vec![writer.finish()?]),
        None => Ok(vec![]),
    }
}

/// The day after one, both as `2026-11-16`.
fn next_day(day: &str) -> Result<String, Error> {
    const DAY: i64 = 86_400;
    let seconds = humantime::parse_rfc3339(&format!("{day}T00:00:00Z"))
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_secs()).ok());
    let seconds = seconds.ok_or_else(|| Error::Usage(format!("the lake has a day {day:?}, which is none")))?;
    Ok(day_name(seconds / DAY + 1))
}

#[cfg(test)]
mod tests;
