//! A small document in the lake, beside its tables, that one of several writers replaces.
//!
//! It is a file `LAKE/FOLDER/NUMBER`, and the greatest number holds. Who replaces it creates the next number, which a
//! store does for one of several that try: who has read an older one is told that it is not the newest any more.
//!
//! What is too large to be written each time lies in parts, files `LAKE/FOLDER/NUMBER-DIGEST` that never change. A part
//! is written before the text of its number, and counts as long as the newest text is written with its name.

use bytes::Bytes;
use sha2::{Digest, Sha256};

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

    /// Writes a part for the text that is to replace the one with a number. Gives its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn add_part(&self, known: Option<u64>, part: &[u8]) -> Result<String> {
        let digest = hex::encode(Sha256::digest(part));
        let name = format!("{}-{digest}", file(next(known)));
        // One that is there has this name by its content.
        self.lake.create_file(self.folder, &name, part).await?;
        Ok(name)
    }

    /// The part of a name. `None`: the text that it was written with is not the newest any more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn part(&self, name: &str) -> Result<Option<Bytes>> {
        self.lake.read_file(self.folder, name).await
    }

    /// Replaces the text that was read with a number, or makes the first one. Gives the number of the new text; `None`:
    /// somebody else has replaced it meanwhile, and this text counts for nothing. Parts that are not among `parts` go.
    ///
    /// # Errors
    /// When the folder cannot be listed or written. The text may have been replaced all the same.
    pub async fn replace(&self, known: Option<u64>, text: &[u8], parts: &[&str]) -> Result<Option<u64>> {
        let next = next(known);
        if !self.lake.create_file(self.folder, &file(next), text).await? {
            return Ok(None);
        }
        // Who slept between reading and writing may have filled a place that was cleared behind a greater number.
        let names = self.names().await?;
        if numbers(&names).last() != Some(&next) {
            return Ok(None);
        }
        // A part of a greater number is that of a writer who has read this text.
        let is_past = |name: &str| match name.split_once('-') {
            None => name.parse().is_ok_and(|number: u64| number < next),
            Some((number, _)) => number.parse().is_ok_and(|number: u64| number <= next) && !parts.contains(&name),
        };
        for name in names.iter().filter(|name| is_past(name)) {
            self.lake.remove_file(self.folder, name).await?;
        }
        Ok(Some(next))
    }

    /// The numbers that are there, in order. Usually one.
    async fn numbers(&self) -> Result<Vec<u64>> {
        Ok(numbers(&self.names().await?))
    }

    /// The names of texts and parts.
    async fn names(&self) -> Result<Vec<String>> {
        let files = self.lake.list_files(self.folder).await?;
        Ok(files.iter().filter_map(|file| file.location.filename().map(str::to_owned)).collect())
    }
}

/// The numbers of texts, in order.
fn numbers(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn next(known: Option<u64>) -> u64 {
    known.map_or(0, |number| number + 1)
}

fn file(number: u64) -> String {
    format!("{number:020}")
}
