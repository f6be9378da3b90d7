//! Everything that can be known of a start before it: what would be read, what is missing, and what would go wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tracerag_schemas::SourcePartition;

use super::access::{Wanted, refused};
use super::sample::Findings;
use super::start::{Gap, Start};
use super::{Cluster, Following, Member, PlanLine, ResolvedTopics, SourceError};

/// What would be read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyLine {
    /// The offsets.
    pub plan: PlanLine,
    /// What Kafka has deleted of it that is needed.
    pub gap: Option<Gap>,
    /// Why it is not the partition that the lake knows, if it is not.
    pub is_another: Option<String>,
}

/// A cluster as a worker would find it.
#[derive(Debug)]
pub struct Survey {
    /// By topic and partition.
    pub lines: Vec<SurveyLine>,
    /// Topics that are named and do not exist; they are waited for.
    pub missing: Vec<String>,
    /// Topics that the broker does not let the client see or read, with its reason.
    pub refused: BTreeMap<String, String>,
    /// Which topics the group does not share out, because their partitions go with those of another one.
    pub following: Following,
    /// What the newest messages show.
    pub findings: Findings,
    /// The members of the group, or in words why they are not known.
    pub members: Result<Vec<Member>, String>,
}

impl Cluster {
    /// Looks at what a worker that owned every partition would find. `taken` is what the lake knows of its partitions;
    /// samples take `within` at most.
    ///
    /// # Errors
    /// When the broker does not answer. That it refuses a topic is part of the answer.
    pub fn survey(&self, taken: &[Start], within: Duration) -> Result<Survey, SourceError> {
        let metadata = self.metadata()?;
        let known: BTreeMap<SourcePartition, i64> =
            taken.iter().map(|start| (start.source.clone(), start.at)).collect();
        let (mut lines, mut refused) = (Vec::new(), BTreeMap::new());
        for (topic, kind) in self.topics_in(&metadata) {
            match self.plan_topic(topic, kind, &known) {
                Ok(plan) => lines.extend(plan.into_iter().map(|plan| SurveyLine::new(plan, taken))),
                Err(SourceError::Refused { reason, .. }) => {
                    refused.insert(topic.name().to_owned(), reason.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        lines.sort_by(|a, b| a.plan.source.cmp(&b.plan.source));
        let ResolvedTopics { mut missing, following, .. } = self.rules.resolve_in(&metadata);
        for (topic, hidden) in self.hidden(&missing) {
            missing.retain(|name| *name != topic);
            let reason = match hidden {
                SourceError::Refused { reason, .. } => reason.to_string(),
                other => other.to_string(),
            };
            refused.insert(topic, reason);
        }
        let findings = self.sample(within)?;
        for topic in findings.topics.iter().filter(|topic| topic.is_refused) {
            refused.insert(topic.topic.clone(), topic.failure.clone().unwrap_or_default());
        }
        let members = self.members().map_err(|error| error.to_string());
        Ok(Survey { lines, missing, refused, following, findings, members })
    }

    /// Which of the topics that are not listed may be there all the same, each with the error that says so: a broker
    /// lists only what the client may see, and tells of others that it may not only where they are asked for by name.
    pub(super) fn hidden(&self, missing: &[String]) -> Vec<(String, SourceError)> {
        let hidden = |topic: &String| {
            let metadata = self.client().fetch_metadata(Some(topic), self.within).ok()?;
            let error = metadata.topics().iter().find(|found| found.name() == topic)?.error()?;
            let reason = KafkaError::MetadataFetch(RDKafkaErrorCode::from(error));
            let refused = refused(&format!("looking for topic {topic:?}"), Wanted::topic(topic), &reason)?;
            Some((topic.clone(), refused))
        };
        missing.iter().filter_map(hidden).collect()
    }
}

impl SurveyLine {
    fn new(plan: PlanLine, taken: &[Start]) -> Self {
        let start = taken.iter().find(|start| start.source == plan.source);
        match start.map(|start| start.gap(plan.low, plan.end)) {
            Some(Ok(gap)) => Self { plan, gap, is_another: None },
            Some(Err(error)) => Self { plan, gap: None, is_another: Some(error.to_string()) },
            None => Self { plan, gap: None, is_another: None },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::source::{Encoding, Signal};

    fn line(partition: i32, starts: &[Start]) -> SurveyLine {
        let plan = PlanLine {
            source: SourcePartition::new("c", "otlp_spans", partition),
            signal: Signal::Spans,
            encoding: Encoding::Proto,
            start: 8,
            low: 8,
            end: 20,
            messages: 12,
            is_continued: true,
        };
        SurveyLine::new(plan, starts)
    }

    /// A partition that the lake knows is compared with what Kafka still has of it: a gap, another partition of the same
    /// name, or neither; one that it does not know lacks nothing.
    #[test]
    fn partitions_are_compared_with_the_lake() {
        let start = |partition, at| Start::new(SourcePartition::new("c", "otlp_spans", partition), at);
        let starts = [start(0, 5), start(1, 8), start(2, 21)];
        let gap = line(0, &starts).gap.unwrap();
        assert_eq!((gap.from, gap.to), (5, 8));
        let whole = line(1, &starts);
        assert!(whole.gap.is_none() && whole.is_another.is_none());
        assert!(line(2, &starts).is_another.unwrap().contains("out of range"));
        assert!(line(3, &starts).gap.is_none());
    }
}
