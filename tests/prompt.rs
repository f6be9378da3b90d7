//! The context for a model, as the program prints it.

use serde_json::Value;

use crate::checkout;
use crate::support::program::{Ran, Tracerag};
use crate::support::repository::TestRepository;
use crate::worked_example::{TRACE, replayed, replayed_with};

/// Source of the worked example: its stack names line 117 of one file and line 58 of another.
pub fn sources() -> TestRepository {
    let lines = |count: usize| "// a line\n".repeat(count);
    let rounding = format!(
        "package payments\n\n{}func Round(amount string) string {{\n\tif len(amount) > 18 {{\n\t\tpanic(\"decimal overflow\")\n\t}}\n\
         \treturn amount\n}}\n",
        lines(112)
    );
    let charge = format!("package payments\n\n{}func Charge() {{\n\tRound(\"1\")\n}}\n", lines(54));
    TestRepository::of(&[
        ("go.mod", "module shop\n"),
        ("go.sum", "example.com/big v1.0.0 h1:abc=\n"),
        ("main.go", &format!("package main\n\n{}func main() {{}}\n", lines(9))),
        ("payments/rounding.go", &rounding),
        ("payments/charge.go", &charge),
        ("payments/beside.go", "package payments\n"),
    ])
}

/// A prompt within its tokens, as standard error says.
fn tokens(ran: &Ran, most: usize) -> usize {
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let wanted = format!(" of {most} tokens");
    let line = ran.stderr.lines().find_map(|line| line.strip_suffix(wanted.as_str()));
    let tokens: usize = line.expect("the tokens are told").trim().parse().unwrap();
    assert!(tokens <= most);
    tokens
}

/// The prompt of the failing trace has the failure, its span, the flag, the build and the function round the cited line
/// at the commit that ran, which is not the newest one; and it has the same bytes when it is asked for again. The bundle
/// that it names is stored.
#[test]
fn a_prompt_has_evidence_and_code() {
    let repository = sources();
    let sha = repository.head();
    let tracerag = replayed_with(&sha, &Value::Null);
    repository.write("payments/rounding.go", "package payments\n");
    repository.commit();
    let repo = format!("payments={}", repository.path().display());
    let arguments = ["prompt", "--max-tokens", "4000", "--repo", &repo, TRACE];
    let ran = tracerag.run(&arguments);
    tokens(&ran, 4_000);
    let id = tracerag.bundle(TRACE)["bundle_id"].as_str().unwrap().to_owned();
    for wanted in [
        "decimal overflow",
        "[span:c3c3c3c3c3c3c3c3]",
        "[flag:payments.decimal_mode@payments] = strict",
        "[build:payments@1.9.0]",
        &format!("payments/rounding.go at {}, function Round", &sha[..12]),
        ">  117  \t\tpanic(\"decimal overflow\")",
        "12.345678901234567890",
        &format!("\"bundle_id\": \"{id}\""),
    ] {
        assert!(ran.stdout.contains(wanted), "{wanted} in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("jane.doe@example.org"));
    assert_eq!(tracerag.run(&arguments).stdout, ran.stdout);
    assert_eq!(tracerag.done(&["prompt", "--max-tokens", "4000", "--repo", &repo, &id]), ran.stdout);
}

/// A room that is too small is wrong use, a repository without the commit and a folder without a repository are errors,
/// each with nothing on standard output. Without a repository there is a prompt that says so.
#[test]
fn what_a_prompt_lacks_is_said() {
    let tracerag = replayed();
    let repository = sources();
    let here = format!("payments={}", repository.path().display());
    let nowhere = format!("payments={}", tracerag.path("no-folder").display());
    for (arguments, status, wanted) in [
        (vec!["prompt", "--max-tokens", "100", TRACE], 2, "too few"),
        (vec!["prompt", "--repo", "payments", TRACE], 2, "NAME=VALUE"),
        (vec!["prompt", "--repo", &here, TRACE], 1, "has no commit a1b2c3d"),
        (vec!["prompt", "--repo", &nowhere, TRACE], 1, "is not a git repository"),
        (vec!["prompt", "ffffffffffffffffffffffffffffffff"], 1, "trace-unknown"),
    ] {
        let ran = tracerag.run(&arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{arguments:?}: {}", ran.stderr);
    }
    let ran = tracerag.run(&["prompt", TRACE]);
    tokens(&ran, 8_000);
    assert!(ran.stdout.contains("no repository was named"), "{}", ran.stdout);
}

/// The recorded decimal overflow in 4,000 tokens: the flag that brought it, the build that has it and the message stand
/// there, and all of it in less room than was given.
#[test]
fn the_recorded_cause_is_in_a_small_prompt() {
    let tracerag: Tracerag = checkout::replayed(&[]);
    let overflows = "select trace_id from failures where service_name = 'payments' and message like '%decimal overflow%' \
                     and trace_id is not null order by time, trace_id limit 1";
    let rows = tracerag.sql(overflows);
    let ran = tracerag.run(&["prompt", "--max-tokens", "4000", rows[0]["trace_id"].as_str().unwrap()]);
    tokens(&ran, 4_000);
    for wanted in ["[flag:payments.decimal_mode@", "[build:payments@", "decimal overflow", "## Form of claims"] {
        assert!(ran.stdout.contains(wanted), "{wanted} in {}", ran.stdout);
    }
}
