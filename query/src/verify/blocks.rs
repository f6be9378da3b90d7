//! The blocks of a Markdown document: paragraphs, items, headings, rows of tables.
//!
//! Whoever reads the document reads what some program makes of it, and no text that is shown may be unseen here. So only
//! what every program takes for a code block or a comment is left out. What one of them may show is text, and so a claim;
//! where they differ on what follows, the document is refused.

use super::reason::Reason;

/// Columns before a fence or a comment. With more it is a line of code for some programs.
const MAX_INDENT: usize = 3;
/// Digits of the number of an item.
const MAX_DIGITS: usize = 4;

/// A paragraph, a list item, a heading or a row of a table.
#[derive(Debug)]
pub(super) struct Block {
    /// Line that it begins in, from 1 on.
    pub line: usize,
    pub text: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Paragraph,
    Item,
    Heading,
    Row,
}

/// The blocks of a text, but for code blocks and comments.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, Reason> {
    // A carriage return alone ends a line, too.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader::default();
    for (number, raw) in (1..).zip(text.lines()) {
        reader.take(&Line::of(number, raw))?;
    }
    match reader.open {
        Some(open) => Err(mistake(open.line, "the code block or comment that begins here does not end")),
        None => Ok(reader.blocks),
    }
}

fn mistake(line: usize, what: &str) -> Reason {
    Reason::Claims(format!("line {line}: {what}"))
}

struct Line<'a> {
    number: usize,
    /// Columns before its text.
    indent: usize,
    /// Without the blanks at both ends.
    content: &'a str,
}

impl<'a> Line<'a> {
    fn of(number: usize, raw: &'a str) -> Self {
        // No other white space counts: for programs it is text.
        let content = raw.trim_matches([' ', '\t']);
        let blanks = raw.chars().take_while(|c| matches!(c, ' ' | '\t'));
        let indent = blanks.fold(0, |column, c| if c == '\t' { column / 4 * 4 + 4 } else { column + 1 });
        Self { number, indent, content }
    }
}

/// A code block or comment that has begun.
struct Open {
    line: usize,
    indent: usize,
    /// The mark of the fence and how often it stands there; none of a comment.
    fence: Option<(char, usize)>,
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    open: Option<Open>,
    /// Whether the next line may go on with the last block.
    goes_on: bool,
    /// Columns before the last item of the lines that belong together.
    item: Option<usize>,
    /// Numbered items so far.
    numbered: usize,
}

impl Reader {
    fn take(&mut self, line: &Line<'_>) -> Result<(), Reason> {
        if let Some(open) = &self.open {
            if open.go_on(line)? {
                self.open = None;
            }
            return Ok(());
        }
        let open = |fence| Open { line: line.number, indent: line.indent, fence };
        if let Some(fence) = fence(line) {
            (self.open, self.goes_on) = (Some(open(Some(fence))), false);
            return Ok(());
        }
        if line.indent <= MAX_INDENT && line.content.starts_with("<!--") {
            // `<!-->` is a whole comment.
            let is_whole = ends_comment(line.number, line.content.get(2..).unwrap_or_default())?;
            self.open = (!is_whole).then(|| open(None));
            self.goes_on = false;
            return Ok(());
        }
        let content = line.content.trim_start_matches([' ', '\t', '>']);
        if content.chars().all(|c| matches!(c, '-' | '=' | '*' | '_' | '|' | ':' | ' ')) {
            self.rule(content);
            return Ok(());
        }
        self.text(line, content);
        Ok(())
    }

    /// A blank line, or one of strokes: below a line of text, that one is a heading, or the first row of a table.
    fn rule(&mut self, content: &str) {
        let is_below = self.goes_on;
        self.goes_on = false;
        let Some(block) = self.blocks.last_mut().filter(|block| is_below && !block.text.contains('\n')) else { return };
        let is_of = |mark: char| !content.is_empty() && content.chars().all(|c| c == mark);
        let is_underline = block.kind == Kind::Paragraph && (is_of('=') || is_of('-'));
        if is_underline || (content.contains('|') && content.contains('-')) {
            block.kind = Kind::Heading;
        }
    }

