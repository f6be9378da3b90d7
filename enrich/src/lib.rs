//! The trace window, as-of joins and sampling: batches and a time in, closed traces out.
//!
//! Nothing here does I/O or looks at a clock: what comes out is a function of what was handed in.
//!
//! - **In:** batches of [`Table::Spans`] and [`Table::Logs`] in their in-flight schema, rows of one source
//!   partition at a time and in offset order; changes of flags and deployments in their lake schema; the
//!   record times that move stream time.
//! - **Out:** [`Flushed`]: the spans and logs of closed traces, still in flight, clustered by trace; one
//!   `traces` row a trace, and `flags` and `builds` rows that the telemetry itself brought, in lake schema.
//!
//! [`Table::Spans`]: tracerag_schemas::Table::Spans
//! [`Table::Logs`]: tracerag_schemas::Table::Logs
//!
//! ```
//! use tracerag_enrich::{ResumeState, Window, WindowConfig};
//! use tracerag_schemas::SourcePartition;
//!
//! let source = SourcePartition::new("cluster", "otlp_spans", 0);
//! let mut window = Window::new(WindowConfig::default());
//! window.assign(&[ResumeState::fresh(source.clone())]);
//! // For every batch: `advance` to its greatest record time, then push it; then, now and then, `flush`.
//! window.advance(&source, 1_700_000_000_000_000_000, 42)?;
//! let flushed = window.flush()?;
//! assert_eq!(flushed.traces.num_rows(), 0);
//! assert_eq!(window.low_watermark(&source), Some(42));
//! # Ok::<(), tracerag_enrich::Error>(())
//! ```

mod columns;
mod error;
mod gather;
mod join;
mod sampling;
mod stream_time;
#[cfg(test)]
mod testing;
mod window;

pub use error::{Error, Result};
pub use sampling::{Candidate, Decision, KeepAll, Sampler};
pub use window::Window;
pub use window::config::WindowConfig;
pub use window::flushed::{CloseReason, Closed, Counts, Flushed, Progress};
pub use window::resume::{ResumeState, ResumedTrace};
pub use window::revise::revise;
