//! Heap summaries. Raw dumps never come this way; what comes is cut and scanned again.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use serde_json::Value;
use tracerag_schemas::{Table, ids};

use super::cleaning::Cleaner;
use super::json::{self, Object};
use super::rows::{OriginColumns, times};
use super::{ChangeError, Origin};
use crate::redact::{RedactionCounts, Redactor};

/// Entries of each list that are kept: the largest by bytes.
const KEPT_ENTRIES: usize = 50;
/// Steps of a retained path that are kept, from the root.
const KEPT_STEPS: usize = 64;

const FORMATS: &[&str] = &["pprof", "v8", "hprof", "jfr", "tracemalloc", "summary"];

/// Decodes heap records into rows of `heaps`.
pub struct HeapDecoder {
    redactor: Arc<Redactor>,
    counts: RedactionCounts,
    rows: HeapRows,
}

struct TypeEntry {
    name: String,
    bytes: i64,
    count: Option<i64>,
}

struct SiteEntry {
    function: Option<String>,
    file: Option<String>,
    line: Option<i64>,
    bytes: i64,
    count: Option<i64>,
}

struct HeapRow {
    trace_id: Option<String>,
    span_id: Option<String>,
    captured_at: i64,
    service: Option<String>,
    instance: Option<String>,
    commit: Option<String>,
    format: String,
    types: Vec<TypeEntry>,
    sites: Vec<SiteEntry>,
    paths: Vec<Vec<String>>,
    total_bytes: Option<i64>,
    snapshot_uri: Option<String>,
    snapshot_sha256: Option<String>,
    is_truncated: bool,
}

impl HeapDecoder {
    /// A decoder that masks with this policy: names of classes can be generated from data, those of instances from
    /// whatever their host is called.
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, counts: RedactionCounts::default(), rows: HeapRows::default() }
    }

    /// Decodes one record into one row. Fields that are not known are ignored, and so are entries of its lists
    /// that have no name or no bytes.
    ///
    /// # Errors
    /// Says what is wrong, for the dead letters.
    pub fn decode(&mut self, bytes: &[u8], origin: &Origin<'_>) -> Result<(), ChangeError> {
        let object = json::object(bytes)?;
        let row = self.read(&object, origin)?;
        self.rows.push(&row, origin);
        Ok(())
    }

    fn read(&mut self, object: &Object, origin: &Origin<'_>) -> Result<HeapRow, ChangeError> {
        let format = json::text(object, "format")?.ok_or(ChangeError::Missing { field: "format" })?;
        let format = format.to_ascii_lowercase();
        if !FORMATS.contains(&format.as_str()) {
            return Err(ChangeError::HeapFormat);
        }
        let (mut types, mut sites, mut paths) = (self.types(object)?, self.sites(object)?, self.paths(object)?);
        let snapshot_uri = json::text(object, "snapshot_uri")?.map(|uri| self.clean(without_query(&uri)));
        if types.is_empty() && sites.is_empty() && paths.is_empty() && snapshot_uri.is_none() {
            return Err(ChangeError::EmptyHeap);
        }
        let is_cut = types.len() > KEPT_ENTRIES
            || sites.len() > KEPT_ENTRIES
            || paths.len() > KEPT_ENTRIES
            || paths.iter().any(|path| path.len() > KEPT_STEPS);
        // The same dump gives the same row: by bytes, then by name.
        types.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        sites.sort_by(|a, b| {
            let place = |site: &SiteEntry| (site.file.clone(), site.line, site.function.clone());
            b.bytes.cmp(&a.bytes).then_with(|| place(a).cmp(&place(b)))
        });
        types.truncate(KEPT_ENTRIES);
        sites.truncate(KEPT_ENTRIES);
        paths.truncate(KEPT_ENTRIES);
        for path in &mut paths {
            path.truncate(KEPT_STEPS);
        }
        let says_cut = object.get("truncated").and_then(Value::as_bool).unwrap_or(false);
        let (service, instance) = (json::text(object, "service.name")?, json::text(object, "service.instance.id")?);
        let commit = json::any_text(object, &["vcs.ref.head.revision", "git_sha"])?;
        let digest = json::text(object, "snapshot_sha256")?.map(|digest| digest.to_ascii_lowercase());
        let mut clean = Cleaner::new(&self.redactor, &mut self.counts, origin.tenant);
        Ok(HeapRow {
            trace_id: hex_id::<16>(object, "trace_id")?,
            span_id: hex_id::<8>(object, "span_id")?,
            captured_at: captured_at(object)?.unwrap_or_else(|| origin.time()),
            service: service.map(|service| clean.attribute("service.name", &service)),
            instance: instance.map(|instance| clean.attribute("service.instance.id", &instance)),
            commit: commit.map(|commit| clean.attribute("vcs.ref.head.revision", &commit)),
            format,
            types,
            sites,
            paths,
            total_bytes: object.get("total_bytes").and_then(json::integer).filter(|bytes| *bytes >= 0),
            snapshot_uri,
            snapshot_sha256: digest.map(|digest| clean.text(&digest)),
            is_truncated: is_cut || says_cut,
        })
    }

    fn types(&mut self, object: &Object) -> Result<Vec<TypeEntry>, ChangeError> {
        let mut types = Vec::new();
        for entry in list(object, "top_types")? {
            let name = entry.get("type").and_then(Value::as_str);
            let (Some(name), Some(bytes)) = (name, amount(entry, "bytes")) else { continue };
            types.push(TypeEntry { name: self.clean(name), bytes, count: amount(entry, "count") });
        }
        Ok(types)
    }

    fn sites(&mut self, object: &Object) -> Result<Vec<SiteEntry>, ChangeError> {
        let mut sites = Vec::new();
        for entry in list(object, "top_sites")? {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
            let (function, file) = (text("function"), text("file"));
            let Some(bytes) = amount(entry, "bytes") else { continue };
            if function.is_none() && file.is_none() {
                continue;
            }
            sites.push(SiteEntry {
                function: function.map(|function| self.clean(function)),
                file: file.map(|file| self.clean(&without_home(file))),
                line: amount(entry, "line"),
                bytes,
                count: amount(entry, "count"),
            });
        }
        Ok(sites)
    }

    fn paths(&mut self, object: &Object) -> Result<Vec<Vec<String>>, ChangeError> {
        let mut paths = Vec::new();
        for entry in list(object, "retained_paths")? {
            let Value::Array(steps) = entry else { continue };
            // One more than is kept, so that the cut is seen.
            let steps = steps.iter().filter_map(Value::as_str).take(KEPT_STEPS + 1);
            let path: Vec<String> = steps.map(|step| self.clean(step)).collect();
            if !path.is_empty() {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    fn clean(&mut self, text: &str) -> String {
        self.redactor.redact_text(text, &mut self.counts).into_owned()
    }

    /// Number of rows waiting.
    pub fn len(&self) -> usize {
        self.rows.origin.len()
    }

    /// Whether no row is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was redacted since the last call.
    pub fn take_redactions(&mut self) -> RedactionCounts {
        std::mem::take(&mut self.counts)
    }

    /// The rows so far, in the order of the records, with the schema `Table::Heaps.lake_schema()`.
    ///
    /// # Errors
    /// When the rows do not fit the schema, which only a defect can cause.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows.finish()
    }
}

fn list<'o>(object: &'o Object, field: &str) -> Result<&'o [Value], ChangeError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(ChangeError::FieldType { field: field.to_owned(), wanted: "a list" }),
    }
}

