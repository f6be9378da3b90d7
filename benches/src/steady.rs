//! A load that goes on at one rate, a message a trace, while something else is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::broker::Producer;
use crate::rich::Traces;

/// How often what is due is sent.
const TICK: Duration = Duration::from_millis(100);

/// Sends until it is told to end. Dropping it ends it as well.
pub struct Steady {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64, String>>>,
}

impl Steady {
    /// Starts to send that many spans a second, keyed by trace id.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub fn start(broker: &str, topic: &str, spans_per_second: u64, traces: Traces) -> Outcome<Self> {
        let producer = Producer::new(broker, topic)?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            // The thread's answer must be `Send`, which a boxed error is not.
            run(&producer, spans_per_second, traces, &told).map_err(|error| error.to_string())
        });
        Ok(Self { ends, thread: Some(thread) })
    }

    /// Ends it; gives the number of spans that the broker has taken.
    ///
    /// # Errors
    /// When not all of them could be sent.
    pub fn end(mut self) -> Outcome<u64> {
        self.ends.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(sent)) => Ok(sent?),
            _ => Err("the thread that sends the load failed".into()),
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn run(producer: &Producer, spans_per_second: u64, mut traces: Traces, ends: &AtomicBool) -> Outcome<u64> {
    let begun = Instant::now();
    let mut sent = 0_u64;
    while !ends.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * spans_per_second as f64) as u64;
        while sent < due {
            let trace = traces.draw();
            producer.send(Some(&trace.id), &trace.encoded, None)?;
            sent += trace.spans as u64;
        }
        std::thread::sleep(TICK);
    }
    producer.flush()?;
    Ok(sent)
}
