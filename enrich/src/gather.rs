//! Collects rows of many arrays into one array.
//!
//! Arrow's `interleave` works row by row, also on the children of lists, and compares the values of
//! nested dictionaries. Rows of a trace come in runs, so this copies runs: the children of a run of
//! lists are one run again, at any depth. A dictionary keeps only the values that are used.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, DictionaryArray, FixedSizeBinaryArray, Int32Array, ListArray,
    PrimitiveArray, StringArray, StructArray, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType,
};
use arrow::record_batch::RecordBatch;
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};

/// A run of rows of one source array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub source: u32,
    pub start: u32,
    pub len: u32,
}

/// Which rows to collect, in order.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    rows: usize,
}

impl Runs {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { runs: Vec::with_capacity(rows), rows: 0 }
    }

    /// Adds rows; they join the last run where they follow it.
    pub(crate) fn push(&mut self, source: u32, start: u32, len: u32) {
        self.rows += len as usize;
        match self.runs.last_mut() {
            Some(last) if last.source == source && last.start + last.len == start => last.len += len,
            _ => self.runs.push(Run { source, start, len }),
        }
    }

    /// Leaves out sources without a row: gives those that are used, by their new number.
    pub(crate) fn renumber(&mut self, sources: usize) -> Vec<usize> {
        let mut used = vec![false; sources];
        self.runs.iter().for_each(|run| used[run.source as usize] = true);
        let used: Vec<usize> = (0..sources).filter(|source| used[*source]).collect();
        let mut number = vec![0u32; sources];
        used.iter().enumerate().for_each(|(new, old)| number[*old] = new as u32);
        self.runs.iter_mut().for_each(|run| run.source = number[run.source as usize]);
        used
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }
}

