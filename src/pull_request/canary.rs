//! The outcome of a canary, as JSON says it: an object with `verdict`.

use std::fmt::Write;

use serde_json::{Map, Value};
use tracerag_query::untrusted::{code, fenced};

/// An outcome, with everything else that was said of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Canary {
    verdict: &'static str,
    members: Map<String, Value>,
}

impl Canary {
    /// Reads an outcome.
    ///
    /// # Errors
    /// Says what is wrong where it is no object with one of the three verdicts.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let members: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let verdict = match members.get("verdict").and_then(Value::as_str) {
            Some("pass") => "pass",
            Some("fail") => "fail",
            Some("inconclusive") => "inconclusive",
            _ => return Err(String::from("its member verdict is none of pass, fail, inconclusive")),
        };
        Ok(Self { verdict, members })
    }

    /// The verdict and the plain figures, and the whole folded away.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("**{}**\n", self.verdict);
        let figures =
            self.members.iter().filter(|(name, value)| *name != "verdict" && !value.is_object() && !value.is_array());
        let mut lines = String::new();
        for (name, value) in figures {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(lines, "- {}: {}", code(name), code(&value));
        }
        if !lines.is_empty() {
            let _ = write!(text, "\n{lines}");
        }
        let whole = Value::Object(self.members.clone());
        let _ = write!(
            text,
            "\n<details><summary>all figures</summary>\n\n{}\n</details>\n",
            fenced("json", &format!("{whole:#}"))
        );
        text
    }
}
