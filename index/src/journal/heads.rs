//! Heads: one row for each consistent picture of all tables. Readers poll nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use lance::Dataset;
use lance::dataset::{InsertBuilder, WriteMode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracerag_schemas::tables::timestamp;
use tracerag_schemas::version::FIRST_SCHEMA_VERSION;

use super::fence::{self, Fenced};
use super::{DatasetHead, Head, now};
use crate::columns::fit;
use crate::error::{At, Error, Result};
use crate::lake::Lake;
use crate::stage::appended;

/// Name of the dataset.
pub(crate) const HEADS: &str = "heads";
/// The column of the lake's schema version.
const SCHEMA_VERSION: &str = "schema_version";

/// The columns of `heads`. What readers look at as a whole is JSON; what is searched is a column.
pub(crate) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("sequence", DataType::UInt64, false),
            Field::new("position", DataType::UInt64, false),
            Field::new("published_at", timestamp(), false),
            Field::new("datasets", DataType::Utf8, false),
            Field::new("sources", DataType::Utf8, false),
            Field::new("void", DataType::Utf8, false),
            Field::new("dropped", DataType::Utf8, false),
            // A lake of the first schema may lack it.
            Field::new(SCHEMA_VERSION, DataType::UInt32, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// Makes sure that there is a head, and that it has the small tables of this release.
pub(crate) async fn create(lake: &Lake, small: Vec<(String, DatasetHead)>) -> Result<()> {
    let first = Head {
        schema_version: lake.schemas().version(),
        datasets: small.iter().cloned().collect(),
        published_at: now(),
        ..Head::default()
    };
    let absent = match lake.newest(HEADS).await {
        Ok(_) => false,
        Err(Error::Lance { source, .. }) if crate::error::is_absent(&source) => true,
        Err(error) => return Err(error),
    };
    if absent {
        lake.create(HEADS, encode(&first)?).await?;
    }
    for attempt in 0..fence::ATTEMPTS {
        let (heads, newest) = lake.head().await?;
        let mut next = (*newest).clone();
        for (name, dataset) in &small {
            next.datasets.entry(name.clone()).or_insert_with(|| dataset.clone());
        }
        if next == *newest || publish(lake, &heads, next).await?.is_some() {
            return Ok(());
        }
        fence::back_off(attempt).await;
    }
    Err(Error::Contention { dataset: HEADS.to_owned(), step: "creating", attempts: fence::ATTEMPTS })
}

/// Publishes a head after the one that `heads` ends with. `None`: another head came first.
pub(crate) async fn publish(lake: &Lake, heads: &Arc<Dataset>, mut next: Head) -> Result<Option<Arc<Head>>> {
    next.sequence += 1;
    next.published_at = now();
    let params = lake.write_params(WriteMode::Append);
    let staged = InsertBuilder::new(Arc::clone(heads))
        .with_params(&params)
        .execute_uncommitted(vec![fit(heads, &encode(&next)?).at(HEADS, "encoding")?])
        .await
        .at(HEADS, "staging")?;
    let fragments = appended(HEADS, staged.operation)?;
    let keys = HashSet::from([fence::head_key()]);
    match fence::append(lake, heads, fragments, keys, HashMap::new()).await.at(HEADS, "publishing")? {
        Fenced::Landed(dataset) => {
            let next = Arc::new(next);
            lake.know_head(&dataset, &next);
            lake.remember(HEADS, dataset);
            Ok(Some(next))
        }
        Fenced::Lost => Ok(None),
    }
}

/// The newest head in a version of `heads`.
pub(crate) async fn read_newest(heads: &Dataset) -> Result<Head> {
    // Heads are appended in order and merges keep it (see `maintain::merge`), so the last rows decide.
    for fragment in heads.fragments().iter().rev() {
        let mut scan = heads.scan();
        scan.with_fragments(vec![fragment.clone()]);
        let batch = scan.try_into_batch().boxed().await.at(HEADS, "reading the newest")?;
        if let Some(newest) = decode(&batch)?.into_iter().max_by_key(|head| head.sequence) {
            return Ok(newest);
        }
    }
    Err(Error::Damaged { position: 0, detail: "there is no head; restore the folder heads.lance".to_owned() })
}

/// All heads that are kept, oldest first.
pub(crate) async fn read_all(heads: &Dataset) -> Result<Vec<Head>> {
    let batch = heads.scan().try_into_batch().boxed().await.at(HEADS, "reading")?;
    let mut all = decode(&batch)?;
    all.sort_by_key(|head| head.sequence);
    Ok(all)
}

impl Lake {
    /// The last head of a position, if it was the newest within a time, and how long ago it ceased to be that. `None`: there
    /// is none, or none that readers may still begin with. So whoever reads in several steps can take each at another
    /// process, by the position alone.
    ///
    /// # Errors
    /// When `heads` cannot be read.
    pub async fn head_at(&self, position: u64, within: Duration) -> Result<Option<(Head, Duration)>> {
        let (heads, newest) = self.head().await?;
        if newest.position == position {
            return Ok(Some(((*newest).clone(), Duration::ZERO)));
        }
        let Some((sequence, ceased)) = find(&heads, position).await? else { return Ok(None) };
        // A clock that is behind that of whoever published makes the head look younger, never gone.
        let ago = Duration::from_nanos(u64::try_from(now().saturating_sub(ceased)).unwrap_or_default());
        if ago > within {
            return Ok(None);
        }
        let mut scan = heads.scan();
        scan.filter(&format!("sequence = {sequence}")).at(HEADS, "reading one")?;
        let batch = scan.try_into_batch().boxed().await.at(HEADS, "reading one")?;
        Ok(decode(&batch)?.pop().map(|head| (head, ago)))
    }
}

/// The number of the last head of a position, and when the next one was published.
async fn find(heads: &Dataset, position: u64) -> Result<Option<(u64, i64)>> {
    let mut scan = heads.scan();
    // Without what a head says of the tables, which is most of it.
    scan.project(&["sequence", "position", "published_at"]).at(HEADS, "looking for one")?;
    let batch = scan.try_into_batch().boxed().await.at(HEADS, "looking for one")?;
    let sequences = column(&batch, "sequence")?.as_primitive::<UInt64Type>().values();
    let positions = column(&batch, "position")?.as_primitive::<UInt64Type>().values();
    let published = column(&batch, "published_at")?.as_primitive::<TimestampNanosecondType>().values();
    let mut all: Vec<(u64, u64, i64)> =
        sequences.iter().zip(positions).zip(published).map(|((sequence, at), time)| (*sequence, *at, *time)).collect();
    all.sort_unstable();
    // Each with the one after it: the newest of all has none, and is known without looking.
    let mut pairs = all.iter().zip(all.iter().skip(1)).rev();
    let found = pairs.find(|((_, at, _), _)| *at == position);
    Ok(found.map(|((sequence, ..), (.., ceased))| (*sequence, *ceased)))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::Damaged { position: 0, detail: format!("heads lack the column {name}") })
}

fn encode(head: &Head) -> Result<RecordBatch> {
    fn json(position: u64, value: &impl Serialize) -> Result<ArrayRef> {
        let text =
            serde_json::to_string(value).map_err(|error| Error::Damaged { position, detail: error.to_string() })?;
        Ok(Arc::new(StringArray::from(vec![text])))
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from(vec![head.sequence])),
        Arc::new(UInt64Array::from(vec![head.position])),
        Arc::new(TimestampNanosecondArray::from(vec![head.published_at]).with_timezone("UTC")),
        json(head.position, &head.datasets)?,
        json(head.position, &head.sources)?,
        json(head.position, &head.void)?,
        json(head.position, &head.dropped)?,
        Arc::new(UInt32Array::from(vec![head.schema_version])),
    ];
    RecordBatch::try_new(schema(), columns).at(HEADS, "encoding")
}

