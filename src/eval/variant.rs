//! What of the evidence an agent gets: each kind is left out once, and once everything.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracerag_schemas::bundle::Bundle;

/// What an agent is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Variant {
    /// The repository with its documents, and what users see; no telemetry
    CodeOnly,
    /// Everything but heap summaries
    WithoutHeap,
    /// Everything but flags and configuration
    WithoutFlags,
    /// Everything but logs
    WithoutLogs,
    /// Everything
    Full,
}

/// Members of answers that hold flags.
const OF_FLAGS: [&str; 2] = ["flags", "flags_in_effect"];
/// How names of events and attributes of flag evaluations begin.
const FLAG_EVENTS: &str = "feature_flag";

impl Variant {
    /// All, the least evidence first.
    pub(crate) const ALL: [Self; 5] =
        [Self::CodeOnly, Self::WithoutHeap, Self::WithoutFlags, Self::WithoutLogs, Self::Full];

    /// As reports have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CodeOnly => "code_only",
            Self::WithoutHeap => "without_heap",
            Self::WithoutFlags => "without_flags",
            Self::WithoutLogs => "without_logs",
            Self::Full => "full",
        }
    }

    /// The bundle without what is withheld; `None` where nothing of it is given. It is a view: its id is that of the
    /// whole, against which claims are verified.
    pub(crate) fn view(self, mut bundle: Bundle) -> Option<Bundle> {
        match self {
            Self::CodeOnly => return None,
            Self::WithoutHeap => {
                bundle.evidence.heaps.clear();
                bundle.context.late.clear();
            }
            Self::WithoutFlags => {
                bundle.evidence.flags.clear();
                for span in &mut bundle.evidence.spans {
                    let is_flags = |name: &Option<String>| name.as_deref().is_some_and(is_of_flags);
                    span.events.retain(|event| !is_flags(&event.name));
                    span.attributes.retain(|name, _| !is_of_flags(name));
                }
                for log in &mut bundle.evidence.logs {
                    log.attributes.retain(|name, _| !is_of_flags(name));
                }
                // In place of removal, for the anchors of the others count on.
                for log in
                    bundle.evidence.logs.iter_mut().filter(|log| log.event_name.as_deref().is_some_and(is_of_flags))
                {
                    log.body = Value::Null;
                }
            }
            Self::WithoutLogs => bundle.evidence.logs.clear(),
            Self::Full => {}
        }
        Some(bundle)
    }

    /// Why a call of a tool is not answered. SQL is refused by the words in it: what a statement does not name, it can
    /// only have by `*`, and that is taken out of the rows.
    pub(crate) fn refuses(self, tool: &str, arguments: &Value) -> Option<String> {
        let withheld = || Some(format!("withheld: the variant {self} has no such evidence; use another tool"));
        let names = |words: &[&str]| {
            let text = arguments.to_string().to_ascii_lowercase();
            let mut found = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            found.any(|word| words.contains(&word))
        };
        let is_sql = tool == "run_sql";
        match self {
            Self::CodeOnly if tool == "verify_citations" => None,
            Self::CodeOnly => withheld(),
            Self::WithoutLogs if tool == "get_logs" => withheld(),
            Self::WithoutLogs if is_sql && names(&["logs", "evidence_bundle", "bundles"]) => withheld(),
            Self::WithoutHeap if is_sql && names(&["heaps", "evidence_bundle", "bundles"]) => withheld(),
            Self::WithoutFlags
                if is_sql
                    && names(&["flags", "flags_in_effect", "feature_flag", "events", "evidence_bundle", "bundles"]) =>
            {
                withheld()
            }
            _ => None,
        }
    }

    /// An answer of a tool without what is withheld.
    pub(crate) fn cleaned(self, mut answer: Value) -> Value {
        match self {
            Self::WithoutHeap => remove(&mut answer, &["heaps", "late"], false),
            Self::WithoutLogs => remove(&mut answer, &["logs"], false),
            Self::WithoutFlags => remove(&mut answer, &OF_FLAGS, true),
            Self::CodeOnly | Self::Full => {}
        }
        answer
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn is_of_flags(name: &str) -> bool {
    name.starts_with(FLAG_EVENTS)
}

/// Takes members of these names out, wherever they stand, and columns of these names out of rows; with `events` also what
/// tells of evaluations of flags.
fn remove(value: &mut Value, names: &[&str], events: bool) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !(names.contains(&name.as_str()) || events && is_of_flags(name)));
            columns(members, names);
            members.values_mut().for_each(|member| remove(member, names, events));
        }
        Value::Array(entries) => {
            let tells = |entry: &Value| {
                let told = entry.get("name").or_else(|| entry.get("event_name")).and_then(Value::as_str);
                events && told.is_some_and(is_of_flags)
            };
            entries.retain(|entry| !tells(entry));
            entries.iter_mut().for_each(|entry| remove(entry, names, events));
        }
        _ => {}
    }
}

