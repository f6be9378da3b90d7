//! Agents, evaluated by the program on the suite of the checkout example, offline.

use std::path::Path;

use serde_json::{Value, json};

use crate::scaffold::Example;
use crate::support::program::{Ran, Tracerag};
use crate::support::telemetry;

/// A figure of a report.
fn figure(report: &Value, variant: &str, name: &str) -> Option<f64> {
    report["figures"][variant][name]["value"].as_f64()
}

fn suite() -> String {
    telemetry::checkout("suite").display().to_string()
}

/// The command of the reference agent.
fn reference(python: &Path) -> String {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/agent/reference.py");
    format!("'{}' '{}'", python.display(), agent.display())
}

/// Runs a suite; the report that was written into `folder`.
fn run(tracerag: &Tracerag, variables: &[(String, String)], agent: &str, folder: &str, more: &[&str]) -> (Ran, Value) {
    let (suite, out) = (suite(), tracerag.path(folder));
    let arguments = ["eval", "run", &suite, "--agent", agent, "--out", out.to_str().unwrap()];
    let ran = tracerag.run_with(variables, &[&arguments[..], more].concat());
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let reports: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    let json = reports.iter().find(|path| path.extension().is_some_and(|ending| ending == "json")).unwrap();
    for ending in ["md", "html"] {
        assert!(json.with_extension(ending).exists(), "{ending} beside {}", json.display());
    }
    let report = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    (ran, report)
}

/// By incident, what the verifier said and how much of the cause was found.
fn claimed(report: &Value) -> Vec<(String, i64, i64, f64)> {
    let rows = report["rows"].as_array().unwrap().iter();
    let of_row = |row: &Value| {
        let number = |name: &str| row[name].as_i64().unwrap();
        let incident = row["incident"].as_str().unwrap().to_owned();
        (incident, number("claims"), number("claims_accepted"), row["causes_found"].as_f64().unwrap())
    };
    rows.map(of_row).collect()
}

/// The reference agent explains all incidents of the suite: every claim holds, and at least a part of each cause is named.
/// With services, flags and messages renamed it says as much, for it goes by no name. Without telemetry it says nothing.
#[test]
fn the_reference_agent_goes_by_no_name() {
    let tracerag = Tracerag::new();
    let agent = reference(Path::new("python3"));
    let full = ["--no-tests", "--variant", "full"];
    let (ran, report) = run(&tracerag, &[], &agent, "as-recorded", &full);
    assert!(ran.stdout.contains("| grounding precision | 1.00 [1.00, 1.00] |"), "{}", ran.stdout);
    assert_eq!(report["isolation"], Value::Null, "no tests ran");
    let told = claimed(&report);
    assert!(told.len() >= 8, "{told:?}");
    for (incident, claims, accepted, causes) in &told {
        assert!(claims == accepted && *claims > 0 && *causes > 0.0, "{incident}: {claims} {accepted} {causes}");
    }
    let (_, renamed) = run(&tracerag, &[], &agent, "renamed", &[&full[..], &["--renamed"]].concat());
    assert_eq!(claimed(&renamed), told);
    let (_, blind) = run(&tracerag, &[], &agent, "blind", &["--no-tests", "--variant", "code_only"]);
    assert_eq!(figure(&blind, "code_only", "causes_found"), Some(0.0));
    assert_eq!(figure(&blind, "code_only", "answered_rate"), Some(1.0));
}

/// What a variant withholds reaches the agent neither with its task nor by a tool, and everything else does.
#[test]
fn variants_withhold_their_sections() {
    let tracerag = Tracerag::new();
    let agent = reference(Path::new("python3"));
    let more = ["--no-tests", "--incident", "decimal-overflow", "--incident", "ledger-pages"];
    let (_, report) = run(&tracerag, &[], &agent, "variants", &more);
    let causes = |variant: &str| figure(&report, variant, "causes_found").unwrap();
    assert!(causes("without_flags") < causes("full"), "{report:#}");
    assert!(causes("without_heap") < causes("full"), "{report:#}");
    assert_eq!(causes("without_logs"), causes("full"), "{report:#}");
    assert_eq!(causes("code_only"), 0.0);
}

