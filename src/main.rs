//! The command `tracerag`; see the library for what it does.

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long free pages stay with the process, in ms. With mimalloc's own second every epoch and every query faults
/// its memory in anew: measured, a tenth of a worker's CPU time and a quarter of a query's.
const PURGE_DELAY_MS: c_long = 10_000;

/// `mi_option_purge_delay` in mimalloc's `mi_option_t`.
const PURGE_DELAY: c_int = 15;

#[allow(unsafe_code)]
unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

#[allow(unsafe_code)]
fn main() -> ExitCode {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: part of mimalloc's public interface; it takes two numbers and may be called at any time.
        unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
    }
    tracerag::main()
}
