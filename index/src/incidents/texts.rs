//! The texts of incidents, as the journal brings them: that of the first failure that has one counts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray, ListArray, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use lance::Dataset;
use lance_table::format::Fragment;
use rustc_hash::FxHashSet;
use tracerag_schemas::Table;
use xxhash_rust::xxh3::Xxh3;

use super::vectors::{Kind, Stamp};
use crate::error::{At, Error, Result};
use crate::journal::Head;
use crate::lake::Lake;

/// Column of a scan that says where a row is.
const ADDRESS: &str = "_rowaddr";
/// Texts of one tenant that are handed out of those that wait, the newest. They are held in memory, and a search looks
/// at each; more wait only where nothing embeds them.
const MOST_WAITING: usize = 100_000;
/// Fingerprints in one look-up among those that are embedded: of more a list takes longer than several look-ups.
const LISTED: usize = 1_000;

/// Columns of `incident_counts` that a text of a kind is read from.
fn columns(kind: Kind) -> Vec<&'static str> {
    let of_kind = match kind {
        Kind::Masked => Some("message"),
        Kind::Context => None,
        Kind::Shape => Some("example_trace_ids"),
    };
    let of_all = ["tenant_id", "fingerprint", kind.column(), "title", "service_name", "exception_type", "ingested_at"];
    of_all.into_iter().chain(of_kind).collect()
}

/// What is known of an incident by its first failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentText {
    /// Tenant.
    pub tenant: String,
    /// Fingerprint.
    pub fingerprint: String,
    /// What is embedded.
    pub text: String,
    /// The message, not masked; only with the masked text.
    pub message: Option<String>,
    /// Title.
    pub title: Option<String>,
    /// Service.
    pub service_name: Option<String>,
    /// Exception type.
    pub exception_type: Option<String>,
    /// A trace with it; only where its payloads are part of the text.
    pub example_trace_id: Option<String>,
    /// When the row was taken, in ns.
    pub ingested_at: Option<i64>,
}

impl IncidentText {
    /// What a search by words looks at: the message with its identifiers, and type and place, which
    /// stand in the text only. The text's placeholders are no words of it.
    pub fn words(&self) -> String {
        match &self.message {
            Some(message) if !self.text.contains(message.as_str()) => {
                format!("{message}\n{}", without_placeholders(&self.text))
            }
            _ => self.text.clone(),
        }
    }
}

/// A masked text without `<num>`, `<url:host>` and their like.
fn without_placeholders(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        kept.push_str(before);
        let name = from[1..].find(|c: char| !(c.is_ascii_lowercase() || matches!(c, '_' | '-'))).unwrap_or(0);
        let end =
            from.find('>').filter(|end| name > 0 && matches!(from.as_bytes()[1 + name], b'>' | b':') && *end < 256);
        let end = end.unwrap_or(0);
        if end == 0 {
            kept.push('<');
        }
        rest = &from[end + 1..];
    }
    kept.push_str(rest);
    kept
}

/// Identity of an incident in memory.
pub(super) fn incident_key(tenant: &str, fingerprint: &str) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes());
    hasher.update(tenant.as_bytes());
    hasher.update(fingerprint.as_bytes());
    hasher.digest128()
}

/// What is held of texts at a time; whatever is beyond it waits in the lake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub texts: usize,
    /// Their bytes with those of their messages; the last text may pass it.
    pub bytes: usize,
}

/// Texts of incidents that were not known.
#[derive(Debug, Default)]
pub(super) struct NewTexts {
    /// The texts, in journal order.
    pub texts: Vec<IncidentText>,
    /// Rows that were looked at.
    pub rows: u64,
    /// Fragments below this id have been looked at.
    pub end: u64,
    /// Whether everything was looked at: otherwise there were more texts than asked for.
    pub complete: bool,
}

