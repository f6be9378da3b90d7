//! Resources and scopes, decoded once per distinct one: rows hold their numbers.

use std::hash::BuildHasher;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_128;

use super::any_value::push_json_text;
use super::attributes::{AttributeColumns, Renames, Walker};
use super::column::TextColumn;
use super::derive::Side;
use super::keys::{Promoted, RESOURCE_TEXTS};
use super::wire::{Reader, Slice, WireError};

/// Position of `service.instance.id` in [`RESOURCE_TEXTS`], and of the name that may stand in for it.
const INSTANCE: usize = 3;
const POD_NAME: usize = 5;

/// Numbers of distinct messages: the bytes of a resource or scope with its schema URL, per tenant.
#[derive(Default)]
struct Interner {
    bytes: Vec<u8>,
    entries: Vec<Interned>,
    by_hash: HashTable<u32>,
}

struct Interned {
    tenant: i32,
    start: usize,
    middle: usize,
    end: usize,
    hash: u64,
}

impl Interner {
    fn hash(tenant: i32, message: &[u8], schema_url: &[u8]) -> u64 {
        FxBuildHasher.hash_one((tenant, message, schema_url))
    }

    fn holds(&self, id: u32, tenant: i32, message: &[u8], schema_url: &[u8]) -> bool {
        let entry = &self.entries[id as usize];
        entry.tenant == tenant
            && &self.bytes[entry.start..entry.middle] == message
            && &self.bytes[entry.middle..entry.end] == schema_url
    }

    fn find(&self, tenant: i32, message: &[u8], schema_url: &[u8]) -> Option<i32> {
        // Senders fill a message with few resources, so it is most often the last one again.
        let last = self.entries.len().checked_sub(1).map(|last| last as u32);
        if let Some(last) = last.filter(|last| self.holds(*last, tenant, message, schema_url)) {
            return Some(last as i32);
        }
        let hash = Self::hash(tenant, message, schema_url);
        self.by_hash.find(hash, |id| self.holds(*id, tenant, message, schema_url)).map(|id| *id as i32)
    }

    fn add(&mut self, tenant: i32, message: &[u8], schema_url: &[u8]) -> i32 {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(schema_url);
        let hash = Self::hash(tenant, message, schema_url);
        let id = self.entries.len() as u32;
        self.entries.push(Interned { tenant, start, middle, end: self.bytes.len(), hash });
        let entries = &self.entries;
        self.by_hash.insert_unique(hash, id, |id| entries[*id as usize].hash);
        id as i32
    }
}

/// What every record of a resource or scope has in common.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// The number in the dictionaries.
    pub(super) key: i32,
    /// What it says, as far as it tells records apart.
    pub(super) identity: u128,
}

/// The tenant and the message that a resource or scope stands in.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) data: &'a [u8],
    /// Attributes that all its resources have besides their own, in the wire format.
    pub(super) headers: &'a [u8],
    pub(super) tenant: &'a str,
    pub(super) tenant_key: i32,
}

/// Distinct resources and the values of their columns.
#[derive(Default)]
pub(super) struct Resources {
    interner: Interner,
    texts: [TextColumn; 5],
    schema_url: TextColumn,
    entity_refs: TextColumn,
    attributes: AttributeColumns,
    dropped: Vec<i64>,
    identities: Vec<u128>,
}

/// Dictionary values of the columns that a resource has once.
pub(super) struct ResourceValues {
    pub(super) texts: Vec<(&'static str, ArrayRef)>,
    pub(super) dropped: Vec<i64>,
}

impl Resources {
    /// The number of a resource.
    ///
    /// # Errors
    /// When it is no protobuf.
    pub(super) fn intern(
        &mut self,
        walker: &mut Walker,
        place: Place<'_>,
        resource: Slice,
        schema_url: Slice,
    ) -> Result<Group, WireError> {
        let url = schema_url.of(place.data);
        if place.headers.is_empty() {
            return self.intern_message(walker, place, resource, url);
        }
        // A message behind a message is both in one.
        let joined = [resource.of(place.data), place.headers].concat();
        self.intern_message(walker, Place { data: &joined, ..place }, Slice::whole(&joined), url)
    }

