//! TraceQL as far as Grafana's builder writes it: sets of spans by their fields, combined with `&&` and `||`.
//!
//! - **In:** a text.
//! - **Out:** a [`Query`], and the conditions of DataFusion that it stands for, its values as literals.
//!
//! The language is Tempo's (`pkg/traceql/expr.y` of grafana/tempo). What reads more than one span at a time (structural
//! operators, pipelines, metrics) is refused.

mod ast;
mod compile;
mod parse;

pub(super) use ast::{Attribute, Condition, Field, Intrinsic, Operator, Query, Scope, Value};
pub(super) use compile::{Compiled, compile, text_of, type_of};
pub(super) use parse::{field, parse};

#[cfg(test)]
mod tests;
