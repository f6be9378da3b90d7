//! A trial of a test and a patch: at the commit of the build that failed, the test has to fail as the trace did, and with
//! the patch everything has to pass.
//!
//! The evaluation runs its tests on the same [`Ground`].

mod agent;
mod failure;
mod ground;
pub(crate) mod harness;
mod process;
mod record;
mod sandbox;
mod suite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::process::ExitStatus;

use sha2::{Digest as _, Sha256};
use tracerag_query::untrusted::line;
use tracerag_schemas::bundle::{Build, Bundle, Evidence};

use crate::error::Error;
use crate::patch::{Allowed, LockRow, MAX_BYTES, lock_files, parse};
use crate::repository::{Commit, Repository};
use crate::scaffold::origin;
use agent::{Question, REFINE_SCHEMA, refine};
use failure::Failure;
pub(crate) use ground::{Ground, Tried};
pub(crate) use process::end;
pub(crate) use record::{CommitFrom, Diff, Ended, Isolation, Outcome, RunRow, Step, TRY_SCHEMA, TryRecord};
pub(crate) use sandbox::{Limits, Open, SandboxError};
use suite::Suite;

/// Bytes of an output that a record holds.
const RECORDED: usize = 16 << 10;

/// What is tried, and how.
#[derive(Debug, Clone)]
pub(crate) struct TryRequest<'a> {
    pub bundle: &'a Bundle,
    /// The repository that the service is built from.
    pub repository: &'a Repository,
    /// A commit instead of that of the build.
    pub commit: Option<&'a str>,
    /// The service whose build it is; else the one that failed first.
    pub service: Option<&'a str>,
    /// The diff that adds the test.
    pub test: &'a str,
    /// The diff that mends the failure.
    pub patch: &'a str,
    /// Reasons by the file of the tests, or of what runs them, that the patch may change all the same.
    pub allowed: &'a BTreeMap<String, String>,
    /// A command that may mend the patch once.
    pub agent: Option<&'a str>,
    /// The command that runs all tests, at the root; else that of the language.
    pub command: Option<&'a str>,
    /// Variables that the tests get beside the few that they have.
    pub variables: &'a [(String, String)],
    /// What is left open to them.
    pub open: Open,
    pub limits: Limits,
}

/// Tries a test and a patch. It blocks for as long as the tests take.
///
/// # Errors
/// When there is nothing to try on: no commit, no command, no isolation, no repository. What is wrong with test and patch
/// is an outcome of the record.
pub(crate) fn try_patch(request: &TryRequest<'_>) -> Result<TryRecord, Error> {
    let build = build(request.bundle, request.service);
    let bundle_commit = build.and_then(|build| build.git_sha.clone());
    let (digits, commit_from) = match (request.commit, &bundle_commit) {
        (Some(stated), _) => (stated.to_owned(), CommitFrom::Stated),
        (None, Some(of_bundle)) => (of_bundle.clone(), CommitFrom::Bundle),
        (None, None) => {
            return Err(Error::Usage(String::from(
                "the bundle states no commit of the build that failed; name the service with --service, or the commit \
                 with --commit",
            )));
        }
    };
    let commit = request.repository.commit(&digits)?;
    let (test, patch) = (diff_of(request.test), diff_of(request.patch));
    let suite = match (request.command, &test) {
        (Some(command), _) => Some(Suite::given(command)),
        (None, (test, None)) => Suite::of(&commit, &test.files),
        (None, (_, Some(_))) => None,
    };
    let ground = Ground::new(request.repository, request.open, request.limits, request.variables)?;
    let suite = match (suite, &test.1) {
        (Some(suite), _) => suite,
        // A diff that is not read names no module, and nothing will run.
        (None, Some(_)) => Suite { folder: String::new(), command: vec![] },
        (None, None) => {
            return Err(Error::Usage(String::from(
                "the files of the test lie in no module, or in several, of Go, Python, Node.js or Java; give the command \
                 that runs the tests with --command",
            )));
        }
    };
    let locks = build.map(|build| lock_files(build, &commit)).transpose()?.unwrap_or_default();
    let service = request.service.map(str::to_owned).or_else(|| build.and_then(|build| build.service.clone()));
    let mut record = TryRecord {
        schema: TRY_SCHEMA.to_owned(),
        bundle_id: request.bundle.bundle_id.clone(),
        outcome: Outcome::StillRed,
        holds: false,
        reason: String::new(),
        service,
        commit: commit.sha.clone(),
        commit_from,
        bundle_commit,
        lock_files: locks,
        test: test.0,
        patch: patch.0,
        allowed: vec![],
        refined: false,
        agent: None,
        command: request.command.map_or_else(|| suite.command.join(" "), str::to_owned),
        folder: suite.folder.clone(),
        isolation: Isolation::of(request.open, request.limits),
        runs: vec![],
    };
    let trial = Trial { request, commit: &commit, suite: &suite, ground: &ground };
    let (outcome, reason) = trial.judge(&mut record, test.1, patch.1)?;
    record.outcome = outcome;
    record.holds = outcome == Outcome::Green;
    record.reason = reason;
    let allowed = request.allowed.iter().map(|(path, reason)| Allowed {
        path: path.clone(),
        reason: reason.clone(),
        used: record.patch.files.contains(path),
    });
    record.allowed = allowed.collect();
    Ok(record)
}

