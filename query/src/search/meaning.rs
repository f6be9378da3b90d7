//! What a question is compared by with vectors, and the order of texts for a question in plain words.
//!
//! Such a question is asked as the mean of two vectors, its own and that of its content words ([`plain`]), and of what is
//! nearest to it hubs go back ([`super::hubs`]). Both change the order only: distances are those from the question's own
//! vector. A text that the question repeats loses nothing by it, so a message without codes and names finds itself first.

use std::sync::Arc;

use tracerag_index::incidents::vectors::Kind;

use super::allowed::SearchCache;
use super::corpus::Corpus;
use super::hubs::Bank;
use super::hybrid::cosine;
use super::plain;
use super::probe::Question;
use crate::error::Result;

/// Texts nearest to a question of which hubs go back.
const CORRECTED: usize = 50;
/// The part of its measure as a hub that a text loses of its cosine.
const PART: f64 = 0.5;
/// Distance up to which a text is nearly the question's: the bound by which reasons say so.
const NEARLY_SAME: f64 = 0.1;

/// What a probe of a question is compared by.
pub(super) struct Meaning {
    /// The vector of its text.
    own: Vec<f32>,
    plain: Option<Plain>,
}

/// What a question in plain words is ranked by.
struct Plain {
    asked: Vec<f32>,
    bank: Arc<Bank>,
}

/// What a vector is to a question in plain words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// Cosine distance from the question's own vector.
    pub distance: f64,
    /// Cosine with what is asked.
    cosine: f64,
    hub: f64,
}

/// A text that is to be ranked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    /// Its hash.
    pub hash: &'a str,
    pub judged: Judged,
    /// Whether it has all words of the question.
    pub has_all_words: bool,
}

impl Meaning {
    /// Of each of the question's probes; `None` where there is no model or no table. Only a text in plain words is more than
    /// its own vector, and only to a model that knows words.
    pub(super) async fn of(corpus: &Corpus, cache: &SearchCache, question: &Question) -> Result<Vec<Option<Self>>> {
        let probes = &question.probes;
        if corpus.table.is_none() {
            return Ok(probes.iter().map(|_| None).collect());
        }
        let is_plain = question.is_of_text()
            && probes.iter().all(|probe| plain::is_plain(&probe.masked) && corpus.knows_words_of(&probe.masked));
        let contents: Vec<Option<String>> =
            probes.iter().map(|probe| if is_plain { plain::content(&probe.masked) } else { None }).collect();
        let texts = probes.iter().map(|probe| &probe.masked).chain(contents.iter().flatten()).cloned().collect();
        let mut made = corpus.embed(Kind::Masked, texts).await?.into_iter();
        let own: Vec<Vec<f32>> = made.by_ref().take(probes.len()).collect();
        let bank = if is_plain { Some(cache.banks.of(corpus).await?) } else { None };
        let mut meanings = Vec::with_capacity(own.len());
        for (own, content) in own.into_iter().zip(contents) {
            let content = content.and_then(|_| made.next());
            let plain = bank.as_ref().map(|bank| {
                let asked = content.map_or_else(|| own.clone(), |content| mean(&own, &content));
                Plain { asked, bank: Arc::clone(bank) }
            });
            meanings.push(Some(Self { own, plain }));
        }
        Ok(meanings)
    }

    /// The vector that is searched with.
    pub(super) fn asked(&self) -> &[f32] {
        self.plain.as_ref().map_or(self.own.as_slice(), |plain| plain.asked.as_slice())
    }

    /// Texts that are looked at in any case.
    pub(super) fn least_depth(&self) -> usize {
        if self.is_plain() { CORRECTED } else { 0 }
    }

    /// Whether it is of plain words.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// What a stored vector is to it, if it is of plain words.
    pub(super) fn judged(&self, stored: &[f32]) -> Option<Judged> {
        let Plain { asked, bank } = self.plain.as_ref()?;
        Some(Judged { distance: cosine(&self.own, stored), cosine: 1.0 - cosine(asked, stored), hub: bank.hub(stored) })
    }
}

/// The mean of two vectors, of length 1; the first one where they point away from each other.
fn mean(one: &[f32], other: &[f32]) -> Vec<f32> {
    let sum: Vec<f32> = one.iter().zip(other).map(|(a, b)| a + b).collect();
    let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if norm > f32::EPSILON { sum.into_iter().map(|value| value / norm).collect() } else { one.to_vec() }
}

