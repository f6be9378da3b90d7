//! How near what was found is to a question: distances, which are shown, and the order by meaning.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, FixedSizeListArray};
use arrow::datatypes::Float32Type;
use tracerag_index::incidents::vectors;

use super::corpus::Corpus;
use super::hybrid::{Candidate, cosine, taken, unknown};
use super::meaning::{Judged, Meaning, Text, ranked};
use super::small::Small;
use super::words::Query;
use crate::error::Result;

/// What was measured of candidates.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// True distances from the question's own vector, by row.
    distances: HashMap<u64, f64>,
    /// The places of texts by their hashes, where they are not in the order of their distances.
    places: HashMap<String, usize>,
}

impl Measured {
    /// The distance of a candidate, if it has a vector.
    pub(super) fn distance(&self, candidate: &Candidate) -> Option<f64> {
        self.distances.get(&candidate.row?).copied()
    }

    /// Puts candidates in the order by meaning.
    pub(super) fn sort(&self, candidates: &mut [Candidate]) {
        let place = |candidate: &Candidate| self.places.get(&candidate.hash).copied().unwrap_or(usize::MAX);
        candidates.sort_by(|a, b| {
            let (a_distance, b_distance) = (a.distance.unwrap_or(f64::MAX), b.distance.unwrap_or(f64::MAX));
            let by_distance = a_distance.total_cmp(&b_distance).then_with(|| a.fingerprint.cmp(&b.fingerprint));
            place(a).cmp(&place(b)).then(by_distance)
        });
    }
}

/// Measures what the two searches have found: near ones, with their distances from what was searched with, and those that
/// share words.
pub(super) async fn measure(
    corpus: &Corpus,
    meaning: Option<&Meaning>,
    query: &Query,
    near: &[Candidate],
    by_words: &[Candidate],
) -> Result<Measured> {
    match meaning {
        None => Ok(Measured::default()),
        Some(meaning) if meaning.is_plain() => of_plain_words(corpus, meaning, query, near, by_words).await,
        Some(meaning) => of_text(corpus, meaning, near, by_words).await,
    }
}

/// Of a text that is searched with by its own vector, only distances of what was found by its words are not known yet.
async fn of_text(corpus: &Corpus, meaning: &Meaning, near: &[Candidate], by_words: &[Candidate]) -> Result<Measured> {
    let mut distances: HashMap<u64, f64> =
        near.iter().filter_map(|candidate| Some((candidate.row?, candidate.distance?))).collect();
    let far = by_words.iter().filter_map(|candidate| candidate.row);
    let far: Vec<u64> = far.filter(|row| !distances.contains_key(row)).collect();
    let asked = meaning.asked();
    if let Some(small) = small(corpus) {
        distances.extend(far.into_iter().filter_map(|row| Some((row, small.distance(row, asked)?))));
    } else {
        let stored = stored(corpus, far).await?;
        distances.extend(stored.iter().map(|(row, stored)| (*row, cosine(asked, stored))));
    }
    Ok(Measured { distances, places: HashMap::new() })
}

/// A question in plain words was searched with by another vector than its own, and hubs go back.
async fn of_plain_words(
    corpus: &Corpus,
    meaning: &Meaning,
    query: &Query,
    near: &[Candidate],
    by_words: &[Candidate],
) -> Result<Measured> {
    // Equal texts have equal vectors: one of each is read.
    let mut rows: HashMap<&str, u64> = HashMap::new();
    for candidate in near.iter().chain(by_words) {
        if let Some(row) = candidate.row {
            rows.entry(&candidate.hash).or_insert(row);
        }
    }
    let stored = stored(corpus, rows.values().copied().collect()).await?;
    let judged: HashMap<&str, Judged> =
        rows.iter().filter_map(|(hash, row)| Some((*hash, meaning.judged(stored.get(row)?)?))).collect();
    let repeating = by_words.iter().filter(|candidate| query.coverage(&candidate.words) >= 1.0);
    let repeating: HashSet<&str> = repeating.map(|candidate| candidate.hash.as_str()).collect();
    let texts =
        judged.iter().map(|(&hash, judged)| Text { hash, judged: *judged, has_all_words: repeating.contains(hash) });
    let order = ranked(texts.collect()).into_iter().enumerate();
    let places = order.map(|(place, hash)| (hash.to_owned(), place)).collect();
    let distance = |candidate: &Candidate| Some((candidate.row?, judged.get(candidate.hash.as_str())?.distance));
    let distances = near.iter().chain(by_words).filter_map(distance).collect();
    Ok(Measured { distances, places })
}

fn small(corpus: &Corpus) -> Option<&Small> {
    corpus.table.as_ref()?.small.as_deref()
}

/// The vectors of rows, by row; those without one are left out. They are read at once, and not at all where the table is
/// in memory.
async fn stored(corpus: &Corpus, rows: Vec<u64>) -> Result<HashMap<u64, Vec<f32>>> {
    if let Some(small) = small(corpus) {
        return Ok(rows.into_iter().filter_map(|row| Some((row, small.vector(row)?.to_vec()))).collect());
    }
    let Some((rows, batch)) = taken(corpus, rows, vectors::VECTOR).await? else { return Ok(HashMap::new()) };
    let lists: &FixedSizeListArray = batch
        .column_by_name(vectors::VECTOR)
        .and_then(|column| column.as_fixed_size_list_opt())
        .ok_or_else(|| unknown(vectors::VECTOR))?;
    let vector = |(index, row): (usize, u64)| {
        let stored = lists.is_valid(index).then(|| lists.value(index))?;
        Some((row, stored.as_primitive_opt::<Float32Type>()?.values().to_vec()))
    };
    Ok(rows.into_iter().enumerate().filter_map(vector).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(fingerprint: &str, distance: f64) -> Candidate {
        Candidate {
            fingerprint: fingerprint.to_owned(),
            hash: format!("hash of {fingerprint}"),
            words: String::new(),
            distance: Some(distance),
            row: None,
        }
    }

    /// Places order candidates where there are some, distances do elsewhere, and fingerprints what ties.
    #[test]
    fn places_come_before_distances() {
        let sorted = |places: &[&str]| {
            let places = places.iter().enumerate().map(|(place, of)| (format!("hash of {of}"), place)).collect();
            let mut candidates = vec![candidate("c", 0.2), candidate("b", 0.1), candidate("a", 0.2)];
            Measured { distances: HashMap::new(), places }.sort(&mut candidates);
            candidates.into_iter().map(|candidate| candidate.fingerprint).collect::<Vec<_>>()
        };
        assert_eq!(sorted(&[]), ["b", "a", "c"]);
        assert_eq!(sorted(&["c", "a", "b"]), ["c", "a", "b"]);
        assert_eq!(sorted(&["c"]), ["c", "b", "a"]);
    }
}
