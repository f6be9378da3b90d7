//! Growing columns that become Arrow arrays: plain buffers, filled by row and cut back to a row.
//!
//! A column is filled sparsely: rows that were not set when the column is finished, or jumped over, are null.
//! A column that no row of a batch has costs nothing but its nulls at the end. Cutting back to a row count is
//! how a record or message that turns out to be bad leaves no trace.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

/// Offsets are 32 bits wide. A message that would go beyond is refused after it was read (see `decoder`), so
/// that a saturated offset never reaches an array.
#[inline]
pub(super) fn offset(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// What an array keeps of a column. A column's room is that of the batch before, and whoever holds the array holds,
/// and counts, all of it: room for a thousand rows is not kept for one.
pub(super) fn fitted<T>(mut values: Vec<T>) -> Vec<T> {
    if values.len() < values.capacity() / 4 * 3 {
        values.shrink_to_fit();
    }
    values
}

/// Which rows are valid; holds no bits as long as all are.
#[derive(Default)]
pub(super) struct Validity {
    len: usize,
    nulls: usize,
    bits: Vec<u8>,
}

impl Validity {
    #[inline]
    fn push_valid(&mut self) {
        if self.nulls > 0 {
            let byte = self.len / 8;
            if byte == self.bits.len() {
                self.bits.push(0);
            }
            self.bits[byte] |= 1 << (self.len % 8);
        }
        self.len += 1;
    }

    fn push_nulls(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        if self.nulls == 0 {
            self.bits.clear();
            self.bits.resize(self.len.div_ceil(8), 0xff);
            self.mask_tail();
        }
        self.len += count;
        self.nulls += count;
        self.bits.resize(self.len.div_ceil(8), 0);
    }

    fn mask_tail(&mut self) {
        if let (Some(last), 1..) = (self.bits.last_mut(), self.len % 8) {
            *last &= (1u8 << (self.len % 8)) - 1;
        }
    }

    fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        if self.nulls > 0 {
            self.bits.truncate(len.div_ceil(8));
            self.mask_tail();
            self.nulls = len - self.bits.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
        }
    }

    fn is_valid(&self, row: usize) -> bool {
        row < self.len && (self.nulls == 0 || self.bits[row / 8] >> (row % 8) & 1 == 1)
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        let Self { len, nulls, bits } = std::mem::take(self);
        (nulls > 0).then(|| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(fitted(bits)), 0, len)))
    }
}

/// Text.
pub(super) struct TextColumn {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    validity: Validity,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), validity: Validity::default() }
    }
}

impl TextColumn {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.validity.len
    }

    /// Appends a row.
    #[inline]
    pub(super) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.commit();
    }

    /// Appends a row that is known to be UTF-8.
    #[inline]
    pub(super) fn push_known(&mut self, text: &[u8]) {
        debug_assert!(std::str::from_utf8(text).is_ok(), "only text gets here");
        self.bytes.extend_from_slice(text);
        self.commit();
    }

    /// The buffer, to write the next row in place, in UTF-8; [`Self::commit`] ends it.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends a row that was written to [`Self::open`].
    #[inline]
    pub(super) fn commit(&mut self) {
        self.offsets.push(offset(self.bytes.len()));
        self.validity.push_valid();
    }

    pub(super) fn push_null(&mut self) {
        self.pad(self.len() + 1);
    }

    /// Sets a row if it is not set yet.
    #[inline]
    pub(super) fn set(&mut self, row: usize, text: &str) {
        if self.len() <= row {
            self.pad(row);
            self.push(text);
        }
    }

    /// Sets a row, if it is not set yet, to what is known to be UTF-8.
    #[inline]
    pub(super) fn set_known(&mut self, row: usize, text: &[u8]) {
        if self.len() <= row {
            self.pad(row);
            self.push_known(text);
        }
    }

    /// Sets a row to `text`, or leaves it null where the text is empty: proto3 does not tell the two apart.
    #[inline]
    pub(super) fn set_present(&mut self, row: usize, text: &str) {
        if !text.is_empty() {
            self.set(row, text);
        }
    }

    /// The text of a row that is set, as bytes that are known to be UTF-8.
    #[inline]
    pub(super) fn get_known(&self, row: usize) -> Option<&[u8]> {
        if !self.validity.is_valid(row) {
            return None;
        }
        let (start, end) = (*self.offsets.get(row)?, *self.offsets.get(row + 1)?);
        self.bytes.get(start as usize..end as usize)
    }

    /// The text of a row that is set.
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        std::str::from_utf8(self.get_known(row)?).ok()
    }

    /// Puts another text into the row appended last.
    pub(super) fn replace_last(&mut self, text: &str) {
        let kept = self.bytes.len() - self.last().len();
        self.bytes.truncate(kept);
        self.bytes.extend_from_slice(text.as_bytes());
        if let Some(end) = self.offsets.last_mut() {
            *end = offset(self.bytes.len());
        }
    }

    /// The bytes of the row appended last.
    pub(super) fn last(&self) -> &[u8] {
        let start = self.len().checked_sub(1).map_or(0, |row| self.offsets[row] as usize);
        &self.bytes[start.min(self.bytes.len())..]
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.len());
        if missing > 0 {
            self.offsets.resize(self.offsets.len() + missing, offset(self.bytes.len()));
            self.validity.push_nulls(missing);
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        if rows < self.len() {
            self.offsets.truncate(rows + 1);
            self.validity.truncate(rows);
        }
        // What was written but never committed goes too.
        self.bytes.truncate(self.offsets.last().copied().unwrap_or_default() as usize);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + self.offsets.len() * 4
    }

    /// The column with `rows` rows; the builder is empty again.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        // The next batch has about as much text, seldom more than an eighth on top.
        let (offset_room, byte_room) = (self.offsets.len(), self.bytes.len() + self.bytes.len() / 8);
        let offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(offset_room));
        self.offsets.push(0);
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(byte_room));
        text_array(fitted(offsets), fitted(bytes), self.validity.finish())
    }
}

