//! Small tables of vectors, held whole.
//!
//! A scan of a table takes about a millisecond to be planned, and a question makes several. A table that has too few rows
//! for indices is read once for each of its versions, and then compared in memory, exactly. It has the rows of all tenants:
//! whoever asks gives the filter that has the tenant in it.

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use arrow::record_batch::RecordBatch;
use lance::Dataset;
use tracerag_index::incidents::vectors;

use super::filter::Filter;
use super::hybrid::{Candidate, lance, scanned, unknown};
use super::words::{Counted, Query, tokens};
use crate::error::Result;
use crate::rows::{Columns, owned};

const COLUMNS: [&str; 7] =
    ["tenant_id", "fingerprint", "text_hash", vectors::WORDS, "service_name", "exception_type", vectors::VECTOR];

/// Numbers that are multiplied at once.
const LANES: usize = 8;

/// A table in memory.
#[derive(Debug, Default)]
pub(super) struct Small {
    rows: Vec<Row>,
    /// Every word of the table by its number.
    vocabulary: HashMap<String, u32>,
    /// What it takes, about.
    pub bytes: usize,
}

#[derive(Debug)]
struct Row {
    tenant: String,
    fingerprint: String,
    hash: String,
    words: String,
    /// The numbers of its words, in their order.
    tokens: Vec<u32>,
    service: Option<String>,
    error_type: Option<String>,
    vector: Vec<f32>,
}

impl Small {
    /// Reads a table.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn read(dataset: &Dataset) -> Result<Self> {
        let mut scan = dataset.scan();
        scan.project(&COLUMNS).map_err(lance)?;
        Self::of(&scanned(scan).await?)
    }

    /// The table whose rows are in a batch with [`COLUMNS`]; rows without a key are left out.
    fn of(batch: &RecordBatch) -> Result<Self> {
        let columns = Columns::of(vectors::TABLE, batch);
        let (tenants, fingerprints) = (columns.text("tenant_id")?, columns.text("fingerprint")?);
        let (hashes, words) = (columns.text("text_hash")?, columns.text(vectors::WORDS)?);
        let (services, types) = (columns.text("service_name")?, columns.text("exception_type")?);
        let lists = batch
            .column_by_name(vectors::VECTOR)
            .and_then(|column| column.as_fixed_size_list_opt())
            .ok_or_else(|| unknown(vectors::VECTOR))?;
        let mut small = Self::default();
        for row in 0..batch.num_rows() {
            let key = (owned(tenants, row), owned(fingerprints, row), owned(hashes, row));
            let (Some(tenant), Some(fingerprint), Some(hash)) = key else { continue };
            let stored = lists.is_valid(row).then(|| lists.value(row));
            let vector = stored.as_ref().and_then(|stored| stored.as_primitive_opt::<Float32Type>());
            let words = owned(words, row).unwrap_or_default();
            let row = Row {
                tokens: small.numbers(&words),
                tenant,
                fingerprint,
                hash,
                words,
                service: owned(services, row),
                error_type: owned(types, row),
                vector: vector.map(|vector| vector.values().to_vec()).unwrap_or_default(),
            };
            small.bytes += row.bytes();
            small.rows.push(row);
        }
        Ok(small)
    }

    fn numbers(&mut self, text: &str) -> Vec<u32> {
        let mut numbers = Vec::new();
        for word in tokens(&text.to_lowercase()) {
            let next = u32::try_from(self.vocabulary.len()).unwrap_or(u32::MAX);
            let number = match self.vocabulary.get(word) {
                Some(number) => *number,
                None => {
                    self.bytes += word.len() + size_of::<(String, u32)>();
                    *self.vocabulary.entry(word.to_owned()).or_insert(next)
                }
            };
            numbers.push(number);
        }
        numbers
    }

    /// The rows that a filter lets pass, by their numbers.
    fn passing(&self, filter: &Filter) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().filter(|(_, row)| {
            filter.takes_of(&row.tenant, &row.fingerprint, row.service.as_deref(), row.error_type.as_deref())
        })
    }

    /// So many rows that are nearest to a vector, with their distances.
    pub(super) fn nearest(&self, filter: &Filter, vector: &[f32], most: usize) -> Vec<Candidate> {
        let norm = dot(vector, vector);
        let mut near: Vec<(f64, usize, &Row)> =
            self.passing(filter).filter_map(|(number, row)| Some((row.distance(vector, norm)?, number, row))).collect();
        near.sort_by(|(a, _, one), (b, _, other)| {
            a.total_cmp(b).then_with(|| (&one.fingerprint, &one.hash).cmp(&(&other.fingerprint, &other.hash)))
        });
        near.truncate(most);
        let near = near.into_iter();
        near.map(|(distance, number, row)| Candidate { distance: Some(distance), ..row.candidate(number) }).collect()
    }

    /// What the rows that pass, without some incidents, have of a question's words; by the numbers of the rows.
    pub(super) fn counted(&self, filter: &Filter, without: &[String], query: &Query) -> Vec<(usize, Counted)> {
        // By the number of a word of the table, the number of the question's word that it is.
        let mut known: Vec<Option<usize>> = vec![None; self.vocabulary.len()];
        for (word, place) in query.words() {
            if let Some(known) = self.vocabulary.get(word).and_then(|number| known.get_mut(*number as usize)) {
                *known = Some(place);
            }
        }
        let of_query = |token: &u32| known.get(*token as usize).copied().flatten();
        self.passing(filter)
            .filter(|(_, row)| !without.contains(&row.fingerprint))
            .map(|(number, row)| (number, Counted::of(row.tokens.iter().map(of_query))))
            .collect()
    }

    /// A row.
    pub(super) fn candidate(&self, number: usize) -> Option<Candidate> {
        Some(self.rows.get(number)?.candidate(number))
    }

    /// The distance of a row from a vector; `None` of one without a vector.
    pub(super) fn distance(&self, number: u64, vector: &[f32]) -> Option<f64> {
        self.rows.get(usize::try_from(number).ok()?)?.distance(vector, dot(vector, vector))
    }

    /// The vector of a row, if it has one.
    pub(super) fn vector(&self, number: u64) -> Option<&[f32]> {
        let row = self.rows.get(usize::try_from(number).ok()?)?;
        Some(row.vector.as_slice()).filter(|vector| !vector.is_empty())
    }

    /// The rows of a tenant's incidents that have a vector: fingerprint, hash of the text, and vector.
    pub(super) fn embedded<'a>(
        &'a self,
        tenant: &'a str,
        incidents: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a [f32])> {
        let is_asked =
            move |row: &&Row| row.tenant == tenant && incidents.binary_search(&row.fingerprint.as_str()).is_ok();
        let rows = self.rows.iter().filter(is_asked).filter(|row| !row.vector.is_empty());
        rows.map(|row| (row.fingerprint.as_str(), row.hash.as_str(), row.vector.as_slice()))
    }
}

