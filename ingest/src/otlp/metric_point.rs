//! The columns of a data point, whatever its kind; what a kind does not have is null.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, Schema, TimestampNanosecondType};
use arrow::error::ArrowError;

use super::attributes::{AttributeColumns, Renames, Walker};
use super::batch::{Columns, fields_of, item_of, times};
use super::column::{Lists, NumberColumn, NumberLists, TextColumn};
use super::derive::Side;
use super::span_lists::write_hex;
use super::wire::{Field, Reader, Slice, WireError};

type Times = NumberColumn<TimestampNanosecondType>;
type Ints = NumberColumn<Int64Type>;
type Doubles = NumberColumn<Float64Type>;
type Codes = NumberColumn<Int32Type>;

/// The kinds, by their position in `tracerag_schemas::values::METRIC_KINDS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Gauge = 0,
    Sum = 1,
    Histogram = 2,
    ExponentialHistogram = 3,
    Summary = 4,
}

/// One side of an exponential histogram.
#[derive(Default)]
struct Buckets {
    offset: Codes,
    counts: NumberLists<Int64Type>,
}

impl Buckets {
    fn push(&mut self, walker: &mut Walker, data: &[u8], row: usize, slice: Slice) -> Result<(), WireError> {
        let mut offset = 0;
        let mut reader = Reader::within(data, slice);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => offset = field.sint32()?,
                2 => field.varints(data, |count| self.counts.values.push(walker.signed(count)))?,
                _ => {}
            }
        }
        self.offset.set(row, offset);
        self.counts.set(row);
        Ok(())
    }
}

/// The columns of points.
#[derive(Default)]
pub(super) struct PointColumns {
    time: Times,
    start_time: Times,
    value: Doubles,
    value_int: Ints,
    count: Ints,
    sum: Doubles,
    min: Doubles,
    max: Doubles,
    bounds: NumberLists<Float64Type>,
    buckets: NumberLists<Int64Type>,
    scale: Codes,
    zero_count: Ints,
    zero_threshold: Doubles,
    positive: Buckets,
    negative: Buckets,
    quantiles: Lists,
    quantile: Doubles,
    quantile_value: Doubles,
    flags: Ints,
    attributes: AttributeColumns,
    exemplars: Exemplars,
    exemplar_slices: Vec<Slice>,
}

/// What has the same meaning in every kind, though not the same field number.
#[derive(Default)]
struct Point {
    time: u64,
    start_time: u64,
    flags: u32,
    positive: Option<Slice>,
    negative: Option<Slice>,
}

impl PointColumns {
    /// Appends a point as row `row`.
    pub(super) fn push(
        &mut self,
        walker: &mut Walker,
        data: &[u8],
        tenant: &str,
        kind: Kind,
        row: usize,
        slice: Slice,
    ) -> Result<(), WireError> {
        let mut point = Point::default();
        walker.begin();
        self.exemplar_slices.clear();
        self.set_defaults(kind, row);
        let mut reader = Reader::within(data, slice);
        while let Some(field) = reader.next()? {
            match (kind, field.number) {
                (_, 2) => point.start_time = field.fixed64()?,
                (_, 3) => point.time = field.fixed64()?,
                (Kind::Gauge | Kind::Sum, _) => self.read_number(walker, data, row, &field, &mut point)?,
                (Kind::Histogram, _) => self.read_histogram(walker, data, row, &field, &mut point)?,
                (Kind::ExponentialHistogram, _) => self.read_exponential(walker, data, row, &field, &mut point)?,
                (Kind::Summary, _) => self.read_summary(walker, data, row, &field, &mut point)?,
            }
        }
        for (buckets, slice) in [(&mut self.positive, point.positive), (&mut self.negative, point.negative)] {
            if let Some(slice) = slice {
                buckets.push(walker, data, row, slice)?;
            }
        }
        match kind {
            Kind::Histogram => {
                self.bounds.set(row);
                self.buckets.set(row);
            }
            Kind::Summary => self.quantiles.set(row, self.quantile.len()),
            _ => {}
        }
        for (time, column) in [(point.time, &mut self.time), (point.start_time, &mut self.start_time)] {
            if time != 0 {
                column.set(row, walker.signed(time));
            }
        }
        self.flags.set(row, i64::from(point.flags));
        walker.write(data, tenant, Renames::On(Side::Other), &mut self.attributes)?;
        walker.payloads.clear();
        for index in 0..self.exemplar_slices.len() {
            self.exemplars.push(walker, data, tenant, self.exemplar_slices[index])?;
        }
        self.exemplars.lists.end_row(self.exemplars.rows);
        Ok(())
    }

    /// Fields without presence are 0 where they are not on the wire.
    fn set_defaults(&mut self, kind: Kind, row: usize) {
        if matches!(kind, Kind::Histogram | Kind::ExponentialHistogram | Kind::Summary) {
            self.count.set(row, 0);
        }
        match kind {
            Kind::ExponentialHistogram => {
                self.scale.set(row, 0);
                self.zero_count.set(row, 0);
                self.zero_threshold.set(row, 0.0);
            }
            Kind::Summary => self.sum.set(row, 0.0),
            _ => {}
        }
    }

