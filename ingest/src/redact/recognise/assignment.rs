//! Values behind secret names: assignments, JSON members, headers, query parameters, options, XML elements.
//!
//! `password=...`, `"api_key": "..."`, `Authorization: Bearer ...`, `Cookie: a=b`, `?sig=...`, `--token ...`, `<secret>...</secret>`.

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::super::class::{Class, mask_at};
use super::super::names::{is_ambiguous, looks_secret, secret_class};
use super::{Span, at, before, is_base64, looked_at, run_end, run_start};

/// What the search for names starts from; letters are folded.
pub(in super::super) const KEYWORDS: &[&str] = &[
    "passw",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "privatekey",
    "private_key",
    "private-key",
    "accountkey",
    "account_key",
    "account-key",
    "signingkey",
    "signing_key",
    "encryptionkey",
    "encryption_key",
    "credential",
    "authorization",
    "cookie",
    "signature",
    "sig",
    "auth",
    "jwt",
    "cvv",
    "cvc",
    "otp",
    "sid",
    "key",
    "bearer",
    "basic",
    "sessid",
    "sessionid",
];

/// Longest name on either side of its keyword.
const MAX_NAME: usize = 64;

/// Longest value of which is asked whether it is none: a placeholder, or a word behind `pass` or `basic`. A longer one is
/// masked. What is rejected is read again from the next keyword in it on, so without a bound a text of many keywords
/// would be read as often.
const MAX_DOUBT: usize = 1024;

/// First words of prose behind a colon: `password: must have 8 characters`.
const PROSE: &[&str] = &[
    "a",
    "an",
    "and",
    "are",
    "as",
    "at",
    "be",
    "blank",
    "cannot",
    "changed",
    "denied",
    "does",
    "empty",
    "error",
    "expected",
    "expired",
    "failed",
    "failure",
    "false",
    "for",
    "found",
    "has",
    "in",
    "incorrect",
    "invalid",
    "is",
    "it",
    "length",
    "malformed",
    "mismatch",
    "missing",
    "must",
    "nil",
    "no",
    "none",
    "not",
    "null",
    "of",
    "ok",
    "on",
    "or",
    "required",
    "reset",
    "rejected",
    "revoked",
    "set",
    "should",
    "string",
    "the",
    "to",
    "too",
    "true",
    "undefined",
    "unauthorized",
    "unknown",
    "unset",
    "unsupported",
    "use",
    "was",
    "weak",
    "with",
    "wrong",
    "yes",
];

pub(in super::super) fn find(text: &[u8], keywords: &AhoCorasick, spans: &mut Vec<Span>) {
    let mut next = 0;
    for found in keywords.find_iter(text) {
        if found.start() < next {
            continue;
        }
        let name = Name::around(text, found.start(), found.end(), next);
        next = name.end;
        let word = &text[name.start..name.end];
        let span = if word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"basic") {
            scheme_token(text, &name)
        } else {
            let class = secret_class(word, name.is_parameter);
            let near = &text[..text.len().min(name.end + MAX_DOUBT)];
            let is_none = |class| {
                is_ambiguous(word) && !value(near, &name, class).is_some_and(|span| is_password(near, &name, &span))
            };
            class.filter(|class| !is_none(*class)).and_then(|class| value(text, &name, class))
        };
        if let Some(span) = span {
            next = span.end;
            spans.push(span);
        }
    }
}

/// Whether the value behind a bare `pass` is a password. `PASS: TestSha256` is what a test run prints.
fn is_password(text: &[u8], name: &Name, span: &Span) -> bool {
    let is_verdict = &text[name.start..name.end] == b"PASS" && text[name.end..].starts_with(b": ");
    !is_verdict && looks_secret(&text[span.start..span.end])
}

/// A name with a keyword in it.
struct Name {
    start: usize,
    end: usize,
    /// Right behind `?` or `&`, or first in a text without spaces: a parameter of a query.
    is_parameter: bool,
}

