//! Prepared statements: their parameters and columns are known before they run.
//!
//! Only the text is kept. The plan belongs to the head on which it was made: whoever executes a statement an hour later
//! reads the newest head. And what the parser makes of a text takes a hundred times its bytes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow_pg::datatypes::df::deserialize_parameters;
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, into_pg_type};
use async_trait::async_trait;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::results::FieldInfo;
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{MemPortalStore, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use tokio::time::timeout_at;

use super::connection::Connection;
use super::query::{Admitted, Asked, described, shown_columns};
use super::{INTERFACE, Service, cursor, failure};
use crate::access::Caller;
use crate::error::{QueryError, Result};
use crate::server::problem::Problem;
use crate::session::Parameters;

/// Parameters of a statement: as many as the protocol can count.
const MOST_PARAMETERS: usize = u16::MAX as usize;
/// Bytes of what is known of a parameter, and of a column.
const PARAMETER: usize = 32;
const COLUMN: usize = 160;

/// A prepared statement.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    /// The text as the client has sent it; `None` for one without a statement.
    pub(super) text: Option<Arc<str>>,
    /// What each parameter has to be, where the statement tells.
    pub(super) inferred: Vec<Option<DataType>>,
    /// The parameters as the client is told of them.
    pub(super) parameters: Vec<Type>,
    columns: Columns,
}

/// The columns of an answer.
#[derive(Debug, Clone)]
enum Columns {
    /// In the format that the client wants.
    Of(SchemaRef),
    /// Text in any case.
    Text(Vec<FieldInfo>),
}

impl Prepared {
    /// A text without a statement.
    fn nothing() -> Self {
        Self { text: None, inferred: vec![], parameters: vec![], columns: Columns::Text(vec![]) }
    }

    /// A statement without parameters.
    fn of(text: &str, columns: Columns) -> Self {
        Self { text: Some(text.into()), columns, ..Self::nothing() }
    }

    /// How many columns its answer has.
    pub(super) fn width(&self) -> usize {
        match &self.columns {
            Columns::Of(schema) => schema.fields().len(),
            Columns::Text(fields) => fields.len(),
        }
    }

    /// About how many bytes it takes beside its text. A few words may name the last parameter that there can be.
    pub(super) fn weight(&self) -> usize {
        (self.parameters.len() + self.inferred.len()) * PARAMETER + self.width() * COLUMN
    }
}

#[async_trait]
impl QueryParser for Service {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, client: &C, sql: &str, types: &[Option<Type>]) -> PgWireResult<Prepared>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let connection = Connection::of(client)?;
        let mut asked = self.parse(&connection, sql).await?;
        if asked.len() > 1 {
            return Err(failure::of("42601", "a prepared statement is one statement; prepare one after the other"));
        }
        let Some(asked) = asked.pop() else { return Ok(Prepared::nothing()) };
        let columns = match &*asked.statement {
            Statement::ShowVariable { .. } => shown_columns(&connection, &asked.statement).unwrap_or_default(),
            Statement::Fetch { name, .. } => {
                let known = connection.cursors().get(&name.value).cloned();
                let cursor = known.ok_or_else(|| cursor::unknown(&name.value))?;
                return Ok(Prepared::of(sql, Columns::Of(Arc::clone(cursor.schema()))));
            }
            Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::Discard { .. }
            | Statement::UNLISTEN { .. }
            | Statement::Deallocate { .. }
            | Statement::Close { .. }
            | Statement::Reset(_)
            | Statement::Set(_) => vec![],
            _ => return self.prepare(&connection, sql, asked, types).await,
        };
        Ok(Prepared::of(sql, Columns::Text(columns)))
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(statement.parameters.clone())
    }

    fn get_result_schema(&self, statement: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        match &statement.columns {
            Columns::Of(schema) => arrow_schema_to_pg_fields(schema, format.unwrap_or(&Format::UnifiedText), None),
            Columns::Text(fields) => Ok(fields.clone()),
        }
    }
}