    fn read_number(
        &mut self,
        walker: &mut Walker,
        data: &[u8],
        row: usize,
        field: &Field,
        point: &mut Point,
    ) -> Result<(), WireError> {
        match field.number {
            4 => {
                self.value_int.truncate(row);
                self.value.put(row, field.double()?);
            }
            5 => self.exemplar_slices.push(field.bytes()?),
            6 => {
                let number = field.fixed64()? as i64;
                self.value_int.put(row, number);
                self.value.put(row, number as f64);
            }
            7 => walker.add(data, field.bytes()?)?,
            8 => point.flags = field.uint32()?,
            _ => {}
        }
        Ok(())
    }

    fn read_histogram(
        &mut self,
        walker: &mut Walker,
        data: &[u8],
        row: usize,
        field: &Field,
        point: &mut Point,
    ) -> Result<(), WireError> {
        match field.number {
            4 => self.count.put(row, walker.signed(field.fixed64()?)),
            5 => self.sum.put(row, field.double()?),
            6 => field.fixed64s(data, |count| self.buckets.values.push(walker.signed(count)))?,
            7 => field.fixed64s(data, |bound| self.bounds.values.push(f64::from_bits(bound)))?,
            8 => self.exemplar_slices.push(field.bytes()?),
            9 => walker.add(data, field.bytes()?)?,
            10 => point.flags = field.uint32()?,
            11 => self.min.put(row, field.double()?),
            12 => self.max.put(row, field.double()?),
            _ => {}
        }
        Ok(())
    }

    fn read_exponential(
        &mut self,
        walker: &mut Walker,
        data: &[u8],
        row: usize,
        field: &Field,
        point: &mut Point,
    ) -> Result<(), WireError> {
        match field.number {
            1 => walker.add(data, field.bytes()?)?,
            4 => self.count.put(row, walker.signed(field.fixed64()?)),
            5 => self.sum.put(row, field.double()?),
            6 => self.scale.put(row, field.sint32()?),
            7 => self.zero_count.put(row, walker.signed(field.fixed64()?)),
            8 => point.positive = Some(field.bytes()?),
            9 => point.negative = Some(field.bytes()?),
            10 => point.flags = field.uint32()?,
            11 => self.exemplar_slices.push(field.bytes()?),
            12 => self.min.put(row, field.double()?),
            13 => self.max.put(row, field.double()?),
            14 => self.zero_threshold.put(row, field.double()?),
            _ => {}
        }
        Ok(())
    }

