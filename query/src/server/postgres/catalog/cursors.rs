//! `pg_cursors`: the cursors of the connection that asks. Drivers look there for one that they are to close.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;

use super::memory;
use crate::error::Result;
use crate::server::postgres::cursor::Cursor;

pub(in crate::server::postgres) const PG_CURSORS: &str = "pg_cursors";

/// `pg_catalog` with the cursors of one connection beside its other tables.
#[derive(Debug)]
pub(super) struct WithCursors {
    pub(super) rest: Arc<dyn SchemaProvider>,
    pub(super) cursors: Arc<dyn TableProvider>,
}

#[async_trait]
impl SchemaProvider for WithCursors {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.rest.table_names();
        names.push(PG_CURSORS.to_owned());
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if name == PG_CURSORS { Ok(Some(Arc::clone(&self.cursors))) } else { self.rest.table(name).await }
    }

    fn table_exist(&self, name: &str) -> bool {
        name == PG_CURSORS || self.rest.table_exist(name)
    }
}

/// The rows: a cursor each, by name. None is binary, can be read backwards, or outlives its transaction.
///
/// # Errors
/// Never, as long as the columns are of one length.
pub(in crate::server::postgres) fn table(cursors: &HashMap<String, Arc<Cursor>>) -> Result<Arc<dyn TableProvider>> {
    let mut cursors: Vec<(&String, &Arc<Cursor>)> = cursors.iter().collect();
    cursors.sort_unstable_by_key(|(name, _)| *name);
    let never = Arc::new(BooleanArray::from(vec![false; cursors.len()]));
    let names = cursors.iter().map(|(name, _)| Some(name.as_str()));
    let statements = cursors.iter().map(|(_, cursor)| Some(cursor.statement()));
    let times = cursors.iter().map(|(_, cursor)| Some(cursor.declared_at()));
    let batch = RecordBatch::try_from_iter([
        ("name", Arc::new(names.collect::<StringArray>()) as _),
        ("statement", Arc::new(statements.collect::<StringArray>()) as _),
        ("is_holdable", Arc::clone(&never) as _),
        ("is_binary", Arc::clone(&never) as _),
        ("is_scrollable", never as _),
        ("creation_time", Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone("UTC")) as _),
    ])?;
    memory(batch)
}
