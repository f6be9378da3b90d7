//! Who may ask, what, and how much: one [`Gate`] for every interface of a server.
//!
//! - **In:** what a client shows (a token, or nothing), and what it is about to do.
//! - **Out:** a [`Caller`] with its tenant and scopes, a [`Turn`] to run a query, and a row in `audit` for each
//!   [`Visit`]; or a [`Refusal`] that says what to do next, and a row for that, too.
//!
//! Nothing here knows a protocol. An interface finds out what a client shows, asks the gate for the caller, opens a
//! visit, requires the scope, takes a turn where it computes, and says how the visit ended.

mod audit;
mod caller;
mod gate;
mod issuer;
mod jws;
mod limits;
mod refused;
mod token;
mod token_file;
mod turns;

pub use audit::Visit;
pub use caller::{Caller, Refusal, Scope, Scopes};
pub use gate::{Gate, GateOptions, Mask};
pub use issuer::IssuerOptions;
pub use limits::Limits;
pub use refused::Remote;
pub use token::{MintedToken, Token};
pub use token_file::{TokenFile, TokenFileError};
pub use turns::{TimedTurn, Turn};

#[cfg(test)]
mod tests;
