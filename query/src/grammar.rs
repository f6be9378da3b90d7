//! What the readers of the two small languages share: predicates of claims (`verify/parse.rs`), and TraceQL
//! (`server/tempo/traceql/parse.rs`). Both are grammars of the parser library winnow.
//!
//! A parser that finds something else than it looks for makes a [`Mistake`] without words, and winnow tries the next way
//! of reading the text. A mistake gets words, by `context` or `try_map`, where no other way is left; it is final then. So
//! nothing is read over and over, and the first thing that is wrong is what the writer is told of.

use std::borrow::Cow;
use std::fmt::Debug;

use winnow::Parser;
use winnow::combinator::{alt, opt, preceded, repeat};
use winnow::error::{AddContext, FromExternalError, ParserError};
use winnow::stream::{Accumulate, LocatingSlice, Location, Stateful, Stream};
use winnow::token::{literal, take_till, take_while};

/// A text that is being read, and what the language counts on the way.
pub(crate) type Input<'a, S = ()> = Stateful<LocatingSlice<&'a str>, S>;

/// What a parser gives.
pub(crate) type Read<T> = Result<T, Mistake>;

/// A text at its beginning.
pub(crate) fn start<S>(text: &str, state: S) -> Input<'_, S> {
    Stateful { input: LocatingSlice::new(text), state }
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Bytes before it.
    at: usize,
    /// What would be right; none while another way of reading the text may be.
    why: Option<Cow<'static, str>>,
}

impl Mistake {
    /// A final one at the place that the reader has come to.
    pub(crate) fn here(input: &impl Location, why: impl Into<Cow<'static, str>>) -> Self {
        Self { at: input.current_token_start(), why: Some(why.into()) }
    }

    /// Its character in the text, from 1 on.
    pub(crate) fn character(&self, text: &str) -> usize {
        text.get(..self.at).unwrap_or(text).chars().count() + 1
    }

    /// What would be right.
    pub(crate) fn why(&self) -> &str {
        self.why.as_deref().unwrap_or("this cannot be read; look its grammar up in the documentation")
    }
}

impl<I: Stream + Location> ParserError<I> for Mistake {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        Self { at: input.current_token_start(), why: None }
    }

    /// A parser that would repeat for ever; winnow's own default panics in debug builds.
    fn assert(input: &I, message: &'static str) -> Self
    where
        I: Debug,
    {
        Self::here(input, message)
    }

    fn is_backtrack(&self) -> bool {
        self.why.is_none()
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// The first words stay, and so does the place: behind the blanks where the parser gave up, not before them.
impl<I: Stream + Location, W: Into<Cow<'static, str>>> AddContext<I, W> for Mistake {
    fn add_context(self, _: &I, _: &I::Checkpoint, why: W) -> Self {
        Self { at: self.at, why: self.why.or_else(|| Some(why.into())) }
    }
}

/// The place is the beginning of what `try_map` has looked at.
impl<I: Stream + Location, W: Into<Cow<'static, str>>> FromExternalError<I, W> for Mistake {
    fn from_external_error(input: &I, why: W) -> Self {
        Self::here(input, why)
    }
}

/// White space, or none.
pub(crate) fn blank<'a, S: Debug>(input: &mut Input<'a, S>) -> Read<&'a str> {
    take_while(0.., char::is_whitespace).parse_next(input)
}

/// A mark such as `(` or `&&`, and the blanks before it.
pub(crate) fn mark<'a, S: Debug>(wanted: &'static str) -> impl Parser<Input<'a, S>, &'a str, Mistake> {
    preceded(blank, literal(wanted))
}

/// The first mark of a table that stands here, and its meaning: a longer mark has its row before its own beginning.
pub(crate) fn one_of_marks<'a, S, T, const N: usize>(
    table: [(&'static str, T); N],
) -> impl Parser<Input<'a, S>, (&'static str, T), Mistake>
where
    S: Debug,
    T: Copy,
{
    alt(table.map(|(mark, meaning)| literal(mark).value((mark, meaning))))
}

/// A text in double quotes, put together from its plain parts and from what `escape` makes of each `\` with what follows.
/// `endless` says that the second quote is missing.
pub(crate) fn in_quotes<'a, A, S, E>(escape: E, endless: &'static str) -> impl Parser<Input<'a, S>, A, Mistake>
where
    A: Accumulate<&'a str>,
    S: Debug,
    E: Parser<Input<'a, S>, &'a str, Mistake>,
{
    let part = alt((take_till(1.., ['"', '\\']), escape));
    ('"', repeat(0.., part), opt('"'))
        .try_map(move |(_, text, end): (char, A, Option<char>)| end.map(|_| text).ok_or(endless))
}