impl Name {
    fn around(text: &[u8], start: usize, end: usize, floor: usize) -> Self {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let start = run_start(text, start, MAX_NAME.min(start - floor), is_name);
        let end = run_end(&text[..text.len().min(end + MAX_NAME)], end, is_name);
        let is_parameter = match before(text, start) {
            b'?' | b'&' => true,
            _ => {
                start == 0 && {
                    let value_end =
                        run_end(&text[..text.len().min(end + 512)], end, |b| !b.is_ascii_whitespace() && b != b'&');
                    value_end == text.len() || text[value_end] == b'&'
                }
            }
        };
        Self { start, end, is_parameter }
    }
}

/// `Bearer ...` and `Basic ...` wherever they stand, if what follows looks like a credential.
fn scheme_token(text: &[u8], name: &Name) -> Option<Span> {
    let start = run_end(&text[..text.len().min(name.end + 4)], name.end, |b| matches!(b, b' ' | b'+' | b'\t' | b':'));
    let is_token = |b: u8| is_base64(b) || matches!(b, b'.' | b'~' | b'=');
    let near = &text[..text.len().min(start + MAX_DOUBT)];
    let token = without_full_stops(&near[start..run_end(near, start, is_token)]);
    let is_credential = if text[name.start..name.end].eq_ignore_ascii_case(b"basic") {
        let decoded = STANDARD.decode(token).or_else(|_| STANDARD_NO_PAD.decode(token));
        decoded.is_ok_and(|pair| pair.contains(&b':') && pair.iter().all(|b| *b >= b' '))
    } else {
        token.len() >= 8 && token.iter().any(u8::is_ascii_digit) || token.len() >= 24
    };
    (start > name.end && is_credential).then(|| {
        let whole = without_full_stops(&text[start..run_end(text, start, is_token)]);
        Span::new(start, start + whole.len(), Class::Credentials)
    })
}

/// A token without what ends the sentence around it.
fn without_full_stops(token: &[u8]) -> &[u8] {
    let end = token.iter().rposition(|b| *b != b'.').map_or(0, |index| index + 1);
    &token[..end]
}

/// The value that belongs to a name, if there is one that says something.
fn value(text: &[u8], name: &Name, class: Class) -> Option<Span> {
    // `<password = hunter2>` looks like a tag, and is an assignment.
    if let Some(span) = opening_tag(text, name).and_then(|start| element(text, name, start, class)) {
        return Some(span);
    }
    let key_quote = quote_at(text, name.end);
    let mut position = key_quote.map_or(name.end, |(_, end)| end);
    let spaces_from = position;
    position = skip_spaces(text, position);
    let Some((operator_end, is_colon)) = operator(text, position) else {
        // `--password hunter2`, and `"--password", "hunter2"` in a list of arguments.
        let start = match key_quote {
            None if position > spaces_from => position,
            Some(_) => next_in_list(text, position)?,
            None => return None,
        };
        let begins = quote_at(text, start).map_or(start, |(_, inside)| inside);
        if !text[name.start..name.end].starts_with(b"--") || at(text, begins) == b'-' {
            return None;
        }
        return inner_value(text, name, class, start, None, false);
    };
    let is_spaced = skip_spaces(text, operator_end) > operator_end;
    position = skip_spaces(text, operator_end);
    if at(text, position) == b'[' {
        position = skip_spaces(text, position + 1);
    }
    inner_value(text, name, class, position, key_quote, is_colon && is_spaced && key_quote.is_none())
}

