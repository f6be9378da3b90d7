//! Classes made of digits: payment cards, social security numbers, phone numbers and IBANs.
//!
//! One pass over the groups of digits of a text. Most long numbers of telemetry are ids, times and offsets,
//! so every class asks for more than its digits: an issuer and a check digit, or a keyword near.

use super::super::names::{is_record_id, segments};
use super::super::{class::Class, decode::skip_escape_tail};
use super::{Span, at, before, contains_folded, run_start};

/// Bytes before a number in which its keyword is looked for.
const KEYWORD_REACH: usize = 40;

/// Longest name before a number that is read.
const MAX_NAME: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Group {
    start: usize,
    end: usize,
}

impl Group {
    fn len(self) -> usize {
        self.end - self.start
    }
}

/// `has_contact_word`: whether a keyword of social security or phone numbers is anywhere in the text.
pub(in super::super) fn find(text: &[u8], has_contact_word: bool, spans: &mut Vec<Span>) {
    let mut at = 0;
    while let Some(group) = next_group(text, at) {
        let mut found = card(text, group).or_else(|| iban(text, group));
        if found.is_none() && has_contact_word {
            found = ssn(text, group).or_else(|| phone(text, group));
        }
        match found {
            Some(span) => {
                at = span.end.max(group.end);
                spans.push(span);
            }
            None => at = group.end,
        }
    }
}

fn next_group(text: &[u8], from: usize) -> Option<Group> {
    let first = from + text[from..].iter().position(u8::is_ascii_digit)?;
    let end = super::run_end(text, first, |b| b.is_ascii_digit());
    Some(Group { start: skip_escape_tail(text, first, end), end })
}

/// The digits in `text`, at most 24 of them; `None` beyond that.
fn collect_digits(text: &[u8]) -> Option<([u8; 24], usize)> {
    let mut digits = [0; 24];
    let mut count = 0;
    for byte in text.iter().filter(|b| b.is_ascii_digit()) {
        *digits.get_mut(count)? = byte - b'0';
        count += 1;
    }
    Some((digits, count))
}

/// A card number: one group, or groups as they are printed on cards with one kind of separator.
fn card(text: &[u8], first: Group) -> Option<Span> {
    let end = match first.len() {
        13..=19 => {
            if is_numbering_context(text, first.start) || is_under_record_id(text, first.start) {
                return None;
            }
            first.end
        }
        4 => printed_card_end(text, first)?,
        _ => return None,
    };
    if !is_free_standing(text, first.start, end) {
        return None;
    }
    let (digits, count) = collect_digits(&text[first.start..end])?;
    let is_printed = first.len() == 4;
    let is_found = if is_printed { is_printed_card(&digits[..count]) } else { is_card(&digits[..count]) };
    is_found.then(|| Span::new(first.start, end, Class::Card))
}

/// A card number in the groups in which it is printed. Visa's longest numbers are too much like times to be found
/// without.
fn is_printed_card(digits: &[u8]) -> bool {
    is_card(digits) || (digits.len() == 19 && digits[0] == 4 && luhn(digits))
}

/// True if the name of a record's id stands right before a number: `transaction_id=`, `"messageId": "`.
fn is_under_record_id(text: &[u8], start: usize) -> bool {
    let window = &text[start.saturating_sub(MAX_NAME)..start];
    let end = window.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |index| index + 1);
    // A quote may be escaped several times.
    if window.len() - end > 8 || end < 2 || !window[end - 2..end].eq_ignore_ascii_case(b"id") {
        return false;
    }
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let from = run_start(window, end, MAX_NAME, is_name);
    // Of a longer name only a part is seen, and what is missing may speak of a card.
    (from > 0 || window.len() == start)
        && std::str::from_utf8(&window[from..end]).is_ok_and(|name| is_record_id(&segments(name)))
}

