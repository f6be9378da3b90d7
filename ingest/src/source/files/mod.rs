//! Replayed files: what the Collector's file exporter writes, and files of flags, deployments and heaps.
//!
//! A file is one partition: topic `file:<sha256 of the file as stored>`, partition 0, offset = line (or
//! message), so the same file again is known by its content, under whatever name.
//!
//! Records of several files come in one order: files of flags and deployments first, then all others by
//! record time, so that spans meet their logs although they lie in different files. One record of each
//! file is held in memory.

mod frames;
mod open;
mod recognise;
mod record_time;
mod wire;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tracerag_schemas::SourcePartition;

use self::frames::Frames;
use super::{Encoding, Signal, SourceError};

/// The cluster of every file.
pub const FILE_CLUSTER: &str = "file";

/// Signal and encoding of a record by its content alone; `None` if it is of no known kind.
pub fn kind_of(record: &[u8]) -> Option<(Signal, Encoding)> {
    recognise::first(record)
}

/// One record of a file.
#[derive(Debug, Clone)]
pub struct FileRecord {
    /// The file as a partition.
    pub source: SourcePartition,
    /// What the record carries.
    pub signal: Signal,
    /// How an OTLP payload is written.
    pub encoding: Encoding,
    /// Line or message, counted from 0; blank lines count.
    pub offset: i64,
    /// The greatest time in the file so far, in nanoseconds since the epoch: span ends, times of logs, points and
    /// events, `captured_at`. Never later than the clock, so that no sender's wrong clock moves time on.
    pub record_time: i64,
    /// The payload.
    pub value: Bytes,
}

/// What a file is.
#[derive(Debug, Clone)]
pub struct FileInfo {
    /// Its path.
    pub path: PathBuf,
    /// The partition that it stands for.
    pub source: SourcePartition,
    /// What its first record carries; OTLP files may mix signals.
    pub signal: Signal,
    /// Its size as stored.
    pub bytes: u64,
}

struct OpenFile {
    info: FileInfo,
    frames: Frames,
    next: Option<FileRecord>,
    time: i64,
    /// Its end was told, see [`Replay::take_ended`].
    is_told: bool,
}

/// The records of some files, in the order in which they are to be taken.
pub struct Replay {
    files: Vec<OpenFile>,
    infos: Vec<FileInfo>,
    read: Arc<AtomicU64>,
    clock: i64,
    /// The file of the record handed out last, whose next record is not read yet.
    due: Option<usize>,
}

impl Replay {
    /// Opens files, recognises them by their content and reads the first record of each. A file that is given
    /// twice counts once; one without any record is left out.
    ///
    /// # Errors
    /// When a file cannot be read, or is of no known kind.
    pub fn open(paths: &[PathBuf]) -> Result<Self, SourceError> {
        let read = Arc::new(AtomicU64::new(0));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        let mut replay = Self { files: Vec::new(), infos: Vec::new(), read, clock, due: None };
        let mut seen = BTreeSet::new();
        for path in paths {
            replay.add(path, &mut seen)?;
        }
        Ok(replay)
    }

    fn add(&mut self, path: &Path, seen: &mut BTreeSet<String>) -> Result<(), SourceError> {
        let (digest, bytes) = open::digest(path)?;
        if !seen.insert(digest.clone()) {
            tracing::info!(path = %path.display(), "the same content was given already");
            return Ok(());
        }
        let Some((frames, signal)) = Frames::open(path, &self.read)? else {
            tracing::warn!(path = %path.display(), "the file holds no record");
            return Ok(());
        };
        let source = SourcePartition::new(FILE_CLUSTER, format!("file:{digest}"), 0);
        let info = FileInfo { path: path.to_owned(), source, signal, bytes };
        self.infos.push(info.clone());
        let mut file = OpenFile { info, frames, next: None, time: 0, is_told: false };
        file.advance(self.clock)?;
        self.files.push(file);
        Ok(())
    }

    /// The files, in the order given.
    pub fn files(&self) -> &[FileInfo] {
        &self.infos
    }

    /// Bytes of all files as stored.
    pub fn total_bytes(&self) -> u64 {
        self.infos.iter().map(|info| info.bytes).sum()
    }

    /// Bytes read so far, as stored; for a progress bar. What is skipped by [`Self::skip_before`] counts too.
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Leaves out the records of a file before `offset`: they were taken earlier. Their times still count.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn skip_before(&mut self, source: &SourcePartition, offset: i64) -> Result<(), SourceError> {
        for file in self.files.iter_mut().filter(|file| &file.info.source == source) {
            while file.next.as_ref().is_some_and(|record| record.offset < offset) {
                file.advance(self.clock)?;
            }
        }
        Ok(())
    }

    /// The files of which every record was handed out or left out, each once. The end of the file of the record
    /// handed out last shows when the next one is asked for.
    pub fn take_ended(&mut self) -> Vec<SourcePartition> {
        let due = self.due;
        let files = self.files.iter_mut().enumerate();
        let ended = files.filter(|(index, file)| file.next.is_none() && !file.is_told && due != Some(*index));
        ended
            .map(|(_, file)| {
                file.is_told = true;
                file.info.source.clone()
            })
            .collect()
    }

    /// The file whose record comes next: changes before everything else, then by time, then as given.
    fn turn(&self) -> Option<usize> {
        let waiting =
            self.files.iter().enumerate().filter_map(|(index, file)| Some((index, file, file.next.as_ref()?)));
        let order = |file: &OpenFile, record: &FileRecord| {
            let is_change = matches!(file.info.signal, Signal::Flags | Signal::Deployments);
            (!is_change, record.record_time)
        };
        waiting.min_by_key(|(index, file, record)| (order(file, record), *index)).map(|(index, ..)| index)
    }
}

impl Iterator for Replay {
    type Item = Result<FileRecord, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Only now: whoever takes a record has one in hand, and one of each file is waiting.
        if let Some(due) = self.due.take()
            && let Err(error) = self.files[due].advance(self.clock)
        {
            return Some(Err(error));
        }
        let turn = self.turn()?;
        self.due = Some(turn);
        self.files[turn].next.take().map(Ok)
    }
}

impl OpenFile {
    fn advance(&mut self, clock: i64) -> Result<(), SourceError> {
        self.next = None;
        let Some(frame) = self.frames.next()? else { return Ok(()) };
        let (signal, encoding) = recognise::record(&frame.value, self.info.signal, self.frames.encoding());
        if let Some(time) = record_time::of(&frame.value, signal, encoding) {
            self.time = self.time.max(time.min(clock));
        }
        self.next = Some(FileRecord {
            source: self.info.source.clone(),
            signal,
            encoding,
            offset: frame.offset,
            record_time: self.time,
            value: frame.value,
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "files_test.rs"]
mod tests;