/// A diff with its files, and what is wrong with it.
fn diff_of(text: &str) -> (Diff, Option<String>) {
    let read = match text.len() {
        0..=MAX_BYTES => parse(text).map_err(|error| error.to_string()),
        _ => Err(format!("it has more than {MAX_BYTES} bytes")),
    };
    let (files, wrong) = match read {
        Ok(files) => (files.into_iter().map(|file| file.path).collect(), None),
        Err(why) => (vec![], Some(why)),
    };
    (Diff { sha256: hex::encode(Sha256::digest(text)), files, text: text.to_owned() }, wrong)
}

/// The build of a service, or of the span that failed first. `None` where it is ambiguous or not known.
fn build<'a>(bundle: &'a Bundle, service: Option<&str>) -> Option<&'a Build> {
    let evidence = &bundle.evidence;
    let origin = origin::of(evidence);
    let of_span = origin.as_ref().and_then(|origin| origin.path.first()?.build.as_deref());
    let failed_in = match &origin {
        Some(origin) => origin.failure.service.as_deref(),
        None => only_service(evidence),
    };
    let exact = evidence.builds.iter().find(|build| {
        Some(build.anchor.as_str()) == of_span
            && service.is_none_or(|service| build.service.as_deref() == Some(service))
    });
    if exact.is_some() {
        return exact;
    }
    let wanted = service.or(failed_in)?;
    let mut builds = evidence.builds.iter().filter(|build| build.service.as_deref() == Some(wanted));
    let first = builds.next()?;
    // Two builds of one service are two commits, of which nobody says which one failed.
    builds.all(|other| other.git_sha == first.git_sha).then_some(first)
}

/// The service of all failures, if it is one; of which the first was, only their spans would say.
fn only_service(evidence: &Evidence) -> Option<&str> {
    let first = evidence.failures.first()?.service.as_deref()?;
    evidence.failures.iter().all(|failure| failure.service.as_deref() == Some(first)).then_some(first)
}

struct Trial<'a> {
    request: &'a TryRequest<'a>,
    commit: &'a Commit,
    suite: &'a Suite,
    ground: &'a Ground<'a>,
}