    fn intern_message(
        &mut self,
        walker: &mut Walker,
        place: Place<'_>,
        resource: Slice,
        url: &[u8],
    ) -> Result<Group, WireError> {
        let message = resource.of(place.data);
        let key = match self.interner.find(place.tenant_key, message, url) {
            Some(key) => key,
            None => {
                if let Err(error) = self.decode(walker, place, resource, url) {
                    self.truncate();
                    return Err(error);
                }
                self.interner.add(place.tenant_key, message, url)
            }
        };
        Ok(Group { key, identity: self.identities[key as usize] })
    }

    /// Forgets a resource that was not decoded to its end.
    fn truncate(&mut self) {
        let rows = self.interner.entries.len();
        self.texts.iter_mut().for_each(|column| column.truncate(rows));
        self.schema_url.truncate(rows);
        self.entity_refs.truncate(rows);
        self.attributes.truncate(rows);
        self.dropped.truncate(rows);
        self.identities.truncate(rows);
    }

    fn decode(&mut self, walker: &mut Walker, place: Place<'_>, resource: Slice, url: &[u8]) -> Result<(), WireError> {
        let row = self.interner.entries.len();
        let data = place.data;
        let mut dropped = 0;
        let mut entity_refs = Vec::new();
        walker.begin();
        let mut reader = Reader::within(data, resource);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => walker.add(data, field.bytes()?)?,
                2 => dropped = i64::from(field.uint32()?),
                3 => push_entity_ref(walker, data, field.bytes()?, &mut entity_refs)?,
                _ => {}
            }
        }
        let mut identity = Vec::new();
        walker.push_identity(data, &mut identity);
        self.identities.push(xxh3_128(&identity));
        self.dropped.push(dropped);
        walker.write(data, place.tenant, Renames::On(Side::Other), &mut self.attributes)?;
        walker.payloads.clear();
        walker.write_text(url, row, &mut self.schema_url);
        if !entity_refs.is_empty() {
            entity_refs.push(b']');
            // Its texts were redacted one by one.
            self.entity_refs.set_known(row, &entity_refs);
        }
        // Where no instance is named, a pod's name tells instances apart.
        for (name, column) in [(INSTANCE, INSTANCE), (POD_NAME, INSTANCE)] {
            self.promote(walker, row, name, column);
        }
        for name in [0, 1, 2, 4] {
            self.promote(walker, row, name, name);
        }
        Ok(())
    }

    fn promote(&mut self, walker: &Walker, row: usize, name: usize, column: usize) {
        let wanted = Promoted::ResourceText(name as u8);
        let found = walker.found.iter().find(|found| found.promoted == wanted);
        if let Some(text) = found.and_then(|found| self.attributes.text(found.entry)) {
            self.texts[column].set_present(row, text);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.interner.bytes.len()
            + self.texts.iter().map(TextColumn::bytes).sum::<usize>()
            + self.schema_url.bytes()
            + self.entity_refs.bytes()
            + self.attributes.bytes()
    }

    /// The values of the dictionaries; no resource is known any more.
    pub(super) fn finish(&mut self) -> Result<ResourceValues, ArrowError> {
        let rows = self.interner.entries.len();
        self.interner = Interner::default();
        self.identities.clear();
        let [attributes, types] = self.attributes.finish(rows)?;
        let mut texts = vec![
            ("resource_attributes", attributes),
            ("resource_attributes_types", types),
            ("resource_entity_refs", self.entity_refs.finish(rows)?),
            ("schema_url", self.schema_url.finish(rows)?),
        ];
        let names = [
            "service_name",
            "service_namespace",
            "service_version",
            "service_instance_id",
            "deployment_environment_name",
        ];
        debug_assert_eq!(RESOURCE_TEXTS.len(), names.len() + 1);
        for (name, column) in names.into_iter().zip(&mut self.texts) {
            texts.push((name, column.finish(rows)?));
        }
        Ok(ResourceValues { texts, dropped: std::mem::take(&mut self.dropped) })
    }
}