/// The end of `4-4-4-4`, `4-4-4-1`, `4-4-4-4-3`, `4-6-5` or `4-6-4` digits that start with `first`.
fn printed_card_end(text: &[u8], first: Group) -> Option<usize> {
    let separator = at(text, first.end);
    if !matches!(separator, b' ' | b'-' | b'.' | b'+' | b'_') {
        return None;
    }
    let mut groups = [first; 5];
    let mut count = 1;
    while count < groups.len() {
        let previous = groups[count - 1];
        if at(text, previous.end) != separator || !at(text, previous.end + 1).is_ascii_digit() {
            break;
        }
        // One more than the longest group suffices to see that a group is too long.
        let start = previous.end + 1;
        let end = start + text[start..].iter().take(7).take_while(|b| b.is_ascii_digit()).count();
        groups[count] = Group { start, end };
        count += 1;
    }
    let length = |index: usize| if index < count { groups[index].len() } else { 0 };
    let is_card_to = |index: usize| {
        collect_digits(&text[first.start..groups[index].end])
            .is_some_and(|(digits, count)| is_printed_card(&digits[..count]))
    };
    match (length(1), length(2), length(3), length(4)) {
        (6, 4 | 5, _, _) => Some(groups[2].end),
        (4, 4, 4, 1..=3) if is_card_to(4) => Some(groups[4].end),
        (4, 4, 1 | 4, _) => Some(groups[3].end),
        _ => None,
    }
}

/// Not a part of a hexadecimal id, a UUID, a fraction or a longer dashed token.
fn is_free_standing(text: &[u8], start: usize, end: usize) -> bool {
    let previous = before(text, start);
    let next = at(text, end);
    let joined_before = match previous {
        b'.' | b'-' => start >= 2 && text[start - 2].is_ascii_alphanumeric(),
        _ => previous.is_ascii_alphanumeric(),
    };
    let joined_after = match next {
        b'.' => at(text, end + 1).is_ascii_digit(),
        b'-' => at(text, end + 1).is_ascii_alphanumeric(),
        _ => next.is_ascii_alphanumeric(),
    };
    !joined_before && !joined_after
}

/// True if the word before a number says that it counts or names records.
fn is_numbering_context(text: &[u8], start: usize) -> bool {
    const WORDS: &[&str] = &[
        "order",
        "orderid",
        "orderno",
        "ordernumber",
        "offset",
        "seq",
        "sequence",
        "timestamp",
        "ts",
        "time",
        "nanos",
        "traceid",
        "spanid",
        "snowflake",
        "revision",
        "version",
        "commit",
        "unixnano",
        "ean",
        "gtin",
        "barcode",
    ];
    let window = &text[start.saturating_sub(24)..start];
    let end = window.iter().rposition(|b| b.is_ascii_alphanumeric()).map_or(0, |index| index + 1);
    if window.len() - end > 4 {
        return false;
    }
    // Backwards, without separators; a bit for each length at which one stood or the word began.
    let mut word = [0u8; 24];
    let (mut length, mut bounds) = (0usize, 0u32);
    for byte in window[..end].iter().rev().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        if byte.is_ascii_alphanumeric() {
            word[length] = byte.to_ascii_lowercase();
            length += 1;
        } else {
            bounds |= 1 << length;
        }
    }
    bounds |= 1 << length;
    // `dd.trace_id` and `kafka-offset` end in a word that is known.
    WORDS.iter().any(|known| {
        known.len() <= length
            && bounds >> known.len() & 1 == 1
            && word[..known.len()].iter().rev().eq(known.as_bytes().iter())
    })
}

