//! What is known of each service: whether its builds and flags are stated, inferred or missing.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StringArray};
use futures::TryStreamExt;
use serde_json::{Map, Value};
use tracerag_index::Head;
use tracerag_schemas::{Table, time};

use crate::error::{QueryError, Result};
use crate::session::Session;

const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// The services of the last day of telemetry.
pub(super) struct Services {
    /// Only what was ingested from this time on is counted, RFC 3339: all of a large lake would take minutes.
    pub since: String,
    /// An object a service; its keys are [`SERVICE_KEYS`].
    pub services: Vec<Map<String, Value>>,
}

/// What is told of a service. Builds are counted in spans, flags in traces that the service took part in.
pub const SERVICE_KEYS: [&str; 10] = [
    "service",
    "spans",
    "builds_stated",
    "builds_inferred",
    "builds_missing",
    "flags_stated",
    "flags_inferred",
    "flags_missing",
    "flag_evaluations",
    "flag_changes",
];

/// Counts what is known of the services; `None` for a lake without telemetry.
///
/// # Errors
/// When a query fails, for one because it takes too long.
pub(super) async fn of(session: &Session, head: &Head) -> Result<Option<Services>> {
    let Some(since) = last_day(head).map(time::rfc3339) else { return Ok(None) };
    let flags = flags(session, &since).await?;
    let mut services = Vec::new();
    for mut row in super::rows(session, &builds(&since)).await? {
        let known = row.get("service").and_then(Value::as_str).and_then(|service| flags.get(service));
        let known = known.copied().unwrap_or_default();
        let counts = [known.stated, known.inferred, known.missing];
        for (key, count) in SERVICE_KEYS[5..8].iter().zip(counts) {
            row.insert((*key).to_owned(), count.into());
        }
        services.push(row);
    }
    Ok(Some(Services { since, services }))
}

/// A day before the newest telemetry: a replayed lake has old times only.
fn last_day(head: &Head) -> Option<i64> {
    let datasets = [Table::Spans, Table::Traces].into_iter().flat_map(|table| head.of(table));
    let newest = datasets.filter_map(|(_, dataset)| dataset.ingested_at).map(|(_, newest)| newest).max()?;
    Some(newest.saturating_sub(DAY_NS))
}

fn builds(since: &str) -> String {
    format!(
        "select s.service_name service, s.spans, s.builds_stated, s.builds_inferred, s.builds_missing, \
         coalesce(e.evaluations, 0) flag_evaluations, coalesce(c.changes, 0) flag_changes from \
         (select service_name, count(*) spans, sum(case when build_match = 'stated' then 1 else 0 end) builds_stated, \
          sum(case when build_match in ('as_of', 'ambiguous') then 1 else 0 end) builds_inferred, \
          sum(case when build_match is null then 1 else 0 end) builds_missing \
          from spans where ingested_at >= '{since}' group by 1) s \
         left join (select service_name, count(*) evaluations from flag_events \
          where source = 'evaluation' and ingested_at >= '{since}' group by 1) e on e.service_name = s.service_name \
         left join (select service_name, count(*) changes from flag_events \
          where source = 'change' and ingested_at >= '{since}' group by 1) c on c.service_name = s.service_name \
         order by s.spans desc, 1"
    )
}

/// In how many traces of a service its flags are known, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    /// The service evaluated one itself.
    stated: u64,
    /// There are changes that held for it as of the time.
    inferred: u64,
    /// Nothing is known.
    missing: u64,
}

/// Read as a stream: a day may hold more traces than a query may keep in memory.
async fn flags(session: &Session, since: &str) -> Result<BTreeMap<String, Flags>> {
    let query = format!("select services, flags_in_effect from traces where ingested_at >= '{since}'");
    let mut batches = session.sql(&query, None).await?;
    let mut services = BTreeMap::new();
    while let Some(batch) = batches.try_next().await? {
        let columns = Columns::of(&batch).ok_or_else(|| QueryError::Column {
            dataset: Table::Traces.name().to_owned(),
            column: String::from("flags_in_effect"),
        })?;
        for row in 0..batch.num_rows() {
            columns.count(row, &mut services);
        }
    }
    Ok(services)
}

