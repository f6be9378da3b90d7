//! Parquet files of a partition.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::columns::Columns;
use super::manifest;
use crate::error::Error;

/// Bytes of a row group, about: what a reader takes at once.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// How the names of files begin.
const PART: &str = "part-";
/// How they end.
const PARQUET: &str = ".parquet";
/// How they end while they are written.
const BEGUN: &str = ".part";

/// Writes one file. It has its name only when it is whole.
pub(super) struct Writer {
    writer: ArrowWriter<File>,
    folder: PathBuf,
    /// Below the folder of the export, with `/`.
    path: String,
    rows: u64,
}

impl Writer {
    /// Begins a file of a day of a table.
    pub(super) fn create(to: &Path, table: &str, day: &str, columns: &Columns) -> Result<Self, Error> {
        let path = format!("{table}/day={day}/{PART}{}{PARQUET}", hex::encode(rand::random::<[u8; 8]>()));
        let begun = begun(to, &path);
        if let Some(folder) = begun.parent() {
            fs::create_dir_all(folder).map_err(Error::io(format!("make the folder {}", folder.display())))?;
        }
        let file = File::create(&begun).map_err(Error::io(format!("write {}", begun.display())))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("tracerag {}", env!("CARGO_PKG_VERSION")))
            .build();
        let schema = columns.schema().clone();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|error| failed(&path, error))?;
        Ok(Self { writer, folder: to.to_owned(), path, rows: 0 })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.writer.write(batch).map_err(|error| failed(&self.path, error))?;
        self.rows += batch.num_rows() as u64;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES {
            self.writer.flush().map_err(|error| failed(&self.path, error))?;
        }
        Ok(())
    }

    /// Ends the file, on the disk and under its name.
    pub(super) fn finish(self) -> Result<manifest::File, Error> {
        let Self { writer, folder, path, rows } = self;
        let file = writer.into_inner().map_err(|error| failed(&path, error))?;
        let begun = begun(&folder, &path);
        let cannot = || Error::io(format!("write {}", folder.join(&path).display()));
        file.sync_all().map_err(cannot())?;
        let bytes = file.metadata().map_err(cannot())?.len();
        fs::rename(&begun, folder.join(&path)).map_err(cannot())?;
        Ok(manifest::File { path, rows, bytes })
    }
}

/// Where a file is while it is written: neither engines that look for `*.parquet` nor those that take whole folders, and
/// pass over names that begin with a dot, see it.
fn begun(to: &Path, path: &str) -> PathBuf {
    let path = to.join(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{BEGUN}"))
}

/// Whether a file is one that [`Writer`] began and did not end.
pub(super) fn is_begun(name: &str) -> bool {
    name.strip_prefix('.').and_then(|name| name.strip_suffix(BEGUN)).is_some_and(is_whole)
}

/// Whether a file has a name that [`Writer`] gives.
pub(super) fn is_whole(name: &str) -> bool {
    name.starts_with(PART) && name.ends_with(PARQUET)
}

fn failed(path: &str, error: ParquetError) -> Error {
    Error::Io { what: format!("write {path}"), source: std::io::Error::other(error) }
}
