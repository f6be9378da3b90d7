//! What a comparison says: of a lake in which one cause was planted, and of good traffic that was divided at random.

#![allow(clippy::unwrap_used)]

mod beside;
mod planted;
mod questions;
mod splits;