/// The first texts of a kind, at `most` so many, of incidents for which `is_known` does not hold, from fragments of
/// `incident_counts` that have not been looked at. A dataset of an older schema may lack the kind's column: then there
/// are none.
pub(super) async fn new_texts(
    lake: &Lake,
    head: &Head,
    kind: Kind,
    taken: u64,
    most: Most,
    is_known: impl Fn(u128) -> bool,
) -> Result<NewTexts> {
    let mut found = NewTexts { end: taken, complete: true, ..NewTexts::default() };
    let Some((name, counts)) = head.of(Table::IncidentCounts).next().filter(|(_, counts)| counts.rows > 0) else {
        return Ok(found);
    };
    let dataset = lake.dataset(name, counts.version).await?;
    let fragments: Vec<Fragment> =
        dataset.fragments().iter().filter(|fragment| fragment.id >= taken).cloned().collect();
    let ids: Vec<u64> = fragments.iter().map(|fragment| fragment.id).collect();
    let Some(last) = ids.iter().max() else { return Ok(found) };
    found.end = last + 1;
    if dataset.schema().field(kind.column()).is_none() {
        return Ok(found);
    }
    let mut rows = scan(name, &dataset, kind, fragments, None).await?;
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    while let Some(batch) = rows.try_next().await.at(name, "reading texts of incidents")? {
        found.rows += batch.num_rows() as u64;
        let columns = Columns::of(&batch, kind)?;
        for row in 0..batch.num_rows() {
            let (Some(tenant), Some(fingerprint)) = (text(columns.tenants, row), text(columns.fingerprints, row))
            else {
                continue;
            };
            let key = incident_key(tenant, fingerprint);
            if is_known(key) || seen.contains(&key) {
                continue;
            }
            let Some(incident) = columns.incident(row) else { continue };
            if found.texts.len() >= most.texts || bytes >= most.bytes {
                found.complete = false;
                // A backlog is not read from its beginning for each part of it that is taken.
                let at = columns.fragment(row);
                found.end = ids.iter().copied().skip_while(|id| *id != at).min().unwrap_or(taken);
                return Ok(found);
            }
            seen.insert(key);
            bytes += incident.text.len() + incident.message.as_ref().map_or(0, String::len);
            found.texts.push(incident);
        }
    }
    Ok(found)
}

/// Adds the incidents for which `is_known` does not hold from fragments of `incident_counts` with ids from `from` on, of
/// those that have a text of a kind; gives the id behind the last fragment.
pub(super) async fn unknown_incidents(
    lake: &Lake,
    head: &Head,
    kind: Kind,
    from: u64,
    is_known: impl Fn(u128) -> bool,
    incidents: &mut FxHashSet<u128>,
) -> Result<u64> {
    let Some((name, counts)) = head.of(Table::IncidentCounts).next() else { return Ok(from) };
    let dataset = lake.dataset(name, counts.version).await?;
    let fragments: Vec<_> = dataset.fragments().iter().filter(|fragment| fragment.id >= from).cloned().collect();
    let Some(last) = fragments.iter().map(|fragment| fragment.id).max() else { return Ok(from) };
    let mut scan = dataset.scan();
    scan.project(&["tenant_id", "fingerprint"]).at(name, "counting incidents")?;
    scan.with_fragments(fragments);
    // Each has a masked text, be it its title.
    if kind != Kind::Masked {
        scan.filter_expr(col(kind.column()).is_not_null());
    }
    let mut rows = scan.try_into_stream().await.at(name, "counting incidents")?;
    while let Some(batch) = rows.try_next().await.at(name, "counting incidents")? {
        let (tenants, fingerprints) = (column(&batch, "tenant_id")?, column(&batch, "fingerprint")?);
        let keys = (0..batch.num_rows()).map(|row| incident_key(tenants.value(row), fingerprints.value(row)));
        incidents.extend(keys.filter(|key| !is_known(*key)));
    }
    Ok(last + 1)
}

/// Masked texts that stand in `incident_counts` but in no row of vectors yet.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The texts: all of them, or the newest that are held at a time.
    pub texts: Vec<IncidentText>,
    /// Whether there are older ones.
    pub is_cut: bool,
}

/// A tenant's masked texts that stand in `incident_counts` but in no row of `vectors` yet, the newest 100,000 at most:
/// all of them wait without a table.
///
/// # Errors
/// When the lake cannot be read.
pub async fn waiting_texts(
    lake: &Lake,
    head: &Head,
    tenant: &str,
    vectors: Option<(&str, &Dataset)>,
) -> Result<Arc<Waiting>> {
    let counts = head.of(Table::IncidentCounts).next().map_or(0, |(_, counts)| counts.version);
    let (name, version) = vectors.map_or(("", 0), |(name, dataset)| (name, dataset.version_id()));
    let key = (tenant.to_owned(), name.to_owned());
    if let Some(known) = lake.waiting().get(&key, (counts, version)) {
        return Ok(known);
    }
    let waiting = Arc::new(find_waiting(lake, head, tenant, vectors, MOST_WAITING).await?);
    lake.waiting().put(key, (counts, version), &waiting);
    Ok(waiting)
}

/// Tenant, and name of the table of vectors.
type WaitingKey = (String, String);

