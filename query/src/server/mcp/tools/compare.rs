//! `compare_to_baseline`.

use futures::FutureExt;
use serde_json::{Map, Value};

use super::{Call, cut, parsed};
use crate::access::Scope;
use crate::server::http::CompareAsk;
use crate::server::mcp::answer::{Answer, Found};
use crate::server::problem::Problem;

/// What differs between failing traces and good ones; what was compared stands on every page.
pub(super) async fn baseline(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let request = parsed::<CompareAsk>(arguments)?.request()?;
    let place = call.room.place("")?;
    let work = move |session: crate::Session| async move { session.compare(&request).boxed().await };
    let report = call.ask(Scope::Read, place.cursor, work).await?;
    let position = report.position;
    let mut head = match report.json() {
        Value::Object(head) => head,
        _ => Map::new(),
    };
    let differences = match head.shift_remove("differences") {
        Some(Value::Array(differences)) => differences,
        _ => vec![],
    };
    let entries = differences.into_iter().skip(place.offset()).map(|difference| ("differences", difference)).collect();
    cut(Found { head, entries, has_more: false, last_because: None, position }, place).await
}
