//! How alike two stacks are.
//!
//! The rule is that of TraceSim, without its training: frames count by their depth, the one that threw most, and what
//! two stacks have in common is their heaviest common part in one order, as part of what both have. The outer frames of
//! all requests of a service are the same, so equal counts would make all of its failures alike; frames of libraries,
//! which many stacks share, count a quarter.

use std::borrow::Cow;

use arrow::array::{BooleanArray, ListArray, StringArray};
use tracerag_index::failures::frames::StackTrace;

use crate::error::Result;
use crate::rows::{Columns, items, text, truth};

/// Frames that are compared, the innermost ones; a recursion would fill any number.
const MOST_FRAMES: usize = 64;
/// Weight of a frame that is not the application's.
const NOT_IN_APP: f64 = 0.25;

/// The frames of one failure, the innermost first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stack {
    frames: Vec<Frame>,
}

#[derive(Debug, Clone, PartialEq)]
struct Frame {
    /// The function, or the file where none is named.
    name: String,
    weight: f64,
}

/// The stacks of rows of `failures`, by their column `frames`.
pub(super) struct Frames<'a> {
    lists: &'a ListArray,
    functions: &'a StringArray,
    files: &'a StringArray,
    in_app: &'a BooleanArray,
}

impl<'a> Frames<'a> {
    pub(super) fn of(columns: Columns<'a>) -> Result<Self> {
        let lists = columns.list("frames")?;
        let frames = columns.items(lists, "frames")?;
        let (functions, files) = (frames.text("function")?, frames.text("file")?);
        Ok(Self { lists, functions, files, in_app: frames.boolean("in_app")? })
    }

    /// The stack of a row; empty where it has none.
    pub(super) fn stack(&self, row: usize) -> Stack {
        Stack::of(items(self.lists, row).map(|frame| {
            (text(self.functions, frame), text(self.files, frame), truth(self.in_app, frame).unwrap_or_default())
        }))
    }
}

/// What two stacks have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Overlap {
    /// From 0, nothing, to 1, all.
    pub share: f64,
    /// Frames that both have, in this order.
    pub frames: usize,
    /// Frames of the one that was asked with.
    pub of: usize,
    /// The innermost of them.
    pub innermost: String,
}

