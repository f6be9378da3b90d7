//! Fingerprints that were seen in the versions, the environment and the time that a question asks for.
//!
//! Only the counts tell, and they are many: what was read of them is kept for the next question with the
//! same filter, and so are the rows of the fingerprints in the table of vectors, whether that table is one tenant's, the
//! rows of small tables of vectors, merges, and the vectors of plain sentences by each model.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use datafusion::logical_expr::{Expr, col, lit};
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::scanner::{RowAddrMask, RowAddrTreeMap};
use tracerag_index::incidents::vectors;
use tracerag_schemas::Table;

use super::hubs::Banks;
use super::merges::MergesCache;
use super::small::Small;
use super::versions::{self, Requirement};
use super::{Merges, SimilarRequest, argument};
use crate::error::{QueryError, Result};
use crate::reads;
use crate::rows::{Columns, text};
use crate::snapshot::{Read, Snapshot, time_literal};

/// Fingerprints kept at once; each takes about 100 bytes.
const KEPT_FINGERPRINTS: usize = 500_000;
/// Filters kept at once.
const KEPT_FILTERS: usize = 16;

/// Tenants of which it is kept at once whether the tables of vectors, one a kind, are theirs alone.
const KEPT_TENANTS: usize = 64;

/// Bytes of small tables of vectors that are kept at once, and the one that was read last in any case.
const KEPT_SMALL_BYTES: usize = 64 << 20;

/// What was found for which question, the newest last.
type Kept = VecDeque<(Key, Arc<Allowed>)>;

/// Whether tables of vectors have rows of one tenant only, what was found out last at the end.
type KeptTenants = VecDeque<KnownTenant>;

/// Small tables of vectors, each in the version that was searched last; what was read last at the end.
type KeptSmall = VecDeque<(VectorsVersion, Arc<Small>)>;

/// Whether all rows of a table of vectors were a tenant's at a version.
#[derive(Debug, Clone)]
struct KnownTenant {
    table: String,
    tenant: String,
    version: u64,
    /// Fragments with an id below this were counted.
    end: u64,
    is_whole: bool,
}

/// What searches keep from one session to the next; clones share it.
#[derive(Clone, Default)]
pub struct SearchCache {
    kept: Arc<Mutex<Kept>>,
    tenants: Arc<Mutex<KeptTenants>>,
    small: Arc<Mutex<KeptSmall>>,
    /// The turn of whoever reads a small table.
    turn: Arc<tokio::sync::Mutex<()>>,
    pub(super) merges: MergesCache,
    pub(super) banks: Banks,
}

impl std::fmt::Debug for SearchCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SearchCache")
    }
}

/// What fingerprints were read for: a version of the counts, merges, a tenant, and the filters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    lake: String,
    version: Option<u64>,
    merges: u64,
    tenant: String,
    filters: [Option<String>; 5],
    times: [Option<i64>; 2],
}

impl Key {
    fn of(snapshot: &Snapshot, merges: &Merges, request: &SimilarRequest) -> Self {
        Self {
            lake: snapshot.lake().uri().to_owned(),
            version: snapshot.head().of(Table::IncidentCounts).map(|(_, dataset)| dataset.version).max(),
            merges: merges.digest(),
            tenant: snapshot.tenant().to_owned(),
            filters: [
                request.service.clone(),
                request.environment.clone(),
                request.min_version.clone(),
                request.max_version.clone(),
                request.versions.clone(),
            ],
            times: [request.since, request.until],
        }
    }
}

