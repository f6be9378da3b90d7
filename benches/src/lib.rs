//! Benchmarks: a seeded load, the machine's figures, and workers to measure, shared by the programs in `src/bin`.
//!
//! - **In:** a seed, and for whole workers a broker and the program.
//! - **Out:** tables on stdout. Nothing here is a test: no figure fails a build.
//!
//! ```
//! let messages = tracerag_benches::rich::messages(42, 1_000);
//! assert_eq!(messages.spans, 1_000);
//! ```

/// The program's own allocator, so that figures are those of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(feature = "lake")]
pub mod analyst;
#[cfg(feature = "lake")]
pub mod broker;
pub mod decoding;
#[cfg(feature = "lake")]
pub mod disk;
#[cfg(feature = "lake")]
pub mod incidents;
pub mod machine;
#[cfg(feature = "lake")]
pub mod operations;
#[cfg(feature = "lake")]
pub mod quality;
pub mod reference;
pub mod rich;
#[cfg(feature = "lake")]
pub mod scale;
#[cfg(feature = "lake")]
pub mod steady;
pub mod trainticket;
#[cfg(feature = "lake")]
pub mod watch;
#[cfg(feature = "lake")]
pub mod worker;

/// What a program that measures comes to; an error ends it with its text.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