/// Rows of SQL are lists in the order of `columns`.
fn columns(members: &mut serde_json::Map<String, Value>, names: &[&str]) {
    let Some(Value::Array(columns)) = members.get_mut("columns") else { return };
    let is_kept: Vec<bool> =
        columns.iter().map(|column| !column.as_str().is_some_and(|column| names.contains(&column))).collect();
    let keep = |entries: &mut Vec<Value>| {
        let mut kept = is_kept.iter();
        entries.retain(|_| kept.next().copied().unwrap_or(true));
    };
    keep(columns);
    if let Some(Value::Array(rows)) = members.get_mut("rows") {
        rows.iter_mut().filter_map(Value::as_array_mut).for_each(keep);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a variant withholds is in no answer: no section, no column, no event; everything else stays.
    #[test]
    fn answers_have_nothing_that_is_withheld() {
        let answer = json!({"data": {"flags": [1], "heaps": [2], "logs": [3],
            "failing_path": [{"events": [{"name": "feature_flag.evaluation"}, {"name": "exception"}]}],
            "columns": ["a", "flags", "b"], "rows": [[1, 2, 3]]}});
        let left = Variant::WithoutFlags.cleaned(answer.clone());
        assert_eq!(
            left,
            json!({"data": {"heaps": [2], "logs": [3], "failing_path": [{"events": [{"name": "exception"}]}],
                "columns": ["a", "b"], "rows": [[1, 3]]}})
        );
        assert_eq!(Variant::WithoutLogs.cleaned(answer.clone())["data"].get("logs"), None);
        assert_eq!(Variant::WithoutHeap.cleaned(answer.clone())["data"].get("heaps"), None);
        assert_eq!(Variant::Full.cleaned(answer.clone()), answer);
    }

    /// A statement that names what is withheld is refused, by words and not by parts of words; without telemetry no tool
    /// answers but the one that verifies.
    #[test]
    fn calls_are_refused_by_variant() {
        let sql = |query: &str| json!({"query": query});
        assert!(Variant::WithoutLogs.refuses("run_sql", &sql("select * from LOGS")).is_some());
        assert!(Variant::WithoutLogs.refuses("run_sql", &sql("select catalogs from spans")).is_none());
        assert!(Variant::WithoutFlags.refuses("run_sql", &sql("select flags['a'] from failures")).is_some());
        assert!(Variant::WithoutHeap.refuses("run_sql", &sql("select bundle from evidence_bundle('a')")).is_some());
        assert!(Variant::WithoutLogs.refuses("get_logs", &json!({})).is_some());
        assert!(Variant::CodeOnly.refuses("get_trace", &json!({})).is_some());
        assert!(Variant::CodeOnly.refuses("verify_citations", &json!({})).is_none());
        assert!(Variant::Full.refuses("run_sql", &sql("select * from heaps")).is_none());
    }
}
