//! Fusing rankings, and saying why something is in the answer.

use std::collections::HashMap;

use tracerag_index::incidents::vectors::Kind;

use super::corpus::Corpus;
use super::history::History;
use super::hybrid::Found;
use super::probe::Question;
use super::stack::Overlap;

/// Constant of reciprocal rank fusion: how little the first places differ.
const RRF: f64 = 60.0;
/// Weight of the ranking that the question is made for.
const STRONG: f64 = 16.0;
/// Weight of the other ranking.
const WEAK: f64 = 1.0;

// The weights of what is compared beside texts and words, on the scale of the two above. They are to come from the bench
// `quality`, whose task `contexts` prints the figures with and without these rankings, and are small until it has shown
// on data of others that more is better: a place of the ranking by meaning is worth about as much as an equal context.

/// Service, path and functions like those of a trace's failure.
const CONTEXT_OF_TRACE: f64 = 0.3;
/// Names of spans and payloads like those of a trace's failure.
const SHAPE_OF_TRACE: f64 = 0.1;
/// Functions like those of a stack.
const CONTEXT_OF_STACK: f64 = 0.3;
/// Context like what a sentence says. At 0 nothing is searched: most sentences name neither service nor path.
const CONTEXT_OF_SENTENCE: f64 = 0.0;
/// Cosine distance from which two contexts, or two shapes, have nothing in common.
const UNLIKE: f64 = 0.4;

/// A ranking beside those of texts and words: its kind, its weight, and what it finds to be alike.
pub(super) type Beside = (Kind, f64, &'static str);

/// What is compared for a question beside texts and words.
pub(super) fn beside(question: &Question) -> impl Iterator<Item = Beside> {
    let (context, shape, what) = match (question.trace_id.is_some(), question.stacks.is_empty()) {
        (true, _) => (CONTEXT_OF_TRACE, SHAPE_OF_TRACE, "service and path alike"),
        (false, false) => (CONTEXT_OF_STACK, 0.0, "calls alike"),
        (false, true) => (CONTEXT_OF_SENTENCE, 0.0, "place alike"),
    };
    let all = [(Kind::Context, context, what), (Kind::Shape, shape, "spans and payloads alike")];
    all.into_iter().filter(|(_, weight, _)| *weight > 0.0)
}

/// How alike two texts of a kind are whose vectors are so far apart: from 0 to 1.
pub(super) fn likeness(distance: f64) -> f64 {
    (1.0 - distance / UNLIKE).clamp(0.0, 1.0)
}

/// The incidents that are like the question in one respect.
#[derive(Debug)]
pub(super) struct Ranking {
    pub weight: f64,
    what: &'static str,
    /// Place and distance by fingerprint.
    near: HashMap<String, (usize, f64)>,
}

impl Ranking {
    /// Of fingerprints with the hashes and the distances of their texts, the nearest first. What has nothing in common
    /// with the question has no place.
    pub(super) fn of<'a>(
        weight: f64,
        what: &'static str,
        near: impl Iterator<Item = (&'a str, &'a str, f64)> + Clone,
    ) -> Self {
        let near = near.filter(|(_, _, distance)| likeness(*distance) > 0.0);
        let places = places(near.clone().map(|(_, hash, _)| hash));
        let placed =
            near.zip(places).map(|((fingerprint, _, distance), place)| (fingerprint.to_owned(), (place, distance)));
        Self { weight, what, near: placed.collect() }
    }

    /// What an incident earns here, at most the weight. Places of one ranking differ by a sixtieth only, so how alike it
    /// is counts as well: else any that is there would pass the next one by meaning.
    pub(super) fn part(&self, fingerprint: &str) -> f64 {
        let Some((place, distance)) = self.near.get(fingerprint) else { return 0.0 };
        self.weight * share(*place) * likeness(*distance)
    }

    /// What is alike, and the distance, if an incident has a place.
    pub(super) fn named(&self, fingerprint: &str) -> Option<(&'static str, f64)> {
        self.near.get(fingerprint).map(|(_, distance)| (self.what, *distance))
    }
}

