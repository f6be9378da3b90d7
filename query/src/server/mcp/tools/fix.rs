//! `record_fix`.

use serde_json::{Map, Value, json};

use super::{Call, parsed};
use crate::server::fixes::record_masked;
use crate::server::mcp::answer::Answer;
use crate::server::problem::Problem;

/// Records what was done about an incident.
pub(super) async fn record(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let fix_id = record_masked(call.app, call.caller, call.visit, parsed(arguments)?).await?;
    Ok(Answer { document: json!({"fix_id": fix_id}), rows: 1 })
}