/// The versions of `incident_counts` and of the vectors, and what waited at these.
type KnownWaiting = ((u64, u64), Arc<Waiting>);

/// What waited when it was looked for last: questions come more often than the tables change.
#[derive(Default)]
pub(crate) struct WaitingTexts(Mutex<HashMap<WaitingKey, KnownWaiting>>);

impl WaitingTexts {
    /// Tenants remembered.
    const MOST: usize = 64;
    /// Texts of all tenants that are remembered, at some hundred bytes each.
    const MOST_TEXTS: usize = 2 * MOST_WAITING;

    fn known(&self) -> MutexGuard<'_, HashMap<WaitingKey, KnownWaiting>> {
        // An entry is put in whole or not at all, so what a panic left behind is sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &WaitingKey, versions: (u64, u64)) -> Option<Arc<Waiting>> {
        self.known().get(key).filter(|(at, _)| *at == versions).map(|(_, waiting)| Arc::clone(waiting))
    }

    fn put(&self, key: WaitingKey, versions: (u64, u64), waiting: &Arc<Waiting>) {
        let mut known = self.known();
        known.remove(&key);
        let texts: usize = known.values().map(|(_, waiting)| waiting.texts.len()).sum();
        if known.len() >= Self::MOST || texts + waiting.texts.len() > Self::MOST_TEXTS {
            known.clear();
        }
        known.insert(key, (versions, Arc::clone(waiting)));
    }
}

/// The newest texts that wait: so many as `most` says, and twice that at most, for whole fragments are read. After a
/// compaction nearly all that is read is embedded already: so what is held are those that wait, and keys of what was read.
pub(super) async fn find_waiting(
    lake: &Lake,
    head: &Head,
    tenant: &str,
    vectors: Option<(&str, &Dataset)>,
    most: usize,
) -> Result<Waiting> {
    let mut waiting = Waiting::default();
    let Some((name, counts)) = head.of(Table::IncidentCounts).next().filter(|(_, counts)| counts.rows > 0) else {
        return Ok(waiting);
    };
    let taken = match vectors {
        Some((name, dataset)) => Stamp::of(name, dataset).await?.taken,
        None => 0,
    };
    let dataset = lake.dataset(name, counts.version).await?;
    let mut older: Vec<Fragment> =
        dataset.fragments().iter().filter(|fragment| fragment.id >= taken).cloned().collect();
    let mut looked_at: HashSet<u128> = HashSet::new();
    let mut places: HashMap<u128, usize> = HashMap::new();
    while !older.is_empty() {
        if waiting.texts.len() >= most {
            waiting.is_cut = true;
            break;
        }
        let newest = take_newest(&mut older, most);
        let mut first: HashSet<u128> = HashSet::new();
        let mut rows = scan(name, &dataset, Kind::Masked, newest, Some(tenant)).await?;
        while let Some(batch) = rows.try_next().await.at(name, "reading texts of incidents")? {
            let columns = Columns::of(&batch, Kind::Masked)?;
            let mut unknown: Vec<(u128, IncidentText)> = Vec::new();
            for row in 0..batch.num_rows() {
                let Some(fingerprint) = text(columns.fingerprints, row) else { continue };
                let key = incident_key(tenant, fingerprint);
                let is_embedded = looked_at.contains(&key) && !places.contains_key(&key);
                if is_embedded || first.contains(&key) {
                    continue;
                }
                let Some(incident) = columns.incident(row) else { continue };
                first.insert(key);
                if let Some(known) = places.get(&key).and_then(|place| waiting.texts.get_mut(*place)) {
                    // Its first failure is older than what was read before.
                    *known = incident;
                } else {
                    looked_at.insert(key);
                    unknown.push((key, incident));
                }
            }
            for part in unknown.chunks(LISTED) {
                let embedded = embedded(tenant, vectors, part).await?;
                for (key, incident) in part.iter().filter(|(_, text)| !embedded.contains(&text.fingerprint)) {
                    places.insert(*key, waiting.texts.len());
                    waiting.texts.push(incident.clone());
                }
            }
        }
    }
    Ok(waiting)
}

/// Takes the last fragments with so many rows at most, but one at least.
fn take_newest(fragments: &mut Vec<Fragment>, most: usize) -> Vec<Fragment> {
    let (mut rows, mut taken) = (0_usize, 0);
    for fragment in fragments.iter().rev() {
        rows = rows.saturating_add(fragment.physical_rows.unwrap_or(most));
        if taken > 0 && rows > most {
            break;
        }
        taken += 1;
    }
    fragments.split_off(fragments.len() - taken)
}

