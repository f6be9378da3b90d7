//! Statements: planned for their rows, or prepared for the values that will be bound.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
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
    /// Random, and the same whatever values are bound.
    pub id: Bytes,
    /// With the values that were bound last.
    pub statement: Statement,
    /// The names of its parameters, in the order of their values.
    pub parameters: Vec<String>,
}

/// What a client is told of a statement that it prepares.
pub(super) struct Forms {
    /// The parameters and the types that they want.
    pub parameters: SchemaRef,
    /// The columns, as far as they can be known before values are bound.
    pub columns: SchemaRef,
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
        // It may be run much later, and then with another turn.
        Ok(Planned { query: self.query, session: session.released(), plan, schema })
    }

    /// Prepares it in a session.
    ///
    /// # Errors
    /// As [`Session::plan`].
    pub(super) async fn prepare(self, session: Session) -> Result<(Prepared, Forms)> {
        let plan = session.plan(&parameters::numbered(&self.query)).await?;
        let forms = Forms { parameters: parameters::schema(&plan)?, columns: wire::schema(plan.schema().as_arrow()) };
        let names = forms.parameters.fields().iter().map(|parameter| parameter.name().clone()).collect();
        let id = Bytes::copy_from_slice(&rand::random::<[u8; 16]>());
        Ok((Prepared { id, statement: self, parameters: names }, forms))
    }
}
