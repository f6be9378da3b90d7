//! Options of a client's session. The protocol has them, Arrow's crate has not yet: these are the messages of
//! Flight.proto that clients send when they are told a catalog.
//!
//! There is one catalog with one schema, so a client may say that it means these, and nothing is kept.

use std::collections::HashMap;

use crate::catalog::{CATALOG, SCHEMA};

/// `INVALID_NAME` and `INVALID_VALUE` of `SetSessionOptionsResult.ErrorValue`.
const INVALID_NAME: i32 = 1;
const INVALID_VALUE: i32 = 2;
/// `CLOSED` of `CloseSessionResult.Status`.
const CLOSED: i32 = 1;

/// `SetSessionOptionsRequest`, and `GetSessionOptionsResult`, which has the same form.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionOptions {
    #[prost(map = "string, message", tag = "1")]
    pub(super) options: HashMap<String, OptionValue>,
}

/// `SessionOptionValue`, of whose forms the text is the one that is read.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionValue {
    #[prost(string, optional, tag = "1")]
    pub(super) text: Option<String>,
}

/// `SetSessionOptionsResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) errors: HashMap<String, OptionError>,
}

/// `SetSessionOptionsResult.Error`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionError {
    #[prost(int32, tag = "1")]
    pub(super) value: i32,
}

/// `CloseSessionResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CloseResult {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

impl SessionOptions {
    /// What every session has.
    pub(super) fn fixed() -> Self {
        let option = |name: &str, text: &str| (name.to_owned(), OptionValue { text: Some(text.to_owned()) });
        Self { options: HashMap::from([option("catalog", CATALOG), option("schema", SCHEMA)]) }
    }

    /// What comes of setting these: an error for each that a session does not have so.
    pub(super) fn set(self) -> SetResult {
        let fixed = Self::fixed().options;
        let errors = self.options.into_iter().filter_map(|(name, value)| {
            let value = match fixed.get(&name) {
                None => INVALID_NAME,
                Some(fixed) if *fixed == value => return None,
                Some(_) => INVALID_VALUE,
            };
            Some((name, OptionError { value }))
        });
        SetResult { errors: errors.collect() }
    }
}

impl CloseResult {
    /// Nothing was kept, so nothing is left.
    pub(super) fn closed() -> Self {
        Self { status: CLOSED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may name the catalog and the schema that there are; others, and other options, are refused by name.
    #[test]
    fn the_catalog_can_be_named() {
        assert_eq!(SessionOptions::fixed().set(), SetResult::default());
        let option = |name: &str, text: &str| (name.to_owned(), OptionValue { text: Some(text.to_owned()) });
        let asked = SessionOptions { options: HashMap::from([option("catalog", "other"), option("colour", "red")]) };
        let errors = asked.set().errors;
        assert_eq!(errors.get("catalog"), Some(&OptionError { value: INVALID_VALUE }));
        assert_eq!(errors.get("colour"), Some(&OptionError { value: INVALID_NAME }));
    }
}
