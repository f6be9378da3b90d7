//! The prompt of `tracerag sql`: lines with history and completion, each statement until its semicolon.

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Editor, Helper};

use super::words::{Words, is_whole};
use super::{Asked, SqlArgs};
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// What stands before a statement.
const PROMPT: &str = "tracerag> ";
/// Statements that are remembered.
const REMEMBERED: usize = 1_000;

const HELP: &str = "\
a statement ends with ;    it may have several lines
\\d                         tables and views
\\d NAME                    columns of a table or view
\\?                         this help
\\q                         leave, as Ctrl-D does
Tab completes names, arrows and Ctrl-R look into what was asked before, Ctrl-C gives a statement up
";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Nothing,
    Leave,
    Help,
    Unknown(String),
    /// A statement, or what a short form stands for.
    Ask(String),
}

impl Line {
    fn of(text: &str) -> Self {
        let text = text.trim();
        let Some(short) = text.strip_prefix('\\') else {
            return match text.trim_end_matches(';').trim().to_ascii_lowercase().as_str() {
                "" => Self::Nothing,
                "exit" | "quit" => Self::Leave,
                _ => Self::Ask(text.to_owned()),
            };
        };
        let mut words = short.trim_end_matches(';').split_whitespace();
        match (words.next(), words.next()) {
            (Some("q"), None) => Self::Leave,
            (Some("?"), None) => Self::Help,
            (Some("d"), None) => Self::Ask(String::from(
                "select table_name, table_type from information_schema.tables where table_schema = 'public' order by 1",
            )),
            (Some("d"), Some(name)) => Self::Ask(format!(
                "select column_name, data_type from information_schema.columns where table_schema = 'public' and \
                 table_name = '{}' order by ordinal_position",
                name.to_lowercase().replace('\'', "''")
            )),
            _ => Self::Unknown(text.to_owned()),
        }
    }
}

/// Asks until the user leaves. What is wrong with a statement is said, and the next one is waited for.
pub(super) async fn run(context: &Context, args: &SqlArgs) -> Result<(), Error> {
    let asked = Asked::of(context);
    let words = Words::read(&asked).await?;
    let config = Config::builder()
        .max_history_size(REMEMBERED)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(failed)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let mut editor: Editor<Prompt, DefaultHistory> = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Prompt { words }));
    let history = history();
    if let Some(history) = &history {
        // There is none before the first time.
        let _ = editor.load_history(history);
    }
    output::note("\\? helps, \\q leaves");
    loop {
        let text = match editor.readline(PROMPT) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if let Some(history) = &history
            && let Err(error) = editor.append_history(history)
        {
            tracing::debug!(%error, "what was asked is not remembered");
        }
        match Line::of(&text) {
            Line::Nothing => {}
            Line::Leave => return Ok(()),
            Line::Help => output::note(HELP.trim_end()),
            Line::Unknown(text) => output::note(&format!("{text} is nothing here; \\? lists what there is")),
            Line::Ask(script) => {
                if let Err(error) = asked.script(&script, args.format).await {
                    output::error(&error);
                }
            }
        }
    }
}

fn failed(error: ReadlineError) -> Error {
    Error::io("read from the terminal")(std::io::Error::other(error))
}

/// Where statements are remembered: in the folder for states of the user's programs, as the XDG says.
fn history() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let states = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = states.join("tracerag");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}

/// What the editor of lines asks while somebody types.
struct Prompt {
    words: Words,
}

impl Helper for Prompt {}
impl Highlighter for Prompt {}

impl Hinter for Prompt {
    type Hint = String;
}

impl Completer for Prompt {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.words.complete(line.get(..position).unwrap_or(line)))
    }
}

impl Validator for Prompt {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements, short forms, and ways to leave; a name in a short form cannot become SQL.
    #[test]
    fn lines_are_understood() {
        assert_eq!(Line::of("select 1;"), Line::Ask("select 1;".to_owned()));
        assert_eq!(Line::of("  ; "), Line::Nothing);
        for leave in ["\\q", "quit;", "EXIT"] {
            assert_eq!(Line::of(leave), Line::Leave, "{leave}");
        }
        assert_eq!(Line::of("\\?"), Line::Help);
        assert_eq!(Line::of("\\x"), Line::Unknown("\\x".to_owned()));
        let Line::Ask(columns) = Line::of("\\d Spans'") else { unreachable!("\\d asks") };
        assert!(columns.contains("table_name = 'spans'''"), "{columns}");
    }
}
