//! Questions in plain words, and what of them says something.
//!
//! A small sentence model hears the tone of a question as well as what it is about: "why can nobody ..." is near to other
//! complaints. So the words that carry the matter are listened to once more, by themselves. Negations and directions
//! (not, never, without, before, after, too, off, out, up) are no stop words: they turn what is said.

/// Words of English that say nothing about the matter by themselves: articles, auxiliaries, pronouns, question words,
/// conjunctions, prepositions that give no direction, and courtesies.
const STOP_WORDS: &str = "\
    a about all also am among an and any anybody anyone anything are as at be because been being both but by can \
    could did do does doing during each every everybody everyone everything for from had has have having he her \
    here hers herself him himself his how i if in into is it its itself just may me might mine must my myself of \
    on onto or our ours ourselves please quite really shall she should since so some somebody someone something \
    such than that the their theirs them themselves then there these they this those through to toward towards \
    upon us very via was we were what when where which while who whom whose why will with would you your yours \
    yourself yourselves";
/// What is written together with a stop word and is one itself: `it's`, `they're`, `I've`. The ending `n't` is a negation.
const ENDINGS: [&str; 6] = ["'s", "'re", "'ve", "'ll", "'m", "'d"];

/// Whether a masked text is plain words: words of letters and the punctuation of sentences, nothing else. A digit, a
/// placeholder, a colon, a bracket of a call, a path or a name such as `StaleState` and `order_id` says that it was copied
/// from a program, which means it as it stands.
pub(super) fn is_plain(text: &str) -> bool {
    let mut words = words(text).peekable();
    words.peek().is_some() && words.all(is_word)
}

/// The words of a text that are no stop words; `None` where nothing is left out, or nothing is left.
pub(super) fn content(text: &str) -> Option<String> {
    let all: Vec<&str> = words(text).collect();
    let telling: Vec<&str> = all.iter().copied().filter(|word| !is_stop_word(word)).collect();
    (!telling.is_empty() && telling.len() < all.len()).then(|| telling.join(" "))
}

/// The words of a text without the punctuation of sentences around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let before = ['"', '\'', '(', '\u{201c}', '\u{2018}'];
    let behind = ['.', ',', ';', '?', '!', '\u{2026}', '"', '\'', ')', '\u{201d}', '\u{2019}'];
    let bare = text.split_whitespace().map(move |word| word.trim_start_matches(before).trim_end_matches(behind));
    bare.filter(|word| !matches!(*word, "" | "-" | "\u{2013}" | "\u{2014}"))
}

/// Whether it is of letters, apostrophes and hyphens, without a capital behind a small letter.
fn is_word(word: &str) -> bool {
    let mut before = ' ';
    word.chars().all(|letter| {
        let begins_name = letter.is_uppercase() && before.is_lowercase();
        before = letter;
        !begins_name && (letter.is_alphabetic() || matches!(letter, '\'' | '\u{2019}' | '-'))
    })
}

fn is_stop_word(word: &str) -> bool {
    let word = word.to_lowercase().replace('\u{2019}', "'");
    let is_known = |word: &str| STOP_WORDS.split(' ').any(|known| known == word);
    is_known(&word) || ENDINGS.iter().any(|ending| word.strip_suffix(*ending).is_some_and(is_known))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions as people ask them are plain words; what a program has written, or names in its way, is not.
    #[test]
    fn what_programs_write_is_not_plain() {
        for plain in [
            "why can nobody pay in the evening?",
            "Customers can't log in, since this morning!",
            "the API is slow (for \"some\" users) \u{2013} what happened\u{2026}",
            "connection refused",
            "die Zahlung schl\u{e4}gt fehl",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for copied in [
            "",
            " ? ",
            "Error: connection refused",
            "NullPointerException",
            "cannot read order_id",
            "failed after 3 attempts",
            "cannot connect to <ip>",
            "no such file /etc/hosts",
            "call of close() on a channel that is closed",
            "shop.Cart fails",
            "status=down",
        ] {
            assert!(!is_plain(copied), "{copied}");
        }
    }

    /// Content words stay in their order and spelling, with negations and directions; nothing is made of a question in which
    /// there is nothing to be left out, or nothing else.
    #[test]
    fn stop_words_are_left_out() {
        for (text, expected) in [
            ("Why can nobody pay in the evening?", Some("nobody pay evening")),
            ("the API doesn't answer after we have turned it off", Some("API doesn't answer after turned off")),
            ("it's down without a reason, isn't it?", Some("down without reason isn't")),
            ("They\u{2019}re logged out too early", Some("logged out too early")),
            ("the customer's card is not taken", Some("customer's card not taken")),
            ("connection refused", None),
            ("what is it?", None),
            ("", None),
        ] {
            assert_eq!(content(text).as_deref(), expected, "{text}");
        }
    }
}
