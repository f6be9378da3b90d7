//! The jobs of `examples/ci`: their steps, run by bash with the variables that the platforms set, against a real server.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::program::Ran;
use crate::support::served::Served;
use crate::verify::claims;
use crate::worked_example::{TRACE, replayed};

const GITHUB: &str = include_str!("../examples/ci/github-actions.yml");
const GITLAB: &str = include_str!("../examples/ci/gitlab-ci.yml");

/// The block of text below a line of YAML that ends with `|`, without its indentation.
fn block(yaml: &str, head: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != head).skip(1).peekable();
    let first = lines.peek().unwrap_or_else(|| panic!("there is no {head}"));
    let depth = first.len() - first.trim_start().len();
    let inside = lines.take_while(|line| line.trim().is_empty() || line.len() - line.trim_start().len() >= depth);
    inside.map(|line| format!("{}\n", line.get(depth..).unwrap_or_default())).collect()
}

/// Members of a map of YAML below a line, up to the next one that is not deeper.
fn members(yaml: &str, head: &str) -> BTreeMap<String, String> {
    let head_of = |line: &str| line.len() - line.trim_start().len();
    let mut lines = yaml.lines().skip_while(|line| line.trim() != head);
    let depth = head_of(lines.next().unwrap_or_else(|| panic!("there is no {head}")));
    let inside = lines.take_while(|line| head_of(line) > depth).map(str::trim).filter(|line| !line.starts_with('#'));
    inside
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line} is no member")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A platform: its script, and the variables with which it starts it.
struct Job {
    script: String,
    variables: BTreeMap<String, String>,
}

/// GitHub puts values in the place of expressions, in the variables of a step; there must be none in its script.
fn github(url: &str, token: &str, description: &str) -> Job {
    let script = block(GITHUB, "run: |");
    assert!(!script.contains("${{"), "text of others would become a part of the script");
    let mut variables = members(GITHUB, "env:");
    for value in variables.values_mut() {
        *value = match value.as_str() {
            "${{ vars.TRACERAG_URL }}" => url.to_owned(),
            "${{ secrets.TRACERAG_TOKEN }}" => token.to_owned(),
            "${{ vars.CLAIMS_FILE }}" => String::new(),
            "${{ github.event.pull_request.body }}" => description.to_owned(),
            other => panic!("an expression that GitHub does not have: {other}"),
        };
    }
    Job { script, variables }
}

/// GitLab sets variables of the project and of the merge request, and runs the lines of the script in one shell.
fn gitlab(url: &str, token: &str, description: &str) -> Job {
    let export = GITLAB.lines().find_map(|line| line.trim().strip_prefix("- export ")).expect("it exports");
    let script = format!("export {export}\n{}", block(GITLAB, "- |"));
    let variables = [
        ("TRACERAG_URL", url),
        ("TRACERAG_TOKEN", token),
        ("CI_PIPELINE_SOURCE", "merge_request_event"),
        ("CI_MERGE_REQUEST_DESCRIPTION", description),
    ];
    Job { script, variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into() }
}

impl Job {
    /// Runs it in a checkout, with nothing in its environment but this.
    fn run(&self, checkout: &Path) -> Ran {
        let programs = Path::new(env!("CARGO_BIN_EXE_tracerag")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut bash = Command::new("bash");
        // As both platforms start it.
        bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &self.script]).current_dir(checkout).env_clear();
        bash.env("PATH", format!("{}:{path}", programs.display())).env("HOME", checkout).env("CI", "true");
        bash.env("no_proxy", "*").envs(&self.variables);
        Ran::from(bash.output().expect("bash starts"))
    }
}

/// A description as `tracerag pr-body` writes it: claims in a block of JSON, beside text that would do harm if it were run.
fn description(claims: &Value) -> String {
    format!(
        "## Keep all digits\n\n`$(touch harm)` \"; touch harm; ${{HOME}}\n\n```json\n{{\"other\": 1}}\n```\r\n\n\
         ```json\n{claims:#}\n```\n\nThe end.\n"
    )
}

/// Claims that hold let the job of each platform pass, from the description and from a file of the repository; a changed
/// one stops it with the report, and so do no claims, claims without a bundle, and a token that is none. Nothing that
/// stands in the description is run.
#[test]
fn jobs_pass_with_true_claims_only() {
    let served = Served::start(replayed(), "");
    let token = served.token("default", "read,heap");
    let url = format!("http://127.0.0.1:{}", served.port);
    let id = served.tracerag.bundle(TRACE)["bundle_id"].as_str().unwrap().to_owned();
    let good = claims(&id);
    let mut bad = good.clone();
    bad["claims"][0]["quotes"][0]["text"] = json!("decimal overflows");
    let mut without = good.clone();
    without["bundle_id"] = json!("none");
    for platform in [github, gitlab] {
        let checkout = tempfile::tempdir().unwrap();
        let run = |token: &str, description: &str| platform(&url, token, description).run(checkout.path());
        let ran = run(&token, &description(&good));
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("6 of 6 claims hold"), "{}", ran.stdout);
        let ran = run(&token, &description(&bad));
        assert_eq!(ran.status, 1, "{}", ran.stdout);
        assert!(ran.stdout.contains("quote: log:1 does not contain"), "{}", ran.stdout);
        for (token, description, wanted) in [
            (token.as_str(), "Mend it.", "there are no claims"),
            (token.as_str(), "", "there are no claims"),
            (token.as_str(), description(&without).as_str(), "name no bundle"),
            ("none", description(&good).as_str(), ""),
        ] {
            let ran = run(token, description);
            assert_ne!(ran.status, 0, "{wanted}: {}", ran.stdout);
            assert!(ran.stderr.contains(wanted), "{wanted}: {}", ran.stderr);
        }
        // A file of the repository comes first.
        std::fs::write(checkout.path().join("claims.json"), bad.to_string()).unwrap();
        assert_eq!(run(&token, &description(&good)).status, 1);
        std::fs::write(checkout.path().join("claims.json"), good.to_string()).unwrap();
        assert_eq!(run(&token, "").status, 0);
        assert!(!checkout.path().join("harm").exists());
    }
}
