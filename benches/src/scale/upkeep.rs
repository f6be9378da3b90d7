//! How soon a new incident is found, and how slow an answer may be, while a worker writes, embeds and keeps the lake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::sync::Mutex;
use tracerag_index::incidents::Indexer;
use tracerag_index::{Lake, LakeOptions, MaintainOptions, Writer, maintain};

use super::asked::{Ask, Asked};
use super::{Setup, Times};
use crate::Outcome;
use crate::incidents::{self, Drawn, Shape};

/// How often an epoch is written, and how many new incidents it has.
const FLUSH: Duration = Duration::from_secs(2);
const NEW: usize = 500;
/// How often a worker embeds and keeps, as `tracerag run` does.
const EMBED_EVERY: Duration = Duration::from_secs(5);
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Looks for a new incident until it is found, and how long at most.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOK_FOR: Duration = Duration::from_secs(60);

/// Writes, embeds and keeps a lake until it is told to stop.
struct Worker {
    writer: Mutex<(Writer, i64)>,
    shape: Shape,
    stop: AtomicBool,
}

impl Worker {
    async fn start(lake: &Lake, shape: &Shape) -> Outcome<Arc<Self>> {
        let mut writer = Writer::new(lake.clone(), String::from("bench")).await?;
        writer.claim(&[incidents::source()]).await?;
        let head = lake.newest_head().await?;
        let to = head.sources.iter().filter_map(|source| source.next).max().unwrap_or(0);
        Ok(Arc::new(Self { writer: Mutex::new((writer, to)), shape: *shape, stop: AtomicBool::new(false) }))
    }

    /// Writes an epoch of new incidents; gives their messages and fingerprints from the first on.
    async fn write(&self, count: usize) -> Result<(Drawn, usize), String> {
        let mut writer = self.writer.lock().await;
        let from = usize::try_from(writer.1).unwrap_or_default().max(self.shape.all());
        // Numbers go on, and with them the tenants from the first one again.
        let drawn = Drawn::new(&mut SmallRng::seed_from_u64(from as u64), &self.shape, from, count);
        writer.1 = (from + count) as i64;
        let epoch = incidents::epoch(drawn.rows().map_err(told)?, writer.1, self.shape.now);
        writer.0.write(epoch).await.map_err(told)?;
        Ok((drawn, from))
    }

    async fn write_on(self: Arc<Self>) -> Result<(), String> {
        while !self.stop.load(Ordering::Relaxed) {
            self.write(NEW).await?;
            tokio::time::sleep(FLUSH).await;
        }
        Ok(())
    }

    async fn embed_on(self: Arc<Self>, lake: Lake) -> Result<(), String> {
        let mut indexer = Indexer::new(lake, incidents::embedding());
        while !self.stop.load(Ordering::Relaxed) {
            indexer.catch_up().await.map_err(told)?;
            tokio::time::sleep(EMBED_EVERY).await;
        }
        Ok(())
    }

    /// The first round comes at once, so that a short run has one.
    async fn keep_on(self: Arc<Self>, lake: Lake) -> Result<(), String> {
        let mut again = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            if Instant::now() >= again {
                again += KEEP_EVERY;
                maintain(&lake, &MaintainOptions::default()).await.map_err(told)?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// Measures both on a lake that is there, and prints them.
pub(super) async fn measure(setup: &Setup, uri: &str, shape: &Shape) -> Outcome<()> {
    let lake = Lake::open(LakeOptions::new(uri)).await?;
    let readers = Lake::open_to_ask(LakeOptions::new(uri)).await?;
    let worker = Worker::start(&lake, shape).await?;
    // Numbers that go on begin with the first tenant again.
    let asked = Asked::start(readers, &shape.tenant(0)).await?;
    let begun = Instant::now();
    let (drawn, number) = worker.write(1).await?;
    let written = begun.elapsed();
    let text = drawn.messages().first().cloned().unwrap_or_default();
    println!("a new incident is written in {:.0} ms", written.as_secs_f64() * 1e3);
    println!("  and found by its words {}", found(&asked, &text, number, false).await);
    let embedding = tokio::spawn(Arc::clone(&worker).embed_on(lake.clone()));
    println!("  and found by its vector {}, an indexer's start included", found(&asked, &text, number, true).await);
    let mut tasks = vec![embedding, tokio::spawn(Arc::clone(&worker).write_on())];
    tasks.push(tokio::spawn(Arc::clone(&worker).keep_on(lake)));
    let mut times = Times::new("POST /v1/similar beside upkeep");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(setup.seconds) {
        times.add(asked.ask(Ask::Similar, &text, "").await.map(|(time, _)| time));
    }
    worker.stop.store(true, Ordering::Relaxed);
    times.print();
    for task in tasks {
        task.await??;
    }
    asked.stop().await;
    Ok(())
}

/// How long it takes until a search finds an incident, with a vector if that is wanted.
async fn found(asked: &Asked, text: &str, number: usize, by_vector: bool) -> String {
    let fingerprint = incidents::fingerprint(number);
    let begun = Instant::now();
    while begun.elapsed() < LOOK_FOR {
        let answer = asked.ask(Ask::Similar, text, &fingerprint).await;
        let incidents = answer.as_ref().ok().and_then(|(_, answer)| answer["incidents"].as_array());
        let own = incidents.into_iter().flatten().find(|incident| incident["fingerprint"] == fingerprint.as_str());
        if own.is_some_and(|own| !by_vector || own["distance"] != Value::Null) {
            return format!("{:.0} ms after that", begun.elapsed().as_secs_f64() * 1e3);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    format!("not within {LOOK_FOR:?}")
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
