//! Tenant, Kafka coordinates and time of ingestion: once per message, spread over its rows at the end.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::error::ArrowError;
use rustc_hash::FxHashMap;

use super::batch::Columns;

/// Distinct names, numbered.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<Arc<str>>,
    by_name: FxHashMap<Arc<str>, i32>,
}

impl Names {
    pub(super) fn intern(&mut self, name: &str) -> i32 {
        if let Some(key) = self.by_name.get(name) {
            return *key;
        }
        let key = self.names.len() as i32;
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.by_name.insert(name, key);
        key
    }

    pub(super) fn values(&self) -> ArrayRef {
        Arc::new(self.names.iter().map(|name| Some(&**name)).collect::<StringArray>())
    }

    pub(super) fn name(&self, key: i32) -> &str {
        self.names.get(key as usize).map_or("", |name| name)
    }
}

/// Where a message came from.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) tenant: i32,
    pub(super) topic: i32,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) ingested_at: i64,
}

/// The origins of all rows, in runs.
#[derive(Default)]
pub(super) struct Origins {
    /// The first row of each run.
    runs: Vec<(usize, Origin)>,
}

impl Origins {
    /// All rows from `row` on come from `origin`.
    pub(super) fn begin(&mut self, row: usize, origin: Origin) {
        self.truncate(row);
        self.runs.push((row, origin));
    }

    /// Forgets where rows from `rows` on came from: whose they will be is said by the next [`Self::begin`].
    pub(super) fn truncate(&mut self, rows: usize) {
        while self.runs.last().is_some_and(|(first, _)| *first >= rows) {
            self.runs.pop();
        }
    }

    pub(super) fn bytes(&self, rows: usize) -> usize {
        // Two dictionary keys, a partition, an offset and a time.
        rows * 28
    }

    /// Puts the columns of `rows` rows; the builder is empty again.
    pub(super) fn finish(
        &mut self,
        rows: usize,
        tenants: &Names,
        topics: &Names,
        columns: &mut Columns,
    ) -> Result<(), ArrowError> {
        let runs = std::mem::take(&mut self.runs);
        let tenant_keys = Int32Array::from(spread(&runs, rows, |origin| origin.tenant));
        let topic_keys = Int32Array::from(spread(&runs, rows, |origin| origin.topic));
        columns.put_dictionary("tenant_id", &tenant_keys, tenants.values())?;
        columns.put_dictionary("kafka_topic", &topic_keys, topics.values())?;
        put_numbers(&runs, rows, columns);
        Ok(())
    }

    /// The same with plain text columns.
    pub(super) fn finish_plain(&mut self, rows: usize, tenants: &Names, topics: &Names, columns: &mut Columns) {
        let runs = std::mem::take(&mut self.runs);
        let texts = |names: &Names, keys: Vec<i32>| -> ArrayRef {
            Arc::new(keys.into_iter().map(|key| Some(names.name(key))).collect::<StringArray>())
        };
        columns.put("tenant_id", texts(tenants, spread(&runs, rows, |origin| origin.tenant)));
        columns.put("kafka_topic", texts(topics, spread(&runs, rows, |origin| origin.topic)));
        put_numbers(&runs, rows, columns);
    }
}

fn put_numbers(runs: &[(usize, Origin)], rows: usize, columns: &mut Columns) {
    let ingested_at = TimestampNanosecondArray::from(spread(runs, rows, |origin| origin.ingested_at));
    columns.put("kafka_partition", Arc::new(Int32Array::from(spread(runs, rows, |origin| origin.partition))));
    columns.put("kafka_offset", Arc::new(Int64Array::from(spread(runs, rows, |origin| origin.offset))));
    columns.put("ingested_at", Arc::new(ingested_at.with_timezone("UTC")));
}

fn spread<T: Copy + Default>(runs: &[(usize, Origin)], rows: usize, get: impl Fn(&Origin) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(rows);
    for (index, (_, origin)) in runs.iter().enumerate() {
        let end = runs.get(index + 1).map_or(rows, |next| next.0).min(rows);
        values.resize(end.max(values.len()), get(origin));
    }
    values.resize(rows, T::default());
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that were cut off leave no origin behind, wherever the next rows begin: each row has that of its own
    /// message.
    #[test]
    fn cut_off_rows_leave_no_origin() {
        let origin = |offset| Origin { tenant: 0, topic: 0, partition: 0, offset, ingested_at: 0 };
        let mut origins = Origins::default();
        origins.begin(0, origin(1));
        // A message of two rows, each begun on its own, of which both are cut off.
        origins.begin(1, origin(2));
        origins.begin(2, origin(2));
        origins.truncate(1);
        assert_eq!(spread(&origins.runs, 2, |origin| origin.offset), [1, 1]);
        origins.begin(1, origin(3));
        assert_eq!(spread(&origins.runs, 4, |origin| origin.offset), [1, 3, 3, 3]);
        // Begun further ahead and never filled.
        origins.begin(5, origin(4));
        origins.begin(4, origin(5));
        assert_eq!(spread(&origins.runs, 6, |origin| origin.offset), [1, 3, 3, 3, 5, 5]);
    }
}
