//! Days and times of day, in the forms that programs and log libraries print.

use super::classes::{Hit, View};

const MONTHS: &[[u8; 3]] =
    &[*b"jan", *b"feb", *b"mar", *b"apr", *b"may", *b"jun", *b"jul", *b"aug", *b"sep", *b"oct", *b"nov", *b"dec"];
const WEEKDAYS: &[[u8; 3]] = &[*b"mon", *b"tue", *b"wed", *b"thu", *b"fri", *b"sat", *b"sun"];

/// The end of a name of `names` at `at`, short or long.
fn named(view: &View<'_>, at: usize, names: &[[u8; 3]]) -> Option<usize> {
    let short = view.bytes.get(at..at + 3)?;
    if !is_short_name(short, names) {
        return None;
    }
    let length = view.run(at, 10, |byte| byte.is_ascii_alphabetic());
    view.ends_word(at + length).then_some(at + length)
}

/// Whether a word begins like the name of a month or of a day of the week, as `Monday` and `marble` do.
pub(super) fn begins_day(word: &[u8]) -> bool {
    const INITIALS: &[u8] = b"adfjmnostw";
    let Some([first, _, _]) = word.first_chunk() else { return false };
    // Most words begin otherwise, and this is asked of every word of every message.
    INITIALS.contains(&first.to_ascii_lowercase())
        && (is_short_name(&word[..3], MONTHS) || is_short_name(&word[..3], WEEKDAYS))
}

fn is_short_name(short: &[u8], names: &[[u8; 3]]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(short))
}

/// A calendar day, with the time of day behind it where there is one.
pub(super) fn date(view: &View<'_>, at: usize) -> Option<Hit> {
    let end = numeric_day(view, at).or_else(|| spelled_day(view, at))?;
    let end = [" ", "T", ":", ", ", "_", " at "]
        .iter()
        .filter(|gap| view.starts_with(end, gap))
        .find_map(|gap| clock(view, end + gap.len(), true))
        .map_or(end, |end| year_behind(view, end));
    view.ends_word(end).then_some(Hit::Mask { end, placeholder: "<date>" })
}

fn numeric_day(view: &View<'_>, at: usize) -> Option<usize> {
    let separator = |at: usize| matches!(view.byte(at), b'-' | b'/' | b'.').then(|| view.byte(at));
    let one_or_two = |at: usize| match view.run(at, 3, |byte| byte.is_ascii_digit()) {
        count @ 1..=2 => Some(at + count),
        _ => None,
    };
    if let Some(end) = view.digits(at, 4).filter(|_| matches!(view.byte(at), b'1' | b'2')) {
        let mark = separator(end)?;
        let end = one_or_two(end + 1)?;
        (separator(end)? == mark).then_some(())?;
        return one_or_two(end + 1);
    }
    let end = one_or_two(at)?;
    let mark = separator(end).filter(|mark| *mark != b'-')?;
    let end = match named(view, end + 1, MONTHS) {
        Some(end) => end,
        None => one_or_two(end + 1)?,
    };
    (separator(end)? == mark).then_some(())?;
    view.digits(end + 1, 4)
}

/// `Mon, 02 Jan 2006`, `Jan 2, 2006`, `Mon Jan 2`, `2 January 2006`.
fn spelled_day(view: &View<'_>, at: usize) -> Option<usize> {
    let skip = |at: usize| at + view.run(at, 3, |byte| matches!(byte, b' ' | b',' | b'-'));
    let short_number = |at: usize| {
        let count = view.run(at, 3, |byte| byte.is_ascii_digit());
        (matches!(count, 1 | 2) && view.ends_word(at + count)).then_some(at + count)
    };
    let start = named(view, at, WEEKDAYS).map_or(at, skip);
    if let Some(month) = named(view, start, MONTHS) {
        let end = short_number(skip(month)).filter(|_| skip(month) > month)?;
        return Some(year_behind(view, end));
    }
    let day = short_number(start)?;
    let month = named(view, skip(day), MONTHS).filter(|_| skip(day) > day)?;
    Some(year_behind(view, month))
}

fn year_behind(view: &View<'_>, at: usize) -> usize {
    let gap = view.run(at, 2, |byte| matches!(byte, b' ' | b',' | b'-'));
    match view
        .digits(at + gap, 4)
        .filter(|end| gap > 0 && view.ends_word(*end) && matches!(view.byte(at + gap), b'1' | b'2'))
    {
        Some(end) if view.byte(end) != b':' => end,
        _ => at,
    }
}

/// The end of a time of day with fraction and zone; `loose` accepts one without seconds.
fn clock(view: &View<'_>, at: usize, loose: bool) -> Option<usize> {
    let hours = view.run(at, 3, |byte| byte.is_ascii_digit());
    if !matches!(hours, 1 | 2) || view.byte(at + hours) != b':' {
        return None;
    }
    let mut end = view.digits(at + hours + 1, 2)?;
    match (view.byte(end) == b':').then(|| view.digits(end + 1, 2)).flatten() {
        Some(seconds) => {
            end = seconds;
            if matches!(view.byte(end), b'.' | b',') {
                let fraction = view.run(end + 1, 10, |byte| byte.is_ascii_digit());
                end += if fraction > 0 { fraction + 1 } else { 0 };
            }
        }
        None if loose && hours == 2 && view.byte(end) != b':' => {}
        None => return None,
    }
    Some(zone(view, end))
}

fn zone(view: &View<'_>, at: usize) -> usize {
    let gap = usize::from(view.byte(at) == b' ');
    for name in [
        "UTC", "GMT", "CEST", "CET", "EEST", "EET", "BST", "EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT",
        "IST", "JST", "Z",
    ] {
        if view.starts_with(at + gap, name) && view.ends_word(at + gap + name.len()) && (gap == 0 || name != "Z") {
            return at + gap + name.len();
        }
    }
    if matches!(view.byte(at + gap), b'+' | b'-') {
        let hours = view.digits(at + gap + 1, 2);
        let end = hours.and_then(|end| view.digits(end + usize::from(view.byte(end) == b':'), 2));
        if let Some(end) = end.filter(|end| view.ends_word(*end)) {
            return end;
        }
    }
    at
}

pub(super) fn time(view: &View<'_>, at: usize) -> Option<Hit> {
    let behind_colon = view.before.ends_with(':');
    let end = clock(view, at, !behind_colon && !view.before.ends_with('.'))?;
    (view.ends_word(end) && view.byte(end) != b':').then_some(Hit::Mask { end, placeholder: "<time>" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word is compared with the names only if it begins like one of them, so that each of them has to.
    #[test]
    fn every_day_is_asked_for() {
        for name in MONTHS.iter().chain(WEEKDAYS) {
            assert!(begins_day(name) && begins_day(&name.map(|letter| letter.to_ascii_uppercase())), "{name:?}");
        }
        assert!(!begins_day(b"may".split_at(2).0) && !begins_day(b"payment"));
    }
}
