//! A report for people: Markdown, and one HTML file with charts that needs nothing from elsewhere.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;
use tracerag_query::untrusted::line;

use super::interval::Figure;
use super::report::{Difference, Report};
use super::score::MEASURES;
use super::trial::Verdict;
use crate::error::Error;

/// Width of a chart's plot in its own units; that of a bar's row, and the height of a series.
const WIDTH: f64 = 400.0;
const ROW: f64 = 22.0;
const HEIGHT: f64 = 120.0;

/// A figure of every variant.
#[derive(Debug, Serialize)]
struct Chart {
    title: &'static str,
    height: f64,
    bars: Vec<Bar>,
    /// The figure of the fullest variant over the series, as points of a line; empty for one report.
    line: String,
    dots: Vec<(f64, f64, String)>,
}

#[derive(Debug, Serialize)]
struct Bar {
    name: &'static str,
    y: f64,
    width: f64,
    low: f64,
    high: f64,
    text: String,
}

/// A row of the table of incidents.
#[derive(Debug, Serialize)]
struct Incident {
    incident: String,
    variant: &'static str,
    cells: Vec<String>,
}

/// The report as Markdown.
///
/// # Errors
/// When the template is wrong.
pub(crate) fn markdown(report: &Report) -> Result<String, Error> {
    render(include_str!("templates/report.md.jinja"), AutoEscape::None, report, &[])
}

/// The report as one HTML file, with the course of the series that it belongs to.
///
/// # Errors
/// When the template is wrong.
pub(crate) fn html(report: &Report, series: &[Report]) -> Result<String, Error> {
    render(include_str!("templates/report.html.jinja"), AutoEscape::Html, report, series)
}

/// Differences as Markdown.
///
/// # Errors
/// When the template is wrong.
pub(crate) fn comparison(a: &Report, b: &Report, differences: &[Difference]) -> Result<String, Error> {
    let rows: Vec<Vec<String>> = differences
        .iter()
        .map(|found| {
            vec![
                found.variant.name().to_owned(),
                found.title.to_owned(),
                number(found.a),
                number(found.b),
                shown(&found.difference),
                found.difference.n.to_string(),
                found.verdict.to_owned(),
            ]
        })
        .collect();
    let of = |report: &Report| format!("{} of {} by {}", report.made_at, report.suite, report.agent);
    let context = minijinja::context! { a => cell(&of(a)), b => cell(&of(b)), rows };
    Ok(environment(AutoEscape::None).render_str(include_str!("templates/compare.md.jinja"), context)?)
}

fn environment(escape: AutoEscape) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_auto_escape_callback(move |_| escape);
    environment
}

fn render(template: &str, escape: AutoEscape, report: &Report, series: &[Report]) -> Result<String, Error> {
    let is_html = escape == AutoEscape::Html;
    // HTML is escaped by the template, Markdown here.
    let text = |text: &str| if is_html { line(text) } else { cell(text) };
    let variants: Vec<&'static str> = report.figures.keys().map(|variant| variant.name()).collect();
    let figures: Vec<(&str, Vec<String>)> = MEASURES
        .iter()
        .map(|measure| {
            let of_variant =
                report.figures.values().map(|of| of.get(measure.name).map_or_else(|| String::from("-"), shown));
            (measure.title, of_variant.collect())
        })
        .collect();
    let incidents: Vec<Incident> = report
        .rows
        .iter()
        .map(|row| Incident {
            incident: text(&row.incident),
            variant: row.variant.name(),
            cells: vec![
                row.ended.clone(),
                format!("{}/{}", row.claims_accepted, row.claims),
                number(row.causes_found),
                verdict(row.test),
                verdict(row.fix),
                verdict(row.others),
                format!("{:.1} s", row.seconds),
                text(&[&row.detail, &row.refused].into_iter().flatten().cloned().collect::<Vec<_>>().join("; ")),
            ],
        })
        .collect();
    let charts: Vec<Chart> =
        MEASURES.iter().filter_map(|measure| chart(report, series, measure.name, measure.title)).collect();
    let context = minijinja::context! {
        suite => text(&report.suite),
        renamed => report.renamed,
        agent => text(&report.agent),
        made_at => text(&report.made_at),
        version => text(&report.version),
        seed => report.seed,
        limits => Value::from_serialize(report.limits),
        isolation => Value::from_serialize(&report.isolation),
        runs => series.len(),
        variants,
        figures => Value::from_serialize(figures),
        incidents => Value::from_serialize(incidents),
        charts => Value::from_serialize(charts),
    };
    Ok(environment(escape).render_str(template, context)?)
}

