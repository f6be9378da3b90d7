//! Fusing two rankings, and saying why something is in the answer.

use super::history::History;
use super::hybrid::{Corpus, Found};
use super::stack::Overlap;

/// Constant of reciprocal rank fusion: how little the first places differ.
const RRF: f64 = 60.0;
/// Weight of the ranking that the question is made for.
const STRONG: f64 = 16.0;
/// Weight of the other ranking.
const WEAK: f64 = 1.0;

/// How much each ranking counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights {
    pub vectors: f64,
    pub words: f64,
}

impl Weights {
    /// Vectors cannot find an identifier, words find little else: a question whose identifier stands in a
    /// text goes by words, every other by meaning.
    pub(super) fn route(finds_identifier: bool) -> Self {
        match finds_identifier {
            true => Self { vectors: WEAK, words: STRONG },
            false => Self { vectors: STRONG, words: WEAK },
        }
    }

    /// Reciprocal rank fusion of places that count from 0, as part of the best possible. A ranking that
    /// could not have the text takes no part. `strength` (0 to 1) is how much of the question the words of
    /// the text cover: places of one ranking differ by a sixtieth only, so without it a chance hit on a
    /// single word would pass what means the same.
    pub(super) fn fuse(self, vectors: Option<Option<usize>>, words: Option<Option<usize>>, strength: f64) -> f64 {
        let share = |place: Option<usize>| place.map_or(0.0, |place| (RRF + 1.0) / (RRF + 1.0 + place as f64));
        let (mut score, mut best) = (0.0, 0.0);
        for (weight, ranking, strength) in [(self.vectors, vectors, 1.0), (self.words, words, strength)] {
            if let Some(place) = ranking {
                score += weight * strength * share(place);
                best += weight;
            }
        }
        if best > 0.0 { score / best } else { 0.0 }
    }
}

/// Places in a ranking: what ties exactly (equal texts) shares one.
pub(super) fn places<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut seen: Vec<&str> = Vec::new();
    keys.map(|key| match seen.iter().position(|known| *known == key) {
        Some(place) => place,
        None => {
            seen.push(key);
            seen.len() - 1
        }
    })
    .collect()
}

/// Why an incident is in the answer.
pub(super) fn reason(found: &Found, corpus: &Corpus, history: &History) -> String {
    if let Some(why) = &found.by_structure {
        return why.clone();
    }
    let mut parts = Vec::new();
    if let Some(identifier) = &found.identifier {
        parts.push(format!("contains {identifier}"));
    }
    if found.same_text {
        parts.push("same text".to_owned());
    } else if let Some(distance) = found.distance {
        // 0.01 and 0.10 are the bounds that Sentry's grouping service uses for "the same" and "similar".
        let how = match distance {
            ..=0.01 => "same text but for details",
            ..=0.1 => "nearly the same text",
            ..=0.4 => "similar text",
            _ => "loosely related text",
        };
        parts.push(format!("{how} (distance {distance:.3} by {})", corpus.model_name()));
    }
    if let Some(overlap) = &found.frames {
        let Overlap { frames, of, innermost, .. } = overlap;
        parts.push(format!("shares {frames} of {of} stack frames, {innermost} the innermost"));
    }
    if !found.shared.is_empty() && !found.same_text {
        parts.push(format!("shares the words {}", found.shared.join(", ")));
    }
    if found.same_text
        && let Some(service) = &history.service_name
    {
        parts.push(format!("in {service}"));
    }
    if found.alike > 0 {
        let more = if found.alike == 1 { "incident has" } else { "incidents have" };
        parts.push(format!("{} more {more} this text", found.alike));
    }
    if found.distance.is_none()
        && let Some(why) = corpus.words_only()
    {
        parts.push(format!("by words only: {why}"));
    } else if found.distance.is_none() && !found.same_text {
        parts.push("by words only: its text is not embedded yet".to_owned());
    }
    parts.extend(corpus.lag());
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First in both rankings is 1; one shared word does not pass a text that is nearer; a text that covers
    /// the question passes its neighbours; an identifier outweighs nearness; without vectors the words decide.
    #[test]
    fn fusion_follows_the_route() {
        let meaning = Weights::route(false);
        assert!((meaning.fuse(Some(Some(0)), Some(Some(0)), 1.0) - 1.0).abs() < 1e-9);
        let nearest = meaning.fuse(Some(Some(0)), Some(None), 0.0);
        assert!(nearest > meaning.fuse(Some(Some(1)), Some(Some(0)), 0.2));
        assert!(nearest < meaning.fuse(Some(Some(1)), Some(Some(0)), 1.0));
        let words = Weights::route(true);
        assert!(words.fuse(Some(None), Some(Some(0)), 1.0) > words.fuse(Some(Some(0)), Some(Some(40)), 1.0));
        assert!((meaning.fuse(None, Some(Some(0)), 1.0) - 1.0).abs() < 1e-9);
    }

    /// Equal texts tie, so a hundred copies of one text push nothing else down.
    #[test]
    fn equal_texts_share_a_place() {
        assert_eq!(places(["a", "a", "b", "a", "c"].into_iter()), [0, 0, 1, 0, 2]);
    }
}
