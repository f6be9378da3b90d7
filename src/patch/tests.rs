//! Diffs that git makes, against a bundle that cites their files.

#![allow(clippy::unwrap_used)]

use sha2::Digest as _;

use super::*;
use crate::repository::tests::{ROUNDING, TestRepository, bundle};

/// A repository with the file that the bundle cites, its test, a file beside and a lock file.
struct Case {
    made: TestRepository,
    bundle: Bundle,
    rules: Rules,
}

const SUM: &str = "example.com/big v1.0.0 h1:abc=\n";

impl Case {
    fn new() -> Self {
        let made = TestRepository::of(&[
            ("go.mod", "module payments\n"),
            ("go.sum", SUM),
            ("payments/rounding.go", ROUNDING),
            ("payments/rounding_test.go", "package payments\n"),
            ("payments/beside.go", "package payments\n"),
        ]);
        let mut bundle = bundle(&made.head(), &[("/app/payments/rounding.go", 5, "payments.Round")]);
        let digest = format!("sha256:{}", hex::encode(sha2::Sha256::digest(SUM)));
        bundle.evidence.builds[0].lockfile_digests.insert(String::from("go.sum"), digest.into());
        Self { made, bundle, rules: Rules { allowed: BTreeMap::new(), most_files: 10, most_lines: 400 } }
    }

    fn guard(&self, diff: &str) -> Report {
        let repository = Repository::open(self.made.path()).unwrap();
        guard(&self.bundle, diff.as_bytes(), &repository, &[], &self.rules).unwrap()
    }

    /// The diff of one changed file.
    fn change(&self, path: &str) -> String {
        self.made.write(path, &format!("{ROUNDING}// changed\n"));
        self.made.diff()
    }
}

fn verdicts(report: &Report) -> Vec<(&str, Verdict)> {
    report.files.iter().map(|file| (file.path.as_str(), file.verdict)).collect()
}

/// A change of the file on the stack with a new and a changed test holds, and the report says by which anchor.
#[test]
fn what_is_on_the_stack_may_be_changed_with_its_tests() {
    let case = Case::new();
    case.made.write("payments/rounding.go", &ROUNDING.replace("x > 9", "x > 99"));
    case.made.write("payments/rounding_test.go", "package payments\n\nfunc TestRound() {}\n");
    case.made.write("payments/overflow_test.go", "package payments\n");
    let report = case.guard(&case.made.diff());
    assert!(report.holds, "{report:?}");
    let wanted = [
        ("payments/overflow_test.go", Verdict::Test),
        ("payments/rounding.go", Verdict::OnThePath),
        ("payments/rounding_test.go", Verdict::Test),
    ];
    assert_eq!(verdicts(&report), wanted);
    assert!(report.files[1].why.contains("code:/app/payments/rounding.go:5@"), "{report:?}");
    assert!(report.lock_files[0].holds && report.lock_files[0].why == "go.sum", "{report:?}");
}

/// A file beside is refused until it is allowed by name; the reason is recorded, and a name that the diff does not change
/// is told as unused.
#[test]
fn other_files_are_allowed_by_name_only() {
    let mut case = Case::new();
    let diff = case.change("payments/beside.go");
    let report = case.guard(&diff);
    assert_eq!((report.holds, verdicts(&report)), (false, vec![("payments/beside.go", Verdict::Refused)]));
    let reason = String::from("it has the same bug");
    case.rules.allowed =
        BTreeMap::from([(String::from("payments/beside.go"), reason.clone()), (String::from("x"), reason)]);
    let report = case.guard(&diff);
    assert!(report.holds, "{report:?}");
    assert_eq!(
        (report.files[0].verdict, report.files[0].why.as_str()),
        (Verdict::AllowedByName, "it has the same bug")
    );
    assert_eq!(report.allowed.iter().map(|allowed| allowed.used).collect::<Vec<_>>(), [true, false]);
}

