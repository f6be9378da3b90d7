//! What a trial tells, as one JSON document. `pr-body`, `fix record` and `eval` read it again.

use serde::{Deserialize, Serialize};

use super::sandbox::{Limits, Open};
use crate::patch::{Allowed, LockRow};

/// Value of `schema`.
pub(crate) const TRY_SCHEMA: &str = "tracerag.try/1";

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The test failed as the trace did, and with the patch everything passes.
    Green,
    /// The commit does not have the lock files that the build was made with.
    LockFilesDiffer,
    /// The diff of the test cannot be read or does not apply.
    TestDoesNotApply,
    /// The tests of the commit fail without the new one, so nothing that comes after would say anything.
    RedBeforeTheTest,
    /// The test passes without the patch.
    NotRed,
    /// The test fails, and not with the failure of the bundle.
    RedForAnotherReason,
    /// The diff of the patch cannot be read, does not apply, or changes tests or how they are found.
    PatchDoesNotApply,
    /// With the patch a test fails, the new one or another.
    StillRed,
}

impl Outcome {
    /// As the record has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::LockFilesDiffer => "lock_files_differ",
            Self::TestDoesNotApply => "test_does_not_apply",
            Self::RedBeforeTheTest => "red_before_the_test",
            Self::NotRed => "not_red",
            Self::RedForAnotherReason => "red_for_another_reason",
            Self::PatchDoesNotApply => "patch_does_not_apply",
            Self::StillRed => "still_red",
        }
    }
}

/// How the commit was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommitFrom {
    /// The build in the bundle states it.
    Bundle,
    /// Whoever asked for the trial stated it.
    Stated,
}

/// A trial of a test and a patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TryRecord {
    /// `tracerag.try/1`
    pub schema: String,
    pub bundle_id: String,
    pub outcome: Outcome,
    /// Whether the outcome is green.
    pub holds: bool,
    /// Why, in words.
    pub reason: String,
    /// The service whose code was tried, where the evidence says it.
    pub service: Option<String>,
    /// The commit that was checked out, with all its digits.
    pub commit: String,
    pub commit_from: CommitFrom,
    /// The commit of the build by the bundle, whichever was checked out.
    pub bundle_commit: Option<String>,
    pub lock_files: Vec<LockRow>,
    pub test: Diff,
    /// The patch that was tried last: that of the agent where it was refined.
    pub patch: Diff,
    /// Files of the tests, or of what runs them, that the patch was allowed to change, and why.
    #[serde(default)]
    pub allowed: Vec<Allowed>,
    /// Whether an agent has refined the patch.
    pub refined: bool,
    /// Why an agent that was asked gave no patch.
    pub agent: Option<String>,
    /// The command that runs the tests.
    pub command: String,
    /// Where it ran, below the root of the repository; empty is the root.
    pub folder: String,
    pub isolation: Isolation,
    /// In the order in which they ran.
    pub runs: Vec<RunRow>,
}

/// A diff that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Diff {
    /// Of its bytes, in hex.
    pub sha256: String,
    /// Paths of its files.
    pub files: Vec<String>,
    /// The diff itself.
    pub text: String,
}

/// What the programs that were tried could do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolation {
    /// Whether they had a network.
    pub network: bool,
    /// Whether they could write what their user can. Records of before it was asked do not say it, and they could.
    #[serde(default = "yes")]
    pub files: bool,
    /// Seconds that one run may take.
    pub seconds: u64,
    /// Bytes of address space that one process may have.
    pub memory_bytes: u64,
}

impl Isolation {
    /// As it is asked for.
    pub(crate) fn of(open: Open, limits: Limits) -> Self {
        Self { network: open.network, files: open.files, seconds: limits.time.as_secs(), memory_bytes: limits.memory }
    }
}

fn yes() -> bool {
    true
}

/// What was applied when the tests ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Nothing: the commit as it is.
    Before,
    /// The test.
    Test,
    /// The test and the patch.
    Patch,
    /// The test and the patch of the agent.
    Refined,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// With status 0.
    Passed,
    /// With another status, or by a signal.
    Failed,
    /// It was ended, for its time was over.
    TimedOut,
}

/// One run of the tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub step: Step,
    pub ended: Ended,
    /// Exit status; none of what a signal ended.
    pub status: Option<i32>,
    /// How long it took.
    pub seconds: f64,
    /// Of the test: what of the bundle's failure stands in the output.
    pub found: Option<String>,
    /// The end of what it printed, as far as a report has room.
    pub output: String,
}

impl TryRecord {
    /// Reads a record that a build pipeline hands on.
    ///
    /// # Errors
    /// Says what is wrong: another schema, another bundle than the one that is worked on, if there is one, a trial that did not end green.
    pub(crate) fn green(text: &str, bundle_id: Option<&str>) -> Result<Self, String> {
        let record: Self =
            serde_json::from_str(text).map_err(|error| format!("{error}; `tracerag try` prints a record"))?;
        if record.schema != TRY_SCHEMA {
            return Err(format!("its schema is {:?}, not {TRY_SCHEMA}", record.schema));
        }
        if bundle_id.is_some_and(|wanted| wanted != record.bundle_id) {
            return Err(format!("it is about {}; try the change with this bundle", record.bundle_id));
        }
        if !record.is_green() {
            return Err(format!("by it the trial ended {}; mend that first", record.outcome.name()));
        }
        Ok(record)
    }

    /// Whether its parts say what green means: the right red, then everything green.
    fn is_green(&self) -> bool {
        let red = self.runs.iter().find(|run| run.step == Step::Test);
        let last = self.runs.last();
        self.holds
            && self.outcome == Outcome::Green
            && self.lock_files.iter().all(|lock| lock.holds)
            && red.is_some_and(|run| run.ended == Ended::Failed && run.found.is_some())
            && last.is_some_and(|run| run.ended == Ended::Passed && matches!(run.step, Step::Patch | Step::Refined))
    }
}
