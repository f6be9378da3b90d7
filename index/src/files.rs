//! Data files, written by Lance's file writer.
//!
//! Its insert would want plain texts, and look for repeated ones by hashing each. The file writer takes dictionaries as
//! they are ([`tracerag_schemas::staged`]), and the pages are the same. It also lets each file have encodings of its own:
//! rows are written twice at most, at first quickly and then small ([`Encoding`]).

use std::num::NonZero;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use lance::Dataset;
use lance::datatypes::{Field, LogicalType};
use lance_file::version::ConcreteFileVersion;
use lance_file::versions::v2_2::Writer;
use lance_file::writer::FileWriterOptions;
use lance_table::format::{DataFile, Fragment};
use uuid::Uuid;

/// What the values of a file are encoded for. The settings are fields' metadata to Lance's writer; they stand in the
/// file, and no reader needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Rows that are staged, and will be compacted: texts stay as they are. To pack them with FSST, Lance's choice, took
    /// a sixth of a worker's CPU time, and to look for runs of numbers a thirtieth.
    Quick,
    /// Rows that are compacted: everything is packed with zstd, what is worth it at a higher level.
    Small,
}

const ZSTD: (&str, &str) = ("lance-encoding:compression", "zstd");
/// Lance makes dictionaries of texts that come without one, too.
const VALUES: (&str, &str) = ("lance-encoding:dict-values-compression", "zstd");
const VALUES_LEVEL: (&str, &str) = ("lance-encoding:dict-values-compression-level", "12");
/// With one long text among them, Lance packs each text of a page by itself: that takes most of a scan's time, and more
/// bytes. It is told to pack them together. Not those in lists: there it may refuse a row with very many of them.
const TOGETHER: (&str, &str) = ("lance-encoding:structural-encoding", "miniblock");
/// Bytes that are packed, and unpacked, together.
const CHUNK: (&str, &str) = ("lance-encoding:minichunk-size", "16384");

impl Encoding {
    /// Settings of a column whose values come in this form.
    fn settings(self, form: &DataType) -> &'static [(&'static str, &'static str)] {
        match (self, form) {
            (Encoding::Quick, DataType::Utf8 | DataType::Binary) => &[("lance-encoding:compression", "none")],
            // Numbers, those of dictionaries included, are packed by bits, which takes no time.
            (Encoding::Quick, _) => &[("lance-encoding:rle-threshold", "0.05")],
            // Of ids in hex a level up to 11 leaves 12 bytes, and 12 leaves 9.8, for a microsecond each.
            (Encoding::Small, DataType::Utf8 | DataType::Binary) => {
                &[ZSTD, ("lance-encoding:compression-level", "12"), VALUES, VALUES_LEVEL, CHUNK]
            }
            // There are fewer values of dictionaries than there are numbers for them.
            (Encoding::Small, _) => &[ZSTD, ("lance-encoding:compression-level", "6"), VALUES, VALUES_LEVEL, CHUNK],
        }
    }
}

/// Writes batches as fragments that no version of the dataset names yet, one for each run of batches in the same form.
/// Each column of a batch is one of the dataset's, or a staged form of it. Those that a batch lacks are read as null.
pub(crate) async fn write(dataset: &Dataset, batches: &[RecordBatch]) -> lance::Result<Vec<Fragment>> {
    let mut fragments = Vec::new();
    for run in batches.chunk_by(|one, next| one.schema_ref() == next.schema_ref()) {
        let Some(first) = run.first() else { continue };
        let written = async {
            let mut file = NewFile::create(dataset, &first.schema(), Encoding::Quick).await?;
            for batch in run {
                file.write(batch).await?;
            }
            file.finish().await
        };
        match written.await {
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

/// A data file that is being written. One that is dropped before its end leaves nothing behind.
pub(crate) struct NewFile {
    name: String,
    writer: Writer,
}

impl NewFile {
    /// Begins a file for batches of one form.
    pub(crate) async fn create(dataset: &Dataset, form: &SchemaRef, encoding: Encoding) -> lance::Result<Self> {
        let names: Vec<&str> = form.fields().iter().map(|field| field.name().as_str()).collect();
        let mut schema = dataset.schema().project(&names)?;
        let mut has_words = false;
        for (field, column) in schema.fields.iter_mut().zip(form.fields()) {
            has_words |= take_form(field, column.data_type(), encoding)?;
            if encoding == Encoding::Small && *column.data_type() == DataType::Utf8 {
                field.metadata.insert(TOGETHER.0.to_owned(), TOGETHER.1.to_owned());
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
        let writer = Writer::try_new(store.create(&dataset.data_dir().join(name.as_str())).await?, schema, options)?;
        Ok(Self { name, writer })
    }

    /// Writes a batch: with dictionaries, a page of each column.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> lance::Result<()> {
        self.writer.write_batch(batch).await
    }

    /// Ends the file; gives it as a fragment without a number.
    pub(crate) async fn finish(mut self) -> lance::Result<Fragment> {
        let summary = self.writer.finish().await?;
        let columns = |of: fn(&(u32, u32)) -> u32| {
            self.writer.field_id_to_column_indices().iter().map(of).map(|id| id as i32).collect()
        };
        let (fields, indices) = (columns(|(field, _)| *field), columns(|(_, column)| *column));
        let size = NonZero::new(summary.size_bytes);
        let mut fragment = Fragment::new(0);
        fragment.files.push(DataFile::new(self.name, fields, indices, ConcreteFileVersion::V2_2, size, None));
        fragment.physical_rows = Some(summary.num_rows as usize);
        Ok(fragment)
    }
}

/// Gives a field the form in which its values come, and their encoding; says whether any of them are dictionaries.
fn take_form(field: &mut Field, form: &DataType, encoding: Encoding) -> lance::Result<bool> {
    let children: Vec<&DataType> = match form {
        DataType::List(item) | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        _ => {
            let settings = encoding.settings(form).iter();
            field.metadata.extend(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            vec![]
        }
    };
    let mut has_words = matches!(form, DataType::Dictionary(..));
    if has_words {
        field.logical_type = LogicalType::try_from(form)?;
    }
    for (field, form) in field.children.iter_mut().zip(children) {
        has_words |= take_form(field, form, encoding)?;
    }
    Ok(has_words)
}
