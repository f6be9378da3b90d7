//! Scripts: several statements in one text.

use datafusion::sql::parser::DFParser;

use crate::error::Result;
use crate::statement::refuse_changes;

/// The statements of a script, separated by semicolons; comments and semicolons within texts are no separators.
///
/// # Errors
/// When the text is no SQL, or a statement would change something: then none of them runs.
pub fn statements(script: &str) -> Result<Vec<String>> {
    let statements = DFParser::parse_sql(script)?;
    for statement in &statements {
        refuse_changes(statement)?;
    }
    // A single statement stays as it was written, so that errors point into the user's own text.
    match statements.len() {
        1 => Ok(vec![script.to_owned()]),
        _ => Ok(statements.iter().map(ToString::to_string).collect()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A semicolon within a text or a comment separates nothing; an empty script has no statements.
    #[test]
    fn separators() {
        let script = "select ';' a; -- one; two\nselect 2;";
        assert_eq!(statements(script).unwrap(), ["SELECT ';' AS a", "SELECT 2"]);
        assert_eq!(statements(" \n").unwrap(), Vec::<String>::new());
        assert_eq!(statements("select 1 -- all").unwrap(), ["select 1 -- all"]);
        assert!(statements("selec 1").is_err());
        assert!(statements("select 1; drop table spans").unwrap_err().to_string().contains("read only"));
    }
}
