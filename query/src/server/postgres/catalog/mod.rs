//! The catalog that tools of PostgreSQL read: `pg_catalog` and `information_schema`.
//!
//! It tells what tables and columns there are, which is the same for every tenant and until the server ends, so it is
//! made once for each kind of caller, and nothing in it comes from rows. datafusion-pg-catalog makes most of it; ours
//! are the columns' types, that there are no keys and indexes, our functions, and `information_schema` in PostgreSQL's
//! words.

mod attributes;
pub(super) mod cursors;
mod functions;
mod information;
mod relations;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::ScalarUDF;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::generate_series_arg_coercion::CoerceIntArgsToBigInt;
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_pg_catalog::pg_catalog::{
    ArrowTable, PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables, PgCatalogTable,
};
use futures::TryStreamExt;

use self::cursors::WithCursors;
use super::settings::Settings;
use super::{computed, constants, shown};
use crate::access::{Caller, Scope};
use crate::catalog::{CATALOG, SCHEMA};
use crate::error::Result;
use crate::server::engine::Engine;
use crate::session::Session;

pub(super) const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";
/// Tables whose rows are numbered by the order in which the tables are made: schemas first, then tables. So numbers
/// are the same in every server of a release, and a tool may keep them.
const NUMBERED_FIRST: [&str; 3] = ["pg_namespace", "pg_class", "pg_attribute"];

/// The catalogs of a server, by what a caller sees.
#[derive(Default)]
pub(super) struct Catalogs {
    /// By whether heap summaries are seen, and what belongs to administrators.
    known: tokio::sync::Mutex<HashMap<(bool, bool), Arc<Catalog>>>,
}

impl Catalogs {
    /// The catalog of a caller, who has this session.
    pub(super) async fn of(&self, caller: &Caller, session: &Session, engine: &Engine) -> Result<Arc<Catalog>> {
        let kind = (caller.may(Scope::Heap), caller.may(Scope::Admin));
        let mut known = self.known.lock().await;
        if let Some(catalog) = known.get(&kind) {
            return Ok(Arc::clone(catalog));
        }
        let state = session.context().state();
        let catalog = Arc::new(engine.run(Catalog::read(state)).await?);
        known.insert(kind, Arc::clone(&catalog));
        Ok(catalog)
    }
}

/// What one kind of caller sees.
pub(super) struct Catalog {
    pg_catalog: Arc<dyn SchemaProvider>,
    information_schema: Arc<dyn SchemaProvider>,
    functions: Vec<ScalarUDF>,
    keywords: Arc<ArrowTable>,
}

impl Catalog {
    async fn read(state: SessionState) -> Result<Self> {
        let lake = lake_schema(&state)?;
        let mut tables = Vec::new();
        for name in lake.table_names() {
            if let Some(table) = lake.table(&name).await? {
                let kind = lake.table_type(&name).await?.unwrap_or(TableType::Base);
                tables.push(Described { name, columns: shown::schema(&table.schema()), kind });
            }
        }
        let information_schema = information::schema(&tables)?;
        let statics = Arc::new(PgCatalogStaticTables::try_new()?);
        let listed: Arc<[constants::Listed]> = functions::listed().into();
        let description = Description::of(tables, &statics, &information_schema).await?;
        let (pg_catalog, hidden) = pg_catalog(&description, &statics, &listed).await?;
        let mut functions = functions::all(&listed);
        functions.extend(computed::all(hidden));
        Ok(Self { pg_catalog, information_schema, functions, keywords: Arc::clone(&statics.pg_get_keywords) })
    }

    /// The same session with this catalog beside the lake's tables, and what belongs to the connection: its cursors
    /// ([`cursors::table`]) and its settings.
    ///
    /// # Errors
    /// When the session has no tables.
    pub(super) fn given_to(
        &self,
        session: Session,
        cursors: Arc<dyn TableProvider>,
        settings: &Settings,
    ) -> Result<Session> {
        let state = session.context().state();
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, lake_schema(&state)?)?;
        catalog.register_schema(PG_CATALOG, Arc::new(WithCursors { rest: Arc::clone(&self.pg_catalog), cursors }))?;
        catalog.register_schema(INFORMATION_SCHEMA, Arc::clone(&self.information_schema))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        // DataFusion's own `information_schema` would come before this one.
        let config = state.config().clone().with_information_schema(false);
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_catalog_list(Arc::new(catalogs))
            .with_type_planner(Arc::new(PgOidTypePlanner))
            .build();
        let session = session.with_state(state);
        for function in &self.functions {
            session.context().register_udf(function.clone());
        }
        session.context().register_udf(constants::settings(settings));
        let keywords: Arc<ArrowTable> = Arc::clone(&self.keywords);
        session.context().register_udtf("pg_get_keywords", keywords);
        CoerceIntArgsToBigInt::widen(session.context());
        Ok(session)
    }
}

fn lake_schema(state: &SessionState) -> Result<Arc<dyn SchemaProvider>> {
    let catalog = state.catalog_list().catalog(CATALOG);
    catalog
        .and_then(|catalog| catalog.schema(SCHEMA))
        .ok_or_else(|| DataFusionError::Internal(String::from("the session has no tables")).into())
}

/// A table as the catalog tells of it.
#[derive(Debug, Clone)]
struct Described {
    name: String,
    columns: SchemaRef,
    kind: TableType,
}

