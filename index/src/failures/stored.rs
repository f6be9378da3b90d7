//! The fingerprint of a stored failure by other rules than those it was written by: from what its row holds.
//!
//! A row holds all that its fingerprint is made of, but for two cases. What a program stated is not kept, and need not
//! be: it does not depend on the rules. And rows from before the column `grouping_path` lack the path and the error that
//! spans without an exception are grouped by. Whether these matter is tried out: where two different paths give the same
//! fingerprint, neither is needed.
//!
//! The path is kept as the row's own release masked it. What later rules mask beside that is masked; what they mask no more
//! is not known, and such rows do not meet new failures.

use arrow::array::{Array, AsArray, StringArray};
use arrow::record_batch::RecordBatch;

use super::columns::text;
use super::drafts::Kind;
use super::fingerprint::{Evidence, STATED, fingerprint};
use super::frames::{FrameKeys, StackTrace};
use super::mask::mask;
use super::{FailureError, FailureRules};

/// The columns of `failures` that [`anew`] looks at. A batch may lack the last two.
pub const STORED: [&str; 8] = [
    "service_name",
    "kind",
    "exception_type",
    "message",
    "stacktrace",
    "grouped_by",
    "grouping_path",
    "grouping_error",
];

/// What becomes of the fingerprint of a stored failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anew {
    /// A program stated it, so it stays as it is.
    Stated,
    /// The row does not hold what it is made of.
    Unknown,
    /// What it is by these rules.
    Is(String),
}

/// The fingerprints of stored failures by some rules, row by row.
///
/// # Errors
/// When the batch lacks one of [`STORED`], or has it with another type than the lake's schema.
pub fn anew(failures: &RecordBatch, rules: &FailureRules) -> Result<Vec<Anew>, FailureError> {
    let (columns, mut frame_keys) = (Columns::of(failures)?, FrameKeys::default());
    Ok((0..failures.num_rows()).map(|row| columns.anew(row, rules, &mut frame_keys)).collect())
}

struct Columns<'a> {
    service: &'a StringArray,
    kind: &'a StringArray,
    exception_type: &'a StringArray,
    message: &'a StringArray,
    stacktrace: &'a StringArray,
    grouped_by: &'a StringArray,
    path: Option<&'a StringArray>,
    error: Option<&'a StringArray>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, FailureError> {
        let find = |column| batch.column_by_name(column).and_then(|values| values.as_string_opt::<i32>());
        let wanted = |column| find(column).ok_or(FailureError::Column { table: "failures", column });
        Ok(Self {
            service: wanted("service_name")?,
            kind: wanted("kind")?,
            exception_type: wanted("exception_type")?,
            message: wanted("message")?,
            stacktrace: wanted("stacktrace")?,
            grouped_by: wanted("grouped_by")?,
            path: find("grouping_path"),
            error: find("grouping_error"),
        })
    }

    fn anew(&self, row: usize, rules: &FailureRules, frame_keys: &mut FrameKeys) -> Anew {
        if text(self.grouped_by, row).is_some_and(|by| by.starts_with(STATED)) {
            return Anew::Stated;
        }
        let masked = mask(text(self.message, row).unwrap_or_default());
        let stack = text(self.stacktrace, row).map(|stack| StackTrace::parse(stack, &rules.in_app)).unwrap_or_default();
        let path = self.path.filter(|paths| paths.is_valid(row)).map(|paths| masked_again(paths.value(row)));
        let mut by = |local_path, error_type| {
            let evidence = Evidence {
                service: text(self.service, row).unwrap_or_default(),
                stated: None,
                exception_type: text(self.exception_type, row),
                masked: &masked,
                stack: &stack,
                local_path,
                error_type,
                is_log: text(self.kind, row) == Some(Kind::Log.name()),
            };
            fingerprint(&evidence, &rules.grouping, frame_keys).id
        };
        match path.as_deref() {
            Some(path) => Anew::Is(by(path, self.error.and_then(|errors| text(errors, row)))),
            None => {
                let (one, other) = (by("", None), by("?", Some("?")));
                if one == other { Anew::Is(one) } else { Anew::Unknown }
            }
        }
    }
}

/// A path of masked names, each as these rules mask it.
fn masked_again(path: &str) -> String {
    const STEP: &str = " > ";
    path.split(STEP).map(mask).collect::<Vec<_>>().join(STEP)
}