fn inner_value(
    text: &[u8],
    name: &Name,
    class: Class,
    start: usize,
    key_quote: Option<(usize, usize)>,
    may_be_prose: bool,
) -> Option<Span> {
    if let Some((quote, open_end)) = quote_at(text, start) {
        let close = closing_quote(text, open_end, &text[quote..open_end]);
        let inner = &text[open_end..close];
        let says_something = match class {
            Class::Cookie => is_cookie_name(text, name) || memchr::memchr(b'=', inner).is_some(),
            _ => true,
        };
        let is_parser_error = may_be_prose && is_unexpected_token(text, name);
        return (says_something && !is_parser_error && !is_placeholder(inner))
            .then(|| Span::new(open_end, close, class));
    }
    // A list or a call; said before its end is looked for.
    if matches!(at(text, start), b'{' | b'(') {
        return None;
    }
    let end = match class {
        Class::Cookie if !is_cookie_name(text, name) => {
            let end = cookie_pairs_end(text, start);
            return (end > start).then(|| Span::new(start, end, class));
        }
        Class::Credentials => credentials_end(text, start),
        _ => bare_value_end(text, start),
    };
    let bare = &text[start..end];
    if is_placeholder(bare) || (may_be_prose && is_prose(text, name, class, start, end)) {
        return None;
    }
    Some(Span { start, end, class, quote: key_quote })
}

/// Longest prefix of a namespace, and longest list of attributes, of an element.
const MAX_TAG: usize = 256;