    fn text(&mut self, line: &Line<'_>, content: &str) {
        let (kind, text) = self.begins(line, content).unwrap_or_else(|| (Kind::Paragraph, content.to_owned()));
        match self.blocks.last_mut() {
            Some(block) if self.goes_on && kind == Kind::Paragraph => {
                block.text.push('\n');
                block.text.push_str(&text);
            }
            _ => {
                self.item = match kind {
                    Kind::Item => Some(line.indent),
                    _ => None,
                };
                self.blocks.push(Block { line: line.number, text, kind });
            }
        }
        self.goes_on = kind != Kind::Heading;
    }

    /// What a line begins, and its text without the mark of that; `None` for a paragraph.
    fn begins(&mut self, line: &Line<'_>, content: &str) -> Option<(Kind, String)> {
        let heading = content.trim_start_matches('#');
        let depth = content.len() - heading.len();
        if (1..=6).contains(&depth) && heading.starts_with(' ') {
            return Some((Kind::Heading, heading.trim().trim_end_matches('#').trim().to_owned()));
        }
        if let Some(row) = content.strip_prefix('|') {
            return Some((Kind::Row, cells(row)));
        }
        let marks = ["- ", "* ", "+ ", "- [ ] ", "- [x] ", "- [X] "];
        if let Some(item) = marks.into_iter().filter_map(|mark| content.strip_prefix(mark)).next_back() {
            return Some((Kind::Item, item.trim().to_owned()));
        }
        let digits = content.len() - content.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let behind = content.get(digits..)?;
        let item = behind.strip_prefix(". ").or_else(|| behind.strip_prefix(") "))?;
        let number: usize = content.get(..digits).filter(|_| digits <= MAX_DIGITS)?.parse().ok()?;
        // Within a paragraph only 1 begins a list, and a list counts: other numbers are what the text says.
        let may_begin = number <= 1 || !self.goes_on || self.item.is_some_and(|indent| line.indent <= indent);
        if !may_begin || number > self.numbered + 1 {
            return None;
        }
        self.numbered += 1;
        Some((Kind::Item, item.trim().to_owned()))
    }
}

impl Open {
    /// Whether it ends in a line.
    fn go_on(&self, line: &Line<'_>) -> Result<bool, Reason> {
        let Line { number, content, indent } = line;
        // In an item of a list it ends with the item.
        if !content.is_empty() && *indent < self.indent {
            let what = format!("this is indented less than the code block or comment of line {}", self.line);
            return Err(mistake(*number, &what));
        }
        let Some((mark, length)) = self.fence else { return ends_comment(*number, content) };
        let is_end = content.chars().all(|c| c == mark) && content.len() >= length;
        if is_end && *indent > MAX_INDENT && self.indent > 0 {
            let what = format!("indent the end of the code block like its beginning in line {}", self.line);
            return Err(mistake(*number, &what));
        }
        Ok(is_end && *indent <= MAX_INDENT)
    }
}

/// The mark of a fence that begins in a line, and how often it stands there.
fn fence(line: &Line<'_>) -> Option<(char, usize)> {
    let mark = line.content.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = line.content.trim_start_matches(mark);
    let length = line.content.len() - info.len();
    // ```` ```x``` ```` is code within a line.
    let is_fence = length >= 3 && line.indent <= MAX_INDENT && !(mark == '`' && info.contains('`'));
    is_fence.then_some((mark, length))
}

/// Whether a comment ends in a text.
fn ends_comment(line: usize, content: &str) -> Result<bool, Reason> {
    if content.contains("--!>") {
        return Err(mistake(line, "for some readers --!> ends a comment; take it out"));
    }
    match content.split_once("-->") {
        Some((_, "")) => Ok(true),
        Some(_) => Err(mistake(line, "a comment ends before the line does; put it on lines of its own")),
        None => Ok(false),
    }
}

