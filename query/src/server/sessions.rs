//! Sessions for callers, on the newest head: kept by tenant as long as the head is the newest, so that a query does
//! not pay for what an earlier one has planned and looked up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::time::timeout;
use tracerag_index::{Head, Lake};

use crate::access::{Caller, Scope};
use crate::error::{QueryError, Result};
use crate::links::LinkCache;
use crate::search::SearchCache;
use crate::session::{Session, SessionOptions};

/// How old the knowledge of the newest head may be.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long it may take to look.
const LOOK_WITHIN: Duration = Duration::from_secs(30);
/// How long a head is kept for the pages that follow; its versions outlive it by the longest query at least.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Heads that are kept at most.
const KEPT: usize = 256;
/// Sessions that are kept at most.
const SESSIONS: usize = 256;

/// Who sees the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    tenant: Arc<str>,
    heaps: bool,
    admin: bool,
}

/// What is kept of a kind.
struct Held {
    /// On the head of this number.
    sequence: u64,
    session: Arc<Session>,
    links: LinkCache,
    searches: SearchCache,
}

/// Opens sessions.
pub(crate) struct Sessions {
    lake: Lake,
    template: SessionOptions,
    newest: tokio::sync::Mutex<Option<(Instant, Arc<Head>)>>,
    /// Heads that were the newest, with when they ceased to be it here, the newest last.
    heads: Mutex<VecDeque<(Instant, Arc<Head>)>>,
    held: Mutex<HashMap<Kind, Held>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("lake", &self.lake).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions as in the template, but for tenant and what is seen.
    pub(crate) fn new(lake: Lake, template: SessionOptions) -> Self {
        Self { lake, template, newest: tokio::sync::Mutex::default(), heads: Mutex::default(), held: Mutex::default() }
    }

    /// That the newest head can be read.
    pub(crate) async fn look(&self) -> Result<()> {
        self.newest().await.map(drop)
    }

    /// A session of its own for one query of a caller, on the newest head.
    pub(crate) async fn open(&self, caller: &Caller) -> Result<Session> {
        let head = self.newest().await?;
        self.on(caller, &head)
    }

    /// The same on a head of an earlier query, by the head's position. The query may have been asked of another server.
    ///
    /// # Errors
    /// [`QueryError::CursorExpired`] if it was the newest too long ago.
    pub(crate) async fn open_at(&self, caller: &Caller, position: u64) -> Result<Session> {
        // Whoever asks for a head keeps up with the newest, too.
        self.newest().await?;
        let known = {
            let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
            heads.iter().rev().find(|(_, head)| head.position == position).map(|(_, head)| Arc::clone(head))
        };
        let head = match known {
            Some(head) => head,
            None => in_time(self.unseen(position)).await?,
        };
        self.on(caller, &head)
    }

    /// A head that this server has not seen as the newest: it had nothing to do then, or is a moment behind another one.
    async fn unseen(&self, position: u64) -> Result<Arc<Head>> {
        let found = self.lake.head_at(position, KEPT_FOR).boxed().await?;
        let (head, ago) = found.ok_or(QueryError::CursorExpired)?;
        let (head, now) = (Arc::new(head), Instant::now());
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let place = heads.partition_point(|(_, known)| known.sequence < head.sequence);
        heads.insert(place, (now.checked_sub(ago).unwrap_or(now), Arc::clone(&head)));
        Ok(head)
    }

    /// The lake whose rows are read.
    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    /// The newest head, as it was at most a moment ago. Who asks has a turn, which a store that does not answer shall
    /// not keep.
    async fn newest(&self) -> Result<Arc<Head>> {
        in_time(self.found()).await
    }

