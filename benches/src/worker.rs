//! Workers as processes of their own: `tracerag run` on one topic of spans, and what it says of itself.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::watch::alive;

/// How long a worker may take for an answer about itself.
const ANSWER: Duration = Duration::from_secs(2);

/// What workers have in common.
pub struct Setup<'a> {
    /// A broker's address.
    pub broker: &'a str,
    /// The program.
    pub program: &'a str,
    /// The topic of spans.
    pub topic: &'a str,
    /// The consumer group.
    pub group: &'a str,
    /// The lake's folder.
    pub lake: &'a Path,
    /// A folder for configurations and logs.
    pub folder: &'a Path,
    /// Further sections of the configuration.
    pub more: &'a str,
}

/// A running worker. Dropping it kills it, as `kill -9` does.
pub struct Worker {
    child: Child,
    /// Where it answers about itself.
    address: SocketAddr,
    log: PathBuf,
}

impl Worker {
    /// Starts a worker; its configuration and log are named after it in the folder.
    ///
    /// # Errors
    /// When the folder cannot be written, or the program cannot be started.
    pub fn start(setup: &Setup<'_>, name: &str) -> Outcome<Self> {
        let Setup { broker, program, topic, group, lake, folder, more } = setup;
        // The port is free again when the listener goes.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.join(format!("{name}.toml"));
        fs::write(
            &config,
            format!(
                "[kafka]\nbootstrap_servers = \"{broker}\"\ngroup_id = \"{group}\"\n\
                 [topics]\nspans = {{ topics = [\"{topic}\"] }}\nlogs = {{ topics = [] }}\nmetrics = {{ topics = [] }}\n\
                 flags = {{ topics = [] }}\ndeployments = {{ topics = [] }}\nheaps = {{ topics = [] }}\n\
                 [redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n[embedding]\nmodel = \"hashed-ngrams\"\n\
                 [metrics]\nlisten = \"{address}\"\n{more}"
            ),
        )?;
        let log = folder.join(format!("{name}.log"));
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .arg("--lake")
            .arg(lake)
            .arg("run")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok(Self { child, address, log })
    }

    /// That it runs.
    ///
    /// # Errors
    /// When it has ended, with its last words.
    pub fn check(&mut self) -> Outcome<()> {
        alive(&mut self.child).map_err(|error| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            format!("{error}: {}", log.lines().next_back().unwrap_or_default()).into()
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// A metric, summed over its labels; `None` as long as the worker does not give it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        sum(&self.get("/metrics")?.1, name)
    }

    /// Status and body of an answer.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell of any other failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a metric's values in Prometheus's text format.
fn sum(text: &str, name: &str) -> Option<f64> {
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        rest.rsplit_once(' ')?.1.parse().ok()
    };
    let values: Vec<f64> = text.lines().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::sum;

    /// Values of all labels count together, those of metrics with longer names and comments do not, and a metric that
    /// is not there yet is no zero: a worker without partitions has no lag, but has not caught up either.
    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE lag gauge\nlag{partition=\"0\"} 3\nlag{partition=\"1\"} 4.5\nlag_seconds 100\nopen 7\n";
        assert_eq!(sum(text, "lag"), Some(7.5));
        assert_eq!(sum(text, "open"), Some(7.0));
        assert_eq!(sum(text, "la"), None);
    }
}