impl SearchCache {
    /// The fingerprints of a request, read or kept.
    pub(super) async fn allowed(
        &self,
        snapshot: &Snapshot,
        merges: &Merges,
        request: &SimilarRequest,
    ) -> Result<Arc<Allowed>> {
        let key = Key::of(snapshot, merges, request);
        if let Some((_, known)) = self.lock().iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(known));
        }
        let fingerprints = whole_incidents(merges, &read(snapshot, request).await?);
        let allowed = Arc::new(Allowed { fingerprints, rows: tokio::sync::Mutex::default() });
        let mut kept = self.lock();
        kept.push_back((key, Arc::clone(&allowed)));
        let mut fingerprints: usize = kept.iter().map(|(_, allowed)| allowed.fingerprints.len()).sum();
        while kept.len() > KEPT_FILTERS || (kept.len() > 1 && fingerprints > KEPT_FINGERPRINTS) {
            let Some((_, oldest)) = kept.pop_front() else { break };
            fingerprints -= oldest.fingerprints.len();
        }
        Ok(allowed)
    }

    /// Whether all rows of a version of a table of vectors are a tenant's: a search need not filter by the tenant then,
    /// which takes a fifth of its time. Rows are only ever added, so of a version after one that is known only the new
    /// fragments are counted, and none where others have rows already.
    pub(super) async fn is_whole(&self, tenant: &str, dataset: &Dataset) -> Result<bool> {
        let (table, version) = version_of(dataset);
        let known = self.lock_tenants().iter().find(|known| known.table == table && known.tenant == tenant).cloned();
        let known = known.filter(|known| known.version <= version);
        if let Some(known) = &known
            && (known.version == version || !known.is_whole)
        {
            return Ok(known.is_whole);
        }
        let from = known.map_or(0, |known| known.end);
        let is_whole = is_only_of(tenant, dataset, from).await?;
        let end = dataset.fragments().iter().map(|fragment| fragment.id + 1).max().unwrap_or(from);
        let mut kept = self.lock_tenants();
        kept.retain(|known| known.table != table || known.tenant != tenant);
        kept.push_back(KnownTenant { table, tenant: tenant.to_owned(), version, end, is_whole });
        if kept.len() > KEPT_TENANTS * vectors::Kind::ALL.len() {
            kept.pop_front();
        }
        Ok(is_whole)
    }

    /// A small table of vectors, read or kept.
    pub(super) async fn small(&self, dataset: &Dataset) -> Result<Arc<Small>> {
        let at = version_of(dataset);
        if let Some(known) = self.known_small(&at) {
            return Ok(known);
        }
        // Whoever asks at the same time waits for one reading.
        let _turn = self.turn.lock().await;
        if let Some(known) = self.known_small(&at) {
            return Ok(known);
        }
        let read = Arc::new(Small::read(dataset).await?);
        let mut kept = self.lock_small();
        kept.retain(|((table, _), _)| *table != at.0);
        kept.push_back((at, Arc::clone(&read)));
        let mut bytes: usize = kept.iter().map(|(_, small)| small.bytes).sum();
        while kept.len() > 1 && bytes > KEPT_SMALL_BYTES {
            let Some((_, oldest)) = kept.pop_front() else { break };
            bytes -= oldest.bytes;
        }
        Ok(read)
    }

    fn known_small(&self, at: &VectorsVersion) -> Option<Arc<Small>> {
        self.lock_small().iter().find(|(known, _)| known == at).map(|(_, small)| Arc::clone(small))
    }

    fn lock_small(&self) -> MutexGuard<'_, KeptSmall> {
        self.small.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_tenants(&self) -> MutexGuard<'_, KeptTenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A version of a table of vectors: its address, and its number.
type VectorsVersion = (String, u64);

fn version_of(dataset: &Dataset) -> VectorsVersion {
    (dataset.uri().to_owned(), dataset.version_id())
}

/// Whether all rows of the fragments with these ids and later ones are a tenant's.
async fn is_only_of(tenant: &str, dataset: &Dataset, from: u64) -> Result<bool> {
    let fragments: Vec<_> = dataset.fragments().iter().filter(|fragment| fragment.id >= from).cloned().collect();
    if fragments.is_empty() {
        return Ok(true);
    }
    let all: Option<usize> = fragments.iter().map(|fragment| fragment.num_rows()).sum();
    reads::planned(vectors::TABLE);
    let mut theirs = dataset.scan();
    theirs.filter_expr(col("tenant_id").eq(lit(tenant)));
    if from > 0 {
        theirs.with_fragments(fragments);
        theirs.use_scalar_index(false);
    }
    let theirs = theirs.count_rows().boxed().await.map_err(lance)?;
    Ok(usize::try_from(theirs).ok() == all)
}

fn lance(source: lance::Error) -> QueryError {
    QueryError::Lance { dataset: vectors::TABLE.to_owned(), source: Box::new(source) }
}

/// The fingerprints of one filter.
#[derive(Debug)]
pub(super) struct Allowed {
    fingerprints: HashSet<String>,
    /// Their rows in each table of vectors, by its address, in the version that was searched last.
    rows: tokio::sync::Mutex<HashMap<String, (u64, RowAddrTreeMap)>>,
}

impl Allowed {
    /// Whether a request has a filter that only the counts can answer.
    pub(super) fn is_asked_for(request: &SimilarRequest) -> bool {
        request.environment.is_some()
            || request.since.is_some()
            || request.until.is_some()
            || request.min_version.is_some()
            || request.max_version.is_some()
            || request.versions.is_some()
    }

