//! What SQL sees: the stored tables that may be read as they are, and the views.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::TableType;
use tracerag_index::incidents::{Embedding, vectors};
use tracerag_schemas::Table;

use crate::snapshot::Snapshot;
use crate::tables::{IncidentsTable, LakeTable, LogsTable, NeighboursTable, TargetsTable, TracesTable, VectorsTable};
use crate::views::{NEW_INCIDENTS, VIEWS, View};

/// The catalog's name.
pub(crate) const CATALOG: &str = "tracerag";
/// The schema's name.
pub(crate) const SCHEMA: &str = "public";

/// What a session sees besides what everybody does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sees {
    /// Bytes of dead letters as they came.
    pub unredacted: bool,
    /// Heap summaries, and bundles, which have them inside.
    pub heaps: bool,
    /// Who asked what.
    pub audit: bool,
}

impl Sees {
    /// Whether a stored table, and the view of its name, is there.
    fn has(self, table: Table) -> bool {
        match table {
            Table::Heaps | Table::Bundles => self.heaps,
            Table::Audit => self.audit,
            _ => true,
        }
    }
}

/// Stored tables under the name by which SQL and the views know them. Where a view has the table's
/// name, the rows behind it have a name of their own.
fn base_tables(
    snapshot: &Snapshot,
    sees: Sees,
    embedding: Option<Arc<Embedding>>,
) -> BTreeMap<&'static str, Arc<dyn TableProvider>> {
    let stored = |table| Arc::new(LakeTable::new(snapshot.clone(), table, sees.unredacted));
    let mut tables: BTreeMap<&'static str, Arc<dyn TableProvider>> = BTreeMap::new();
    for table in Table::ALL.iter().copied().filter(|table| sees.has(*table)) {
        let name = match table {
            Table::Traces => "trace_revisions",
            Table::Flags => "flag_events",
            Table::Builds => "build_events",
            Table::Bundles => "bundle_events",
            Table::Fixes => "fix_events",
            Table::GroupingRules => "grouping_rule_events",
            Table::Audit => "audit_events",
            other => other.name(),
        };
        tables.insert(name, stored(table));
    }
    let logs = LogsTable::new(stored(Table::Logs), stored(Table::Spans), stored(Table::Traces));
    tables.insert(Table::Logs.name(), Arc::new(logs));
    tables.insert(Table::Traces.name(), Arc::new(TracesTable::new(stored(Table::Traces))));
    tables.insert(TargetsTable::NAME, Arc::new(TargetsTable::new(snapshot.clone())));
    tables.insert(NeighboursTable::NAME, Arc::new(NeighboursTable::new(snapshot.clone(), embedding.clone())));
    tables.insert(vectors::TABLE, Arc::new(VectorsTable::new(snapshot.clone(), embedding)));
    tables
}

/// The one schema of a session. Views are planned when they are first named: most queries need none.
pub(crate) struct LakeSchema {
    tables: BTreeMap<&'static str, Arc<dyn TableProvider>>,
    snapshot: Snapshot,
    sees: Sees,
    views: Mutex<HashMap<&'static str, Arc<dyn TableProvider>>>,
    planner: SessionState,
}

impl std::fmt::Debug for LakeSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeSchema").field("tables", &self.tables.keys()).finish_non_exhaustive()
    }
}

impl LakeSchema {
    /// The schema of a snapshot. `state` gives the functions that the views use.
    pub(crate) fn new(
        snapshot: &Snapshot,
        sees: Sees,
        embedding: Option<Arc<Embedding>>,
        state: &SessionState,
    ) -> Result<Self> {
        let tables = base_tables(snapshot, sees, embedding);
        let base = MemorySchemaProvider::new();
        for (name, table) in &tables {
            base.register_table((*name).to_owned(), Arc::clone(table))?;
        }
        let catalogs = catalogs(Arc::new(base))?;
        let planner = SessionStateBuilder::new_from_existing(state.clone()).with_catalog_list(catalogs).build();
        Ok(Self { tables, snapshot: snapshot.clone(), sees, views: Mutex::default(), planner })
    }

    /// The views over tables that are there.
    fn defined(&self) -> impl Iterator<Item = &'static View> {
        VIEWS.iter().filter(|view| Table::by_name(view.name).is_none_or(|table| self.sees.has(table)))
    }

    async fn view(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(view) = self.defined().find(|view| view.name == name) else { return Ok(None) };
        if let Some(known) = self.views.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Some(Arc::clone(known)));
        }
        let plan = self.planner.create_logical_plan(view.query).await?;
        let planned = ViewTable::new(plan, Some(view.query.to_owned()));
        let table: Arc<dyn TableProvider> = match view.without_model {
            Some(query) => {
                let without_model = ViewTable::new(self.planner.create_logical_plan(query).await?, None);
                let is_of_new = view.name == NEW_INCIDENTS;
                Arc::new(IncidentsTable::new(planned, without_model, is_of_new, self.snapshot.clone())?)
            }
            None => Arc::new(planned),
        };
        self.views.lock().unwrap_or_else(PoisonError::into_inner).insert(view.name, Arc::clone(&table));
        Ok(Some(table))
    }
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tables.keys().map(|name| (*name).to_owned()).collect();
        names.extend(self.defined().map(|view| view.name.to_owned()));
        names.sort();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.tables.get(name) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.view(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        match self.tables.get(name) {
            Some(table) => Ok(Some(table.table_type())),
            None => Ok(self.table_exist(name).then_some(TableType::View)),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.defined().any(|view| view.name == name)
    }
}

/// A catalog list with one catalog and one schema.
pub(crate) fn catalogs(schema: Arc<dyn SchemaProvider>) -> Result<Arc<dyn CatalogProviderList>> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, schema)?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}
