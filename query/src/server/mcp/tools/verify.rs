//! `verify_citations`.

use futures::FutureExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracerag_schemas::claims::CLAIMS_SCHEMA;

use super::{Call, cut, parsed};
use crate::access::Scope;
use crate::bundle::by_id;
use crate::error::QueryError;
use crate::server::mcp::answer::{Answer, Found};
use crate::server::problem::Problem;
use crate::verify::{Document, Report, Subject, verify_with};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    bundle_id: String,
    claims: Value,
}

/// Whether claims about a bundle hold, told without a model.
pub(super) async fn citations(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let Arguments { bundle_id, claims } = parsed(arguments)?;
    call.visit.of_bundle(&bundle_id);
    let place = call.room.place("")?;
    let text = document(&bundle_id, claims);
    let work = move |session: crate::Session| async move {
        let subject = Subject::known(by_id(&session, &bundle_id).boxed().await?);
        let report = match Document::read(&text) {
            Ok(document) => verify_with(&session, subject, &document).boxed().await?,
            Err(reason) => Report::refused(subject.bundle_id().map(str::to_owned), reason),
        };
        Ok((report, session.snapshot().head().position))
    };
    let (report, position) = call.ask(Scope::Read, place.cursor, work).await?;
    let report = serde_json::to_value(&report).map_err(|error| Problem::from(QueryError::from(error)))?;
    let mut head = report.as_object().cloned().unwrap_or_default();
    let claims = head.shift_remove("claims").unwrap_or_default();
    let entries = claims.as_array().into_iter().flatten().skip(place.offset()).map(|claim| ("claims", claim.clone()));
    let entries = entries.collect();
    cut(Found { head, entries, has_more: false, last_because: None, position }, place).await
}

/// The document of claims: a list of them, the document itself, or text, which is JSON or Markdown.
fn document(bundle_id: &str, claims: Value) -> String {
    match claims {
        Value::String(text) => text,
        Value::Object(mut document) => {
            document.entry("schema").or_insert_with(|| json!(CLAIMS_SCHEMA));
            document.entry("bundle_id").or_insert_with(|| json!(bundle_id));
            Value::Object(document).to_string()
        }
        claims => json!({"schema": CLAIMS_SCHEMA, "bundle_id": bundle_id, "claims": claims}).to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Claims are read alike as a list, as a document with or without what it is about, and as text.
    #[test]
    fn claims_come_in_any_form() {
        let claims = json!([{"id": "c1", "text": "it failed", "anchors": ["log:0"]}]);
        let whole = json!({"schema": CLAIMS_SCHEMA, "bundle_id": "sha256:00", "claims": claims});
        let read = |given: Value| Document::read(&document("sha256:00", given)).unwrap();
        let expected = read(whole.clone());
        assert_eq!(read(claims.clone()), expected);
        assert_eq!(read(json!({"claims": claims})), expected);
        assert_eq!(read(json!(whole.to_string())), expected);
        assert!(Document::read(&document("sha256:00", json!("it failed [log:0]"))).is_ok());
        assert!(Document::read(&document("sha256:00", json!(1))).is_err());
    }
}
