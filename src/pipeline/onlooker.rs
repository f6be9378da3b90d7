//! Changes that other workers write, decoded here as well: what closing traces are joined with does not wait for the
//! lake.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tracerag_index::Head;
use tracerag_ingest::changes::{ChangeError, DeploymentDecoder, FlagDecoder, Origin};
use tracerag_ingest::redact::Redactor;
use tracerag_ingest::source::Signal;
use tracerag_ingest::tenant::Tenants;
use tracerag_schemas::SourcePartition;

use super::{Input, Pipeline};
use crate::error::Error;

/// Decodes records of the topics of changes and writes nothing: that is done by whoever the group gives their
/// partitions to, and so are the dead letters.
pub(super) struct Onlooker {
    redactor: Arc<Redactor>,
    tenants: Tenants,
    flags: FlagDecoder,
    deployments: DeploymentDecoder,
    /// Where each partition stood in the lake when this began; `None`: not yet.
    from: Option<BTreeMap<SourcePartition, i64>>,
}

impl Onlooker {
    pub(super) fn new(redactor: Arc<Redactor>, tenants: Tenants) -> Self {
        Self {
            flags: FlagDecoder::new(Arc::clone(&redactor)),
            deployments: DeploymentDecoder::new(Arc::clone(&redactor)),
            redactor,
            tenants,
            from: None,
        }
    }

    /// Goes on from what the lake knows at a head, whose flags are given. Once begun, it goes on from what it has.
    pub(super) fn begin(&mut self, head: &Head, flags: &RecordBatch) -> Result<(), Error> {
        if self.from.is_none() {
            self.flags.restore(flags)?;
            let positions = head.sources.iter().filter_map(|state| Some((state.source.clone(), state.next?)));
            self.from = Some(positions.collect());
        }
        Ok(())
    }

    /// Forgets everything, as a new process would.
    pub(super) fn reset(&mut self) {
        *self = Self::new(Arc::clone(&self.redactor), self.tenants.clone());
    }

    /// Takes one record. One that is bad counts for nothing here.
    fn take(&mut self, source: &SourcePartition, clock: i64, record: &Input<'_>) {
        let Some(value) = record.value.filter(|value| !value.is_empty()) else { return };
        let tenant = self.tenants.of(&source.topic, record.headers());
        let ingested_at = record.timestamp.map_or(clock, |timestamp| timestamp.min(clock));
        let (offset, timestamp) = (record.offset, record.timestamp);
        let origin = Origin { tenant: &tenant, source, offset, timestamp, ingested_at };
        let taken: Result<(), ChangeError> = match record.signal {
            Signal::Flags => self.flags.decode(value, &origin).map(|_| ()),
            Signal::Deployments => self.deployments.decode(value, record.headers(), &origin).map(|_| ()),
            _ => Ok(()),
        };
        if let Err(error) = taken {
            tracing::debug!(%error, %source, offset, "a change that cannot be read; its owner writes a dead letter");
        }
    }
}

impl Pipeline {
    /// Where [`Pipeline::look_on`] expects the topics of changes to begin: offset by partition, where the lake knows
    /// it. What comes before is known from the lake.
    pub(crate) fn changes_from(&self) -> BTreeMap<SourcePartition, i64> {
        self.onlooker.from.clone().unwrap_or_default()
    }

    /// Takes changes of one partition, in offset order, whoever writes them: they hold for joins, and nothing is
    /// written. `clock` is the time when they were read, in ns.
    ///
    /// # Errors
    /// Never for what a record holds.
    pub(crate) fn look_on<'a>(
        &mut self,
        source: &SourcePartition,
        clock: i64,
        records: impl Iterator<Item = Input<'a>>,
    ) -> Result<(), Error> {
        for record in records {
            self.onlooker.take(source, clock, &record);
        }
        if !self.onlooker.flags.is_empty() {
            self.window.push_flag_events(&self.onlooker.flags.finish()?)?;
        }
        if !self.onlooker.deployments.is_empty() {
            self.window.push_build_events(&self.onlooker.deployments.finish()?)?;
        }
        Ok(())
    }
}
