//! Whether this worker may read beside others: judged from the newest messages, while the worker starts.
//!
//! A worker that is alone does not wait for the answer; it only says what was found. One that comes to others takes no
//! telemetry before it, and none at all if traces would be torn apart.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use tracerag_ingest::source::{Cluster, Encoding, Findings, Member, SourceError};

use crate::error::Error;

/// How long looking at the topics takes at most.
pub(crate) const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// What is known of the topics, and whether it matters.
pub(crate) struct KeyingCheck {
    group: String,
    /// Present until the answer is there.
    answer: Option<Receiver<Result<Findings, SourceError>>>,
    findings: Findings,
    has_others: bool,
}

impl KeyingCheck {
    /// Begins to look, in the background.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self, Error> {
        let (sender, answer) = channel();
        let asked = cluster.clone();
        std::thread::Builder::new()
            .name(String::from("kafka-sample"))
            .spawn(move || {
                // Nobody waits for it any more if the worker has ended meanwhile.
                let _ = sender.send(asked.sample(LOOK_WITHIN));
            })
            .map_err(Error::io("start a thread that looks at the topics"))?;
        Ok(Self {
            group: cluster.group().to_owned(),
            answer: Some(answer),
            findings: Findings::default(),
            has_others: false,
        })
    }

    /// A look that was taken and found nothing against several workers: what the simulation sends is keyed.
    #[cfg(test)]
    pub(crate) fn passed() -> Self {
        Self { group: String::from("simulated"), answer: None, findings: Findings::default(), has_others: false }
    }

    /// Whether the answer has come since the last call. It is logged then.
    pub(crate) fn learns(&mut self) -> bool {
        let Some(answer) = &self.answer else { return false };
        match answer.try_recv() {
            Err(TryRecvError::Empty) => return false,
            Err(TryRecvError::Disconnected) => tracing::warn!("the look at the topics ended without an answer"),
            Ok(Err(error)) => tracing::warn!(%error, "the topics could not be looked at; their keys are not known"),
            Ok(Ok(findings)) => {
                log(&findings);
                self.findings = findings;
            }
        }
        self.answer = None;
        true
    }

    /// Other workers seem to have partitions of the same topics. The group is asked, too: a topic that is new may have
    /// partitions that were given to nobody yet.
    pub(crate) fn meet_others(&mut self, members: Result<Vec<Member>, SourceError>) {
        self.has_others = match members {
            Ok(members) => members.len() != 1,
            Err(error) => {
                tracing::warn!(%error, "the members of the group are not known");
                true
            }
        };
    }

    /// Whether telemetry must wait for the answer.
    pub(crate) fn is_open(&self) -> bool {
        self.has_others && self.answer.is_some()
    }

    /// That this worker may read as far as is known.
    ///
    /// # Errors
    /// When others read as well and the parts of a trace lie in several partitions, or apart from its logs.
    pub(crate) fn permits(&self) -> Result<(), Error> {
        match cut(&self.findings, &self.group).filter(|_| self.has_others) {
            Some(error) => Err(tracerag_ingest::IngestError::from(error).into()),
            None => Ok(()),
        }
    }

    /// Why traces are cut where several workers read, as far as is known.
    pub(crate) fn doubt(&self) -> Option<String> {
        cut(&self.findings, &self.group).map(|error| error.to_string())
    }
}

/// The error of a worker that comes to others, if it would cut traces.
pub(crate) fn cut(findings: &Findings, group: &str) -> Option<SourceError> {
    if let Some(topic) = findings.scattered() {
        return Some(SourceError::Scattered {
            topic: topic.topic.clone(),
            why: topic.verdict.as_ref().map(|verdict| verdict.why.clone()).unwrap_or_default(),
            group: group.to_owned(),
            remedy: topic.remedy(),
        });
    }
    let apart = findings.apart.clone();
    apart.map(|why| SourceError::Apart { why, group: group.to_owned() })
}

