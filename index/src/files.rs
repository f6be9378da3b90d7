//! Data files of staged rows, written by Lance's file writer.
//!
//! Its insert would want plain texts, and look for repeated ones by hashing each. The file writer takes dictionaries as
//! they are ([`tracerag_schemas::staged`]), and the pages are the same.

use std::num::NonZero;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use lance::Dataset;
use lance::datatypes::{Field, LogicalType};
use lance_file::version::ConcreteFileVersion;
use lance_file::versions::v2_2::Writer;
use lance_file::writer::FileWriterOptions;
use lance_table::format::{DataFile, Fragment};
use uuid::Uuid;

/// Writes batches as fragments that no version of the dataset names yet, one for each run of batches in the same form.
/// Each column of a batch is one of the dataset's, or a staged form of it. Those that a batch lacks are read as null.
pub(crate) async fn write(dataset: &Dataset, batches: &[RecordBatch]) -> lance::Result<Vec<Fragment>> {
    let mut fragments = Vec::new();
    for run in batches.chunk_by(|one, next| one.schema_ref() == next.schema_ref()) {
        match write_file(dataset, run).await {
            Ok(fragment) => fragments.push(fragment),
            Err(error) => {
                remove(dataset, &fragments).await;
                return Err(error);
            }
        }
    }
    Ok(fragments)
}

/// Deletes the files of fragments that no record will name: on a full disk they would fill what is left. A store that
/// fails may not delete either; the clean-up finds what is left then.
pub(crate) async fn remove(dataset: &Dataset, fragments: &[Fragment]) {
    let removed = async {
        let store = dataset.object_store(None).await?;
        for file in fragments.iter().flat_map(|fragment| &fragment.files) {
            store.delete(&dataset.data_dir().join(file.path.as_str())).await?;
        }
        Ok::<_, lance::Error>(())
    };
    if let Err(error) = removed.await {
        tracing::debug!(dataset = dataset.uri(), %error, "staged files are left to the clean-up");
    }
}

async fn write_file(dataset: &Dataset, batches: &[RecordBatch]) -> lance::Result<Fragment> {
    let mut schema = dataset.schema().clone();
    let mut has_words = false;
    if let Some(batch) = batches.first() {
        let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        schema = schema.project(&names)?;
        for (field, column) in schema.fields.iter_mut().zip(batch.columns()) {
            has_words |= take_form(field, column.data_type())?;
        }
    }
    let options = FileWriterOptions {
        // Batches that are put together would have their dictionaries merged; each is a page of its own instead.
        data_cache_bytes: has_words.then_some(0),
        // What is written is nobody else's, so the encoders need not copy it to let go of the rest.
        keep_original_array: Some(true),
        ..FileWriterOptions::default()
    };
    let name = format!("{}.lance", Uuid::new_v4().simple());
    let store = dataset.object_store(None).await?;
    let mut writer = Writer::try_new(store.create(&dataset.data_dir().join(name.as_str())).await?, schema, options)?;
    let written = async {
        writer.write_batches(batches.iter()).await?;
        writer.finish().await
    };
    let summary = match written.await {
        Ok(summary) => summary,
        Err(error) => {
            writer.abort().await;
            return Err(error);
        }
    };
    let columns =
        |of: fn(&(u32, u32)) -> u32| writer.field_id_to_column_indices().iter().map(of).map(|id| id as i32).collect();
    let (fields, indices) = (columns(|(field, _)| *field), columns(|(_, column)| *column));
    let size = NonZero::new(summary.size_bytes);
    let mut fragment = Fragment::new(0);
    fragment.files.push(DataFile::new(name, fields, indices, ConcreteFileVersion::V2_2, size, None));
    fragment.physical_rows = Some(summary.num_rows as usize);
    Ok(fragment)
}

/// Gives a field the form in which its values come; says whether any of them are dictionaries.
fn take_form(field: &mut Field, form: &DataType) -> lance::Result<bool> {
    let children: Vec<&DataType> = match form {
        DataType::Dictionary(..) => {
            field.logical_type = LogicalType::try_from(form)?;
            return Ok(true);
        }
        DataType::List(item) | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        _ => vec![],
    };
    let mut has_words = false;
    for (field, form) in field.children.iter_mut().zip(children) {
        has_words |= take_form(field, form)?;
    }
    Ok(has_words)
}
