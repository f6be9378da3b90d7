//! What an epoch asks of S3: the epochs of [`super::journal`], written to a server on this machine that logs each request.
//!
//! The first epoch makes the datasets of the day and is not counted. Every dataset that an epoch touches, journal and
//! heads among them, costs a file, a look whether somebody was quicker, and a manifest; the journal and the heads are
//! looked at once more.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tracerag_index::{Lake, LakeOptions, Writer};
use tracerag_schemas::SourcePartition;

use super::journal::{self, Rows, SPANS_PER_EPOCH, cut, epoch, spans_of};
use crate::{Outcome, machine};

const USER: &str = "bench";
const PASSWORD: &str = "bench-password";
const BUCKET: &str = "bench";
/// How long the server may take until it listens.
const START: Duration = Duration::from_secs(30);
/// Datasets that every epoch touches beside its tables: journal and heads.
const ALWAYS: usize = 2;

/// A server on a folder; dropping it ends it.
struct Server {
    child: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(binary: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("objects").join(BUCKET))?;
        fs::create_dir(path("attributes"))?;
        // The port is free again when the listener goes.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let child = Command::new(binary)
            .args(["--access", USER, "--secret", PASSWORD, "--quiet", "--port", address.as_str(), "--access-log"])
            .arg(path("access.log"))
            .args(["posix", "--sidecar"])
            .args([path("attributes"), path("objects")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, address, folder };
        let begun = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            if begun.elapsed() > START {
                return Err(format!("{binary} does not listen after {START:?}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn lake(&self) -> LakeOptions {
        let options = [
            ("aws_access_key_id", USER),
            ("aws_secret_access_key", PASSWORD),
            ("aws_region", "us-east-1"),
            ("allow_http", "true"),
        ];
        let mut storage_options = BTreeMap::from(options.map(|(name, value)| (name.to_owned(), value.to_owned())));
        storage_options.insert(String::from("aws_endpoint"), format!("http://{}", self.address));
        let storage_options = storage_options.into_iter().collect();
        LakeOptions { storage_options, ..LakeOptions::new(format!("s3://{BUCKET}/lake")) }
    }

    /// Requests so far by kind, as the server has logged them.
    fn requests(&self) -> Outcome<BTreeMap<String, usize>> {
        count(&self.folder.path().join("access.log"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell of any other failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn count(log: &Path) -> Outcome<BTreeMap<String, usize>> {
    let mut requests = BTreeMap::new();
    for line in fs::read_to_string(log)?.lines() {
        if let Some(kind) = line.split(' ').find_map(|word| word.strip_prefix("s3_")) {
            *requests.entry(kind.to_owned()).or_default() += 1;
        }
    }
    Ok(requests)
}

/// Takes the rows of a lake apart into epochs, writes them to S3, and prints the requests.
///
/// # Errors
/// When the lake cannot be read, has no spans or too few for two epochs, or the server does not work.
pub async fn run(lake: &str, server: &str, sizes: &[usize]) -> Outcome<()> {
    println!("{}", machine::describe());
    let rows = journal::read(lake).await?;
    let sizes = if sizes.is_empty() { &SPANS_PER_EPOCH[..] } else { sizes };
    for size in sizes {
        let epochs = cut(&rows, spans_of(&rows).div_ceil((*size).max(1)));
        let [first, rest @ ..] = epochs.as_slice() else { return Err("there are no epochs".into()) };
        if rest.is_empty() {
            return Err(format!("{size} spans are one epoch; give fewer").into());
        }
        let server = Server::start(server)?;
        let mut writer = Writer::new(Lake::open_or_create(server.lake()).await?, String::from("bench")).await?;
        let source = SourcePartition::new("bench", "otlp_spans", 0);
        writer.claim(std::slice::from_ref(&source)).await?;
        writer.write(epoch(&source, 0, first)).await?;
        let before = server.requests()?;
        for (number, rows) in (1..).zip(rest) {
            writer.write(epoch(&source, number, rows)).await?;
        }
        print(rest, &before, &server.requests()?);
    }
    Ok(())
}

fn print(epochs: &[Rows], before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) {
    let spans: usize = epochs.iter().map(spans_of).sum();
    let touched: usize = epochs.iter().map(|rows| rows.len() + ALWAYS).sum();
    println!("{spans} spans in {} epochs, {touched} commits", epochs.len());
    println!("{:<28} {:>8} {:>10} {:>16}", "", "requests", "an epoch", "a million spans");
    let line = |name: &str, requests: usize| {
        let count = requests as f64;
        let (epochs, millions) = (epochs.len() as f64, spans as f64 / 1e6);
        println!("{name:<28} {requests:>8} {:>10.1} {:>16.0}", count / epochs, count / millions);
    };
    let mut total = 0;
    for (kind, requests) in after {
        let made = requests - before.get(kind).copied().unwrap_or(0);
        total += made;
        line(kind, made);
    }
    line("all", total);
    line("bound: 3 a commit, 2 an epoch", 3 * touched + 2 * epochs.len());
}
