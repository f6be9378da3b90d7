//! Runtimes: what runs somewhere, as the resources of a batch say. A batch has few distinct ones.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use rustc_hash::FxHashMap;

use super::as_of::Subject;
use super::changes::Sighting;
use crate::columns::{Entries, Text};
use crate::error::{Error, Result};

/// Resource attribute that names the commit.
const REVISION: &str = "vcs.ref.head.revision";

/// The distinct runtimes of a batch in flight, and which one each row has.
pub(crate) struct Runtimes<'a> {
    pub all: Vec<Sighting<'a>>,
    pub of_row: Vec<u32>,
}

impl<'a> Sighting<'a> {
    pub(crate) fn subject(&self) -> Subject<'a> {
        Subject { service: self.service, instance: self.instance, environment: self.environment }
    }
}

impl<'a> Runtimes<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        let columns = [
            Text::of(batch, "tenant_id")?,
            Text::of(batch, "service_name")?,
            Text::of(batch, "service_instance_id")?,
            Text::of(batch, "deployment_environment_name")?,
            Text::of(batch, "service_version")?,
        ];
        let (resource_keys, revisions) = revisions(batch)?;
        let mut known: FxHashMap<[i32; 6], u32> = FxHashMap::default();
        let mut all = vec![];
        let mut of_row = Vec::with_capacity(batch.num_rows());
        let mut last: Option<([i32; 6], u32)> = None;
        // Different resources often name the same commit, or none.
        let mut numbers: FxHashMap<&str, i32> = FxHashMap::default();
        let revision_numbers: Vec<i32> = revisions
            .iter()
            .map(|revision| {
                let next = numbers.len() as i32;
                revision.map_or(-1, |revision| *numbers.entry(revision).or_insert(next))
            })
            .collect();
        for row in 0..batch.num_rows() {
            let resource = resource_keys.is_valid(row).then(|| resource_keys.value(row) as usize);
            let [tenant, service, instance, environment, version] = columns.map(|column| column.key(row));
            let revision = resource.map_or(-1, |resource| revision_numbers[resource]);
            let key = [tenant, service, instance, environment, version, revision];
            let number = match last {
                Some((known, number)) if known == key => number,
                _ => *known.entry(key).or_insert_with(|| {
                    let [tenant, service, instance, environment, version] = columns.map(|column| column.get(row));
                    let revision = resource.and_then(|resource| revisions[resource]);
                    let tenant = tenant.unwrap_or_default();
                    all.push(Sighting { tenant, service, instance, environment, version, revision });
                    (all.len() - 1) as u32
                }),
            };
            last = Some((key, number));
            of_row.push(number);
        }
        Ok(Self { all, of_row })
    }
}

type Keys<'a> = &'a arrow::array::Int32Array;

/// The commit that each distinct resource names, and the resource of each row.
fn revisions(batch: &RecordBatch) -> Result<(Keys<'_>, Vec<Option<&str>>)> {
    const NAME: &str = "resource_attributes";
    let wanted = || Error::Column { name: NAME.to_owned(), wanted: "a dictionary of lists" };
    let column = batch.column_by_name(NAME).ok_or_else(wanted)?;
    let dictionary = column.as_dictionary_opt::<Int32Type>().ok_or_else(wanted)?;
    let entries = Entries::of(dictionary.values(), NAME)?;
    let revisions = (0..dictionary.values().len()).map(|resource| entries.find(resource, REVISION)).collect();
    Ok((dictionary.keys(), revisions))
}
