//! Reads a document of claims: JSON or Markdown, one meaning.

use std::collections::HashSet;

use tracerag_schemas::claims::{CLAIMS_SCHEMA, Claim, Claims};

use super::markdown;
use super::reason::Reason;
use super::words::parts;

/// Bytes of a document; larger ones are refused.
const MAX_BYTES: usize = 1 << 20;
/// Claims of a document; more are refused.
const MAX_CLAIMS: usize = 2_000;
/// Anchors, quotes and predicates of a claim together; more are refused.
const MAX_GIVEN: usize = 256;
/// Bytes of the text of a claim; longer ones are refused: each word is looked for in all that the claim points to, and
/// what is said of it in all words before, without a look at the clock.
const MAX_TEXT: usize = 8_192;

/// A document of claims that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The bundle that the claims are about, where they say so.
    pub(super) bundle_id: Option<String>,
    pub(super) statements: Vec<Statement>,
}

/// A claim, or a sentence that may be one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Statement {
    pub claim: Claim,
    /// A heading or a question: no claim as long as it names nothing of the incident.
    pub may_be_left_out: bool,
    /// What is wrong with its form.
    pub mistakes: Vec<String>,
}

impl Document {
    /// Reads claims: JSON where the first character is `{`, else Markdown.
    ///
    /// # Errors
    /// [`Reason::Claims`] with the line and what would be right; what cannot be read is never taken for fewer claims.
    pub fn read(text: &str) -> Result<Self, Reason> {
        if text.len() > MAX_BYTES {
            return Err(Reason::Claims(format!("the document has more than {MAX_BYTES} bytes; split it")));
        }
        let text = text.trim_start_matches('\u{feff}');
        let document = if text.trim_start().starts_with('{') { json(text)? } else { markdown::read(text)? };
        if document.statements.len() > MAX_CLAIMS {
            return Err(Reason::Claims(format!("there are more than {MAX_CLAIMS} claims; split them")));
        }
        if let Some(long) = document.claims().find(|claim| claim.text.len() > MAX_TEXT) {
            let id: String = long.id.chars().take(64).collect();
            return Err(Reason::Claims(format!("claim {id:?} has more than {MAX_TEXT} bytes of text; split it")));
        }
        let given = |claim: &Claim| claim.anchors.len() + claim.quotes.len() + claim.predicates.len();
        if let Some(wide) = document.claims().find(|claim| given(claim) > MAX_GIVEN) {
            let id: String = wide.id.chars().take(64).collect();
            return Err(Reason::Claims(format!(
                "claim {id:?} has more than {MAX_GIVEN} anchors, quotes and predicates; split it"
            )));
        }
        Ok(document)
    }

    /// The claims as they were read, in their order.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.statements.iter().map(|statement| &statement.claim)
    }
}

fn json(text: &str) -> Result<Document, Reason> {
    let claims: Claims = serde_json::from_str(text)
        .map_err(|error| Reason::Claims(format!("{error}; schemas/claims.schema.json has the form of claims")))?;
    if claims.schema != CLAIMS_SCHEMA {
        return Err(Reason::Claims(format!("the schema {:?} is unknown; write {CLAIMS_SCHEMA}", claims.schema)));
    }
    let mut ids = HashSet::new();
    let statement = |claim: Claim| {
        let mut mistakes = Vec::new();
        if !ids.insert(claim.id.clone()) {
            mistakes.push(format!("the id {:?} is that of an earlier claim; each has its own", claim.id));
        }
        if claim.id.trim().is_empty() || !claim.text.chars().any(char::is_alphabetic) {
            mistakes.push(String::from("a claim has an id and a text with words in it"));
        }
        if parts(&claim.text).is_open {
            mistakes.push(String::from("a quote or a code span in the text does not end"));
        }
        Statement { claim, may_be_left_out: false, mistakes }
    };
    Ok(Document { bundle_id: Some(claims.bundle_id), statements: claims.claims.into_iter().map(statement).collect() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// JSON that is not what the schema says is refused as a whole, with the place or the name that is wrong.
    #[test]
    fn foreign_json_is_refused() {
        for (text, wanted) in [
            ("{", "line 1"),
            (r#"{"schema": "tracerag.claims/2", "bundle_id": "b", "claims": []}"#, "tracerag.claims/1"),
            (r#"{"schema": "tracerag.claims/1", "claims": []}"#, "bundle_id"),
            (r#"{"schema": "tracerag.claims/1", "bundle_id": "b", "claims": [{"id": "c1"}]}"#, "text"),
            (r#"{"schema": "tracerag.claims/1", "bundle_id": "b", "claims": [], "claims": []}"#, "duplicate"),
            (r#"{"schema": "tracerag.claims/1", "bundle_id": "b", "claims": []} x"#, "trailing"),
        ] {
            let reason = Document::read(text).unwrap_err().to_string();
            assert!(reason.starts_with("claims: ") && reason.contains(wanted), "{reason}");
        }
        let text = " ".repeat(MAX_BYTES + 1);
        assert!(Document::read(&text).is_err());
        let text = format!("{} [log:0]", "payments ".repeat(MAX_TEXT / 8));
        assert!(Document::read(&text).unwrap_err().to_string().contains("split it"));
        let document = |claims: serde_json::Value| {
            serde_json::json!({"schema": CLAIMS_SCHEMA, "bundle_id": "b", "claims": claims}).to_string()
        };
        let claim = |id: usize, anchors: usize| serde_json::json!({"id": id.to_string(), "text": "it failed", "anchors": vec!["log:0"; anchors]});
        let many: Vec<_> = (0..=MAX_CLAIMS).map(|id| claim(id, 1)).collect();
        assert!(Document::read(&document(many.into())).unwrap_err().to_string().contains("split them"));
        let wide = document(serde_json::json!([claim(0, MAX_GIVEN + 1)]));
        assert!(Document::read(&wide).unwrap_err().to_string().contains("split it"));
    }

    /// Two claims of one id, one without a word and one with a quote that does not end keep their places and are told
    /// what is wrong.
    #[test]
    fn claims_have_ids_and_words() {
        let texts = ["a", "b", " ", "!!!", "12.", "said «a", "said `a", "it's \"a\""];
        let claims: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(id, text)| serde_json::json!({"id": format!("c{}", id.max(1)), "text": text}))
            .collect();
        let text = serde_json::json!({"schema": CLAIMS_SCHEMA, "bundle_id": "b", "claims": claims}).to_string();
        let document = Document::read(&text).unwrap();
        let mistakes: Vec<usize> = document.statements.iter().map(|statement| statement.mistakes.len()).collect();
        assert_eq!(mistakes, [0, 1, 1, 1, 1, 1, 1, 0]);
    }
}
