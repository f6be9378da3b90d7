//! Where the next page of an answer begins: on which head, behind which row, and of which question.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::problem::Problem;

/// A place in an answer. Clients hand it back as it is; whoever changes it gets other rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Position of the lake.
    pub position: u64,
    /// Rows before it.
    pub offset: usize,
    /// Of what the question consists; see [`Cursor::question`].
    question: u64,
}

impl Cursor {
    pub(super) fn new(position: u64, offset: usize, question: u64) -> Self {
        Self { position, offset, question }
    }

    /// A number that differs for questions that differ.
    pub(super) fn question(parts: &[&str]) -> u64 {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    /// The cursor that a client handed back with this question.
    pub(super) fn of(text: &str, question: u64) -> Result<Self, Problem> {
        let cursor: Option<Self> = text.parse().ok();
        Self::own(cursor.map(|cursor| (cursor, cursor.question)), question)
    }

    /// A cursor of any form, which comes with its question, if it is of this one. `None`: it was none.
    pub(super) fn own<C>(cursor: Option<(C, u64)>, question: u64) -> Result<C, Problem> {
        match cursor {
            Some((cursor, own)) if own == question => Ok(cursor),
            Some(_) => Err(Problem::wrong_request(
                "this cursor is of another query; send it with the query and params that it came from".to_owned(),
            )),
            None => Err(Problem::wrong_request("this is no cursor; leave it out for the first page".to_owned())),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:016x}", self.position, self.offset, self.question)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16));
        let (Some(Ok(position)), Some(Ok(offset)), Some(Ok(question)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        // No answer has more rows; what the engine computes from the offset stays a number.
        let offset = u32::try_from(offset).map_err(|_| ())?;
        Ok(Self { position, offset: usize::try_from(offset).map_err(|_| ())?, question })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A cursor comes back as it was given out, with its own question only; anything else is refused.
    #[test]
    fn a_cursor_is_of_one_question() {
        let question = Cursor::question(&["select 1", "null"]);
        let cursor = Cursor::new(42, 1_000, question);
        assert_eq!(Cursor::of(&cursor.to_string(), question).unwrap(), cursor);
        assert!(Cursor::of(&cursor.to_string(), Cursor::question(&["select 1n", "ull"])).is_err());
        for text in ["", "1-2", "1-2-3-4", "x-y-z", "1-2-ffffffffffffffffff", "1-ffffffffffffffff-3", "-1-2-3"] {
            assert!(Cursor::of(text, question).is_err(), "{text}");
        }
    }
}
