//! The whole loop on the recorded decimal overflow: from the failing trace to the description of its pull request, by the
//! commands that an agent and a build pipeline run.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::checkout::replayed_files;
use crate::scaffold::{Example, trace_of};
use crate::support::program::{Ran, Tracerag};
use crate::support::repository::TestRepository;
use crate::support::{free_port, telemetry};

/// The commit that the recording has for release 1.9.0, which was never one of a repository.
const RECORDED: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
const FAULTY: &str = "release_1_9_0.go";
/// Starts the service as the test wants it, once there is the test.
const COMMAND: &str = "if [ -f scaffold/run.sh ]; then bash scaffold/run.sh; else go test ./...; fi";
const RUN: &str = r#"
set -eu
go build -o "$TMPDIR/payments" ./cmd/payments
export FLAGS_FILE=$TMPDIR/flags.json OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 HEAP_FOLDER=$TMPDIR
export LISTEN=127.0.0.1:$PAYMENTS_PORT INVENTORY_URL=http://127.0.0.1:$INVENTORY_PORT SERVICE_INSTANCE_ID=payments-b-1
echo '{"flags": {}}' > "$FLAGS_FILE"
"$TMPDIR/payments" > "$TMPDIR/payments.log" 2>&1 &
payments=$!
trap 'kill "$payments"' EXIT
until (exec 3<>"/dev/tcp/127.0.0.1/$PAYMENTS_PORT") 2>/dev/null; do
  kill -0 "$payments" || { cat "$TMPDIR/payments.log"; exit 1; }
  sleep 0.1
done
SCAFFOLD_TARGET=$LISTEN SCAFFOLD_MOCK_INVENTORY=127.0.0.1:$INVENTORY_PORT SCAFFOLD_FLAGS_FILE=$FLAGS_FILE \
  go test -count=1 ./...
"#;

/// The lake of the recording, whose release 1.9.0 is the one commit of a repository.
struct Incident {
    example: Example,
    tracerag: Tracerag,
    repository: TestRepository,
    bundle: Value,
}

impl Incident {
    /// `None` where the example's tools are not there.
    fn find() -> Option<Incident> {
        let example = Example::find()?;
        let repository = release();
        let head = repository.head();
        let folder = tempfile::tempdir().unwrap();
        let files = telemetry::recording().map(|file| {
            let name = file.file_name().unwrap().to_str().unwrap().trim_end_matches(".zst").to_owned();
            let rewritten = folder.path().join(name);
            std::fs::write(&rewritten, telemetry::read(&file).replace(RECORDED, &head)).unwrap();
            rewritten
        });
        let tracerag = replayed_files(&files, &[]);
        let bundle = tracerag.bundle(&trace_of(&tracerag, "*payments.OverflowError"));
        Some(Incident { example, tracerag, repository, bundle })
    }

    fn id(&self) -> &str {
        self.bundle["bundle_id"].as_str().unwrap()
    }

    fn repo(&self) -> String {
        self.repository.path().display().to_string()
    }

    /// Runs a command about the bundle in the repository.
    fn run(&self, command: &str, more: &[&str]) -> Ran {
        let repo = self.repo();
        let about: &[&str] = match command {
            "guard-patch" | "try" => &["--bundle", self.id(), "--repo", &repo],
            _ => &["--bundle", self.id()],
        };
        self.tracerag.run_with(&self.example.variables, &[&[command][..], about, more].concat())
    }

    fn write(&self, name: &str, text: &str) -> String {
        self.tracerag.write(name, text).display().to_string()
    }

    /// Claims as an agent makes them: of what the bundle has, by a rule.
    fn claims(&self) -> String {
        let evidence = &self.bundle["evidence"];
        let failed = &evidence["failures"][0];
        let span = failed["span_id"].as_str().unwrap();
        let root = evidence["trace"]["root_span_id"].as_str().unwrap();
        format!(
            "payments 1.9.0 failed in strict mode [span:{span}] [flag:payments.decimal_mode@payments] \
             [build:payments@1.9.0] `version(\"payments\") = \"1.9.0\"` `status(span:{span}) = ERROR`.\n\n\
             payments said \"decimal overflow\" [failure:0] `exception_type(failure:0) = \"*payments.OverflowError\"`.\n\n\
             checkout called payments [span:{root}] [span:{span}] `ancestor(span:{root}, span:{span})`.\n"
        )
    }

