//! `tracerag sql`: one query, or a script of several.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::Args;
use futures::TryStreamExt;
use serde_json::Value;
use tracerag_query::{json, statements};

use crate::cli::{Context, Format};
use crate::error::Error;
use crate::output;

/// Options of `sql`.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// A script to read instead
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "query")]
    file: Option<PathBuf>,
    /// The query, or `-` to read it from stdin
    #[arg(value_name = "QUERY")]
    query: Option<String>,
}

/// Runs the statements in order; each prints its answer. All are planned before the first one runs, so that a mistake
/// in the last leaves nothing on stdout.
pub(crate) async fn run(context: Context, args: SqlArgs) -> Result<(), Error> {
    let text = read_query(&args)?;
    let statements = statements(&text)?;
    if statements.is_empty() {
        return Err(Error::Usage(String::from(
            "the query is empty; write e.g. tracerag sql \"select count(*) from spans\"",
        )));
    }
    if statements.len() > 1 && matches!(args.format, Format::Json | Format::Arrow) {
        return Err(Error::Usage(format!(
            "these are {} statements, and --format json or arrow prints the answer of one: run one statement at a time, \
             or take --format table or csv",
            statements.len()
        )));
    }
    let session = super::session(&context).await?;
    let mut plans = Vec::with_capacity(statements.len());
    for statement in &statements {
        plans.push(session.plan(statement).await?);
    }
    for plan in plans {
        let stream = session.execute(plan, None).await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(tracerag_query::QueryError::from)?;
        print(&schema, &batches, args.format)?;
    }
    Ok(())
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
            "give a query: tracerag sql \"select count(*) from spans\", - for stdin, or -f FILE for a script",
        ))),
    }
}

fn print(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Result<(), Error> {
    match format {
        Format::Table => {
            let table = pretty_format_batches_with_schema(SchemaRef::clone(schema), batches)?;
            output::data(&format!("{table}\n"))
        }
        Format::Json => output::data(&json_rows(batches)?),
        Format::Csv => csv(schema, batches),
        Format::Arrow => arrow_stream(schema, batches),
    }
}

/// One array, a row a line.
fn json_rows(batches: &[RecordBatch]) -> Result<String, Error> {
    let mut text = String::from("[");
    for batch in batches {
        for row in json::rows(batch)? {
            text.push_str(if text.len() > 1 { ",\n " } else { "" });
            text.push_str(&Value::Object(row).to_string());
        }
    }
    text.push_str("]\n");
    Ok(text)
}

/// CSV has no nested values: a column of lists, maps, structs or bytes is its JSON form as text.
pub(super) fn csv(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), Error> {
    let mut buffer = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut buffer);
    if batches.is_empty() {
        writer.write(&flat(&RecordBatch::new_empty(SchemaRef::clone(schema)))?)?;
    }
    for batch in batches {
        writer.write(&flat(batch)?)?;
    }
    drop(writer);
    output::bytes(&buffer)
}

fn flat(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let is_flat = !field.data_type().is_nested()
            && !field.data_type().is_binary()
            && field.data_type() != &DataType::FixedSizeBinary(16);
        let flat: ArrayRef = if is_flat { ArrayRef::clone(column) } else { Arc::new(json_texts(column)?) };
        fields.push(Field::new(field.name(), flat.data_type().clone(), true));
        columns.push(flat);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn json_texts(column: &ArrayRef) -> Result<StringArray, Error> {
    let texts = (0..column.len()).map(|row| match json::value(column, row)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        value => Ok(Some(value.to_string())),
    });
    texts.collect()
}

fn arrow_stream(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), Error> {
    let mut buffer = Vec::new();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut buffer, schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    output::bytes(&buffer)
}
