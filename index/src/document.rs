//! A small document in the lake, beside its tables, that one of several writers replaces.
//!
//! It is a file `LAKE/FOLDER/NUMBER`, and the greatest number holds. Who replaces it creates the next number, which a
//! store does for one of several that try: who has read an older one is told that it is not the newest any more.

use bytes::Bytes;

use crate::error::Result;
use crate::lake::Lake;

/// Looks at the folder before it is taken for empty: a file may be replaced between the list and the look.
const LOOKS: usize = 5;

/// A document of a lake.
#[derive(Debug, Clone)]
pub struct Document {
    lake: Lake,
    folder: &'static str,
}

impl Document {
    /// The document in a folder below the lake. Nothing is read yet.
    pub fn new(lake: Lake, folder: &'static str) -> Self {
        Self { lake, folder }
    }

    /// The newest text with its number; `None`: there is none.
    ///
    /// # Errors
    /// When the folder cannot be listed or the file not be read.
    pub async fn read(&self) -> Result<Option<(u64, Bytes)>> {
        for _ in 0..LOOKS {
            let Some(number) = self.numbers().await?.last().copied() else { return Ok(None) };
            if let Some(text) = self.lake.read_file(self.folder, &file(number)).await? {
                return Ok(Some((number, text)));
            }
        }
        Ok(None)
    }

    /// Replaces the text that was read with a number, or makes the first one. Gives the number of the new text; `None`:
    /// somebody else has replaced it meanwhile, and this text counts for nothing.
    ///
    /// # Errors
    /// When the folder cannot be listed or written. The text may have been replaced all the same.
    pub async fn replace(&self, known: Option<u64>, text: &[u8]) -> Result<Option<u64>> {
        let next = known.map_or(0, |number| number + 1);
        if !self.lake.create_file(self.folder, &file(next), text).await? {
            return Ok(None);
        }
        // Who slept between reading and writing may have filled a place that was cleared behind a greater number.
        let numbers = self.numbers().await?;
        if numbers.last() != Some(&next) {
            return Ok(None);
        }
        for number in numbers.into_iter().filter(|number| *number < next) {
            self.lake.remove_file(self.folder, &file(number)).await?;
        }
        Ok(Some(next))
    }

    /// The numbers that are there, in order. Usually one.
    async fn numbers(&self) -> Result<Vec<u64>> {
        let files = self.lake.list_files(self.folder).await?;
        let mut numbers: Vec<u64> = files.iter().filter_map(|file| file.location.filename()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn file(number: u64) -> String {
    format!("{number:020}")
}