/// The array of texts. What was read as text is not read again to see whether it is: debug builds do.
#[allow(unsafe_code)]
fn text_array(offsets: Vec<i32>, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let bytes = Buffer::from_vec(bytes);
    if cfg!(debug_assertions) {
        return Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls)?));
    }
    // SAFETY: `OffsetBuffer::new` has checked that offsets grow, and a column's last one is the length of its
    // bytes. Every row was appended as a `str`, as bytes that were compared with one, or in place by writers of
    // digits, Base64 and escaped `str`s; rows are cut off as a whole. So offsets lie between characters.
    Ok(Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, nulls) }))
}

/// Numbers or times.
pub(super) struct NumberColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    validity: Validity,
}

impl<T: ArrowPrimitiveType> Default for NumberColumn<T> {
    fn default() -> Self {
        Self { values: Vec::new(), validity: Validity::default() }
    }
}

impl<T: ArrowPrimitiveType> NumberColumn<T> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    pub(super) fn push(&mut self, value: T::Native) {
        self.values.push(value);
        self.validity.push_valid();
    }

    /// Sets a row if it is not set yet.
    #[inline]
    pub(super) fn set(&mut self, row: usize, value: T::Native) {
        if self.values.len() <= row {
            self.pad(row);
            self.push(value);
        }
    }

    /// Sets a row, again if it was set before: protobuf lets the last one of a repeated scalar count.
    pub(super) fn put(&mut self, row: usize, value: T::Native) {
        match self.values.get_mut(row) {
            Some(slot) => *slot = value,
            None => self.set(row, value),
        }
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.values.len());
        if missing > 0 {
            self.values.resize(self.values.len() + missing, T::default_value());
            self.validity.push_nulls(missing);
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.values.len() * size_of::<T::Native>()
    }

    /// The column with `rows` rows; the builder is empty again.
    pub(super) fn finish(&mut self, rows: usize) -> PrimitiveArray<T> {
        self.pad(rows);
        let room = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(room));
        PrimitiveArray::new(ScalarBuffer::from(fitted(values)), self.validity.finish())
    }
}

/// Ids of `N` bytes.
pub(super) struct IdColumn<const N: usize> {
    bytes: Vec<u8>,
    validity: Validity,
}

impl<const N: usize> Default for IdColumn<N> {
    fn default() -> Self {
        Self { bytes: Vec::new(), validity: Validity::default() }
    }
}

impl<const N: usize> IdColumn<N> {
    #[inline]
    pub(super) fn set(&mut self, row: usize, id: &[u8; N]) {
        if self.validity.len <= row {
            self.pad(row);
            self.bytes.extend_from_slice(id);
            self.validity.push_valid();
        }
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.validity.len);
        self.bytes.resize(self.bytes.len() + missing * N, 0);
        self.validity.push_nulls(missing);
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.bytes.truncate(rows * N);
        self.validity.truncate(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The column with `rows` rows; the builder is empty again.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        let room = self.bytes.len();
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
        Ok(Arc::new(FixedSizeBinaryArray::try_new(N as i32, Buffer::from_vec(fitted(bytes)), self.validity.finish())?))
    }
}

/// Where the lists of a list column end; null where a row has no list at all.
pub(super) struct Lists {
    offsets: Vec<i32>,
    validity: Validity,
}

impl Default for Lists {
    fn default() -> Self {
        Self { offsets: vec![0], validity: Validity::default() }
    }
}

impl Lists {
    fn len(&self) -> usize {
        self.validity.len
    }

    /// Ends the list of a row, whose elements reach to `elements`.
    #[inline]
    pub(super) fn end_row(&mut self, elements: usize) {
        self.offsets.push(offset(elements));
        self.validity.push_valid();
    }

