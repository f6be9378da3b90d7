//! Trials of a program of two files, whose tests are a shell script: no tools of a language are needed.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::repository::tests::{TestRepository, bundle};

const LOCK: &str = "big 1.0\n";
/// Runs every test there is.
const COMMAND: &str = "for test in tests/*.sh; do sh \"$test\" || exit 1; done";
/// Fails as the bundle's failure says, while the limit is that of the build.
const TEST: &str = "grep -q 'limit=40' pay/rounding.sh || { echo 'Overflow: overflow'; exit 1; }\n";

struct Case {
    made: TestRepository,
    bundle: Bundle,
    test: String,
    patch: String,
    allowed: BTreeMap<String, String>,
    agent: Option<String>,
    variables: Vec<(String, String)>,
    open: Open,
    limits: Limits,
}

impl Case {
    fn new() -> Self {
        let made = TestRepository::of(&[
            ("lock.txt", LOCK),
            ("pay/rounding.sh", "limit=18\n"),
            ("tests/first.sh", "grep -q limit pay/rounding.sh\n"),
        ]);
        let mut bundle = bundle(&made.head(), &[("/app/pay/rounding.sh", 1, "round")]);
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(LOCK)));
        bundle.evidence.builds[0].lockfile_digests.insert(String::from("lock.txt"), digest.into());
        let mut case = Self {
            made,
            bundle,
            test: String::new(),
            patch: String::new(),
            allowed: BTreeMap::new(),
            agent: None,
            variables: vec![],
            // Whether anything can be isolated depends on the machine.
            open: Open::ALL,
            limits: Limits { time: Duration::from_secs(120), memory: 8 << 30 },
        };
        case.test = case.diff("tests/second.sh", TEST);
        case.patch = case.diff("pay/rounding.sh", "limit=40\n");
        case
    }

    fn diff(&self, path: &str, content: &str) -> String {
        self.made.write(path, content);
        self.made.diff()
    }

    fn tried(&self, commit: Option<&str>) -> Result<TryRecord, Error> {
        try_patch(&TryRequest {
            bundle: &self.bundle,
            repository: &Repository::open(self.made.path()).unwrap(),
            commit,
            service: None,
            test: &self.test,
            patch: &self.patch,
            allowed: &self.allowed,
            agent: self.agent.as_deref(),
            command: Some(COMMAND),
            variables: &self.variables,
            open: self.open,
            limits: self.limits,
        })
    }

    fn outcome(&self) -> (Outcome, String) {
        let record = self.tried(None).unwrap();
        assert_eq!(record.holds, record.outcome == Outcome::Green);
        (record.outcome, record.reason)
    }
}

