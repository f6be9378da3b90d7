//! SQL, similar incidents and evidence bundles over one head of the lake.
//!
//! - **In:** a [`tracerag_index::Lake`] and a tenant.
//! - **Out:** Arrow batches of a query ([`Session::sql`]), [bundles](bundle), and whether [claims](verify) about one hold.
//! - [`canary`] says whether a version is worse than another one, [`compare`] what differs between failing and good traces.
//! - [`server`] gives all of it to others, through the gate of [`access`].
//!
//! A [`Session`] stays on the head it was opened on, so everything it answers is one consistent
//! picture, and it sees one tenant only: the filter is part of every scan, below whatever the query
//! says. Nothing can be written through it.
//!
//! ```no_run
//! use tracerag_index::{Lake, LakeOptions};
//! use tracerag_query::{Session, SessionOptions, bundle};
//!
//! # async fn example() -> tracerag_query::Result<()> {
//! let lake = Lake::open_to_ask(LakeOptions::new("./lake")).await?;
//! let session = Session::open(&lake, SessionOptions::new("default")).await?;
//! let failing = session.collect("select trace_id from traces where status = 'ERROR' limit 1", None).await?;
//! for batch in &failing {
//!     for row in tracerag_query::json::rows(batch)? {
//!         let trace_id = row["trace_id"].as_str().unwrap_or_default();
//!         let evidence = bundle::store(&session, bundle::assemble(&session, trace_id).await?).await?;
//!         assert!(evidence.is_intact());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod access;
mod bounds;
pub mod bundle;
pub mod canary;
mod catalog;
pub mod compare;
mod computing;
pub mod encode;
pub mod error;
pub mod fixes;
mod functions;
mod grammar;
pub mod grouping;
pub mod impact;
mod indexed;
pub mod json;
pub mod letters;
mod levels;
mod links;
mod lookup;
mod measure;
mod multiplied;
mod page;
mod peers;
pub mod prompt;
mod reads;
mod rows;
mod script;
pub mod search;
mod secret;
pub mod server;
pub mod session;
mod snapshot;
mod spilling;
mod statement;
mod statistics;
pub mod status;
mod tables;
pub mod tokens;
pub mod untrusted;
pub mod verify;
mod views;

#[cfg(test)]
mod tests;

pub use error::{QueryError, Result};
pub use functions::table_functions;
pub use links::LinkCache;
pub use page::{Page, page};
pub use peers::Peers;
pub use script::statements;
pub use search::{
    Activity, Asked, Echo, Fixed, KnownActivity, KnownFix, SearchCache, SimilarIncident, SimilarRequest, activity,
    echoes,
};
pub use session::{Parameters, Session, SessionOptions};
pub use snapshot::Snapshot;
pub use statistics::{Weighted, holm, wilson};
