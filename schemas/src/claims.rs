//! Claims about a bundle: what an agent says, with what supports it.
//!
//! `schemas/claims.schema.json` is the JSON Schema of these types, `schemas/claims.ebnf` the grammar of
//! the same claims in Markdown and of predicates.
//!
//! ```
//! use tracerag_schemas::claims::Claims;
//! let claims: Claims = serde_json::from_str(
//!     r#"{"schema": "tracerag.claims/1", "bundle_id": "sha256:00",
//!         "claims": [{"id": "c1", "text": "it failed", "anchors": ["log:0"], "quotes": [{"text": "overflow"}]}]}"#,
//! )?;
//! assert_eq!(claims.claims[0].anchors, ["log:0"]);
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};

/// The schema name that claims in JSON carry.
pub const CLAIMS_SCHEMA: &str = "tracerag.claims/1";

/// A document of claims. Members that it does not know are an error: what is not understood is not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// [`CLAIMS_SCHEMA`].
    pub schema: String,
    /// The bundle that all claims are about.
    pub bundle_id: String,
    /// The claims.
    pub claims: Vec<Claim>,
}

/// One claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Name of the claim, unique within the document.
    pub id: String,
    /// What is said.
    pub text: String,
    /// What it points at; see [`crate::anchor`].
    #[serde(default)]
    pub anchors: Vec<String>,
    /// Verbatim texts of the evidence.
    #[serde(default)]
    pub quotes: Vec<Quote>,
    /// Statements that are evaluated on the evidence.
    #[serde(default)]
    pub predicates: Vec<String>,
}

/// A verbatim text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// Where it stands; without one, in any of the claim's anchors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// The text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Members of an object, or names of properties in a JSON Schema.
    fn names(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Each object of the JSON Schema has the members of the type that stands for it, takes no others, and the schema's
    /// name is the one that is checked. Guarantees that who writes claims by the schema is understood.
    #[test]
    fn the_json_schema_has_the_members() {
        let quote = Quote { anchor: Some("log:0".to_owned()), text: "x".to_owned() };
        let claim = Claim { quotes: vec![quote.clone()], ..Claim::default() };
        let claims =
            Claims { schema: CLAIMS_SCHEMA.to_owned(), bundle_id: "sha256:00".to_owned(), claims: vec![claim.clone()] };
        let schema: Value = serde_json::from_str(include_str!("../claims.schema.json")).unwrap();
        let (claim_schema, quote_schema) = (&schema["$defs"]["claim"], &schema["$defs"]["quote"]);
        for (schema, value) in [
            (&schema, serde_json::to_value(claims).unwrap()),
            (claim_schema, serde_json::to_value(claim).unwrap()),
            (quote_schema, serde_json::to_value(quote).unwrap()),
        ] {
            assert_eq!(names(&schema["properties"]), names(&value));
            assert_eq!(schema["additionalProperties"], false);
        }
        assert_eq!(schema["properties"]["schema"]["const"], CLAIMS_SCHEMA);
        assert_eq!(schema["required"], serde_json::json!(["schema", "bundle_id", "claims"]));
        assert_eq!(claim_schema["required"], serde_json::json!(["id", "text"]));
    }

    /// A member that nobody knows is refused, at every level.
    #[test]
    fn unknown_members_are_refused() {
        for text in [
            r#"{"schema": "tracerag.claims/1", "bundle_id": "b", "claims": [], "note": 1}"#,
            r#"{"schema": "tracerag.claims/1", "bundle_id": "b", "claims": [{"id": "c", "text": "t", "anchor": "log:0"}]}"#,
            r#"{"schema": "tracerag.claims/1", "bundle_id": "b", "claims": [{"id": "c", "text": "t", "quotes": [{"text": "t", "at": 1}]}]}"#,
        ] {
            assert!(serde_json::from_str::<Claims>(text).is_err(), "{text}");
        }
    }
}
