//! What a worker reads: Kafka, or what stands in for it in the simulation.

use std::collections::BTreeMap;
use std::time::Duration;

use tracerag_ingest::source::{Event, Gap, KafkaSource, Lag, Member, PlanLine, SourceError, Start, TopicKind};
use tracerag_schemas::SourcePartition;

/// A member of a consumer group, as [`KafkaSource`] describes it method by method.
pub(crate) trait Source {
    /// The worker's clock in ns since the epoch.
    fn now(&self) -> i64;
    /// See [`KafkaSource::poll`].
    fn poll(&mut self, max_wait: Duration) -> Result<Event, SourceError>;
    /// See [`KafkaSource::has_news`].
    fn has_news(&self) -> bool;
    /// See [`KafkaSource::attend`].
    fn attend(&mut self) -> Result<(), SourceError>;
    /// See [`KafkaSource::rejoin`].
    fn rejoin(&mut self) -> Result<(), SourceError>;
    /// See [`KafkaSource::kind`].
    fn kind(&self, topic: &str) -> Option<TopicKind>;
    /// The members of the group.
    fn members(&self) -> Result<Vec<Member>, SourceError>;
    /// See [`KafkaSource::initial_offsets`].
    fn initial_offsets(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, i64)>, SourceError>;
    /// See [`KafkaSource::start`].
    fn start(&mut self, from: &[Start]) -> Result<Vec<Gap>, SourceError>;
    /// See [`KafkaSource::plan`].
    fn plan(&self, taken: &BTreeMap<SourcePartition, i64>) -> Result<Vec<PlanLine>, SourceError>;
    /// See [`KafkaSource::pause`].
    fn pause(&mut self, sources: &[SourcePartition]);
    /// See [`KafkaSource::resume`].
    fn resume(&mut self, sources: &[SourcePartition]);
    /// See [`KafkaSource::reading`].
    fn reading(&self) -> impl Iterator<Item = (&SourcePartition, Option<i64>)>;
    /// See [`KafkaSource::commit`].
    fn commit(&self, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError>;
    /// See [`KafkaSource::lag`].
    fn lag(&self) -> Vec<Lag>;
    /// See [`KafkaSource::failed_handshake`].
    fn failed_handshake(&self) -> Option<SourceError> {
        None
    }
}

impl Source for KafkaSource {
    fn now(&self) -> i64 {
        crate::worker::now()
    }

    fn poll(&mut self, max_wait: Duration) -> Result<Event, SourceError> {
        KafkaSource::poll(self, max_wait)
    }

    fn has_news(&self) -> bool {
        KafkaSource::has_news(self)
    }

    fn attend(&mut self) -> Result<(), SourceError> {
        KafkaSource::attend(self)
    }

    fn rejoin(&mut self) -> Result<(), SourceError> {
        KafkaSource::rejoin(self)
    }

    fn kind(&self, topic: &str) -> Option<TopicKind> {
        KafkaSource::kind(self, topic)
    }

    fn members(&self) -> Result<Vec<Member>, SourceError> {
        self.probe().members()
    }

    fn initial_offsets(&self, sources: &[SourcePartition]) -> Result<Vec<(SourcePartition, i64)>, SourceError> {
        KafkaSource::initial_offsets(self, sources)
    }

    fn start(&mut self, from: &[Start]) -> Result<Vec<Gap>, SourceError> {
        KafkaSource::start(self, from)
    }

    fn plan(&self, taken: &BTreeMap<SourcePartition, i64>) -> Result<Vec<PlanLine>, SourceError> {
        KafkaSource::plan(self, taken)
    }

    fn pause(&mut self, sources: &[SourcePartition]) {
        KafkaSource::pause(self, sources);
    }

    fn resume(&mut self, sources: &[SourcePartition]) {
        KafkaSource::resume(self, sources);
    }

    fn reading(&self) -> impl Iterator<Item = (&SourcePartition, Option<i64>)> {
        KafkaSource::reading(self)
    }

    fn commit(&self, offsets: &[(SourcePartition, i64)]) -> Result<(), SourceError> {
        KafkaSource::commit(self, offsets)
    }

    fn lag(&self) -> Vec<Lag> {
        KafkaSource::lag(self)
    }

    fn failed_handshake(&self) -> Option<SourceError> {
        KafkaSource::failed_handshake(self)
    }
}
