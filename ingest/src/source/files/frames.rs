//! Where one record ends and the next begins.
//!
//! The Collector's file exporter writes one JSON document a line, or, for protobuf and for anything with
//! its own `compression: zstd`, a big-endian length of four bytes before each message
//! (opentelemetry-collector-contrib, `exporter/fileexporter/README.md`). Files made by hand may hold
//! documents over several lines: then each document is a record.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::super::{Encoding, Signal, SourceError};
use super::{open, recognise};

/// The largest record: JSON takes up to four times the bytes of the protobuf message that Kafka's limit holds for.
const MAX_RECORD_BYTES: usize = 256 << 20;

/// A record's bytes and its number.
pub(super) struct Frame {
    pub(super) offset: i64,
    pub(super) value: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// One JSON document a line.
    Lines,
    /// JSON documents over several lines.
    Documents,
    /// Four bytes of length before each message.
    Lengths,
}

pub(super) struct Frames {
    path: PathBuf,
    content: Box<dyn BufRead + Send>,
    framing: Framing,
    encoding: Encoding,
    next_offset: i64,
    /// Read while the file was recognised.
    first: Option<Frame>,
}

impl Frames {
    /// Opens and recognises a file; `None` if there is nothing in it.
    pub(super) fn open(path: &Path, read: &Arc<AtomicU64>) -> Result<Option<(Self, Signal)>, SourceError> {
        let content = open::content(path, read)?;
        let mut frames = Self {
            path: path.to_owned(),
            content,
            framing: Framing::Lines,
            encoding: Encoding::Json,
            next_offset: 0,
            first: None,
        };
        let Some(first_byte) = frames.peek()? else { return Ok(None) };
        let is_text = matches!(first_byte, b'{' | b' ' | b'\t' | b'\r' | b'\n' | 0xef);
        if !is_text {
            frames.framing = Framing::Lengths;
        }
        let Some(mut first) = frames.next()? else { return Ok(None) };
        if is_text && recognise::is_cut(&first.value) {
            // The first line is the beginning of a document that goes on below.
            frames.framing = Framing::Documents;
            first = Frame { offset: 0, value: frames.document(first.value.to_vec())? };
            frames.next_offset = 1;
        }
        let unknown = || SourceError::UnknownKind { path: path.to_owned() };
        let (signal, encoding) = recognise::first(&first.value).ok_or_else(unknown)?;
        frames.encoding = encoding;
        frames.first = Some(first);
        Ok(Some((frames, signal)))
    }

    /// The encoding of the records.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(super) fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match self.framing {
            Framing::Lines => self.next_line(),
            Framing::Documents => self.next_document(),
            Framing::Lengths => self.next_message(),
        }
    }

    fn next_line(&mut self) -> Result<Option<Frame>, SourceError> {
        loop {
            let mut line = Vec::new();
            let read = self.read_line(&mut line)?;
            if read == 0 {
                return Ok(None);
            }
            let offset = self.next_offset;
            self.next_offset += 1;
            let value = line.trim_ascii();
            if !value.is_empty() {
                let value = if value.len() == line.len() { line } else { value.to_vec() };
                return Ok(Some(Frame { offset, value: Bytes::from(value) }));
            }
        }
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<usize, SourceError> {
        let limit = (MAX_RECORD_BYTES + 1 - line.len().min(MAX_RECORD_BYTES)) as u64;
        let read = (&mut self.content).take(limit).read_until(b'\n', line);
        let read = read.map_err(|reason| SourceError::File { path: self.path.clone(), reason })?;
        if line.len() > MAX_RECORD_BYTES {
            return Err(self.too_large());
        }
        Ok(read)
    }

    fn next_document(&mut self) -> Result<Option<Frame>, SourceError> {
        let offset = self.next_offset;
        let value = self.document(Vec::new())?;
        if value.is_empty() {
            return Ok(None);
        }
        self.next_offset += 1;
        Ok(Some(Frame { offset, value }))
    }

    /// Lines until the braces are closed; what the file has, if they never are.
    fn document(&mut self, mut text: Vec<u8>) -> Result<Bytes, SourceError> {
        loop {
            let is_whole = !text.trim_ascii().is_empty() && !recognise::is_cut(&text);
            if is_whole {
                break;
            }
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            if self.read_line(&mut text)? == 0 {
                break;
            }
        }
        Ok(Bytes::copy_from_slice(text.trim_ascii()))
    }

    fn next_message(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let offset = self.next_offset;
        let mut length = [0; 4];
        self.fill(&mut length, offset)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_RECORD_BYTES {
            // Before the first record this is a file of another kind, after it a damaged one.
            return Err(match offset {
                0 => SourceError::UnknownKind { path: self.path.clone() },
                _ => self.too_large(),
            });
        }
        // Grown while reading: a wrong length must not claim memory that the file does not warrant.
        let mut value = Vec::new();
        let read = (&mut self.content).take(length as u64).read_to_end(&mut value);
        read.map_err(|reason| SourceError::File { path: self.path.clone(), reason })?;
        if value.len() < length {
            return Err(match offset {
                0 => SourceError::UnknownKind { path: self.path.clone() },
                _ => SourceError::Truncated { path: self.path.clone(), offset },
            });
        }
        self.next_offset += 1;
        if value.starts_with(&open::ZSTD_MAGIC) {
            value = self.decompress(&value)?;
        }
        Ok(Some(Frame { offset, value: Bytes::from(value) }))
    }

    fn decompress(&self, value: &[u8]) -> Result<Vec<u8>, SourceError> {
        let failed = |reason| SourceError::File { path: self.path.clone(), reason };
        let decoder = zstd::stream::read::Decoder::with_buffer(value).map_err(failed)?;
        let mut content = Vec::new();
        decoder.take(MAX_RECORD_BYTES as u64 + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() > MAX_RECORD_BYTES {
            return Err(self.too_large());
        }
        Ok(content)
    }

    fn peek(&mut self) -> Result<Option<u8>, SourceError> {
        loop {
            match self.content.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(reason) => return Err(SourceError::File { path: self.path.clone(), reason }),
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8], offset: i64) -> Result<(), SourceError> {
        self.content.read_exact(buffer).map_err(|reason| match reason.kind() {
            io::ErrorKind::UnexpectedEof if offset == 0 => SourceError::UnknownKind { path: self.path.clone() },
            io::ErrorKind::UnexpectedEof => SourceError::Truncated { path: self.path.clone(), offset },
            _ => SourceError::File { path: self.path.clone(), reason },
        })
    }

    fn too_large(&self) -> SourceError {
        SourceError::RecordTooLarge { path: self.path.clone(), offset: self.next_offset, limit: MAX_RECORD_BYTES }
    }
}
