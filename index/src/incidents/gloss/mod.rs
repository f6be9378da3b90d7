//! The form in which a sentence model reads a message: codes are explained, and compound names split into words.
//!
//! A small model knows the words of people, and few of those that programs use as names: `EADDRINUSE`, `SQLSTATE 57P01`,
//! `exit code 137`. So what such a code means stands before the message, in plain words ([`codes`]), and behind it the
//! words of names such as `StaleObjectStateException` ([`names`]). A question gets the same form, so that a text is still
//! nearest to itself; one without codes and such names stays as it is.
//!
//! Only what is embedded has this form: what is stored, shown, searched by words and grouped does not change by it. Each
//! version of the form has a table of vectors of its own, as each model has, so after a change everything is embedded
//! again in the background, and meanwhile the vectors of the form before answer.

mod codes;
mod names;

use std::fmt;

/// The version of the form and of the explanations. A change of either makes it one more.
const VERSION: u32 = 1;
/// What stands between a model and the version of the form in a stored name.
const MARK: &str = "+gloss";

/// In which form texts are embedded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// As they are.
    #[default]
    Plain,
    /// With codes explained and names split, by a version of the explanations.
    Glossed(u32),
}

impl Form {
    /// The form in which a sentence model reads messages now.
    pub(super) const NEWEST: Self = Self::Glossed(VERSION);

    /// This form and those that came before it, the newest first.
    pub(super) fn and_before(self) -> impl Iterator<Item = Self> {
        let versions = match self {
            Self::Plain => 0,
            Self::Glossed(version) => version,
        };
        (1..=versions).rev().map(Self::Glossed).chain([Self::Plain])
    }

    /// A text in this form. Of older versions the explanations are not kept: a question to their vectors has the newest,
    /// which differ in few words.
    pub(super) fn of(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Glossed(_) => explained(text),
        }
    }

    /// The name of a model, and the form, of a name as [`Form`] is written behind it.
    pub(super) fn of_stored(stored: &str) -> (&str, Self) {
        let parts = stored.rsplit_once(MARK).and_then(|(model, version)| Some((model, version.parse::<u32>().ok()?)));
        parts.map_or((stored, Self::Plain), |(model, version)| (model, Self::Glossed(version)))
    }
}

/// What is written behind the name of a model: nothing, or `+gloss1`.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => Ok(()),
            Self::Glossed(version) => write!(f, "{MARK}{version}"),
        }
    }
}

/// Explanations, names as words, and the text. Explanations come first: of a long text a model reads the beginning.
fn explained(text: &str) -> String {
    let (phrases, words) = (codes::phrases(text).join("; "), names::split(text));
    let words = if words == text { "" } else { words.as_str() };
    let parts: Vec<&str> = [phrases.as_str(), words, text].into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are explained before the text and names are split; plain words stay as they are, and so does every text in
    /// the plain form.
    #[test]
    fn only_what_programs_name_is_explained() {
        let text = "Error: ECONNREFUSED <ip>:6379";
        let phrase = "the connection was refused, nothing listens there, the service is not running";
        assert_eq!(explained(text), format!("{phrase}. Error: ECONNREFUSED :6379. {text}"));
        assert_eq!(
            explained("a.b.PeriodClosedException: x"),
            "Period Closed Exception: x. a.b.PeriodClosedException: x"
        );
        for plain in ["why can nobody pay in the evening?", "the disk was full", ""] {
            assert_eq!(explained(plain), plain);
        }
        assert_eq!(Form::Plain.of(text), text);
        assert_eq!(Form::NEWEST.of(text), explained(text));
    }

    /// A stored name tells model and form; a name without a version is a model's, whatever stands in it.
    #[test]
    fn stored_names_tell_the_form() {
        for (stored, model, form) in [
            ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2", Form::Plain),
            ("all-MiniLM-L6-v2+gloss7", "all-MiniLM-L6-v2", Form::Glossed(7)),
            ("own-0123456789abcdef+gloss1", "own-0123456789abcdef", Form::Glossed(1)),
            ("a+glossy", "a+glossy", Form::Plain),
        ] {
            assert_eq!(Form::of_stored(stored), (model, form), "{stored}");
            assert_eq!(format!("{model}{form}"), stored);
        }
    }

    /// Older forms are tried from the newest on, the plain one last.
    #[test]
    fn forms_have_an_order() {
        let forms = |form: Form| form.and_before().collect::<Vec<_>>();
        assert_eq!(forms(Form::Glossed(2)), [Form::Glossed(2), Form::Glossed(1), Form::Plain]);
        assert_eq!(forms(Form::Plain), [Form::Plain]);
    }
}
