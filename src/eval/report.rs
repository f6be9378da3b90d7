//! A report of one run, the series of reports in a folder, and the difference of two.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::interval::{Figure, mean};
use super::protocol::Limits;
use super::score::{MEASURES, Row, figures};
use super::variant::Variant;
use crate::error::Error;
use crate::trial::Isolation;

/// The schema name that a report carries.
const SCHEMA: &str = "tracerag.eval/1";

/// What came of one run of an agent over a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub schema: String,
    pub suite: String,
    /// Whether the suite's words were replaced.
    pub renamed: bool,
    /// The command of the agent.
    pub agent: String,
    /// When the run began, RFC 3339.
    pub made_at: String,
    /// The release of tracerag.
    pub version: String,
    pub seed: u64,
    pub limits: Limits,
    /// What the tests could do; `None` where none ran, and in reports that do not say it.
    #[serde(default)]
    pub isolation: Option<Isolation>,
    /// By variant and name of the figure.
    pub figures: BTreeMap<Variant, BTreeMap<String, Figure>>,
    pub rows: Vec<Row>,
}

impl Report {
    /// The report of rows; the same rows and seed give the same figures.
    pub(crate) fn of(
        suite: &str,
        renamed: bool,
        agent: &str,
        made_at: String,
        seed: u64,
        limits: Limits,
        rows: Vec<Row>,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            suite: suite.to_owned(),
            renamed,
            agent: agent.to_owned(),
            made_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            limits,
            isolation: None,
            figures: figures(&rows, seed),
            rows,
        }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// [`Error::WrongFile`]
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::WrongFile { option: "the report", file: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let report: Self = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("{error}; `tracerag eval run` writes reports")))?;
        match report.schema == SCHEMA {
            true => Ok(report),
            false => Err(wrong(format!("its schema is {:?}, and this release reads {SCHEMA}", report.schema))),
        }
    }

    /// The name of its files, without ending: suite and time, so that names sort by time.
    pub(crate) fn stem(&self) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | 'T' | 'Z');
        let plain = |text: &str| text.chars().map(|c| if is_plain(c) { c } else { '-' }).collect::<String>();
        format!("{}-{}", plain(&self.suite), plain(&self.made_at))
    }

    /// The reports of the same suite in a folder, the oldest first. Files that are no reports are passed over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn series(folder: &Path, suite: &str) -> Result<Vec<Self>, Error> {
        let failed = |error| Error::io(format!("read {}", folder.display()))(error);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path: PathBuf = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        let mut found: Vec<Self> = paths.iter().filter_map(|path| Self::read(path).ok()).collect();
        found.retain(|report| report.suite == suite);
        found.sort_by(|one, other| one.made_at.cmp(&other.made_at));
        Ok(found)
    }
}

/// How a figure differs between two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub variant: Variant,
    pub measure: &'static str,
    #[serde(skip)]
    pub title: &'static str,
    /// The mean over the incidents that both runs have.
    pub a: f64,
    pub b: f64,
    /// `b` less `a`, with its interval; `n` is the number of incidents.
    pub difference: Figure,
    /// `better`, `worse`, or `unclear` where the interval holds 0.
    pub verdict: &'static str,
}

/// The differences of two runs, paired by incident: hard incidents are hard in both, and pairing takes that out.
pub(crate) fn differences(a: &Report, b: &Report) -> Vec<Difference> {
    let mut found = Vec::new();
    let variants: BTreeSet<Variant> = a.figures.keys().chain(b.figures.keys()).copied().collect();
    for variant in variants {
        for measure in &MEASURES {
            let by_incident = |report: &Report| {
                let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
                for row in report.rows.iter().filter(|row| row.variant == variant) {
                    values.entry(row.incident.clone()).or_default().extend(measure.of(row));
                }
                values.retain(|_, values| !values.is_empty());
                values.into_iter().map(|(incident, values)| (incident, middle(&values))).collect::<BTreeMap<_, _>>()
            };
            let (of_a, of_b) = (by_incident(a), by_incident(b));
            let pairs: Vec<(f64, f64)> =
                of_a.iter().filter_map(|(incident, a)| Some((*a, *of_b.get(incident)?))).collect();
            let changes: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
            let Some(difference) = mean(&changes, a.seed) else { continue };
            let verdict = match (difference.low > 0.0, difference.high < 0.0) {
                (false, false) => "unclear",
                (grew, _) if grew == measure.more_is_better => "better",
                _ => "worse",
            };
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let (measure, title, a, b) = (measure.name, measure.title, middle(&a), middle(&b));
            found.push(Difference { variant, measure, title, a, b, difference, verdict });
        }
    }
    found
}

#[allow(clippy::cast_precision_loss)]
fn middle(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::super::score::tests::row;
    use super::super::trial::Verdict;
    use super::*;

    pub(crate) fn report(made_at: &str, fixed: usize) -> Report {
        let verdict = |n: usize| Some(if n < fixed { Verdict::Green } else { Verdict::Red });
        let rows = (0..8).map(|n| row(&format!("incident-{n}"), Variant::Full, verdict(n))).collect();
        let limits = Limits { seconds: 60, tool_calls: 100 };
        let mut report = Report::of("shop", false, "agent <1>", made_at.to_owned(), 7, limits, rows);
        report.version = String::from("0.1.0");
        report
    }

    /// A run that mends more is better, the same run unclear, and the other way round worse; times that grow are worse.
    #[test]
    fn differences_are_paired() {
        let (few, many) = (report("2026-11-29T07:00:00Z", 0), report("2026-11-29T08:00:00Z", 8));
        let verdict = |a: &Report, b: &Report, name: &str| {
            let found = differences(a, b);
            found.iter().find(|difference| difference.measure == name).map(|found| (found.verdict, found.difference.n))
        };
        assert_eq!(verdict(&few, &many, "fix_rate"), Some(("better", 8)));
        assert_eq!(verdict(&many, &few, "fix_rate"), Some(("worse", 8)));
        assert_eq!(verdict(&many, &many, "fix_rate"), Some(("unclear", 8)));
        let mut slow = many.clone();
        slow.rows.iter_mut().for_each(|row| row.seconds += 5.0);
        assert_eq!(verdict(&many, &slow, "seconds_to_diagnosis"), Some(("worse", 8)));
        let mut other = many.clone();
        other.rows.iter_mut().for_each(|row| row.incident.push('x'));
        assert_eq!(differences(&many, &other), vec![]);
    }

    /// A folder gives the reports of one suite by time, whatever else lies there; a file of another schema is refused.
    #[test]
    fn reports_are_a_series() {
        let folder = tempfile::tempdir().unwrap();
        for made_at in ["2026-11-29T08:00:00Z", "2026-11-29T07:00:00Z"] {
            let report = report(made_at, 1);
            let path = folder.path().join(format!("{}.json", report.stem()));
            std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
            assert_eq!(Report::read(&path).unwrap(), report);
        }
        std::fs::write(folder.path().join("other.json"), "{}").unwrap();
        let times: Vec<String> =
            Report::series(folder.path(), "shop").unwrap().into_iter().map(|report| report.made_at).collect();
        assert_eq!(times, ["2026-11-29T07:00:00Z", "2026-11-29T08:00:00Z"]);
        assert_eq!(Report::series(folder.path(), "else").unwrap(), vec![]);
        assert!(Report::read(&folder.path().join("other.json")).is_err());
    }
}
