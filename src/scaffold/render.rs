//! Facts into the template of a language. What a template puts out is a literal, a comment or a number; anything else is
//! an error, so that a forgotten filter cannot let text of others into a source.

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::Facts;
use super::escape::{Language, comment};

/// The source of a test.
///
/// # Errors
/// When a template is wrong.
pub(super) fn render(facts: &Facts<'_>, language: Language) -> Result<String, Error> {
    environment(language).render_str(template(language), facts)
}

fn template(language: Language) -> &'static str {
    match language {
        Language::Python => include_str!("templates/python.py.jinja"),
        Language::Go => include_str!("templates/go.go.jinja"),
        Language::Node => include_str!("templates/node.mjs.jinja"),
        Language::Java => include_str!("templates/java.java.jinja"),
    }
}

fn environment(language: Language) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.add_filter("literal", move |value: Value| escaped(&value, |text| language.literal(text)));
    environment.add_filter("comment", |value: Value| escaped(&value, comment));
    // Parts of names: nothing but letters and digits.
    let word = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    environment.add_filter("word", move |value: Value| escaped(&value, word));
    environment.set_formatter(|out, _, value| match value.as_str() {
        Some(text) if value.is_safe() => out.write_str(text).map_err(Error::from),
        None if value.is_number() => write!(out, "{value}").map_err(Error::from),
        _ => Err(Error::new(ErrorKind::BadEscape, "what is put out is neither a literal nor a comment nor a number")),
    });
    environment
}

/// Text that may be put out.
fn escaped(value: &Value, escape: impl Fn(&str) -> String) -> Result<Value, Error> {
    let text = value.as_str().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "only text can be escaped"))?;
    Ok(Value::from_safe_string(escape(text)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// Text that goes through no filter is an error, with any mark of safety of its own, and so is what no facts have.
    #[test]
    fn only_what_is_escaped_is_put_out() {
        let environment = environment(Language::Python);
        let facts = json!({"text": "a\"b", "number": 5});
        let render = |source: &'static str| environment.render_str(source, &facts);
        assert_eq!(render("{{ text|literal }} {{ number }}").unwrap(), "\"a\\\"b\" 5");
        assert_eq!(render("# {{ text|comment }}\n").unwrap(), "# a\"b\n");
        for wrong in ["{{ text }}", "{{ text|literal ~ text }}", "{{ gone|literal }}"] {
            assert!(render(wrong).is_err(), "{wrong}");
        }
    }
}
