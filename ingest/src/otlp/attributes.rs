//! Lists of attributes: two columns each, the entries and the types of those that are no strings.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use rustc_hash::FxHashSet;
use tracerag_schemas::attributes::{entry_fields, type_name};
use tracerag_schemas::conventions::Rename;
use xxhash_rust::xxh3::xxh3_128_with_secret;

use super::any_value::{AnyValue, ValueWriter, read_pair};
use super::clean::CleanTexts;
use super::column::{Lists, TextColumn};
use super::counts::DecodeCounts;
use super::derive::{Derived, Side, derive, string, text};
use super::keys::{KeyTable, Promoted};
use super::plain_json::plain_json;
use super::wire::{ShortPair, Slice, WireError};
use crate::redact::{AttributeRule, Class, RedactionCounts, Redactor};

/// In longer lists the values of old and new names are not compared: it would take quadratic time.
const MAX_COMPARED: usize = 1024;

/// `List<Struct<keys, values>>`.
#[derive(Default)]
struct EntryLists {
    lists: Lists,
    keys: TextColumn,
    values: TextColumn,
}

impl EntryLists {
    fn end_row(&mut self) {
        self.lists.end_row(self.keys.len());
    }

    fn truncate(&mut self, rows: usize) {
        let entries = self.lists.truncate(rows);
        self.keys.truncate(entries);
        self.values.truncate(entries);
    }

    fn bytes(&self) -> usize {
        self.lists.bytes() + self.keys.bytes() + self.values.bytes()
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let entries = self.keys.len();
        let columns = vec![self.keys.finish(entries)?, self.values.finish(entries)?];
        let items = StructArray::try_new(entry_fields(), columns, None)?;
        self.lists.finish(rows, item_field(), Arc::new(items))
    }
}

fn item_field() -> FieldRef {
    Arc::new(Field::new("item", DataType::Struct(entry_fields()), false))
}

/// The columns `..._attributes` and `..._attributes_types` of one kind of record.
#[derive(Default)]
pub(super) struct AttributeColumns {
    entries: EntryLists,
    types: EntryLists,
}

impl AttributeColumns {
    /// The text of an entry as bytes that are known to be UTF-8.
    #[inline]
    pub(super) fn known_text(&self, entry: usize) -> Option<&[u8]> {
        self.entries.values.get_known(entry)
    }

    /// The text of an entry by its position among all entries of the column.
    pub(super) fn text(&self, entry: usize) -> Option<&str> {
        self.entries.values.get(entry)
    }

    fn push_type(&mut self, key: &str, kind: Option<&str>) {
        self.types.keys.push(key);
        match kind {
            Some(kind) => self.types.values.push(kind),
            None => self.types.values.push_null(),
        }
    }

    fn end_row(&mut self) {
        self.entries.end_row();
        self.types.end_row();
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.entries.truncate(rows);
        self.types.truncate(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.bytes() + self.types.bytes()
    }

    /// The two columns with `rows` rows; the builders are empty again.
    pub(super) fn finish(&mut self, rows: usize) -> Result<[ArrayRef; 2], ArrowError> {
        Ok([self.entries.finish(rows)?, self.types.finish(rows)?])
    }
}

/// A value that is also needed elsewhere than in its list.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) promoted: Promoted,
    /// Position of the stored text, see [`AttributeColumns::text`].
    pub(super) entry: usize,
    /// The number, if the value is one.
    pub(super) int: Option<i64>,
}

/// A payload whose text must not be stored.
pub(super) struct FoundPayload {
    pub(super) is_response: bool,
    pub(super) content_type: String,
    pub(super) text: String,
}

/// Which old names become new ones in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Renames {
    /// None: the list (of a scope, or the metadata of a metric) belongs to no convention that was ever renamed.
    Off,
    /// All, for a record of this side.
    On(Side),
}

#[derive(Clone, Copy)]
struct Entry {
    key: u32,
    /// As it was sent.
    name: Slice,
    value: Option<Slice>,
    /// The string in `value`, where that was seen on the way.
    text: Option<Slice>,
}

