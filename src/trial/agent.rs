//! One refinement by an agent: any program that reads a line of JSON and answers with one.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process;

/// Bytes of an answer, of its beginning and of its end each.
const ANSWER: usize = 2 << 20;

/// What an agent is asked, as one line on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Question<'a> {
    /// `tracerag.try.refine/1`
    pub schema: &'static str,
    pub bundle_id: &'a str,
    /// All digits of the commit that both diffs apply to.
    pub commit: &'a str,
    /// The command that runs the tests.
    pub command: &'a str,
    pub test: &'a str,
    pub patch: &'a str,
    /// Why the patch does not do, in words.
    pub reason: &'a str,
    /// What the tests printed with it.
    pub output: &'a str,
}

pub(super) const REFINE_SCHEMA: &str = "tracerag.try.refine/1";

#[derive(Debug, Deserialize)]
struct Answer {
    patch: Option<String>,
    /// Why there is none.
    reason: Option<String>,
}

/// The patch of an agent, which applies to the commit and stands for the one before; or why there is none. The agent is
/// its user's own: it has the user's environment and network.
pub(super) fn refine(command: &str, question: &Question<'_>, limit: Duration) -> Result<String, String> {
    let mut line = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let ran = process::run(Command::new("sh").args(["-c", command]).stderr(Stdio::inherit()), &line, limit, ANSWER)
        .map_err(|error| format!("the agent does not start: {error}"))?;
    let printed = ran.printed.text();
    match ran.status {
        None => return Err(format!("the agent did not answer within {} s", limit.as_secs())),
        Some(status) if !status.success() => return Err(format!("the agent ended with {status}")),
        Some(_) => {}
    }
    let line = printed.lines().find(|line| !line.trim().is_empty()).ok_or("the agent answered nothing")?;
    let answer: Answer = serde_json::from_str(line)
        .map_err(|error| format!("the agent's answer is no line of JSON with a patch: {error}"))?;
    let none = || answer.reason.unwrap_or_else(|| String::from("the agent's answer has no patch"));
    answer.patch.filter(|patch| !patch.trim().is_empty()).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent reads one line and answers with one. One that gives up, ends badly or prints something else gives no
    /// patch, and it is said why.
    #[test]
    fn an_agent_answers_with_a_line() {
        let question = Question {
            schema: REFINE_SCHEMA,
            bundle_id: "sha256:00",
            commit: "a1b2c3d",
            command: "go test ./...",
            test: "test",
            patch: "patch",
            reason: "a test fails",
            output: "FAIL",
        };
        let ask = |command: &str| refine(command, &question, Duration::from_secs(60));
        let echo = r#"read -r line; case $line in *'"output":"FAIL"'*) echo '{"patch": "diff"}';; esac"#;
        assert_eq!(ask(echo), Ok(String::from("diff")));
        for (command, wanted) in [
            (r#"echo '{"reason": "no idea"}'"#, "no idea"),
            ("exit 3", "exit status: 3"),
            ("echo hello", "no line of JSON"),
            ("true", "answered nothing"),
        ] {
            let why = ask(command).err().unwrap_or_default();
            assert!(why.contains(wanted), "{command}: {why}");
        }
    }
}
