//! What it costs to lose nothing: the journal, the requests to S3, a worker's death, a second worker, hours of work.

pub mod epochs;
pub mod journal;
pub mod pair;
pub mod recovery;
pub mod requests;
pub mod soak;
