//! A failing test from the evidence of a trace: the request that failed, sent again to the service as others call it,
//! with the flags that were in effect and with stand-ins for what it calls.
//!
//! A pure function of bundle and language: the same two give the same bytes. What the test needs and the evidence does not
//! have is named, never made up: a redacted value has a stand-in that says so, and where the failure depends on one there
//! is no test. Everything that systems wrote reaches the source text through [`render`], which takes nothing unescaped.

mod boundary;
mod dependencies;
mod effect;
mod escape;
mod head;
pub(crate) mod origin;
mod payload;
mod redacted;
mod render;
#[cfg(test)]
mod tests;

use serde::Serialize;
use tracerag_schemas::bundle::Bundle;

use crate::error::Error;
pub(crate) use escape::Language;

/// The evidence lacks something without which there is no test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the evidence does not suffice for a failing test: {}", .0.join("; "))]
pub struct Missing(Vec<String>);

/// What a test says of itself where it fails, and not of the failure of the trace. It stands in every template.
pub(crate) const ANOTHER_FAILURE: &str = "another failure than that of the trace";

/// A test as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestFile {
    /// Its name, by which the tools of its language find it.
    pub name: String,
    /// Its source.
    pub text: String,
}

/// A line of a body or a file that the test writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    text: String,
    /// Its anchor, and what is to be known of it.
    note: String,
}

/// Everything that a template gets.
#[derive(Debug, Serialize)]
struct Facts<'a> {
    /// Part of the test's name, of letters and digits.
    id: String,
    failure: String,
    head: Vec<String>,
    operation: &'a boundary::Operation,
    boundary_anchor: &'a str,
    body: &'a payload::Body,
    flags: &'a [Line],
    mocks: &'a [dependencies::Mock],
}

/// Makes the test of a bundle.
///
/// # Errors
/// [`Missing`] where the evidence does not suffice.
pub(crate) fn scaffold(bundle: &Bundle, language: Language) -> Result<TestFile, Error> {
    let evidence = &bundle.evidence;
    let no_origin = || Missing(vec![String::from("no failure of the trace belongs to one of its spans")]);
    let origin = origin::of(evidence).ok_or_else(no_origin)?;
    let boundary = boundary::find(evidence, &origin, language)?;
    let below = dependencies::below(evidence, &origin, boundary.span);
    let flags = effect::flags(evidence, &below.services);
    let trace_id = evidence.trace.trace_id.as_str();
    let facts = Facts {
        id: trace_id.chars().filter(char::is_ascii_alphanumeric).take(12).collect(),
        failure: head::failure(origin.failure),
        head: head::lines(bundle, &origin, &boundary, &below, &flags),
        operation: &boundary.operation,
        boundary_anchor: &boundary.span.anchor,
        body: &boundary.body,
        flags: &flags.lines,
        mocks: &below.mocks,
    };
    let text = render::render(&facts, language)?;
    Ok(TestFile { name: language.file_name(&facts.id), text })
}
