//! What each run of an agent came to, and the figures over all of a variant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::interval::{Figure, average, mean, rate};
use super::protocol::CallRow;
use super::trial::Verdict;
use super::variant::Variant;

/// One agent, one incident, one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub incident: String,
    pub variant: Variant,
    /// Which of several runs, from 1.
    pub repeat: u32,
    /// `final`, or why there was no final message.
    pub ended: String,
    /// The same in words.
    pub detail: Option<String>,
    pub bundle_id: String,
    /// Claims, and those that the verifier accepts.
    pub claims: usize,
    pub claims_accepted: usize,
    /// Of the verifier; 0 where nothing is claimed.
    pub grounding_precision: f64,
    /// Anchors of the cause that accepted claims name, of all of them.
    pub causes_found: f64,
    /// The agent's test on the build; absent where tests are left out.
    pub test: Option<Verdict>,
    /// The test of the incident with the agent's patch.
    pub fix: Option<Verdict>,
    /// All other tests with it.
    pub others: Option<Verdict>,
    /// Why the patch was not tried, of one that changes tests or what runs them; not in reports of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// From the task to the last message.
    pub seconds: f64,
    pub calls: Vec<CallRow>,
    /// Lines that the patch adds and takes away; absent where there is none.
    pub patch_lines: Option<usize>,
    pub tokens: Option<f64>,
    pub cost_usd: Option<f64>,
    pub interventions: Option<f64>,
}

/// How a figure is made and read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub name: &'static str,
    pub title: &'static str,
    pub is_rate: bool,
    /// Whether more is better.
    pub more_is_better: bool,
    /// The values of a row; none where it says nothing.
    values: fn(&Row) -> Vec<f64>,
}

fn yes(value: bool) -> Vec<f64> {
    vec![f64::from(u8::from(value))]
}

/// Every figure, as reports have them.
pub(crate) static MEASURES: [Measure; 13] = [
    Measure {
        name: "reproduction_rate",
        title: "reproduction rate",
        is_rate: true,
        more_is_better: true,
        values: |row| row.test.map_or_else(Vec::new, |test| yes(test == Verdict::Red)),
    },
    Measure {
        name: "grounding_precision",
        title: "grounding precision",
        is_rate: false,
        more_is_better: true,
        values: |row| vec![row.grounding_precision],
    },
    Measure {
        name: "causes_found",
        title: "causes found",
        is_rate: false,
        more_is_better: true,
        values: |row| vec![row.causes_found],
    },
    Measure {
        name: "fix_rate",
        title: "fix rate",
        is_rate: true,
        more_is_better: true,
        values: |row| row.fix.map_or_else(Vec::new, |fix| yes(fix == Verdict::Green)),
    },
    // Of what was patched: no patch breaks nothing and mends nothing, which the fix rate says.
    Measure {
        name: "regression_rate",
        title: "regression rate",
        is_rate: true,
        more_is_better: false,
        values: |row| match row.others {
            Some(Verdict::Green) => yes(false),
            Some(Verdict::Red | Verdict::TimedOut) => yes(true),
            Some(Verdict::DoesNotApply | Verdict::Refused | Verdict::NoTest) | None => vec![],
        },
    },
    Measure {
        name: "answered_rate",
        title: "answered",
        is_rate: true,
        more_is_better: true,
        values: |row| yes(row.ended == "final"),
    },
    Measure {
        name: "seconds_to_diagnosis",
        title: "time to diagnosis, s",
        is_rate: false,
        more_is_better: false,
        values: |row| vec![row.seconds],
    },
    Measure {
        name: "retrieval_ms",
        title: "retrieval latency, ms",
        is_rate: false,
        more_is_better: false,
        values: |row| row.calls.iter().map(|call| call.ms).collect(),
    },
    Measure {
        name: "tool_calls",
        title: "calls of tools",
        is_rate: false,
        more_is_better: false,
        #[allow(clippy::cast_precision_loss)]
        values: |row| vec![row.calls.len() as f64],
    },
    Measure {
        name: "tokens",
        title: "tokens",
        is_rate: false,
        more_is_better: false,
        values: |row| row.tokens.into_iter().collect(),
    },
    Measure {
        name: "cost_usd",
        title: "cost, USD",
        is_rate: false,
        more_is_better: false,
        values: |row| row.cost_usd.into_iter().collect(),
    },
    Measure {
        name: "interventions",
        title: "human interventions",
        is_rate: false,
        more_is_better: false,
        values: |row| row.interventions.into_iter().collect(),
    },
    Measure {
        name: "patch_lines",
        title: "lines of the patch",
        is_rate: false,
        more_is_better: false,
        #[allow(clippy::cast_precision_loss)]
        values: |row| row.patch_lines.map(|lines| lines as f64).into_iter().collect(),
    },
];

impl Measure {
    /// The values of a row; none where it says nothing.
    pub(crate) fn of(&self, row: &Row) -> Vec<f64> {
        (self.values)(row)
    }
}

/// What a measure says of each incident: the mean over its runs. Those of which it says nothing are left out.
pub(super) fn by_incident<'a>(rows: impl Iterator<Item = &'a Row>, measure: &Measure) -> BTreeMap<&'a str, f64> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        values.entry(&row.incident).or_default().extend(measure.of(row));
    }
    values.retain(|_, values| !values.is_empty());
    let mean = |values: Vec<f64>| average(values.iter().copied(), values.len());
    values.into_iter().map(|(incident, values)| (incident, mean(values))).collect()
}

