//! `tracerag run --plan`: what a worker would read, and what would go wrong. Nothing is written, neither into the lake
//! nor into Kafka, and the group is not joined.

mod show;

use tracerag_index::{Head, Lake};
use tracerag_ingest::IngestError;
use tracerag_ingest::source::{Cluster, Encoding, OutOfRange, Start, Survey};

use super::new_lake;
use crate::cli::Context;
use crate::commands::status::StatusFormat;
use crate::config::Config;
use crate::error::Error;
use crate::keying::{LOOK_WITHIN, cut};
use crate::output;
use crate::pipeline::Pipeline;

/// Everything that is shown.
struct Plan {
    lake: String,
    /// `None`: there is no lake yet.
    head: Option<Head>,
    group: String,
    survey: Survey,
    /// Why a worker would end at once, and what to do about it.
    problems: Vec<String>,
    /// What a worker would go on with, and should not be overlooked.
    notes: Vec<String>,
}

/// Prints the plan. Ends with an error where a worker would not run.
pub(super) async fn print(context: Context, makes_lake: bool, format: StatusFormat) -> Result<(), Error> {
    let config = context.config;
    config.require(&[])?;
    // What a worker would refuse before it looks at Kafka is refused here, too.
    Pipeline::check(&config)?;
    let (lake, head) = match Lake::open(config.lake.options()).await {
        Ok(lake) => (lake.uri().to_owned(), Some(lake.newest_head().await?)),
        Err(tracerag_index::Error::NoLake { uri }) => (uri, None),
        Err(error) => return Err(error.into()),
    };
    let plan = tokio::task::spawn_blocking(move || Plan::make(&config, makes_lake, lake, head))
        .await
        .map_err(|error| Error::Stopped { what: "the plan", detail: error.to_string() })??;
    match format {
        StatusFormat::Table => output::data(&plan.text())?,
        StatusFormat::Json => output::data(&format!("{:#}\n", plan.json()))?,
    }
    match plan.problems.first() {
        Some(problem) => Err(Error::WouldNotRun(problem.clone())),
        None => Ok(()),
    }
}

impl Plan {
    fn make(config: &Config, makes_lake: bool, lake: String, head: Option<Head>) -> Result<Self, Error> {
        let cluster = Cluster::connect(&config.kafka, &config.topics, Cluster::PATIENCE).map_err(IngestError::from)?;
        let taken = head.as_ref().map(|head| taken(head, cluster.id())).unwrap_or_default();
        let survey = cluster.survey(&taken, LOOK_WITHIN).map_err(IngestError::from)?;
        let group = config.kafka.group_id.clone();
        let mut problems = problems(&survey, &group, config.kafka.out_of_range);
        let mut notes = notes(&survey, &group);
        // A group that may not be used is a problem of its own.
        if head.is_none() && !makes_lake && !survey.findings.is_group_refused {
            match new_lake::objection(config, &cluster) {
                Ok(objection) => problems.extend(objection.map(|error| error.to_string())),
                Err(error) => notes.push(format!("whether group {group} has read before is not known: {error}")),
            }
        }
        Ok(Self { lake, head, group, survey, problems, notes })
    }
}

/// Where the lake stands in the partitions of a cluster, as a worker that claims them would find it.
fn taken(head: &Head, cluster: &str) -> Vec<Start> {
    let of_cluster = head.sources.iter().filter(|state| state.source.cluster.as_ref() == cluster);
    of_cluster
        .filter_map(|state| {
            let read_to = state.next?;
            Some(Start { source: state.source.clone(), at: state.low_watermark.unwrap_or(read_to), read_to })
        })
        .collect()
}

fn problems(survey: &Survey, group: &str, out_of_range: OutOfRange) -> Vec<String> {
    let mut problems = Vec::new();
    for line in &survey.lines {
        problems.extend(line.is_another.clone());
        if let (Some(gap), OutOfRange::Fail) = (&line.gap, out_of_range) {
            problems.push(format!(
                "{}: {gap}; set kafka.out_of_range = \"continue\" to go on at offset {}, or restore the topic",
                gap.source, gap.to
            ));
        }
    }
    for (topic, reason) in &survey.refused {
        problems.push(format!(
            "kafka does not let this client read topic {topic:?} ({reason}); permit it READ on the topic, or take it out \
             of [topics]"
        ));
    }
    if survey.findings.is_group_refused {
        problems.push(format!(
            "kafka does not let this client use group {group:?}; permit it READ on the group, or set kafka.group_id"
        ));
    }
    let has_others = survey.members.as_ref().is_ok_and(|members| !members.is_empty());
    if let Some(error) = cut(&survey.findings, group).filter(|_| has_others) {
        problems.push(error.to_string());
    }
    problems
}