/// Issuer ranges by ISO/IEC 7812 as the card schemes publish them, with the lengths in use, and the Luhn digit.
pub(in super::super) fn is_card(digits: &[u8]) -> bool {
    if !(13..=19).contains(&digits.len()) {
        return false;
    }
    let prefix = |length: usize| digits[..length].iter().fold(0u32, |number, digit| number * 10 + u32::from(*digit));
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    let is_issued = match digits.len() {
        14 => matches!(two, 36 | 38 | 39) || matches!(three, 300..=305 | 309),
        15 => matches!(two, 34 | 37),
        13 => digits[0] == 4 || is_maestro(four),
        16 => {
            digits[0] == 4
                || matches!(two, 51..=55 | 62 | 65)
                || matches!(three, 644..=649)
                || matches!(four, 2221..=2720 | 3528..=3589 | 6011)
                || is_maestro(four)
        }
        // Longer numbers are ids and times far more often than cards, so only what the long cards begin with.
        _ => two == 62 || is_maestro(four),
    };
    // Repdigits pass Luhn in places and are always placeholders.
    is_issued && digits.iter().any(|digit| *digit != digits[0]) && luhn(digits)
}

fn is_maestro(four: u32) -> bool {
    matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
}

/// ISO/IEC 7812-1 annex B.
pub(in super::super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u32::from(*digit);
            if index % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `ddd-dd-dddd` or nine digits, valid by the rules of the Social Security Administration, behind its keyword.
fn ssn(text: &[u8], first: Group) -> Option<Span> {
    let end = match first.len() {
        9 => first.end,
        3 => {
            let separator = at(text, first.end);
            let digits =
                |range: std::ops::Range<usize>| range.into_iter().all(|index| at(text, index).is_ascii_digit());
            let start = first.start;
            if !matches!(separator, b'-' | b' ')
                || at(text, start + 6) != separator
                || !digits(start + 4..start + 6)
                || !digits(start + 7..start + 11)
                || at(text, start + 11).is_ascii_digit()
            {
                return None;
            }
            start + 11
        }
        _ => return None,
    };
    let reach = &text[first.start.saturating_sub(KEYWORD_REACH)..first.start];
    if !contains_folded(reach, b"ssn")
        && !contains_folded(reach, b"social security")
        && !contains_folded(reach, b"social_security")
    {
        return None;
    }
    let (digits, _) = collect_digits(&text[first.start..end])?;
    let number = |range: &[u8]| range.iter().fold(0u32, |number, digit| number * 10 + u32::from(*digit));
    let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..9]));
    (!matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0).then(|| Span::new(first.start, end, Class::Ssn))
}

/// An international number near a word for phones, or any number right behind one (`"phone": "555-123-4567"`).
fn phone(text: &[u8], first: Group) -> Option<Span> {
    let mut start = first.start;
    if before(text, start) == b'(' {
        start -= 1;
    }
    let has_plus = before(text, start) == b'+';
    if has_plus {
        start -= 1;
    }
    // Seven digits are the least, and most groups stand in times, versions and hexadecimal ids.
    if text.len() - first.start < 7 || is_id_byte(before(text, start)) || is_id_byte(at(text, first.end)) {
        return None;
    }
    let reach_start = start.saturating_sub(KEYWORD_REACH);
    let reach = &text[reach_start..start];
    // `00` and the code of a country, none of which begins with another 0.
    let has_zeros = text[first.start..].starts_with(b"00") && at(text, first.start + 2) != b'0';
    let is_international = has_plus || (first.len() >= 8 && has_zeros);
    let is_told = phone_word_just_before(reach) || (is_international && phone_word_near(reach));
    if !is_told {
        return None;
    }
    let mut end = first.start;
    let mut digits = 0;
    let mut index = first.start;
    while index < text.len() && index < first.start + 28 {
        match text[index] {
            b'0'..=b'9' => {
                digits += 1;
                end = index + 1;
            }
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' if index <= end + 1 => {}
            _ => break,
        }
        index += 1;
    }
    let is_timestamp = text[first.start..end].windows(3).any(|w| w == b"-01") && first.len() == 4 && !has_plus;
    ((7..=15).contains(&digits) && !at(text, end).is_ascii_alphanumeric() && !is_timestamp)
        .then(|| Span::new(start, end, Class::Phone))
}

/// A byte that makes a neighbouring group of digits part of an id rather than of a phone number.
fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