/// Collects rows of batches that share a schema. Columns in `skip` come out null.
pub(crate) fn gather_batch(batches: &[&RecordBatch], runs: &Runs, skip: &[usize]) -> Result<RecordBatch> {
    let Some(first) = batches.first() else { return Err(Error::TooLarge) };
    let schema = first.schema();
    let mut arrays: Vec<&ArrayRef> = Vec::with_capacity(batches.len());
    let mut layouts = Layouts::default();
    let columns = (0..schema.fields().len())
        .map(|index| {
            if skip.contains(&index) {
                return Ok(new_null_array(schema.field(index).data_type(), runs.rows));
            }
            arrays.clear();
            arrays.extend(batches.iter().map(|batch| batch.column(index)));
            gather_sharing(&arrays, runs, &mut layouts)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Collects rows of arrays of one type.
pub(crate) fn gather(arrays: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef> {
    gather_sharing(arrays, runs, &mut Layouts::default())
}

/// Collects rows of one column; what is found out of its keys is kept for other columns.
fn gather_sharing(arrays: &[&ArrayRef], runs: &Runs, layouts: &mut Layouts) -> Result<ArrayRef> {
    let data_type = arrays.first().map_or(&DataType::Null, |array| array.data_type());
    if arrays.iter().all(|array| array.null_count() == array.len()) {
        return Ok(new_null_array(data_type, runs.rows));
    }
    match data_type {
        DataType::Int32 => primitive::<Int32Type>(arrays, runs),
        DataType::Int64 => primitive::<Int64Type>(arrays, runs),
        DataType::Float64 => primitive::<Float64Type>(arrays, runs),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive::<TimestampNanosecondType>(arrays, runs),
        DataType::Utf8 => text(arrays, runs),
        DataType::FixedSizeBinary(width) => fixed(arrays, runs, *width),
        DataType::List(_) => list(arrays, runs),
        DataType::Struct(_) => structs(arrays, runs),
        DataType::Dictionary(key, _) if **key == DataType::Int32 => dictionary(arrays, runs, layouts),
        _ => by_row(arrays, runs),
    }
}

fn by_row(arrays: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    let rows: Vec<(usize, usize)> = runs
        .runs
        .iter()
        .flat_map(|run| (run.start..run.start + run.len).map(|row| (run.source as usize, row as usize)))
        .collect();
    Ok(interleave(&arrays, &rows)?)
}

/// The validity of the rows; `None` where no source has a null.
fn nulls(arrays: &[&ArrayRef], runs: &Runs) -> Option<NullBuffer> {
    if arrays.iter().all(|array| array.null_count() == 0) {
        return None;
    }
    let sources: Vec<Option<&NullBuffer>> = arrays.iter().map(|array| array.nulls()).collect();
    let mut valid = BooleanBufferBuilder::new(runs.rows);
    for run in &runs.runs {
        let (start, len) = (run.start as usize, run.len as usize);
        match sources[run.source as usize] {
            None => valid.append_n(len, true),
            Some(nulls) if len == 1 => valid.append(nulls.is_valid(start)),
            Some(nulls) => {
                let bits = nulls.inner();
                let start = bits.offset() + start;
                valid.append_packed_range(start..start + len, bits.values());
            }
        }
    }
    // Of the rows that are taken none may be null, although others of their arrays are.
    Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
}

fn primitive<T: ArrowPrimitiveType>(arrays: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef> {
    let sources: Vec<&[T::Native]> = arrays.iter().map(|array| array.as_primitive::<T>().values().as_ref()).collect();
    let mut values: Vec<T::Native> = Vec::with_capacity(runs.rows);
    for run in &runs.runs {
        let source = sources[run.source as usize];
        let start = run.start as usize;
        if run.len == 1 {
            values.push(source[start]);
        } else {
            values.extend_from_slice(&source[start..start + run.len as usize]);
        }
    }
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls(arrays, runs))?;
    Ok(Arc::new(array.with_data_type(arrays[0].data_type().clone())))
}

fn fixed(arrays: &[&ArrayRef], runs: &Runs, width: i32) -> Result<ArrayRef> {
    let size = usize::try_from(width).map_err(|_| Error::TooLarge)?;
    let sources: Vec<&[u8]> = arrays.iter().map(|array| array.as_fixed_size_binary().value_data()).collect();
    let mut values: Vec<u8> = Vec::with_capacity(runs.rows * size);
    for run in &runs.runs {
        let start = run.start as usize * size;
        values.extend_from_slice(&sources[run.source as usize][start..start + run.len as usize * size]);
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width, Buffer::from(values), nulls(arrays, runs))?))
}

/// New offsets, and the runs of what the offsets point into.
fn offsets(sources: &[&OffsetBuffer<i32>], runs: &Runs) -> Result<(OffsetBuffer<i32>, Runs)> {
    let mut offsets: Vec<i32> = Vec::with_capacity(runs.rows + 1);
    let mut children = Runs::with_capacity(runs.runs.len());
    let mut total = 0i32;
    offsets.push(0);
    let sources: Vec<&[i32]> = sources.iter().map(|offsets| offsets.as_ref()).collect();
    for run in &runs.runs {
        let (start, end) = (run.start as usize, (run.start + run.len) as usize);
        let source = sources[run.source as usize];
        let (from, to) = (source[start], source[end]);
        // Moves the run's offsets by one distance.
        let shift = total - from;
        total = total.checked_add(to - from).ok_or(Error::TooLarge)?;
        if run.len == 1 {
            offsets.push(total);
        } else {
            offsets.extend(source[start + 1..=end].iter().map(|offset| offset + shift));
        }
        if to > from {
            children.push(run.source, from as u32, (to - from) as u32);
        }
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), children))
}

fn text(arrays: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef> {
    let sources: Vec<&StringArray> = arrays.iter().map(|array| array.as_string()).collect();
    let source_offsets: Vec<&OffsetBuffer<i32>> = sources.iter().map(|array| array.offsets()).collect();
    let (offsets, bytes) = offsets(&source_offsets, runs)?;
    let mut values: Vec<u8> = Vec::with_capacity(bytes.rows);
    for run in &bytes.runs {
        let start = run.start as usize;
        values.extend_from_slice(&sources[run.source as usize].value_data()[start..start + run.len as usize]);
    }
    Ok(Arc::new(StringArray::try_new(offsets, Buffer::from(values), nulls(arrays, runs))?))
}

fn list(arrays: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef> {
    let sources: Vec<&ListArray> = arrays.iter().map(|array| array.as_list::<i32>()).collect();
    let source_offsets: Vec<&OffsetBuffer<i32>> = sources.iter().map(|array| array.offsets()).collect();
    let (offsets, children) = offsets(&source_offsets, runs)?;
    let values: Vec<&ArrayRef> = sources.iter().map(|array| array.values()).collect();
    let values = gather(&values, &children)?;
    let DataType::List(item) = arrays[0].data_type() else { return by_row(arrays, runs) };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls(arrays, runs))?))
}