impl Row {
    fn bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + [&self.tenant, &self.fingerprint, &self.hash, &self.words].map(String::len).iter().sum::<usize>()
            + optional(&self.service)
            + optional(&self.error_type)
            + size_of_val(self.tokens.as_slice())
            + size_of_val(self.vector.as_slice())
    }

    fn candidate(&self, number: usize) -> Candidate {
        Candidate {
            fingerprint: self.fingerprint.clone(),
            hash: self.hash.clone(),
            words: self.words.clone(),
            distance: None,
            row: Some(number as u64),
        }
    }

    /// The cosine distance from a vector with a squared norm; `None` without a vector of that length.
    fn distance(&self, vector: &[f32], norm: f32) -> Option<f64> {
        let own = Some(self.vector.as_slice()).filter(|own| !own.is_empty() && own.len() == vector.len())?;
        let norm = (f64::from(norm) * f64::from(dot(own, own))).sqrt();
        Some(if norm > 0.0 { (1.0 - f64::from(dot(own, vector)) / norm).max(0.0) } else { 1.0 })
    }
}

/// The sum of products. Several sums at once, so that the processor multiplies several numbers at once.
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (one, other) in ones.zip(others) {
        for (sum, (a, b)) in sums.iter_mut().zip(one.iter().zip(other)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of products is that of the numbers one by one, also of lengths that are no multiple of the lanes.
    #[test]
    fn products_are_summed() {
        for length in [0_u8, 1, 7, 8, 9, 31] {
            let one: Vec<f32> = (0..length).map(f32::from).collect();
            let other: Vec<f32> = (0..length).map(|n| f32::from(n) / 2.0).collect();
            let plain: f32 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
            assert!((dot(&one, &other) - plain).abs() < 1e-2, "{length}");
        }
    }
}
