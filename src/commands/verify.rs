//! `tracerag verify`: whether claims about a bundle hold.

use std::io::Read as _;

use clap::Args;
use serde_json::{Value, json};
use tracerag_query::untrusted::clean;
use tracerag_query::verify::{Document, Report, Subject, verify, verify_with};
use tracerag_query::{QueryError, Session, bundle};
use tracerag_schemas::bundle::Bundle;

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::server::Server;

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The bundle that the claims are about: its id (sha256:...), or a file that `tracerag bundle` printed
    #[arg(long, value_name = "ID|FILE")]
    bundle: String,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
    /// The claims, JSON or Markdown; `-` reads them from standard input
    #[arg(value_name = "CLAIMS")]
    claims: String,
}

/// Prints what comes of each claim; an error unless all hold.
pub(crate) async fn run(context: Context, args: VerifyArgs) -> Result<(), Error> {
    let claims = read(&args.claims)?;
    let report = match &context.server {
        Some(server) => ask(server, &args.bundle, &claims).await?,
        None => check(&context, &args.bundle, &claims).await?,
    };
    match args.format {
        StatusFormat::Table => output::data(&table(&report))?,
        StatusFormat::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(QueryError::from)?;
            output::data(&format!("{text}\n"))?;
        }
    }
    match report.all_hold {
        true => Ok(()),
        false => Err(Error::ClaimsRejected { rejected: report.rejected(), claims: report.claims.len() }),
    }
}

async fn check(context: &Context, place: &str, claims: &str) -> Result<Report, Error> {
    let (subject, session) = subject(context, place).await?;
    Ok(match (Document::read(claims), session) {
        (Ok(document), Some(session)) => verify_with(&session, subject, &document).await?,
        (Ok(document), None) => verify(&subject, &context.tenant, &document),
        (Err(reason), _) => Report::refused(subject.bundle_id().map(str::to_owned), reason),
    })
}

/// Asks a server for the report. The texts of the claims are not in it, but here.
async fn ask(server: &Server, place: &str, claims: &str) -> Result<Report, Error> {
    let request = if place.starts_with("sha256:") {
        json!({"bundle_id": place, "claims": claims})
    } else {
        let bundle: Value = serde_json::from_str(&read(place)?).map_err(QueryError::from)?;
        json!({"bundle": bundle, "claims": claims})
    };
    let answer = server.post(&["v1", "verify"], &request).await?;
    let answer = server.json(answer).await?;
    let mut report: Report = serde_json::from_value(answer).map_err(QueryError::from)?;
    if let Ok(document) = Document::read(claims) {
        report.tell_texts(&document);
    }
    Ok(report)
}

/// The bundle of an id or a file, and the lake that has it. A file counts if the lake knows its id or it is signed, so no
/// lake is needed then.
async fn subject(context: &Context, place: &str) -> Result<(Subject, Option<Session>), Error> {
    if place.starts_with("sha256:") {
        let session = super::session(context).await?;
        return Ok((Subject::known(bundle::by_id(&session, place).await?), Some(session)));
    }
    let text = read(place)?;
    let subject = Subject::of_file(&text, &context.config.signing.trusted_keys()?);
    let Some(bundle_id) = subject.id_to_look_up() else { return Ok((subject, None)) };
    match stored(context, bundle_id).await {
        Ok((stored, session)) => Ok((subject.stored_as(stored), Some(session))),
        Err(Error::Query(QueryError::BundleUnknown { .. })) => Ok((subject, None)),
        // Evidence that was erased counts for nothing, whoever has kept a file of it.
        Err(error @ Error::Query(QueryError::Erased { .. })) => Err(error),
        // A signature does without the lake.
        Err(_) if subject.counts() => Ok((subject, None)),
        Err(error) => {
            output::note(&format!("the lake was not asked for the bundle: {error}"));
            Ok((subject, None))
        }
    }
}