fn structs(arrays: &[&ArrayRef], runs: &Runs) -> Result<ArrayRef> {
    let DataType::Struct(fields) = arrays[0].data_type() else { return by_row(arrays, runs) };
    let sources: Vec<&StructArray> = arrays.iter().map(|array| array.as_struct()).collect();
    let columns = (0..fields.len())
        .map(|index| {
            let columns: Vec<&ArrayRef> = sources.iter().map(|source| source.column(index)).collect();
            gather(&columns, runs)
        })
        .collect::<Result<Vec<_>>>()?;
    let nulls = nulls(arrays, runs);
    if columns.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(runs.rows, nulls)));
    }
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, nulls)?))
}

/// Which keys the rows have: the same for all columns of a resource, which share their keys.
struct Layout {
    /// (source, key) in order of their first row.
    distinct: Vec<(u32, i32)>,
    /// For each row its place in `distinct`, anything for null.
    of_row: Vec<u32>,
    nulls: Option<NullBuffer>,
}

impl Layout {
    fn of(sources: &[&Int32Array], runs: &Runs) -> Result<Self> {
        const UNSEEN: u32 = u32::MAX;
        let mut places: Vec<Vec<u32>> = vec![vec![]; sources.len()];
        let mut distinct: Vec<(u32, i32)> = vec![];
        let mut of_row: Vec<u32> = Vec::with_capacity(runs.rows);
        for run in &runs.runs {
            let keys = sources[run.source as usize];
            let places = &mut places[run.source as usize];
            let mut place_of = |key: i32| -> Result<u32> {
                let index = usize::try_from(key).map_err(|_| bad_key())?;
                if index >= places.len() {
                    places.resize(index + 1, UNSEEN);
                }
                if places[index] == UNSEEN {
                    places[index] = distinct.len() as u32;
                    distinct.push((run.source, key));
                }
                Ok(places[index])
            };
            let rows = run.start as usize..(run.start + run.len) as usize;
            if keys.null_count() == 0 {
                for key in &keys.values()[rows] {
                    of_row.push(place_of(*key)?);
                }
            } else {
                for row in rows {
                    of_row.push(if keys.is_valid(row) { place_of(keys.value(row))? } else { 0 });
                }
            }
        }
        let arrays: Vec<ArrayRef> = sources.iter().map(|keys| Arc::new((*keys).clone()) as ArrayRef).collect();
        let arrays: Vec<&ArrayRef> = arrays.iter().collect();
        Ok(Self { distinct, of_row, nulls: nulls(&arrays, runs) })
    }
}

fn bad_key() -> Error {
    Error::Column { name: "dictionary".into(), wanted: "a key within its values" }
}

/// Where the keys of an array lie in memory, and their validity.
type Place = (*const i32, usize, Option<(*const u8, usize)>);

/// The layouts found so far, by the keys of all sources.
#[derive(Default)]
struct Layouts(FxHashMap<Vec<Place>, Layout>);

impl Layouts {
    fn of(&mut self, sources: &[&Int32Array], runs: &Runs) -> Result<&Layout> {
        let place = |keys: &&Int32Array| -> Place {
            let nulls = keys.nulls().map(|nulls| (nulls.buffer().as_ptr(), nulls.offset()));
            (keys.values().as_ptr(), keys.len(), nulls)
        };
        match self.0.entry(sources.iter().map(place).collect()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => Ok(new.insert(Layout::of(sources, runs)?)),
        }
    }
}