/// Every schema with its tables, as datafusion-pg-catalog asks for them.
#[derive(Debug, Clone, Default)]
struct Description {
    schemas: Arc<Vec<(&'static str, Vec<Described>)>>,
}

impl Description {
    async fn of(
        lake: Vec<Described>,
        statics: &Arc<PgCatalogStaticTables>,
        information_schema: &Arc<dyn SchemaProvider>,
    ) -> Result<Self> {
        let empty = PgCatalogSchemaProvider::try_new(Self::default(), Arc::clone(statics), EmptyContextProvider)?;
        let mut pg_catalog = Vec::new();
        for name in PG_CATALOG_TABLES {
            if let Some(table) = empty.build_table_by_name(name)? {
                let columns = relations::columns(name, &table.schema());
                pg_catalog.push(Described { name: (*name).to_owned(), columns, kind: TableType::Base });
            }
        }
        let mut information = Vec::new();
        for name in information_schema.table_names() {
            if let Some(table) = information_schema.table(&name).await? {
                information.push(Described { name, columns: table.schema(), kind: TableType::View });
            }
        }
        let schemas = vec![(SCHEMA, lake), (PG_CATALOG, pg_catalog), (INFORMATION_SCHEMA, information)];
        Ok(Self { schemas: Arc::new(schemas) })
    }

    /// Every column, in the order in which datafusion-pg-catalog lists them.
    fn columns(&self) -> impl Iterator<Item = &arrow::datatypes::FieldRef> {
        self.schemas.iter().flat_map(|(_, tables)| tables).flat_map(|table| table.columns.fields())
    }

    fn table(&self, schema: &str, table: &str) -> Option<&Described> {
        let (_, tables) = self.schemas.iter().find(|(name, _)| *name == schema)?;
        tables.iter().find(|described| described.name == table)
    }
}

#[async_trait]
impl CatalogInfo for Description {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, _: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        Ok(Some(self.schemas.iter().map(|(name, _)| (*name).to_owned()).collect()))
    }

    async fn table_names(&self, _: &str, schema: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        let tables = self.schemas.iter().find(|(name, _)| *name == schema);
        Ok(tables.map(|(_, tables)| tables.iter().map(|table| table.name.clone()).collect()))
    }

    async fn table_schema(&self, _: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>, DataFusionError> {
        Ok(self.table(schema, table).map(|table| Arc::clone(&table.columns)))
    }

    async fn table_type(&self, _: &str, schema: &str, table: &str) -> Result<Option<TableType>, DataFusionError> {
        Ok(self.table(schema, table).map(|table| table.kind))
    }
}

/// The tables of `pg_catalog`, made once, and the numbers of those that are found with their schema only.
async fn pg_catalog(
    description: &Description,
    statics: &Arc<PgCatalogStaticTables>,
    listed: &[constants::Listed],
) -> Result<(Arc<dyn SchemaProvider>, BTreeSet<i32>)> {
    let provider = PgCatalogSchemaProvider::try_new(description.clone(), Arc::clone(statics), EmptyContextProvider)?;
    let schema = MemorySchemaProvider::new();
    let (mut schemas, mut classes) = (None, None);
    let others = PG_CATALOG_TABLES.iter().copied().filter(|name| !NUMBERED_FIRST.contains(name));
    for name in NUMBERED_FIRST.into_iter().chain(others) {
        let Some(table) = provider.build_table_by_name(name)? else { continue };
        if let Some(nothing) = relations::without_rows(name, &table.schema()) {
            schema.register_table(name.to_owned(), memory(nothing)?)?;
            continue;
        }
        let table: Arc<dyn TableProvider> = match (name, &table) {
            ("pg_namespace", PgCatalogTable::Dynamic(_)) => {
                let rows = relations::fitted(name, &rows(&table).await?)?;
                memory(schemas.insert(rows).clone())?
            }
            ("pg_class", PgCatalogTable::Dynamic(_)) => {
                let rows = relations::fitted(name, &rows(&table).await?)?;
                memory(classes.insert(rows).clone())?
            }
            ("pg_attribute", PgCatalogTable::Dynamic(_)) => {
                let rows = attributes::with_types(&rows(&table).await?, description.columns())?;
                memory(relations::fitted(name, &rows)?)?
            }
            ("pg_proc", PgCatalogTable::Static(known)) => {
                memory(relations::fitted(name, &functions::with_ours(known, listed)?)?)?
            }
            (_, PgCatalogTable::Static(known)) => {
                memory(relations::fitted(name, &concat_batches(&known.schema(), known.data())?)?)?
            }
            (_, PgCatalogTable::Dynamic(_)) => memory(relations::fitted(name, &rows(&table).await?)?)?,
            _ => table.try_into_table_provider()?,
        };
        schema.register_table(name.to_owned(), table)?;
    }
    let hidden = match (&schemas, &classes) {
        (Some(schemas), Some(classes)) => relations::hidden(schemas, classes)?,
        _ => BTreeSet::new(),
    };
    Ok((Arc::new(schema), hidden))
}

/// The rows of a table that is made of the description.
async fn rows(table: &PgCatalogTable) -> Result<RecordBatch> {
    let PgCatalogTable::Dynamic(stream) = table else {
        return Err(DataFusionError::Internal(String::from("the table is not made of the description")).into());
    };
    let batches: Vec<RecordBatch> = stream.execute(Arc::new(TaskContext::default())).try_collect().await?;
    Ok(concat_batches(stream.schema(), &batches)?)
}

fn memory(batch: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}
