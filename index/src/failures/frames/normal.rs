//! What of a frame stays the same from build to build.

use std::borrow::Cow;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::in_app::java_class;
use super::{Frame, Language};
use crate::failures::mask::mask;

/// What Java's reflection calls through, `GeneratedMethodAccessor12`.
const GENERATED: &str = "GeneratedMethodAccessor";

/// Frames as grouping sees them: function and file without lines, folders of one installation, and
/// names that compilers make up (`$$Lambda$12`, `d__7`, `::h0123456789abcdef`).
///
/// A program has few files, so the name of each is masked once in the life of this.
#[derive(Debug, Default)]
pub struct FrameKeys {
    /// Names of files as [`shown_file`] gives them, and what masking makes of them.
    masked: FxHashMap<Box<str>, Box<str>>,
    /// Room for the next key.
    key: String,
}

impl FrameKeys {
    /// The key of a frame: what two calls of one place have in common.
    pub fn of(&mut self, frame: &Frame, language: Language) -> Rc<str> {
        self.key.clear();
        if let Some(function) = frame.function.as_deref() {
            self.key.push_str(&normal_function(function, language));
        }
        self.key.push('@');
        if let Some(file) = frame.file.as_deref() {
            let file = shown_file(file, language);
            match self.masked.get(&*file) {
                Some(masked) => self.key.push_str(masked),
                None => {
                    // Bundlers and releases put hashes and numbers into names.
                    let masked = mask(&file);
                    self.key.push_str(&masked);
                    self.masked.insert(file.into(), masked.into());
                }
            }
        }
        self.key.as_str().into()
    }
}

fn normal_function(function: &str, language: Language) -> Cow<'_, str> {
    let kept = match language {
        Language::Java => {
            let marks: &[&str] = match function.contains('$') {
                true => &["$$Lambda", "$$EnhancerBy", "$$FastClassBy", "$$SpringCGLIB", "$Proxy", GENERATED],
                false => &[GENERATED],
            };
            // `lambda$place$3` is a lambda of `place`.
            without_digits_behind(java_class(cut(function, marks)), '$')
        }
        Language::DotNet => {
            // `Shop.Cart.<AddAsync>d__7.MoveNext` is the body of `AddAsync`.
            match function.split_once('<').and_then(|(head, rest)| Some((head, rest.split_once('>')?.0))) {
                Some((head, inner)) if !inner.is_empty() => return Cow::Owned([head, inner].concat()),
                _ => cut(function, &["`", "[["]),
            }
        }
        Language::Rust => {
            let hash = function.rfind("::h").filter(|at| {
                let tail = &function[at + 3..];
                tail.len() == 16 && tail.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            hash.map_or(function, |at| &function[..at])
        }
        Language::Ruby => {
            // Before 3.4 a block is `block (2 levels) in add`, and the class is missing.
            function.rsplit(" in ").next().unwrap_or(function)
        }
        Language::Go | Language::Python | Language::JavaScript | Language::Php => function,
    };
    Cow::Borrowed(kept)
}

fn cut<'t>(name: &'t str, marks: &[&str]) -> &'t str {
    let end = marks.iter().filter_map(|mark| name.find(mark)).min().unwrap_or(name.len());
    &name[..end]
}

fn without_digits_behind(name: &str, mark: char) -> &str {
    let trimmed = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let generated = trimmed.len() < name.len() && trimmed.ends_with(mark);
    if generated { trimmed.trim_end_matches(mark) } else { name }
}

/// The last folder and the name; of Java and .NET the name alone, for the class names the folder.
fn shown_file(file: &str, language: Language) -> Cow<'_, str> {
    let plain = file.split(['?', '#']).next().unwrap_or(file);
    let mut parts = plain.rsplit(['/', '\\']).filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or_default();
    match (language, parts.next()) {
        (Language::Java | Language::DotNet, _) | (_, None) => Cow::Borrowed(name),
        (_, Some(folder)) => {
            let is_shown = |tail: &&str| {
                tail.strip_prefix(folder).and_then(|tail| tail.strip_prefix('/')).is_some_and(|tail| tail == name)
            };
            let tail = plain.len().checked_sub(folder.len() + 1 + name.len()).and_then(|at| plain.get(at..));
            match tail.filter(is_shown) {
                Some(shown) => Cow::Borrowed(shown),
                None => Cow::Owned([folder, "/", name].concat()),
            }
        }
    }
}