impl Trial<'_> {
    /// Runs what has to be run, and says how it ended.
    fn judge(
        &self,
        record: &mut TryRecord,
        wrong_test: Option<String>,
        wrong_patch: Option<String>,
    ) -> Result<(Outcome, String), Error> {
        if let Some(lock) = record.lock_files.iter().find(|lock| !lock.holds) {
            return Ok((Outcome::LockFilesDiffer, told(lock)));
        }
        if let Some(why) = wrong_test {
            return Ok((Outcome::TestDoesNotApply, why));
        }
        if let Some(why) = wrong_patch.or_else(|| self.touches(&record.test, &record.patch)) {
            return Ok((Outcome::PatchDoesNotApply, why));
        }
        if let Ok((run, _)) = self.run(Step::Before, &[])? {
            let passed = run.ended == Ended::Passed;
            record.runs.push(run);
            if !passed {
                let why = "the tests of the commit do not pass as it is; name those that do with --command, or give the \
                           variables and modules that they need";
                return Ok((Outcome::RedBeforeTheTest, why.to_owned()));
            }
        }
        if let Some(ended) = self.red(record)? {
            return Ok(ended);
        }
        let (mut outcome, mut reason, output) = self.green(record, Step::Patch)?;
        if let (false, Some(agent)) = (outcome == Outcome::Green, self.request.agent) {
            let question = Question {
                schema: REFINE_SCHEMA,
                bundle_id: &record.bundle_id,
                commit: &record.commit,
                command: &record.command,
                test: &record.test.text,
                patch: &record.patch.text,
                reason: &reason,
                output: &output,
            };
            match refine(agent, &question, self.request.limits.time) {
                Ok(patch) => {
                    let (patch, wrong) = diff_of(&patch);
                    record.patch = patch;
                    record.refined = true;
                    (outcome, reason) = match wrong.or_else(|| self.touches(&record.test, &record.patch)) {
                        Some(why) => (Outcome::PatchDoesNotApply, why),
                        None => {
                            let (outcome, reason, _) = self.green(record, Step::Refined)?;
                            (outcome, reason)
                        }
                    };
                }
                Err(why) => record.agent = Some(why),
            }
        }
        Ok((outcome, reason))
    }

    /// Whether the test fails, and of what; how the trial ended if it ends with that.
    fn red(&self, record: &mut TryRecord) -> Result<Option<(Outcome, String)>, Error> {
        let (mut run, output) = match self.run(Step::Test, &[&record.test])? {
            Ok(ran) => ran,
            Err(why) => return Ok(Some((Outcome::TestDoesNotApply, why))),
        };
        let failure = Failure::of(self.request.bundle);
        run.found = failure.found(&output, &record.test.text).filter(|_| run.ended == Ended::Failed);
        let ended = match (run.ended, &run.found) {
            (Ended::Passed, _) => Some((Outcome::NotRed, String::from("the test passes without the patch"))),
            (_, Some(_)) => None,
            (_, None) => {
                let why = format!("what it prints has nothing of the failure of the bundle: {}", failure.told());
                Some((Outcome::RedForAnotherReason, why))
            }
        };
        record.runs.push(run);
        Ok(ended)
    }

    /// Whether everything passes with the patch of the record, and what the tests print.
    fn green(&self, record: &mut TryRecord, step: Step) -> Result<(Outcome, String, String), Error> {
        let (run, output) = match self.run(step, &[&record.test, &record.patch])? {
            Ok(ran) => ran,
            Err(why) => return Ok((Outcome::PatchDoesNotApply, why, String::new())),
        };
        let (outcome, reason) = match run.ended {
            Ended::Passed => (Outcome::Green, "the test fails as the trace did, and with the patch everything passes"),
            Ended::Failed => (Outcome::StillRed, "with the patch a test fails, the new one or another"),
            Ended::TimedOut => (Outcome::StillRed, "with the patch the tests did not end in time"),
        };
        let output = if outcome == Outcome::Green { String::new() } else { end_of(&output, RECORDED) };
        record.runs.push(run);
        Ok((outcome, reason.to_owned(), output))
    }

    /// Why a patch may not be tried: it could make the tests pass by changing them, or how they are found.
    fn touches(&self, test: &Diff, patch: &Diff) -> Option<String> {
        if let Some(file) = patch.files.iter().find(|file| test.files.contains(file)) {
            return Some(format!("it changes {}, which is a file of the test", line(file)));
        }
        let is_allowed = |file: &str| self.request.allowed.contains_key(file);
        let (file, why) =
            patch.files.iter().filter(|file| !is_allowed(file)).find_map(|file| Some((file, harness::why(file)?)))?;
        Some(format!("it changes {}, {why}; allow it by name with --allow PATH=REASON if that is meant", line(file)))
    }

    /// Runs the tests with some diffs: the run with all that it printed, or why a diff does not apply.
    fn run(&self, step: Step, diffs: &[&Diff]) -> Result<Result<(RunRow, String), String>, Error> {
        let diffs: Vec<&str> = diffs.iter().map(|diff| diff.text.as_str()).collect();
        let ran = match self.ground.run(self.commit, &diffs, &self.suite.folder, &self.suite.command)? {
            Tried::Ran(ran) => ran,
            Tried::DoesNotApply(why) => return Ok(Err(why)),
        };
        let output = ran.printed.text();
        let run = RunRow {
            step,
            ended: ran.status.map_or(Ended::TimedOut, ended),
            status: ran.status.and_then(|status| status.code()),
            seconds: ran.took.as_secs_f64(),
            found: None,
            output: end_of(&output, RECORDED),
        };
        Ok(Ok((run, output)))
    }
}

fn ended(status: ExitStatus) -> Ended {
    if status.success() { Ended::Passed } else { Ended::Failed }
}

fn told(lock: &LockRow) -> String {
    format!("{} of {}: {}", lock.file, lock.build, lock.why)
}

/// The last bytes of a text.
fn end_of(text: &str, bytes: usize) -> String {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}
