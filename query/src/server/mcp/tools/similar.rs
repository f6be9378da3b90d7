//! `find_similar_incidents`.

use futures::FutureExt;
use serde_json::{Map, Value};

use super::{Call, cut, parsed};
use crate::access::Scope;
use crate::search::SimilarIncident;
use crate::server::http::SimilarAsk;
use crate::server::mcp::answer::{Answer, Found};
use crate::server::problem::Problem;

/// Incidents like a text or a trace, most alike first.
pub(super) async fn find(call: &mut Call<'_>, arguments: Map<String, Value>) -> Result<Answer, Problem> {
    let request = parsed::<SimilarAsk>(arguments)?.request()?;
    let place = call.room.place("")?;
    let work = move |session: crate::Session| async move {
        let found = session.similar(&request).boxed().await?;
        let incidents =
            found.iter().skip(place.offset()).map(|incident| ("incidents", SimilarIncident::json(incident)));
        Ok((incidents.collect::<Vec<_>>(), session.snapshot().head().position))
    };
    let (entries, position) = call.ask(Scope::Similar, place.cursor, work).await?;
    cut(Found { head: Map::new(), entries, has_more: false, last_because: None, position }, place).await
}