    /// The test that the evidence gives, with what starts the service for it, as a diff.
    fn test(&self) -> String {
        let folder = self.repository.path().join("scaffold");
        let out = folder.to_str().unwrap();
        self.tracerag.done(&["scaffold", "--lang", "go", "--out", out, self.id()]);
        self.repository.write("scaffold/run.sh", RUN);
        self.repository.diff()
    }

    /// Arguments of `try` beside the diffs: what Go needs to build without network.
    fn needs(&self) -> Vec<String> {
        let mut needs = vec![String::from("--command"), COMMAND.to_owned()];
        let mut variable = |name: &str, value: &str| needs.extend([String::from("--env"), format!("{name}={value}")]);
        for (name, value) in &self.example.variables {
            if matches!(name.as_str(), "GOCACHE" | "GOFLAGS" | "GOWORK" | "CGO_ENABLED") {
                variable(name, value);
            }
        }
        variable("PAYMENTS_PORT", &free_port().to_string());
        variable("INVENTORY_PORT", &free_port().to_string());
        if !can_cut_the_network() {
            needs.extend(["--network", "--write-files"].map(String::from));
        }
        needs
    }

    fn tried(&self, test: &str, patch: &str, more: &[&str]) -> (i32, Value) {
        let (test, patch) = (self.write("test.diff", test), self.write("patch.diff", patch));
        let needs = self.needs();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        let ran = self.run("try", &[&["--test", &test, "--patch", &patch][..], &needs[..], more].concat());
        let record = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
        (ran.status, record)
    }
}

