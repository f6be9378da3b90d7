//! What can be completed at the prompt, and when a statement is whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tracerag_query::table_functions;

use super::Asked;
use crate::error::Error;

/// Keywords that analysts write.
const KEYWORDS: [&str; 58] = [
    "and",
    "approx_percentile_cont",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "count",
    "cross",
    "date_bin",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "exists",
    "explain",
    "extract",
    "false",
    "filter",
    "from",
    "full",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "intersect",
    "interval",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "not",
    "now",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "recursive",
    "right",
    "select",
    "show",
    "then",
    "true",
    "union",
    "using",
    "when",
    "where",
    "with",
];

/// Tables with their columns, functions and keywords.
#[derive(Debug, Default)]
pub(super) struct Words {
    tables: BTreeMap<String, BTreeSet<String>>,
    others: BTreeSet<String>,
}

impl Words {
    /// Those of the lake or server.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) async fn read(asked: &Asked<'_>) -> Result<Self, Error> {
        let mut words = Self::default();
        let columns = "select table_name, column_name from information_schema.columns where table_schema = 'public'";
        for row in asked.rows(columns).await? {
            let (Some(table), Some(column)) = (text(&row, "table_name"), text(&row, "column_name")) else { continue };
            words.tables.entry(table).or_default().insert(column);
        }
        let functions = "select distinct routine_name from information_schema.routines";
        words.others.extend(asked.rows(functions).await?.iter().filter_map(|row| text(row, "routine_name")));
        words.others.extend(table_functions().map(|(name, _)| name.to_owned()));
        words.others.extend(KEYWORDS.map(str::to_owned));
        Ok(words)
    }

    /// Where the word begins that ends this text, and what it may become. After a table's name and a dot these are its
    /// columns. A word in capitals stays in capitals where it is a keyword or function.
    pub(super) fn complete(&self, text: &str) -> (usize, Vec<String>) {
        let begin = text
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map_or(0, |last| last + text.get(last..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8));
        let (before, word) = text.split_at(begin);
        let lower = word.to_lowercase();
        let fits = |name: &&String| name.to_lowercase().starts_with(&lower);
        if let Some(qualified) = before.strip_suffix('.') {
            let table = qualified.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
            let columns: BTreeSet<String> = match self.tables.get(&table.to_lowercase()) {
                Some(columns) => columns.iter().filter(fits).cloned().collect(),
                // It may be an alias of any table.
                None => self.tables.values().flatten().filter(fits).cloned().collect(),
            };
            return (begin, columns.into_iter().collect());
        }
        if word.is_empty() {
            return (begin, vec![]);
        }
        let is_upper = word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase);
        let names = self.tables.keys().chain(self.tables.values().flatten());
        let mut found: BTreeSet<String> = names.filter(fits).cloned().collect();
        let others = self.others.iter().filter(fits);
        found.extend(others.map(|word| if is_upper { word.to_uppercase() } else { word.clone() }));
        (begin, found.into_iter().collect())
    }
}

fn text(row: &Value, column: &str) -> Option<String> {
    row.get(column)?.as_str().map(str::to_owned)
}

/// Whether a text can be asked: it is empty, a short form or a way to leave, or ends with a semicolon that stands neither
/// in a text nor in a comment.
pub(super) fn is_whole(text: &str) -> bool {
    let trimmed = text.trim();
    if trimmed.is_empty()
        || trimmed.starts_with('\\')
        || matches!(trimmed.to_ascii_lowercase().as_str(), "exit" | "quit")
    {
        return true;
    }
    let mut ends = false;
    let mut rest = trimmed.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => {
                // A doubled quote ends one text and begins another, which is the same here.
                if !rest.by_ref().any(|other| other == c) {
                    return false;
                }
                ends = false;
            }
            '-' if rest.peek() == Some(&'-') => {
                rest.by_ref().find(|other| *other == '\n');
            }
            '/' if rest.peek() == Some(&'*') => {
                let mut last = ' ';
                let mut is_closed = false;
                rest.next();
                for other in rest.by_ref() {
                    if last == '*' && other == '/' {
                        is_closed = true;
                        break;
                    }
                    last = other;
                }
                if !is_closed {
                    return false;
                }
            }
            ';' => ends = true,
            c if c.is_whitespace() => {}
            _ => ends = false,
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Words {
            tables: BTreeMap::from([
                ("spans".to_owned(), columns(&["service_name", "span_id"])),
                ("traces".to_owned(), columns(&["services", "trace_id"])),
            ]),
            others: columns(&["select", "trace_tree"]),
        }
    }

    /// Tables, columns, functions and keywords are completed, and after a table's name its columns only; what follows
    /// an alias may be a column of any table.
    #[test]
    fn words_are_completed() {
        let words = words();
        assert_eq!(words.complete("SEL"), (0, vec!["SELECT".to_owned()]));
        assert_eq!(words.complete("select tra").1, ["trace_id", "trace_tree", "traces"]);
        assert_eq!(words.complete("select * from spans where spans.se"), (32, vec!["service_name".to_owned()]));
        assert_eq!(words.complete("select t.ser").1, ["service_name", "services"]);
        assert_eq!(words.complete("select größe, s").0, "select größe, ".len());
        assert_eq!(words.complete("select "), (7, vec![]));
    }

    /// A statement ends with a semicolon, but not with one in a text, a name or a comment.
    #[test]
    fn a_statement_is_whole_with_its_semicolon() {
        for whole in ["", "\\d spans", "quit", "select 1;", "select ';' ;  ", "select 1; -- done", "select 'it''s';"] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in ["select 1", "select ';", "select 1 -- ;", "select /* ; ", "select \";", "select 1; select 2"] {
            assert!(!is_whole(open), "{open}");
        }
    }
}
