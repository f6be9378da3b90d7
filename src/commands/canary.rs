//! `tracerag canary`: whether a version, or a flag's variant, is worse than another one.

use clap::Args;
use tracerag_query::canary::{Objective, Report, Request, Verdict, compare};
use tracerag_query::untrusted::clean;
use tracerag_query::{QueryError, canary};

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `canary`.
#[derive(Debug, Args)]
pub(crate) struct CanaryArgs {
    /// The service that is released
    #[arg(long, value_name = "NAME")]
    service: String,
    /// The version that the candidate is held against; with --by flag:KEY a variant
    #[arg(long, value_name = "VERSION", conflicts_with = "objective", required_unless_present = "objective")]
    baseline: Option<String>,
    /// An objective that stands for the baseline: a file, TOML or JSON, with target, window and budget
    #[arg(long, value_name = "FILE")]
    objective: Option<String>,
    /// The version that is judged, as its spans or its deployment name it, or 7 or more digits of its commit
    #[arg(long, value_name = "VERSION")]
    candidate: String,
    /// Begin of the time that is looked at: how long ago, or a time such as 2026-11-16T12:00:00Z
    #[arg(long, value_name = "DURATION|TIME", default_value = "30m")]
    since: String,
    /// Its end [default: now]
    #[arg(long, value_name = "DURATION|TIME")]
    until: Option<String>,
    /// What tells both apart: version, or flag:KEY for the variants of a flag that traces evaluated
    #[arg(long, default_value = "version")]
    by: String,
    /// Only this deployment.environment.name
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Look for failures on the path on which the trace of this bundle failed (sha256:...)
    #[arg(long, value_name = "ID")]
    bundle: Option<String>,
    /// Probability of failing a candidate that is as good as its baseline; divide it by how often you look [default:
    /// 0.05]
    #[arg(long, value_name = "SHARE")]
    alpha: Option<String>,
    /// Spans of each side without which the verdict is inconclusive [default: 100]
    #[arg(long, value_name = "SPANS")]
    min_sample: Option<String>,
    /// Relative worsening up to which nothing fails [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    tolerance: Option<String>,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// Prints the report; an error unless the verdict is pass.
pub(crate) async fn run(context: Context, args: CanaryArgs) -> Result<(), Error> {
    let format = args.format;
    let parameters = parameters(args)?;
    let report: Report = match &context.server {
        Some(server) => {
            let answer = server.get(&["v1", "canary"], &parameters).await?;
            serde_json::from_value(server.json(answer).await?).map_err(QueryError::from)?
        }
        None => {
            let request = Request::read(|name| {
                parameters.iter().find(|(given, _)| *given == name).map(|(_, value)| value.clone())
            })?;
            compare(&super::session(&context).await?, &request).await?
        }
    };
    match format {
        StatusFormat::Table => output::data(&table(&report))?,
        StatusFormat::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(QueryError::from)?;
            output::data(&format!("{text}\n"))?;
        }
    }
    match report.verdict {
        Verdict::Pass => Ok(()),
        verdict => Err(Error::CanaryNotPassed { candidate: report.candidate, verdict: verdict.name() }),
    }
}