impl Entry {
    #[inline]
    fn value(self, data: &[u8]) -> Result<AnyValue<'_>, WireError> {
        match (self.text, self.value) {
            (Some(text), _) => Ok(AnyValue::Text(text.of(data))),
            (None, Some(value)) => AnyValue::read(data, value),
            (None, None) => Ok(AnyValue::Absent),
        }
    }
}

/// Reads lists of attributes; renames, redacts and writes them.
pub(super) struct Walker {
    pub(super) redactor: Arc<Redactor>,
    pub(super) counts: DecodeCounts,
    pub(super) redactions: RedactionCounts,
    /// Keys the hashes of log records.
    record_secret: Box<[u8]>,
    keys: KeyTable,
    /// Of the record whose list is written.
    side: Side,
    entries: Vec<Entry>,
    has_old: bool,
    duplicates: FxHashSet<u32>,
    /// Names of spans and the like that nothing was masked in.
    clean: CleanTexts<32>,
    /// The same of trace states, which change with each trace and would push out the names.
    clean_states: CleanTexts<4>,
    /// What the list written last has for other columns.
    pub(super) found: Vec<Found>,
    /// The payloads of the list written last.
    pub(super) payloads: Vec<FoundPayload>,
}

impl Walker {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            record_secret: Box::from(redactor.secret("record-hash")),
            redactor,
            counts: DecodeCounts::default(),
            redactions: RedactionCounts::default(),
            keys: KeyTable::default(),
            side: Side::Other,
            entries: Vec::new(),
            has_old: false,
            duplicates: FxHashSet::default(),
            clean: CleanTexts::default(),
            clean_states: CleanTexts::default(),
            found: Vec::new(),
            payloads: Vec::new(),
        }
    }

    /// Forgets the list before.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.entries.clear();
        self.found.clear();
        self.payloads.clear();
        self.has_old = false;
        if !self.duplicates.is_empty() {
            self.duplicates.clear();
        }
        self.keys.begin_list();
    }

    /// Takes in a `KeyValue`.
    #[inline]
    pub(super) fn add(&mut self, data: &[u8], pair: Slice) -> Result<(), WireError> {
        let (key, value, text) = match ShortPair::read(data, pair) {
            Some(ShortPair { key, value, text }) => (key, Some(value), Some(text)),
            None => {
                let (key, value) = read_pair(data, pair)?;
                (key, value, None)
            }
        };
        let id = self.keys.id(key.of(data), &self.redactor, &mut self.redactions);
        self.has_old |= self.keys.get(id).rename.is_some();
        if self.keys.mark(id) {
            self.counts.duplicate_keys += 1;
            self.duplicates.insert(id);
        }
        self.entries.push(Entry { key: id, name: key, value, text });
        Ok(())
    }

    /// The hash of what a log record is known by. It is taken of what was sent, personal data included, and stored
    /// where it can be read, so it is keyed: nobody finds out by trying what a record said.
    pub(super) fn record_hash(&self, identity: &[u8]) -> u128 {
        xxh3_128_with_secret(identity, &self.record_secret)
    }

    /// Appends keys as they were sent and undecoded values, each with its length, to what a hash is taken of.
    pub(super) fn push_identity(&self, data: &[u8], out: &mut Vec<u8>) {
        for entry in &self.entries {
            let value = entry.value.unwrap_or_default().of(data);
            push_part(entry.name.of(data), out);
            push_part(value, out);
        }
    }

    /// Writes the list as a row of `out`.
    ///
    /// # Errors
    /// When a value is no protobuf or nested too deeply; the row is then unfinished.
    pub(super) fn write(
        &mut self,
        data: &[u8],
        tenant: &str,
        renames: Renames,
        out: &mut AttributeColumns,
    ) -> Result<(), WireError> {
        self.side = match renames {
            Renames::On(side) => side,
            Renames::Off => Side::Other,
        };
        match renames {
            Renames::On(_) if self.has_old => {
                // New names stand before the old ones that lead to them: see `conventions`.
                for is_target in [true, false] {
                    for index in 0..self.entries.len() {
                        let entry = self.entries[index];
                        if self.keys.get(entry.key).is_target == is_target {
                            self.write_entry(data, tenant, entry, out)?;
                        }
                    }
                }
                self.write_derived(data, tenant, out)?;
            }
            _ => {
                for index in 0..self.entries.len() {
                    self.write_entry(data, tenant, self.entries[index], out)?;
                }
            }
        }
        out.end_row();
        self.name_content_types(out);
        Ok(())
    }

    #[inline]
    fn write_entry(
        &mut self,
        data: &[u8],
        tenant: &str,
        entry: Entry,
        out: &mut AttributeColumns,
    ) -> Result<(), WireError> {
        let value = entry.value(data)?;
        let info = self.keys.get(entry.key);
        let (rule, promoted) = (info.rule(self.side), info.promoted);
        if rule == AttributeRule::Drop {
            self.redactions.add(Class::Dropped);
            return Ok(());
        }
        let position = out.entries.keys.len();
        out.entries.keys.push(&info.name);
        let mut kind = if rule == AttributeRule::Payload {
            self.take_payload(data, entry.key, value)?;
            out.entries.values.push(Class::Payload.mask());
            None
        } else if let AnyValue::Text(text) = value {
            self.write_string(text, tenant, entry.key, &mut out.entries.values);
            None
        } else {
            self.writer(data, tenant).push(value, rule, Some(entry.key), &mut out.entries.values)?
        };
        let is_duplicate = !self.duplicates.is_empty() && self.duplicates.contains(&entry.key);
        if is_duplicate && kind.is_none() && !matches!(value, AnyValue::Absent) {
            kind = Some(type_name::STRING);
        }
        if kind.is_some() || is_duplicate {
            // Types of a key that comes more than once stand in the order of its entries, none left out.
            let name = &self.keys.get(entry.key).name;
            out.push_type(name, kind);
        }
        if let Some(promoted) = promoted {
            self.found.push(Found { promoted, entry: position, int: as_int(value, kind) });
        }
        Ok(())
    }

    /// A string value: one that its key had a moment ago is taken as it is, others are looked at.
    #[inline]
    fn write_string(&mut self, text: &[u8], tenant: &str, key: u32, out: &mut TextColumn) {
        let info = self.keys.get(key);
        let is_clean_known = info.is_clean_known(self.side);
        if is_clean_known && info.clean.has(text) {
            out.push_known(text);
            return;
        }
        let valid = super::any_value::utf8(text, &mut self.counts.invalid_utf8);
        let redacted = self.redactor.redact_value(tenant, info.rule(self.side), &valid, &mut self.redactions);
        out.push(&redacted);
        if is_clean_known && matches!((&valid, &redacted), (Cow::Borrowed(_), Cow::Borrowed(_))) {
            self.keys.get_mut(key).clean.keep(text);
        }
    }

    fn writer<'w>(&'w mut self, data: &'w [u8], tenant: &'w str) -> ValueWriter<'w> {
        ValueWriter {
            data,
            tenant,
            side: self.side,
            redactor: &self.redactor,
            keys: &mut self.keys,
            redactions: &mut self.redactions,
            invalid_utf8: &mut self.counts.invalid_utf8,
        }
    }

    /// A value that belongs to no list (the body of a log record) as a row of `out`; says its type.
    pub(super) fn write_value(
        &mut self,
        data: &[u8],
        tenant: &str,
        value: AnyValue<'_>,
        out: &mut TextColumn,
    ) -> Result<Option<&'static str>, WireError> {
        self.side = Side::Other;
        self.writer(data, tenant).push(value, AttributeRule::Scan, None, out)
    }

    /// A text that is searched like any other; absent if it is empty.
    #[inline]
    pub(super) fn write_text(&mut self, bytes: &[u8], row: usize, out: &mut TextColumn) {
        if bytes.is_empty() {
            return;
        }
        if self.clean.has(bytes) {
            out.set_known(row, bytes);
        } else if self.write_searched(bytes, row, out) {
            self.clean.keep(bytes);
        }
    }

    /// The state of a trace, which other vendors' systems write: a text like any other.
    #[inline]
    pub(super) fn write_state(&mut self, bytes: &[u8], row: usize, out: &mut TextColumn) {
        if bytes.is_empty() {
            return;
        }
        if self.clean_states.has(bytes) {
            out.set_known(row, bytes);
        } else if self.write_searched(bytes, row, out) {
            self.clean_states.keep(bytes);
        }
    }

    /// Searches and writes a text; says whether it was left as it is.
    fn write_searched(&mut self, bytes: &[u8], row: usize, out: &mut TextColumn) -> bool {
        let text = super::any_value::utf8(bytes, &mut self.counts.invalid_utf8);
        let redacted = self.redactor.redact_text(&text, &mut self.redactions);
        out.set(row, &redacted);
        matches!((&text, &redacted), (Cow::Borrowed(_), Cow::Borrowed(_)))
    }

    /// A text that is searched once, for many rows or as a part of another text.
    pub(super) fn redacted(&mut self, bytes: &[u8]) -> String {
        let text = super::any_value::utf8(bytes, &mut self.counts.invalid_utf8);
        self.redactor.redact_text(&text, &mut self.redactions).into_owned()
    }

    /// A time or count that OTLP has without a sign.
    #[inline]
    pub(super) fn signed(&mut self, number: u64) -> i64 {
        i64::try_from(number).unwrap_or_else(|_| {
            self.counts.saturated_numbers += 1;
            i64::MAX
        })
    }

    fn write_derived(&mut self, data: &[u8], tenant: &str, out: &mut AttributeColumns) -> Result<(), WireError> {
        let side = self.side;
        let namespace = self.namespace(data)?;
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            let info = self.keys.get(entry.key);
            let (Some(rename), Some(slice)) = (info.rename, entry.value) else { continue };
            let value = AnyValue::read(data, slice)?;
            if info.rule(side) == AttributeRule::Payload {
                continue;
            }
            // A part alone may lack what shows that it must not be stored, so parts are taken of what is left of the whole.
            let masked = match value {
                AnyValue::Text(text)
                    if matches!(rename, Rename::Target | Rename::Host)
                        && matches!(info.rule(side), AttributeRule::Scan | AttributeRule::Suspect(_))
                        && !(info.is_clean_known(side) && info.clean.has(text)) =>
                {
                    let text = super::any_value::utf8(text, &mut 0);
                    match self.redactor.redact_text(&text, &mut RedactionCounts::default()) {
                        Cow::Owned(masked) => Some(masked),
                        Cow::Borrowed(_) => None,
                    }
                }
                _ => None,
            };
            let value = masked.as_ref().map_or(value, |masked| AnyValue::Text(masked.as_bytes()));
            // Of two facts in one old value each has the rule of its own new name.
            let old_rule = info.own_rule(side);
            for (name, derived) in derive(&info.name, rename, value, side, namespace.as_deref()).into_iter().flatten() {
                let id = self.keys.id(name.as_bytes(), &self.redactor, &mut self.redactions);
                if self.keys.mark(id) {
                    self.count_conflict(data, id, value, &derived)?;
                    continue;
                }
                let rule = stricter(old_rule, self.keys.get(id).rule(side), rename);
                if !matches!(rule, AttributeRule::Drop | AttributeRule::Payload) {
                    self.write_one_derived(data, tenant, id, rule, value, derived, out)?;
                }
            }
        }
        Ok(())
    }

    /// The original was counted; what is masked in the derived entry is not counted again.
    #[allow(clippy::too_many_arguments)]
    fn write_one_derived(
        &mut self,
        data: &[u8],
        tenant: &str,
        id: u32,
        rule: AttributeRule,
        value: AnyValue<'_>,
        derived: Derived<'_>,
        out: &mut AttributeColumns,
    ) -> Result<(), WireError> {
        let (redactions, invalid_utf8) = (self.redactions, self.counts.invalid_utf8);
        let position = out.entries.keys.len();
        let value = match &derived {
            Derived::Same => value,
            Derived::Text(text) => AnyValue::Text(text.as_bytes()),
            Derived::Int(number) => AnyValue::Int(*number),
        };
        out.entries.keys.push(&self.keys.get(id).name);
        let kind = self.writer(data, tenant).push(value, rule, Some(id), &mut out.entries.values)?;
        (self.redactions, self.counts.invalid_utf8) = (redactions, invalid_utf8);
        let info = self.keys.get(id);
        out.push_type(&info.name, Some(kind.unwrap_or(type_name::STRING)));
        if let Some(promoted) = info.promoted {
            self.found.push(Found { promoted, entry: position, int: as_int(value, kind) });
        }
        Ok(())
    }

    fn namespace(&self, data: &[u8]) -> Result<Option<String>, WireError> {
        let holds = |entry: &&Entry| self.keys.get(entry.key).rename == Some(Rename::Namespace);
        let Some(entry) = self.entries.iter().find(holds) else { return Ok(None) };
        Ok(string(entry.value(data)?).map(|text| text.into_owned()))
    }

    /// Counts a native entry under the new name that says something else than the old one.
    fn count_conflict(
        &mut self,
        data: &[u8],
        id: u32,
        old: AnyValue<'_>,
        derived: &Derived<'_>,
    ) -> Result<(), WireError> {
        if self.entries.len() > MAX_COMPARED {
            return Ok(());
        }
        let Some(native) = self.entries.iter().find(|entry| entry.key == id) else { return Ok(()) };
        let native = text(native.value(data)?);
        let is_same = match derived {
            Derived::Same => native == text(old),
            Derived::Text(text) => native.as_deref() == Some(text),
            Derived::Int(number) => native.is_some_and(|native| native.parse() == Ok(*number)),
        };
        self.counts.rename_conflicts += u64::from(!is_same);
        Ok(())
    }

    fn take_payload(&mut self, data: &[u8], key: u32, value: AnyValue<'_>) -> Result<(), WireError> {
        self.redactions.add(Class::Payload);
        let text = match value {
            AnyValue::Text(bytes) | AnyValue::Bytes(bytes) => {
                super::any_value::utf8(bytes, &mut self.counts.invalid_utf8).into_owned()
            }
            // Its shape is that of what was sent, not that of the message it was sent in.
            _ => plain_json(data, value, &mut self.counts.invalid_utf8)?,
        };
        let is_response = self.keys.get(key).name.contains("response");
        self.payloads.push(FoundPayload { is_response, content_type: String::new(), text });
        Ok(())
    }

    /// The content type may stand behind the payload, so it is looked up when the list is complete.
    fn name_content_types(&mut self, out: &AttributeColumns) {
        for payload in &mut self.payloads {
            let wanted = if payload.is_response { Promoted::ResponseContentType } else { Promoted::RequestContentType };
            if let Some(found) = self.found.iter().find(|found| found.promoted == wanted) {
                payload.content_type = first_text(out.text(found.entry).unwrap_or_default());
            }
        }
    }
}