    fn read_summary(
        &mut self,
        walker: &mut Walker,
        data: &[u8],
        row: usize,
        field: &Field,
        point: &mut Point,
    ) -> Result<(), WireError> {
        match field.number {
            4 => self.count.put(row, walker.signed(field.fixed64()?)),
            5 => self.sum.put(row, field.double()?),
            6 => {
                let (mut quantile, mut value) = (0.0, 0.0);
                let mut reader = Reader::within(data, field.bytes()?);
                while let Some(field) = reader.next()? {
                    match field.number {
                        1 => quantile = field.double()?,
                        2 => value = field.double()?,
                        _ => {}
                    }
                }
                self.quantile.push(quantile);
                self.quantile_value.push(value);
            }
            7 => walker.add(data, field.bytes()?)?,
            8 => point.flags = field.uint32()?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.time.truncate(rows);
        self.start_time.truncate(rows);
        for column in [&mut self.value, &mut self.sum, &mut self.min, &mut self.max, &mut self.zero_threshold] {
            column.truncate(rows);
        }
        for column in [&mut self.value_int, &mut self.count, &mut self.zero_count, &mut self.flags] {
            column.truncate(rows);
        }
        self.scale.truncate(rows);
        self.bounds.truncate(rows);
        self.buckets.truncate(rows);
        for buckets in [&mut self.positive, &mut self.negative] {
            buckets.offset.truncate(rows);
            buckets.counts.truncate(rows);
        }
        let quantiles = self.quantiles.truncate(rows);
        self.quantile.truncate(quantiles);
        self.quantile_value.truncate(quantiles);
        self.attributes.truncate(rows);
        self.exemplars.truncate(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        [&self.value, &self.sum, &self.min, &self.max, &self.zero_threshold, &self.quantile, &self.quantile_value]
            .map(Doubles::bytes)
            .iter()
            .sum::<usize>()
            + [&self.value_int, &self.count, &self.zero_count, &self.flags].map(Ints::bytes).iter().sum::<usize>()
            + self.time.bytes()
            + self.start_time.bytes()
            + self.bounds.bytes()
            + self.buckets.bytes()
            + self.positive.counts.bytes()
            + self.negative.counts.bytes()
            + self.quantiles.bytes()
            + self.attributes.bytes()
            + self.exemplars.bytes()
    }

    /// Puts the columns with `rows` rows; the builder is empty again.
    pub(super) fn finish(&mut self, rows: usize, schema: &Schema, columns: &mut Columns) -> Result<(), ArrowError> {
        columns.put_time("time", &mut self.time, rows);
        columns.put_time("start_time", &mut self.start_time, rows);
        let doubles = [
            ("value", &mut self.value),
            ("sum", &mut self.sum),
            ("min", &mut self.min),
            ("max", &mut self.max),
            ("zero_threshold", &mut self.zero_threshold),
        ];
        for (name, column) in doubles {
            columns.put(name, Arc::new(column.finish(rows)));
        }
        let ints = [
            ("value_int", &mut self.value_int),
            ("count", &mut self.count),
            ("zero_count", &mut self.zero_count),
            ("flags", &mut self.flags),
        ];
        for (name, column) in ints {
            columns.put(name, Arc::new(column.finish(rows)));
        }
        columns.put("bounds", self.bounds.finish(rows, item_of(schema, "bounds")?)?);
        columns.put("scale", Arc::new(self.scale.finish(rows)));
        columns.put("positive_offset", Arc::new(self.positive.offset.finish(rows)));
        columns.put("negative_offset", Arc::new(self.negative.offset.finish(rows)));
        let lists = [
            ("buckets", &mut self.buckets),
            ("positive_buckets", &mut self.positive.counts),
            ("negative_buckets", &mut self.negative.counts),
        ];
        for (name, column) in lists {
            columns.put(name, column.finish(rows, item_of(schema, name)?)?);
        }
        let item = item_of(schema, "quantiles")?;
        let elements = self.quantile.len();
        let pairs: Vec<ArrayRef> =
            vec![Arc::new(self.quantile.finish(elements)), Arc::new(self.quantile_value.finish(elements))];
        let pairs = StructArray::try_new_with_length(fields_of(&item)?, pairs, None, elements)?;
        columns.put("quantiles", self.quantiles.finish(rows, item, Arc::new(pairs))?);
        let [attributes, types] = self.attributes.finish(rows)?;
        columns.put("attributes", attributes);
        columns.put("attributes_types", types);
        columns.put("exemplars", self.exemplars.finish(rows, schema)?);
        Ok(())
    }
}

#[derive(Default)]
struct Exemplars {
    rows: usize,
    lists: Lists,
    time: Times,
    value: Doubles,
    value_int: Ints,
    trace_id: TextColumn,
    span_id: TextColumn,
    attributes: AttributeColumns,
    hex: String,
}

impl Exemplars {
    fn push(&mut self, walker: &mut Walker, data: &[u8], tenant: &str, slice: Slice) -> Result<(), WireError> {
        let row = self.rows;
        let (mut trace_id, mut span_id, mut time) = (Slice::default(), Slice::default(), 0);
        walker.begin();
        let mut reader = Reader::within(data, slice);
        while let Some(field) = reader.next()? {
            match field.number {
                2 => time = field.fixed64()?,
                3 => {
                    self.value_int.truncate(row);
                    self.value.put(row, field.double()?);
                }
                4 => span_id = field.bytes()?,
                5 => trace_id = field.bytes()?,
                6 => {
                    let number = field.fixed64()? as i64;
                    self.value_int.put(row, number);
                    self.value.put(row, number as f64);
                }
                7 => walker.add(data, field.bytes()?)?,
                _ => {}
            }
        }
        walker.write(data, tenant, Renames::On(Side::Other), &mut self.attributes)?;
        walker.payloads.clear();
        if time != 0 {
            self.time.set(row, walker.signed(time));
        }
        write_hex::<16>(walker, trace_id.of(data), row, &mut self.trace_id, &mut self.hex);
        write_hex::<8>(walker, span_id.of(data), row, &mut self.span_id, &mut self.hex);
        self.rows += 1;
        Ok(())
    }

    fn truncate(&mut self, points: usize) {
        self.rows = self.lists.truncate(points);
        self.time.truncate(self.rows);
        self.value.truncate(self.rows);
        self.value_int.truncate(self.rows);
        self.trace_id.truncate(self.rows);
        self.span_id.truncate(self.rows);
        self.attributes.truncate(self.rows);
    }

    fn bytes(&self) -> usize {
        self.lists.bytes() + self.rows * 80 + self.attributes.bytes()
    }

    fn finish(&mut self, points: usize, schema: &Schema) -> Result<ArrayRef, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let item = item_of(schema, "exemplars")?;
        let [attributes, types] = self.attributes.finish(rows)?;
        let columns: Vec<ArrayRef> = vec![
            times(&mut self.time, rows),
            Arc::new(self.value.finish(rows)),
            Arc::new(self.value_int.finish(rows)),
            self.trace_id.finish(rows)?,
            self.span_id.finish(rows)?,
            attributes,
            types,
        ];
        let exemplars = StructArray::try_new(fields_of(&item)?, columns, None)?;
        self.lists.finish(points, item, Arc::new(exemplars))
    }
}
