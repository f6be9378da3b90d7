//! How many tokens a text takes in a model's context.

use tiktoken_rs::o200k_base_singleton;

/// Bytes that are encoded at once. The tokenizer's regular expression looks back, and gives up with a panic after a
/// million steps; it takes a few a byte of the most hostile text.
const AT_ONCE: usize = 8 * 1024;

/// The tokens of a text by `o200k_base`, the vocabulary of the newest models that publish theirs; those of others give
/// counts within a few parts of a hundred for English and JSON. Text that looks like a special token counts as text.
///
/// The vocabulary is loaded at the first call. A text of more than 8 KiB is counted in pieces, which may count a token
/// more for each.
pub fn count(text: &str) -> usize {
    let tokenizer = o200k_base_singleton();
    let mut rest = text;
    let mut tokens = 0;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(AT_ONCE));
        tokens += tokenizer.count_ordinary(piece);
        rest = behind;
    }
    tokens
}

/// Tokens that [`count`] gives for a text at least, found in a small part of its time.
///
/// The vocabulary divides a text before it encodes the parts, and a part holds one run of letters (with what follows an
/// apostrophe, as in `can't`) or three digits at most. What is not ASCII counts for nothing here, because it may belong to
/// the part before it.
pub fn at_least(text: &str) -> usize {
    let (mut tokens, mut digits) = (0, 0_usize);
    let mut before = ' ';
    for c in text.chars() {
        if c.is_ascii_alphabetic() {
            let begins = before.is_ascii() && !before.is_ascii_alphabetic() && before != '\'';
            tokens += usize::from(begins);
        } else if c.is_ascii_digit() {
            if before.is_ascii() && !before.is_ascii_digit() {
                digits = 0;
            }
            tokens += usize::from(digits.is_multiple_of(3));
            digits += 1;
        }
        before = c;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Known texts have the counts that the vocabulary's publisher gives for them, and a special token is counted as the
    /// text that it is.
    #[test]
    fn tokens_are_those_of_the_vocabulary() {
        assert_eq!(count(""), 0);
        assert_eq!(count("hello world"), 2);
        assert!(count("<|endoftext|>") > 1);
    }

    /// The bound is near enough for the lines of a prompt to be of use.
    #[test]
    fn the_bound_is_near() {
        let line =
            "- [span:c3c3c3c3c3c3c3c3] payments SERVER POST /charge 40 ms ERROR {http.route=/charge, order.id=4711}";
        assert!(at_least(line) * 2 > count(line), "{} of {}", at_least(line), count(line));
    }

    const PART: &str = "[a-zA-Z]{0,4}|[0-9]{0,7}|['sltSL ]{0,3}|[\u{bd}\u{301}\u{e9}\u{4e00}\u{660}]|\\PC|[\r\n/._-]";

    proptest! {
        /// Texts of words, digits, apostrophes, marks and letters of other scripts. Guarantees that the bound is never
        /// above what the vocabulary gives.
        #[test]
        fn the_bound_is_below_the_count(parts in prop::collection::vec(PART, 0..40)) {
            let text = parts.concat();
            prop_assert!(at_least(&text) <= count(&text), "{} of {}", at_least(&text), count(&text));
        }
    }

    /// Long runs of one character, which are what a tokenizer takes longest for, are counted and end.
    #[test]
    fn hostile_texts_end() {
        for text in [" ", "A", "\n", "a", "\u{4e00}", "="] {
            let long = text.repeat(300_000);
            let tokens = count(&long);
            assert!(tokens > 0 && tokens <= long.len(), "{text:?} has {tokens}");
        }
    }
}
