//! The code that a bundle's evidence points to, out of the repositories of its services.

mod digest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracerag_query::prompt::{Code, CodeSlice};
use tracerag_query::untrusted::line;
use tracerag_schemas::bundle::Bundle;

use crate::repository::{
    Cited, Commit, How, Locator, Place, Prefix, Repository, RepositoryError, cited, enclosing, language,
};

/// A service of this name stands for every one without a repository of its own.
pub(crate) const EVERY_SERVICE: &str = "*";
/// Lines of a function that are shown; of a longer one, those round what is cited.
const MOST_LINES: usize = 80;
/// Lines above and below a cited one in the shorter form.
const FEW_AROUND: usize = 6;
/// Bytes of a source file that is read.
const MAX_BYTES: u64 = 4 << 20;
/// Pieces of source at most.
const MOST_SLICES: usize = 40;

/// Which repository a service is built from.
pub(crate) type Repositories = BTreeMap<String, Repository>;

/// Reads the code round every line that the bundle cites, at the commits of its builds. The same bundle and repositories
/// give the same code.
///
/// # Errors
/// When a repository cannot be read, or does not have the commit that its service ran.
pub(crate) fn gather(
    bundle: &Bundle,
    repositories: &Repositories,
    prefixes: &[Prefix],
) -> Result<Code, RepositoryError> {
    let cited = cited(bundle);
    let mut code = Code::default();
    let mut without = BTreeMap::new();
    // By commit of a repository, in the order in which they are cited.
    let mut sources: Vec<(&Repository, &str, Vec<&Cited>)> = Vec::new();
    for cited in &cited {
        let service = cited.service.as_deref().unwrap_or_default();
        let Some(repository) = repositories.get(service).or_else(|| repositories.get(EVERY_SERVICE)) else {
            *without.entry(line(service)).or_insert(0_usize) += 1;
            continue;
        };
        match sources.iter_mut().find(|(known, sha, _)| *known == repository && *sha == cited.sha) {
            Some((_, _, lines)) => lines.push(cited),
            None => sources.push((repository, &cited.sha, vec![cited])),
        }
    }
    let mut pieces = Vec::new();
    for (repository, sha, lines) in sources {
        let commit = repository.commit(sha)?;
        let services: BTreeSet<&str> = lines.iter().filter_map(|cited| cited.service.as_deref()).collect();
        let services: Vec<&str> = services.into_iter().collect();
        code.repositories.push(digest::digest(&line(&services.join(", ")), &commit));
        pieces.extend(of_commit(&commit, &lines, prefixes, &mut code.notes)?);
    }
    // What is thrown first is told first, whichever service it is of.
    let place = |piece: &Piece| cited.iter().position(|cited| Some(&cited.anchor) == piece.anchors.first());
    pieces.sort_by_key(place);
    let more = pieces.len().saturating_sub(MOST_SLICES);
    if more > 0 {
        code.notes.push(format!("{more} more functions are cited; there are {MOST_SLICES} at most"));
    }
    code.slices = pieces.iter().take(MOST_SLICES).map(Piece::slice).collect();
    for (service, count) in without {
        let service = if service.is_empty() { "services without a name" } else { service.as_str() };
        code.notes.push(format!("{service}: {count} cited lines, and no repository was named (--repo SERVICE=PATH)"));
    }
    code.notes.extend(unknown_commits(bundle));
    Ok(code)
}

/// Frames that no commit is known for.
fn unknown_commits(bundle: &Bundle) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for failure in &bundle.evidence.failures {
        let frames = failure.frames.iter().filter(|frame| frame.in_app != Some(false) && frame.anchor.is_none());
        match frames.count() {
            0 => {}
            count => *counts.entry(line(failure.service.as_deref().unwrap_or_default())).or_default() += count,
        }
    }
    let note = |(service, count): (String, usize)| {
        format!("{service}: {count} frames have no file, no line, or no commit of their build")
    };
    counts.into_iter().map(note).collect()
}