    pub(super) fn fingerprints(&self) -> &HashSet<String> {
        &self.fingerprints
    }

    /// Their rows in a table of vectors, to search among.
    pub(super) async fn rows(&self, tenant: &str, dataset: &Dataset) -> Result<RowAddrMask> {
        let (address, version) = version_of(dataset);
        // Two questions with one filter wait for one reading.
        let mut rows = self.rows.lock().await;
        if let Some((known, found)) = rows.get(&address)
            && *known == version
        {
            return Ok(RowAddrMask::from_allowed(found.clone()));
        }
        reads::planned(vectors::TABLE);
        let mut scan = dataset.scan();
        scan.project(&["fingerprint"]).map_err(lance)?;
        scan.filter_expr(col("tenant_id").eq(lit(tenant)));
        scan.with_row_id();
        scan.scan_in_order(false);
        let mut batches = scan.try_into_stream().boxed().await.map_err(lance)?;
        let mut ids: Vec<u64> = Vec::new();
        while let Some(batch) = batches.try_next().await.map_err(lance)? {
            let fingerprints = Columns::of(vectors::TABLE, &batch).text("fingerprint")?;
            let row_ids =
                batch.column_by_name("_rowid").and_then(|column| column.as_primitive_opt::<UInt64Type>()).ok_or_else(
                    || QueryError::Column { dataset: vectors::TABLE.to_owned(), column: "_rowid".to_owned() },
                )?;
            let is_allowed =
                |row: &usize| text(fingerprints, *row).is_some_and(|known| self.fingerprints.contains(known));
            ids.extend((0..batch.num_rows()).filter(is_allowed).map(|row| row_ids.value(row)));
        }
        let found: RowAddrTreeMap = ids.into_iter().collect();
        rows.insert(address, (version, found.clone()));
        Ok(RowAddrMask::from_allowed(found))
    }
}

/// With each fingerprint all of its incident's: what people or releases have merged was seen where any of it was.
fn whole_incidents(merges: &Merges, seen: &HashSet<String>) -> HashSet<String> {
    let mut targets: Vec<&str> = seen.iter().map(|fingerprint| merges.target(fingerprint)).collect();
    targets.sort_unstable();
    targets.dedup();
    merges.members(&targets).into_iter().map(str::to_owned).collect()
}

/// The fingerprints of a request, from the counts.
async fn read(snapshot: &Snapshot, request: &SimilarRequest) -> Result<HashSet<String>> {
    let mut filter: Option<Expr> = None;
    let mut both = |condition: Expr| {
        filter = Some(match filter.take() {
            Some(known) => known.and(condition),
            None => condition,
        });
    };
    if let Some(service) = &request.service {
        both(col("service_name").eq(lit(service.as_str())));
    }
    if let Some(environment) = &request.environment {
        both(col("deployment_environment_name").eq(lit(environment.as_str())));
    }
    if let Some(since) = request.since {
        both(col("last_seen").gt_eq(time_literal(since)));
    }
    if let Some(until) = request.until {
        both(col("first_seen").lt_eq(time_literal(until)));
    }
    let wanted = match &request.versions {
        Some(versions) => Some(
            Requirement::parse(versions)
                .ok_or_else(|| argument("versions are bounds with blanks between them, such as: >=1.8 <2"))?,
        ),
        None => None,
    };
    let by_version = request.min_version.is_some() || request.max_version.is_some() || wanted.is_some();
    let columns: &[&str] = if by_version { &["fingerprint", "versions"] } else { &["fingerprint"] };
    let (least, most) = (request.min_version.as_deref(), request.max_version.as_deref());
    let mut allowed = HashSet::new();
    for batch in snapshot.read(Table::IncidentCounts, Read { columns, filter, ranges: vec![] }).await? {
        let columns = Columns::of("incident_counts", &batch);
        let fingerprints = columns.text("fingerprint")?;
        let versions = if by_version { Some(columns.list("versions")?) } else { None };
        for row in 0..batch.num_rows() {
            let Some(fingerprint) = text(fingerprints, row).filter(|known| !allowed.contains(*known)) else { continue };
            let fits = versions.is_none_or(|versions| {
                let seen = versions.value(row);
                let Some(seen) = seen.as_string_opt::<i32>().filter(|_| versions.is_valid(row)) else { return false };
                seen.iter().flatten().any(|version| {
                    versions::is_within(version, least, most)
                        && wanted.as_ref().is_none_or(|wanted| wanted.takes(version))
                })
            });
            if fits {
                allowed.insert(fingerprint.to_owned());
            }
        }
    }
    Ok(allowed)
}
