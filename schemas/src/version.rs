//! Versions of what is stored, and which columns came with which.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::tables::Table;

/// Version of the lake's tables and journal. A release reads and writes this one and the one before.
pub const SCHEMA_VERSION: u32 = 2;

/// The first version there was, which is that of a lake that does not say one.
pub const FIRST_SCHEMA_VERSION: u32 = 1;

/// The schema name that every bundle carries under `evidence.schema`.
pub const BUNDLE_SCHEMA: &str = "tracerag.bundle/1";

/// Columns that came after the first schema: the version that brought them, their table, their name. Whoever adds a
/// column to a table names it here and counts [`SCHEMA_VERSION`] up, once a release.
const ADDED: &[(u32, Table, &str)] = &[
    (2, Table::Failures, "frame_columns"),
    (2, Table::Failures, "causes"),
    (2, Table::Failures, "stacktrace_minified"),
    (2, Table::Failures, "stacktrace_truncated"),
    (2, Table::Failures, "origin_id"),
    (2, Table::Failures, "origin_span_id"),
    (2, Table::Failures, "interruption"),
    (2, Table::Failures, "gave_up_span_id"),
    (2, Table::Failures, "fingerprint_all_frames"),
    (2, Table::Failures, "grouping_path"),
    (2, Table::Failures, "grouping_error"),
    (2, Table::IncidentCounts, "echo_count"),
    (2, Table::IncidentCounts, "context"),
    (2, Table::IncidentCounts, "shape"),
    (2, Table::Logs, "template"),
    (2, Table::Fixes, "fixed_version"),
    (2, Table::Fixes, "fixed_git_sha"),
    (2, Table::GroupingRules, "from_version"),
    (2, Table::GroupingRules, "to_version"),
];

/// What a release knows of the columns of a lake: those of its own schema, and which of them came with it.
///
/// A new schema only adds nullable columns. A lake has the version that `tracerag migrate` gave it last, and its
/// datasets have the columns of this version at least: some more while a migration is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schemas {
    version: u32,
    added: Vec<Added>,
    /// Tables whose columns are not those of [`Table::lake_schema`].
    other: BTreeMap<Table, SchemaRef>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Added {
    version: u32,
    table: Table,
    column: String,
}

impl Default for Schemas {
    /// What this release knows.
    fn default() -> Self {
        let added = |(version, table, column): &(u32, Table, &str)| Added {
            version: *version,
            table: *table,
            column: (*column).to_owned(),
        };
        Self { version: SCHEMA_VERSION, added: ADDED.iter().map(added).collect(), other: BTreeMap::new() }
    }
}

impl Schemas {
    /// What the release after this one knows, if it brings these columns. They stand before the origin, as a table's
    /// own columns do, while a migrated dataset has them last: columns are told by their names.
    #[must_use]
    pub fn with_next(mut self, columns: &[(Table, Field)]) -> Self {
        self.version += 1;
        for (table, field) in columns {
            let mut fields = self.newest(*table).fields().to_vec();
            let place = fields.iter().position(|field| field.name() == "kafka_topic").unwrap_or(fields.len());
            fields.insert(place, Arc::new(field.clone()));
            self.other.insert(*table, Arc::new(Schema::new(fields)));
            self.added.push(Added { version: self.version, table: *table, column: field.name().clone() });
        }
        self
    }

    /// The newest version: that of a lake which this release creates or has migrated.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The oldest version that this release reads and writes.
    pub fn oldest(&self) -> u32 {
        self.version.saturating_sub(1).max(FIRST_SCHEMA_VERSION)
    }

    /// The columns of a table in the newest version.
    pub fn newest(&self, table: Table) -> SchemaRef {
        self.other.get(&table).map_or_else(|| table.lake_schema(), Arc::clone)
    }

    /// The columns of a table in a version.
    pub fn at(&self, version: u32, table: Table) -> SchemaRef {
        let newest = self.newest(table);
        let is_later = |column: &str| {
            self.added.iter().any(|added| added.version > version && added.table == table && added.column == column)
        };
        if !newest.fields().iter().any(|field| is_later(field.name())) {
            return newest;
        }
        let kept = newest.fields().iter().filter(|field| !is_later(field.name())).cloned();
        Arc::new(Schema::new(kept.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    /// A column is part of the version that brought it and of later ones, of its table alone, and stands before the
    /// origin. A release knows its own version and the one before.
    #[test]
    fn a_column_belongs_to_its_version_and_later_ones() {
        let first = Schemas::default();
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let second = first.clone().with_next(&[(Table::Spans, text("tone"))]);
        let third = second.clone().with_next(&[(Table::Spans, text("mood")), (Table::Fixes, text("mood"))]);
        assert_eq!((third.version(), third.oldest()), (SCHEMA_VERSION + 2, SCHEMA_VERSION + 1));
        for table in Table::ALL.iter().copied() {
            assert_eq!(third.at(SCHEMA_VERSION, table), first.newest(table));
            assert_eq!(third.at(SCHEMA_VERSION + 1, table), second.newest(table));
            assert_eq!(third.at(SCHEMA_VERSION + 2, table), third.newest(table));
        }
        let spans = third.newest(Table::Spans);
        let places = ["tone", "mood", "kafka_topic"].map(|name| spans.index_of(name).unwrap());
        assert!(places.is_sorted(), "{places:?}");
        assert!(third.newest(Table::Fixes).field_with_name("mood").is_ok());
        assert!(third.newest(Table::Logs).field_with_name("mood").is_err());
    }

    /// Each column that came later is one of its table's, may be null, as migrated rows have it, and is absent in the
    /// version before.
    #[test]
    fn later_columns_are_columns() {
        let schemas = Schemas::default();
        for (version, table, column) in ADDED {
            assert!(schemas.newest(*table).field_with_name(column).unwrap().is_nullable(), "{column}");
            assert!(schemas.at(*version, *table).field_with_name(column).is_ok(), "{column}");
            assert!(schemas.at(version - 1, *table).field_with_name(column).is_err(), "{column}");
        }
    }

    /// The first release reads no version before the first.
    #[test]
    fn there_is_nothing_before_the_first_version() {
        let first = Schemas { version: FIRST_SCHEMA_VERSION, ..Schemas::default() };
        assert_eq!(first.oldest(), FIRST_SCHEMA_VERSION);
    }
}