fn decode(batch: &RecordBatch) -> Result<Vec<Head>> {
    fn json<T: DeserializeOwned>(position: u64, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| Error::Damaged { position, detail: error.to_string() })
    }
    let sequences = column(batch, "sequence")?.as_primitive::<UInt64Type>();
    let positions = column(batch, "position")?.as_primitive::<UInt64Type>();
    let published = column(batch, "published_at")?.as_primitive::<TimestampNanosecondType>();
    let datasets = column(batch, "datasets")?.as_string::<i32>();
    let sources = column(batch, "sources")?.as_string::<i32>();
    let void = column(batch, "void")?.as_string::<i32>();
    let dropped = column(batch, "dropped")?.as_string::<i32>();
    let versions = batch.column_by_name(SCHEMA_VERSION).map(|column| column.as_primitive::<UInt32Type>());
    (0..batch.num_rows())
        .map(|row| {
            let position = positions.value(row);
            let datasets: BTreeMap<String, DatasetHead> = json(position, datasets.value(row))?;
            let mut head = Head {
                sequence: sequences.value(row),
                position,
                schema_version: versions
                    .filter(|versions| versions.is_valid(row))
                    .map_or(FIRST_SCHEMA_VERSION, |versions| versions.value(row)),
                published_at: published.value(row),
                datasets,
                stream_times: vec![],
                sources: json(position, sources.value(row))?,
                void: json(position, void.value(row))?,
                dropped: json(position, dropped.value(row))?,
            };
            head.derive_stream_times();
            Ok(head)
        })
        .collect()
}

impl Head {
    /// Fills `stream_times` from `sources`.
    pub(crate) fn derive_stream_times(&mut self) {
        self.stream_times =
            self.sources.iter().filter_map(|state| Some((state.source.clone(), state.stream_time?))).collect();
    }
}
