//! What of the evaluations of flags is a change: a service begins to evaluate a variant.
//!
//! Services evaluate flags with every request, so most evaluations say what the one before did. A variant that a service
//! had not evaluated for a day is one that it did not have. Of each hour the first and the last evaluation are kept, which
//! is enough to see the gaps, however many there are in between.
//!
//! An evaluation that names no variant has a value, which of some flags is another one with each request: a number, a user.
//! Of a flag with more values than anybody sets nothing is a change.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::StringArray;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use crate::error::Result;
use crate::rows::{Columns, number, owned, text};
use crate::snapshot::{Read, Snapshot};

/// `source` of a row that an evaluation brought.
pub(super) const EVALUATION: &str = "evaluation";
/// The parts of time of which the first and the last evaluation are kept, in ns.
const HOUR: i64 = 3600 * SECOND;
/// Variants, or else values, of a flag within the time that is read, beyond which none of them is a change.
const MOST_VALUES: usize = 1_000;

const COLUMNS: [&str; 6] = ["key", "variant", "value", "service_name", "deployment_environment_name", "valid_from"];

/// A service begins to evaluate a variant of a flag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Begin {
    pub key: Option<String>,
    /// The variant, else the value.
    pub value: Option<String>,
    pub service: Option<String>,
    pub environment: Option<String>,
    /// When it was first evaluated, in ns.
    pub at: i64,
}

/// The begins of rows that meet a filter: evaluations without one of the same in the time `back` (ns) before. Flags with more
/// than [`MOST_VALUES`] values are left out.
///
/// # Errors
/// When the lake cannot be read.
pub(super) async fn begins(snapshot: &Snapshot, filter: Expr, back: i64) -> Result<Vec<Begin>> {
    let filter = filter.and(col("source").eq(lit(EVALUATION)));
    let mut evaluations = Evaluations::default();
    let read = Read { columns: &COLUMNS, filter: Some(filter), ranges: vec![] };
    snapshot.each(Table::Flags, read, |batch| evaluations.take(batch)).await?;
    Ok(evaluations.begins(back))
}

/// What was evaluated.
#[derive(Debug, Default)]
struct Evaluations {
    /// By what was evaluated and by whom, of each key as long as it has few values.
    known: HashMap<String, Evaluated>,
    /// The values of each key; of one that has too many, one more than it may have.
    values: HashMap<Option<String>, HashSet<Option<String>>>,
}

/// One variant in one service.
#[derive(Debug)]
struct Evaluated {
    /// With the first time that was read of it.
    what: Begin,
    /// The first and the last evaluation of each hour that has some.
    hours: BTreeMap<i64, (i64, i64)>,
}

impl Evaluations {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of("flags", batch);
        let (keys, variants, values) = (columns.text("key")?, columns.text("variant")?, columns.text("value")?);
        let (services, environments) = (columns.text("service_name")?, columns.text("deployment_environment_name")?);
        let times = columns.time("valid_from")?;
        let mut identity = String::new();
        for row in 0..batch.num_rows() {
            let Some(at) = number(times, row) else { continue };
            let value = if text(variants, row).is_some() { variants } else { values };
            tell_apart(&[keys, value, services, environments], row, &mut identity);
            match self.known.get_mut(&identity) {
                Some(known) => {
                    let (first, last) = known.hours.entry(at.div_euclid(HOUR)).or_insert((at, at));
                    (*first, *last) = ((*first).min(at), (*last).max(at));
                }
                None => {
                    let (key, value) = (owned(keys, row), owned(value, row));
                    if !self.has_room(key.as_ref(), value.as_ref()) {
                        continue;
                    }
                    let what =
                        Begin { key, value, service: owned(services, row), environment: owned(environments, row), at };
                    let hours = BTreeMap::from([(at.div_euclid(HOUR), (at, at))]);
                    self.known.insert(identity.clone(), Evaluated { what, hours });
                }
            }
        }
        Ok(())
    }

    /// Notes a value of a key, and says whether the key has few.
    fn has_room(&mut self, key: Option<&String>, value: Option<&String>) -> bool {
        let values = self.values.entry(key.cloned()).or_default();
        if values.len() <= MOST_VALUES {
            values.insert(value.cloned());
        }
        values.len() <= MOST_VALUES
    }

    /// In no stated order.
    fn begins(self, back: i64) -> Vec<Begin> {
        let mut begins = Vec::new();
        let Self { known, values } = self;
        let has_few = |key: &Option<String>| values.get(key).is_none_or(|values| values.len() <= MOST_VALUES);
        for Evaluated { what, hours } in known.into_values().filter(|evaluated| has_few(&evaluated.what.key)) {
            let mut before: Option<i64> = None;
            for (first, last) in hours.into_values() {
                if before.is_none_or(|before| first.saturating_sub(before) > back) {
                    begins.push(Begin { at: first, ..what.clone() });
                }
                before = Some(last);
            }
        }
        begins
    }
}