/// What a place of a ranking, from 0, is of the best one.
fn share(place: usize) -> f64 {
    (RRF + 1.0) / (RRF + 1.0 + place as f64)
}

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
    /// single word would pass what means the same. `beside` is what the text has earned in further rankings, and what
    /// could be earned there.
    pub(super) fn fuse(
        self,
        vectors: Option<Option<usize>>,
        words: Option<Option<usize>>,
        strength: f64,
        beside: (f64, f64),
    ) -> f64 {
        let (mut score, mut best) = beside;
        for (weight, ranking, strength) in [(self.vectors, vectors, 1.0), (self.words, words, strength)] {
            if let Some(place) = ranking {
                score += weight * strength * place.map_or(0.0, share);
                best += weight;
            }
        }
        if best > 0.0 { score / best } else { 0.0 }
    }
}

/// Places in a ranking: what ties exactly (equal texts) shares one.
pub(super) fn places<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    keys.map(|key| {
        let next = seen.len();
        *seen.entry(key).or_insert(next)
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
    parts.extend(found.further.iter().map(|(what, distance)| format!("{what} (distance {distance:.3})")));
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

    const NOTHING: (f64, f64) = (0.0, 0.0);

    /// First in both rankings is 1; one shared word does not pass a text that is nearer; a text that covers
    /// the question passes its neighbours; an identifier outweighs nearness; without vectors the words decide.
    #[test]
    fn fusion_follows_the_route() {
        let meaning = Weights::route(false);
        assert!((meaning.fuse(Some(Some(0)), Some(Some(0)), 1.0, NOTHING) - 1.0).abs() < 1e-9);
        let nearest = meaning.fuse(Some(Some(0)), Some(None), 0.0, NOTHING);
        assert!(nearest > meaning.fuse(Some(Some(1)), Some(Some(0)), 0.2, NOTHING));
        assert!(nearest < meaning.fuse(Some(Some(1)), Some(Some(0)), 1.0, NOTHING));
        let words = Weights::route(true);
        let contains = words.fuse(Some(None), Some(Some(0)), 1.0, NOTHING);
        assert!(contains > words.fuse(Some(Some(0)), Some(Some(40)), 1.0, NOTHING));
        assert!((meaning.fuse(None, Some(Some(0)), 1.0, NOTHING) - 1.0).abs() < 1e-9);
    }

    /// The same context passes one text that is nearer and not two; a score stays at most 1; what has nothing in common
    /// with the question has no place and earns nothing, and equal contexts share a place.
    #[test]
    fn a_context_is_worth_a_place() {
        let meaning = Weights::route(false);
        let near = [("same", "h", 0.0), ("twin", "h", 0.0), ("far", "i", UNLIKE)];
        let ranking = Ranking::of(CONTEXT_OF_TRACE, "alike", near.into_iter());
        let score = |place, fingerprint| {
            meaning.fuse(Some(Some(place)), Some(None), 0.0, (ranking.part(fingerprint), ranking.weight))
        };
        assert!(score(1, "same") > score(0, "far"));
        assert!(score(2, "same") < score(0, "far"));
        assert!((ranking.part("same") - ranking.part("twin")).abs() < 1e-9);
        assert_eq!(ranking.named("far"), None);
        let best = meaning.fuse(Some(Some(0)), Some(Some(0)), 1.0, (ranking.part("same"), ranking.weight));
        assert!((best - 1.0).abs() < 1e-9, "{best}");
    }

    /// Equal texts tie, so a hundred copies of one text push nothing else down.
    #[test]
    fn equal_texts_share_a_place() {
        assert_eq!(places(["a", "a", "b", "a", "c"].into_iter()), [0, 0, 1, 0, 2]);
    }
}
