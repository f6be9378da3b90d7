//! How large a regular expression becomes when it is compiled: a short one may count to thousands, within one that counts,
//! and searching takes a step for each of its states and each byte of the text, in the worst case.

/// States of a character that stands for many.
const CLASS: u64 = 8;

/// States of a pattern, roughly; more than it has where it is no pattern at all.
pub(super) fn states(pattern: &str) -> u64 {
    let mut characters = pattern.chars().peekable();
    // The sizes of the groups that are open, the innermost last, and of what was read last.
    let mut open = vec![0_u64];
    let mut last = 0_u64;
    while let Some(character) = characters.next() {
        let atom = match character {
            '(' => {
                add(&mut open, last);
                last = 0;
                open.push(0);
                continue;
            }
            ')' => {
                add(&mut open, last);
                let group = if open.len() > 1 { open.pop().unwrap_or_default() } else { 0 };
                last = group.saturating_add(1);
                continue;
            }
            '{' => {
                let mut counts = String::new();
                while let Some(count) = characters.next_if(|next| *next != '}') {
                    counts.push(count);
                }
                characters.next();
                let most = counts.split(',').filter_map(|count| count.trim().parse::<u64>().ok()).max();
                last = last.saturating_mul(most.unwrap_or(1).max(1));
                continue;
            }
            '*' | '+' | '?' => {
                last = last.saturating_add(1);
                continue;
            }
            '\\' => {
                // What follows may be a class by name, of letters of all scripts at worst.
                let is_class = characters.next().is_some_and(char::is_alphabetic);
                if is_class { CLASS * 8 } else { 1 }
            }
            '[' => {
                let mut size = CLASS;
                while characters.next_if(|next| *next != ']').is_some() {
                    size += 1;
                }
                characters.next();
                size
            }
            '.' => CLASS,
            other => other.len_utf8() as u64,
        };
        add(&mut open, last);
        last = atom;
    }
    add(&mut open, last);
    open.into_iter().fold(1, u64::saturating_add)
}

fn add(open: &mut [u64], size: u64) {
    if let Some(innermost) = open.last_mut() {
        *innermost = innermost.saturating_add(size);
    }
}

#[cfg(test)]
mod tests {
    use super::states;

    /// What people look for is small, ids included; what counts within what counts is not, however short it is written.
    #[test]
    fn counting_patterns_are_large() {
        for small in [
            "timeout",
            "^(GET|POST) /api/v[0-9]+",
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}",
            r"\d{4}-\d{2}",
            "",
            ")",
            "a{",
        ] {
            assert!(states(small) < 1_000, "{small}: {}", states(small));
        }
        assert!(states("((a{0,1000}){0,1000}){0,1000}") >= 1_000_000_000);
        assert!(states("(a{100}b{100}){100}") >= 20_000);
    }
}
