//! A report of one run, the series of reports in a folder, and the difference of two.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracerag_query::{Weighted, holm};

use super::interval::{Figure, average, mean, sign_flips};
use super::protocol::Limits;
use super::score::{MEASURES, Measure, Row, by_incident, figures};
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
    /// The probability of so large a difference by chance, corrected for the measures of the variant; 1 where there are
    /// too few incidents to tell.
    pub q_value: f64,
    /// `better` or `worse`, or `unclear` where `q_value` is above 0.05.
    pub verdict: &'static str,
}

/// The probability at which a difference is told.
const ALPHA: f64 = 0.05;
/// Incidents without which nothing is told: five that all change alike do so by chance in 1 of 16 cases.
const FEWEST_PAIRS: usize = 6;

/// A measure in two runs, by incident.
struct Paired {
    measure: &'static Measure,
    pairs: Vec<(f64, f64)>,
    difference: Figure,
    /// The probability of the difference by chance; `None` where it could not be improbable, whatever the signs were.
    p: Option<f64>,
}

/// The differences of two runs, paired by incident: hard incidents are hard in both, and pairing takes that out.
pub(crate) fn differences(a: &Report, b: &Report) -> Vec<Difference> {
    let variants: BTreeSet<Variant> = a.figures.keys().chain(b.figures.keys()).copied().collect();
    variants.into_iter().flat_map(|variant| of_variant(a, b, variant)).collect()
}

fn of_variant(a: &Report, b: &Report, variant: Variant) -> Vec<Difference> {
    let paired: Vec<Paired> = MEASURES.iter().filter_map(|measure| pair(a, b, variant, measure)).collect();
    // One of thirteen measures differs by chance more often than one does. What could not be told takes nothing of the
    // error (Tarone 1990).
    let tested =
        paired.iter().map(|one| Weighted { p: one.p.unwrap_or(1.0), weight: if one.p.is_some() { 1.0 } else { 0.0 } });
    let corrected = holm(&tested.collect::<Vec<_>>());
    let told = paired.into_iter().zip(corrected).map(|(Paired { measure, pairs, difference, .. }, q_value)| {
        let verdict = match (q_value <= ALPHA, difference.value > 0.0) {
            (false, _) => "unclear",
            (true, grew) if grew == measure.more_is_better => "better",
            (true, _) => "worse",
        };
        let mean = |values: Vec<f64>| average(values.iter().copied(), values.len());
        let (of_a, of_b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let (measure, title, a, b) = (measure.name, measure.title, mean(of_a), mean(of_b));
        Difference { variant, measure, title, a, b, difference, q_value, verdict }
    });
    told.collect()
}

fn pair(a: &Report, b: &Report, variant: Variant, measure: &'static Measure) -> Option<Paired> {
    let of = |report: &'_ Report| -> BTreeMap<String, f64> {
        let rows = report.rows.iter().filter(|row| row.variant == variant);
        by_incident(rows, measure).into_iter().map(|(incident, value)| (incident.to_owned(), value)).collect()
    };
    let (of_a, of_b) = (of(a), of(b));
    let pairs: Vec<(f64, f64)> = of_a.iter().filter_map(|(incident, a)| Some((*a, *of_b.get(incident)?))).collect();
    let changes: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    let difference = mean(&changes, a.seed)?;
    let changed = changes.iter().filter(|change| **change != 0.0).count();
    let p = (changed >= FEWEST_PAIRS).then(|| sign_flips(&changes, a.seed));
    Some(Paired { measure, pairs, difference, p })
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

    /// Five incidents that all went better are too few to tell, and six are enough. Where many measures differ a little, each
    /// by itself as improbable, none is told: of so many some do by chance.
    #[test]
    fn few_incidents_and_many_measures_are_unclear() {
        let of = |incidents: usize, fixed: usize| {
            let mut report = report("2026-11-29T07:00:00Z", fixed);
            report.rows.truncate(incidents);
            report
        };
        let verdict = |a: &Report, b: &Report| {
            let found = differences(a, b);
            let fix_rate = found.iter().find(|difference| difference.measure == "fix_rate").unwrap();
            (fix_rate.verdict, fix_rate.q_value <= ALPHA)
        };
        assert_eq!(verdict(&of(5, 0), &of(5, 5)), ("unclear", false));
        assert_eq!(verdict(&of(6, 0), &of(6, 6)), ("better", true));
        let mut slower = of(6, 6);
        slower.rows.iter_mut().for_each(|row| {
            row.seconds += 1.0;
            row.grounding_precision -= 0.5;
        });
        assert_eq!(verdict(&of(6, 0), &slower), ("unclear", false));
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
