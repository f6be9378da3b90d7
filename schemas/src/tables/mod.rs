//! The tables of the lake, one file each. Columns and their meaning are public: add, never rename.

mod changes;
mod column;
mod dead_letters;
mod failures;
mod heaps;
mod incidents;
mod logs;
mod metrics;
mod payloads;
mod side;
mod spans;
mod traces;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use crate::in_flight;

/// `Timestamp(ns, UTC)`, the type of every time.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some(Arc::from("UTC")))
}

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $columns:path;)*) => {
        /// A stored table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Table { $($(#[$doc])* $variant,)* }

        impl Table {
            /// Every stored table.
            pub const ALL: &'static [Table] = &[$(Table::$variant),*];

            /// The folder's name in the lake, without `.lance`.
            pub fn name(self) -> &'static str {
                match self { $(Table::$variant => $name,)* }
            }

            fn columns(self) -> Schema {
                match self { $(Table::$variant => Schema::new($columns()),)* }
            }
        }
    };
}

tables! {
    /// One row a revision of a trace.
    Traces => "traces", traces::columns;
    /// Spans.
    Spans => "spans", spans::columns;
    /// Log records.
    Logs => "logs", logs::columns;
    /// Metric points.
    Metrics => "metrics", metrics::columns;
    /// Changes and evaluations of flags, and changes of configuration.
    Flags => "flags", changes::flag_columns;
    /// Deployed versions.
    Builds => "builds", changes::build_columns;
    /// Shapes and samples of payloads.
    Payloads => "payloads", payloads::columns;
    /// Heap summaries.
    Heaps => "heaps", heaps::columns;
    /// Failures.
    Failures => "failures", failures::columns;
    /// Append-only deltas of incident counts.
    IncidentCounts => "incident_counts", incidents::count_columns;
    /// What could not be taken.
    DeadLetters => "dead_letters", dead_letters::columns;
    /// Bundles handed out (side table).
    Bundles => "bundles", side::bundle_columns;
    /// Known fixes (side table).
    Fixes => "fixes", side::fix_columns;
    /// Merges and splits by people (side table).
    GroupingRules => "grouping_rules", side::grouping_rule_columns;
    /// Who read what (side table).
    Audit => "audit", side::audit_columns;
}

impl Table {
    /// Data tables are written through the journal only, side tables never.
    pub fn is_side(self) -> bool {
        matches!(self, Table::Bundles | Table::Fixes | Table::GroupingRules | Table::Audit)
    }

    /// Whether the table is one dataset a UTC day of `ingested_at`.
    pub fn by_day(self) -> bool {
        matches!(self, Table::Spans | Table::Logs | Table::Metrics | Table::Traces | Table::Failures)
    }

    /// Columns whose minimum and maximum a head keeps for each dataset; the first is the main one.
    pub fn time_columns(self) -> &'static [&'static str] {
        match self {
            Table::Traces | Table::Spans => &["start_time", "end_time"],
            Table::Logs | Table::Metrics | Table::Failures => &["time"],
            _ => &[],
        }
    }

    /// The schema as stored.
    pub fn lake_schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<Vec<SchemaRef>> =
            LazyLock::new(|| Table::ALL.iter().map(|table| Arc::new(table.columns())).collect());
        Arc::clone(&SCHEMAS[self as usize])
    }

    /// The schema between decoder and staging; see [`crate::in_flight`].
    pub fn in_flight_schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<Vec<SchemaRef>> =
            LazyLock::new(|| Table::ALL.iter().map(|table| in_flight::schema(&table.columns())).collect());
        Arc::clone(&SCHEMAS[self as usize])
    }

    /// The table of a folder name.
    pub fn by_name(name: &str) -> Option<Table> {
        Table::ALL.iter().copied().find(|table| table.name() == name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Every table has tenant, origin and ingestion time, and its in-flight schema keeps names and order.
    #[test]
    fn every_data_table_has_its_origin() {
        for table in Table::ALL.iter().copied() {
            assert_eq!(Table::by_name(table.name()), Some(table));
            let lake = table.lake_schema();
            let in_flight = table.in_flight_schema();
            let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
            assert_eq!(names(&lake), names(&in_flight));
            assert_eq!(lake.field(0).name(), "tenant_id");
            if !table.is_side() {
                for name in ["kafka_topic", "kafka_partition", "kafka_offset", "ingested_at"] {
                    assert!(lake.field_with_name(name).is_ok(), "{} lacks {name}", table.name());
                }
            }
            for name in table.time_columns() {
                assert_eq!(lake.field_with_name(name).unwrap().data_type(), &timestamp());
            }
        }
    }
}