/// A line a topic.
fn log(findings: &Findings) {
    for topic in &findings.topics {
        let verdict = topic.verdict.as_ref();
        tracing::info!(
            topic = %topic.topic,
            signal = %topic.kind.signal,
            partitions = topic.partitions,
            keying = verdict.map(|verdict| verdict.keying.name()),
            because = verdict.map(|verdict| verdict.why.as_str()),
            encoding = topic.kind.encoding.name(),
            otlp_proto = topic.encodings.proto,
            otlp_json = topic.encodings.json,
            other = topic.encodings.other,
            failure = topic.failure.as_deref(),
            "looked at the newest messages"
        );
        if topic.kind.encoding == Encoding::Auto && topic.encodings.other > 0 {
            tracing::warn!(topic = %topic.topic, "the topic holds messages that are no OTLP, which go to the dead letters");
        } else if topic.encodings.contradict(topic.kind.encoding) {
            tracing::warn!(
                topic = %topic.topic,
                encoding = topic.kind.encoding.name(),
                "the topic holds messages in another encoding, which go to the dead letters; correct it under [topics]"
            );
        }
    }
    if let Some(why) = &findings.apart {
        tracing::info!("{why}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracerag_ingest::source::{EncodingsSeen, Keying, Signal, TopicFinding, TopicKind, Verdict};

    use super::*;

    fn check(keying: Keying, partitions: usize) -> KeyingCheck {
        let topic = TopicFinding {
            topic: String::from("otlp_spans"),
            kind: TopicKind { signal: Signal::Spans, encoding: Encoding::Proto },
            partitions,
            messages: 9,
            bytes: 900,
            encodings: EncodingsSeen::default(),
            verdict: Some(Verdict { keying, why: String::from("one message holds parts of 4 traces") }),
            failure: None,
            is_refused: false,
        };
        let findings = Findings { topics: vec![topic], ..Findings::default() };
        KeyingCheck { group: String::from("tracerag"), answer: None, findings, has_others: true }
    }

    /// A worker that comes to others stops if traces lie in several partitions or apart from their logs, and says why
    /// and what to do. One that is alone goes on, and so does one whose topic is keyed, has one partition, or shows
    /// nothing.
    #[test]
    fn only_torn_traces_with_others_stop_a_worker() {
        let error = check(Keying::NotKeyed, 6).permits().unwrap_err().to_string();
        for part in [
            "\"otlp_spans\"",
            "parts of 4 traces",
            "\"tracerag\"",
            "one worker only",
            "`tracerag run --rekey`",
            "partition_traces_by_id",
        ] {
            assert!(error.contains(part), "no {part} in {error}");
        }
        let mut apart = check(Keying::Keyed, 6);
        apart.findings.apart = Some(String::from("the numbers of partitions differ"));
        let error = apart.permits().unwrap_err().to_string();
        assert!(error.contains("numbers of partitions") && error.contains("rekey"), "{error}");
        assert_eq!(apart.doubt(), Some(error));
        apart.has_others = false;
        apart.permits().unwrap();
        let alone = KeyingCheck { has_others: false, ..check(Keying::NotKeyed, 6) };
        for fine in [alone, check(Keying::Keyed, 6), check(Keying::NotKeyed, 1), check(Keying::Unknown, 6)] {
            fine.permits().unwrap();
        }
    }

    /// Only a worker that comes to others waits for the answer, and not after it has come.
    #[test]
    fn who_is_alone_does_not_wait() {
        let (sender, answer) = channel();
        let mut check = KeyingCheck { answer: Some(answer), has_others: false, ..check(Keying::Unknown, 6) };
        assert!(!check.is_open());
        check.has_others = true;
        assert!(check.is_open() && !check.learns());
        sender.send(Ok(Findings::default())).unwrap();
        assert!(check.learns() && !check.is_open() && !check.learns());
    }
}
