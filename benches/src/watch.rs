//! Waiting until processes have done their work, and what they used up to then.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tracerag_index::{Lake, LakeOptions};
use tracerag_schemas::Table;

use crate::{Outcome, machine};

/// A run that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(1_800);

/// What the work took.
#[derive(Debug)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// CPU time of all its processes.
    pub cpu: Duration,
    /// From the start of the first process to the end of the work.
    pub wall: Duration,
    /// Greatest resident memory of any of its processes, in bytes.
    pub peak: u64,
}

/// Looks every half second whether the work is done; what the processes used up to then counts. `done` also says
/// whether they still run.
///
/// # Errors
/// Those of `done`, or when the work takes longer than half an hour.
pub fn until_done(
    name: &str,
    pids: &[u32],
    begun: Instant,
    mut done: impl FnMut() -> Outcome<bool>,
) -> Outcome<Measured> {
    loop {
        if done()? {
            return Ok(Measured {
                name: name.to_owned(),
                cpu: pids.iter().copied().map(machine::cpu_time_of).sum(),
                wall: begun.elapsed(),
                peak: pids.iter().copied().map(machine::peak_memory_of).max().unwrap_or(0),
            });
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("{name} is not done after {LIMIT:?}").into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// That a process runs.
///
/// # Errors
/// When it has ended.
pub fn alive(child: &mut Child) -> Outcome<()> {
    match child.try_wait()? {
        Some(status) => Err(format!("process {} ended early: {status}", child.id()).into()),
        None => Ok(()),
    }
}

/// The spans that the newest head of a lake shows. Asking it takes a look at one small table, so that it takes no CPU
/// from what is measured beside it, as a process with a query would.
pub struct ShownSpans {
    runtime: Runtime,
    uri: String,
    lake: Option<Lake>,
}

impl ShownSpans {
    /// Of a lake that may not be there yet.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn of(lake: &Path) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, uri: lake.display().to_string(), lake: None })
    }

    /// How many there are; `None` while the lake cannot be read.
    pub fn count(&mut self) -> Option<u64> {
        if self.lake.is_none() {
            self.lake = self.runtime.block_on(Lake::open(LakeOptions::new(self.uri.as_str()))).ok();
        }
        let head = self.runtime.block_on(self.lake.as_ref()?.newest_head()).ok()?;
        Some(head.of(Table::Spans).map(|(_, dataset)| dataset.rows).sum())
    }
}
