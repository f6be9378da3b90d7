//! What it costs to give log records their templates: records a CPU-second, for messages without variables, for such of
//! which each is new, and for a mix of both, as services write them.
//!
//! `cargo run --release -p tracerag-benches --bin templates -- [RECORDS]`

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{Field, Schema};
use tracerag_benches::machine;
use tracerag_index::templates::with_templates;
use tracerag_schemas::Table;

/// Records of one batch, as many as an epoch has under load.
const BATCH: usize = 50_000;
/// Statements of the load.
const STATEMENTS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let records: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    println!("{}", machine::describe());
    measure("messages that repeat", records, constant)?;
    measure("messages of which each is new", records, variable)?;
    measure("nine that repeat and one that is new", records, |number| match number % 10 {
        0 => variable(number),
        _ => constant(number),
    })
}

fn constant(number: usize) -> String {
    format!("statement{} of the service has begun its work on the queue", letters(number % STATEMENTS))
}

fn variable(number: usize) -> String {
    let statement = letters(number % STATEMENTS);
    format!(
        "statement{statement} of order {number} by 4d3f04e2-70b1-4297-86ec-{number:012x} took {}.5 ms, status={}",
        number % 977,
        number % 5
    )
}

/// A name without digits.
fn letters(number: usize) -> String {
    [number / 26, number].iter().map(|number| char::from(b'a' + (number % 26) as u8)).collect()
}

fn measure(what: &str, records: usize, body: impl Fn(usize) -> String) -> Result<(), Box<dyn Error>> {
    let batches: Vec<RecordBatch> = (0..records.div_ceil(BATCH))
        .map(|batch| logs((batch * BATCH..records.min((batch + 1) * BATCH)).map(&body)))
        .collect::<Result<_, _>>()?;
    let before = machine::cpu_time();
    let mut rows = 0;
    for batch in &batches {
        rows += with_templates(batch)?.num_rows();
    }
    let took = (machine::cpu_time() - before).as_secs_f64();
    println!("{what}: {:.0} records a CPU-second ({rows} in {took:.2} s)", rows as f64 / took.max(0.01));
    Ok(())
}

fn logs(bodies: impl Iterator<Item = String>) -> Result<RecordBatch, Box<dyn Error>> {
    let bodies: StringArray = bodies.map(Some).collect();
    let rows = bodies.len();
    let bodies: ArrayRef = Arc::new(bodies);
    let schema = Table::Logs.in_flight_schema();
    // What templates do not look at is null, whether the table wants it or not.
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let columns = fields.iter().map(|field| match field.name().as_str() {
        "body" => Arc::clone(&bodies),
        _ => new_null_array(field.data_type(), rows),
    });
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns.collect())?)
}