    /// Ends the list of `row`; rows jumped over have none.
    pub(super) fn set(&mut self, row: usize, elements: usize) {
        self.pad(row);
        self.end_row(elements);
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.len());
        let last = self.offsets.last().copied().unwrap_or_default();
        self.offsets.resize(self.offsets.len() + missing, last);
        self.validity.push_nulls(missing);
    }

    /// Cuts back and says how many elements remain.
    pub(super) fn truncate(&mut self, rows: usize) -> usize {
        self.offsets.truncate(rows + 1);
        self.validity.truncate(rows);
        self.offsets.last().copied().unwrap_or_default() as usize
    }

    pub(super) fn bytes(&self) -> usize {
        self.offsets.len() * 4
    }

    /// The list column over `elements`, with `rows` rows.
    pub(super) fn finish(&mut self, rows: usize, item: FieldRef, elements: ArrayRef) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        let room = self.offsets.len();
        let offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(room));
        self.offsets.push(0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(fitted(offsets)));
        Ok(Arc::new(ListArray::try_new(item, offsets, elements, self.validity.finish())?))
    }
}

/// Lists of numbers.
pub(super) struct NumberLists<T: ArrowPrimitiveType> {
    lists: Lists,
    pub(super) values: NumberColumn<T>,
}

impl<T: ArrowPrimitiveType> Default for NumberLists<T> {
    fn default() -> Self {
        Self { lists: Lists::default(), values: NumberColumn::default() }
    }
}

impl<T: ArrowPrimitiveType> NumberLists<T> {
    /// Ends the list of `row`: what was pushed to `values` since the last one.
    pub(super) fn set(&mut self, row: usize) {
        self.lists.set(row, self.values.len());
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        let elements = self.lists.truncate(rows);
        self.values.truncate(elements);
    }

    pub(super) fn bytes(&self) -> usize {
        self.lists.bytes() + self.values.bytes()
    }

    pub(super) fn finish(&mut self, rows: usize, item: FieldRef) -> Result<ArrayRef, ArrowError> {
        let elements = self.values.len();
        let values = self.values.finish(elements);
        self.lists.finish(rows, item, Arc::new(values))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int64Type;

    /// Rows that were jumped over are null, a second value for a row is ignored, and cutting back forgets
    /// exactly the rows behind, nulls included.
    #[test]
    fn sparse_rows_and_cutting_back() {
        let mut column = TextColumn::default();
        column.set(0, "a");
        column.set(3, "dd");
        column.set(3, "ignored");
        column.set(9, "j");
        column.open().extend_from_slice(b"never committed");
        column.truncate(5);
        column.set(5, "gg");
        column.replace_last("f");
        let array = column.finish(7).unwrap();
        let texts: Vec<_> = array.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("a"), None, None, Some("dd"), None, Some("f"), None]);
        assert_eq!(column.len(), 0);

        let mut numbers = NumberColumn::<Int64Type>::default();
        (0..20).for_each(|row| numbers.push(row));
        numbers.set(21, 21);
        numbers.truncate(20);
        let array = numbers.finish(20);
        assert_eq!(array.null_count(), 0);
        assert_eq!(array.values().len(), 20);
    }

    /// A short batch after a long one keeps no room of that one, and the next short one gets none.
    #[test]
    fn short_batches_hold_no_room_of_long_ones() {
        let (mut texts, mut numbers) = (TextColumn::default(), NumberColumn::<Int64Type>::default());
        let (mut ids, mut lists) = (IdColumn::<16>::default(), NumberLists::<Int64Type>::default());
        let mut sizes = vec![];
        for rows in [8_192, 1, 1] {
            for row in 0..rows {
                texts.set(row, "some text");
                numbers.set(row, 7);
                ids.set(row, &[1; 16]);
                lists.values.push(1);
                lists.set(row);
            }
            let item = Arc::new(arrow::datatypes::Field::new("item", arrow::datatypes::DataType::Int64, true));
            let arrays: [ArrayRef; 4] = [
                texts.finish(rows).unwrap(),
                Arc::new(numbers.finish(rows)),
                ids.finish(rows).unwrap(),
                lists.finish(rows, item).unwrap(),
            ];
            sizes.push(arrays.map(|array| array.get_buffer_memory_size()));
        }
        assert!(sizes[0].iter().all(|bytes| *bytes >= 8_192 * 8), "{sizes:?}");
        assert!(sizes[1..].iter().flatten().all(|bytes| *bytes < 256), "{sizes:?}");
    }

    /// Lists keep their bounds when a later row is cut off.
    #[test]
    fn lists_cut_their_elements_back() {
        let mut lists = NumberLists::<Int64Type>::default();
        [1, 2].into_iter().for_each(|number| lists.values.push(number));
        lists.set(1);
        lists.values.push(3);
        lists.set(2);
        lists.truncate(2);
        let item = Arc::new(arrow::datatypes::Field::new("item", arrow::datatypes::DataType::Int64, true));
        let array = lists.finish(3, item).unwrap();
        let array = array.as_list::<i32>();
        assert_eq!(array.values().len(), 2);
        assert_eq!((array.is_null(0), array.value_length(1), array.is_null(2)), (true, 2, true));
    }
}
