//! tracerag: OpenTelemetry on Kafka in; SQL, similar incidents and evidence bundles out.
//!
//! This crate reads the configuration and wires the stages:
//! `tracerag_ingest` (bytes to Arrow) to `tracerag_enrich` (the trace window) to `tracerag_index`
//! (the lake), and `tracerag_query` on top of the lake.
//!
//! - **In:** the command line, `tracerag.toml`, Kafka or files.
//! - **Out:** a lake; answers on stdout, progress and logs on stderr.
//!
//! ```no_run
//! // What `tracerag sql "select count(*) from spans"` does:
//! # fn main() { tracerag::main(); }
//! ```

mod beside;
mod changes;
mod check;
mod cli;
mod commands;
mod config;
mod error;
mod eval;
mod events;
mod export;
mod keying;
mod output;
mod patch;
mod patience;
mod pipeline;
mod prompt;
mod pull_request;
mod repository;
mod scaffold;
mod server;
mod source;
mod telemetry;
mod trial;
mod upkeep;
mod worker;

use std::process::ExitCode;

pub use cli::main;
pub use config::{Config, ConfigError, Overrides};
pub use error::Error;

/// Exit status for wrong use, as for clap's own errors.
const WRONG_USE: u8 = 2;

fn exit(code: u8) -> ExitCode {
    ExitCode::from(code)
}
