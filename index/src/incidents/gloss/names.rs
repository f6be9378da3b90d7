//! Names of programs as words: `com.acme.StaleObjectStateException` becomes `Stale Object State Exception`.

use crate::failures::mask::placeholder_end;

/// A text with compound names split at capitals and underscores, types without the packages before them, and without
/// placeholders. Runs of blanks become one.
pub(super) fn split(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + 16);
    let mut at = 0;
    let mut before = ' ';
    while let Some(letter) = text[at..].chars().next() {
        if letter == '<'
            && let Some(end) = placeholder_end(bytes, at)
        {
            blank(&mut out);
            (at, before) = (end, '>');
            continue;
        }
        if letter.is_ascii_alphabetic() {
            if !(before.is_alphanumeric() || matches!(before, '_' | '/' | '.' | '@' | '-')) {
                at += package(&text[at..]);
            }
            let name = name(&text[at..]);
            words(name, &mut out);
            at += name.len();
            before = 'a';
            continue;
        }
        match letter {
            letter if letter.is_whitespace() => blank(&mut out),
            letter => out.push(letter),
        }
        at += letter.len_utf8();
        before = letter;
    }
    out.truncate(out.trim_end().len());
    out
}

fn blank(out: &mut String) {
    if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
}

/// The letters, digits and underscores that a text begins with.
fn name(text: &str) -> &str {
    let end = text.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Length of the packages, modules and outer types that a text begins with before a type, which has a capital.
fn package(text: &str) -> usize {
    let (mut at, mut length) = (0, 0);
    loop {
        let part = name(&text[at..]);
        if part.is_empty() || part.starts_with(|first: char| first.is_ascii_digit()) {
            return length;
        }
        at += part.len();
        let Some(separator) = [".", "::", "\\", "$"].into_iter().find(|mark| text[at..].starts_with(mark)) else {
            return length;
        };
        at += separator.len();
        if text[at..].starts_with(|first: char| first.is_ascii_uppercase()) {
            length = at;
        }
    }
}

/// The words of a name, with a blank between them.
fn words(name: &str, out: &mut String) {
    for (number, part) in parts(name).enumerate() {
        if number > 0 {
            blank(out);
        }
        out.push_str(part);
    }
}

/// The parts of a name: they begin at a capital behind a small letter or a digit, at the last of several capitals before a
/// small letter, and behind underscores.
pub(super) fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split('_').flat_map(|word| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let bytes = rest.as_bytes();
            let begins = |at: &usize| {
                let next_is_small = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
                bytes[*at].is_ascii_uppercase() && (!bytes[at - 1].is_ascii_uppercase() || next_is_small)
            };
            let end = (1..bytes.len()).find(begins).unwrap_or(bytes.len());
            let (part, others) = rest.split_at(end);
            rest = others;
            (!part.is_empty()).then_some(part)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::split;

    /// Names become words, also within a message; packages before a type go, and paths, hosts and fields stay.
    #[test]
    fn names_become_words() {
        for (text, expected) in [
            ("org.hibernate.StaleObjectStateException: x", "Stale Object State Exception: x"),
            ("std::io::Error: OutOfMemory", "Error: Out Of Memory"),
            ("Illuminate\\Database\\QueryException", "Query Exception"),
            ("feign.FeignException$ServiceUnavailable", "Service Unavailable"),
            ("HTTPServerError in parseJSONBody", "HTTP Server Error in parse JSON Body"),
            ("NOT_LEADER_OR_FOLLOWER", "NOT LEADER OR FOLLOWER"),
            ("status=503 of order_id <num>", "status=503 of order id"),
            ("get api.example.com/A and a.b", "get api.example.com/A and a.b"),
            ("call <url:payments>, then  wait", "call , then wait"),
            ("Gr\u{f6}\u{df}e \u{fc}ber x2Y", "Gr\u{f6}\u{df}e \u{fc}ber x2 Y"),
            ("plain words, 12 of them", "plain words, 12 of them"),
            ("", ""),
        ] {
            assert_eq!(split(text), expected);
        }
    }
}
