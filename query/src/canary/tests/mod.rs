//! What a canary says: of numbers with known answers, of traffic that was drawn, and of a lake.

#![allow(clippy::unwrap_used)]

mod lake;
mod numbers;
mod traffic;