impl Service {
    /// Plans a query to learn of its parameters and columns. It is written down as a visit, as its execution is.
    async fn prepare(
        &self,
        connection: &Connection,
        text: &str,
        asked: Asked,
        types: &[Option<Type>],
    ) -> PgWireResult<Prepared> {
        let (query, is_cursor) = match &*asked.statement {
            Statement::Declare { stmts } => (Arc::new(cursor::declared(stmts)?.1), true),
            _ => (Arc::clone(&asked.statement), false),
        };
        let gate = self.inner.app.gate();
        let caller = connection.caller(gate).map_err(failure::fatal)?;
        let mut visit = gate.visit(&caller, INTERFACE, "plan", &asked.text);
        let mut cancelled = connection.begin().await;
        let learnt = tokio::select! {
            biased;
            () = cancelled.wait() => {
                visit.end("cancelled");
                return Err(PgWireError::QueryCanceled);
            }
            learnt = self.learn(&caller, connection, query, types.to_vec()) => learnt,
        };
        let learnt = learnt.map_err(|problem| {
            visit.end(problem.code());
            failure::error(&problem)
        })?;
        visit.end("ok");
        let columns = if is_cursor { Columns::Text(vec![]) } else { Columns::Of(learnt.columns) };
        // Some may be nowhere in the plan: a rewriting took them away, and the client sends their values all the same.
        let count = learnt.inferred.len().max(types.len()).max(asked.parameters.min(MOST_PARAMETERS));
        let parameters = (0..count).map(|index| {
            let declared = types.get(index).cloned().flatten();
            let inferred = learnt.inferred.get(index).and_then(Option::as_ref);
            declared.or_else(|| inferred.and_then(|kind| into_pg_type(kind).ok())).unwrap_or(Type::TEXT)
        });
        Ok(Prepared { parameters: parameters.collect(), text: Some(text.into()), inferred: learnt.inferred, columns })
    }

    async fn learn(
        &self,
        caller: &Caller,
        connection: &Connection,
        query: Arc<Statement>,
        types: Vec<Option<Type>>,
    ) -> Result<Learnt, Problem> {
        let Admitted { session, turn, deadline, seconds } = self.admit(caller, connection).await?;
        let work = async move {
            let plan = session.plan_parsed(Parsed::Statement(Box::new((*query).clone()))).await?;
            let inferred = inferred(&plan)?;
            let nothing = nothing_for(&inferred, types)?;
            Ok::<_, QueryError>(Learnt { columns: described(&plan, nothing.as_ref())?, inferred })
        };
        let learnt = self.inner.app.engine().run(async move {
            let learnt = timeout_at(deadline, work).await;
            drop(turn);
            learnt.unwrap_or_else(|_| Err(QueryError::TimeLimit { seconds }))
        });
        learnt.await.map_err(Problem::from)
    }
}

struct Learnt {
    inferred: Vec<Option<DataType>>,
    columns: SchemaRef,
}

