//! Failures of the trace, by time.

use arrow::record_batch::RecordBatch;
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Failure, Frame};

use super::of_trace;
use super::trace::TraceRow;
use crate::error::Result;
use crate::rows::{Columns, instant, items, number, owned, truth};
use crate::search::FailureText;
use crate::snapshot::Snapshot;

const COLUMNS: [&str; 13] = [
    "failure_id",
    "span_id",
    "time",
    "service_name",
    "kind",
    "exception_type",
    "message",
    "frames",
    "fingerprint",
    "origin_id",
    "grouped_by",
    "build_git_sha",
    "revision",
];

pub(super) async fn read(snapshot: &Snapshot, trace: &TraceRow) -> Result<Vec<RecordBatch>> {
    snapshot.read_id(Table::Failures, &COLUMNS, of_trace(trace)).await
}

/// What the failures of a trace say, to look for their like.
pub(super) fn told(batches: &[RecordBatch]) -> Result<Vec<FailureText>> {
    let mut told = Vec::new();
    for batch in batches {
        told.extend(FailureText::of_batch(batch)?);
    }
    Ok(told)
}

pub(super) fn assemble(batches: &[RecordBatch]) -> Result<Vec<Failure>> {
    let mut drafts = Vec::new();
    for batch in batches {
        let columns = Columns::of("failures", batch);
        let text = |name| columns.text(name);
        let (ids, spans, times) = (text("failure_id")?, text("span_id")?, columns.time("time")?);
        let (services, kinds, types) = (text("service_name")?, text("kind")?, text("exception_type")?);
        let (messages, fingerprints, reasons) = (text("message")?, text("fingerprint")?, text("grouped_by")?);
        let commits = text("build_git_sha")?;
        for row in 0..batch.num_rows() {
            let failure = Failure {
                anchor: String::new(),
                fingerprint: owned(fingerprints, row),
                kind: owned(kinds, row),
                time: instant(times, row),
                exception_type: owned(types, row),
                message: owned(messages, row),
                service: owned(services, row),
                span_id: owned(spans, row),
                frames: frames(columns, row, owned(commits, row).as_deref())?,
                grouped_by: owned(reasons, row),
            };
            let order = (
                number(times, row),
                owned(fingerprints, row),
                owned(spans, row),
                owned(types, row),
                owned(messages, row),
                owned(ids, row),
            );
            drafts.push((order, failure));
        }
    }
    drafts.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok((0..)
        .zip(drafts)
        .map(|(number, (_, mut failure))| {
            failure.anchor = Anchor::first(Target::Failure(number)).to_string();
            failure
        })
        .collect())
}

fn frames(columns: Columns<'_>, row: usize, sha: Option<&str>) -> Result<Vec<Frame>> {
    let list = columns.list("frames")?;
    let fields = columns.items(list, "frames")?;
    let (functions, files) = (fields.text("function")?, fields.text("file")?);
    let (lines, in_app) = (fields.int("line")?, fields.boolean("in_app")?);
    Ok(items(list, row)
        .map(|item| {
            let (file, line) = (owned(files, item), number(lines, item));
            Frame {
                function: owned(functions, item),
                anchor: code(file.as_deref(), line, sha),
                file,
                line,
                in_app: truth(in_app, item),
            }
        })
        .collect())
}

/// The address of a line of code, where file, line and commit are known.
pub(super) fn code(file: Option<&str>, line: Option<i64>, sha: Option<&str>) -> Option<String> {
    let present = |text: &&str| !text.is_empty();
    let target = Target::Code {
        file: file.filter(present)?.to_owned(),
        line: u32::try_from(line?).ok()?,
        sha: sha.filter(present)?.to_owned(),
    };
    Some(Anchor::first(target).to_string())
}
