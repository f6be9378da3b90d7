//! Statements: planned for their rows, or prepared for the values that will be bound.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;

use super::{parameters, wire};
use crate::error::Result;
use crate::session::{self, Parameters, Session};

/// A statement with the values of its parameters.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// As the client wrote it.
    pub query: Arc<str>,
    /// `None` before any are bound.
    pub values: Option<Parameters>,
}

impl From<String> for Statement {
    fn from(query: String) -> Self {
        Self { query: query.into(), values: None }
    }
}

/// A statement that only has to be run.
pub(super) struct Planned {
    /// The text, for `audit`.
    pub query: Arc<str>,
    /// On the head of which it was planned.
    pub session: Session,
    /// With the values in their places.
    pub plan: LogicalPlan,
    /// Of the rows on the wire.
    pub schema: SchemaRef,
}

/// A statement that was prepared.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    /// With the values that were bound last.
    pub statement: Statement,
    /// The parameters and the types that they want.
    pub parameters: SchemaRef,
}

impl Statement {
    /// Plans it in a session.
    ///
    /// # Errors
    /// As [`Session::plan`], and when parameters are missing.
    pub(super) async fn plan(self, session: Session) -> Result<Planned> {
        let plan = session.plan(&parameters::numbered(&self.query)).await?;
        let plan = session::bind(plan, self.values)?;
        let schema = wire::schema(plan.schema().as_arrow());
        Ok(Planned { query: self.query, session, plan, schema })
    }

    /// Prepares it in a session: what it wants and, as far as it can be known before values are bound, gives.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(super) async fn prepare(self, session: Session) -> Result<(Prepared, SchemaRef)> {
        let plan = session.plan(&parameters::numbered(&self.query)).await?;
        let parameters = parameters::schema(&plan)?;
        let gives = wire::schema(plan.schema().as_arrow());
        Ok((Prepared { statement: self, parameters }, gives))
    }
}
