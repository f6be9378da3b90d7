//! Whether a worker may make a lake: not where a volume with one seems to be missing.

use tokio::runtime::Handle;
use tracerag_index::Lake;
use tracerag_ingest::source::Cluster;

use crate::config::Config;
use crate::error::Error;

/// Whether there is nothing at the lake's address.
///
/// # Errors
/// If there is something that cannot be used.
pub(super) async fn is_absent(config: &Config) -> Result<bool, Error> {
    match Lake::open(config.lake.options()).await {
        Ok(_) => Ok(false),
        Err(tracerag_index::Error::NoLake { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// That a lake may be made where there is none: the group has read nothing yet.
///
/// # Errors
/// [`Error::NoLakeAnyMore`] if it has; or when no broker says so.
pub(super) fn permit(config: &Config, cluster: &Cluster, runtime: &Handle) -> Result<(), Error> {
    let Some(error) = objection(config, cluster)? else { return Ok(()) };
    // Another worker may have made it and read something meanwhile.
    match runtime.block_on(is_absent(config))? {
        true => Err(error),
        false => Ok(()),
    }
}

/// Why there should be a lake, if there should be one.
///
/// # Errors
/// When no broker answers.
pub(super) fn objection(config: &Config, cluster: &Cluster) -> Result<Option<Error>, Error> {
    let committed = cluster.first_committed()?;
    Ok(committed.map(|(source, offset)| Error::NoLakeAnyMore {
        uri: config.lake.uri.clone(),
        group: cluster.group().to_owned(),
        partition: source.to_string(),
        offset,
    }))
}
