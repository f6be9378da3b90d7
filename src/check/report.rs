//! What a check found, for people and for programs.

use serde_json::{Map, Value, json};
use tracerag_schemas::Table;

use super::judge::{Counts, Difference, Verdict};
use super::ledger::Entry;
use super::places::Places;
use super::rows::TABLES;
use crate::output::{self, thousands};

/// What a check found.
pub(crate) struct Report {
    /// The lake's position.
    pub(super) position: u64,
    /// Messages that were read.
    pub(super) messages: u64,
    pub(super) places: Places,
    pub(super) verdict: Verdict,
}

impl Report {
    /// How many records are missing, doubled, different or extra.
    pub(crate) fn differences(&self) -> u64 {
        self.verdict.counts.iter().map(Counts::differences).sum()
    }

    fn not_taken(&self) -> i64 {
        self.places.all.iter().map(|place| place.not_taken).sum()
    }

    fn tables(&self) -> impl Iterator<Item = (Table, &Counts)> {
        TABLES.into_iter().zip(&self.verdict.counts)
    }

    fn examples(&self) -> impl Iterator<Item = (Difference, &Entry)> {
        self.verdict.examples.iter().flat_map(|(difference, found)| found.iter().map(|entry| (*difference, entry)))
    }

    /// A table, and examples of what differs.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{} messages of {} partitions or files, read again and compared with position {}\n",
            thousands(self.messages),
            thousands(self.places.all.len() as i128),
            self.position
        );
        let rows = self
            .tables()
            .map(|(table, counts)| {
                let numbers = columns(counts).map(|(_, number)| thousands(number));
                std::iter::once(table.name().to_owned()).chain(numbers).collect()
            })
            .collect();
        let header = columns(&Counts::default()).map(|(name, _)| name.replace('_', " "));
        let header: Vec<&str> = std::iter::once("table").chain(header.iter().map(String::as_str)).collect();
        let right: Vec<usize> = (1..header.len()).collect();
        text.push_str(&output::table(&header, rows, &right));
        if self.not_taken() > 0 {
            text.push_str(&format!(
                "not compared: {} offsets at the ends of partitions, which the lake has not taken yet\n",
                thousands(self.not_taken())
            ));
        }
        for source in &self.places.gone {
            text.push_str(&format!("not compared: {source}, which Kafka or [topics] does not have any more\n"));
        }
        let examples: Vec<Vec<String>> =
            self.examples().map(|(difference, entry)| self.example_row(difference, entry)).collect();
        if !examples.is_empty() {
            text.push_str("\nExamples\n");
            let header = ["is", "table", "topic", "partition", "offset", "trace id", "span id"];
            text.push_str(&output::table(&header, examples, &[3, 4]));
        }
        text
    }

    fn example_row(&self, difference: Difference, entry: &Entry) -> Vec<String> {
        let dash = || String::from("-");
        let place = self.places.get(entry.source);
        vec![
            difference.name().to_owned(),
            table_of(entry).to_owned(),
            place.map_or_else(dash, |place| place.source.topic.to_string()),
            place.map_or_else(dash, |place| place.source.partition.to_string()),
            entry.offset.to_string(),
            hex_id(&entry.trace_id).unwrap_or_else(dash),
            hex_id(&entry.span_id).unwrap_or_else(dash),
        ]
    }

    /// The same as one object.
    pub(crate) fn json(&self) -> Value {
        let tables: Map<String, Value> = self
            .tables()
            .map(|(table, counts)| {
                let numbers: Map<String, Value> =
                    columns(counts).into_iter().map(|(name, number)| (name.to_owned(), Value::from(number))).collect();
                (table.name().to_owned(), Value::Object(numbers))
            })
            .collect();
        let partitions: Vec<Value> = self
            .places
            .all
            .iter()
            .map(|place| {
                let is_topic = place.kind.is_some();
                json!({
                    "topic": &*place.source.topic, "partition": place.source.partition,
                    "from": place.from, "to": is_topic.then_some(place.to), "not_taken": place.not_taken,
                })
            })
            .collect();
        let examples: Vec<Value> = self
            .examples()
            .map(|(difference, entry)| {
                let place = self.places.get(entry.source);
                json!({
                    "difference": difference.name(), "table": table_of(entry),
                    "topic": place.map(|place| &*place.source.topic),
                    "partition": place.map(|place| place.source.partition), "offset": entry.offset,
                    "trace_id": hex_id(&entry.trace_id), "span_id": hex_id(&entry.span_id),
                })
            })
            .collect();
        json!({
            "differences": self.differences(),
            "position": self.position,
            "messages": self.messages,
            "not_taken": self.not_taken(),
            "tables": tables,
            "partitions": partitions,
            "gone": self.places.gone.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "examples": examples,
        })
    }
}

fn columns(counts: &Counts) -> [(&'static str, u64); 8] {
    [
        ("sent", counts.sent),
        ("in_the_lake", counts.stored),
        ("missing", counts.missing),
        ("doubled", counts.doubled),
        ("different", counts.different),
        ("extra", counts.extra),
        ("pending", counts.pending),
        ("expired", counts.expired),
    ]
}

fn table_of(entry: &Entry) -> &'static str {
    TABLES.get(usize::from(entry.table)).map_or("-", |table| table.name())
}

/// `None` for one that is all zeros: there is none.
fn hex_id(id: &[u8]) -> Option<String> {
    id.iter().any(|byte| *byte != 0).then(|| hex::encode(id))
}
