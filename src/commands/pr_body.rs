//! `tracerag pr-body`: the description of a pull request that rests on a bundle.

use std::collections::BTreeSet;

use clap::Args;
use tracerag_query::verify::{Document, Report, Subject, verify_with};
use tracerag_query::{bundle, impact};
use tracerag_schemas::bundle::Bundle;
use tracerag_schemas::claims::Claim;
use url::Url;

use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::output;
use crate::patch;
use crate::pull_request::{Canary, Description};
use crate::trial::TryRecord;

/// Options of `pr-body`.
#[derive(Debug, Args)]
pub(crate) struct PrBodyArgs {
    /// The bundle that the change rests on: its id (sha256:...), or a file that `tracerag bundle` printed
    #[arg(long, value_name = "ID|FILE")]
    bundle: String,
    /// Heading of the description
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// A test that failed before the change and passes with it; may be repeated
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// What `tracerag guard-patch --format json` said of the change
    #[arg(long, value_name = "FILE")]
    guard: Option<String>,
    /// What `tracerag try` printed: a test that was red and is green with the change
    #[arg(long = "try", value_name = "FILE")]
    trial: Option<String>,
    /// The outcome of a canary: a JSON object with verdict (pass, fail, inconclusive) and figures
    #[arg(long, value_name = "FILE")]
    canary: Option<String>,
    /// Where the trace can be looked at [default: the bundle at serve.public_url, where that is set]
    #[arg(long, value_name = "URL")]
    dashboard: Option<String>,
    /// The claims, JSON or Markdown; `-` reads them from standard input
    #[arg(value_name = "CLAIMS")]
    claims: String,
}

/// Verifies the claims, pins the bundle and prints the description. Nothing is printed unless all claims hold.
pub(crate) async fn run(context: Context, args: PrBodyArgs) -> Result<(), Error> {
    let claims = super::verify::read(&args.claims)?;
    let known = super::verify::vouched(&context, &args.bundle).await?;
    let guard = args.guard.as_deref().map(|file| guard_report(file, &known)).transpose()?;
    let trial = args.trial.as_deref().map(|file| trial(file, &known.bundle_id)).transpose()?;
    if let (Some(guard), Some(trial), Some(file)) = (&guard, &trial, &args.trial) {
        same_change(guard, trial, file)?;
    }
    let canary = args.canary.as_deref().map(canary).transpose()?;
    let dashboard = dashboard(args.dashboard.as_deref(), &context.config, &known)?;

    let session = super::session(&context).await?;
    // What is pinned is what the lake has, so the claims are checked on that.
    let subject = Subject::known(bundle::by_id(&session, &known.bundle_id).await?);
    let (document, report) = match Document::read(&claims) {
        Ok(document) => {
            let report = verify_with(&session, subject, &document).await?;
            (Some(document), report)
        }
        Err(reason) => (None, Report::refused(subject.bundle_id().map(str::to_owned), reason)),
    };
    let Some(document) = document.filter(|_| report.all_hold) else {
        output::note(super::verify::table(&report).trim_end());
        return Err(Error::ClaimsRejected { rejected: report.rejected(), claims: report.claims.len() });
    };
    let fingerprints: BTreeSet<String> =
        known.evidence.failures.iter().filter_map(|failure| failure.fingerprint.clone()).collect();
    let fingerprints: Vec<String> = fingerprints.into_iter().collect();
    let impact = impact::of_failures(&session, &fingerprints, &users(&context.config)).await?;
    bundle::pin(&session, &known.bundle_id, true).await?;
    let description = Description {
        title: args.title.as_deref(),
        bundle: &known,
        verified: &report,
        claims: verified(&document, &report),
        impact: &impact,
        tests: &args.test,
        guard: guard.as_ref(),
        trial: trial.as_ref(),
        canary: canary.as_ref(),
        dashboard: dashboard.as_deref(),
    };
    output::data(&description.markdown())
}

/// The claims that the report is about, without headings and questions that state nothing.
fn verified<'a>(document: &'a Document, report: &Report) -> Vec<&'a Claim> {
    let mut reported = report.claims.iter().peekable();
    let mut is_next = |claim: &Claim| {
        reported.next_if(|reported| reported.id == claim.id && reported.text == claim.text.trim()).is_some()
    };
    document.claims().filter(|claim| is_next(claim)).collect()
}

/// A report that holds, about this bundle.
fn guard_report(file: &str, bundle: &Bundle) -> Result<patch::Report, Error> {
    let wrong = |why: String| Error::WrongFile { option: "--guard", file: file.to_owned(), why };
    let text = super::verify::read(file)?;
    let report: patch::Report = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("{error}; `tracerag guard-patch --format json` prints a report")))?;
    if report.bundle_id != bundle.bundle_id {
        return Err(wrong(format!("it is about {}; guard the change with this bundle", report.bundle_id)));
    }
    if !report.holds || !report.is_right() {
        return Err(wrong(String::from("by it the change does not keep to the evidence; mend that first")));
    }
    Ok(report)
}

/// The record of a trial that ended green, about a bundle.
fn trial(file: &str, bundle_id: &str) -> Result<TryRecord, Error> {
    let text = super::verify::read(file)?;
    TryRecord::green(&text, Some(bundle_id)).map_err(|why| Error::WrongFile {
        option: "--try",
        file: file.to_owned(),
        why,
    })
}

/// Whether the patch that was tried is of files that were guarded.
fn same_change(guard: &patch::Report, trial: &TryRecord, file: &str) -> Result<(), Error> {
    let is_guarded = |path: &String| guard.files.iter().any(|file| file.path == *path);
    match trial.patch.files.iter().find(|path| !is_guarded(path)) {
        None => Ok(()),
        Some(path) => Err(Error::WrongFile {
            option: "--try",
            file: file.to_owned(),
            why: format!(
                "it changes {path}, of which the report of --guard says nothing; guard the patch that was tried"
            ),
        }),
    }
}

fn canary(file: &str) -> Result<Canary, Error> {
    let text = super::verify::read(file)?;
    Canary::read(&text).map_err(|why| Error::WrongFile { option: "--canary", file: file.to_owned(), why })
}

/// The address that was given, else that of the bundle at the server.
fn dashboard(given: Option<&str>, config: &Config, bundle: &Bundle) -> Result<Option<String>, Error> {
    let parse = |text: &str| {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.ok_or_else(|| {
            Error::Usage(format!("{text:?} is no address of HTTP; write e.g. https://example.com/traces"))
        })
    };
    let url = match (given, config.serve.public_url.as_str()) {
        (Some(given), _) => parse(given)?,
        (None, "") => return Ok(None),
        (None, server) => {
            let mut url = parse(server)?;
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(["v1", "bundles", &bundle.bundle_id]);
            }
            url
        }
    };
    // A parenthesis would end the address in Markdown.
    Ok(Some(url.as_str().replace('(', "%28").replace(')', "%29")))
}

/// The attributes by which users are told apart.
fn users(config: &Config) -> Vec<String> {
    let names = config.redaction.identifiers.iter();
    names.filter(|name| name.starts_with("user.") || name.starts_with("enduser.")).cloned().collect()
}