impl Stack {
    /// Of function, file, and whether the frame is the application's, the innermost first.
    pub(super) fn of<'a>(frames: impl Iterator<Item = (Option<&'a str>, Option<&'a str>, bool)>) -> Self {
        let named = frames.filter_map(|(function, file, in_app)| {
            let name = match (function, file) {
                (Some(function), _) => without_counters(function).into_owned(),
                (None, Some(file)) => file.rsplit(['/', '\\']).next().unwrap_or(file).to_owned(),
                (None, None) => return None,
            };
            Some((name, in_app))
        });
        let weighted = named.take(MOST_FRAMES).enumerate().map(|(depth, (name, in_app))| Frame {
            name,
            weight: (if in_app { 1.0 } else { NOT_IN_APP }) / ((depth + 1) as f64).sqrt(),
        });
        Self { frames: weighted.collect() }
    }

    /// Of a parsed stack.
    pub(super) fn of_trace(trace: &StackTrace) -> Self {
        Self::of(trace.frames().map(|frame| (frame.function.as_deref(), frame.file.as_deref(), frame.in_app)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What another stack shares with this one; `None` if nothing.
    pub(super) fn overlap(&self, other: &Self) -> Option<Overlap> {
        let weight = |stack: &Self| stack.frames.iter().map(|frame| frame.weight).sum::<f64>();
        let both = weight(self) + weight(other);
        let pair = |one: &Frame, other: &Frame| (one.name == other.name).then_some(one.weight + other.weight);
        let (common, places) = heaviest_common(&self.frames, &other.frames, pair);
        let innermost = self.frames.get(*places.first()?)?.name.clone();
        Some(Overlap { share: common / both, frames: places.len(), of: self.frames.len(), innermost })
    }
}

/// The heaviest common part of two lists in one order: its weight, and its places in the first. `pair` gives the weight
/// of two items that are the same.
pub(super) fn heaviest_common<T>(ones: &[T], others: &[T], pair: impl Fn(&T, &T) -> Option<f64>) -> (f64, Vec<usize>) {
    let width = others.len() + 1;
    // The weight that is left from item `i` of the one and `j` of the other on, at `i * width + j`.
    let mut left = vec![0.0f64; (ones.len() + 1) * width];
    for (i, one) in ones.iter().enumerate().rev() {
        for (j, other) in others.iter().enumerate().rev() {
            let skipped = left[(i + 1) * width + j].max(left[i * width + j + 1]);
            let paired = pair(one, other).map_or(0.0, |weight| weight + left[(i + 1) * width + j + 1]);
            left[i * width + j] = skipped.max(paired);
        }
    }
    let (mut i, mut j, mut places) = (0, 0, Vec::new());
    while i < ones.len() && j < others.len() {
        let here = left[i * width + j];
        if here <= left[(i + 1) * width + j] {
            i += 1;
        } else if here <= left[i * width + j + 1] {
            j += 1;
        } else {
            places.push(i);
            i += 1;
            j += 1;
        }
    }
    (left.first().copied().unwrap_or(0.0), places)
}

/// A function's name without what compilers count: `lambda$place$3`, `Cart$$Lambda$12`, `f.func1`, `<AddAsync>d__7`.
fn without_counters(function: &str) -> Cow<'_, str> {
    let is_counted = |name: &str| name.contains(['$', '<']) || name.contains(".func");
    if !is_counted(function) {
        return Cow::Borrowed(function);
    }
    Cow::Owned(function.chars().filter(|letter| !letter.is_ascii_digit()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stack(names: &[&str]) -> Stack {
        Stack::of(names.iter().map(|name| (Some(*name), None, !name.starts_with("lib"))))
    }

    /// The same stack is 1, one of other frames shares nothing, the frame that threw counts more than the outermost, and
    /// frames of libraries count less than the application's. Counters of compilers make no other frame.
    #[test]
    fn the_frame_that_threw_counts_most() {
        let asked = stack(&["charge", "pay", "checkout", "main"]);
        let share = |names: &[&str]| asked.overlap(&stack(names)).map_or(0.0, |overlap| overlap.share);
        assert!((share(&["charge", "pay", "checkout", "main"]) - 1.0).abs() < 1e-9);
        assert!(asked.overlap(&stack(&["a", "b"])).is_none());
        assert!(share(&["charge", "x", "y", "z"]) > share(&["x", "y", "z", "main"]));
        let library = stack(&["lib.run", "charge"]);
        let with = |names: &[&str]| library.overlap(&stack(names)).unwrap().share;
        assert!(with(&["x", "charge"]) > with(&["lib.run", "x"]));
        assert!(stack(&["main.f.func1"]).overlap(&stack(&["main.f.func2"])).is_some());
        let overlap = asked.overlap(&stack(&["charge", "z", "main"])).unwrap();
        assert_eq!((overlap.frames, overlap.of, overlap.innermost.as_str()), (2, 4, "charge"));
    }

    /// Order matters: frames that call each other the other way round are not the same two frames.
    #[test]
    fn order_matters() {
        assert_eq!(stack(&["a", "b"]).overlap(&stack(&["b", "a"])).unwrap().frames, 1);
    }

    proptest! {
        /// What two stacks share is the same from both sides, between 0 and 1, and 1 of a stack with itself.
        #[test]
        fn overlaps_are_symmetric(
            one in prop::collection::vec("[a-d]", 1..12),
            other in prop::collection::vec("[a-d]", 1..12),
        ) {
            let of = |names: &[String]| stack(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let (one, other) = (of(&one), of(&other));
            let share = |a: &Stack, b: &Stack| a.overlap(b).map_or(0.0, |overlap| overlap.share);
            prop_assert!((share(&one, &other) - share(&other, &one)).abs() < 1e-9);
            prop_assert!((0.0..=1.0 + 1e-9).contains(&share(&one, &other)));
            prop_assert!((share(&one, &one) - 1.0).abs() < 1e-9);
        }
    }
}