/// The hashes of texts, most like the question first: of those that are nearest, hubs go back. A text that is nearly the
/// question, or has all of its words, is there for what it says, so it counts as the least of the hubs and by the better
/// of its two cosines: nothing that is farther from the question passes it.
pub(super) fn ranked(mut texts: Vec<Text<'_>>) -> Vec<&str> {
    texts
        .sort_by(|one, other| other.judged.cosine.total_cmp(&one.judged.cosine).then_with(|| one.hash.cmp(other.hash)));
    let nearest = texts.len().min(CORRECTED);
    let (nearest, _) = texts.split_at_mut(nearest);
    let least = nearest.iter().map(|text| text.judged.hub).fold(f64::INFINITY, f64::min);
    let score = |text: &Text<'_>| {
        let Judged { distance, cosine, hub } = text.judged;
        match text.has_all_words || distance <= NEARLY_SAME {
            true => cosine.max(1.0 - distance) - PART * least,
            false => cosine - PART * hub,
        }
    };
    nearest.sort_by(|one, other| score(other).total_cmp(&score(one)).then_with(|| one.hash.cmp(other.hash)));
    texts.into_iter().map(|text| text.hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hash: &str, cosine: f64, hub: f64) -> Text<'_> {
        Text { hash, judged: Judged { distance: 1.0 - cosine, cosine, hub }, has_all_words: false }
    }

    /// A mean lies between two vectors and has length 1; of opposite ones it is the first.
    #[test]
    fn means_have_length_one() {
        let mean_of = mean(&[1.0, 0.0], &[0.0, 1.0]);
        assert!(mean_of.iter().all(|value| (value - 0.5_f32.sqrt()).abs() < 1e-6), "{mean_of:?}");
        assert_eq!(mean(&[1.0, 0.0], &[-1.0, 0.0]), [1.0, 0.0]);
    }

    /// A text that is near to the bank's sentences falls behind one that is a little farther from the question and from them;
    /// without a difference between them the nearer one is first, and what ties is in the order of the hashes.
    #[test]
    fn hubs_go_back() {
        assert_eq!(
            ranked(vec![text("hub", 0.6, 0.7), text("far", 0.2, 0.0), text("right", 0.5, 0.3)]),
            ["right", "hub", "far"]
        );
        assert_eq!(ranked(vec![text("b", 0.5, 0.4), text("c", 0.6, 0.4), text("a", 0.5, 0.4)]), ["c", "a", "b"]);
        assert!(ranked(vec![]).is_empty());
    }

    /// A text that the question repeats is a hub as well. Guarantees that nothing farther passes it, whether all of its words
    /// or its distance say that it is meant.
    #[test]
    fn what_is_repeated_stays_first() {
        let (same, right) = (text("same", 0.95, 0.9), text("right", 0.8, 0.1));
        assert_eq!(ranked(vec![right, same]), ["same", "right"]);
        let quoted = Text { has_all_words: true, ..text("quoted", 0.7, 0.9) };
        assert_eq!(ranked(vec![text("other", 0.65, 0.1), quoted, right]), ["right", "quoted", "other"]);
    }

    /// Only the nearest are corrected: a text behind them stays there, however little of a hub it is.
    #[test]
    fn only_the_nearest_are_corrected() {
        let hashes: Vec<String> = (0..CORRECTED).map(|number| format!("hub{number:02}")).collect();
        let mut texts: Vec<Text<'_>> = hashes.iter().map(|hash| text(hash, 0.6, 0.8)).collect();
        texts.push(text("behind", 0.5, 0.0));
        let order = ranked(texts);
        assert_eq!((order.len(), order.last().copied()), (CORRECTED + 1, Some("behind")));
    }

    /// A question's own vector tells the distance, the mean and the bank tell the order.
    #[test]
    fn distances_stay_true() {
        let bank = Arc::new(Bank::of(vec![vec![0.0, 1.0]]));
        let asked = mean(&[1.0, 0.0], &[0.0, 1.0]);
        let meaning = Meaning { own: vec![1.0, 0.0], plain: Some(Plain { asked: asked.clone(), bank }) };
        assert_eq!((meaning.asked(), meaning.least_depth()), (asked.as_slice(), CORRECTED));
        let is_about = |one: f64, other: f64| (one - other).abs() < 1e-6;
        let judged = meaning.judged(&[0.0, 1.0]);
        assert!(judged.is_some_and(|judged| is_about(judged.distance, 1.0) && is_about(judged.hub, 1.0)), "{judged:?}");
        assert!(judged.is_some_and(|judged| is_about(judged.cosine, 0.5_f64.sqrt())), "{judged:?}");
        let copied = Meaning { own: vec![1.0, 0.0], plain: None };
        assert!(copied.judged(&[0.0, 1.0]).is_none() && copied.least_depth() == 0);
        assert_eq!(copied.asked(), [1.0, 0.0]);
    }
}
