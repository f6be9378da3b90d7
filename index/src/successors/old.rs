//! Incidents whose fingerprints are of an older version, so many at a time in the order of tenant and fingerprint.

use std::collections::BTreeMap;

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::{Expr, col, lit};
use futures::TryStreamExt;
use tracerag_schemas::Table;

use crate::activity::{Tail, text};
use crate::error::{At, Error, Result};

/// Tenant and fingerprint.
pub(super) type Key = (String, String);

const STEP: &str = "looking for incidents of older versions";

/// Some incidents that follow each other, and the versions of their fingerprints.
#[derive(Debug, Default)]
pub(super) struct Old {
    versions: BTreeMap<Key, i32>,
}

impl Old {
    /// The first incidents, at most so many, behind one, of fingerprints below a version.
    pub(super) async fn next(tail: &Tail, version: i32, after: Option<&Key>, most: usize) -> Result<Self> {
        let mut old = Self::default();
        if tail.fragments.is_empty() {
            return Ok(old);
        }
        let name = Table::IncidentCounts.name();
        let mut wanted = col("fingerprint_version").lt(lit(version));
        if let Some((tenant, fingerprint)) = after {
            let tenant = lit(tenant.as_str());
            let behind = col("tenant_id").eq(tenant.clone()).and(col("fingerprint").gt(lit(fingerprint.as_str())));
            wanted = wanted.and(col("tenant_id").gt(tenant).or(behind));
        }
        let mut scan = tail.dataset.scan();
        scan.project(&["tenant_id", "fingerprint", "fingerprint_version"]).at(name, STEP)?;
        scan.with_fragments(tail.fragments.clone());
        // The index is of the whole table.
        scan.use_scalar_index(false);
        scan.filter_expr(wanted);
        let mut rows = scan.try_into_stream().await.at(name, STEP)?;
        while let Some(batch) = rows.try_next().await.at(name, STEP)? {
            let (tenants, fingerprints) = (text(&batch, "tenant_id")?, text(&batch, "fingerprint")?);
            let versions: &Int32Array = batch
                .column_by_name("fingerprint_version")
                .and_then(|values| values.as_primitive_opt::<Int32Type>())
                .ok_or_else(|| Error::Schema {
                    table: Table::IncidentCounts.name(),
                    detail: "column fingerprint_version is not as this release knows it".to_owned(),
                })?;
            for ((tenant, fingerprint), version) in tenants.iter().zip(fingerprints).zip(versions) {
                if let (Some(tenant), Some(fingerprint), Some(version)) = (tenant, fingerprint, version) {
                    old.add(tenant, fingerprint, version, most);
                }
            }
        }
        Ok(old)
    }

    /// Takes an incident, if it is one of the first.
    fn add(&mut self, tenant: &str, fingerprint: &str, version: i32, most: usize) {
        let is_behind = |(last, _): (&Key, &i32)| (tenant, fingerprint) > (last.0.as_str(), last.1.as_str());
        if self.versions.len() >= most && self.versions.last_key_value().is_some_and(is_behind) {
            return;
        }
        self.versions.insert((tenant.to_owned(), fingerprint.to_owned()), version);
        if self.versions.len() > most {
            self.versions.pop_last();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    pub(super) fn last(&self) -> Option<&Key> {
        self.versions.last_key_value().map(|(key, _)| key)
    }

    /// Whether an incident is one of them.
    pub(super) fn has(&self, tenant: &str, fingerprint: &str) -> bool {
        self.version(&(tenant.to_owned(), fingerprint.to_owned())).is_some()
    }

    /// The version of an incident's fingerprint, if it is one of them.
    pub(super) fn version(&self, key: &Key) -> Option<i32> {
        self.versions.get(key).copied()
    }

    /// What rows of them meet, and few others: it is the range from the first to the last.
    pub(super) fn range(&self) -> Expr {
        let (Some((first, _)), Some((last, _))) = (self.versions.first_key_value(), self.versions.last_key_value())
        else {
            return lit(false);
        };
        if first.0 == last.0 {
            let fingerprints = col("fingerprint").between(lit(first.1.as_str()), lit(last.1.as_str()));
            return col("tenant_id").eq(lit(first.0.as_str())).and(fingerprints);
        }
        col("tenant_id").between(lit(first.0.as_str()), lit(last.0.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Incidents in any order, each several times. Guarantees that those come that are first in order, and no more
        /// than asked for.
        #[test]
        fn the_first_ones_come(found in prop::collection::vec((0_u8..4, 0_u8..9), 0..60), most in 1_usize..9) {
            let mut old = Old::default();
            for (tenant, fingerprint) in &found {
                old.add(&tenant.to_string(), &fingerprint.to_string(), 1, most);
            }
            let all: std::collections::BTreeSet<Key> =
                found.iter().map(|(tenant, fingerprint)| (tenant.to_string(), fingerprint.to_string())).collect();
            let first: Vec<&Key> = all.iter().take(most).collect();
            prop_assert_eq!(old.versions.keys().collect::<Vec<_>>(), first);
            prop_assert!(all.iter().all(|key| old.has(&key.0, &key.1) == all.iter().take(most).any(|first| first == key)));
        }
    }
}
