//! DuckDB in a Python process of its own, on Parquet files of the lake's rows.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use arrow::ipc::writer::StreamWriter;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use tracerag_query::Session;

use super::Answer;
use crate::Outcome;

const PROGRAM: &str = include_str!("beside.py");
/// Tables that the questions name.
const TABLES: [&str; 5] = ["spans", "logs", "traces", "failures", "metrics"];

/// A running DuckDB.
pub struct Duckdb {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Its version.
    pub version: String,
}

/// Writes all rows that the questions need as Parquet, by DuckDB's own writer; files that are there are left.
///
/// # Errors
/// When the lake cannot be read, or Python does not do it.
pub async fn write(python: &str, session: &Session, folder: &Path) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    for table in TABLES {
        let file = folder.join(format!("{table}.parquet"));
        if file.exists() {
            continue;
        }
        // It counts as there when it is whole.
        let unfinished = folder.join(format!("{table}.unfinished"));
        let mut child = command(python, folder, "write")?.arg(&unfinished).stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("the process has no input")?;
        let mut rows = session.sql(&format!("select * from {table}"), None).await?;
        let first = rows.try_next().await?.ok_or_else(|| format!("the lake has no {table}"))?;
        let mut writer = StreamWriter::try_new(BufWriter::new(input), &first.schema())?;
        writer.write(&first)?;
        while let Some(batch) = rows.try_next().await? {
            writer.write(&batch)?;
        }
        writer.finish()?;
        // Its input ends with the writer.
        drop(writer);
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("writing {} failed: {status}", file.display()).into());
        }
        std::fs::rename(unfinished, file)?;
    }
    Ok(())
}

/// Python with the program, which lies beside what it reads.
fn command(python: &str, folder: &Path, action: &str) -> Outcome<Command> {
    let program: PathBuf = folder.join("beside.py");
    std::fs::write(&program, PROGRAM)?;
    let mut command = Command::new(python);
    command.arg(program).arg(action);
    Ok(command)
}

impl Duckdb {
    /// Starts it on a folder of Parquet files.
    ///
    /// # Errors
    /// When Python cannot be started, or has no DuckDB.
    pub fn start(python: &str, folder: &Path) -> Outcome<Self> {
        let mut child =
            command(python, folder, "ask")?.arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("the process has no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("the process has no output")?);
        let mut duckdb = Self { child, input, output, version: String::new() };
        let hello = duckdb.line()?;
        duckdb.version = hello["version"].as_str().unwrap_or("?").to_owned();
        Ok(duckdb)
    }

    /// Asks a statement whose answer has a whole number `n`.
    ///
    /// # Errors
    /// When DuckDB does not take it; its reason stands on stderr.
    pub fn ask(&mut self, sql: &str) -> Outcome<Answer> {
        writeln!(self.input, "{}", json!({ "sql": sql }))?;
        self.input.flush()?;
        let answer = self.line()?;
        let number = |key: &str| answer[key].as_i64().ok_or_else(|| format!("no {key} in {answer}"));
        Ok(Answer {
            time: Duration::from_nanos(number("ns")?.unsigned_abs()),
            rows: usize::try_from(number("rows")?)?,
            sum: number("sum")?,
        })
    }

    fn line(&mut self) -> Outcome<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("DuckDB has ended (see above)".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Duckdb {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell of any other failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
