//! What the structure of a trace says: its root, its services, its state, and what it lacks.

use arrow::array::{Int64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::Int64Type;

use crate::columns::{Ids, Text, number, numbers, times};
use crate::error::Result;

/// The columns that a summary looks at, of spans in flight or from the lake.
pub(crate) struct SpanColumns<'a> {
    pub ids: Ids<'a, 8>,
    parents: Ids<'a, 8>,
    names: Text<'a>,
    services: Text<'a>,
    environments: Text<'a>,
    statuses: Text<'a>,
    pub starts: &'a TimestampNanosecondArray,
    pub ends: &'a TimestampNanosecondArray,
    dropped: [&'a Int64Array; 3],
}

/// What spans lost by the time they came, in the order of [`SpanColumns::dropped`].
const DROPPED: [&str; 3] = ["dropped_attributes", "dropped_events", "dropped_links"];

impl<'a> SpanColumns<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        let dropped = |name: &str| numbers::<Int64Type>(batch, name, "Int64");
        Ok(Self {
            ids: Ids::of(batch, "span_id")?,
            parents: Ids::of(batch, "parent_span_id")?,
            names: Text::of(batch, "name")?,
            services: Text::of(batch, "service_name")?,
            environments: Text::of(batch, "deployment_environment_name")?,
            statuses: Text::of(batch, "status_code")?,
            starts: times(batch, "start_time")?,
            ends: times(batch, "end_time")?,
            dropped: [
                dropped("dropped_attributes_count")?,
                dropped("dropped_events_count")?,
                dropped("dropped_links_count")?,
            ],
        })
    }
}

/// A span of one of several tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanRef {
    pub table: usize,
    pub row: usize,
}

/// The root of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root<'a> {
    pub span_id: Option<[u8; 8]>,
    pub name: Option<&'a str>,
    pub service: Option<&'a str>,
}

/// What a row of `traces` says of the structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary<'a> {
    /// The span without parent; of several the one that starts first.
    pub root: Option<Root<'a>>,
    /// By their first start.
    pub services: Vec<&'a str>,
    /// Services by how near to the root they first appear, then by start: `checkout > payments`.
    pub path: Option<String>,
    /// The root's environment, else the first that is named.
    pub environment: Option<&'a str>,
    pub start: Option<i64>,
    pub end: Option<i64>,
    /// ERROR if any span is, else the root's.
    pub status: Option<&'a str>,
    pub spans: i64,
    pub errors: i64,
    /// Why it is not complete; empty if it is.
    pub reasons: Vec<&'static str>,
}

const ERROR: &str = "ERROR";
const UNKNOWN: u32 = u32::MAX;
const ON_THE_WAY: u32 = u32::MAX - 1;

/// Depth below the topmost span that is here, for each span; and whether any parent is missing. Spans that
/// are each other's parents count as topmost where the circle is entered.
fn depths(tables: &[SpanColumns<'_>], spans: &[SpanRef]) -> (Vec<u32>, bool) {
    let mut ids: Vec<([u8; 8], u32)> = spans
        .iter()
        .enumerate()
        .filter_map(|(index, span)| tables[span.table].ids.get(span.row).map(|id| (id, index as u32)))
        .collect();
    ids.sort_unstable();
    let mut missing = false;
    let parents: Vec<Option<u32>> = spans
        .iter()
        .map(|span| {
            let parent = tables[span.table].parents.get(span.row)?;
            let found = ids.binary_search_by_key(&parent, |(id, _)| *id).ok().map(|at| ids[at].1);
            missing |= found.is_none();
            found
        })
        .collect();
    let mut depths = vec![UNKNOWN; spans.len()];
    let mut way = vec![];
    for span in 0..spans.len() {
        let mut at = span as u32;
        let above = loop {
            match depths[at as usize] {
                UNKNOWN => {
                    depths[at as usize] = ON_THE_WAY;
                    way.push(at);
                    match parents[at as usize] {
                        Some(parent) => at = parent,
                        None => break None,
                    }
                }
                ON_THE_WAY => break None,
                depth => break Some(depth),
            }
        };
        let mut next = above.map_or(0, |depth| depth + 1);
        while let Some(at) = way.pop() {
            depths[at as usize] = next;
            next += 1;
        }
    }
    (depths, missing)
}

/// Sums a trace up. `spans` have to be in order of start and id, each once.
pub(crate) fn summarise<'a>(tables: &[SpanColumns<'a>], spans: &[SpanRef], truncated: bool) -> Summary<'a> {
    let (depths, parent_missing) = depths(tables, spans);
    let mut root = None;
    let (mut start, mut end, mut environment) = (None, None, None);
    let mut errors = 0;
    let mut services: Vec<(&'a str, u32)> = vec![];
    let mut dropped = [false; 3];
    for (span, depth) in spans.iter().zip(depths) {
        let (columns, row) = (&tables[span.table], span.row);
        if root.is_none() && columns.parents.get(row).is_none() {
            root = Some(*span);
        }
        start = match (start, number(columns.starts, row)) {
            (Some(a), Some(b)) => Some(std::cmp::min::<i64>(a, b)),
            (a, b) => a.or(b),
        };
        end = end.max(number(columns.ends, row));
        environment = environment.or_else(|| columns.environments.get(row));
        errors += i64::from(columns.statuses.get(row) == Some(ERROR));
        if let Some(service) = columns.services.get(row) {
            match services.iter_mut().find(|(known, _)| *known == service) {
                Some((_, least)) => *least = depth.min(*least),
                None => services.push((service, depth)),
            }
        }
        for (dropped, counts) in dropped.iter_mut().zip(columns.dropped) {
            *dropped |= number(counts, row).is_some_and(|count| count > 0);
        }
    }
    let of_root = |column: fn(&SpanColumns<'a>) -> Text<'a>| {
        root.and_then(|span: SpanRef| column(&tables[span.table]).get(span.row))
    };
    let mut reasons = vec![];
    if root.is_none() {
        reasons.push("root_missing");
    }
    if parent_missing {
        reasons.push("parent_missing");
    }
    reasons.extend(DROPPED.iter().zip(dropped).filter(|(_, dropped)| *dropped).map(|(name, _)| *name));
    if truncated {
        reasons.push("truncated");
    }
    let names: Vec<&'a str> = services.iter().map(|(service, _)| *service).collect();
    services.sort_by_key(|(_, depth)| *depth);
    let path: Vec<&str> = services.into_iter().map(|(service, _)| service).collect();
    Summary {
        root: root.map(|span| Root {
            span_id: tables[span.table].ids.get(span.row),
            name: of_root(|columns| columns.names),
            service: of_root(|columns| columns.services),
        }),
        services: names,
        path: (!path.is_empty()).then(|| path.join(" > ")),
        environment: of_root(|columns| columns.environments).or(environment),
        start,
        end,
        status: if errors > 0 { Some(ERROR) } else { of_root(|columns| columns.statuses) },
        spans: spans.len() as i64,
        errors,
        reasons,
    }
}