fn notes(survey: &Survey, group: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for line in &survey.lines {
        if let Some(gap) = &line.gap {
            notes.push(format!("{}: {gap}", gap.source));
        }
    }
    if !survey.missing.is_empty() {
        notes.push(format!("waiting for topics: {}", survey.missing.join(", ")));
    }
    for topic in &survey.findings.topics {
        if topic.encodings.contradict(topic.kind.encoding) {
            let remedy = match topic.kind.encoding {
                Encoding::Auto => String::from("; find out who sends it"),
                _ => format!("; correct the encoding in topics.{}, or set it to \"auto\"", topic.kind.signal),
            };
            notes.push(format!(
                "topic {:?} holds {} and is configured as {}: what does not fit goes to the dead letters{remedy}",
                topic.topic,
                topic.encodings.names().join(" and "),
                topic.kind.encoding.name(),
            ));
        }
        if let Some(failure) = topic.failure.as_ref().filter(|_| !topic.is_refused) {
            notes.push(format!("topic {:?} was not looked at to the end: {failure}", topic.topic));
        }
        if topic.is_scattered() {
            notes.push(format!(
                "topic {:?} is not keyed by trace id: one worker reads it well, several would cut its traces; to have it \
                 keyed, start `tracerag run --rekey`, or set {}",
                topic.topic,
                topic.remedy()
            ));
        }
    }
    notes.extend(survey.findings.apart.clone());
    let followers: Vec<&str> = survey.following.followers().collect();
    if let (Some(leader), false) = (survey.following.leader(), followers.is_empty()) {
        notes.push(format!(
            "the group shares {leader} out; partitions of {} go with those of the same number to the same worker",
            followers.join(", ")
        ));
    }
    match &survey.members {
        Ok(members) if members.is_empty() => {}
        Ok(members) => notes.push(format!(
            "group {group} has {} active: a worker would get a part of the partitions{}",
            if members.len() == 1 { String::from("1 member") } else { format!("{} members", members.len()) },
            if cut(&survey.findings, group).is_some() {
                " only, and traces whose parts lie with several are cut"
            } else {
                ""
            }
        )),
        Err(reason) => notes.push(format!("the members of group {group} are not known: {reason}")),
    }
    notes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use tracerag_index::SourceState;
    use tracerag_ingest::source::{
        Encoding, EncodingsSeen, Findings, Following, Gap, Keying, Member, PlanLine, Signal, SurveyLine, TopicFinding,
        TopicKind, Verdict,
    };
    use tracerag_schemas::SourcePartition;

    use super::*;

    fn spans() -> SourcePartition {
        SourcePartition::new("c", "otlp_spans", 0)
    }

    /// A topic of two partitions that is not keyed and holds JSON where protobuf is configured, and one that is missing.
    fn survey() -> Survey {
        let verdict = Verdict { keying: Keying::NotKeyed, why: String::from("messages have no key") };
        let plan = PlanLine {
            source: spans(),
            signal: Signal::Spans,
            encoding: Encoding::Proto,
            start: 8,
            low: 8,
            end: 2_008,
            messages: 2_000,
            is_continued: true,
        };
        let topic = TopicFinding {
            topic: String::from("otlp_spans"),
            kind: TopicKind { signal: Signal::Spans, encoding: Encoding::Proto },
            partitions: 2,
            messages: 4,
            bytes: 4_096,
            encodings: EncodingsSeen { json: 4, ..EncodingsSeen::default() },
            verdict: Some(verdict),
            failure: None,
            is_refused: false,
        };
        Survey {
            lines: vec![SurveyLine { plan, gap: None, is_another: None }],
            missing: vec![String::from("otlp_logs")],
            refused: BTreeMap::new(),
            following: Following::default(),
            findings: Findings { topics: vec![topic], ..Findings::default() },
            members: Ok(vec![]),
        }
    }

    fn plan(survey: Survey) -> Plan {
        let problems = problems(&survey, "tracerag", OutOfRange::Fail);
        let notes = notes(&survey, "tracerag");
        let head = Some(Head { position: 7, ..Head::default() });
        Plan { lake: String::from("/lake"), head, group: String::from("tracerag"), survey, problems, notes }
    }

    /// For one worker, a topic that is not keyed, another encoding and a missing topic are things to know, and no
    /// problem; the text and the JSON say them, the amount, and that a worker would run.
    #[test]
    fn what_to_know_is_told() {
        let plan = plan(survey());
        assert_eq!(plan.problems, [""; 0]);
        let text = plan.text();
        for part in [
            "lake /lake  position 7",
            "no active members",
            "otlp_json",
            "the lake",
            "2,000",
            "not keyed",
            "messages have no key",
            "partition_traces_by_id",
            "tracerag run --rekey",
            "waiting for topics: otlp_logs",
            "a worker would start: 2,000 messages (about 2.0 MiB)",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        let json = plan.json();
        assert_eq!((&json["would_run"], &json["missing_topics"][0]), (&true.into(), &"otlp_logs".into()), "{json:#}");
        assert_eq!(json["partitions"][0]["from"], 8, "{json:#}");
        assert_eq!(json["partitions"][0]["bytes_estimated"], 2_048_000, "{json:#}");
        assert_eq!(json["topics"][0]["keying"], "not keyed", "{json:#}");
        assert_eq!(json["topics"][0]["encodings_seen"]["otlp_json"], 4, "{json:#}");
    }

    /// Others in the group make a topic that is not keyed a problem, and so do a gap (unless the configuration passes
    /// over it), a topic that was made anew and one that may not be read.
    #[test]
    fn what_stops_a_worker_is_a_problem() {
        let member = Member { client: String::from("tracerag"), host: String::from("10.0.0.1"), partitions: Some(2) };
        let with_others = Survey { members: Ok(vec![member]), ..survey() };
        let told = problems(&with_others, "tracerag", OutOfRange::Fail).join("\n");
        assert!(told.contains("one worker only") && told.contains("partition_traces_by_id"), "{told}");
        let shown = plan(with_others);
        assert!(shown.text().contains("a worker would not run: "), "{}", shown.text());
        assert_eq!(shown.json()["would_run"], false);

        let mut gone = survey();
        gone.lines[0].gap = Some(Gap { source: spans(), from: 5, to: 8, read_to: 5 });
        let told = problems(&gone, "tracerag", OutOfRange::Fail).join("\n");
        assert!(told.contains("otlp_spans/0: offsets 5 to 7 (3)") && told.contains("kafka.out_of_range"), "{told}");
        assert!(problems(&gone, "tracerag", OutOfRange::Continue).is_empty());

        let mut other = survey();
        other.lines[0].is_another = Some(String::from("it was made anew"));
        other.refused.insert(String::from("otlp_spans"), String::from("topic authorization failed"));
        let told = problems(&other, "tracerag", OutOfRange::Continue);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].contains("READ on the topic"), "{told:?}");
    }

    /// A worker begins at the oldest offset that an open trace needs; partitions that were never read, files and other
    /// clusters count for nothing.
    #[test]
    fn the_lake_says_where_a_worker_begins() {
        let state = |cluster: &str, partition, next, low_watermark| SourceState {
            source: SourcePartition::new(cluster, "otlp_spans", partition),
            generation: 1,
            next,
            low_watermark,
            stream_time: None,
        };
        let sources = vec![
            state("c", 0, Some(9), Some(4)),
            state("c", 1, Some(9), None),
            state("c", 2, None, None),
            state("file", 0, Some(3), None),
        ];
        let taken = taken(&Head { sources, ..Head::default() }, "c");
        let starts: Vec<_> = taken.iter().map(|start| (start.source.partition, start.at, start.read_to)).collect();
        assert_eq!(starts, [(0, 4, 9), (1, 9, 9)]);
    }
}
