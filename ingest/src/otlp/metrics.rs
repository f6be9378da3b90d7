//! Metrics: one row a data point, of all five kinds.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use tracerag_schemas::Table;
use tracerag_schemas::values::{METRIC_KINDS, TEMPORALITIES};

use super::attributes::{AttributeColumns, Renames, Walker};
use super::batch::{Columns, EnumColumn};
use super::column::TextColumn;
use super::envelope::{Dictionaries, Reading, Record, Rows, Shared, Stop};
use super::metric_point::{Kind, PointColumns};
use super::origin::{Origin, Origins};
use super::wire::{Reader, Slice, WireError};

/// Rows of `metrics`.
pub(super) struct MetricRows {
    rows: usize,
    origins: Origins,
    name: TextColumn,
    description: TextColumn,
    unit: TextColumn,
    kind: EnumColumn,
    temporality: EnumColumn,
    monotonic: Vec<Option<bool>>,
    metadata: AttributeColumns,
    points: PointColumns,
    resource: Vec<i32>,
    scope: Vec<i32>,
    metadata_slices: Vec<Slice>,
}

impl Default for MetricRows {
    fn default() -> Self {
        Self {
            rows: 0,
            origins: Origins::default(),
            name: TextColumn::default(),
            description: TextColumn::default(),
            unit: TextColumn::default(),
            kind: EnumColumn::new(&METRIC_KINDS),
            temporality: EnumColumn::new(&TEMPORALITIES),
            monotonic: Vec::new(),
            metadata: AttributeColumns::default(),
            points: PointColumns::default(),
            resource: Vec::new(),
            scope: Vec::new(),
            metadata_slices: Vec::new(),
        }
    }
}

/// The texts of a metric as its rows have them: all its points repeat them, so they are redacted once.
struct Texts {
    name: String,
    description: String,
    unit: String,
}

/// The fields of a metric that all its points share.
#[derive(Default)]
struct Metric {
    name: Slice,
    description: Slice,
    unit: Slice,
    data: Option<(Kind, Slice)>,
    temporality: i32,
    is_monotonic: bool,
}

impl Rows for MetricRows {
    fn rows(&self) -> usize {
        self.rows
    }

    fn begin(&mut self, origin: Origin) {
        self.origins.begin(self.rows, origin);
    }

    /// A bad point is dropped alone, a metric that is bad around its points as a whole.
    fn record(
        &mut self,
        shared: &mut Shared,
        record: &Record<'_>,
        slice: Slice,
        reading: &mut Reading,
    ) -> Result<(), Stop> {
        let data = record.place.data;
        let metric = self.read(data, slice)?;
        let Some((kind, points)) = metric.data else {
            shared.walker.counts.metrics_without_data += 1;
            return Ok(());
        };
        // Checked point by point: a short message may say that a long name has many points.
        let texts = [metric.name, metric.description, metric.unit];
        let repeated: usize = texts.iter().chain(&self.metadata_slices).map(|slice| slice.of(data).len()).sum();
        let mut written = None;
        let mut reader = Reader::within(data, points);
        while let Some(field) = reader.next()? {
            if field.number != 1 {
                continue;
            }
            let (row, point) = (self.rows, field.bytes()?);
            reading.spend(repeated + point.of(data).len())?;
            let written = written.get_or_insert_with(|| {
                let [name, description, unit] = texts.map(|text| shared.walker.redacted(text.of(data)));
                Texts { name, description, unit }
            });
            if let Err(error) = self.push_point(&mut shared.walker, record, &metric, written, kind, point) {
                self.truncate(row);
                self.begin(record.origin);
                reading.drop_record(error, &mut shared.walker.counts);
            }
            reading.check_rows(self.rows)?;
        }
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.origins.truncate(rows);
        for column in [&mut self.name, &mut self.description, &mut self.unit] {
            column.truncate(rows);
        }
        self.kind.truncate(rows);
        self.temporality.truncate(rows);
        self.monotonic.truncate(rows);
        self.metadata.truncate(rows);
        self.points.truncate(rows);
        self.resource.truncate(rows);
        self.scope.truncate(rows);
    }

