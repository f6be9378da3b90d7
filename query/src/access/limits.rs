//! How much a query and a tenant may have.

use std::time::Duration;

/// What one query and one tenant may have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that a query may hold; what can be spilled is, beyond it.
    pub memory: usize,
    /// Time of a query, from planning to its last row.
    pub time: Duration,
    /// Rows of an answer.
    pub rows: u64,
    /// Bytes of an answer, as it is sent.
    pub bytes: u64,
    /// Queries that run at once, of all tenants: so many times `memory` is what they may hold together.
    pub queries: usize,
    /// Queries of a tenant that run at once.
    pub queries_per_tenant: usize,
    /// Queries of a tenant that wait for their turn.
    pub waiting_per_tenant: usize,
    /// How long a query waits for its turn.
    pub wait: Duration,
}

impl Default for Limits {
    /// 256 MiB, 60 s, a million rows, 1 GiB; eight queries at once, four of them of one tenant, of which 64 more may wait
    /// for up to 30 s. With these 64 clients of one tenant that ask short questions at once, as the people and panels of
    /// a dashboard do, are all answered: four run, sixty find a place, and each has its turn if a question takes no more
    /// than two seconds.
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            time: Duration::from_secs(60),
            rows: 1_000_000,
            bytes: 1 << 30,
            queries: 8,
            queries_per_tenant: 4,
            waiting_per_tenant: 64,
            wait: Duration::from_secs(30),
        }
    }
}
