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

#[cfg(test)]
mod tests {
    use super::*;

    /// Known texts have the counts that the vocabulary's publisher gives for them, and a special token is counted as the
    /// text that it is.
    #[test]
    fn tokens_are_those_of_the_vocabulary() {
        assert_eq!(count(""), 0);
        assert_eq!(count("hello world"), 2);
        assert!(count("<|endoftext|>") > 1);
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
