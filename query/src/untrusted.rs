//! Text of the systems under study on its way to a reader, a person or a model: it is data, may hold anything, and must
//! neither steer a terminal, nor show something else than it is, nor end the fence it stands in.

use std::iter::Peekable;
use std::str::Chars;

/// Control and escape sequences, and characters that nobody sees or that turn the direction of writing, are taken out.
/// Line ends and tabs stay.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut is_open = false;
    while let Some(c) = rest.next() {
        match c {
            '\n' => {
                is_open = false;
                cleaned.push(c);
            }
            '\t' => cleaned.push(c),
            '\u{1b}' => skip_escape(&mut rest, &mut is_open),
            '\u{9b}' => skip_control_sequence(&mut rest),
            c if c.is_control() || is_hidden(c) => {}
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// The same on one line: line ends and tabs become spaces.
pub fn line(text: &str) -> String {
    clean(&text.replace("\r\n", " ")).replace(['\n', '\t'], " ")
}

/// At most `most` characters of [`line()`], with an ellipsis where there were more.
pub fn short(text: &str, most: usize) -> String {
    let text = line(text);
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Text as a block of Markdown code that it cannot end: the fence is longer than any run of backticks in it. `language`
/// is the info string of the fence. The block ends with a line end.
pub fn fenced(language: &str, text: &str) -> String {
    let text = clean(text);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

/// One line of text as code within a line of Markdown.
pub fn code(text: &str) -> String {
    let text = line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // Without a space a backtick at an end would belong to the fence; Markdown takes one space off each side.
    let space = if text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// Formatting characters without a glyph of their own: zero width, direction, annotation, and tags, which can spell out
/// text that only a model reads.
fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// What follows an escape character, by ECMA-48. A string that does not end within its line is no sequence: only its
/// beginning goes, and `is_open` says so, for then none behind it in the line ends either. To look for the end of each
/// again would take the square of the line's length.
fn skip_escape(rest: &mut Peekable<Chars<'_>>, is_open: &mut bool) {
    match rest.next_if(|c| ('\u{20}'..='\u{7e}').contains(c)) {
        Some('[') => skip_control_sequence(rest),
        Some(']' | 'P' | 'X' | '^' | '_') if !*is_open => {
            let mut after_escape = false;
            let ends = |c: char| {
                let ends = matches!(c, '\u{7}' | '\u{9c}') || (c == '\\' && after_escape);
                after_escape = c == '\u{1b}';
                ends
            };
            let line = rest.clone().take_while(|c| *c != '\n');
            match line.map(ends).position(|ends| ends) {
                Some(last) => rest.by_ref().take(last + 1).for_each(drop),
                None => *is_open = true,
            }
        }
        Some(c) if ('\u{20}'..='\u{2f}').contains(&c) => {
            while rest.next_if(|c| ('\u{20}'..='\u{2f}').contains(c)).is_some() {}
            rest.next_if(|c| ('\u{30}'..='\u{7e}').contains(c));
        }
        _ => {}
    }
}

/// Parameters, intermediates and the final character of a control sequence.
fn skip_control_sequence(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
    rest.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Colours, titles of windows, directions, zero widths and tags go whole; letters, line ends and tabs stay.
    #[test]
    fn what_steers_is_taken_out() {
        assert_eq!(clean("a\u{1b}[31;1mred\u{1b}[0m b"), "ared b");
        assert_eq!(clean("\u{1b}]0;title\u{7}text\u{1b}]8;;x\u{1b}\\link"), "textlink");
        assert_eq!(clean("\u{1b}(Bx\u{9b}2Jy\u{7f}\u{8}"), "xy");
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{e0041}d\u{2066}e"), "abcde");
        assert_eq!(clean("one\r\n\ttwo"), "one\n\ttwo");
        assert_eq!(line("one\r\n\ttwo\u{0}"), "one  two");
        assert_eq!(short("abcdef", 3), "abc...");
    }

    /// A sequence that never ends does not take the following lines with it.
    #[test]
    fn an_open_sequence_hides_no_lines() {
        assert_eq!(clean("\u{1b}]0;open\nnext"), "0;open\nnext");
        assert_eq!(clean("\u{1b}]0;open\u{1b}]1;too\n\u{1b}]2;whole\u{7}next"), "0;open1;too\nnext");
    }

    /// A long line of sequences that never end is cleaned all the same, in a time that grows with it.
    #[test]
    fn hostile_lines_end() {
        assert_eq!(clean(&"\u{1b}]".repeat(1_000_000)), "");
    }

    /// Text with backticks of its own stays inside of its fence.
    #[test]
    fn fences_are_longer_than_what_they_hold() {
        assert_eq!(fenced("text", "a"), "```text\na\n```\n");
        assert_eq!(fenced("text", "```\nrm\n````"), "`````text\n```\nrm\n````\n`````\n");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
    }

    proptest! {
        /// Whatever the text, nothing of it steers, and no line of it closes the fence.
        #[test]
        fn no_text_gets_out(text in "(\\PC|`|\u{1b}|\\[|\n|\u{202e}|\r){0,200}") {
            let block = fenced("text", &text);
            let fence = block.chars().take_while(|c| *c == '`').count();
            let lines: Vec<&str> = block.lines().collect();
            let inner = lines.get(1..lines.len() - 1).unwrap_or_default();
            prop_assert!(inner.iter().all(|line| longest_run(line) < fence));
            prop_assert!(!block.chars().any(|c| c != '\n' && c != '\t' && (c.is_control() || is_hidden(c))));
        }
    }
}