/// What each parameter has to be, by what it is compared with or cast to. Types that the protocol has no values of are
/// left open.
fn inferred(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let mut types = plan.get_parameter_types()?;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    let known = types.entry(placeholder.id.clone()).or_default();
                    known.get_or_insert_with(|| cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    by_number(types)
}

fn by_number(mut types: HashMap<String, Option<DataType>>) -> Result<Vec<Option<DataType>>> {
    let mut count = 0;
    for name in types.keys() {
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        match number.filter(|number| (1..=MOST_PARAMETERS).contains(number)) {
            Some(number) => count = count.max(number),
            None => return Err(QueryError::Parameters(format!("{name} is no parameter of this protocol"))),
        }
    }
    let kind = |number: usize| types.remove(&format!("${number}")).flatten().filter(|kind| into_pg_type(kind).is_ok());
    Ok((1..=count).map(kind).collect())
}

/// Absent values for all parameters, of the types that values will have: with them a plan tells the types of columns
/// that are parameters.
fn nothing_for(inferred: &[Option<DataType>], mut types: Vec<Option<Type>>) -> Result<Option<Parameters>> {
    let count = inferred.len().max(types.len());
    if count == 0 {
        return Ok(None);
    }
    // A client may declare the types of the first parameters only, and what nobody knows is text.
    types.resize(count, None);
    for (index, kind) in types.iter_mut().enumerate() {
        if kind.is_none() && inferred.get(index).is_none_or(Option::is_none) {
            *kind = Some(Type::TEXT);
        }
    }
    let known = (0..count).map(|index| expected(types[index].as_ref(), inferred.get(index).and_then(Option::as_ref)));
    let known: Vec<Option<DataType>> = known.map(Option::<&DataType>::cloned).collect();
    let statement = StoredStatement::new(String::new(), (), types);
    let mut portal = Portal::new_cursor(String::new(), Arc::new(statement));
    portal.parameters = vec![None; count];
    let known: Vec<Option<&DataType>> = known.iter().map(Option::as_ref).collect();
    let values = deserialize_parameters(&portal, &known);
    Ok(Some(values.map_err(|error| QueryError::Parameters(error.to_string()))?))
}

/// The type by which a value is read: what the plan has it compared with, unless the client has declared another family
/// of types. Then the value is what the client says, and DataFusion brings the two together: a number with a fraction and
/// a whole one, a time and what is taken from it.
pub(super) fn expected<'t>(declared: Option<&Type>, inferred: Option<&'t DataType>) -> Option<&'t DataType> {
    inferred.filter(|inferred| match declared {
        Some(&Type::FLOAT4 | &Type::FLOAT8 | &Type::NUMERIC) => inferred.is_floating() || inferred.is_decimal(),
        Some(&Type::INT2 | &Type::INT4 | &Type::INT8) => inferred.is_numeric(),
        Some(&Type::INTERVAL) => matches!(inferred, DataType::Interval(_) | DataType::Duration(_)),
        Some(&Type::TIMESTAMP | &Type::TIMESTAMPTZ) => matches!(inferred, DataType::Timestamp(..)),
        _ => true,
    })
}

/// Forgets a prepared statement, as `DEALLOCATE` asks for.
pub(super) fn forget<C>(client: &C, name: &str)
where
    C: ClientPortalStore,
    C::PortalStore: PortalStore,
{
    if let Some(store) = client.portal_store().as_any().downcast_ref::<MemPortalStore<Prepared>>() {
        store.rm_statement(name);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Parameters are told in the order of their numbers, also beyond nine; one that has no type yet is left open, and a
    /// number that the protocol cannot count is refused.
    #[test]
    fn parameters_have_an_order() {
        let types = [("$10", Some(DataType::Utf8)), ("$2", Some(DataType::Int64)), ("$1", None)];
        let known: HashMap<_, _> = types.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        let numbered = by_number(known).unwrap();
        assert_eq!(numbered.len(), 10);
        assert_eq!((numbered[0].as_ref(), numbered[1].as_ref()), (None, Some(&DataType::Int64)));
        assert_eq!(numbered[9], Some(DataType::Utf8));
        for name in ["$0", "$70000", "$name"] {
            assert!(by_number(HashMap::from([(name.to_owned(), None)])).is_err(), "{name}");
        }
    }

    /// What is not known of a parameter is text; what the client declares holds.
    #[test]
    fn absent_values_have_the_types_of_values() {
        let values = nothing_for(&[None, None], vec![Some(Type::INT8)]).unwrap().unwrap();
        let Parameters::List(values) = values else { panic!("{values:?}") };
        let kinds: Vec<_> = values.iter().map(|value| value.value.data_type()).collect();
        assert_eq!(kinds, [DataType::Int64, DataType::Utf8]);
        assert!(nothing_for(&[], vec![]).unwrap().is_none());
    }
}
