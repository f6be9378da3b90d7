//! Log templates: the constant part of a message, which is what the statement that wrote it has in common with itself.
//!
//! `order 4711 of alice paid in 12.5 ms` and `order 12 of alice paid in 3 s` have the template
//! `order <*> of alice paid in <*>`.
//!
//! - **In:** the text of one record. **Out:** its template, and an id that is a hash of it.
//! - **Nothing is learned.** A template depends on its text alone ([`template`]), so a restart, another worker and an epoch
//!   that is put together again give the same id to the same message, and what there is to remember is bounded by one
//!   batch. What only many messages together can tell (that `alice` is one of many names) is told when templates are
//!   read, by [`merged`].
//! - **A message with a stack** has none: it is a failure, and its frames say more of it.

mod members;
mod merge;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::error::ArrowError;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub use merge::merged;
pub use text::template;

/// The version of the rules; it is part of every id. A change that gives any text another template makes it one more.
pub const TEMPLATE_VERSION: u64 = 1;

/// What stands for a variable part.
pub const WILDCARD: &str = "<*>";

/// Bodies of one batch that are remembered with their templates. When they are more, all are forgotten and the next are
/// remembered: this bounds the memory and changes no result.
const MOST_REMEMBERED: usize = 65_536;

/// The id of a template: 16 hex digits.
#[must_use]
pub fn template_id(template: &str) -> String {
    format!("{:016x}", xxh3_64_with_seed(template.as_bytes(), TEMPLATE_VERSION))
}

/// Log records in flight with their columns `template` and `template_id`, as dictionaries: each template of the batch
/// stands there once.
///
/// # Errors
/// When a batch is not one of `logs`.
pub fn with_templates(logs: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (bodies, kinds) = (texts(logs, "body")?, texts(logs, "body_type")?);
    let mut templates = Templates::default();
    let keys: Int32Array = (0..logs.num_rows())
        .map(|row| {
            let kind = kinds.is_valid(row).then(|| kinds.value(row));
            bodies.is_valid(row).then(|| templates.key(bodies.value(row), kind)).flatten()
        })
        .collect();
    if templates.values.is_empty() {
        return Ok(logs.clone());
    }
    let ids: StringArray = templates.values.iter().map(|template| Some(template_id(template))).collect();
    let values: StringArray = templates.values.iter().map(|template| Some(template.as_ref())).collect();
    let batch = with_column(logs, "template_id", &keys, ids)?;
    with_column(&batch, "template", &keys, values)
}

fn texts<'a>(logs: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    let column = logs.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| ArrowError::SchemaError(format!("logs have no column {name} of texts")))
}

fn with_column(
    batch: &RecordBatch,
    name: &str,
    keys: &Int32Array,
    values: StringArray,
) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let index = schema.index_of(name)?;
    let column: DictionaryArray<Int32Type> = DictionaryArray::try_new(keys.clone(), Arc::new(values))?;
    let mut fields: Vec<Arc<Field>> = schema.fields().to_vec();
    let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    fields[index] = Arc::new(schema.field(index).clone().with_data_type(words));
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns[index] = Arc::new(column);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The templates of one batch, in the order in which they come first.
#[derive(Default)]
struct Templates<'a> {
    values: Vec<Arc<str>>,
    keys: HashMap<Arc<str>, i32>,
    /// What is known of bodies with their kinds, by a hash of the body that is made faster than the map's own.
    known: HashMap<u64, Known<'a>>,
}

struct Known<'a> {
    body: &'a str,
    kind: Option<&'a str>,
    key: Option<i32>,
}

impl<'a> Templates<'a> {
    fn key(&mut self, body: &'a str, kind: Option<&'a str>) -> Option<i32> {
        let hash = xxh3_64(body.as_bytes());
        if let Some(known) = self.known.get(&hash).filter(|known| known.kind == kind && known.body == body) {
            return known.key;
        }
        let key = template(body, kind).map(|template| self.key_of(template));
        if self.known.len() >= MOST_REMEMBERED {
            self.known.clear();
        }
        self.known.insert(hash, Known { body, kind, key });
        key
    }

    fn key_of(&mut self, template: String) -> i32 {
        if let Some(key) = self.keys.get(template.as_str()) {
            return *key;
        }
        // A batch has fewer rows than an `i32` can count, because its texts have offsets of that type.
        let key = self.values.len() as i32;
        let template: Arc<str> = template.into();
        self.values.push(Arc::clone(&template));
        self.keys.insert(template, key);
        key
    }
}

#[cfg(test)]
mod tests;
