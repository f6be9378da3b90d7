//! Reads a unified diff, strictly: changes of text in plain files, as `git diff` prints them. Whatever else a diff can
//! say, or what different programs would read differently, is an error.

use std::collections::HashSet;

use thiserror::Error;

/// Files of one diff; more are refused.
const MAX_FILES: usize = 1_000;
/// The mode of a plain file. Others are programs, links and submodules.
const PLAIN: &str = "100644";
/// Where a diff names no file.
const NO_FILE: &str = "/dev/null";

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Lines of it are changed.
    Modified,
    /// It is new.
    Added,
    /// It is taken away.
    Deleted,
}

impl Change {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Modified => "modified",
            Self::Added => "added",
            Self::Deleted => "deleted",
        }
    }
}

/// The changes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileDiff {
    /// Its path in the repository.
    pub path: String,
    pub change: Change,
    /// Lines that are added.
    pub added: usize,
    /// Lines that are taken away.
    pub deleted: usize,
}

/// A diff that is not read, with the line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub(crate) struct DiffError {
    line: usize,
    why: String,
}

/// The files of a diff, in its order.
///
/// # Errors
/// [`DiffError`] for everything that is not a change of text in a plain file, and for a diff without files.
pub(crate) fn parse(text: &str) -> Result<Vec<FileDiff>, DiffError> {
    let mut reader = Reader { lines: text.split('\n').collect(), at: 0 };
    let mut files = Vec::new();
    let mut paths = HashSet::new();
    loop {
        while reader.peek() == Some("") {
            reader.at += 1;
        }
        if reader.peek().is_none() {
            break;
        }
        let begins = reader.at;
        let file = reader.file()?;
        if !paths.insert(file.path.clone()) {
            return Err(DiffError {
                line: begins + 1,
                why: String::from("the same file a second time; write it once"),
            });
        }
        if files.len() == MAX_FILES {
            return Err(DiffError { line: begins + 1, why: format!("more than {MAX_FILES} files") });
        }
        files.push(file);
    }
    match files.is_empty() {
        true => Err(DiffError { line: 1, why: String::from("there is no change; `git diff` prints one") }),
        false => Ok(files),
    }
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

/// What the lines before a file's first hunk say.
#[derive(Default)]
struct Head {
    path: Option<String>,
    added: bool,
    deleted: bool,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn wrong<T>(&self, why: impl Into<String>) -> Result<T, DiffError> {
        Err(DiffError { line: self.at + 1, why: why.into() })
    }

    fn file(&mut self) -> Result<FileDiff, DiffError> {
        if self.peek().is_some_and(|line| line.ends_with('\r')) {
            return self.wrong("the lines end in carriage returns; give the diff as `git diff` prints it");
        }
        let mut head = Head::default();
        let of_git = self.peek().and_then(|line| line.strip_prefix("diff --git "));
        if let Some(names) = of_git {
            head.path = Some(self.same_name(names)?);
            self.at += 1;
            self.extended(&mut head)?;
        }
        let old = self.peek().and_then(|line| line.strip_prefix("--- "));
        let Some(old) = old else {
            // An empty file has no lines to show.
            return match (head.path, head.added, head.deleted) {
                (Some(path), true, false) => Ok(FileDiff { path, change: Change::Added, added: 0, deleted: 0 }),
                (Some(path), false, true) => Ok(FileDiff { path, change: Change::Deleted, added: 0, deleted: 0 }),
                (Some(_), ..) => self.wrong("no lines of the file are changed"),
                (None, ..) => self.wrong(
                    "this is no line of a diff; give what `git diff` prints, without colours and without the mail round it",
                ),
            };
        };
        let old = self.side(old, "a/")?;
        self.at += 1;
        let Some(new) = self.peek().and_then(|line| line.strip_prefix("+++ ")) else {
            return self.wrong("after the line of --- stands one of +++");
        };
        let new = self.side(new, "b/")?;
        let (path, change) = match (old, new) {
            (Some(old), Some(new)) if old == new => (new, Change::Modified),
            (Some(_), Some(_)) => {
                return self.wrong("the file has another name; write it as one taken away and one added");
            }
            (None, Some(new)) => (new, Change::Added),
            (Some(old), None) => (old, Change::Deleted),
            (None, None) => return self.wrong("neither side names a file"),
        };
        let says_else = |said: bool, wanted: Change| of_git.is_some() && said != (change == wanted);
        if head.path.as_ref().is_some_and(|named| *named != path)
            || says_else(head.added, Change::Added)
            || says_else(head.deleted, Change::Deleted)
        {
            return self.wrong("this does not agree with the lines above");
        }
        self.at += 1;
        let (added, deleted) = self.hunks(change)?;
        Ok(FileDiff { path, change, added, deleted })
    }

    /// The name in `a/NAME b/NAME`.
    fn same_name(&self, names: &str) -> Result<String, DiffError> {
        // With spaces in a name only equal halves tell where the second begins.
        let half = names.len().checked_sub(1).map_or(0, |length| length / 2);
        let halves = names.get(..half).zip(names.get(half + 1..));
        match halves.and_then(|(old, new)| Some((old.strip_prefix("a/")?, new.strip_prefix("b/")?))) {
            Some((old, new)) if old == new && names.as_bytes().get(half) == Some(&b' ') => self.path(new),
            _ => self.wrong(
                "the two names are not a/FILE and b/FILE with the same FILE; renames are not judged, and names in quotes \
                 need `git -c core.quotePath=false diff`",
            ),
        }
    }

    /// The lines of git between the names and the content.
    fn extended(&mut self, head: &mut Head) -> Result<(), DiffError> {
        while let Some(line) = self.peek() {
            let mode = |prefix: &str| line.strip_prefix(prefix);
            if let Some(mode) = mode("new file mode ") {
                self.plain(mode)?;
                head.added = true;
            } else if let Some(mode) = mode("deleted file mode ") {
                self.plain(mode)?;
                head.deleted = true;
            } else if let Some(index) = mode("index ") {
                if let Some((_, mode)) = index.split_once(' ') {
                    self.plain_or_program(mode)?;
                }
            } else if line.starts_with("--- ") || line.starts_with("diff --git ") || line.is_empty() {
                return Ok(());
            } else if line.starts_with("Binary files ") || line == "GIT binary patch" {
                return self.wrong("a binary file cannot be judged");
            } else if mode("old mode ").or(mode("new mode ")).is_some() {
                return self.wrong("the mode of a file is changed");
            } else if ["rename ", "copy ", "similarity ", "dissimilarity "].iter().any(|kind| line.starts_with(kind)) {
                return self.wrong("a file is renamed or copied; write it as one taken away and one added");
            } else {
                return self.wrong("this is no line that `git diff` prints here");
            }
            self.at += 1;
        }
        Ok(())
    }

    fn plain(&self, mode: &str) -> Result<(), DiffError> {
        match mode {
            PLAIN => Ok(()),
            "120000" => self.wrong("a symbolic link cannot be judged"),
            "160000" => self.wrong("a submodule cannot be judged"),
            _ => self.wrong(format!("a file of this mode is added or taken away; only {PLAIN} is judged")),
        }
    }

    /// What is changed may be a program already; what is added may not become one.
    fn plain_or_program(&self, mode: &str) -> Result<(), DiffError> {
        if mode == "100755" { Ok(()) } else { self.plain(mode) }
    }

    /// The file on one side; `None` is no file.
    fn side(&self, name: &str, prefix: &str) -> Result<Option<String>, DiffError> {
        // Behind a tab stands a time, or nothing where the name has spaces.
        let name = name.split('\t').next().unwrap_or_default();
        if name == NO_FILE {
            return Ok(None);
        }
        match name.strip_prefix(prefix) {
            Some(path) => self.path(path).map(Some),
            None => self.wrong(format!("the name does not begin with {prefix}; `git diff` writes that")),
        }
    }

    /// A path that means one file within the repository, and the same to every program.
    fn path(&self, path: &str) -> Result<String, DiffError> {
        let odd = |c: char| {
            c.is_control() || matches!(c, '\\' | '"' | ':' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        };
        if path.contains(odd) {
            return self.wrong("the path has a character that no source file needs");
        }
        for part in path.split('/') {
            let is_odd = matches!(part, "" | "." | "..")
                || part.trim_end_matches(['.', ' ']).eq_ignore_ascii_case(".git")
                || part.eq_ignore_ascii_case(".gitmodules");
            if is_odd {
                return self.wrong(format!("the path has the part {part:?}, which leads out of the sources"));
            }
        }
        Ok(path.to_owned())
    }

    /// The lines added and taken away, of all hunks of a file.
    fn hunks(&mut self, change: Change) -> Result<(usize, usize), DiffError> {
        let (mut added, mut deleted) = (0, 0);
        let mut behind = 0;
        while let Some(line) = self.peek().filter(|line| line.starts_with("@@")) {
            let Some(hunk) = Hunk::read(line) else { return self.wrong("this is no head of a hunk") };
            if hunk.old_start < behind {
                return self.wrong("hunks overlap, or stand in another order than the file");
            }
            behind = hunk.old_start.saturating_add(hunk.old);
            let is_right = match change {
                Change::Added => hunk.old == 0,
                Change::Deleted => hunk.new == 0,
                Change::Modified => true,
            };
            if !is_right {
                return self.wrong("a file that is added has no old lines, one that is taken away no new ones");
            }
            self.at += 1;
            let (more, fewer) = self.hunk(&hunk)?;
            added += more;
            deleted += fewer;
        }
        if added + deleted == 0 {
            return self.wrong("no lines of the file are changed");
        }
        Ok((added, deleted))
    }

    fn hunk(&mut self, hunk: &Hunk) -> Result<(usize, usize), DiffError> {
        let (mut old, mut new) = (0, 0);
        let (mut added, mut deleted) = (0, 0);
        while old < hunk.old || new < hunk.new {
            // Behind the last line end stands nothing.
            let is_end = self.at + 1 >= self.lines.len();
            let Some(line) = self.peek().filter(|line| !(is_end && line.is_empty())) else {
                return self.wrong("the diff ends within a hunk");
            };
            match line.as_bytes().first() {
                Some(b' ') => {
                    old += 1;
                    new += 1;
                }
                Some(b'+') => {
                    new += 1;
                    added += 1;
                }
                Some(b'-') => {
                    old += 1;
                    deleted += 1;
                }
                Some(b'\\') => {}
                _ => return self.wrong("a line of a hunk begins with a space, + or -"),
            }
            if old > hunk.old || new > hunk.new {
                return self.wrong("the hunk has more lines than its head says");
            }
            self.at += 1;
        }
        if self.peek().is_some_and(|line| line.starts_with('\\')) {
            self.at += 1;
        }
        match self.peek().and_then(|line| line.as_bytes().first()) {
            Some(b' ' | b'+' | b'\\') => self.wrong("the hunk has more lines than its head says"),
            Some(b'-') if !self.peek().is_some_and(|line| line.starts_with("--- ")) => {
                self.wrong("the hunk has more lines than its head says")
            }
            _ => Ok((added, deleted)),
        }
    }
}

/// `@@ -OLD_START,OLD +NEW_START,NEW @@`
struct Hunk {
    old_start: usize,
    old: usize,
    new: usize,
}

impl Hunk {
    fn read(line: &str) -> Option<Self> {
        let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
        let (new, _) = rest.split_once(" @@")?;
        let ((old_start, old), (_, new)) = (range(old)?, range(new)?);
        Some(Self { old_start, old, new })
    }
}

/// `START,COUNT`, or `START` for one line.
fn range(text: &str) -> Option<(usize, usize)> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match text.split_once(',') {
        Some((start, count)) => Some((number(start)?, number(count)?)),
        None => Some((number(text)?, 1)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "diff --git a/pay/rounding.go b/pay/rounding.go\nindex 83db48f..bf2f3a1 100644\n\
                       --- a/pay/rounding.go\n+++ b/pay/rounding.go\n@@ -1,3 +1,3 @@ func Round\n a\n-b\n+c\n d\n";

    fn why(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    /// What git prints for a change, a new file, a new empty one and one that is taken away is read, with its lines.
    #[test]
    fn diffs_of_git_are_read() {
        let text = format!(
            "{ONE}diff --git a/a b.py b/a b.py\nnew file mode 100644\nindex 0000000..1269488\n--- /dev/null\n+++ b/a b.py\t\n\
             @@ -0,0 +1,2 @@\n+one\n+two\n\\ No newline at end of file\n\
             diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n\
             diff --git a/old b/old\ndeleted file mode 100644\nindex 5626abf..0000000\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        );
        let files = parse(&text).unwrap();
        let told: Vec<_> =
            files.iter().map(|file| (file.path.as_str(), file.change, file.added, file.deleted)).collect();
        assert_eq!(
            told,
            [
                ("pay/rounding.go", Change::Modified, 1, 1),
                ("a b.py", Change::Added, 2, 0),
                ("e", Change::Added, 0, 0),
                ("old", Change::Deleted, 0, 1),
            ]
        );
        let plain = "--- a/x\t2026-11-16 12:00\n+++ b/x\t2026-11-16 12:01\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(parse(plain).unwrap().len(), 1);
    }

    /// Whatever is not a change of text in a plain file of the repository is refused, by a message that names the line.
    #[test]
    fn everything_else_is_refused() {
        let header = "diff --git a/x b/x\n";
        for (text, wanted) in [
            (String::new(), "no change"),
            (String::from("From 0a: a mail\n"), "line 1: this is no line of a diff"),
            (format!("{header}old mode 100644\nnew mode 100755\n"), "line 2: the mode"),
            (format!("{header}new file mode 100755\n"), "of this mode"),
            (format!("{header}new file mode 120000\n"), "symbolic link"),
            (format!("{header}index 1..2 160000\n--- a/x\n"), "submodule"),
            (format!("{header}GIT binary patch\n"), "binary"),
            (format!("{header}Binary files a/x and b/x differ\n"), "binary"),
            (String::from("diff --git a/x b/y\nsimilarity index 100%\n"), "renames"),
            (format!("{header}rename from x\n"), "renamed"),
            (String::from("--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n"), "another name"),
            (String::from("--- x\n+++ x\n@@ -1 +1 @@\n-a\n+b\n"), "begin with a/"),
            (format!("{header}--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n"), "agree"),
            (format!("{header}--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+b\n"), "agree"),
            (format!("{header}index 1..2\n"), "no lines"),
            (ONE.replace("pay/", "../"), "\"..\""),
            (ONE.replace("pay/", "/"), "\"\""),
            (ONE.replace("pay/", ".GIT/"), ".GIT"),
            (ONE.replace("pay/rounding.go", ".gitmodules"), ".gitmodules"),
            (ONE.replace("pay/", "p\\y/"), "character"),
            (ONE.replace('\n', "\r\n"), "carriage returns"),
            (format!("{ONE}{ONE}"), "second time"),
            (ONE.replace("@@ -1,3 +1,3", "@@ -1,4 +1,4"), "ends within"),
            (ONE.replace("@@ -1,3 +1,3", "@@ -1,2 +1,2"), "more lines"),
            (ONE.replace("@@ -1,3 +1,3", "@@ -1,x +1,3"), "head of a hunk"),
            (format!("{ONE}@@ -2 +2 @@\n-a\n+b\n"), "overlap"),
            (ONE.replace("\n-b\n+c", "\n b\n c").replace("-1,3 +1,3", "-1,4 +1,4"), "no lines"),
            (format!("diff --cc x\n{ONE}"), "no line of a diff"),
        ] {
            let why = why(&text);
            assert!(why.starts_with("line ") && why.contains(wanted), "{why} has {wanted}: {text}");
        }
    }

    /// Lines of a hunk as a diff writes them: kept, taken away, added.
    fn lines() -> impl Strategy<Value = Vec<(char, String)>> {
        let sign = prop_oneof![Just(' '), Just('-'), Just('+')];
        let lines = prop::collection::vec((sign, "[a-z +@-]{0,6}\r?"), 1..12);
        lines.prop_filter("something changes", |lines| lines.iter().any(|(sign, _)| *sign != ' '))
    }

    fn written(path: &str, lines: &[(char, String)]) -> String {
        let count = |signs: [char; 2]| lines.iter().filter(|(sign, _)| signs.contains(sign)).count();
        let (old, new) = (count([' ', '-']), count([' ', '+']));
        let mut text = format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1,{old} +1,{new} @@\n");
        lines.iter().for_each(|(sign, line)| text.push_str(&format!("{sign}{line}\n")));
        text
    }

    proptest! {
        /// Whatever the lines, also such that look like heads of files and hunks, the files and their counts are those
        /// that were written; and without its last line such a diff is refused.
        #[test]
        fn what_is_written_is_read(files in prop::collection::btree_map("[a-c]{1,3}(/[a-c]{1,3}){0,2}", lines(), 1..4)) {
            let text: String = files.iter().map(|(path, lines)| written(path, lines)).collect();
            let read = parse(&text).unwrap();
            prop_assert_eq!(read.len(), files.len());
            for (file, (path, lines)) in read.iter().zip(&files) {
                prop_assert_eq!(&file.path, path);
                prop_assert_eq!(file.added, lines.iter().filter(|(sign, _)| *sign == '+').count());
                prop_assert_eq!(file.deleted, lines.iter().filter(|(sign, _)| *sign == '-').count());
            }
            let whole: Vec<&str> = text.lines().collect();
            let cut = whole[..whole.len() - 1].join("\n");
            prop_assert!(parse(&cut).is_err());
        }

        /// No text makes it panic, and what it accepts has paths within the repository.
        #[test]
        fn no_text_panics(text in "(diff --git a/x b/x|--- a/x|\\+\\+\\+ b/x|@@ -1 \\+1 @@|\\+|-| |\n|\\PC){0,40}") {
            for file in parse(&text).unwrap_or_default() {
                prop_assert!(!file.path.split('/').any(|part| part.is_empty() || part == ".."));
            }
        }
    }
}