    /// The same, in any time. Of several that look one does.
    async fn found(&self) -> Result<Arc<Head>> {
        let mut newest = self.newest.lock().await;
        if let Some((at, head)) = &*newest
            && at.elapsed() < LOOK_EVERY
        {
            return Ok(Arc::clone(head));
        }
        // Futures of reads are deep; boxed, those that wait for them are not.
        let found = self.lake.newest_head().boxed().await?;
        let head = match &*newest {
            Some((_, known)) if known.sequence == found.sequence => Arc::clone(known),
            _ => Arc::new(found),
        };
        self.keep(&head);
        *newest = Some((Instant::now(), Arc::clone(&head)));
        Ok(head)
    }

    fn keep(&self, head: &Arc<Head>) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match heads.back_mut() {
            Some((at, newest)) if newest.sequence == head.sequence => *at = now,
            _ => heads.push_back((now, Arc::clone(head))),
        }
        while heads.len() > KEPT || heads.front().is_some_and(|(at, _)| now.duration_since(*at) > KEPT_FOR) {
            heads.pop_front();
        }
    }

    fn on(&self, caller: &Caller, head: &Arc<Head>) -> Result<Session> {
        let admin = caller.may(Scope::Admin);
        let kind = Kind { tenant: Arc::clone(&caller.tenant), heaps: caller.may(Scope::Heap), admin };
        let (known, links, searches) = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            match held.get(&kind) {
                Some(held) if held.sequence == head.sequence => return held.session.for_query(),
                Some(held) => (Some(held.sequence), held.links.clone(), held.searches.clone()),
                None => (None, LinkCache::default(), SearchCache::default()),
            }
        };
        let options = SessionOptions {
            tenant: kind.tenant.to_string(),
            heaps: kind.heaps,
            audit: admin,
            unredacted: admin,
            // Files and rows that a plan tells of are those of all tenants, and a token is of one, whatever its scopes.
            plans: false,
            links: links.clone(),
            searches: searches.clone(),
            ..self.template.clone()
        };
        let session = Arc::new(Session::at(&self.lake, Arc::clone(head), options)?);
        let query = session.for_query()?;
        // A page of an older head does not take the place of the newest.
        if known.is_none_or(|known| known < head.sequence) {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() >= SESSIONS && !held.contains_key(&kind) {
                held.clear();
            }
            held.insert(kind, Held { sequence: head.sequence, session, links, searches });
        }
        Ok(query)
    }
}

/// A look into the lake, as long as it may take: who asks shall not wait for ever for a store that does not answer.
///
/// # Errors
/// Those of the look, and [`QueryError::Stopped`] when it takes too long.
pub(super) async fn in_time<T>(look: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(LOOK_WITHIN, look).await.unwrap_or_else(|_| {
        tracing::error!(seconds = LOOK_WITHIN.as_secs(), "the lake could not be read in time");
        Err(QueryError::Stopped)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracerag_schemas::time::SECOND;

    use super::*;
    use crate::tests::lake::{NOON, TestLake, ask, example};

    /// A server reads on at a position that only another one has seen, again and again, and goes on with the newest head
    /// for what names none. A position that there never was is told as one that is over.
    #[tokio::test]
    async fn a_position_of_another_server_is_read() {
        let lake = TestLake::example(false, 10_000).await;
        let sessions = || Sessions::new(lake.lake.clone(), SessionOptions::new("nobody"));
        let caller = Caller { tenant: "acme".into(), principal: "somebody".into(), scopes: [].into_iter().collect() };
        let one = sessions();
        let session = one.open(&caller).await.unwrap();
        let position = session.snapshot().head().position;
        let query = "select count(*) as n from spans";
        let before = ask(&session, query).await;
        for round in 2..4 {
            lake.write(&example(), NOON + round * 10_000 * SECOND).await;
        }
        let other = sessions();
        for _ in 0..2 {
            assert_eq!(ask(&other.open_at(&caller, position).await.unwrap(), query).await, before);
            assert_ne!(ask(&other.open(&caller).await.unwrap(), query).await, before);
        }
        let none = other.open_at(&caller, position + 1_000).await;
        assert!(matches!(none, Err(QueryError::CursorExpired)), "{none:?}");
    }
}
