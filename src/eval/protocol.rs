//! `tracerag.agent/1`: how an agent is asked. It is any program; each message is one line of JSON. On its standard input
//! come the task and the answers to its calls, on its standard output it calls tools and, last, says what it found. What
//! it writes to standard error is for people.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::trial::end;

/// The name of the protocol, as the task has it.
pub(crate) const PROTOCOL: &str = "tracerag.agent/1";
/// Bytes of one message of an agent; a longer one ends the conversation.
const MOST_BYTES: u64 = 8 << 20;

/// What an agent may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Seconds from the task to the last message.
    pub seconds: u64,
    /// Calls of tools.
    pub tool_calls: usize,
}

/// A message of an agent. Members that are not known are ignored, so that agents may say more to whoever reads along.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    /// A call of a tool.
    Tool {
        #[serde(default)]
        id: Value,
        tool: String,
        #[serde(default)]
        arguments: Map<String, Value>,
    },
    /// What the agent found. Nothing is read after it.
    Final(Box<Final>),
}

/// The last message of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Final {
    /// A document of claims as `verify` takes it: an object, or text.
    #[serde(default)]
    pub claims: Value,
    /// A diff that adds a failing test.
    #[serde(default)]
    pub test: Option<String>,
    /// A diff that mends the failure.
    #[serde(default)]
    pub patch: Option<String>,
    #[serde(default)]
    pub usage: Usage,
}

/// What the work took, as the agent says. Nobody can check it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Tokens of its model, in and out together.
    #[serde(default)]
    pub tokens: Option<f64>,
    /// What the model was paid, in US dollars.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// How often somebody had to help.
    #[serde(default)]
    pub interventions: Option<f64>,
}

/// A call that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallRow {
    pub tool: String,
    pub ok: bool,
    /// Milliseconds until the answer was there.
    pub ms: f64,
}

/// How a conversation went.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The last message, or why there is none.
    pub ended: Result<Final, Silence>,
    pub seconds: f64,
    pub calls: Vec<CallRow>,
}

/// Why an agent gave no last message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Silence {
    /// It does not start.
    #[error("the agent does not start: {0}")]
    NoStart(String),
    /// It closed its output.
    #[error("the agent ended without a final message")]
    Ended,
    /// It took too long.
    #[error("the agent took more than {0} s")]
    TimedOut(u64),
    /// It called too much.
    #[error("the agent called tools more than {0} times")]
    TooManyCalls(usize),
    /// What it wrote is no message.
    #[error("the agent does not speak tracerag.agent/1: {0}")]
    Broken(String),
}

impl Silence {
    /// In a word that programs know.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoStart(_) => "no_start",
            Self::Ended => "silent",
            Self::TimedOut(_) => "timed_out",
            Self::TooManyCalls(_) => "too_many_calls",
            Self::Broken(_) => "broken",
        }
    }
}

/// Asks an agent, a command for the shell, in a folder. `answer` does what a tool does.
pub(crate) fn converse(
    command: &str,
    folder: &std::path::Path,
    task: &Value,
    limits: Limits,
    mut answer: impl FnMut(&str, Map<String, Value>) -> Result<Value, String>,
) -> Conversation {
    let begun = Instant::now();
    let mut calls = Vec::new();
    let mut shell = Command::new("sh");
    {
        use std::os::unix::process::CommandExt as _;
        shell.arg("-c").arg(command).current_dir(folder).process_group(0);
    }
    let ended = match shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(mut child) => {
            let ended = talk(&mut child, task, limits, begun, &mut calls, &mut answer);
            // One that cannot be waited for has said what it had to say.
            let _ = end(&mut child);
            ended
        }
        Err(error) => Err(Silence::NoStart(error.to_string())),
    };
    Conversation { ended, seconds: begun.elapsed().as_secs_f64(), calls }
}

type Answer<'a> = dyn FnMut(&str, Map<String, Value>) -> Result<Value, String> + 'a;

