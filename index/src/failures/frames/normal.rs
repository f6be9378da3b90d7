//! What of a frame stays the same from build to build.

use super::in_app::java_class;
use super::{Frame, Language};
use crate::failures::mask::mask;

/// A frame as grouping sees it: function and file without lines, folders of one installation, and
/// names that compilers make up (`$$Lambda$12`, `d__7`, `::h0123456789abcdef`).
#[must_use]
pub fn frame_key(frame: &Frame, language: Language) -> String {
    let function = frame.function.as_deref().map(|function| normal_function(function, language)).unwrap_or_default();
    let file = frame.file.as_deref().map(|file| normal_file(file, language)).unwrap_or_default();
    format!("{function}@{file}")
}

fn normal_function(function: &str, language: Language) -> String {
    match language {
        Language::Java => {
            let name = cut(
                function,
                &["$$Lambda", "$$EnhancerBy", "$$FastClassBy", "$$SpringCGLIB", "$Proxy", "GeneratedMethodAccessor"],
            );
            // `lambda$place$3` is a lambda of `place`.
            without_digits_behind(java_class(name), '$')
        }
        Language::DotNet => {
            // `Shop.Cart.<AddAsync>d__7.MoveNext` is the body of `AddAsync`.
            match function.split_once('<').and_then(|(head, rest)| Some((head, rest.split_once('>')?.0))) {
                Some((head, inner)) if !inner.is_empty() => format!("{head}{inner}"),
                _ => cut(function, &["`", "[["]).to_owned(),
            }
        }
        Language::Rust => {
            let hash = function.rfind("::h").filter(|at| {
                let tail = &function[at + 3..];
                tail.len() == 16 && tail.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            hash.map_or(function, |at| &function[..at]).to_owned()
        }
        Language::Ruby => {
            // Before 3.4 a block is `block (2 levels) in add`, and the class is missing.
            function.rsplit(" in ").next().unwrap_or(function).to_owned()
        }
        Language::Go | Language::Python | Language::JavaScript | Language::Php => function.to_owned(),
    }
}

fn cut<'t>(name: &'t str, marks: &[&str]) -> &'t str {
    let end = marks.iter().filter_map(|mark| name.find(mark)).min().unwrap_or(name.len());
    &name[..end]
}

fn without_digits_behind(name: &str, mark: char) -> String {
    let trimmed = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let generated = trimmed.len() < name.len() && trimmed.ends_with(mark);
    (if generated { trimmed.trim_end_matches(mark) } else { name }).to_owned()
}

/// The last folder and the name; of Java and .NET the name alone, for the class names the folder.
fn normal_file(file: &str, language: Language) -> String {
    let plain = file.split(['?', '#']).next().unwrap_or(file);
    let mut parts = plain.rsplit(['/', '\\']).filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or_default();
    let shown = match (language, parts.next()) {
        (Language::Java | Language::DotNet, _) | (_, None) => name.to_owned(),
        (_, Some(folder)) => format!("{folder}/{name}"),
    };
    // Bundlers and releases put hashes and numbers into names.
    mask(&shown)
}
