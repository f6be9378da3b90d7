//! Which incidents may be in an answer. Filters hold before the search, so a narrow one still gives k.

use std::cmp::Ordering;
use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use datafusion::logical_expr::{Expr, col, lit};
use tracerag_index::incidents::IncidentText;
use tracerag_schemas::Table;

use super::SimilarRequest;
use super::history::History;
use crate::error::Result;
use crate::rows::{Columns, text};
use crate::snapshot::{Read, Snapshot, time_literal};

/// The filters of a request, for one tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    tenant: String,
    service: Option<String>,
    error_type: Option<String>,
    /// Fingerprints that were seen in the versions, the environment and the time asked for; `None`: all.
    allowed: Option<HashSet<String>>,
}

impl Filter {
    pub(super) async fn of(snapshot: &Snapshot, request: &SimilarRequest) -> Result<Self> {
        let by_counts = request.environment.is_some()
            || request.since.is_some()
            || request.until.is_some()
            || request.min_version.is_some()
            || request.max_version.is_some();
        let allowed = if by_counts { Some(allowed(snapshot, request).await?) } else { None };
        Ok(Self {
            tenant: snapshot.tenant().to_owned(),
            service: request.service.clone(),
            error_type: request.error_type.clone(),
            allowed,
        })
    }

    /// Whether nothing can be in the answer.
    pub(super) fn is_empty(&self) -> bool {
        self.allowed.as_ref().is_some_and(HashSet::is_empty)
    }

    /// The filter of a table of vectors; `without` are fingerprints that are not looked for.
    pub(super) fn expr(&self, without: &[String]) -> Expr {
        let mut filter = col("tenant_id").eq(lit(self.tenant.as_str()));
        for (column, value) in [("service_name", &self.service), ("exception_type", &self.error_type)] {
            if let Some(value) = value {
                filter = filter.and(col(column).eq(lit(value.as_str())));
            }
        }
        if let Some(allowed) = &self.allowed {
            let mut allowed: Vec<&String> =
                allowed.iter().filter(|fingerprint| !without.contains(fingerprint)).collect();
            allowed.sort();
            let list = allowed.into_iter().map(|fingerprint| lit(fingerprint.as_str())).collect();
            filter = filter.and(col("fingerprint").in_list(list, false));
        } else if !without.is_empty() {
            let list = without.iter().map(|fingerprint| lit(fingerprint.as_str())).collect();
            filter = filter.and(col("fingerprint").in_list(list, true));
        }
        filter
    }

    /// Whether a text that is in no table of vectors passes.
    pub(super) fn takes(&self, incident: &IncidentText) -> bool {
        let fits = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        incident.tenant == self.tenant
            && fits(&self.service, &incident.service_name)
            && fits(&self.error_type, &incident.exception_type)
            && self.allows(&incident.fingerprint)
    }

    /// Whether one of the trace's own incidents passes.
    pub(super) fn admits(&self, fingerprint: &str, history: &History) -> bool {
        let fits = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        fits(&self.service, &history.service_name)
            && fits(&self.error_type, &history.exception_type)
            && self.allows(fingerprint)
    }

    fn allows(&self, fingerprint: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(fingerprint))
    }
}

async fn allowed(snapshot: &Snapshot, request: &SimilarRequest) -> Result<HashSet<String>> {
    let mut filter: Option<Expr> = None;
    let mut both = |condition: Expr| {
        filter = Some(match filter.take() {
            Some(known) => known.and(condition),
            None => condition,
        });
    };
    if let Some(service) = &request.service {
        both(col("service_name").eq(lit(service.as_str())));
    }
    if let Some(environment) = &request.environment {
        both(col("deployment_environment_name").eq(lit(environment.as_str())));
    }
    if let Some(since) = request.since {
        both(col("last_seen").gt_eq(time_literal(since)));
    }
    if let Some(until) = request.until {
        both(col("first_seen").lt_eq(time_literal(until)));
    }
    let by_version = request.min_version.is_some() || request.max_version.is_some();
    let columns: &[&str] = if by_version { &["fingerprint", "versions"] } else { &["fingerprint"] };
    let mut allowed = HashSet::new();
    for batch in snapshot.read(Table::IncidentCounts, Read { columns, filter, ranges: vec![] }).await? {
        let columns = Columns::of("incident_counts", &batch);
        let fingerprints = columns.text("fingerprint")?;
        let versions = if by_version { Some(columns.list("versions")?) } else { None };
        for row in 0..batch.num_rows() {
            let Some(fingerprint) = text(fingerprints, row).filter(|known| !allowed.contains(*known)) else { continue };
            let fits = versions.is_none_or(|versions| {
                let seen = versions.value(row);
                let Some(seen) = seen.as_string_opt::<i32>().filter(|_| versions.is_valid(row)) else { return false };
                seen.iter().flatten().any(|version| is_within(version, request))
            });
            if fits {
                allowed.insert(fingerprint.to_owned());
            }
        }
    }
    Ok(allowed)
}

fn is_within(version: &str, request: &SimilarRequest) -> bool {
    let least = request.min_version.as_deref().is_none_or(|least| compare(version, least) != Ordering::Less);
    let most = request.max_version.as_deref().is_none_or(|most| compare(version, most) != Ordering::Greater);
    least && most
}

/// Compares versions as people read them: numbers as numbers, a leading `v` aside, `1.9.0-rc.1` before `1.9.0`.
fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (plain(one), plain(other));
    let ((one, one_pre), (other, other_pre)) = (halves(one), halves(other));
    by_parts(one, other).then_with(|| match (one_pre, other_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => by_parts(one, other),
    })
}

/// Without a leading `v` and without build metadata.
fn plain(version: &str) -> &str {
    let version = version.trim().trim_start_matches(['v', 'V']);
    version.split('+').next().unwrap_or(version)
}

fn halves(version: &str) -> (&str, Option<&str>) {
    match version.split_once('-') {
        Some((release, pre)) => (release, Some(pre)),
        None => (version, None),
    }
}

fn by_parts(one: &str, other: &str) -> Ordering {
    let mut ones = one.split(['.', '_', '-']);
    let mut others = other.split(['.', '_', '-']);
    loop {
        let order = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            // `1.9` is `1.9.0`.
            (None, Some(part)) => by_part("0", part),
            (Some(part), None) => by_part(part, "0"),
            (Some(one), Some(other)) => by_part(one, other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn by_part(one: &str, other: &str) -> Ordering {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions compare by their numbers, not by their letters; a pre-release comes before its release.
    #[test]
    fn versions_compare_by_numbers() {
        let rising = ["1.8.2", "1.9.0-rc.1", "1.9.0-rc.2", "v1.9.0", "1.9.1", "1.10", "2.0.0+build.7"];
        for pair in rising.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("v1.9", "1.9.0"), Ordering::Equal);
    }
}
