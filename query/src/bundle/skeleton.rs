//! The skeleton of a trace: of each span what places it in the tree, where it ran and how it ended. It is
//! known of all spans, also of those that a bundle has no room for.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use tracerag_index::tree::{TreeSpan, places};
use tracerag_schemas::bundle::Edge;

use super::footprint::Footprint;
use super::origin::{Origin, Origins};
use crate::error::Result;
use crate::rows::{Columns, number, text};

/// Spans in one bundle.
pub(super) const MAX_SPANS: usize = 10_000;

/// Columns of `spans` that the skeleton is made of.
pub(super) const COLUMNS: [&str; 10] = [
    "span_id",
    "parent_span_id",
    "service_name",
    "service_instance_id",
    "start_time",
    "end_time",
    "status_code",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
];

/// What tells spans apart, also those that were written twice under one id, and sorts them: start and end in
/// ns, id, origin.
pub(super) type SpanKey = (i64, i64, String, Origin);

/// The keys of a batch.
pub(super) struct Keys<'a> {
    ids: &'a StringArray,
    starts: &'a TimestampNanosecondArray,
    ends: &'a TimestampNanosecondArray,
    origins: Origins<'a>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(columns: Columns<'a>) -> Result<Self> {
        Ok(Self {
            ids: columns.text("span_id")?,
            starts: columns.time("start_time")?,
            ends: columns.time("end_time")?,
            origins: Origins::of_columns(columns)?,
        })
    }

    pub(super) fn of_row(&self, row: usize) -> SpanKey {
        let start = number(self.starts, row).unwrap_or_default();
        let end = number(self.ends, row).unwrap_or(start);
        (start, end, text(self.ids, row).unwrap_or_default().to_owned(), self.origins.of(row))
    }
}

/// A span without its flesh.
pub(super) struct Bone<'a> {
    pub key: SpanKey,
    parent: Option<&'a str>,
    service: Option<&'a str>,
    instance: Option<&'a str>,
    fails: bool,
    /// Batch and row that it was read from.
    pub at: (usize, usize),
}

impl Bone<'_> {
    fn span_id(&self) -> &str {
        &self.key.2
    }
}

/// All spans of a trace, by start, end, id and origin.
pub(super) struct Skeleton<'a> {
    bones: Vec<Bone<'a>>,
}

impl<'a> Skeleton<'a> {
    /// The skeleton in batches that have [`COLUMNS`], among others.
    pub(super) fn of(batches: &'a [RecordBatch]) -> Result<Self> {
        let mut bones = Vec::new();
        for (index, batch) in batches.iter().enumerate() {
            let columns = Columns::of("spans", batch);
            let keys = Keys::of(columns)?;
            let (parents, statuses) = (columns.text("parent_span_id")?, columns.text("status_code")?);
            let (services, instances) = (columns.text("service_name")?, columns.text("service_instance_id")?);
            bones.extend((0..batch.num_rows()).map(|row| Bone {
                key: keys.of_row(row),
                parent: text(parents, row),
                service: text(services, row),
                instance: text(instances, row),
                fails: text(statuses, row) == Some("ERROR"),
                at: (index, row),
            }));
        }
        bones.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { bones })
    }

    pub(super) fn len(&self) -> usize {
        self.bones.len()
    }

    /// Where and when the trace ran.
    pub(super) fn footprint(&self) -> Footprint {
        let mut footprint = Footprint::default();
        for bone in &self.bones {
            footprint.add(bone.span_id(), bone.service, bone.instance, bone.key.0, bone.key.1);
        }
        footprint
    }

    /// Calls between different services, by the spans' parents.
    pub(super) fn graph(&self) -> Vec<Edge> {
        let services: HashMap<&str, Option<&str>> =
            self.bones.iter().map(|bone| (bone.span_id(), bone.service)).collect();
        let mut edges: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
        for bone in &self.bones {
            let caller = bone.parent.and_then(|parent| services.get(parent).copied().flatten());
            let (Some(from), Some(to)) = (caller, bone.service) else { continue };
            if from != to {
                let (calls, errors) = edges.entry((from, to)).or_default();
                *calls += 1;
                *errors += u64::from(bone.fails);
            }
        }
        edges
            .into_iter()
            .map(|((from, to), (calls, errors))| Edge { from: from.to_owned(), to: to.to_owned(), calls, errors })
            .collect()
    }

    /// The spans that a bundle has room for, in tree order, and whether they are on the critical path. Of a very
    /// large trace failing spans, what leads to them and the critical path stay first.
    pub(super) fn chosen(&self, root: Option<&str>) -> Vec<(&Bone<'a>, bool)> {
        let tree: Vec<TreeSpan<'_>> = self
            .bones
            .iter()
            .map(|bone| TreeSpan {
                span_id: bone.span_id(),
                parent_span_id: bone.parent,
                start: bone.key.0,
                end: bone.key.1,
            })
            .collect();
        let mut chosen: Vec<(&Bone<'a>, bool)> =
            places(&tree, root).iter().map(|place| (&self.bones[place.span], place.on_critical_path)).collect();
        if chosen.len() <= MAX_SPANS {
            return chosen;
        }
        let parents: HashMap<&str, Option<&str>> =
            chosen.iter().map(|(bone, _)| (bone.span_id(), bone.parent)).collect();
        let mut leading: HashSet<&str> = HashSet::new();
        for (bone, _) in chosen.iter().filter(|(bone, _)| bone.fails) {
            let mut above = Some(bone.span_id());
            while let Some(id) = above.filter(|id| leading.insert(*id)) {
                above = parents.get(id).copied().flatten();
            }
        }
        let first = |(bone, critical): &(&Bone<'a>, bool)| *critical || leading.contains(bone.span_id());
        let mut room = MAX_SPANS.saturating_sub(chosen.iter().filter(|span| first(span)).count());
        chosen.retain(|span| {
            if first(span) {
                return true;
            }
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        });
        chosen.truncate(MAX_SPANS);
        chosen
    }
}
