//! The function round a line, by the grammar of its language.

use tree_sitter::{Language, Node, Parser, Point};

/// Bytes of a file beyond which it is not parsed.
const MAX_PARSED: usize = 2 << 20;
/// Lines above and below a line that no function encloses.
const AROUND: usize = 10;

/// Lines of a file, counted from 1, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    pub first: usize,
    pub last: usize,
    /// The function that they are, if they are one.
    pub function: Option<String>,
}

/// A language with a grammar.
struct Grammar {
    /// As fences name it.
    name: &'static str,
    language: fn() -> Language,
    /// Kinds of nodes that are functions with a name, and those without.
    named: &'static [&'static str],
    anonymous: &'static [&'static str],
}

static GO: Grammar = Grammar {
    name: "go",
    language: || tree_sitter_go::LANGUAGE.into(),
    named: &["function_declaration", "method_declaration"],
    anonymous: &["func_literal"],
};
static JAVA: Grammar = Grammar {
    name: "java",
    language: || tree_sitter_java::LANGUAGE.into(),
    named: &["method_declaration", "constructor_declaration", "compact_constructor_declaration"],
    anonymous: &["static_initializer", "lambda_expression"],
};
static JAVASCRIPT: Grammar = Grammar {
    name: "javascript",
    language: || tree_sitter_javascript::LANGUAGE.into(),
    named: &["function_declaration", "generator_function_declaration", "method_definition"],
    anonymous: &["arrow_function", "function_expression", "generator_function"],
};
static PYTHON: Grammar = Grammar {
    name: "python",
    language: || tree_sitter_python::LANGUAGE.into(),
    named: &["function_definition"],
    anonymous: &["lambda"],
};

fn grammar(path: &str) -> Option<&'static Grammar> {
    Some(match path.rsplit_once('.')?.1 {
        "go" => &GO,
        "java" => &JAVA,
        "js" | "jsx" | "mjs" | "cjs" => &JAVASCRIPT,
        "py" | "pyi" => &PYTHON,
        _ => return None,
    })
}

/// The info string of a fence round a file's text.
pub(crate) fn language(path: &str) -> &'static str {
    grammar(path).map_or("text", |grammar| grammar.name)
}

/// The innermost function with a name round a line, else one without, else the lines near it. `None` where the file has
/// no such line.
pub(crate) fn enclosing(path: &str, text: &str, line: usize) -> Option<Lines> {
    let row = line.checked_sub(1)?;
    let content = text.lines().nth(row)?;
    let function = grammar(path).filter(|_| text.len() <= MAX_PARSED).and_then(|grammar| {
        let column = content.len() - content.trim_start().len();
        function(grammar, text, Point { row, column })
    });
    Some(function.unwrap_or_else(|| Lines {
        first: line.saturating_sub(AROUND).max(1),
        last: (line + AROUND).min(text.lines().count()),
        function: None,
    }))
}

fn function(grammar: &Grammar, text: &str, at: Point) -> Option<Lines> {
    let mut parser = Parser::new();
    parser.set_language(&(grammar.language)()).ok()?;
    let tree = parser.parse(text, None)?;
    let mut above = tree.root_node().descendant_for_point_range(at, at);
    let mut anonymous = None;
    while let Some(node) = above {
        if grammar.named.contains(&node.kind()) {
            return Some(lines_of(node, text));
        }
        if anonymous.is_none() && grammar.anonymous.contains(&node.kind()) {
            anonymous = Some(node);
        }
        above = node.parent();
    }
    anonymous.map(|node| lines_of(node, text))
}

fn lines_of(node: Node<'_>, text: &str) -> Lines {
    let name = node.child_by_field_name("name").and_then(|name| name.utf8_text(text.as_bytes()).ok());
    // A decorator stands before its function, and belongs to it.
    let whole = node.parent().filter(|parent| parent.kind() == "decorated_definition").unwrap_or(node);
    let end = whole.end_position();
    // A node that ends where a line begins does not have that line.
    let last = if end.column == 0 { end.row } else { end.row + 1 };
    Lines { first: whole.start_position().row + 1, last, function: name.map(str::to_owned) }
}
