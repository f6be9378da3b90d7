//! The bearer token in a header `Authorization`, of HTTP as of gRPC.

use axum::http::{HeaderMap, header};

/// The bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = credentials(headers.get(header::AUTHORIZATION)?.to_str().ok()?)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret)
}

/// The scheme of a header's value, and what is shown by it.
pub(super) fn credentials(value: &str) -> Option<(&str, &str)> {
    let (scheme, shown) = value.split_once(' ')?;
    Some((scheme, shown.trim()))
}
