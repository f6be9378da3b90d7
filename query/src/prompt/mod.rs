//! The context for a model that is to explain a failure: rules, evidence, code, what was done before, the task, and the
//! form of its claims, within a number of tokens.
//!
//! A pure function of the bundle, the code and the room: the same three give the same bytes. Entries are taken in the
//! order of their relevance (`evidence`), and written in the order of the sections (`page`). What had no room is counted.
//! Everything that systems, people or repositories wrote stands in fences as data ([`crate::untrusted`]).

mod evidence;
mod page;

use tracerag_schemas::bundle::Bundle;

use page::{Item, Page, Section};

/// Source text that the evidence points to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    /// A line for each repository and commit: what lies in it.
    pub repositories: Vec<String>,
    /// Pieces of source, the most telling first.
    pub slices: Vec<CodeSlice>,
    /// Why there is no source for some of what the evidence points to.
    pub notes: Vec<String>,
}

/// A piece of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeSlice {
    /// File, commit, lines, and the anchors that point into it.
    pub title: String,
    /// Info string of its fence, as `go`.
    pub language: &'static str,
    /// Its lines with their numbers.
    pub text: String,
    /// Fewer of them, for where the whole has no room.
    pub shorter: Option<String>,
}

/// A context for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Markdown.
    pub text: String,
    /// Its tokens by [`crate::tokens::count`].
    pub tokens: usize,
}

/// There is less room than what always stands in a prompt takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{most} tokens are too few: rules, task, the form of claims and the trace itself take {needed}; give at least that, \
     4,000 to have the failing path with them"
)]
pub struct TooFewTokens {
    /// The room that was given.
    pub most: usize,
    /// The room that is needed.
    pub needed: usize,
}

/// Puts a prompt of at most `max_tokens` tokens together.
///
/// # Errors
/// [`TooFewTokens`] where not even the frame has room.
pub fn compose(bundle: &Bundle, code: &Code, max_tokens: usize) -> Result<Prompt, TooFewTokens> {
    let mut items = evidence::items(bundle);
    items.extend(of_code(code));
    Page::new(bundle, items).fill(max_tokens)
}

/// The first repository matters as much as the failing path's builds, and a slice less than the evidence round the
/// failure, so that it never takes the room of what it illustrates.
fn of_code(code: &Code) -> impl Iterator<Item = Item> {
    let repositories = (0..).zip(&code.repositories).map(|(n, line)| Item::line(Section::Repositories, 28 + n, line));
    let slices = (0..).zip(&code.slices).map(|(n, slice)| Item::slice(24 + 6 * n, slice));
    let notes = (0..).zip(&code.notes).map(|(n, note)| Item::line(Section::CodeNotes, 27 + 3 * n, note));
    repositories.chain(slices).chain(notes)
}

#[cfg(test)]
mod tests;
