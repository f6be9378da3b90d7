//! Evaluation of agents: incidents whose causes and fixes are known are played to an agent, and a program that is no model
//! says how well it does.
//!
//! - **In:** a [`suite`] of incidents, and an agent that speaks the [`protocol`].
//! - **Out:** a [`report`] with a figure and its [`interval`] for each [`variant`] of the evidence, and the difference of
//!   two reports.
//!
//! The agent runs on this machine with the rights of whoever evaluates it. It gets a tree of the source at the commit of
//! the failing build, with the history up to there and nothing of the fix.

mod interval;
mod place;
pub(crate) mod protocol;
mod render;
pub(crate) mod report;
pub(crate) mod score;
pub(crate) mod suite;
pub(crate) mod trial;
pub(crate) mod variant;
mod words;

pub(crate) use place::Place;
pub(crate) use render::{comparison, html, markdown};
