//! The plan as text and as JSON.

use serde_json::{Value, json};
use tracerag_ingest::source::{SurveyLine, TopicFinding};

use super::Plan;
use crate::output::{self, thousands};

impl Plan {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = match &self.head {
            Some(head) => format!("lake {}  position {}\n", self.lake, head.position),
            None => format!("lake {}: there is none yet, a worker would make it\n", self.lake),
        };
        text.push_str(&match &self.survey.members {
            Ok(members) if members.is_empty() => format!("group {}: no active members\n", self.group),
            Ok(members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|member| match member.partitions {
                        Some(count) => format!("{} at {} ({count} partitions)", member.client, member.host),
                        None => format!("{} at {}", member.client, member.host),
                    })
                    .collect();
                format!("group {}: {}\n", self.group, members.join(", "))
            }
            Err(_) => format!("group {}: its members are not known\n", self.group),
        });
        text.push_str("\nPartitions\n");
        text.push_str(&self.partitions());
        let verdicts: Vec<String> = self.survey.findings.topics.iter().filter_map(verdict).collect();
        if !verdicts.is_empty() {
            text.push_str(&format!("\nKeys, by the newest messages\n{}", verdicts.concat()));
        }
        if !self.notes.is_empty() {
            text.push_str("\nTo know\n");
            text.extend(self.notes.iter().map(|note| format!("- {note}\n")));
        }
        text.push_str(&format!("\n{}\n", self.outcome()));
        text
    }

    fn partitions(&self) -> String {
        let rows = self
            .survey
            .lines
            .iter()
            .map(|line| {
                let plan = &line.plan;
                let finding = self.survey.findings.of(&plan.source.topic);
                let dash = || String::from("-");
                let seen = finding.map(|finding| finding.encodings.names().join(", ")).filter(|seen| !seen.is_empty());
                vec![
                    plan.source.topic.to_string(),
                    plan.source.partition.to_string(),
                    plan.signal.to_string(),
                    if plan.signal.is_otlp() { plan.encoding.name().to_owned() } else { String::from("json") },
                    seen.unwrap_or_else(dash),
                    thousands(plan.start),
                    begun_by(line).to_owned(),
                    thousands(plan.end),
                    thousands(plan.messages),
                    self.bytes(line).map_or_else(dash, size),
                ]
            })
            .collect();
        output::table(
            &["topic", "partition", "signal", "encoding", "seen", "from", "by", "to", "messages", "about"],
            rows,
            &[1, 5, 7, 8, 9],
        )
    }

    /// What the messages of a partition take, if they are like the newest ones of the topic.
    fn bytes(&self, line: &SurveyLine) -> Option<u64> {
        let finding = self.survey.findings.of(&line.plan.source.topic)?;
        let mean = finding.bytes.checked_div(finding.messages as u64)?;
        Some(mean.saturating_mul(line.plan.messages.unsigned_abs()))
    }

    /// The last line: what would happen.
    fn outcome(&self) -> String {
        if let Some(problem) = self.problems.first() {
            return format!("a worker would not run: {problem}");
        }
        let lines = &self.survey.lines;
        let messages: i64 = lines.iter().map(|line| line.plan.messages).sum();
        let bytes: u64 = lines.iter().filter_map(|line| self.bytes(line)).sum();
        let about = if bytes > 0 { format!(" (about {})", size(bytes)) } else { String::new() };
        let partitions =
            if lines.len() == 1 { "1 partition".to_owned() } else { format!("{} partitions", lines.len()) };
        format!("a worker would start: {} messages{about} in {partitions}", thousands(messages))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let partitions: Vec<Value> = self.survey.lines.iter().map(|line| self.partition(line)).collect();
        let topics: Vec<Value> = self.survey.findings.topics.iter().map(topic).collect();
        let members = self.survey.members.as_ref().ok().map(|members| {
            let member = |member: &tracerag_ingest::source::Member| {
                json!({"client_id": member.client, "host": member.host, "partitions": member.partitions})
            };
            members.iter().map(member).collect::<Vec<Value>>()
        });
        json!({
            "lake": self.lake,
            "position": self.head.as_ref().map(|head| head.position),
            "group_id": self.group,
            "members": members,
            "partitions": partitions,
            "topics": topics,
            "co_partitioning": self.survey.findings.apart,
            "missing_topics": self.survey.missing,
            "refused_topics": self.survey.refused,
            "notes": self.notes,
            "would_run": self.problems.is_empty(),
            "problems": self.problems,
        })
    }

    fn partition(&self, line: &SurveyLine) -> Value {
        let plan = &line.plan;
        let following = &self.survey.following;
        let with = following.goes_with(&plan.source.topic, plan.source.partition);
        json!({
            "topic": plan.source.topic.as_ref(), "partition": plan.source.partition, "signal": plan.signal.name(),
            "encoding": plan.signal.is_otlp().then(|| plan.encoding.name()),
            "from": plan.start, "from_by": begun_by(line), "to": plan.end, "messages": plan.messages,
            "bytes_estimated": self.bytes(line),
            "goes_with": with.zip(following.leader()).map(|(number, leader)| format!("{leader}/{number}")),
            "gap": line.gap.as_ref().map(|gap| json!({"from": gap.from, "to": gap.to, "detail": gap.to_string()})),
        })
    }
}

fn begun_by(line: &SurveyLine) -> &'static str {
    if line.plan.is_continued { "the lake" } else { "kafka.initial_offset" }
}

fn verdict(topic: &TopicFinding) -> Option<String> {
    let verdict = topic.verdict.as_ref()?;
    Some(format!("{}: {}: {}\n", topic.topic, verdict.keying, verdict.why))
}

fn topic(topic: &TopicFinding) -> Value {
    let verdict = topic.verdict.as_ref();
    json!({
        "topic": topic.topic, "signal": topic.kind.signal.name(), "partitions": topic.partitions,
        "encoding": topic.kind.encoding.name(),
        "encodings_seen": {
            "otlp_proto": topic.encodings.proto, "otlp_json": topic.encodings.json, "other": topic.encodings.other,
        },
        "messages_seen": topic.messages,
        "keying": verdict.map(|verdict| verdict.keying.name()),
        "because": verdict.map(|verdict| &verdict.why),
        "failure": topic.failure,
    })
}

/// A size with a unit.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let mut number = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    format!("{number:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes have one digit behind the point and the unit that keeps them short.
    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(2_048_000), "2.0 MiB");
        assert_eq!(size(5 << 40), "5.0 TiB");
        assert_eq!(size(5_000 << 40), "5000.0 TiB");
    }
}
