//! What handles carry from one server to another: a ticket the statement with its values and the position that it is to
//! be read at, a prepared statement its text and the values that were bound last. See [`sealed`](super::sealed).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::datatypes::{Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::{ParamValues, ScalarValue};
use prost::Message;

use super::sealed::{Kind, Seal};
use super::statement::{Prepared, Statement};
use crate::access::Caller;
use crate::error::Result;
use crate::session::Parameters;

/// A statement whose rows are to be had, and where.
pub(super) struct Ticket {
    pub statement: Statement,
    /// Position of the lake on which it was planned.
    pub position: u64,
}

/// A text with the values of its parameters.
#[derive(Clone, PartialEq, Message)]
struct CarriedStatement {
    #[prost(string, tag = "1")]
    query: String,
    /// One row in the form of a stream of Arrow, a column a value; absent: none are bound.
    #[prost(bytes = "vec", optional, tag = "2")]
    values: Option<Vec<u8>>,
    /// Whether the columns are called as their parameters are, or stand in the order of their numbers.
    #[prost(bool, tag = "3")]
    by_name: bool,
}

#[derive(Clone, PartialEq, Message)]
struct CarriedTicket {
    #[prost(message, optional, tag = "1")]
    statement: Option<CarriedStatement>,
    #[prost(uint64, tag = "2")]
    position: u64,
    /// Seconds since the Unix epoch.
    #[prost(uint64, tag = "3")]
    holds_until: u64,
}

#[derive(Clone, PartialEq, Message)]
struct CarriedPrepared {
    #[prost(message, optional, tag = "1")]
    statement: Option<CarriedStatement>,
    #[prost(bytes = "bytes", tag = "2")]
    id: Bytes,
    #[prost(string, repeated, tag = "3")]
    parameters: Vec<String>,
    /// Seconds since the Unix epoch.
    #[prost(uint64, tag = "4")]
    holds_until: u64,
}

impl Seal {
    /// A handle with all that there is to a ticket, which holds for a time. `None`: it is too long to be carried.
    ///
    /// # Errors
    /// As [`Seal::close`].
    pub(super) async fn ticket(&self, caller: &Caller, ticket: &Ticket, lasts: Duration) -> Result<Option<Bytes>> {
        let carried = CarriedTicket {
            statement: Some(CarriedStatement::of(&ticket.statement)?),
            position: ticket.position,
            holds_until: now() + lasts.as_secs(),
        };
        self.close(Kind::Ticket, caller, &carried.encode_to_vec()).await
    }

    /// The ticket in a handle. `None`: there is none of this caller in it, or it does not hold any more.
    ///
    /// # Errors
    /// As [`Seal::open`].
    pub(super) async fn opened_ticket(&self, caller: &Caller, handle: &[u8]) -> Result<Option<Ticket>> {
        let Some(text) = self.open(Kind::Ticket, caller, handle).await? else { return Ok(None) };
        match CarriedTicket::decode(&*text) {
            Ok(CarriedTicket { statement: Some(statement), position, holds_until }) if now() < holds_until => {
                Ok(Some(Ticket { statement: statement.read()?, position }))
            }
            // What does not read so was closed by another release.
            _ => Ok(None),
        }
    }

    /// A handle with all that there is to a prepared statement, which holds for a time. `None`: it is too long to be
    /// carried.
    ///
    /// # Errors
    /// As [`Seal::close`].
    pub(super) async fn prepared(
        &self,
        caller: &Caller,
        prepared: &Prepared,
        lasts: Duration,
    ) -> Result<Option<Bytes>> {
        let carried = CarriedPrepared {
            statement: Some(CarriedStatement::of(&prepared.statement)?),
            id: prepared.id.clone(),
            parameters: prepared.parameters.clone(),
            holds_until: now() + lasts.as_secs(),
        };
        self.close(Kind::Prepared, caller, &carried.encode_to_vec()).await
    }

    /// The prepared statement in a handle. `None`: there is none of this caller in it, or it does not hold any more.
    ///
    /// # Errors
    /// As [`Seal::open`].
    pub(super) async fn opened_prepared(&self, caller: &Caller, handle: &[u8]) -> Result<Option<Prepared>> {
        let Some(text) = self.open(Kind::Prepared, caller, handle).await? else { return Ok(None) };
        match CarriedPrepared::decode(&*text) {
            Ok(CarriedPrepared { statement: Some(statement), id, parameters, holds_until }) if now() < holds_until => {
                Ok(Some(Prepared { id, statement: statement.read()?, parameters }))
            }
            _ => Ok(None),
        }
    }
}

impl CarriedStatement {
    fn of(statement: &Statement) -> Result<Self> {
        Ok(Self {
            query: statement.query.to_string(),
            values: statement.values.as_ref().map(encoded).transpose()?,
            by_name: matches!(statement.values, Some(ParamValues::Map(_))),
        })
    }

    fn read(self) -> Result<Statement> {
        let values = self.values.map(|values| decoded(&values, self.by_name)).transpose()?;
        Ok(Statement { query: self.query.into(), values })
    }
}