const PHONE_WORDS: &[&[u8]] = &[b"phone", b"mobile", b"msisdn", b"telefon"];
/// Those that are the end of other words.
const SHORT_PHONE_WORDS: &[&[u8]] = &[b"tel", b"fax"];
const MORE_PHONE_WORDS: &[&[u8]] = &[b"tel", b"cell", b"fax", b"call", b"sms", b"contact", b"whatsapp", b"dial"];

fn phone_word_near(reach: &[u8]) -> bool {
    PHONE_WORDS.iter().chain(MORE_PHONE_WORDS).any(|word| contains_folded(reach, word))
}

/// `phone=`, `"mobile_number": "`, `msisdn `: nothing but punctuation and `number` or `no` between word and number.
fn phone_word_just_before(reach: &[u8]) -> bool {
    let is_gap =
        |b: u8| matches!(b, b'"' | b'\'' | b':' | b'=' | b' ' | b'\\' | b'_' | b'#' | b'-' | b'.' | b'>' | b'[');
    let trim = |text: &[u8]| text.iter().rposition(|b| !is_gap(*b)).map_or(0, |index| index + 1);
    let mut end = trim(reach);
    if reach.len() == end {
        return false;
    }
    for filler in [b"number".as_slice(), b"no"] {
        if reach[..end].len() > filler.len() && reach[end - filler.len()..end].eq_ignore_ascii_case(filler) {
            end = trim(&reach[..end - filler.len()]);
            break;
        }
    }
    let stands_behind = |word: &[u8], is_no_end: fn(u8) -> bool| {
        let start = end.checked_sub(word.len()).filter(|start| reach[*start..end].eq_ignore_ascii_case(word));
        start.is_some_and(|start| !reach[..start].last().is_some_and(|byte| is_no_end(*byte)))
    };
    // The phone of `iPhone 15` is a product, and `hotel 1234567` a hotel.
    PHONE_WORDS.iter().any(|word| stands_behind(word, |byte| matches!(byte, b'i' | b'I')))
        || SHORT_PHONE_WORDS.iter().any(|word| stands_behind(word, is_id_byte))
}

/// Country codes and lengths of the IBAN registry (SWIFT, release 99).
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Two letters and two check digits, then as many characters as the country has, in a run or in groups of four.
fn iban(text: &[u8], first: Group) -> Option<Span> {
    let start = first.start.checked_sub(2)?;
    let start = skip_escape_tail(text, start, first.start);
    if start + 2 != first.start || first.len() < 2 || before(text, start).is_ascii_alphanumeric() {
        return None;
    }
    // Hexadecimal ids begin with `be`, `ae` or `ad` often enough to pass mod 97 by chance.
    let is_upper = text[start..first.start].iter().all(u8::is_ascii_uppercase);
    if !is_upper && !contains_folded(&text[start.saturating_sub(KEYWORD_REACH)..start], b"iban") {
        return None;
    }
    let country = [text[start].to_ascii_uppercase(), text[start + 1].to_ascii_uppercase()];
    let (_, length) = *IBAN_LENGTHS.iter().find(|(code, _)| **code == country)?;
    let mut characters = [0u8; 34];
    let mut count = 0;
    let mut index = start;
    while count < length {
        let byte = at(text, index);
        if byte.is_ascii_alphanumeric() {
            characters[count] = byte.to_ascii_uppercase();
            count += 1;
        } else if !(matches!(byte, b' ' | b'-' | b'+') && count % 4 == 0 && at(text, index + 1).is_ascii_alphanumeric())
        {
            return None;
        }
        index += 1;
    }
    if at(text, index).is_ascii_alphanumeric() {
        return None;
    }
    // ISO 7064 mod 97-10 over the number with its first four characters moved to the end.
    let remainder = characters[4..length].iter().chain(&characters[..4]).fold(0u32, |remainder, c| match c {
        b'0'..=b'9' => (remainder * 10 + u32::from(c - b'0')) % 97,
        _ => (remainder * 100 + u32::from(c - b'A') + 10) % 97,
    });
    (remainder == 1).then(|| Span::new(start, index, Class::Iban))
}
