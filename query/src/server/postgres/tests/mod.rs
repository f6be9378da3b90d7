//! The catalog and the statements of tools, on the example lake.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::*;
use crate::access::{Caller, Scope};
use crate::server::engine::Engine;
use crate::session::Session;
use crate::tests::lake::{TestLake, rows};

/// A session as this port has it, for a tenant.
async fn session(lake: &TestLake, tenant: &str) -> Session {
    let session = lake.session(tenant).await;
    let scopes = [Scope::Sql, Scope::Heap].into_iter().collect();
    let caller = Caller { tenant: tenant.into(), principal: "test".into(), scopes };
    let engine = Engine::start().unwrap();
    let catalog = Catalogs::default().of(&caller, &session, &engine).await.unwrap();
    catalog
        .given_to(session, catalog::cursors::table(&HashMap::new()).unwrap(), &settings::Settings::default())
        .unwrap()
}

/// The rows of a statement in the types of this port.
async fn ask(session: &Session, text: &str) -> Value {
    let mut answer = Value::Null;
    for statement in statement::parse(text, &PostgresCompatibilityParser::new()).unwrap() {
        if matches!(statement, Statement::Set(_) | Statement::ShowVariable { .. }) {
            continue;
        }
        let plan = session.plan_parsed(Parsed::Statement(Box::new(statement))).await;
        let plan = plan.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let schema = query::described(&plan, None).unwrap();
        let batches: Vec<_> = session.execute(plan, None).await.unwrap().try_collect().await.unwrap_or_else(|error| {
            panic!("{error}\n{text}");
        });
        answer = rows(batches.iter().map(|batch| shown::batch(batch, &schema).unwrap()).collect());
    }
    answer
}

/// Statements that end with a line of their own.
fn recorded(file: &str) -> impl Iterator<Item = &str> {
    file.split("\n;\n").map(str::trim).filter(|statement| !statement.is_empty())
}

/// Each statement that psql, DBeaver, Metabase, Grafana, the JDBC driver and SQLAlchemy (with what is built upon it, as
/// Superset and pandas) send when they begin is answered; Grafana's macros are there as its plug-in expands them, and
/// SQLAlchemy's are those of its reflection. The recordings are those of datafusion-postgres, and ours.
#[tokio::test]
async fn tools_can_begin() {
    let lake = TestLake::example(false, 10_000).await;
    let session = session(&lake, "acme").await;
    for (tool, file) in [
        ("psql", include_str!("psql.sql")),
        ("dbeaver", include_str!("dbeaver.sql")),
        ("metabase", include_str!("metabase.sql")),
        ("grafana", include_str!("grafana.sql")),
        ("jdbc", include_str!("jdbc.sql")),
        ("sqlalchemy", include_str!("sqlalchemy.sql")),
    ] {
        assert!(recorded(file).count() > 1, "{tool}");
        for statement in recorded(file) {
            ask(&session, statement).await;
        }
    }
}

/// Tables and columns are found with their types: times with a zone, maps as text, lists as lists; views as views.
/// Numbers of the lake's tables are those of another session.
#[tokio::test]
async fn the_catalog_tells_types() {
    let lake = TestLake::example(false, 10_000).await;
    let session = session(&lake, "acme").await;
    let columns = "select a.attname, format_type(a.atttypid, a.atttypmod) as kind from pg_catalog.pg_attribute a
                   join pg_catalog.pg_class c on c.oid = a.attrelid
                   where c.relname = 'traces' and a.attname in ('start_time', 'services', 'flags_in_effect', 'span_count')
                   order by 1";
    assert_eq!(
        ask(&session, columns).await,
        json!([
            {"attname": "flags_in_effect", "kind": "text"},
            {"attname": "services", "kind": "text[]"},
            {"attname": "span_count", "kind": "bigint"},
            {"attname": "start_time", "kind": "timestamp with time zone"},
        ])
    );
    let standard = "select data_type from information_schema.columns
                    where table_name = 'spans' and column_name in ('attributes', 'start_time') order by column_name";
    assert_eq!(
        ask(&session, standard).await,
        json!([{"data_type": "text"}, {"data_type": "timestamp with time zone"}])
    );
    let kinds = "select relname, relkind from pg_class where relname in ('spans', 'incidents') order by 1";
    assert_eq!(
        ask(&session, kinds).await,
        json!([{"relname": "incidents", "relkind": "v"}, {"relname": "spans", "relkind": "r"}])
    );
    let numbers = "select c.oid, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = 'public' order by 2, 1";
    assert_eq!(ask(&session, numbers).await, ask(&self::session(&lake, "other").await, numbers).await);
}