/// The parameters that a server takes, too.
fn parameters(args: CanaryArgs) -> Result<Vec<(&'static str, String)>, Error> {
    let objective = args.objective.as_deref().map(objective).transpose()?;
    let (target, budget) = (objective.as_ref().map(|of| of.target), objective.as_ref().map(|of| of.budget));
    let given = [
        ("service", Some(args.service)),
        ("baseline", args.baseline),
        ("candidate", Some(args.candidate)),
        ("since", Some(args.since)),
        ("until", args.until),
        ("by", Some(args.by)),
        ("environment", args.environment),
        ("bundle", args.bundle),
        ("alpha", args.alpha),
        ("min_sample", args.min_sample),
        ("tolerance", args.tolerance),
        ("target", target.map(|share| share.to_string())),
        ("window", objective.as_ref().map(|of| of.window.clone())),
        ("budget", budget.map(|share| share.to_string())),
        ("slower_than", objective.and_then(|of| of.slower_than)),
    ];
    Ok(given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// An objective of a file. JSON begins with a brace, which no TOML does.
fn objective(file: &str) -> Result<Objective, Error> {
    let text = super::verify::read(file)?;
    let read = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(&text).map_err(|error| error.to_string()),
        false => toml::from_str(&text).map_err(|error| error.to_string()),
    };
    read.map_err(|error| Error::WrongFile {
        option: "--objective",
        file: file.to_owned(),
        why: format!("{error}; an objective has target = 0.999, window = \"30d\" and budget = 0.02"),
    })
}

/// A report as people read it: the verdict and its reasons, then a row a figure.
fn table(report: &Report) -> String {
    let mut rows = vec![errors(&report.errors)];
    rows.extend(report.latency.iter().flat_map(latency));
    rows.extend(report.memory.iter().map(memory));
    rows.extend(report.failures.iter().map(failure));
    let baseline = report.baseline.as_deref().unwrap_or("objective");
    let mut text = format!("{}: {} {} against {baseline}\n", report.verdict.name(), report.service, report.candidate);
    for reason in &report.reasons {
        text.push_str(&format!("- {reason}\n"));
    }
    text = clean(&text);
    text.push_str(&output::table(
        &["what", "baseline", "candidate", "difference (95 %)", "p, corrected", "worse"],
        rows,
        &[1, 2, 3, 4],
    ));
    let left_out = report.left_out;
    if left_out.span_names + left_out.failures > 0 {
        text.push_str(&format!(
            "not listed: durations of {} names of spans, {} failures\n",
            left_out.span_names, left_out.failures
        ));
    }
    text
}

fn errors(errors: &canary::Errors) -> Vec<String> {
    let rate = |rate: &canary::Rate| format!("{} of {}", rate.errors, output::thousands(rate.spans));
    let percent = |share: f64| format!("{:+.2}", share * 100.0);
    vec![
        String::from("spans that failed"),
        errors.baseline.as_ref().map(rate).unwrap_or_default(),
        rate(&errors.candidate),
        errors
            .difference_interval
            .map(|[low, high]| format!("{} to {} %", percent(low), percent(high)))
            .unwrap_or_default(),
        probability(Some(errors.test)),
        yes(errors.worse),
    ]
}

fn latency(latency: &canary::Latency) -> Vec<Vec<String>> {
    let ms = |ns: f64| format!("{:.1}", ns / 1e6);
    let (of_b, of_c) = (&latency.baseline, &latency.candidate);
    let quantiles = [
        ("p50", of_b.p50_ns, of_c.p50_ns, Some(latency.shift)),
        ("p95", of_b.p95_ns, of_c.p95_ns, Some(latency.tail)),
        ("p99", of_b.p99_ns, of_c.p99_ns, None),
    ];
    let differences = latency.differences.iter().map(|difference| match difference.interval_ns {
        Some([low, high]) => format!("{:+.1} to {:+.1} ms", low / 1e6, high / 1e6),
        None => String::new(),
    });
    let rows = quantiles.into_iter().zip(differences.chain(std::iter::repeat(String::new())));
    rows.map(|((name, before, now, test), difference)| {
        vec![
            clean(&format!("{name} of {}, ms", latency.span_name)),
            ms(before),
            ms(now),
            difference,
            probability(test),
            yes(latency.worse),
        ]
    })
    .collect()
}

fn memory(memory: &canary::Memory) -> Vec<String> {
    let mib = |usage: &canary::Usage| format!("{:.1} in {}", usage.mean / f64::from(1 << 20), usage.instances);
    vec![
        clean(&format!("{}, MiB in instances", memory.metric)),
        mib(&memory.baseline),
        mib(&memory.candidate),
        String::new(),
        probability(memory.test),
        yes(memory.worse),
    ]
}

fn failure(failure: &canary::Failure) -> Vec<String> {
    let kind = match (failure.of_bundle, failure.new) {
        (true, _) => "of the bundle: ",
        (false, true) => "new: ",
        (false, false) => "",
    };
    let title = failure.title.as_deref().unwrap_or("a failure");
    vec![
        clean(&format!("{kind}{title} ({})", failure.fingerprint.chars().take(12).collect::<String>())),
        failure.baseline.to_string(),
        failure.candidate.to_string(),
        String::new(),
        probability(failure.test),
        yes(failure.worse),
    ]
}

fn probability(test: Option<canary::Test>) -> String {
    match test {
        Some(test) if test.p_adjusted < 0.001 => format!("{:.0e}", test.p_adjusted),
        Some(test) => format!("{:.3}", test.p_adjusted),
        None => String::new(),
    }
}

fn yes(is_worse: bool) -> String {
    String::from(if is_worse { "yes" } else { "" })
}