fn as_int(value: AnyValue<'_>, kind: Option<&str>) -> Option<i64> {
    match value {
        AnyValue::Int(number) if kind == Some(type_name::INT) => Some(number),
        // JavaScript has no other numbers; beyond 2^53 a double is not the integer that somebody meant.
        AnyValue::Double(number)
            if kind == Some(type_name::DOUBLE) && number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 =>
        {
            Some(number as i64)
        }
        _ => None,
    }
}

/// A derived value is treated as strictly as the original. Of a connection string, which is secret as a
/// whole, host and port are not; what the strict policy keeps it keeps by the new name.
fn stricter(old: AttributeRule, new: AttributeRule, rename: Rename) -> AttributeRule {
    match (old, new) {
        (AttributeRule::DenyMask, _) => AttributeRule::DenyMask,
        (
            AttributeRule::Secret(_) | AttributeRule::Suspect(_) | AttributeRule::Identifier,
            AttributeRule::Scan | AttributeRule::RecordId | AttributeRule::Pass,
        ) if rename != Rename::ConnectionString => old,
        _ => new,
    }
}

/// A header is a string or, by the current convention, an array of strings.
fn first_text(text: &str) -> String {
    let first = || {
        let items: serde_json::Value = serde_json::from_str(text).ok()?;
        Some(items.get(0)?.get("stringValue")?.as_str()?.to_owned())
    };
    if text.starts_with('[') { first().unwrap_or_default() } else { text.to_owned() }
}

/// Length and bytes: so that parts cannot run into each other.
pub(super) fn push_part(part: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(part.len() as u32).to_le_bytes());
    out.extend_from_slice(part);
}