/// Sources that share a values array share its entries; equal texts of different arrays become one.
fn dictionary(arrays: &[&ArrayRef], runs: &Runs, layouts: &mut Layouts) -> Result<ArrayRef> {
    let sources: Vec<&DictionaryArray<Int32Type>> = arrays.iter().map(|array| array.as_dictionary()).collect();
    let mut distinct: Vec<&ArrayRef> = vec![];
    let mut numbers: FxHashMap<*const (), usize> = FxHashMap::default();
    let of: Vec<usize> = sources
        .iter()
        .map(|source| {
            *numbers.entry(Arc::as_ptr(source.values()).cast()).or_insert_with(|| {
                distinct.push(source.values());
                distinct.len() - 1
            })
        })
        .collect();
    let keys: Vec<&Int32Array> = sources.iter().map(|source| source.keys()).collect();
    let layout = layouts.of(&keys, runs)?;
    let mut renumbered: Vec<Vec<i32>> = distinct.iter().map(|values| vec![-1; values.len()]).collect();
    let texts: Option<Vec<&StringArray>> = distinct.iter().map(|values| values.as_string_opt::<i32>()).collect();
    let mut known: FxHashMap<&str, i32> = FxHashMap::default();
    let mut used = Runs::default();
    let mut slots: Vec<i32> = Vec::with_capacity(layout.distinct.len());
    for (source, key) in &layout.distinct {
        let (number, index) = (of[*source as usize], *key as usize);
        let slot = renumbered[number].get_mut(index).ok_or_else(bad_key)?;
        if *slot < 0 {
            let mut take = || {
                let next = i32::try_from(used.rows).unwrap_or(i32::MAX);
                used.push(number as u32, *key as u32, 1);
                next
            };
            *slot = match &texts {
                Some(texts) if texts[number].is_valid(index) => {
                    *known.entry(texts[number].value(index)).or_insert_with(take)
                }
                _ => take(),
            };
        }
        slots.push(*slot);
    }
    let values = gather(&distinct, &used)?;
    let keys: Vec<i32> = match slots.is_empty() {
        true => vec![0; layout.of_row.len()],
        false => layout.of_row.iter().map(|place| slots[*place as usize]).collect(),
    };
    let keys = Int32Array::try_new(ScalarBuffer::from(keys), layout.nulls.clone())?;
    Ok(Arc::new(DictionaryArray::try_new(keys, values)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{BooleanArray, Int64Array, StringBuilder, TimestampNanosecondArray};
    use arrow::array::{ListBuilder, StringDictionaryBuilder, StructBuilder};
    use arrow::compute::cast;
    use proptest::prelude::*;

    use super::*;

    type Row = (Option<i64>, Option<String>, Vec<(String, Option<String>)>, Option<u8>);

    fn columns(rows: &[Row]) -> Vec<ArrayRef> {
        let fields = tracerag_schemas::attributes::entry_fields();
        let builders: Vec<Box<dyn arrow::array::ArrayBuilder>> =
            vec![Box::new(StringBuilder::new()), Box::new(StringBuilder::new())];
        let mut entries = ListBuilder::new(StructBuilder::new(fields.clone(), builders))
            .with_field(arrow::datatypes::Field::new("item", DataType::Struct(fields), false));
        let mut words: StringDictionaryBuilder<Int32Type> = StringDictionaryBuilder::new();
        for (number, text, attributes, word) in rows {
            for (key, value) in attributes {
                let item = entries.values();
                item.field_builder::<StringBuilder>(0).unwrap().append_value(key);
                item.field_builder::<StringBuilder>(1).unwrap().append_option(value.as_ref());
                item.append(true);
            }
            entries.append(number.is_some() || text.is_some());
            match word {
                Some(word) => _ = words.append(format!("w{word}")).unwrap(),
                None => words.append_null(),
            }
        }
        let numbers: Vec<Option<i64>> = rows.iter().map(|row| row.0).collect();
        let fixed = rows.iter().map(|row| row.0.map(i64::to_be_bytes));
        vec![
            Arc::new(Int64Array::from(numbers.clone())),
            Arc::new(TimestampNanosecondArray::from(numbers.clone()).with_timezone("UTC")),
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 8).unwrap()),
            Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>()),
            Arc::new(numbers.iter().map(|number| number.map(|n| n > 0)).collect::<BooleanArray>()),
            Arc::new(entries.finish()),
            Arc::new(words.finish()),
        ]
    }

    proptest! {
        /// Whatever rows are taken, of whole or sliced sources, every type gives what Arrow's own
        /// row-by-row kernel gives.
        #[test]
        fn equals_the_kernel_of_arrow(
            sources in prop::collection::vec(prop::collection::vec(
                (any::<Option<i64>>(), prop::option::of("[a-zé]{0,6}"),
                 prop::collection::vec(("[a-c]", prop::option::of("[x-z]{0,3}")), 0..4), prop::option::of(0u8..4)),
                2..12), 1..4),
            picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1u32..5), 0..20),
            cut in any::<bool>(),
        ) {
            let sources: Vec<Vec<ArrayRef>> = sources.iter().map(|rows| {
                let columns = columns(rows);
                columns.iter().map(|c| if cut { c.slice(1, c.len() - 1) } else { Arc::clone(c) }).collect()
            }).collect();
            let mut runs = Runs::default();
            let mut rows = vec![];
            for (source, start, len) in picks {
                let source = source.index(sources.len());
                let total = sources[source][0].len() as u32;
                let start = start.index(total as usize) as u32;
                let len = len.min(total - start);
                runs.push(source as u32, start, len);
                rows.extend((start..start + len).map(|row| (source, row as usize)));
            }
            prop_assert_eq!(runs.rows(), rows.len());
            for column in 0..sources[0].len() {
                let arrays: Vec<&ArrayRef> = sources.iter().map(|source| &source[column]).collect();
                let plain: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
                let (mut ours, mut theirs) = (gather(&arrays, &runs).unwrap(), interleave(&plain, &rows).unwrap());
                prop_assert_eq!(ours.data_type(), theirs.data_type());
                if matches!(ours.data_type(), DataType::Dictionary(..)) {
                    (ours, theirs) = (cast(&ours, &DataType::Utf8).unwrap(), cast(&theirs, &DataType::Utf8).unwrap());
                }
                prop_assert_eq!(&ours, &theirs);
            }
        }
    }

    /// A dictionary shrinks to the values in use, and equal texts of two sources become one value.
    #[test]
    fn dictionaries_shrink_and_merge() {
        let make = |words: &[&str]| -> ArrayRef {
            Arc::new(words.iter().map(|word| Some(*word)).collect::<DictionaryArray<Int32Type>>())
        };
        let (a, b) = (make(&["x", "y", "z"]), make(&["z", "x"]));
        let mut runs = Runs::default();
        runs.push(0, 2, 1);
        runs.push(1, 0, 2);
        let taken = gather(&[&a, &b], &runs).unwrap();
        let taken = taken.as_dictionary::<Int32Type>();
        assert_eq!(taken.values().as_string::<i32>(), &StringArray::from(vec!["z", "x"]));
        assert_eq!(taken.keys().values(), &[0, 0, 1]);
    }
    /// Columns that share their keys come out as each would alone, also where their values are merged differently,
    /// and beside a column that has keys of its own.
    #[test]
    fn columns_that_share_keys_come_out_as_alone() {
        let words = |words: &[&str]| -> ArrayRef { Arc::new(words.iter().map(Some).collect::<StringArray>()) };
        let of = |keys: &Int32Array, values: ArrayRef| -> ArrayRef {
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys.clone(), values).unwrap())
        };
        let batch = |keys: Int32Array, columns: [&[&str]; 2]| {
            let own = Int32Array::from_iter_values((0..keys.len() as i32).rev());
            let names = words(&(0..keys.len()).map(|_| "same").collect::<Vec<_>>());
            let columns = columns.map(|values| of(&keys, words(values)));
            RecordBatch::try_from_iter([
                ("service", Arc::clone(&columns[0])),
                ("version", Arc::clone(&columns[1])),
                ("name", of(&own, names)),
            ])
            .unwrap()
        };
        let a = batch(Int32Array::from(vec![Some(1), None, Some(0), Some(1)]), [&["x", "y"], &["1", "1"]]);
        let b = batch(Int32Array::from(vec![0, 2, 2]), [&["y", "z", "y"], &["3", "2", "1"]]);
        let b = RecordBatch::try_new(a.schema(), b.columns().to_vec()).unwrap();
        let mut runs = Runs::default();
        for (source, start, len) in [(0, 0, 4), (1, 0, 3), (0, 2, 1)] {
            runs.push(source, start, len);
        }
        let together = gather_batch(&[&a, &b], &runs, &[]).unwrap();
        for column in 0..3 {
            let alone = gather(&[a.column(column), b.column(column)], &runs).unwrap();
            assert_eq!(together.column(column).to_data(), alone.to_data(), "column {column}");
        }
        let texts = |column: usize| -> Vec<Option<String>> {
            let plain = cast(together.column(column), &DataType::Utf8).unwrap();
            plain.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
        };
        let expected = |texts: [&str; 8]| texts.map(|text| (!text.is_empty()).then(|| text.to_owned())).to_vec();
        assert_eq!(texts(0), expected(["y", "", "x", "y", "y", "y", "y", "x"]));
        assert_eq!(texts(1), expected(["1", "", "1", "1", "3", "1", "1", "1"]));
    }
}