/// Where the value of `<password>`, `<wsse:Password Type="...">` starts; `None` if the name is not that of an element.
fn opening_tag(text: &[u8], name: &Name) -> Option<usize> {
    let is_tag = match before(text, name.start) {
        b'<' => true,
        b':' => {
            let prefix =
                run_start(text, name.start - 1, MAX_TAG, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
            before(text, prefix) == b'<'
        }
        _ => false,
    };
    if !is_tag {
        return None;
    }
    match at(text, name.end) {
        b'>' => Some(name.end + 1),
        b' ' | b'\t' | b'\r' | b'\n' => {
            let end = run_end(&text[..text.len().min(name.end + MAX_TAG)], name.end, |b| !matches!(b, b'<' | b'>'));
            (at(text, end) == b'>' && at(text, end - 1) != b'/').then_some(end + 1)
        }
        _ => None,
    }
}

/// `<password>value</password>`, up to a closing tag of the same name: a mask looks like an opening tag, and what stands
/// between it and the closing tag of something else is no value.
fn element(text: &[u8], name: &Name, start: usize, class: Class) -> Option<Span> {
    let end = run_end(text, start, |b| b != b'<');
    let closing = text[end..].strip_prefix(b"</")?;
    let closing = &closing[..closing.len().min(MAX_TAG)];
    let closed = closing.split(|b| *b == b'>').next()?;
    let closed = closed.rsplit(|b| *b == b':').next()?;
    let word = &text[name.start..name.end];
    // The end of the text may have been cut off in the middle of the tag.
    let length = word.len().min(closed.len());
    let is_whole = length == word.len() || end + 2 + closing.len() == text.len();
    (is_whole && closed[..length].eq_ignore_ascii_case(&word[..length]) && !is_placeholder(&text[start..end]))
        .then(|| Span::new(start, end, class))
}

/// Longest gap between two elements of a list: a line's end and what the next one is indented by.
const MAX_GAP: usize = 64;

/// The quoted element behind the comma at `position`.
fn next_in_list(text: &[u8], position: usize) -> Option<usize> {
    if at(text, position) != b',' {
        return None;
    }
    let near = &text[..text.len().min(position + MAX_GAP)];
    let start = run_end(near, position + 1, |b| b.is_ascii_whitespace());
    quote_at(text, start).map(|_| start)
}

fn skip_spaces(text: &[u8], from: usize) -> usize {
    run_end(&text[..text.len().min(from + 8)], from.min(text.len()), |b| matches!(b, b' ' | b'\t'))
}

/// A quote with the backslashes before it, as in JSON that is nested in JSON.
fn quote_at(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let quote = run_end(&text[..text.len().min(start + 8)], start.min(text.len()), |b| b == b'\\');
    matches!(at(text, quote), b'"' | b'\'' | b'`').then_some((start, quote + 1))
}

/// Where the quoted text ends: at the same quote, else at the end of the line.
fn closing_quote(text: &[u8], from: usize, quote: &[u8]) -> usize {
    let end = find_closing_quote(text, from, quote);
    looked_at(end - from);
    end
}

fn find_closing_quote(text: &[u8], from: usize, quote: &[u8]) -> usize {
    let (mark, backslashes) = (quote[quote.len() - 1], quote.len() - 1);
    let mut position = from;
    while position < text.len() {
        match text[position] {
            b'\n' => return position,
            b'\\' => {
                let run = run_end(text, position, |b| b == b'\\');
                if at(text, run) == mark && run < text.len() {
                    // Fewer backslashes end an outer string, which this one cannot outlive; more are an escaped quote.
                    if run - position <= backslashes {
                        return position;
                    }
                    // With no backslashes of its own, an even number escapes only itself.
                    if backslashes == 0 && (run - position).is_multiple_of(2) {
                        return run;
                    }
                    position = run + 1;
                } else {
                    position = run;
                }
            }
            byte if byte == mark => return position,
            _ => position += 1,
        }
    }
    text.len()
}

/// The end of `=`, `==`, `=>`, `:`, `:=`, and whether it is a plain colon.
fn operator(text: &[u8], position: usize) -> Option<(usize, bool)> {
    match (at(text, position), at(text, position + 1)) {
        (b'=', b'=' | b'>') | (b':', b'=') => Some((position + 2, false)),
        (b'=', _) => Some((position + 1, false)),
        (b':', _) => Some((position + 1, true)),
        _ => None,
    }
}

/// Unquoted values end at spaces, quotes and separators; commas and brackets belong to a value unless they close it.
fn bare_value_end(text: &[u8], start: usize) -> usize {
    let mut end = start;
    while end < text.len() {
        let next = at(text, end + 1);
        match text[end] {
            byte if byte.is_ascii_whitespace() => break,
            b'<' if mask_at(&text[end..]).is_some() => end += mask_at(&text[end..]).unwrap_or(1),
            b'&' | b';' | b'"' | b'\'' | b'`' => break,
            b'\\' if matches!(next, b'"' | b'\'' | b'n' | b'r' | b't' | b'\\') => break,
            b'<' if next == b'/' => break,
            b',' if next.is_ascii_whitespace() || is_next_name(text, end + 1) => break,
            b')' | b']' | b'}' | b'>'
                if next.is_ascii_whitespace() || matches!(next, b',' | b';' | b'.' | b')' | b']' | b'}' | b'"') =>
            {
                break;
            }
            b'#' if end > start && next.is_ascii_alphabetic() && is_in_url(text, start) => break,
            _ => end += 1,
        }
    }
    looked_at(end - start);
    end
}

fn is_in_url(text: &[u8], start: usize) -> bool {
    memchr::memchr2(b'?', b'&', &text[start.saturating_sub(MAX_NAME)..start]).is_some()
}

/// `user=` or `"user":` behind a comma.
fn is_next_name(text: &[u8], from: usize) -> bool {
    let bounded = &text[..text.len().min(from + MAX_NAME)];
    let from = run_end(bounded, from.min(bounded.len()), |b| matches!(b, b'"' | b'\'' | b'\\'));
    let end = run_end(bounded, from, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    end > from && matches!(at(text, end), b'=' | b':' | b'"' | b'\'' | b'\\')
}

/// The value of an authorization header: a scheme and its token, or its parameters to the end of the line.
fn credentials_end(text: &[u8], start: usize) -> usize {
    let word_end = bare_value_end(text, start);
    let scheme = &text[start..word_end];
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    if is(b"digest") || is(b"aws4-hmac-sha256") || is(b"oauth") || is(b"signature") || is(b"hawk") {
        return run_end(text, word_end, |b| !matches!(b, b'\n' | b'\r'));
    }
    let is_scheme =
        !scheme.is_empty() && scheme.len() <= 16 && scheme.iter().all(|b| b.is_ascii_alphabetic() || *b == b'-');
    if is_scheme && matches!(at(text, word_end), b' ' | b'+') && word_end + 1 < text.len() {
        let token_end = bare_value_end(text, word_end + 1);
        let token = &text[word_end + 1..token_end];
        let known = [b"bearer".as_slice(), b"basic", b"token", b"apikey", b"negotiate", b"ntlm", b"key"]
            .iter()
            .any(|name| is(name));
        if !token.is_empty() && (known || (token.len() >= 8 && !token.contains(&b'='))) {
            return token_end;
        }
    }
    word_end
}

/// Where `name=value; name=value; Secure` ends; `start` if it is no such list.
fn cookie_pairs_end(text: &[u8], start: usize) -> usize {
    let is_name = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'_' | b'-' | b'.' | b'$' | b'!' | b'#' | b'%' | b'&' | b'*' | b'+' | b'|' | b'~')
    };
    let is_value = |b: u8| !b.is_ascii_whitespace() && !matches!(b, b';' | b',' | b'"' | b'\'' | b'\\' | b']' | b'}');
    let mut end = start;
    let mut position = start;
    loop {
        let name_end = run_end(text, position, is_name);
        if name_end == position {
            return end;
        }
        if at(text, name_end) == b'=' {
            let value_end = run_end(text, name_end + 1, is_value);
            // A masked value does not make a list of cookies.
            if end == start && mask_at(&text[name_end + 1..value_end]) == Some(value_end - name_end - 1) {
                return start;
            }
            end = value_end;
        } else if end > start {
            end = name_end;
        } else {
            return start;
        }
        if at(text, end) != b';' {
            return end;
        }
        position = skip_spaces(text, end + 1);
    }
}

