//! `COLLATE`: texts are compared and ordered by their bytes, so an order of a language cannot be had.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Statement, Visit, Visitor};

use crate::error::{QueryError, Result};

/// Collations that are the order of the bytes of UTF-8, in lower case. The default of this server is one, as its
/// `lc_collate` says.
const OF_BYTES: [&str; 7] = ["c", "c.utf8", "c.utf-8", "default", "pg_c_utf8", "posix", "ucs_basic"];

/// That a statement asks for no other order than there is.
///
/// # Errors
/// [`QueryError::Sql`] that names the collation.
pub(super) fn check(statement: &Statement) -> Result<()> {
    match Visit::visit(statement, &mut Collations) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => Err(QueryError::Sql(format!(
            "collation {name} is not supported: texts are compared by their bytes; leave COLLATE out, or write COLLATE \"C\""
        ))),
    }
}

struct Collations;

impl Visitor for Collations {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        if let Expr::Collate { collation, .. } = expr {
            let last = collation.0.last().and_then(|part| part.as_ident());
            let is_of_bytes =
                last.is_some_and(|last| OF_BYTES.iter().any(|known| last.value.eq_ignore_ascii_case(known)));
            if !is_of_bytes {
                return ControlFlow::Break(collation.to_string());
            }
        }
        ControlFlow::Continue(())
    }
}
