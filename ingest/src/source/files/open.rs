//! Files as they lie on the disk: their digest, and their content without compression.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::super::SourceError;

const BUFFER_BYTES: usize = 256 << 10;

pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// SHA-256 of the file as stored, in hex, and its size.
pub(super) fn digest(path: &Path) -> Result<(String, u64), SourceError> {
    let failed = |reason| SourceError::File { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok((hex::encode(hash.finalize()), bytes))
}

/// The content of a file, decompressed by what its first bytes say, whatever its name.
pub(super) fn content(path: &Path, read: &Arc<AtomicU64>) -> Result<Box<dyn BufRead + Send>, SourceError> {
    let failed = |reason| SourceError::File { path: path.to_owned(), reason };
    let file = File::open(path).map_err(failed)?;
    let mut stored = BufReader::with_capacity(BUFFER_BYTES, Counted { file, read: Arc::clone(read) });
    let start = stored.fill_buf().map_err(failed)?;
    Ok(if start.starts_with(&ZSTD_MAGIC) {
        let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(failed)?;
        Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
    } else if start.starts_with(&GZIP_MAGIC) {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(stored)))
    } else {
        Box::new(stored)
    })
}

/// Counts what is read of all files together.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