/// Bytes, counts and lines are integers that are not negative.
fn amount(entry: &Value, field: &str) -> Option<i64> {
    entry.get(field).and_then(json::integer).filter(|amount| *amount >= 0)
}

/// An RFC 3339 time, or an integer of nanoseconds since the epoch, as profilers write it.
fn captured_at(object: &Object) -> Result<Option<i64>, ChangeError> {
    match object.get("captured_at") {
        Some(Value::Number(_)) => {
            let ns = object.get("captured_at").and_then(json::integer);
            ns.map(Some).ok_or_else(|| ChangeError::Time { field: "captured_at".to_owned() })
        }
        _ => json::time(object, "captured_at"),
    }
}

/// A valid id in lower case; an invalid one counts as absent, as in OTLP.
fn hex_id<const N: usize>(object: &Object, field: &str) -> Result<Option<String>, ChangeError> {
    let id = json::text(object, field)?.and_then(|text| ids::parse_hex::<N>(text.trim()));
    Ok(id.map(|id| {
        let mut text = String::with_capacity(2 * N);
        ids::push_hex(&id, &mut text);
        text
    }))
}

/// The query of a pre-signed URL is a credential, and says nothing about the place.
fn without_query(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or(uri)
}

/// A path without the home directory that it starts with: that is a person's name.
fn without_home(path: &str) -> Cow<'_, str> {
    let unix = path.replace('\\', "/");
    let rest = unix.get(1..).filter(|rest| rest.starts_with(':')).map_or(unix.as_str(), |rest| &rest[1..]);
    for home in ["/home/", "/Users/"] {
        if let Some((_, below)) = rest.strip_prefix(home).and_then(|rest| rest.split_once('/')) {
            return Cow::Owned(below.to_owned());
        }
    }
    match rest.strip_prefix("/root/") {
        Some(below) => Cow::Owned(below.to_owned()),
        None => Cow::Borrowed(path),
    }
}

