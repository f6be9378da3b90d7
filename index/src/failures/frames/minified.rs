//! Which frames are those of minified or obfuscated code: their names and places say little before they are mapped
//! back, and grouping by them is only as good as one build.

use super::in_app::java_class;
use super::{Frame, Language};

/// Nobody writes lines of so many columns; minifiers put a whole file into one.
const LONG_LINE: i64 = 500;

/// Whether a frame is of minified JavaScript, or of Java that ProGuard or R8 renamed.
pub(super) fn is_minified(frame: &Frame, language: Language) -> bool {
    let file = frame.file.as_deref().unwrap_or_default();
    match language {
        Language::JavaScript => {
            let name = file.split(['?', '#']).next().unwrap_or(file);
            name.contains(".min.") || frame.column.is_some_and(|column| column >= LONG_LINE)
        }
        Language::Java => {
            // `a.b.c.d(SourceFile:12)`: the renamed names are one or two letters, whatever the package.
            let function = frame.function.as_deref().map(java_class).unwrap_or_default();
            let mut names = function.rsplit('.');
            let (method, class) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            let is_short =
                |name: &str| (1..=2).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase());
            file == "SourceFile" || file.starts_with("r8-map-id-") || (is_short(method) && is_short(class))
        }
        _ => false,
    }
}