/// Which of some incidents have a row of vectors.
async fn embedded(
    tenant: &str,
    vectors: Option<(&str, &Dataset)>,
    incidents: &[(u128, IncidentText)],
) -> Result<HashSet<String>> {
    let Some((name, dataset)) = vectors.filter(|_| !incidents.is_empty()) else { return Ok(HashSet::new()) };
    let list = incidents.iter().map(|(_, text)| lit(text.fingerprint.as_str())).collect();
    let mut scan = dataset.scan();
    scan.project(&["fingerprint"]).at(name, "looking up fingerprints")?;
    scan.filter_expr(col("tenant_id").eq(lit(tenant)).and(col("fingerprint").in_list(list, false)));
    let known = scan.try_into_batch().await.at(name, "looking up fingerprints")?;
    Ok(column(&known, "fingerprint")?.iter().flatten().map(str::to_owned).collect())
}

async fn scan(
    name: &str,
    dataset: &Arc<Dataset>,
    kind: Kind,
    fragments: Vec<Fragment>,
    tenant: Option<&str>,
) -> Result<lance::dataset::scanner::DatasetRecordBatchStream> {
    let mut scan = dataset.scan();
    scan.project(&columns(kind)).at(name, "reading texts of incidents")?;
    scan.with_fragments(fragments);
    // The first text of an incident is the one that counts.
    scan.scan_in_order(true).with_row_address();
    if let Some(tenant) = tenant {
        scan.filter_expr(col("tenant_id").eq(lit(tenant)));
    }
    scan.try_into_stream().await.at(name, "reading texts of incidents")
}

struct Columns<'a> {
    kind: Kind,
    tenants: &'a StringArray,
    fingerprints: &'a StringArray,
    texts: &'a StringArray,
    messages: Option<&'a StringArray>,
    titles: &'a StringArray,
    services: &'a StringArray,
    types: &'a StringArray,
    examples: Option<&'a ListArray>,
    ingested_at: &'a TimestampNanosecondArray,
    addresses: &'a UInt64Array,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch, kind: Kind) -> Result<Self> {
        let ingested_at = batch
            .column_by_name("ingested_at")
            .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>())
            .ok_or_else(|| unknown("ingested_at"))?;
        let addresses = batch
            .column_by_name(ADDRESS)
            .and_then(|column| column.as_primitive_opt::<UInt64Type>())
            .ok_or_else(|| unknown(ADDRESS))?;
        Ok(Self {
            kind,
            tenants: column(batch, "tenant_id")?,
            fingerprints: column(batch, "fingerprint")?,
            texts: column(batch, kind.column())?,
            messages: if kind == Kind::Masked { Some(column(batch, "message")?) } else { None },
            titles: column(batch, "title")?,
            services: column(batch, "service_name")?,
            types: column(batch, "exception_type")?,
            examples: batch.column_by_name("example_trace_ids").and_then(|column| column.as_list_opt()),
            ingested_at,
            addresses,
        })
    }

    /// The fragment that a row is in: the upper half of its address.
    fn fragment(&self, row: usize) -> u64 {
        self.addresses.value(row) >> 32
    }

    /// The text of a row; `None` where it has none.
    fn incident(&self, row: usize) -> Option<IncidentText> {
        let owned = |column: &StringArray| text(column, row).filter(|text| !text.is_empty()).map(str::to_owned);
        let (message, title) = (self.messages.and_then(owned), owned(self.titles));
        let embedded = match self.kind {
            Kind::Masked => owned(self.texts).or_else(|| title.clone()).or_else(|| message.clone()),
            Kind::Context | Kind::Shape => owned(self.texts),
        };
        let example = self.examples.filter(|examples| examples.is_valid(row)).and_then(|examples| {
            let examples = examples.value(row);
            examples.as_string_opt::<i32>()?.iter().flatten().next().map(str::to_owned)
        });
        Some(IncidentText {
            tenant: owned(self.tenants)?,
            fingerprint: owned(self.fingerprints)?,
            text: embedded?,
            message,
            title,
            service_name: owned(self.services),
            exception_type: owned(self.types),
            example_trace_id: example,
            ingested_at: self.ingested_at.is_valid(row).then(|| self.ingested_at.value(row)),
        })
    }
}

fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

pub(super) fn column<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<&'a StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::Schema {
        table: Table::IncidentCounts.name(),
        detail: format!("column {name} is not as this release knows it"),
    }
}