/// The sources of payments in the release with the fault alone: what build tags choose elsewhere is a commit here.
fn release() -> TestRepository {
    let mut files = Vec::new();
    gather(&telemetry::checkout("payments"), "", &mut files);
    files.retain(|(path, _)| !matches!(path.as_str(), "release_1_8_2.go" | "release_1_9_1.go"));
    for (path, text) in &mut files {
        if path == FAULTY {
            *text = text.replace("//go:build release_1_9_0\n", "// What stands here is changed by a release.\n");
        }
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    TestRepository::of(&files)
}

fn gather(folder: &Path, below: &str, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            gather(&entry.path(), &format!("{path}/"), files);
        } else {
            files.push((path, std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// The diff of the real fix: what release 1.9.1 has, in the place of what 1.9.0 had.
fn fix(repository: &TestRepository) -> String {
    let fixed = std::fs::read_to_string(telemetry::checkout("payments/release_1_9_1.go")).unwrap();
    let (_, code) = fixed.split_once("\n\n").unwrap();
    repository.write(FAULTY, code);
    repository.diff()
}

fn can_cut_the_network() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount", "true"]);
    unshare.output().is_ok_and(|ran| ran.status.success())
}

/// Bundle, prompt, claims that hold, a scaffolded test that is red on the commit of the trace with its failure and green
/// with the fix, a patch that keeps to the stack, a canary of the two recorded versions, and a description that says all of
/// it: each step takes what the one before gave.
#[test]
fn from_the_trace_to_the_pull_request() {
    let Some(incident) = Incident::find() else { return };
    let prompt = {
        let repo = format!("payments={}", incident.repo());
        incident.tracerag.done(&["prompt", "--max-tokens", "8000", "--repo", &repo, incident.id()])
    };
    assert!(prompt.contains("decimal overflow") && prompt.contains("func newOverflow"), "{prompt}");
    let claims = incident.write("claims.md", &incident.claims());
    let verified = incident.run("verify", &[&claims]);
    assert_eq!(verified.status, 0, "{}", verified.stdout);

    let (test, patch) = (incident.test(), fix(&incident.repository));
    let (status, record) = incident.tried(&test, &patch, &[]);
    assert_eq!((status, &record["outcome"]), (0, &json!("green")), "{record:#}");
    let runs: Vec<(&str, &str)> = record["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["step"].as_str().unwrap(), run["ended"].as_str().unwrap()))
        .collect();
    assert_eq!(runs, [("before", "passed"), ("test", "failed"), ("patch", "passed")]);
    assert_eq!(record["commit"], json!(incident.repository.head()));
    assert_eq!(record["lock_files"][0]["holds"], json!(true), "{record:#}");
    let trial = incident.write("try.json", &record.to_string());

    let diff = incident.write("patch.diff", &patch);
    let guarded = incident.run("guard-patch", &["--diff", &diff, "--format", "json"]);
    assert_eq!(guarded.status, 0, "{}", guarded.stdout);
    let guard = incident.write("guard.json", &guarded.stdout);
    let between = ["--baseline", "1.8.2", "--candidate", "1.9.1", "--since", "2026-01-01T00:00:00Z"];
    let canary = incident.run("canary", &[&["--service", "payments", "--format", "json"][..], &between].concat());
    let verdict: Value = serde_json::from_str(&canary.stdout).unwrap();
    assert_ne!(verdict["verdict"], "fail", "{verdict:#}");
    let canary = incident.write("canary.json", &canary.stdout);

    let given = ["--try", &trial, "--guard", &guard, "--canary", &canary, &claims];
    let body = incident.run("pr-body", &given);
    assert_eq!(body.status, 0, "{}", body.stderr);
    for wanted in [
        incident.id(),
        "payments 1.9.0 failed in strict mode",
        "`tracerag try`",
        &incident.repository.head(),
        "then green",
        FAULTY,
        "### Canary",
    ] {
        assert!(body.stdout.contains(wanted), "{wanted} in {}", body.stdout);
    }
    let fingerprint = incident.bundle["evidence"]["failures"][0]["fingerprint"].as_str().unwrap();
    let record = ["fix", "record", "--fingerprint", fingerprint, "--summary", "answer 422", "--try", &trial];
    incident.tracerag.done(&record);
    let fixes = incident.tracerag.sql("select bundle_id, test_name from fixes");
    assert_eq!(fixes[0]["bundle_id"], json!(incident.id()));
    assert!(fixes[0]["test_name"].as_str().unwrap().contains("scaffold/"), "{fixes:?}");
}

/// The same with one false claim: verification stops it with the reason, and no description is printed, whatever else
/// holds. A patch that changes nothing of the failure ends as still red, and its record describes no pull request.
#[test]
fn one_false_claim_stops_it() {
    let Some(incident) = Incident::find() else { return };
    let lie = incident.claims().replace("1.9.0", "1.9.1");
    let claims = incident.write("claims.md", &lie);
    let verified = incident.run("verify", &["--format", "json", &claims]);
    assert_eq!(verified.status, 1);
    let report: Value = serde_json::from_str(&verified.stdout).unwrap();
    let rejected: Vec<&Value> =
        report["claims"].as_array().unwrap().iter().filter(|claim| claim["accepted"] == false).collect();
    assert_eq!(rejected.len(), 1, "{report:#}");
    assert!(rejected[0]["reasons"].to_string().contains("existence: "), "{report:#}");
    let body = incident.run("pr-body", &[&claims]);
    assert_eq!((body.status, body.stdout.as_str()), (1, ""), "{}", body.stderr);
    assert!(body.stderr.contains("existence: "), "{}", body.stderr);

    let faulty = std::fs::read_to_string(incident.repository.path().join(FAULTY)).unwrap();
    let test = incident.test();
    incident.repository.write(FAULTY, &faulty.replace("512", "513"));
    let useless = incident.repository.diff();
    let (status, record) = incident.tried(&test, &useless, &[]);
    assert_eq!((status, &record["outcome"]), (1, &json!("still_red")), "{record:#}");
    let trial = incident.write("try.json", &record.to_string());
    let good = incident.write("good.md", &incident.claims());
    let body = incident.run("pr-body", &["--try", &trial, &good]);
    assert_eq!((body.status, body.stdout.as_str()), (1, ""), "{}", body.stderr);
    assert!(body.stderr.contains("still_red"), "{}", body.stderr);
}