/// A test that fails as the trace did and passes with the patch, beside the tests that there were: green, with a run a
/// step. The record is read again for its bundle and for no other, and the repository is as before.
#[test]
fn red_then_green() {
    let case = Case::new();
    let record = case.tried(None).unwrap();
    assert_eq!(record.outcome, Outcome::Green, "{record:#?}");
    let steps: Vec<(Step, Ended)> = record.runs.iter().map(|run| (run.step, run.ended)).collect();
    assert_eq!(steps, [(Step::Before, Ended::Passed), (Step::Test, Ended::Failed), (Step::Patch, Ended::Passed)]);
    assert_eq!(record.runs[1].found.as_deref(), Some("message: overflow"));
    assert_eq!((record.commit_from, record.commit.as_str()), (CommitFrom::Bundle, case.made.head().as_str()));
    assert!(record.lock_files.iter().all(|lock| lock.holds) && record.lock_files.len() == 1);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(TryRecord::green(&text, Some(&case.bundle.bundle_id)).unwrap(), record);
    assert!(TryRecord::green(&text, Some("sha256:00")).unwrap_err().contains("it is about"));
    let forged = text.replace("\"failed\"", "\"passed\"");
    assert!(TryRecord::green(&forged, None).is_err(), "a test that was never red");
    assert_eq!(case.made.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(case.made.git(&["status", "--porcelain"]), "");
}

/// Each way in which a trial does not end green has its outcome, and says why.
#[test]
fn what_does_not_hold_has_a_name() {
    let case = |change: &dyn Fn(&mut Case)| {
        let mut case = Case::new();
        change(&mut case);
        case.outcome()
    };
    let outcomes = [
        (Outcome::NotRed, "passes without", case(&|case| case.test = case.diff("tests/second.sh", "exit 0\n"))),
        (
            Outcome::RedForAnotherReason,
            "nothing of the failure",
            case(&|case| case.test = case.diff("tests/second.sh", "echo 'no such file'; exit 1\n")),
        ),
        (Outcome::StillRed, "a test fails", case(&|case| case.patch = case.diff("pay/rounding.sh", "limit=20\n"))),
        // The new test passes, and another one does not any more.
        (
            Outcome::StillRed,
            "a test fails",
            case(&|case| {
                case.made.write("tests/first.sh", "grep -q limit=18 pay/rounding.sh\n");
                case.bundle.evidence.builds[0].git_sha = Some(case.made.commit());
            }),
        ),
        (Outcome::TestDoesNotApply, "", case(&|case| case.test = case.test.replace("/second", "/../second"))),
        (Outcome::PatchDoesNotApply, "", case(&|case| case.patch = case.patch.replace("-limit=18", "-limit=19"))),
        (
            Outcome::PatchDoesNotApply,
            "a file of the test",
            case(&|case| case.patch = case.test.replace("exit 1", "exit 0")),
        ),
        (
            Outcome::LockFilesDiffer,
            "lock.txt",
            case(&|case| {
                let digest = format!("sha256:{}", "0".repeat(64));
                case.bundle.evidence.builds[0].lockfile_digests.insert(String::from("lock.txt"), digest.into());
            }),
        ),
        (
            Outcome::RedBeforeTheTest,
            "as it is",
            case(&|case| {
                case.made.write("tests/first.sh", "exit 1\n");
                let commit = case.made.commit();
                case.bundle.evidence.builds[0].git_sha = Some(commit);
            }),
        ),
    ];
    for (wanted, why, (outcome, reason)) in outcomes {
        assert_eq!(outcome, wanted, "{reason}");
        assert!(reason.contains(why), "{reason}");
    }
}

/// A patch that takes a test away, or changes how tests are found, is not tried, for then green says nothing. Allowed by
/// name it is, and the record holds the reason.
#[test]
fn a_patch_leaves_tests_alone() {
    let mut case = Case::new();
    let mended = case.patch.clone();
    for (path, why) in [("tests/first.sh", "one of the tests"), ("package.json", "found and run")] {
        case.patch = format!("{}{mended}", case.diff(path, "exit 0\n"));
        let (outcome, reason) = case.outcome();
        assert_eq!(outcome, Outcome::PatchDoesNotApply);
        assert!(reason.contains(path) && reason.contains(why) && reason.contains("--allow"), "{reason}");
    }
    case.allowed.insert(String::from("package.json"), String::from("a library moves"));
    let record = case.tried(None).unwrap();
    assert_eq!(record.outcome, Outcome::Green, "{record:#?}");
    assert!(record.allowed.len() == 1 && record.allowed[0].used && record.allowed[0].reason == "a library moves");
}

/// An agent gets what the tests printed and answers with a patch that applies to the commit; it is asked once. One that
/// changes the test is not tried.
#[test]
fn an_agent_refines_once() {
    let mut case = Case::new();
    let good = std::mem::take(&mut case.patch);
    case.patch = case.diff("pay/rounding.sh", "limit=20\n");
    let folder = tempfile::tempdir().unwrap();
    let agent = |case: &mut Case, patch: &str| {
        let file = folder.path().join("answer");
        std::fs::write(&file, format!("{}\n", serde_json::json!({"patch": patch}))).unwrap();
        let asked = folder.path().join("asked");
        case.agent = Some(format!("cat >> {}; cat {}", asked.display(), file.display()));
        let record = case.tried(None).unwrap();
        let question = std::fs::read_to_string(&asked).unwrap();
        std::fs::remove_file(asked).unwrap();
        (record, question)
    };
    let (record, question) = agent(&mut case, &good);
    assert_eq!((record.outcome, record.refined), (Outcome::Green, true), "{record:#?}");
    assert_eq!(record.patch.text, good);
    assert_eq!(question.lines().count(), 1);
    let question: serde_json::Value = serde_json::from_str(&question).unwrap();
    assert_eq!(question["schema"], REFINE_SCHEMA);
    assert!(question["output"].as_str().unwrap().contains("overflow"), "{question:#}");
    let cheat = case.test.replace("exit 1", "exit 0");
    let (record, _) = agent(&mut case, &cheat);
    assert_eq!((record.outcome, record.refined), (Outcome::PatchDoesNotApply, true));
    let (record, question) = agent(&mut case, "no diff at all");
    assert_eq!(record.outcome, Outcome::PatchDoesNotApply, "{record:#?}");
    assert_eq!(question.lines().count(), 1, "it is asked once");
}

/// A run that takes longer than it may is ended, whatever it has started, and the record says so.
#[test]
fn time_is_limited() {
    let mut case = Case::new();
    // The run before it, which has to end by itself, has no longer.
    case.limits.time = Duration::from_secs(20);
    case.test = case.diff("tests/second.sh", "echo overflow; sleep 600 & sleep 600\n");
    let record = case.tried(None).unwrap();
    assert_eq!(record.runs.last().unwrap().ended, Ended::TimedOut);
    assert_eq!(record.outcome, Outcome::RedForAnotherReason);
}

/// The commit of the bundle may be one that the repository does not have: a stated one is tried then, and is told as such.
/// Without one, it is said what to do.
#[test]
fn a_stated_commit_is_told() {
    let mut case = Case::new();
    case.bundle.evidence.builds[0].git_sha = Some("f".repeat(40));
    assert!(case.tried(None).unwrap_err().to_string().contains("fetch it"));
    let head = case.made.head();
    let record = case.tried(Some(&head)).unwrap();
    assert_eq!((record.outcome, record.commit_from), (Outcome::Green, CommitFrom::Stated));
    assert_eq!(record.bundle_commit, Some("f".repeat(40)));
    case.bundle.evidence.builds[0].git_sha = None;
    assert!(case.tried(None).unwrap_err().to_string().contains("--commit"));
}

/// A test that fails the first time only, for it remembers that it ran, is red with the patch, too: what a run leaves in
/// its home and in its temporary folder is gone.
#[test]
fn no_run_finds_what_another_left() {
    let mut case = Case::new();
    let remembers = "for folder in \"$HOME\" \"$TMPDIR\"; do [ -e \"$folder/ran\" ] && exit 0; : > \"$folder/ran\"; done\n\
                     echo overflow; exit 1\n";
    case.test = case.diff("tests/second.sh", remembers);
    assert_eq!(case.outcome().0, Outcome::StillRed);
}

/// Tests see nothing of the environment but what they need and were given, and their home is empty. Where code can be
/// isolated there is no network but the machine itself, nothing can be written but the work tree and what goes with the
/// run, not by a mount of the code's own either, and sockets of others are covered; where it cannot, nothing runs.
#[test]
fn nothing_leaks_in() {
    let mut case = Case::new();
    // It fails with the failure of the bundle if anything is wrong, and the trial ends as not red if nothing is.
    let check = "fail() { echo \"overflow: $1\"; exit 1; }\n\
                 [ -z \"$CARGO_MANIFEST_DIR\" ] || fail environment\n\
                 [ \"$GIVEN\" = yes ] || fail given\n\
                 [ -z \"$(ls -A \"$HOME\")\" ] || fail home\n";
    case.variables = vec![(String::from("GIVEN"), String::from("yes"))];
    case.test = case.diff("tests/second.sh", check);
    assert_eq!(case.outcome().0, Outcome::NotRed);

    case.open = Open::default();
    // Beside the tests' own program, for /tmp is covered in any case.
    let beside = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let outside = tempfile::tempdir_in(&beside).unwrap();
    let (socket, cache) = (outside.path().join("agent"), outside.path().join("cache"));
    let _agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::create_dir(&cache).unwrap();
    case.variables.push((String::from("CACHE"), cache.display().to_string()));
    let in_tmp = tempfile::tempdir().unwrap();
    let isolated = format!(
        "{check}[ \"$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')\" = lo ] || fail network\n\
         mount -o remount,bind,rw / 2>/dev/null\n\
         for folder in {git} {outside} {in_tmp}; do ( : > $folder/written ) 2>/dev/null && fail $folder; done\n\
         [ -S {socket} ] && fail socket\n\
         ( : > $CACHE/written ) 2>/dev/null\n\
         for folder in . \"$HOME\" \"$TMPDIR\" /tmp; do : > $folder/written || fail \"own $folder\"; done\nexit 0\n",
        git = case.made.path().join(".git").display(),
        outside = outside.path().display(),
        in_tmp = in_tmp.path().display(),
        socket = socket.display(),
    );
    case.test = case.diff("tests/second.sh", &isolated);
    match case.tried(None) {
        Ok(record) => {
            assert_eq!(record.outcome, Outcome::NotRed, "{record:#?}");
            assert!(!record.isolation.network && !record.isolation.files, "{record:#?}");
        }
        Err(error) => assert!(error.to_string().contains("--write-files"), "{error}"),
    }
    assert!(!cache.join("written").exists(), "what is written into a cache is thrown away");
}

/// A ground runs a program at the commit with the diffs, each time in a tree that no run before has touched; a diff that does
/// not apply runs nothing and says why. Without network where that can be, and else it says why not.
#[test]
fn every_run_has_a_tree_of_its_own() {
    let case = Case::new();
    let repository = Repository::open(case.made.path()).unwrap();
    let commit = repository.commit(&case.made.head()).unwrap();
    let (ground, not_cut) = Ground::cut_where_possible(&repository, Open::default(), case.limits, &[]).unwrap();
    assert!(not_cut.is_none_or(|why| why.to_string().contains("unshare")));
    let program = ["sh", "-c", "cat pay/rounding.sh; ls; touch left"].map(str::to_owned);
    for diffs in [&[][..], &[case.patch.as_str()][..]] {
        let Tried::Ran(ran) = ground.run(&commit, diffs, "", &program).unwrap() else { panic!("the diff applies") };
        let text = ran.printed.text();
        assert!(
            text.contains(if diffs.is_empty() { "limit=18" } else { "limit=40" }) && !text.contains("left"),
            "{text}"
        );
    }
    let other = case.patch.replace("-limit=18", "-limit=19");
    let tried = ground.run(&commit, &[&other], "", &program).unwrap();
    assert!(matches!(&tried, Tried::DoesNotApply(why) if why.contains("rounding.sh")), "{tried:?}");
}
