//! `tracerag sql`: one query, a script of several, or a prompt.

mod prompt;
mod words;

use std::io::{IsTerminal as _, Read};
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::Args;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tracerag_query::encode::{Encoder, Encoding};
use tracerag_query::statements;

use crate::cli::{Context, Format};
use crate::error::Error;
use crate::output;
use crate::server::Server;

/// Options of `sql`.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// A script to read instead
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "query")]
    file: Option<PathBuf>,
    /// The query, or `-` to read it from stdin; without it, on a terminal, a prompt
    #[arg(value_name = "QUERY")]
    query: Option<String>,
}

/// Runs a query or a script; without either on a terminal, asks at a prompt.
pub(crate) async fn run(context: Context, args: SqlArgs) -> Result<(), Error> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if args.query.is_none() && args.file.is_none() && is_terminal {
        return prompt::run(&context, &args).await;
    }
    let text = read_query(&args)?;
    Asked::of(&context).script(&text, args.format).await
}

/// Who is asked: the lake, or a server.
pub(super) enum Asked<'a> {
    Lake(&'a Context),
    Server(&'a Server),
}

impl<'a> Asked<'a> {
    pub(super) fn of(context: &'a Context) -> Self {
        match &context.server {
            Some(server) => Self::Server(server),
            None => Self::Lake(context),
        }
    }

    /// Runs the statements in order; each prints its answer. On the lake all are planned before the first one runs, so
    /// that a mistake in the last leaves nothing on stdout.
    async fn script(&self, text: &str, format: Format) -> Result<(), Error> {
        let statements = statements(text)?;
        if statements.is_empty() {
            return Err(Error::Usage(String::from(
                "the query is empty; write e.g. tracerag sql \"select count(*) from spans\"",
            )));
        }
        if statements.len() > 1 && matches!(format, Format::Json | Format::Arrow) {
            return Err(Error::Usage(format!(
                "these are {} statements, and --format json or arrow prints the answer of one: run one statement at a \
                 time, or take --format table or csv",
                statements.len()
            )));
        }
        let context = match self {
            Self::Lake(context) => context,
            Self::Server(server) => {
                for statement in &statements {
                    ask(server, statement, format).await?;
                }
                return Ok(());
            }
        };
        let session = crate::commands::session(context).await?;
        let mut plans = Vec::with_capacity(statements.len());
        for statement in &statements {
            plans.push(session.plan(statement).await?);
        }
        for plan in plans {
            let stream = session.execute(plan, None).await?;
            let schema = stream.schema();
            let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(tracerag_query::QueryError::from)?;
            print(&schema, &batches, format)?;
        }
        Ok(())
    }

    /// The rows of a statement, an object each.
    pub(super) async fn rows(&self, statement: &str) -> Result<Vec<Value>, Error> {
        match self {
            Self::Lake(context) => {
                let batches = crate::commands::session(context).await?.collect(statement, None).await?;
                let mut rows = Vec::new();
                for batch in &batches {
                    rows.extend(tracerag_query::json::rows(batch)?.into_iter().map(Value::Object));
                }
                Ok(rows)
            }
            Self::Server(server) => {
                let answer = server.post(&["v1", "sql"], &json!({"query": statement, "format": "json"})).await?;
                match server.json(answer).await? {
                    Value::Array(rows) => Ok(rows),
                    _ => Ok(vec![]),
                }
            }
        }
    }
}

fn read_query(args: &SqlArgs) -> Result<String, Error> {
    match (&args.file, args.query.as_deref()) {
        (Some(path), _) => std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display()))),
        (None, Some("-")) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(Error::io("read the query from stdin"))?;
            Ok(text)
        }
        (None, Some(query)) => Ok(query.to_owned()),
        (None, None) => Err(Error::Usage(String::from(
            "give a query: tracerag sql \"select count(*) from spans\", - for stdin, or -f FILE for a script; a prompt needs \
             a terminal",
        ))),
    }
}

/// Asks a server, and prints its answer as it comes.
async fn ask(server: &Server, statement: &str, format: Format) -> Result<(), Error> {
    let wanted = match format {
        Format::Json => "json",
        Format::Csv => "csv",
        Format::Table | Format::Arrow => "arrow",
    };
    let answer = server.post(&["v1", "sql"], &json!({"query": statement, "format": wanted})).await?;
    if format != Format::Table {
        return server.each(answer, output::bytes).await;
    }
    let mut stream = Vec::new();
    server
        .each(answer, |bytes| {
            stream.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
    let reader = StreamReader::try_new(stream.as_slice(), None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    table(&schema, &batches)
}

fn print(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Result<(), Error> {
    match format {
        Format::Table => table(schema, batches),
        Format::Json => encoded(Encoding::Json, schema, batches),
        Format::Csv => csv(schema, batches),
        Format::Arrow => encoded(Encoding::Arrow, schema, batches),
    }
}

fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), Error> {
    let table = pretty_format_batches_with_schema(SchemaRef::clone(schema), batches)?;
    output::data(&format!("{table}\n"))
}

/// Prints rows as comma-separated values.
pub(super) fn csv(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), Error> {
    encoded(Encoding::Csv, schema, batches)
}

fn encoded(encoding: Encoding, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), Error> {
    let mut encoder = Encoder::new(encoding, schema)?;
    for batch in batches {
        output::bytes(&encoder.batch(batch)?)?;
    }
    output::bytes(&encoder.end()?)
}
