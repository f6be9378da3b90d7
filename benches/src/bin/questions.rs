//! How long a warm lake takes to answer: bundles by trace id, and similar incidents without the embedding.
//!
//! `cargo run --release -p tracerag-benches --bin questions -- LAKE [ROUNDS]`
//!
//! `questions make LAKE INCIDENTS` makes a lake with that many incidents. Bundles want the lake of a worker: `backlog`
//! keeps one.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use tracerag_benches::incidents::{self, Shape};
use tracerag_benches::machine;
use tracerag_index::{Lake, LakeOptions};
use tracerag_query::{Session, SessionOptions, SimilarRequest, bundle, json};

/// The present of a lake that is made: 2026-11-23 at noon, in ns.
const NOON: i64 = 1_795_435_200_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: questions LAKE [ROUNDS], or questions make LAKE INCIDENTS";
    let mut lake = arguments.next().ok_or(usage)?;
    if lake == "make" {
        lake = arguments.next().ok_or(usage)?;
        let incidents = arguments.next().ok_or(usage)?.parse()?;
        return incidents::make(&lake, &Shape { tenants: 1, incidents, seed: 42, now: NOON }).await;
    }
    let rounds: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    println!("{}", machine::describe());
    let lake = Lake::open_to_ask(LakeOptions::new(lake)).await?;
    // Hashing n-grams takes microseconds, so that what is measured is the search.
    let embedding = Some(incidents::embedding());
    let session = Session::open(&lake, SessionOptions { embedding, ..SessionOptions::new("default") }).await?;
    let ids =
        texts(&session, &format!("select distinct trace_id t from failures where trace_id is not null limit {rounds}"))
            .await?;
    let messages = texts(&session, &format!("select distinct message t from incident_counts limit {rounds}")).await?;
    let counts = texts(
        &session,
        "select (select count(*) from spans) || ' spans, ' || (select count(*) from incidents) || ' incidents' t",
    )
    .await?;
    println!("{}", counts.join(""));
    println!("{:<32} {:>8} {:>10} {:>10}", "", "rounds", "p50 ms", "p99 ms");
    let mut times = Vec::with_capacity(ids.len());
    for id in ids.iter().take(10).chain(&ids) {
        let begun = Instant::now();
        bundle::assemble(&session, id).await?;
        times.push(begun.elapsed());
    }
    report("evidence_bundle by trace id", times.split_off(times.len().min(10)));
    let mut times = Vec::with_capacity(messages.len());
    for message in messages.iter().take(10).chain(&messages) {
        let request = SimilarRequest { text: Some(message.clone()), k: 10, ..SimilarRequest::default() };
        let begun = Instant::now();
        session.similar(&request).await?;
        times.push(begun.elapsed());
    }
    report("similar incidents", times.split_off(times.len().min(10)));
    println!("peak {} MiB", machine::peak_memory() >> 20);
    Ok(())
}

async fn texts(session: &Session, query: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut texts = Vec::new();
    for batch in session.collect(query, None).await? {
        for row in json::rows(&batch)? {
            texts.extend(row.get("t").and_then(|value| value.as_str()).map(str::to_owned));
        }
    }
    Ok(texts)
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        times
            .get(((times.len() as f64 - 1.0) * share).max(0.0) as usize)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    println!("{name:<32} {:>8} {:>10.1} {:>10.1}", times.len(), at(0.5), at(0.99));
}