/// A function, or lines, with everything that points into it.
struct Piece {
    path: String,
    commit: String,
    text: Arc<str>,
    first: usize,
    last: usize,
    function: Option<String>,
    /// How the file was found, where that is not certain.
    only_by_name: bool,
    anchors: Vec<String>,
    cited: Vec<usize>,
}

fn of_commit(
    commit: &Commit,
    lines: &[&Cited],
    prefixes: &[Prefix],
    notes: &mut Vec<String>,
) -> Result<Vec<Piece>, RepositoryError> {
    let locator = Locator::new(commit, prefixes)?;
    let mut texts: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let mut pieces: Vec<Piece> = Vec::new();
    for cited in lines {
        let mut note = |why: String| notes.push(format!("{}: {why}", line(&cited.anchor)));
        let (path, how) = match locator.find(&cited.file, cited.function.as_deref()) {
            Place::One { path, how } => (path, how),
            Place::Several(paths) => {
                note(format!("ambiguous, it may be {}", line(&paths.join(", "))));
                continue;
            }
            Place::Nowhere => {
                note(format!("commit {} has no such file", commit.short()));
                continue;
            }
        };
        let text = match texts.get(&path) {
            Some(text) => Arc::clone(text),
            None => {
                let Some(entry) = commit.files.get(&path).filter(|entry| entry.size <= MAX_BYTES) else {
                    note(format!("{} has more than {MAX_BYTES} bytes", line(&path)));
                    continue;
                };
                let text: Arc<str> = String::from_utf8_lossy(&commit.read(entry)?).into();
                texts.insert(path.clone(), Arc::clone(&text));
                text
            }
        };
        let Some(found) = enclosing(&path, &text, cited.line) else {
            note(format!("{} has no line {}", line(&path), cited.line));
            continue;
        };
        match pieces
            .iter_mut()
            .find(|piece| piece.path == path && (piece.first, piece.last) == (found.first, found.last))
        {
            Some(piece) => {
                piece.anchors.push(cited.anchor.clone());
                piece.cited.push(cited.line);
            }
            None => pieces.push(Piece {
                text,
                path,
                commit: commit.short().to_owned(),
                first: found.first,
                last: found.last,
                function: found.function,
                only_by_name: how == How::Name,
                anchors: vec![cited.anchor.clone()],
                cited: vec![cited.line],
            }),
        }
    }
    Ok(pieces)
}

impl Piece {
    fn slice(&self) -> CodeSlice {
        let cited = self.cited.first().copied().unwrap_or(self.first);
        let around = |lines: usize| (self.first.max(cited.saturating_sub(lines)), self.last.min(cited + lines));
        let (first, last) =
            if self.last - self.first < MOST_LINES { (self.first, self.last) } else { around(MOST_LINES / 2) };
        let few = around(FEW_AROUND);
        let of = match &self.function {
            Some(function) => format!(", function {} (lines {} to {})", line(function), self.first, self.last),
            None => String::new(),
        };
        let anchors: Vec<String> = self.anchors.iter().map(|anchor| format!("[{}]", line(anchor))).collect();
        let doubt = if self.only_by_name { "; only the file's name agrees with the stack" } else { "" };
        CodeSlice {
            title: format!(
                "{} at {}{of} {}{doubt}. `>` marks the cited lines.",
                line(&self.path),
                self.commit,
                anchors.join(" ")
            ),
            language: language(&self.path),
            text: self.numbered(first, last),
            shorter: (few != (first, last)).then(|| self.numbered(few.0, few.1)),
        }
    }

    fn numbered(&self, first: usize, last: usize) -> String {
        let mut text = String::new();
        for (number, content) in (1..).zip(self.text.lines()).skip(first - 1).take(last + 1 - first) {
            let mark = if self.cited.contains(&number) { '>' } else { ' ' };
            text.push_str(format!("{mark}{number:>5}  {content}").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests;