/// A row of a table as text: the bars between cells, but not those in code, become spaces.
fn cells(row: &str) -> String {
    let mut in_code = false;
    row.chars()
        .map(|c| {
            in_code ^= c == '`';
            if c == '|' && !in_code { ' ' } else { c }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        blocks(text).unwrap().into_iter().map(|block| block.text).collect()
    }

    /// Code blocks and comments are left out where every program takes them for such.
    #[test]
    fn code_and_comments_are_left_out() {
        for text in [
            "```\nA\n```\nB",
            "````text\nA\n```\nA\n````\nB",
            "~~~ `x`\n```\nA\n~~~~\nB",
            "   ```\n   A\n\n   ```\nB",
            "```\n    ```\nA\n```\nB",
            "```\r\nA\r\n```\r\nB",
            "```\rA\r```\rB",
            "<!-- A -->\nB",
            "<!--\nA\n\nA -->\nB",
            "<!-->\nB",
            "<!--->\nB",
            "```\nA\n``` \t\nB",
        ] {
            assert_eq!(texts(text), ["B"], "{text}");
        }
    }

    /// What one program takes for code or a comment and another does not is text. Guarantees that nothing that a program
    /// shows as text is left out.
    #[test]
    fn what_may_be_shown_is_text() {
        for text in [
            "```x``` is code\nA",
            "    ```\n\nA\n\n    ```",
            "\t```\n\nA\n\n\t```",
            "> ```\n\nA\n\n> ```",
            "- ```\n\nA\n\n  x",
            "    <!--\n\nA\n\n    -->",
            "> <!--\n\nA\n\n> -->",
            "~~\nA\n~~",
            "<!- \nA",
            "<div>\n\nA",
        ] {
            assert!(texts(text).iter().any(|text| text.lines().any(|line| line == "A")), "{text}");
        }
    }

    /// Where programs differ on where a code block or comment ends, and where it does not end, the document is refused.
    #[test]
    fn unclear_ends_are_refused() {
        for text in [
            "```\nA",
            "````\nA\n```",
            "```\nA\n~~~",
            "```\nA\n~~~```",
            "```\nA\n```x",
            "```\nA\n```\u{a0}",
            "~~~\r~~~\n\nA\n\n~~~",
            "- a\n\n  ```\n\nA\n\n  ```",
            "- a\n  ```\n  A\n```",
            "  ```\n  A\n    ```\nA",
            "- a\n  <!--\nA\n  -->",
            "<!-- A",
            "<!-- x --> A",
            "<!--\nx --> A",
            "<!-- --!>\nA\n-->",
            "<!---->A",
        ] {
            assert!(blocks(text).is_err(), "{text}");
        }
    }

    /// Lines below which strokes stand are headings, with `=`, `-` and in tables; longer paragraphs and items are none.
    #[test]
    fn strokes_make_headings() {
        for (text, is_heading) in [
            ("Root cause\n==========", true),
            ("Root cause\n---", true),
            ("| a | b |\n|---|:-:|\n", true),
            ("a | b\n---|---", true),
            ("# Root cause", true),
            ("It was\nthe cause\n===", false),
            ("Root cause\n\n===", false),
            ("- Root cause\n---", false),
            ("Root cause\n***", false),
            ("Root cause\n|", false),
        ] {
            assert_eq!(blocks(text).unwrap()[0].kind == Kind::Heading, is_heading, "{text}");
        }
    }

    /// A number begins an item where a list may be that counts to it; elsewhere it is what the text says.
    #[test]
    fn only_lists_count() {
        for (text, wanted) in [
            ("1. a\n2. b\n3) c", &["a", "b", "c"][..]),
            ("1. a\n   - b\n2. c", &["a", "b", "c"]),
            ("1. a\n\n2. b", &["a", "b"]),
            ("1. a\n1. b", &["a", "b"]),
            ("it took\n2. s", &["it took\n2. s"]),
            ("- it took\n  2. s", &["it took\n2. s"]),
            ("it was\n\n9000. s", &["it was", "9000. s"]),
            ("- it was\n9. s", &["it was\n9. s"]),
        ] {
            assert_eq!(texts(text), wanted, "{text}");
        }
    }
}
