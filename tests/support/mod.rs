//! What the end-to-end tests stand on: a real Kafka broker, a real OpenTelemetry Collector, a real S3 server, clients of
//! others, and telemetry.
//!
//! `./check` fetches and builds the parts and names them in the environment:
//!
//! | variable | names |
//! | --- | --- |
//! | `TRACERAG_TEST_KAFKA_LIBS` | a folder with Kafka's jars |
//! | `TRACERAG_TEST_COLLECTOR` | the Collector's binary |
//! | `TRACERAG_TEST_TELEMETRYGEN` | the load generator's binary |
//! | `TRACERAG_TEST_VERSITYGW` | the S3 server's binary |
//! | `TRACERAG_TEST_CLIENTS` | a folder with database drivers, agents' clients and what drives a browser, see [`clients`] |
//! | `TRACERAG_TEST_CHECKOUT` | `examples/checkout/run.sh`, once what it needs is there |
//! | `TRACERAG_TEST_DATA` | a folder with more real telemetry than this repository has |
//! | `TRACERAG_TEST_WRITE_DOCS` | set: the answers in `docs/questions.md` and the pictures in `docs/screenshots` are made anew, see `tests/questions.rs` and `tests/page.rs` |
//! | `TRACERAG_TEST_SKIP_KAFKA` | set: tests that need a broker, an S3 server or the clients are left out without a word |
//!
//! A test whose part is missing says so in one line and passes, so that `cargo test` works on any machine; with
//! `CI=true` it fails instead.

#![allow(dead_code)]

pub mod balancer;
pub mod broker;
pub mod client;
pub mod clients;
pub mod collector;
pub mod damage;
pub mod evidence;
pub mod kafka;
pub mod load;
pub mod made;
mod parts;
pub mod personal;
pub mod process;
pub mod program;
pub mod repository;
pub mod s3;
pub mod secured;
pub mod served;
pub mod telemetry;
pub mod tenants;
pub mod token_endpoint;
pub mod truth;

pub use parts::{free_port, in_time, note, part, wait_for};