/// `jsessionid` and its like name one cookie; the others name the header.
fn is_cookie_name(text: &[u8], name: &Name) -> bool {
    !super::contains_folded(&text[name.start..name.end], b"cookie")
}

/// Nothing, a mask, a parameter of a statement or a format, or a value that somebody else has masked.
fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "true",
        "false",
        "null",
        "none",
        "nil",
        "undefined",
        "redacted",
        "[redacted]",
        "[filtered]",
        "<redacted>",
        "(null)",
    ];
    if value.is_empty() || mask_at(value) == Some(value.len()) || is_hmac_token(value) {
        return true;
    }
    if value.len() > MAX_DOUBT {
        return false;
    }
    match value[0] {
        b'?' | b'$' => {
            value.len() == 1
                || value[1..].iter().all(u8::is_ascii_digit)
                || (value.starts_with(b"${") && value.ends_with(b"}"))
        }
        b':' | b'@' => value.len() > 1 && value[1..].iter().all(|b| b.is_ascii_lowercase() || *b == b'_'),
        b'%' => matches!(value, b"%s" | b"%v" | b"%q" | b"%d"),
        b'{' => matches!(value, b"{}" | b"{0}" | b"{1}"),
        b'*' => value.iter().all(|b| *b == b'*'),
        _ => WORDS.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes())),
    }
}

fn is_hmac_token(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(super::super::keyed_hash::is_token)
}

/// Behind a colon and a space may stand what is wrong with the secret instead of the secret.
fn is_prose(text: &[u8], name: &Name, class: Class, start: usize, end: usize) -> bool {
    let word = &text[start..end];
    let word = word.strip_suffix(b".").or_else(|| word.strip_suffix(b",")).unwrap_or(word);
    if PROSE.iter().any(|prose| word.eq_ignore_ascii_case(prose.as_bytes())) {
        return true;
    }
    if class == Class::Password {
        return false;
    }
    let is_word = !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic);
    let goes_on = at(text, end) == b' ' && at(text, end + 1).is_ascii_alphabetic();
    (class == Class::Secret && (word.len() < 4 || (is_word && goes_on))) || is_unexpected_token(text, name)
}

/// `Unexpected token: 'foo'` speaks of a parser.
fn is_unexpected_token(text: &[u8], name: &Name) -> bool {
    let reach = &text[name.start.saturating_sub(12)..name.start];
    text[name.start..name.end].eq_ignore_ascii_case(b"token")
        && [b"unexpected".as_slice(), b"illegal", b"expected"].iter().any(|word| super::contains_folded(reach, word))
}
