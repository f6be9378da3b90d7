//! Where rows came from, as the last key of an order.

use arrow::array::{Int32Array, Int64Array, StringArray};

use crate::error::Result;
use crate::rows::{Columns, number, owned};

/// Topic, partition, offset.
pub(super) type Origin = (Option<String>, Option<i32>, Option<i64>);

/// The origins of a batch.
pub(super) struct Origins<'a> {
    topics: &'a StringArray,
    partitions: &'a Int32Array,
    offsets: &'a Int64Array,
}

impl<'a> Origins<'a> {
    pub(super) fn of_columns(columns: Columns<'a>) -> Result<Self> {
        Ok(Self {
            topics: columns.text("kafka_topic")?,
            partitions: columns.code("kafka_partition")?,
            offsets: columns.int("kafka_offset")?,
        })
    }

    pub(super) fn of(&self, row: usize) -> Origin {
        (owned(self.topics, row), number(self.partitions, row), number(self.offsets, row))
    }
}