/// Values as a stream of Arrow, which keeps their types.
fn encoded(values: &Parameters) -> Result<Vec<u8>> {
    let named: Vec<(String, &ScalarValue)> = match values {
        ParamValues::List(values) => values.iter().map(|value| (String::new(), &value.value)).collect(),
        ParamValues::Map(values) => values.iter().map(|(name, value)| (name.clone(), &value.value)).collect(),
    };
    let mut fields = Vec::with_capacity(named.len());
    let mut columns = Vec::with_capacity(named.len());
    for (name, value) in named {
        let column = value.to_array()?;
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let schema = Arc::new(Schema::new(fields));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    // Without values there are no columns, of which no row can be made, and none is needed.
    if !columns.is_empty() {
        writer.write(&RecordBatch::try_new(schema, columns)?)?;
    }
    Ok(writer.into_inner()?)
}

fn decoded(values: &[u8], by_name: bool) -> Result<Parameters> {
    let mut named = Vec::new();
    for row in StreamReader::try_new(values, None)? {
        let row = row?;
        for (field, column) in row.schema().fields().iter().zip(row.columns()) {
            named.push((field.name().clone(), ScalarValue::try_from_array(column, 0)?));
        }
    }
    if by_name {
        return Ok(Parameters::from(named));
    }
    Ok(Parameters::from(named.into_iter().map(|(_, value)| value).collect::<Vec<_>>()))
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tests::lake::TestLake;

    const HOUR: Duration = Duration::from_secs(3600);

    fn caller() -> Caller {
        Caller { tenant: "acme".into(), principal: "somebody".into(), scopes: [].into_iter().collect() }
    }

    fn values() -> [Option<Parameters>; 4] {
        let list = ScalarValue::List(ScalarValue::new_list_nullable(
            &[ScalarValue::from("x"), ScalarValue::Utf8(None)],
            &arrow::datatypes::DataType::Utf8,
        ));
        [
            None,
            Some(Parameters::from(Vec::<ScalarValue>::new())),
            Some(Parameters::from(vec![ScalarValue::Null, ScalarValue::from(7_i32), ScalarValue::Utf8(None), list])),
            Some(Parameters::from(vec![("least", ScalarValue::from(0.5)), ("text", ScalarValue::from("it's ü"))])),
        ]
    }

    /// Tickets and prepared statements come out of their handles as they went in, with values of every form, by position
    /// and by name, and with those that are null.
    #[tokio::test]
    async fn what_is_carried_arrives() {
        let lake = TestLake::example(false, 10_000).await;
        let (seal, caller) = (Seal::new(lake.lake.clone()), caller());
        for values in values() {
            let statement = Statement { query: "select 1".into(), values: values.clone() };
            let ticket = Ticket { statement: statement.clone(), position: 42 };
            let handle = seal.ticket(&caller, &ticket, HOUR).await.unwrap().unwrap();
            let arrived = seal.opened_ticket(&caller, &handle).await.unwrap().unwrap();
            assert_eq!((&*arrived.statement.query, arrived.position), ("select 1", 42));
            assert_eq!(format!("{:?}", sorted(arrived.statement.values)), format!("{:?}", sorted(values.clone())));

            let prepared = Prepared { id: Bytes::from_static(b"id"), statement, parameters: vec!["$1".to_owned()] };
            let handle = seal.prepared(&caller, &prepared, HOUR).await.unwrap().unwrap();
            let arrived = seal.opened_prepared(&caller, &handle).await.unwrap().unwrap();
            assert_eq!((arrived.id, arrived.parameters), (prepared.id, prepared.parameters));
            assert_eq!(format!("{:?}", sorted(arrived.statement.values)), format!("{:?}", sorted(values)));
        }
    }

    /// The values in an order that does not depend on a map.
    fn sorted(values: Option<Parameters>) -> Option<Vec<(String, ScalarValue)>> {
        let mut values: Vec<(String, ScalarValue)> = match values? {
            ParamValues::List(list) => {
                list.into_iter().enumerate().map(|(place, value)| (place.to_string(), value.value)).collect()
            }
            ParamValues::Map(map) => map.into_iter().map(|(name, value)| (name, value.value)).collect(),
        };
        values.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(values)
    }

    /// A handle whose time is over opens nothing.
    #[tokio::test]
    async fn a_handle_has_its_time() {
        let lake = TestLake::example(false, 10_000).await;
        let (seal, caller) = (Seal::new(lake.lake.clone()), caller());
        let statement = Statement::from("select 1".to_owned());
        let ticket = Ticket { statement: statement.clone(), position: 42 };
        let handle = seal.ticket(&caller, &ticket, Duration::ZERO).await.unwrap().unwrap();
        assert!(seal.opened_ticket(&caller, &handle).await.unwrap().is_none());
        let prepared = Prepared { id: Bytes::new(), statement, parameters: vec![] };
        let handle = seal.prepared(&caller, &prepared, Duration::ZERO).await.unwrap().unwrap();
        assert!(seal.opened_prepared(&caller, &handle).await.unwrap().is_none());
    }
}