/// An agent that says nothing, one that speaks something else, and one that never ends: the run goes on to its end, and
/// the report says of each what it did. Two reports can be compared, and only those of one suite.
#[test]
fn bad_agents_are_reported() {
    let tracerag = Tracerag::new();
    // Only the last one is to be stopped, so only that is given little time.
    for (agent, wanted, folder, seconds) in [
        ("exit 0", "silent", "silent", "60"),
        ("echo hello", "broken", "broken", "60"),
        ("sleep 600", "timed_out", "endless", "1"),
    ] {
        let more = ["--no-tests", "--variant", "full", "--incident", "missing-field", "--seconds", seconds];
        let (_, report) = run(&tracerag, &[], agent, folder, &more);
        assert_eq!(report["rows"][0]["ended"], wanted, "{report:#}");
        assert_eq!(figure(&report, "full", "answered_rate"), Some(0.0));
        assert_eq!(figure(&report, "full", "grounding_precision"), Some(0.0));
    }
    let report = |folder: &str| {
        let mut found = std::fs::read_dir(tracerag.path(folder)).unwrap().map(|entry| entry.unwrap().path());
        found.find(|path| path.extension().is_some_and(|ending| ending == "json")).unwrap().display().to_string()
    };
    let text = tracerag.done(&["eval", "compare", &report("silent"), &report("broken")]);
    assert!(text.contains("| full | answered | 0 | 0 | 0 [0, 0] | 1 | unclear |"), "{text}");
    let other = std::fs::read_to_string(report("silent")).unwrap().replace("\"checkout\"", "\"else\"");
    let other = tracerag.write("other.json", other).display().to_string();
    assert_eq!(tracerag.run(&["eval", "compare", &report("silent"), &other]).status, 2);
    assert_eq!(tracerag.run(&["eval", "run", &suite(), "--agent", "exit 0", "--incident", "nothing"]).status, 2);
    assert_eq!(tracerag.run(&["eval", "run", "/nowhere", "--agent", "exit 0"]).status, 1);
}

/// An agent whose patch takes a test's place, and one whose patch alters how Python finds modules. Guarantees that neither
/// patch is tried: both count as not fixed and break nothing, and the report says which file it is.
#[test]
fn patches_of_tests_are_refused() {
    let Some(example) = Example::find() else { return };
    let tracerag = Tracerag::new();
    let more = ["--variant", "full", "--incident", "missing-field"];
    for (number, path) in ["unittests/test_suite_missing_field.py", "sitecustomize.py"].into_iter().enumerate() {
        let head = format!("diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n");
        let last = json!({"type": "final", "patch": format!("{head}@@ -0,0 +1 @@\n+pass\n")});
        let file = tracerag.write(&format!("final-{number}.json"), format!("{last}\n"));
        let agent = format!("cat '{}'", file.display());
        let (ran, report) = run(&tracerag, &example.variables, &agent, &format!("refused-{number}"), &more);
        let row = &report["rows"][0];
        assert_eq!((&row["fix"], &row["others"]), (&json!("refused"), &json!("refused")), "{report:#}");
        assert!(row["refused"].as_str().unwrap().contains(path), "{report:#}");
        assert_eq!(figure(&report, "full", "fix_rate"), Some(0.0), "{report:#}");
        assert_eq!(figure(&report, "full", "regression_rate"), None, "{report:#}");
        assert!(ran.stdout.contains("| none | refused | refused |"), "{}", ran.stdout);
    }
}

/// Two incidents to their ends, one in Go and one in Python: the labels hold, the agent's tests from evidence are red on
/// the builds, and where the failure came with a release its revert mends it and breaks nothing. With all names replaced
/// it is the same.
#[test]
fn tests_are_red_and_a_revert_is_green() {
    let Some(example) = Example::find() else { return };
    let tracerag = Tracerag::new();
    let agent = reference(&example.place("CHECKOUT_PYTHON"));
    let more = ["--variant", "full", "--incident", "decimal-overflow", "--incident", "missing-field"];
    for (folder, renamed) in [("as-recorded", &[][..]), ("renamed", &["--renamed"][..])] {
        let (_, report) = run(&tracerag, &example.variables, &agent, folder, &[&more[..], renamed].concat());
        assert_eq!(figure(&report, "full", "reproduction_rate"), Some(1.0), "{report:#}");
        assert_eq!(figure(&report, "full", "fix_rate"), Some(0.5), "{report:#}");
        assert_eq!(figure(&report, "full", "regression_rate"), Some(0.0), "{report:#}");
        assert_eq!(report["rows"][0]["fix"], "green", "{report:#}");
        assert_eq!(report["isolation"]["seconds"], 300, "{report:#}");
        assert!(report["isolation"]["network"].is_boolean(), "{report:#}");
    }
}
