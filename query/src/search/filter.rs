//! Which incidents may be in an answer. Filters hold before the search, so a narrow one still gives k.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, col, lit};
use lance::Dataset;
use lance::dataset::scanner::RowAddrMask;
use tracerag_index::incidents::IncidentText;

use super::allowed::{Allowed, SearchCache};
use super::history::History;
use super::{SharedMerges, SimilarRequest};
use crate::error::Result;
use crate::snapshot::Snapshot;

/// Fingerprints up to which a list of them is the filter. A list of thousands takes longer than the search:
/// then the rows of the fingerprints are.
const LISTED: usize = 1_000;

/// The filters of a request, for one tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    tenant: String,
    service: Option<String>,
    error_type: Option<String>,
    /// Fingerprints of incidents that were seen in the versions, the environment and the time asked for; `None`: all.
    allowed: Option<Arc<Allowed>>,
}

impl Filter {
    pub(super) async fn of(
        snapshot: &Snapshot,
        cache: &SearchCache,
        merges: &SharedMerges,
        request: &SimilarRequest,
    ) -> Result<Self> {
        let allowed = match Allowed::is_asked_for(request) {
            true => Some(cache.allowed(snapshot, merges.of(snapshot).await?, request).await?),
            false => None,
        };
        Ok(Self {
            tenant: snapshot.tenant().to_owned(),
            service: request.service.clone(),
            error_type: request.error_type.clone(),
            allowed,
        })
    }

    /// Whether nothing can be in the answer.
    pub(super) fn is_empty(&self) -> bool {
        self.allowed.as_ref().is_some_and(|allowed| allowed.fingerprints().is_empty())
    }

    /// The filter of a table of vectors; `None` if all its rows pass. `is_whole`: all of them are the tenant's.
    pub(super) fn expr(&self, is_whole: bool) -> Option<Expr> {
        let tenant = (!is_whole).then(|| col("tenant_id").eq(lit(self.tenant.as_str())));
        let columns = [("service_name", &self.service), ("exception_type", &self.error_type)];
        let equal = columns.into_iter().filter_map(|(column, value)| Some(col(column).eq(lit(value.as_deref()?))));
        let listed = self.listed().map(|allowed| {
            let mut allowed: Vec<&String> = allowed.fingerprints().iter().collect();
            allowed.sort();
            let list = allowed.into_iter().map(|fingerprint| lit(fingerprint.as_str())).collect();
            col("fingerprint").in_list(list, false)
        });
        tenant.into_iter().chain(equal).chain(listed).reduce(Expr::and)
    }

    /// Whether all rows of a table of vectors are the tenant's.
    pub(super) async fn is_whole(&self, cache: &SearchCache, dataset: &Dataset) -> Result<bool> {
        cache.is_whole(&self.tenant, dataset).await
    }

    /// The rows of a table of vectors that may be in the answer, where these are too many to be listed in
    /// [`Filter::expr`].
    pub(super) async fn mask(&self, dataset: &Dataset) -> Result<Option<RowAddrMask>> {
        match &self.allowed {
            Some(allowed) if self.listed().is_none() => Ok(Some(allowed.rows(&self.tenant, dataset).await?)),
            _ => Ok(None),
        }
    }

    fn listed(&self) -> Option<&Allowed> {
        self.allowed.as_deref().filter(|allowed| allowed.fingerprints().len() <= LISTED)
    }

    /// Whether a text that is in no table of vectors passes.
    pub(super) fn takes(&self, incident: &IncidentText) -> bool {
        let (service, error_type) = (incident.service_name.as_deref(), incident.exception_type.as_deref());
        self.takes_of(&incident.tenant, &incident.fingerprint, service, error_type)
    }

    /// Whether a row of any tenant passes.
    pub(super) fn takes_of(
        &self,
        tenant: &str,
        fingerprint: &str,
        service: Option<&str>,
        error_type: Option<&str>,
    ) -> bool {
        tenant == self.tenant && self.takes_row(fingerprint, service, error_type)
    }

    /// Whether a row of failures, or of their counts, passes.
    pub(super) fn takes_row(&self, fingerprint: &str, service: Option<&str>, error_type: Option<&str>) -> bool {
        let fits = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        fits(&self.service, service) && fits(&self.error_type, error_type) && self.allows(fingerprint)
    }

    /// Whether one of the trace's own incidents passes.
    pub(super) fn admits(&self, fingerprint: &str, history: &History) -> bool {
        let fits = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        fits(&self.service, &history.service_name)
            && fits(&self.error_type, &history.exception_type)
            && self.allows(fingerprint)
    }

    fn allows(&self, fingerprint: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.fingerprints().contains(fingerprint))
    }
}
