//! `log_templates([options])`: the statements that wrote the log records, with how often each did.
//!
//! Records have the template of their own text; here those that differ in one word of many are merged
//! ([`merged`]), which only all of them together can tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use serde::Deserialize;
use tracerag_index::templates::{merged, template_id};
use tracerag_schemas::Table;
use tracerag_schemas::tables::timestamp;

use super::arguments::Arguments;
use super::{Function, similar};
use crate::bundle::trace_id;
use crate::error::Result;
use crate::rows::{Columns, number, text};
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// Templates of one call that are told apart. Beyond them those with the greatest ids are counted as one row without a
/// template: which these are does not depend on the order of reading, and what is kept is counted in full.
const MOST: usize = 20_000;

const COLUMNS: [&str; 5] = ["time", "severity_number", "service_name", "template_id", "template"];

pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let ids = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        Arc::new(Schema::new(vec![
            Field::new("template_id", DataType::Utf8, true),
            Field::new("template", DataType::Utf8, true),
            Field::new("service_name", DataType::Utf8, true),
            Field::new("record_count", DataType::Int64, false),
            Field::new("severity_number", DataType::Int32, true),
            Field::new("first_seen", timestamp(), true),
            Field::new("last_seen", timestamp(), true),
            Field::new("template_ids", ids, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

pub(super) async fn call(snapshot: &Snapshot, arguments: &Arguments) -> Result<RecordBatch> {
    let options = match arguments.optional_text(0)? {
        Some(text) => options(text)?,
        None => Options::default(),
    };
    let (filter, ranges) = options.filter()?;
    let mut tally = Tally::default();
    snapshot.each(Table::Logs, Read { columns: &COLUMNS, filter, ranges }, |batch| tally.add(batch)).await?;
    batch(tally.finish())
}

/// The argument, as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    service: Option<String>,
    trace_id: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

fn options(text: &str) -> Result<Options> {
    serde_json::from_str(text).map_err(|error| {
        Function::LogTemplates.wrong(format!("options are a JSON object with service, trace_id, since, until: {error}"))
    })
}

impl Options {
    fn filter(&self) -> Result<(Option<Expr>, Vec<Range>)> {
        let time = |text: &Option<String>| {
            text.as_deref().map(|text| similar::time(Function::LogTemplates.name(), text)).transpose()
        };
        let (since, until) = (time(&self.since)?, time(&self.until)?);
        let trace = self.trace_id.as_deref().map(trace_id).transpose()?;
        let conditions = [
            self.service.as_deref().map(|service| col("service_name").eq(lit(service))),
            trace.map(|trace| col("trace_id").eq(lit(trace))),
            since.map(|since| col("time").gt_eq(time_literal(since))),
            until.map(|until| col("time").lt_eq(time_literal(until))),
        ];
        let filter = conditions.into_iter().flatten().reduce(Expr::and);
        let is_bounded = since.is_some() || until.is_some();
        let range = Range::new("time", since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
        Ok((filter, if is_bounded { vec![range] } else { vec![] }))
    }
}

/// What is counted of one template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count {
    records: i64,
    severity: Option<i32>,
    first: Option<i64>,
    last: Option<i64>,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.severity = self.severity.max(other.severity);
        self.last = self.last.max(other.last);
        self.first = match (self.first, other.first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// Templates by id and service, with their texts.
#[derive(Default)]
struct Tally {
    known: BTreeMap<(String, Option<String>), (String, Count)>,
    /// Records of templates for which there was no room, and of those without one.
    others: Count,
}

impl Tally {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of("logs", batch);
        let (times, severities) = (columns.time("time")?, columns.code("severity_number")?);
        let (services, ids) = (columns.text("service_name")?, columns.text("template_id")?);
        let templates = columns.text("template")?;
        // Texts are copied once a batch, not once a row.
        let mut found: HashMap<(&str, Option<&str>), (&str, Count)> = HashMap::new();
        for row in 0..batch.num_rows() {
            let time = number(times, row);
            let count = Count { records: 1, severity: number(severities, row), first: time, last: time };
            match (text(ids, row), text(templates, row)) {
                (Some(id), Some(template)) => {
                    let known = found.entry((id, text(services, row))).or_insert_with(|| (template, Count::default()));
                    known.1.add(&count);
                }
                _ => self.others.add(&count),
            }
        }
        for ((id, service), (template, count)) in found {
            let key = (id.to_owned(), service.map(str::to_owned));
            self.known.entry(key).or_insert_with(|| (template.to_owned(), Count::default())).1.add(&count);
            if self.known.len() > MOST
                && let Some((_, (_, count))) = self.known.pop_last()
            {
                self.others.add(&count);
            }
        }
        Ok(())
    }

    /// The statements, the most frequent first; then those that were left out as one.
    fn finish(self) -> Vec<Statement> {
        let mut of_service: BTreeMap<Option<String>, Vec<(String, String, Count)>> = BTreeMap::new();
        for ((id, service), (template, count)) in self.known {
            of_service.entry(service).or_default().push((id, template, count));
        }
        let mut statements = Vec::new();
        for (service, rows) in of_service {
            let templates: Vec<&str> = rows.iter().map(|(_, template, _)| template.as_str()).collect();
            let mut by_template: BTreeMap<String, Statement> = BTreeMap::new();
            for (template, (id, _, count)) in merged(&templates).into_iter().zip(&rows) {
                let statement = by_template.entry(template).or_insert_with(|| Statement {
                    template: None,
                    service: service.clone(),
                    count: Count::default(),
                    ids: vec![],
                });
                statement.count.add(count);
                statement.ids.push(id.clone());
            }
            let named = by_template.into_iter();
            statements.extend(named.map(|(template, statement)| Statement { template: Some(template), ..statement }));
        }
        statements.sort_by(|a, b| {
            let by_text = (&a.template, &a.service).cmp(&(&b.template, &b.service));
            b.count.records.cmp(&a.count.records).then(by_text)
        });
        if self.others.records > 0 {
            statements.push(Statement { template: None, service: None, count: self.others, ids: vec![] });
        }
        statements
    }
}

/// A row of the answer. Without a template: all records for whose templates there was no room, or that have none.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    template: Option<String>,
    service: Option<String>,
    count: Count,
    /// Ids of the templates in `logs`, rising.
    ids: Vec<String>,
}

fn batch(statements: Vec<Statement>) -> Result<RecordBatch> {
    let times = |time: fn(&Count) -> Option<i64>| -> ArrayRef {
        let times: TimestampNanosecondArray = statements.iter().map(|statement| time(&statement.count)).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let mut ids = ListBuilder::new(StringBuilder::new());
    for statement in &statements {
        for id in &statement.ids {
            ids.values().append_value(id);
        }
        ids.append(true);
    }
    let own_ids = statements.iter().map(|statement| statement.template.as_deref().map(template_id));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(own_ids.collect::<StringArray>()),
        Arc::new(statements.iter().map(|statement| statement.template.as_deref()).collect::<StringArray>()),
        Arc::new(statements.iter().map(|statement| statement.service.as_deref()).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(statements.iter().map(|statement| statement.count.records))),
        Arc::new(statements.iter().map(|statement| statement.count.severity).collect::<Int32Array>()),
        times(|count| count.first),
        times(|count| count.last),
        Arc::new(ids.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use tracerag_index::templates::template;

    use super::*;

    fn logs(bodies: impl Iterator<Item = (Option<&'static str>, String)>) -> RecordBatch {
        let rows: Vec<_> = bodies.collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(0..rows.len() as i64).with_timezone("UTC")),
            Arc::new(Int32Array::from_value(9, rows.len())),
            Arc::new(rows.iter().map(|(service, _)| *service).collect::<StringArray>()),
            Arc::new(
                rows.iter().map(|(_, body)| template(body, None).as_deref().map(template_id)).collect::<StringArray>(),
            ),
            Arc::new(rows.iter().map(|(_, body)| template(body, None)).collect::<StringArray>()),
        ];
        let stored = Table::Logs.lake_schema();
        let fields: Vec<_> = COLUMNS.iter().map(|name| stored.field_with_name(name).unwrap().clone()).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    /// Records are counted by statement, names that many records differ in are one, and services stay apart.
    #[test]
    fn statements_are_counted() {
        let names = ["alice", "bob", "carol", "dave", "erin"];
        let logins = names.iter().map(|name| (Some("shop"), format!("login of {name} refused")));
        let others =
            [(Some("stock"), "took 1 ms".to_owned()), (Some("stock"), "took 2 ms".to_owned()), (None, String::new())];
        let mut tally = Tally::default();
        tally.add(&logs(logins.chain(others))).unwrap();
        let answer = crate::json::rows(&batch(tally.finish()).unwrap()).unwrap();
        let told: Vec<_> = answer
            .iter()
            .map(|row| {
                json!([
                    row["template"],
                    row["service_name"],
                    row["record_count"],
                    row["template_ids"].as_array().unwrap().len()
                ])
            })
            .collect();
        assert_eq!(told[..2], [json!(["login of <*> refused", "shop", 5, 5]), json!(["took <*>", "stock", 2, 1]),]);
        assert_eq!(answer[2]["record_count"], json!(1));
        assert_eq!(answer[1]["template_id"], json!(template_id("took <*>")));
    }

    /// Of more templates than there is room for the same are counted whatever their order, each in full, and no record is
    /// lost. Guarantees an answer of bounded size that does not depend on the order of reading.
    #[test]
    fn what_has_no_room_is_counted() {
        let letters = |n: usize| -> String {
            (0..4).map(|place| char::from(b'a' + (n / 12_usize.pow(place) % 12) as u8)).collect()
        };
        let total = MOST + 700;
        let count = |backwards: bool| {
            let mut tally = Tally::default();
            for chunk in 0..total / 100 {
                let chunk = if backwards { total / 100 - 1 - chunk } else { chunk };
                tally.add(&logs((0..100).map(|n| (Some("s"), letters(chunk * 100 + n))))).unwrap();
            }
            tally.finish()
        };
        let forwards = count(false);
        assert_eq!(forwards.len(), MOST + 1);
        assert_eq!(forwards.iter().map(|statement| statement.count.records).sum::<i64>(), total as i64);
        let ids =
            |statements: &[Statement]| statements.iter().map(|statement| statement.ids.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&forwards), ids(&count(true)));
    }
}
