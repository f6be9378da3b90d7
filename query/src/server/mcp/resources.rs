//! Resources: what a person attaches to a conversation. Each is what a tool answers, with all the room that there is.

use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::{Map, Value, json};

use super::answer::MOST_TOKENS;
use super::tools;
use crate::access::Caller;
use crate::server::app::App;
use crate::server::problem::Problem;

const BUNDLE: &str = "bundle://";
const SCHEMA: &str = "schema://";
const JSON: &str = "application/json";

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{BUNDLE}{{id}}"), "bundle")
            .with_description("Evidence bundle, by bundle id (sha256:... or its 64 digits) or trace id")
            .with_mime_type(JSON),
        ResourceTemplate::new(format!("{SCHEMA}{{table}}"), "schema")
            .with_description("Columns of a table")
            .with_mime_type(JSON),
    ]
}

/// The tables that a caller sees.
pub(super) async fn list(app: &App, caller: &Caller) -> Result<Vec<Resource>, Problem> {
    let schema = ask(app, caller, "describe_schema", Map::new()).await?;
    let tables = schema.pointer("/data/tables").and_then(Value::as_array);
    let names = tables.into_iter().flatten().filter_map(|table| table.get("table").and_then(Value::as_str));
    Ok(names.map(|name| Resource::new(format!("{SCHEMA}{name}"), name).with_mime_type(JSON)).collect())
}

/// A resource.
pub(super) async fn read(app: &App, caller: &Caller, uri: &str) -> Result<ReadResourceResult, Problem> {
    let (tool, argument, value) = match (uri.strip_prefix(BUNDLE), uri.strip_prefix(SCHEMA)) {
        (Some(id), _) => match bundle_id(id) {
            Some(bundle_id) => ("get_evidence_bundle", "bundle_id", bundle_id),
            None => ("get_evidence_bundle", "trace_id", id.to_owned()),
        },
        (_, Some(table)) => ("describe_schema", "table", table.to_owned()),
        _ => {
            return Err(Problem::wrong_request(format!(
                "{uri:?} is no resource here; there are {BUNDLE}ID and {SCHEMA}TABLE"
            )));
        }
    };
    let document = ask(app, caller, tool, Map::from_iter([(argument.to_owned(), json!(value))])).await?;
    let contents = ResourceContents::text(document.to_string(), uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]))
}

/// The bundle id that stands in an address. Some clients read `sha256:00` there as a host and its port, and encode or refuse
/// it; so the digits alone will do.
fn bundle_id(id: &str) -> Option<String> {
    let digits = ["sha256:", "sha256%3A", "sha256%3a"].iter().find_map(|prefix| id.strip_prefix(prefix));
    let digits = digits.or_else(|| (id.len() == 64).then_some(id))?;
    Some(format!("sha256:{digits}"))
}

async fn ask(app: &App, caller: &Caller, tool: &str, mut arguments: Map<String, Value>) -> Result<Value, Problem> {
    arguments.insert("max_tokens".to_owned(), json!(MOST_TOKENS));
    let called = tools::call(tool, app, caller, arguments).await;
    called.unwrap_or_else(|| Err(Problem::wrong_request(format!("there is no tool {tool}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every form of a bundle's id is one, and a trace id is none.
    #[test]
    fn ids_are_told_apart() {
        let digits = "ab".repeat(32);
        for form in [format!("sha256:{digits}"), format!("sha256%3A{digits}"), digits.clone()] {
            assert_eq!(bundle_id(&form), Some(format!("sha256:{digits}")));
        }
        assert_eq!(bundle_id(&"ab".repeat(16)), None);
    }
}