/// A lock file that the patch changes is refused like any other file, and one that is not that of the build, or whose
/// digest cannot be compared, makes the report fail whatever the patch changes.
#[test]
fn lock_files_are_those_of_the_build() {
    let mut case = Case::new();
    let lock = case.change("go.sum");
    assert!(!case.guard(&lock).holds);
    let diff = case.change("payments/rounding.go");
    for digest in ["sha256:00", "md5:abc", &"0".repeat(64)] {
        case.bundle.evidence.builds[0].lockfile_digests.insert(String::from("go.sum"), digest.into());
        let report = case.guard(&diff);
        assert!(!report.holds && !report.lock_files[0].holds, "{digest}: {report:?}");
    }
    case.bundle.evidence.builds[0].lockfile_digests.clear();
    case.bundle.evidence.builds[0].lockfile_digests.insert(String::from("other.lock"), "0".repeat(64).into());
    let report = case.guard(&diff);
    assert!(report.lock_files[0].why.contains("no such file"), "{report:?}");
}

/// Links, programs, binary files, files that are taken away or below a link, and ways out of the repository are refused,
/// allowed by name or not.
#[test]
fn what_is_no_change_of_text_is_refused() {
    let mut case = Case::new();
    for path in ["link", "new.sh", "blob.bin", "link/x.go", "../x.go"] {
        case.rules.allowed.insert(path.to_owned(), String::from("said so"));
    }
    std::os::unix::fs::symlink("payments", case.made.path().join("link")).unwrap();
    let link = case.made.diff();
    case.made.write("blob.bin", "\0\u{1}binary");
    let binary = case.made.diff();
    case.made.git(&["mv", "payments/rounding.go", "payments/renamed.go"]);
    let renamed = case.made.diff();
    case.made.git(&["rm", "--quiet", "payments/rounding.go"]);
    let removed = case.made.diff();
    let one = case.change("payments/rounding.go");
    let up = one.replace("payments/rounding.go", "../x.go");
    for diff in [link, binary, renamed, removed, up, one.replace('\n', "\r\n"), String::from("\u{fffd}")] {
        let report = case.guard(&diff);
        assert!(!report.holds, "{diff}: {report:?}");
    }
    // The commit that ran has a link where the diff has a folder.
    std::os::unix::fs::symlink("payments", case.made.path().join("link")).unwrap();
    let sha = case.made.commit();
    case.bundle = bundle(&sha, &[("payments/rounding.go", 5, "payments.Round")]);
    let below = "--- /dev/null\n+++ b/link/x.go\n@@ -0,0 +1 @@\n+package payments\n";
    let report = case.guard(below);
    assert!(!report.holds && report.files[0].why.contains("no folder"), "{report:?}");
    let through = "--- a/link\n+++ b/link\n@@ -1 +1 @@\n-payments\n+elsewhere\n";
    assert!(case.guard(through).files[0].why.contains("link"), "a link is no file");
    let not_utf8 =
        guard(&case.bundle, b"\xff", &Repository::open(case.made.path()).unwrap(), &[], &case.rules).unwrap();
    assert!(!not_utf8.holds && not_utf8.reasons[0].contains("UTF-8"));
}

/// A patch larger than the limits is refused by them, with its size.
#[test]
fn large_patches_are_refused() {
    let mut case = Case::new();
    let diff = case.change("payments/rounding.go");
    assert!(case.guard(&diff).holds);
    case.rules.most_lines = 0;
    let report = case.guard(&diff);
    assert!(!report.holds && report.limits[1].value == 1, "{report:?}");
    case.rules = Rules { allowed: BTreeMap::new(), most_files: 0, most_lines: 400 };
    assert!(!case.guard(&diff).holds);
}

/// A frame whose file is not certain, by an ambiguous name or by the name alone, allows nothing and is told; a commit that
/// the repository does not have is an error where there is no other.
#[test]
fn uncertain_files_allow_nothing() {
    let mut case = Case::new();
    case.bundle = bundle(&case.made.head(), &[("/elsewhere/deep/rounding.go", 5, "f")]);
    let report = case.guard(&case.change("payments/rounding.go"));
    assert_eq!(verdicts(&report), [("payments/rounding.go", Verdict::Refused)]);
    assert!(report.unclear[0].contains("only the name agrees"), "{report:?}");
    let foreign = bundle(&"ab".repeat(20), &[("payments/rounding.go", 5, "f")]);
    let error = guard(&foreign, b"", &Repository::open(case.made.path()).unwrap(), &[], &case.rules).unwrap_err();
    assert!(matches!(error, RepositoryError::NoCommit { .. }), "{error}");
}