struct Columns<'a> {
    services: &'a ListArray,
    names: &'a StringArray,
    flags: &'a ListArray,
    kinds: &'a StringArray,
    of: &'a StringArray,
    matches: &'a StringArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let services = batch.column_by_name("services")?.as_list_opt::<i32>()?;
        let flags = batch.column_by_name("flags_in_effect")?.as_list_opt::<i32>()?;
        let entries = flags.values().as_struct_opt()?;
        let text = |name| entries.column_by_name(name)?.as_string_opt::<i32>();
        Some(Self {
            services,
            names: services.values().as_string_opt::<i32>()?,
            flags,
            kinds: text("kind")?,
            of: text("service")?,
            matches: text("match")?,
        })
    }

    /// Adds a trace to the counts of each service that took part.
    fn count(&self, row: usize, services: &mut BTreeMap<String, Flags>) {
        let flags = || items(self.flags, row).filter(|flag| self.kinds.value(*flag) == "flag");
        for service in items(self.services, row).filter(|service| self.names.is_valid(*service)) {
            let service = self.names.value(service);
            // A flag without service holds for all of them.
            let holds = |flag: &usize| self.of.is_null(*flag) || self.of.value(*flag) == service;
            let is_stated = |flag: usize| matches!(self.matches.value(flag), "evaluated" | "stated");
            let counts = services.entry(service.to_owned()).or_default();
            match flags().filter(holds).map(is_stated).max() {
                Some(true) => counts.stated += 1,
                Some(false) => counts.inferred += 1,
                None => counts.missing += 1,
            }
        }
    }
}

fn items(list: &ListArray, row: usize) -> Range<usize> {
    if list.is_null(row) {
        return 0..0;
    }
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ListBuilder, StringBuilder, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field, Fields, Schema};

    use super::*;

    /// Two traces of two services. What a service evaluated is stated, a change as of the time is inferred, a flag
    /// without service holds for both; config values are no flags; a trace without flags counts as missing.
    #[test]
    fn flags_are_counted_by_service_and_trace() {
        let mut services = ListBuilder::new(StringBuilder::new());
        services.append_value([Some("checkout"), Some("payments")]);
        services.append_value([Some("checkout"), None]);
        let services = services.finish();
        let text = |values: Vec<Option<&str>>| -> arrow::array::ArrayRef { Arc::new(StringArray::from(values)) };
        let field = |name: &str| Field::new(name, DataType::Utf8, true);
        let fields = Fields::from(vec![field("kind"), field("service"), field("match")]);
        let entries = StructArray::new(
            fields.clone(),
            vec![
                text(vec![Some("flag"), Some("flag"), Some("config")]),
                text(vec![Some("payments"), None, Some("checkout")]),
                text(vec![Some("evaluated"), Some("ambiguous"), Some("as_of")]),
            ],
            None,
        );
        let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
        let flags = ListArray::new(item, OffsetBuffer::from_lengths([2, 1]), Arc::new(entries), None);
        let schema = Schema::new(vec![
            Field::new("services", services.data_type().clone(), true),
            Field::new("flags_in_effect", flags.data_type().clone(), true),
        ]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(services), Arc::new(flags)]).unwrap();
        let columns = Columns::of(&batch).unwrap();
        let mut counts = BTreeMap::new();
        for row in 0..batch.num_rows() {
            columns.count(row, &mut counts);
        }
        assert_eq!(counts["payments"], Flags { stated: 1, ..Flags::default() });
        assert_eq!(counts["checkout"], Flags { inferred: 1, missing: 1, ..Flags::default() });
        assert_eq!(counts.len(), 2);
    }
}