fn talk(
    child: &mut Child,
    task: &Value,
    limits: Limits,
    begun: Instant,
    calls: &mut Vec<CallRow>,
    answer: &mut Answer<'_>,
) -> Result<Final, Silence> {
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { return Err(Silence::Ended) };
    let say = writer(input);
    let heard = reader(output);
    // The thread that writes ends with the agent, whose pipe breaks then.
    let _ = say.send(task.clone());
    let until = begun + Duration::from_secs(limits.seconds);
    loop {
        let line = match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => line.map_err(Silence::Broken)?,
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(Silence::TimedOut(limits.seconds)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Silence::Ended),
        };
        if line.trim().is_empty() {
            continue;
        }
        let message = serde_json::from_str(&line).map_err(|error| {
            let shown: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
            Silence::Broken(format!("{error} in {shown:?}"))
        })?;
        match message {
            Message::Final(last) => return Ok(*last),
            Message::Tool { .. } if calls.len() >= limits.tool_calls => {
                return Err(Silence::TooManyCalls(limits.tool_calls));
            }
            Message::Tool { id, tool, arguments } => {
                let asked = Instant::now();
                let done = answer(&tool, arguments);
                calls.push(CallRow { tool, ok: done.is_ok(), ms: asked.elapsed().as_secs_f64() * 1e3 });
                let reply = match done {
                    Ok(result) => json!({"type": "result", "id": id, "ok": true, "result": result}),
                    Err(error) => json!({"type": "result", "id": id, "ok": false, "error": error}),
                };
                let _ = say.send(reply);
            }
        }
    }
}

/// Writes messages in a thread of its own: an agent that does not read must not hold up the clock.
fn writer(mut input: ChildStdin) -> mpsc::Sender<Value> {
    let (say, said) = mpsc::channel::<Value>();
    std::thread::spawn(move || {
        for message in said {
            if writeln!(input, "{message}").and_then(|()| input.flush()).is_err() {
                break;
            }
        }
    });
    say
}

/// Reads lines in a thread of its own; what is no text or too long is an error.
fn reader(output: impl std::io::Read + Send + 'static) -> mpsc::Receiver<Result<String, String>> {
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            let read = output.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) | Err(_) => break,
                Ok(_) if line.len() as u64 >= MOST_BYTES && line.last() != Some(&b'\n') => {
                    Err(format!("a message has more than {MOST_BYTES} bytes"))
                }
                Ok(_) => String::from_utf8(line).map_err(|error| error.to_string()),
            };
            if give.send(line).is_err() {
                break;
            }
        }
    });
    take
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { seconds: 60, tool_calls: 2 };

    fn asked(script: &str, limits: Limits) -> Conversation {
        let folder = tempfile::tempdir().unwrap();
        let task = json!({"protocol": PROTOCOL, "type": "task", "trace_id": "t1"});
        converse(script, folder.path(), &task, limits, |tool, arguments| match tool {
            "run_sql" => Ok(json!({"rows": [arguments.get("query")]})),
            _ => Err(format!("tool-unknown: there is no tool {tool:?}")),
        })
    }

    /// An agent reads its task and calls tools; each call is answered under its id, well or with the error, and what it
    /// says last is taken, with what it used.
    #[test]
    fn an_agent_calls_and_ends() {
        let script = r#"read task
            echo '{"type": "tool", "id": 7, "tool": "run_sql", "arguments": {"query": "select 1"}}'; read first
            echo '{"type": "tool", "tool": "nothing"}'; read second
            case "$task$first$second" in *t1*'"id":7,"ok":true'*'select 1'*'"ok":false'*tool-unknown*) patch=good;; esac
            echo '{"type": "final", "claims": "it failed [log:0]", "patch": "'$patch'", "usage": {"tokens": 12}}'"#;
        let told = asked(script, LIMITS);
        let last = told.ended.unwrap();
        assert_eq!((last.patch.as_deref(), last.usage.tokens, last.test), (Some("good"), Some(12.0), None));
        let calls: Vec<(&str, bool)> = told.calls.iter().map(|call| (call.tool.as_str(), call.ok)).collect();
        assert_eq!(calls, [("run_sql", true), ("nothing", false)]);
    }

    /// An agent that says nothing, that writes something else, that calls without end, that never ends, and one that is
    /// not there: each is told apart, and none keeps the evaluation from going on.
    #[test]
    fn other_agents_are_told_apart() {
        for (script, wanted) in [
            ("exit 0", "silent"),
            ("echo hello", "broken"),
            ("echo '{\"type\": \"dance\"}'", "broken"),
            ("printf '\\377\\n'", "broken"),
            ("while :; do echo '{\"type\": \"tool\", \"tool\": \"run_sql\"}'; done", "too_many_calls"),
            ("exec /nowhere/at-all", "silent"),
        ] {
            let told = asked(script, LIMITS);
            assert_eq!(told.ended.unwrap_err().code(), wanted, "{script}");
        }
        let told = asked("sleep 600 & sleep 600", Limits { seconds: 1, ..LIMITS });
        assert_eq!(told.ended.unwrap_err(), Silence::TimedOut(1));
        assert!(told.seconds < 60.0, "{}", told.seconds);
    }
}
