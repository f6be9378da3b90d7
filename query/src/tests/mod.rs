//! Tests on a small lake that is written as the pipeline writes it.

#![allow(clippy::unwrap_used)]

mod bundles;
mod counted;
mod flat;
mod functions;
pub(crate) mod lake;
mod lookups;
mod planned;
mod schemas;
mod spilling;
mod sql;
mod successors;
mod tenants;
mod times;
mod turns;