/// Bars of one figure with their intervals, and its course.
fn chart(report: &Report, series: &[Report], name: &str, title: &'static str) -> Option<Chart> {
    let found: Vec<(&'static str, &Figure)> =
        report.figures.iter().filter_map(|(variant, of)| Some((variant.name(), of.get(name)?))).collect();
    let most = found.iter().map(|(_, figure)| figure.high).fold(0.0, f64::max);
    let scale =
        |value: f64, most: f64, size: f64| if most > 0.0 { (value / most * size * 10.0).round() / 10.0 } else { 0.0 };
    let mut y = 0.0;
    let mut bars = Vec::new();
    for &(variant, figure) in &found {
        bars.push(Bar {
            name: variant,
            y,
            width: scale(figure.value, most, WIDTH),
            low: scale(figure.low, most, WIDTH),
            high: scale(figure.high, most, WIDTH),
            text: shown(figure),
        });
        y += ROW;
    }
    let (fullest, _) = report.figures.iter().rfind(|(_, of)| of.contains_key(name))?;
    let course: Vec<(&str, f64)> = series
        .iter()
        .filter_map(|report| Some((report.made_at.as_str(), report.figures.get(fullest)?.get(name)?.value)))
        .collect();
    let top = course.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    #[allow(clippy::cast_precision_loss)]
    let step = WIDTH / (course.len().saturating_sub(1).max(1)) as f64;
    let mut x = 0.0;
    let mut dots = Vec::new();
    if course.len() > 1 {
        for (made_at, value) in course {
            dots.push((
                (x * 10.0_f64).round() / 10.0,
                HEIGHT - scale(value, top, HEIGHT),
                format!("{}: {}", line(made_at), number(value)),
            ));
            x += step;
        }
    }
    let line = dots.iter().map(|(x, y, _)| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
    Some(Chart { title, height: y, bars, line, dots })
}

fn verdict(verdict: Option<Verdict>) -> String {
    String::from(match verdict {
        Some(Verdict::Green) => "green",
        Some(Verdict::Red) => "red",
        Some(Verdict::DoesNotApply) => "does not apply",
        Some(Verdict::Refused) => "refused",
        Some(Verdict::NoTest) => "none",
        Some(Verdict::TimedOut) => "timed out",
        None => "-",
    })
}

/// A figure with its interval.
fn shown(figure: &Figure) -> String {
    format!("{} [{}, {}]", number(figure.value), number(figure.low), number(figure.high))
}

/// Two digits, more for small numbers, none for large ones.
fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        String::from("0")
    } else if size < 0.01 {
        format!("{value:.4}")
    } else if size < 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// Text of others in a cell of a Markdown table.
fn cell(text: &str) -> String {
    crate::pull_request::plain(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::report::differences;
    use super::super::report::tests::report;
    use super::*;

    /// A report in Markdown, as people read it: each figure with its interval, each run, and no text of others that
    /// formats anything.
    #[test]
    fn a_report_reads_well() {
        let text = markdown(&report("2026-11-29T07:00:00Z", 6)).unwrap();
        for wanted in [
            "| figure | full |",
            "| fix rate | 0.75 [0.41, 0.93] |",
            "| incident-7 | full | final | 2/2 | 0.50 | red | red | green | 2.0 s |",
            "agent \\<1\\>",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }

    /// The HTML file stands alone: nothing is loaded from anywhere, no script runs, and text of others is escaped. With a
    /// series it has its course.
    #[test]
    fn a_page_stands_alone() {
        let reports = [report("2026-11-29T07:00:00Z", 2), report("2026-11-29T08:00:00Z", 6)];
        let page = html(&reports[1], &reports).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("<polyline"), "{page}");
        for unwanted in ["<script", "src=", "@import", "url(", "agent <1>", "href="] {
            assert!(!page.contains(unwanted), "{unwanted} in\n{page}");
        }
        assert!(page.contains("agent &lt;1&gt;"), "{page}");
        assert!(!html(&reports[0], &reports[..1]).unwrap().contains("<polyline"));
    }

    /// A comparison has a row a figure, with the interval of the difference and what it means.
    #[test]
    fn a_comparison_has_a_row_a_figure() {
        let (a, b) = (report("2026-11-29T07:00:00Z", 0), report("2026-11-29T08:00:00Z", 8));
        let text = comparison(&a, &b, &differences(&a, &b)).unwrap();
        assert!(text.contains("| full | fix rate | 0 | 1.00 | 1.00 [1.00, 1.00] | 8 | better |"), "{text}");
        assert!(text.contains("| full | causes found | 0.50 | 0.50 | 0 [0, 0] | 8 | unclear |"), "{text}");
    }
}