/// Writes what tells a row apart by some columns.
fn tell_apart(columns: &[&StringArray], row: usize, into: &mut String) {
    into.clear();
    for column in columns {
        match text(column, row) {
            // The length keeps neighbours apart.
            Some(text) => {
                into.push_str(&text.len().to_string());
                into.push(':');
                into.push_str(text);
            }
            None => into.push('-'),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::lake::{at, batch, row};

    const DAY: i64 = 24 * HOUR;

    fn evaluated(seconds: i64, service: &str, variant: &str) -> Value {
        row(
            "acme",
            1,
            seconds,
            json!({"kind": "flag", "key": "mode", "variant": variant, "value": format!("of {variant}"),
                "service_name": service, "valid_from": at(seconds), "source": EVALUATION}),
        )
    }

    /// A service evaluates a variant again and again, another one once, and the first anew after two days; another service
    /// has them at its own times. Guarantees that only the first evaluation of each variant, and the one after a gap that
    /// is longer than a day, begin something, in whatever order the rows come.
    #[test]
    fn only_the_first_after_a_gap_begins() {
        let day = DAY / SECOND;
        let mut rows: Vec<Value> = (0..50).map(|n| evaluated(n * 1_700, "cart", "on")).collect();
        rows.extend([evaluated(500, "cart", "off"), evaluated(9, "web", "on"), evaluated(3 * day, "cart", "on")]);
        let found = |rows: &[Value]| {
            let mut evaluations = Evaluations::default();
            rows.chunks(7).for_each(|rows| evaluations.take(&batch(Table::Flags, rows)).unwrap());
            let mut begins = evaluations.begins(DAY);
            begins.sort();
            let first = begins.iter().map(|begin| begin.at).min().unwrap();
            let told = |begin: Begin| (begin.service.unwrap(), begin.value.unwrap(), (begin.at - first) / SECOND);
            begins.into_iter().map(told).collect::<Vec<_>>()
        };
        let of = |service: &str, variant: &str, at: i64| (service.to_owned(), variant.to_owned(), at);
        let expected = [of("cart", "off", 500), of("cart", "on", 0), of("cart", "on", 3 * day), of("web", "on", 9)];
        let mut forwards = found(&rows);
        forwards.sort();
        assert_eq!(forwards, expected);
        rows.reverse();
        let mut backwards = found(&rows);
        backwards.sort();
        assert_eq!(backwards, expected);
    }

    /// A flag gives a number that is another one with each evaluation and names no variant; another one gives few numbers.
    /// Guarantees that of the first nothing begins and no more of it is kept than of a flag with as many values as there may
    /// be, and that the second is told of, in whatever order the rows come.
    #[test]
    fn a_flag_with_a_value_for_each_request_begins_nothing() {
        let most = i64::try_from(MOST_VALUES).unwrap();
        let number = |key: &str, at: i64, value: i64| {
            let mut row = evaluated(at, "cart", "");
            (row["key"], row["variant"], row["value"]) = (key.into(), Value::Null, value.to_string().into());
            row
        };
        let mut rows: Vec<Value> = (0..3 * most).map(|at| number("sample", at, at)).collect();
        rows.extend((0..3 * most).map(|at| number("limit", at, at % most)));
        for _ in 0..2 {
            let mut evaluations = Evaluations::default();
            rows.chunks(500).for_each(|rows| evaluations.take(&batch(Table::Flags, rows)).unwrap());
            assert!(evaluations.known.len() <= 2 * MOST_VALUES, "{}", evaluations.known.len());
            let begins = evaluations.begins(DAY);
            assert!(begins.iter().all(|begin| begin.key.as_deref() == Some("limit")), "{begins:?}");
            assert_eq!(begins.len(), MOST_VALUES);
            rows.reverse();
        }
    }
}