/// The figures of each variant, by name.
pub(crate) fn figures(rows: &[Row], seed: u64) -> BTreeMap<Variant, BTreeMap<String, Figure>> {
    let mut by_variant: BTreeMap<Variant, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_variant.entry(row.variant).or_default().push(row);
    }
    let of_rows = |rows: Vec<&Row>| -> BTreeMap<String, Figure> {
        let figure = |measure: &Measure| {
            let values: Vec<f64> = by_incident(rows.iter().copied(), measure).into_values().collect();
            let figure = match measure.is_rate {
                true => rate(&values),
                false => mean(&values, seed),
            };
            Some((measure.name.to_owned(), figure?))
        };
        MEASURES.iter().filter_map(figure).collect()
    };
    by_variant.into_iter().map(|(variant, rows)| (variant, of_rows(rows))).collect()
}

/// How much of a cause the anchors of accepted claims name. An anchor of a line of code names it at whichever commit.
pub(crate) fn causes_found(causes: &[String], anchors: &[&str]) -> f64 {
    let without_commit = |anchor: &str| match anchor.strip_prefix("code:") {
        Some(_) => anchor.rsplit_once('@').map_or(anchor, |(line, _)| line).to_owned(),
        None => anchor.to_owned(),
    };
    let is_named = |cause: &&String| anchors.iter().any(|anchor| without_commit(anchor) == without_commit(cause));
    let found = causes.iter().filter(is_named).count();
    #[allow(clippy::cast_precision_loss)]
    if causes.is_empty() { 0.0 } else { found as f64 / causes.len() as f64 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(incident: &str, variant: Variant, fix: Option<Verdict>) -> Row {
        Row {
            incident: incident.to_owned(),
            variant,
            repeat: 1,
            ended: String::from("final"),
            detail: None,
            bundle_id: String::from("sha256:00"),
            claims: 2,
            claims_accepted: 2,
            grounding_precision: 1.0,
            causes_found: 0.5,
            test: Some(Verdict::Red),
            fix,
            others: Some(Verdict::Green),
            refused: None,
            seconds: 2.0,
            calls: vec![CallRow { tool: String::from("run_sql"), ok: true, ms: 10.0 }],
            patch_lines: Some(4),
            tokens: None,
            cost_usd: None,
            interventions: Some(0.0),
        }
    }

    /// Figures count what rows say: a test that was not run is in no rate, a patch that does not apply or was refused is no
    /// fix and no regression, and what no row says is no figure.
    #[test]
    fn figures_count_what_rows_say() {
        let mut rows = vec![
            row("a", Variant::Full, Some(Verdict::Green)),
            row("b", Variant::Full, Some(Verdict::DoesNotApply)),
            row("c", Variant::Full, Some(Verdict::Refused)),
            row("a", Variant::CodeOnly, None),
        ];
        rows[1].others = Some(Verdict::DoesNotApply);
        rows[2].others = Some(Verdict::Refused);
        rows[3].test = None;
        rows[3].ended = String::from("silent");
        let figures = figures(&rows, 1);
        let of = |variant: Variant, name: &str| figures[&variant].get(name).map(|figure| (figure.n, figure.value));
        assert_eq!(of(Variant::Full, "fix_rate"), Some((3, 1.0 / 3.0)));
        assert_eq!(of(Variant::Full, "regression_rate"), Some((1, 0.0)));
        assert_eq!(of(Variant::CodeOnly, "fix_rate"), None);
        assert_eq!(of(Variant::CodeOnly, "reproduction_rate"), None);
        assert_eq!(of(Variant::CodeOnly, "answered_rate"), Some((1, 0.0)));
        assert_eq!(of(Variant::Full, "retrieval_ms"), Some((3, 10.0)));
        assert_eq!(of(Variant::Full, "tokens"), None);
    }

    /// An agent that is run ten times on one incident, and once on another, is measured on two incidents.
    #[test]
    fn repeats_are_one_incident() {
        let mut rows: Vec<Row> = (0..10).map(|_| row("a", Variant::Full, Some(Verdict::Green))).collect();
        rows.push(row("b", Variant::Full, Some(Verdict::Red)));
        let fix_rate = figures(&rows, 1)[&Variant::Full]["fix_rate"];
        assert_eq!((fix_rate.n, fix_rate.value), (2, 0.5));
        assert!(fix_rate.high - fix_rate.low > 0.7, "{fix_rate:?}");
    }

    /// Anchors of causes are found whole, but for the commit of a line of code.
    #[test]
    fn causes_are_found_by_their_anchors() {
        let causes = [String::from("code:pay/a.go:7"), String::from("flag:pay.mode@pay")];
        assert_eq!(causes_found(&causes, &["code:pay/a.go:7@0123abc", "flag:pay.mode"]), 0.5);
        assert_eq!(causes_found(&causes, &["code:pay/a.go:71@0123abc"]), 0.0);
        assert_eq!(causes_found(&causes, &["code:pay/a.go:7", "flag:pay.mode@pay"]), 1.0);
        assert_eq!(causes_found(&[], &["log:0"]), 0.0);
    }
}