/// What scopes withhold is not in the catalog either, and nothing in it depends on the tenant.
#[tokio::test]
async fn the_catalog_tells_nothing_of_others() {
    let lake = TestLake::example(false, 10_000).await;
    let (ours, theirs) = (session(&lake, "acme").await, session(&lake, "nobody").await);
    for table in ["pg_class", "pg_attribute", "pg_namespace", "pg_database", "pg_tables", "information_schema.tables"] {
        let count = format!("select count(*) as n from {table}");
        assert_eq!(ask(&ours, &count).await, ask(&theirs, &count).await, "{table}");
    }
    let counted = "select count(*) as n from spans";
    assert_ne!(ask(&ours, counted).await, json!([{"n": 0}]));
    assert_eq!(ask(&theirs, counted).await, json!([{"n": 0}]));
    let databases = "select datname from pg_database where datname <> 'postgres'";
    assert_eq!(ask(&ours, databases).await, json!([{"datname": "tracerag"}]));
}

/// Tables of `information_schema` are found with their schema only, others by their name; there are no indexes and no keys,
/// and what would list their columns is a list.
#[tokio::test]
async fn the_catalog_tells_what_is_found_and_how() {
    let lake = TestLake::example(false, 10_000).await;
    let session = session(&lake, "acme").await;
    let visible = "select relname, pg_table_is_visible(oid) as found from pg_class where relname in
                   ('spans', 'incidents', 'pg_class', 'key_column_usage') order by 1";
    assert_eq!(
        ask(&session, visible).await,
        json!([
            {"relname": "incidents", "found": true},
            {"relname": "key_column_usage", "found": false},
            {"relname": "pg_class", "found": true},
            {"relname": "spans", "found": true},
        ])
    );
    let counts = "select (select count(*) from pg_index) as indexes, (select count(*) from pg_constraint) as keys";
    assert_eq!(ask(&session, counts).await, json!([{"indexes": 0, "keys": 0}]));
    let kinds = "select attname, format_type(atttypid, atttypmod) as kind from pg_attribute
                 where attrelid = 'pg_catalog.pg_index'::regclass and attname in ('indkey', 'indclass') order by 1";
    assert_eq!(
        ask(&session, kinds).await,
        json!([{"attname": "indclass", "kind": "integer[]"}, {"attname": "indkey", "kind": "smallint[]"}])
    );
}

/// Patterns with an escape character of their own, and lists with their subscripts, in an analyst's statement.
#[tokio::test]
async fn words_of_postgres_are_understood() {
    let lake = TestLake::example(false, 10_000).await;
    let session = session(&lake, "acme").await;
    let patterns = "select 'a_b' like 'a/_b' escape '/' as same, 'axb' like 'a/_b' escape '/' as other,
                    'A%' ilike 'a!%' escape '!' as without_case, 'a/b' like 'a//b' escape '/' as escaped,
                    'ab' not like 'a/_' escape '/' as negated";
    assert_eq!(
        ask(&session, patterns).await,
        json!([{"same": true, "other": false, "without_case": true, "escaped": true, "negated": true}])
    );
    let tables = "select count(*) as n from pg_class where relname like 'pg/_class' || '%' escape '/'";
    assert_eq!(ask(&session, tables).await, json!([{"n": 1}]));
    let lists = "select unnest(l) as item, generate_subscripts(l, 1) as i from (select array['a', 'b'] as l) as t";
    assert_eq!(ask(&session, lists).await, json!([{"item": "a", "i": 1}, {"item": "b", "i": 2}]));
}

/// Functions that clients call about the server, and ours where `\df` looks.
#[tokio::test]
async fn functions_are_found() {
    let lake = TestLake::example(false, 10_000).await;
    let session = session(&lake, "acme").await;
    let version = ask(&session, "select version()").await;
    assert!(version[0]["version"].as_str().unwrap().starts_with("PostgreSQL 16"), "{version}");
    assert_eq!(ask(&session, "select current_database() as d").await, json!([{"d": "tracerag"}]));
    let listed =
        "select proname, pg_get_function_arguments(oid) as arguments from pg_proc where proname = 'trace_tree'";
    assert_eq!(ask(&session, listed).await, json!([{"proname": "trace_tree", "arguments": "trace_id"}]));
}
