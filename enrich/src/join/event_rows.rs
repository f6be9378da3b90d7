//! Rows of `flags` and `builds` that telemetry itself brings, in lake schema.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder};
use arrow::datatypes::{Int32Type, Int64Type};
use tracerag_schemas::Table;

use super::changes::Sighting;
use super::evaluations::Evaluation;
use super::runtime::Runtimes;
use super::trace_rows::{hex, rows_of};
use crate::columns::{Ids, Text, number, numbers, times};
use crate::error::Result;

/// Origin and time of ingestion, taken from the row that brought the fact.
#[derive(Default)]
struct Origins {
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    ingested_at: TimestampNanosecondBuilder,
}

struct OriginColumns<'a> {
    topic: Text<'a>,
    partition: &'a arrow::array::Int32Array,
    offset: &'a arrow::array::Int64Array,
    ingested_at: &'a arrow::array::TimestampNanosecondArray,
}

impl<'a> OriginColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            topic: Text::of(batch, "kafka_topic")?,
            partition: numbers::<Int32Type>(batch, "kafka_partition", "Int32")?,
            offset: numbers::<Int64Type>(batch, "kafka_offset", "Int64")?,
            ingested_at: times(batch, "ingested_at")?,
        })
    }
}

impl Origins {
    fn push(&mut self, columns: &OriginColumns<'_>, row: usize) {
        self.topic.append_option(columns.topic.get(row));
        self.partition.append_option(number(columns.partition, row));
        self.offset.append_option(number(columns.offset, row));
        self.ingested_at.append_option(number(columns.ingested_at, row));
    }

    fn finish(mut self) -> [(&'static str, ArrayRef); 4] {
        [
            ("kafka_topic", Arc::new(self.topic.finish())),
            ("kafka_partition", Arc::new(self.partition.finish())),
            ("kafka_offset", Arc::new(self.offset.finish())),
            ("ingested_at", Arc::new(self.ingested_at.finish().with_timezone("UTC"))),
        ]
    }
}

/// Builds text columns by name.
struct Texts<const N: usize>([(&'static str, StringBuilder); N]);

impl<const N: usize> Texts<N> {
    fn new(names: [&'static str; N]) -> Self {
        Self(names.map(|name| (name, StringBuilder::new())))
    }

    fn push(&mut self, values: [Option<&str>; N]) {
        self.0.iter_mut().zip(values).for_each(|((_, column), value)| column.append_option(value));
    }

    fn finish(self) -> impl Iterator<Item = (&'static str, ArrayRef)> {
        self.0.into_iter().map(|(name, mut column)| (name, Arc::new(column.finish()) as ArrayRef))
    }
}

/// A row of `flags` for each evaluation found in a batch of spans or logs.
pub(super) fn evaluations(found: &[(&RecordBatch, &Vec<Evaluation<'_>>)]) -> Result<RecordBatch> {
    let mut texts = Texts::new([
        "tenant_id",
        "kind",
        "key",
        "variant",
        "value",
        "service_name",
        "service_instance_id",
        "deployment_environment_name",
        "source",
        "trace_id",
        "span_id",
        "reason",
        "provider_name",
        "set_id",
        "version",
    ]);
    let mut valid_from = TimestampNanosecondBuilder::new();
    let mut origins = Origins::default();
    let mut rows = 0;
    for (batch, evaluations) in found {
        if evaluations.is_empty() {
            continue;
        }
        rows += evaluations.len();
        let (trace_ids, span_ids) = (Ids::<16>::of(batch, "trace_id")?, Ids::<8>::of(batch, "span_id")?);
        let [tenant, service, instance, environment] = [
            Text::of(batch, "tenant_id")?,
            Text::of(batch, "service_name")?,
            Text::of(batch, "service_instance_id")?,
            Text::of(batch, "deployment_environment_name")?,
        ];
        let origin = OriginColumns::of(batch)?;
        for evaluation in *evaluations {
            let row = evaluation.row;
            let trace_id = trace_ids.get(row).map(|id| hex(&id));
            let span_id = span_ids.get(row).map(|id| hex(&id));
            texts.push([
                tenant.get(row),
                Some(super::flags::FLAG),
                Some(evaluation.key),
                evaluation.variant,
                evaluation.value.as_deref(),
                service.get(row),
                instance.get(row),
                environment.get(row),
                Some("evaluation"),
                trace_id.as_deref(),
                span_id.as_deref(),
                evaluation.reason,
                evaluation.provider,
                evaluation.set,
                evaluation.version,
            ]);
            valid_from.append_option(evaluation.time);
            origins.push(&origin, row);
        }
    }
    let valid_from: ArrayRef = Arc::new(valid_from.finish().with_timezone("UTC"));
    let columns = texts.finish().chain([("valid_from", valid_from)]).chain(origins.finish());
    rows_of(Table::Flags, columns.collect(), rows)
}

/// A row of `builds` for each runtime that states its build and is `new`. It holds from the first row, by
/// the batch's time column, that has it.
pub(super) fn sightings(
    found: &[(&RecordBatch, &Runtimes<'_>, &str)],
    mut new: impl FnMut(&Sighting<'_>) -> bool,
) -> Result<RecordBatch> {
    let mut texts = Texts::new([
        "tenant_id",
        "service_name",
        "service_instance_id",
        "deployment_environment_name",
        "version",
        "git_sha",
        "source",
    ]);
    let mut valid_from = TimestampNanosecondBuilder::new();
    let mut origins = Origins::default();
    let mut rows = 0;
    for (batch, runtimes, time) in found {
        let stating: Vec<bool> = runtimes
            .all
            .iter()
            .map(|runtime| (runtime.version.is_some() || runtime.revision.is_some()) && new(runtime))
            .collect();
        if !stating.contains(&true) {
            continue;
        }
        let (time, origin) = (times(batch, time)?, OriginColumns::of(batch)?);
        let mut first: Vec<Option<(i64, usize)>> = vec![None; stating.len()];
        for (row, runtime) in runtimes.of_row.iter().enumerate() {
            if stating[*runtime as usize] {
                let here = (number(time, row).unwrap_or(i64::MAX), row);
                let first = &mut first[*runtime as usize];
                *first = Some(first.map_or(here, |first| first.min(here)));
            }
        }
        for (runtime, (_, row)) in
            first.into_iter().enumerate().filter_map(|(at, first)| first.map(|first| (at, first)))
        {
            let Sighting { tenant, service, instance, environment, version, revision } = runtimes.all[runtime];
            texts.push([Some(tenant), service, instance, environment, version, revision, Some("resource")]);
            valid_from.append_option(number(time, row));
            origins.push(&origin, row);
            rows += 1;
        }
    }
    let valid_from: ArrayRef = Arc::new(valid_from.finish().with_timezone("UTC"));
    let columns = texts.finish().chain([("valid_from", valid_from)]).chain(origins.finish());
    rows_of(Table::Builds, columns.collect(), rows)
}