struct HeapRows {
    trace_id: StringBuilder,
    span_id: StringBuilder,
    captured_at: TimestampNanosecondBuilder,
    service: StringBuilder,
    instance: StringBuilder,
    commit: StringBuilder,
    format: StringBuilder,
    types: ListBuilder<StructBuilder>,
    sites: ListBuilder<StructBuilder>,
    paths: ListBuilder<ListBuilder<StringBuilder>>,
    total_bytes: Int64Builder,
    snapshot_uri: StringBuilder,
    snapshot_sha256: StringBuilder,
    is_truncated: BooleanBuilder,
    origin: OriginColumns,
}

fn struct_list(names: &[(&str, DataType)]) -> ListBuilder<StructBuilder> {
    let fields: Fields = names.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect();
    ListBuilder::new(StructBuilder::from_fields(fields, 0))
}

fn append_text(entry: &mut StructBuilder, column: usize, text: Option<&str>) {
    if let Some(builder) = entry.field_builder::<StringBuilder>(column) {
        builder.append_option(text);
    }
}

fn append_int(entry: &mut StructBuilder, column: usize, number: Option<i64>) {
    if let Some(builder) = entry.field_builder::<Int64Builder>(column) {
        builder.append_option(number);
    }
}

impl Default for HeapRows {
    fn default() -> Self {
        let text = StringBuilder::new;
        let (string, int) = (DataType::Utf8, DataType::Int64);
        Self {
            trace_id: text(),
            span_id: text(),
            captured_at: times(),
            service: text(),
            instance: text(),
            commit: text(),
            format: text(),
            types: struct_list(&[("type", string.clone()), ("bytes", int.clone()), ("count", int.clone())]),
            sites: struct_list(&[
                ("function", string.clone()),
                ("file", string),
                ("line", int.clone()),
                ("bytes", int.clone()),
                ("count", int),
            ]),
            paths: ListBuilder::new(ListBuilder::new(text())),
            total_bytes: Int64Builder::new(),
            snapshot_uri: text(),
            snapshot_sha256: text(),
            is_truncated: BooleanBuilder::new(),
            origin: OriginColumns::default(),
        }
    }
}

impl HeapRows {
    fn push(&mut self, row: &HeapRow, origin: &Origin<'_>) {
        self.trace_id.append_option(row.trace_id.as_deref());
        self.span_id.append_option(row.span_id.as_deref());
        self.captured_at.append_value(row.captured_at);
        self.service.append_option(row.service.as_deref());
        self.instance.append_option(row.instance.as_deref());
        self.commit.append_option(row.commit.as_deref());
        self.format.append_value(&row.format);
        for of in &row.types {
            let entry = self.types.values();
            append_text(entry, 0, Some(&of.name));
            append_int(entry, 1, Some(of.bytes));
            append_int(entry, 2, of.count);
            entry.append(true);
        }
        self.types.append(!row.types.is_empty());
        for site in &row.sites {
            let entry = self.sites.values();
            append_text(entry, 0, site.function.as_deref());
            append_text(entry, 1, site.file.as_deref());
            append_int(entry, 2, site.line);
            append_int(entry, 3, Some(site.bytes));
            append_int(entry, 4, site.count);
            entry.append(true);
        }
        self.sites.append(!row.sites.is_empty());
        for path in &row.paths {
            for step in path {
                self.paths.values().values().append_value(step);
            }
            self.paths.values().append(true);
        }
        self.paths.append(!row.paths.is_empty());
        self.total_bytes.append_option(row.total_bytes);
        self.snapshot_uri.append_option(row.snapshot_uri.as_deref());
        self.snapshot_sha256.append_option(row.snapshot_sha256.as_deref());
        self.is_truncated.append_value(row.is_truncated);
        self.origin.push(origin);
    }

    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let own: Vec<ArrayRef> = vec![
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.captured_at.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.instance.finish()),
            Arc::new(self.commit.finish()),
            Arc::new(self.format.finish()),
            Arc::new(self.types.finish()),
            Arc::new(self.sites.finish()),
            Arc::new(self.paths.finish()),
            Arc::new(self.total_bytes.finish()),
            Arc::new(self.snapshot_uri.finish()),
            Arc::new(self.snapshot_sha256.finish()),
            Arc::new(self.is_truncated.finish()),
        ];
        self.origin.finish(Table::Heaps, own)
    }
}

#[cfg(test)]
#[path = "heaps_test.rs"]
mod tests;