    fn bytes(&self) -> usize {
        [&self.name, &self.description, &self.unit].map(TextColumn::bytes).iter().sum::<usize>()
            + self.metadata.bytes()
            + self.points.bytes()
            + self.rows * 18
            + self.origins.bytes(self.rows)
    }
}

impl MetricRows {
    fn read(&mut self, data: &[u8], slice: Slice) -> Result<Metric, WireError> {
        let mut metric = Metric::default();
        self.metadata_slices.clear();
        let mut reader = Reader::within(data, slice);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => metric.name = field.bytes()?,
                2 => metric.description = field.bytes()?,
                3 => metric.unit = field.bytes()?,
                5 => metric.data = Some((Kind::Gauge, field.bytes()?)),
                7 => metric.data = Some((Kind::Sum, field.bytes()?)),
                9 => metric.data = Some((Kind::Histogram, field.bytes()?)),
                10 => metric.data = Some((Kind::ExponentialHistogram, field.bytes()?)),
                11 => metric.data = Some((Kind::Summary, field.bytes()?)),
                12 => self.metadata_slices.push(field.bytes()?),
                _ => {}
            }
        }
        let Some((kind, slice)) = metric.data else { return Ok(metric) };
        if matches!(kind, Kind::Gauge | Kind::Summary) {
            return Ok(metric);
        }
        let mut reader = Reader::within(data, slice);
        while let Some(field) = reader.next()? {
            match field.number {
                2 => metric.temporality = field.int32()?,
                3 if kind == Kind::Sum => metric.is_monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        Ok(metric)
    }

    fn push_point(
        &mut self,
        walker: &mut Walker,
        record: &Record<'_>,
        metric: &Metric,
        texts: &Texts,
        kind: Kind,
        point: Slice,
    ) -> Result<(), WireError> {
        let row = self.rows;
        let (data, tenant) = (record.place.data, record.place.tenant);
        self.points.push(walker, data, tenant, kind, row, point)?;
        walker.begin();
        for pair in &self.metadata_slices {
            walker.add(data, *pair)?;
        }
        walker.write(data, tenant, Renames::Off, &mut self.metadata)?;
        walker.payloads.clear();
        self.name.set_present(row, &texts.name);
        self.description.set_present(row, &texts.description);
        self.unit.set_present(row, &texts.unit);
        self.kind.push(kind as i32);
        if matches!(kind, Kind::Gauge | Kind::Summary) {
            self.temporality.push_null();
        } else {
            self.temporality.push(metric.temporality);
        }
        self.monotonic.push((kind == Kind::Sum).then_some(metric.is_monotonic));
        self.resource.push(record.resource.key);
        self.scope.push(record.scope.key);
        self.rows += 1;
        Ok(())
    }

    /// The rows in flight, if there are any; the builder is empty again.
    pub(super) fn finish(&mut self, dictionaries: &Dictionaries) -> Result<Option<RecordBatch>, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(None);
        }
        let schema = Table::Metrics.in_flight_schema();
        let mut columns = Columns::default();
        self.origins.finish(rows, &dictionaries.tenants, &dictionaries.topics, &mut columns)?;
        columns.put("name", self.name.finish(rows)?);
        columns.put("description", self.description.finish(rows)?);
        columns.put("unit", self.unit.finish(rows)?);
        for (name, column) in [("kind", &mut self.kind), ("temporality", &mut self.temporality)] {
            let (keys, values) = column.finish();
            columns.put_dictionary(name, &keys, values)?;
        }
        columns.put("monotonic", Arc::new(BooleanArray::from(std::mem::take(&mut self.monotonic))));
        let [metadata, types] = self.metadata.finish(rows)?;
        columns.put("metadata", metadata);
        columns.put("metadata_types", types);
        self.points.finish(rows, &schema, &mut columns)?;
        let (resource, scope) = (std::mem::take(&mut self.resource), std::mem::take(&mut self.scope));
        columns.put_group("resource_dropped_attributes_count", resource, &dictionaries.resources)?;
        columns.put_group("scope_dropped_attributes_count", scope, &dictionaries.scopes)?;
        columns.finish(&schema, rows).map(Some)
    }
}
