//! What only many templates together tell: that a place at which they differ is a variable.
//!
//! `login of alice refused by gate` and the same with nine other names are one statement, though no name looks like a
//! value. As in Drain, templates meet in a tree of fixed depth: those with equally many words, and of these the ones
//! with the same first word. Unlike in Drain nothing depends on the order in which they come: a place is a variable if
//! so many templates are equal but for it, and what stays equal is at least half of the words. A program has few
//! statements that differ in one word, and a variable has many values.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use super::WILDCARD;

/// Templates that have to be equal but for one place. Verbs of one statement each (created, paid, shipped, cancelled)
/// are fewer, as a rule.
const LEAST_VALUES: usize = 5;
/// Words that have to stay equal.
const LEAST_EQUAL: usize = 2;
/// Places of one template that can become variables, one after the other.
const ROUNDS: usize = 4;
/// Words of a template beyond which it stays as it is.
const MAX_WORDS: usize = 64;

/// For each of these templates the one that it is a case of: itself, or one with more variables. Depends on which
/// templates there are, and not on their order.
///
/// Takes time and memory linear in the templates' words. The caller bounds how many there are.
#[must_use]
pub fn merged(templates: &[&str]) -> Vec<String> {
    let mut leaves: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    let mut rows: Vec<Vec<&str>> = templates.iter().map(|template| template.split(' ').collect()).collect();
    for (index, words) in rows.iter().enumerate() {
        if (LEAST_EQUAL + 1..=MAX_WORDS).contains(&words.len()) {
            leaves.entry((words.len(), words[0])).or_default().push(index);
        }
    }
    for leaf in leaves.values().filter(|leaf| leaf.len() > 1) {
        for _ in 0..ROUNDS {
            if !merge_once(&mut rows, leaf) {
                break;
            }
        }
    }
    rows.into_iter().map(|words| words.join(" ")).collect()
}

/// Templates that are equal but for one place.
#[derive(Default)]
struct Group {
    templates: usize,
    /// One of them has a variable there.
    has_variable: bool,
}

impl Group {
    fn is_variable(&self) -> bool {
        self.templates >= LEAST_VALUES || (self.has_variable && self.templates > 1)
    }
}

/// Makes of each template's most variable place a variable. Whether any changed.
fn merge_once(rows: &mut [Vec<&str>], leaf: &[usize]) -> bool {
    let distinct: HashSet<&[&str]> = leaf.iter().map(|index| rows[*index].as_slice()).collect();
    let mut groups: HashMap<(usize, u128), Group> = HashMap::new();
    for words in distinct {
        for (place, rest) in places(words) {
            let group = groups.entry((place, rest)).or_default();
            group.templates += 1;
            group.has_variable |= words[place] == WILDCARD;
        }
    }
    let mut has_changed = false;
    for index in leaf {
        let words = &mut rows[*index];
        let variable = places(words)
            .filter(|(place, _)| words[*place] != WILDCARD)
            .filter_map(|(place, rest)| {
                let group = groups.get(&(place, rest)).filter(|group| group.is_variable())?;
                Some((group.templates, Reverse(place)))
            })
            .max();
        if let Some((_, Reverse(place))) = variable {
            words[place] = WILDCARD;
            has_changed = true;
        }
    }
    has_changed
}

/// The places that may be variables, each with a hash of all other words. The first word is a place in the tree.
fn places(words: &[&str]) -> impl Iterator<Item = (usize, u128)> {
    let hashes: Vec<u128> = words.iter().enumerate().map(|(place, word)| hash(place, word)).collect();
    let all = hashes.iter().fold(0u128, |sum, hash| sum.wrapping_add(*hash));
    let constant = words.iter().filter(|word| is_constant(word)).count();
    (1..words.len())
        .filter(move |place| {
            let equal = constant - usize::from(is_constant(words[*place]));
            equal >= LEAST_EQUAL && equal * 2 >= words.len()
        })
        .map(move |place| (place, all.wrapping_sub(hashes[place])))
}

fn hash(place: usize, word: &str) -> u128 {
    // The product keeps equal words at two places apart.
    xxh3_128(word.as_bytes()).wrapping_mul(2 * place as u128 + 1)
}

fn is_constant(word: &str) -> bool {
    !word.contains(WILDCARD)
}
