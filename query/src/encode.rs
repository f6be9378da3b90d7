//! The rows of an answer in the forms in which commands and servers give them: JSON, CSV, an Arrow stream.
//!
//! An answer is encoded batch by batch, so that it can be sent while it is computed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use serde_json::Value;

use crate::error::Result;
use crate::json;

/// A form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// One array of objects, as [`crate::json`] has them, a row a line.
    Json,
    /// Comma-separated values with a header. A column of lists, maps, structs or bytes is its JSON form as text.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl Encoding {
    /// The encoding of a name: `json`, `csv`, `arrow`.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "arrow" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Encodes the batches of one answer in their order.
pub struct Encoder {
    schema: SchemaRef,
    form: Form,
    /// Whether anything was given out.
    begun: bool,
}

enum Form {
    Json,
    Csv,
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder of rows of this schema.
    ///
    /// # Errors
    /// When Arrow's stream has no form for a type.
    pub fn new(encoding: Encoding, schema: &SchemaRef) -> Result<Self> {
        let form = match encoding {
            Encoding::Json => Form::Json,
            Encoding::Csv => Form::Csv,
            Encoding::Arrow => Form::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
        };
        Ok(Self { schema: Arc::clone(schema), form, begun: false })
    }

    /// The next bytes.
    ///
    /// # Errors
    /// When a value has no form in the encoding.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let begun = std::mem::replace(&mut self.begun, true);
        match &mut self.form {
            Form::Json => {
                let mut text = String::from(if begun { "" } else { "[" });
                let mut is_first = !begun;
                for row in json::rows(batch)? {
                    text.push_str(if is_first { "" } else { ",\n " });
                    is_first = false;
                    text.push_str(&Value::Object(row).to_string());
                }
                // Nothing but rows may follow the bracket without a comma.
                self.begun = !is_first || begun;
                Ok(if self.begun { text.into_bytes() } else { vec![] })
            }
            Form::Csv => csv(batch, !begun),
            Form::Arrow(writer) => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// The last bytes.
    ///
    /// # Errors
    /// As [`Encoder::batch`].
    pub fn end(self) -> Result<Vec<u8>> {
        match self.form {
            Form::Json => Ok(Vec::from(if self.begun { "]\n" } else { "[]\n" })),
            Form::Csv if !self.begun => csv(&RecordBatch::new_empty(self.schema), true),
            Form::Csv => Ok(vec![]),
            Form::Arrow(mut writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }
}

fn csv(batch: &RecordBatch, with_header: bool) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new().with_header(with_header).build(&mut buffer);
    writer.write(&flat(batch)?)?;
    drop(writer);
    Ok(buffer)
}

fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let is_flat = !field.data_type().is_nested()
            && !field.data_type().is_binary()
            && field.data_type() != &DataType::FixedSizeBinary(16);
        let flat: ArrayRef = if is_flat { ArrayRef::clone(column) } else { Arc::new(json_texts(column)?) };
        fields.push(Field::new(field.name(), flat.data_type().clone(), true));
        columns.push(flat);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The JSON form of each value as text; of texts and bytes without quotation marks.
pub(crate) fn json_texts(column: &ArrayRef) -> Result<StringArray> {
    let texts = (0..column.len()).map(|row| match json::value(column, row)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        value => Ok(Some(value.to_string())),
    });
    texts.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int64Array, ListArray};
    use arrow::datatypes::Int64Type;
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn batch(numbers: Vec<i64>) -> RecordBatch {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(numbers.iter().map(|n| Some(vec![Some(*n)])));
        RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(numbers)) as ArrayRef),
            ("list", Arc::new(lists) as ArrayRef),
        ])
        .unwrap()
    }

    fn encoded(encoding: Encoding, batches: &[RecordBatch]) -> Vec<u8> {
        let mut encoder = Encoder::new(encoding, &batch(vec![]).schema()).unwrap();
        let mut bytes: Vec<u8> = batches.iter().flat_map(|batch| encoder.batch(batch).unwrap()).collect();
        bytes.extend(encoder.end().unwrap());
        bytes
    }

    /// Batches that are encoded one by one make one document, an empty batch among them changes nothing, and an
    /// answer without rows is a whole document, too.
    #[test]
    fn batches_make_one_document() {
        let batches = [batch(vec![]), batch(vec![1]), batch(vec![]), batch(vec![2, 3])];
        let text = |encoding, batches: &[RecordBatch]| String::from_utf8(encoded(encoding, batches)).unwrap();
        assert_eq!(
            text(Encoding::Json, &batches),
            "[{\"n\":1,\"list\":[1]},\n {\"n\":2,\"list\":[2]},\n {\"n\":3,\"list\":[3]}]\n"
        );
        assert_eq!(text(Encoding::Json, &[]), "[]\n");
        assert_eq!(text(Encoding::Json, &[batch(vec![])]), "[]\n");
        assert_eq!(text(Encoding::Csv, &batches), "n,list\n1,[1]\n2,[2]\n3,[3]\n");
        assert_eq!(text(Encoding::Csv, &[]), "n,list\n");
        for (batches, rows) in [(&batches[..], 3), (&batches[..0], 0)] {
            let bytes = encoded(Encoding::Arrow, batches);
            let reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
            assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), rows);
        }
    }
}