/// The bundle of an id or a file, if it counts for the tenant.
pub(super) async fn vouched(context: &Context, place: &str) -> Result<Bundle, Error> {
    let (subject, _) = subject(context, place).await?;
    let bundle = subject.bundle().map_err(|reason| Error::BundleRefused(reason.to_string()))?;
    if bundle.evidence.tenant != context.tenant {
        let tenant = &context.tenant;
        return Err(Error::BundleRefused(format!("it is not one of tenant {tenant}; name its own with --tenant")));
    }
    Ok(bundle.clone())
}

async fn stored(context: &Context, bundle_id: &str) -> Result<(Bundle, Session), Error> {
    let session = super::session(context).await?;
    let stored = bundle::by_id(&session, bundle_id).await?;
    Ok((stored, session))
}

/// A file in UTF-8, or standard input.
pub(super) fn read(place: &str) -> Result<String, Error> {
    let text = String::from_utf8(read_bytes(place)?);
    text.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        .map_err(Error::io(format!("read {place}")))
}

/// A file, or standard input.
pub(super) fn read_bytes(place: &str) -> Result<Vec<u8>, Error> {
    let (what, bytes) = if place == "-" {
        let mut bytes = Vec::new();
        ("standard input", std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes))
    } else {
        (place, std::fs::read(place))
    };
    bytes.map_err(Error::io(format!("read {what}")))
}

/// The report as people see it. Text of claims and of the evidence is data, so nothing of it steers a terminal.
pub(super) fn table(report: &Report) -> String {
    let rows = report
        .claims
        .iter()
        .map(|claim| {
            let reasons: Vec<String> = claim.reasons.iter().map(ToString::to_string).collect();
            let verdict = if claim.accepted { "accepted" } else { "rejected" };
            vec![clean(&claim.id), verdict.to_owned(), clean(&claim.text), clean(&reasons.join("\n"))]
        })
        .collect();
    let mut text = output::table(&["claim", "verdict", "text", "why"], rows, &[]);
    for reason in &report.reasons {
        text.push_str(&format!("{}\n", clean(&reason.to_string())));
    }
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    text.push_str(&format!(
        "{} of {} claims hold; grounding precision {}, citation recall {}, coverage {}\n",
        report.claims.len() - report.rejected(),
        report.claims.len(),
        percent(report.grounding_precision),
        percent(report.citation_recall),
        percent(report.coverage)
    ));
    text
}

#[cfg(test)]
mod tests {
    use tracerag_query::verify::{ClaimReport, Reason};

    use super::*;

    /// A report as people see it: a row a claim, a line a reason, the figures below, and no control characters.
    #[test]
    fn the_table_has_a_row_a_claim() {
        let claim = |id: &str, text: &str, reasons: Vec<Reason>| ClaimReport {
            id: id.to_owned(),
            accepted: reasons.is_empty(),
            reasons,
            text: text.to_owned(),
        };
        let reasons = vec![
            Reason::Quote(String::from("log:0 has no \"over\"")),
            Reason::Unsupported(String::from("a pointer\u{7}")),
        ];
        let report = Report {
            bundle_id: None,
            all_hold: false,
            grounding_precision: 0.75,
            citation_recall: 1.0,
            coverage: 0.5,
            reasons: vec![],
            claims: vec![claim("c1", "payments failed", vec![]), claim("c2", "payments \u{1b}[1mlogged it", reasons)],
        };
        insta::assert_snapshot!(table(&report), @r#"
    ┌───────┬──────────┬────────────────────┬────────────────────────────┐
    │ claim ┆ verdict  ┆ text               ┆ why                        │
    ╞═══════╪══════════╪════════════════════╪════════════════════════════╡
    │ c1    ┆ accepted ┆ payments failed    ┆                            │
    │ c2    ┆ rejected ┆ payments logged it ┆ quote: log:0 has no "over" │
    │       ┆          ┆                    ┆ unsupported: a pointer     │
    └───────┴──────────┴────────────────────┴────────────────────────────┘
    1 of 2 claims hold; grounding precision 75.0 %, citation recall 100.0 %, coverage 50.0 %
    "#);
    }
}
