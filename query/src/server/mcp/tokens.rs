//! Counts tokens as a model's tokenizer does.

use tiktoken_rs::o200k_base_singleton;

/// Bytes that are looked at as one: a text without any space costs no more than one with.
const PIECE: usize = 8 << 10;

/// Tokens of a text by the encoding `o200k_base`. Those of other models differ by a few percent. The encoding is loaded
/// with the first text, which takes some hundred milliseconds; it stays for as long as the program runs.
pub(super) fn tokens(text: &str) -> usize {
    let encoding = o200k_base_singleton();
    let mut count = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
        count += encoding.count_ordinary(piece);
        rest = after;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words are tokens, and a long text without spaces is counted in pieces, in characters as it has them.
    #[test]
    fn tokens_are_counted() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("hello world"), 2);
        let long = "\u{20ac}".repeat(PIECE);
        assert!((1_000..=3 * PIECE).contains(&tokens(&long)));
    }
}
