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
        match self.runs.last_mut() {
            Some(last) if last.0 == row => last.1 = origin,
            _ => self.runs.push((row, origin)),
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