/// An `EntityRef` as OTLP/JSON.
fn push_entity_ref(walker: &mut Walker, data: &[u8], entity: Slice, out: &mut Vec<u8>) -> Result<(), WireError> {
    let (mut url, mut kind) = (Slice::default(), Slice::default());
    let mut keys: [Vec<Slice>; 2] = Default::default();
    let mut reader = Reader::within(data, entity);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => url = field.bytes()?,
            2 => kind = field.bytes()?,
            3 => keys[0].push(field.bytes()?),
            4 => keys[1].push(field.bytes()?),
            _ => {}
        }
    }
    let mut text = |slice: Slice, out: &mut Vec<u8>| {
        push_json_text(&walker.redacted(slice.of(data)), out);
    };
    out.push(if out.is_empty() { b'[' } else { b',' });
    out.extend_from_slice(b"{\"schemaUrl\":");
    text(url, out);
    out.extend_from_slice(b",\"type\":");
    text(kind, out);
    for (name, keys) in ["idKeys", "descriptionKeys"].into_iter().zip(&keys) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":[");
        for (index, key) in keys.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            text(*key, out);
        }
        out.push(b']');
    }
    out.push(b'}');
    Ok(())
}

/// Distinct scopes and the values of their columns.
#[derive(Default)]
pub(super) struct Scopes {
    interner: Interner,
    name: TextColumn,
    version: TextColumn,
    schema_url: TextColumn,
    attributes: AttributeColumns,
    dropped: Vec<i64>,
    identities: Vec<u128>,
}

impl Scopes {
    /// The number of a scope.
    ///
    /// # Errors
    /// When it is no protobuf.
    pub(super) fn intern(
        &mut self,
        walker: &mut Walker,
        place: Place<'_>,
        scope: Slice,
        schema_url: Slice,
    ) -> Result<Group, WireError> {
        let (message, url) = (scope.of(place.data), schema_url.of(place.data));
        let key = match self.interner.find(place.tenant_key, message, url) {
            Some(key) => key,
            None => {
                if let Err(error) = self.decode(walker, place, scope, url) {
                    self.truncate();
                    return Err(error);
                }
                self.interner.add(place.tenant_key, message, url)
            }
        };
        Ok(Group { key, identity: self.identities[key as usize] })
    }

    fn truncate(&mut self) {
        let rows = self.interner.entries.len();
        for column in [&mut self.name, &mut self.version, &mut self.schema_url] {
            column.truncate(rows);
        }
        self.attributes.truncate(rows);
        self.dropped.truncate(rows);
        self.identities.truncate(rows);
    }

    fn decode(&mut self, walker: &mut Walker, place: Place<'_>, scope: Slice, url: &[u8]) -> Result<(), WireError> {
        let row = self.interner.entries.len();
        let data = place.data;
        let (mut name, mut version, mut dropped) = (Slice::default(), Slice::default(), 0);
        walker.begin();
        let mut reader = Reader::within(data, scope);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => version = field.bytes()?,
                3 => walker.add(data, field.bytes()?)?,
                4 => dropped = i64::from(field.uint32()?),
                _ => {}
            }
        }
        let mut identity = Vec::new();
        super::attributes::push_part(name.of(data), &mut identity);
        super::attributes::push_part(version.of(data), &mut identity);
        walker.push_identity(data, &mut identity);
        self.identities.push(xxh3_128(&identity));
        self.dropped.push(dropped);
        walker.write_text(name.of(data), row, &mut self.name);
        walker.write_text(version.of(data), row, &mut self.version);
        walker.write_text(url, row, &mut self.schema_url);
        walker.write(data, place.tenant, Renames::Off, &mut self.attributes)?;
        walker.payloads.clear();
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.interner.bytes.len()
            + self.name.bytes()
            + self.version.bytes()
            + self.schema_url.bytes()
            + self.attributes.bytes()
    }

    /// The values of the dictionaries; no scope is known any more.
    pub(super) fn finish(&mut self) -> Result<ResourceValues, ArrowError> {
        let rows = self.interner.entries.len();
        self.interner = Interner::default();
        self.identities.clear();
        let [attributes, types] = self.attributes.finish(rows)?;
        let texts = vec![
            ("scope_name", self.name.finish(rows)?),
            ("scope_version", self.version.finish(rows)?),
            ("scope_schema_url", self.schema_url.finish(rows)?),
            ("scope_attributes", attributes),
            ("scope_attributes_types", types),
        ];
        Ok(ResourceValues { texts, dropped: std::mem::take(&mut self.dropped) })
    }
}
