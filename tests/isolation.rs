//! Tenants of one server, and what they may not learn of each other, over every interface.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, FlightClient, FlightDescriptor, FlightInfo};
use futures::TryStreamExt as _;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};

use crate::kafka_worker::get;
use crate::postgres;
use crate::support::client::{Answer, Client};
use crate::support::clients::{Asked, Clients};
use crate::support::served::{ALL, Served};
use crate::support::tenants::{self, Interface, is_without};

/// All that a tenant can be given: an administrator sees the installation, though no plan, and what was asked, by `audit`.
const SCOPES: &str = "sql,read,similar,heap,write";

/// A client of the HTTP interface. A request is a method, a path and a body, if it has one.
struct Http(Client);

impl Http {
    fn ask(&self, request: &str) -> Answer {
        let mut parts = request.splitn(3, ' ');
        let method = Method::from_bytes(parts.next().unwrap().as_bytes()).unwrap();
        let path = parts.next().unwrap();
        let body: Option<Value> = parts.next().map(|text| serde_json::from_str(text).unwrap());
        self.0.send(method, path, &[], body.as_ref()).expect("the server answers")
    }
}

impl Interface for Http {
    fn sql(&self, statement: &str, values: &[&str]) -> String {
        let params = if values.is_empty() { Value::Null } else { json!(values) };
        let answer = self.0.post("/v1/sql", &json!({"query": statement, "params": params}));
        format!("{} {}", answer.status, answer.text)
    }

    fn requests(&self) -> Vec<&'static str> {
        vec![
            "GET /v1/bundles/{trace}",
            "GET /v1/bundles/{trace}?format=markdown",
            "GET /v1/bundles/{bundle}",
            "POST /v1/bundles/{bundle}/pin",
            "DELETE /v1/bundles/{bundle}/pin",
            "GET /v1/traces/{trace}",
            "GET /jaeger/api/traces/{trace}",
            "GET /jaeger/api/traces?service={word}pay&start=1&end=4000000000000000",
            "GET /jaeger/api/services",
            "GET /jaeger/api/services/{word}pay/operations",
            "GET /jaeger/api/dependencies?endTs=4000000000000&lookback=4000000000000",
            "GET /jaeger/api/v3/trace-summaries?query.serviceName={word}pay&query.startTimeMin=2000-01-01T00:00:00Z",
            "GET /tempo/api/v2/traces/{trace}",
            "GET /tempo/api/search?start=1&end=4000000000&q=%7B.service.name=%22{word}pay%22%7D",
            "GET /tempo/api/search?start=1&end=4000000000&q=%7Btrace:id=%22{trace}%22%7D",
            "GET /tempo/api/v2/search/tags?start=1&end=4000000000",
            "GET /tempo/api/v2/search/tag/resource.service.name/values?start=1&end=4000000000",
            "GET /api/v2/traces/{trace}",
            "GET /api/search?start=1&end=4000000000&q=%7B.service.name=%22{word}pay%22%7D",
            "GET /v1/incidents",
            "GET /v1/incidents?service={word}pay",
            "GET /v1/incidents?appeared_with=true",
            "GET /v1/incidents/{fingerprint}",
            "GET /v1/trends?since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&bins=2",
            "GET /v1/status",
            r#"POST /v1/similar {"text": "quokkadigits overflow numbatdigits overflow", "k": 100}"#,
            r#"POST /v1/similar {"trace_id": "{trace}"}"#,
            r#"POST /v1/compare {"trace_id": "{trace}"}"#,
            r#"POST /v1/compare {"fingerprint": "{fingerprint}"}"#,
            r#"POST /v1/similar {"text": "overflow", "service": "{word}pay"}"#,
            r#"POST /v1/fixes {"fingerprint": "none", "summary": "seen", "bundle_id": "{bundle}"}"#,
            "GET /v1/fixes",
            "GET /v1/fixes?fingerprint={fingerprint}",
            r#"POST /v1/verify {"bundle_id": "{bundle}", "claims": "{word}pay failed [log:0]"}"#,
            r#"POST /v1/verify {"bundle": {"bundle_id": "{bundle}"}, "claims": "{word}pay failed [log:0]"}"#,
            r#"POST /v1/groupings {"action": "split", "fingerprint": "{fingerprint}"}"#,
            r#"POST /v1/groupings {"action": "merge", "fingerprint": "{fingerprint}", "into": "none"}"#,
            "GET /v1/canary?service={word}pay&baseline=1.8.2&candidate=1.9.0&since=2026-11-16T11:00:00Z&until=2026-11-16T13:00:00Z",
            "GET /v1/canary?service={word}pay&baseline=1.8.2&candidate=1.9.0&since=2026-11-16T11:00:00Z&until=2026-11-16T13:00:00Z&bundle={bundle}",
            r#"POST /v1/canary {"metadata": {"service": "{word}pay", "baseline": "1.8.2", "candidate": "1.9.0", "since": "2026-11-16T11:00:00Z", "until": "2026-11-16T13:00:00Z"}}"#,
            r#"POST /v1/changes?from={word} {"service": "{word}pay"}"#,
            "GET /traces/{trace}",
            "GET /bundles/{bundle}",
            "GET /incidents/{fingerprint}",
            r#"POST /v1/sql {"query": "select * from spans order by name", "page_size": 1}"#,
            r#"POST /v1/sql {"query": "select * from logs", "format": "csv"}"#,
        ]
    }

    fn request(&self, request: &str) -> String {
        let answer = self.ask(request);
        format!("{} {}", answer.status, answer.text)
    }
}

/// A client of the Flight SQL interface. A request is a kind of question, and what it is about.
struct Flight {
    client: FlightSqlServiceClient<Channel>,
    runtime: Runtime,
}

impl Flight {
    fn of(port: u16, token: &str) -> Flight {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let mut client = FlightSqlServiceClient::new(runtime.block_on(endpoint.connect()).unwrap());
        client.set_token(token.to_owned());
        Flight { client, runtime }
    }

    /// The rows behind the ticket that this gives, or the error, as text.
    fn text<F>(&self, asked: impl FnOnce(FlightSqlServiceClient<Channel>) -> F) -> String
    where
        F: Future<Output = Result<FlightInfo, FlightError>>,
    {
        let mut client = self.client.clone();
        let answered = self.runtime.block_on(async {
            let info = asked(client.clone()).await?;
            let ticket = info.endpoint[0].ticket.clone().unwrap();
            client.do_get(ticket).await?.try_collect::<Vec<RecordBatch>>().await
        });
        match answered {
            Ok(batches) => {
                let rows = batches.iter().flat_map(|batch| tracerag_query::json::rows(batch).unwrap());
                Value::from_iter(rows).to_string()
            }
            Err(error) => told(&error),
        }
    }

    /// What comes back for something else, as text.
    fn other<F>(&self, asked: impl FnOnce(FlightClient) -> F) -> String
    where
        F: Future<Output = Result<String, FlightError>>,
    {
        let mut client = FlightClient::new_from_inner(self.client.inner().clone());
        let token = self.client.token().expect("a token was set");
        client.add_header("authorization", &format!("Bearer {token}")).unwrap();
        self.runtime.block_on(asked(client)).unwrap_or_else(|error| told(&error))
    }

    /// The schema of the rows of a command.
    fn schema(&self, command: &impl ProstMessageExt) -> String {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        self.other(|mut client| async move { Ok(format!("{:?}", client.get_schema(descriptor).await?)) })
    }

    /// What an action answers.
    fn action(&self, name: &str, body: Vec<u8>) -> String {
        let action = Action::new(name, body);
        self.other(|mut client| async move {
            let results: Vec<_> = client.do_action(action).await?.try_collect().await?;
            Ok(results.iter().map(|result| String::from_utf8_lossy(result).into_owned()).collect::<String>())
        })
    }

    /// The schemas of rows and values of a statement that is prepared.
    fn prepared(&self, statement: &str) -> String {
        let mut client = self.client.clone();
        let prepared = self.runtime.block_on(async {
            let prepared = client.prepare(statement.to_owned(), None).await?;
            let told = format!("{:?} {:?}", prepared.dataset_schema()?, prepared.parameter_schema()?);
            prepared.close().await?;
            Ok::<_, FlightError>(told)
        });
        prepared.unwrap_or_else(|error| told(&error))
    }
}

/// An error, as text.
fn told(error: &FlightError) -> String {
    match error {
        FlightError::Tonic(status) => format!("{:?} {}", status.code(), status.message()),
        error => error.to_string(),
    }
}

impl Interface for Flight {
    fn sql(&self, statement: &str, values: &[&str]) -> String {
        self.text(|mut client| async move {
            if values.is_empty() {
                return client.execute(statement.to_owned(), None).await;
            }
            let mut prepared = client.prepare(statement.to_owned(), None).await?;
            let columns = values
                .iter()
                .enumerate()
                .map(|(place, value)| (place.to_string(), Arc::new(StringArray::from(vec![*value])) as ArrayRef));
            prepared.set_parameters(RecordBatch::try_from_iter(columns)?)?;
            prepared.execute().await
        })
    }

    fn requests(&self) -> Vec<&'static str> {
        vec![
            "tables %",
            "tables {word}%",
            "schemas %",
            "schemas {word}",
            "catalogs",
            "keys {word}",
            "schema select * from spans where trace_id = '{trace}'",
            "schema select * from {word}",
            "schema select * from evidence_bundle('{trace}')",
            "schema select * from similar_incidents('{trace}', 3)",
            "prepare select * from spans where service_name = '{word}pay' and trace_id = $1",
            "prepare select * from {word}.public.spans",
            "prepare select * from trace_tree('{trace}')",
            "prepare select cast('{word}' as int) from spans",
            "actions",
            "do GetSessionOptions",
            "do {word}",
            "flights",
            "poll select * from spans where trace_id = '{trace}'",
        ]
    }

    fn request(&self, request: &str) -> String {
        let (kind, about) = request.split_once(' ').unwrap_or((request, ""));
        let query = CommandStatementQuery { query: about.to_owned(), transaction_id: None };
        let some = Some(about.to_owned());
        match kind {
            "tables" => {
                let wanted = CommandGetTables {
                    table_name_filter_pattern: some,
                    include_schema: true,
                    ..CommandGetTables::default()
                };
                self.text(|mut client| async move { client.get_tables(wanted).await })
            }
            "schemas" => {
                let wanted = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: some };
                self.text(|mut client| async move { client.get_db_schemas(wanted).await })
            }
            "catalogs" => self.text(|mut client| async move { client.get_catalogs().await }),
            "keys" => {
                let wanted = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: about.to_owned() };
                self.text(|mut client| async move { client.get_primary_keys(wanted).await })
            }
            "schema" => self.schema(&query),
            "prepare" => self.prepared(about),
            "actions" => self.other(|mut client| async move {
                let actions: Vec<_> = client.list_actions().await?.try_collect().await?;
                Ok(format!("{actions:?}"))
            }),
            "do" => self.action(about, vec![]),
            "flights" => self.other(|mut client| async move {
                let flights: Vec<_> = client.list_flights("").await?.try_collect().await?;
                Ok(format!("{flights:?}"))
            }),
            "poll" => {
                let descriptor = FlightDescriptor::new_cmd(query.as_any().encode_to_vec());
                self.other(|mut client| async move { Ok(format!("{:?}", client.poll_flight_info(descriptor).await?)) })
            }
            other => panic!("no kind {other:?}"),
        }
    }
}

/// Clients of PostgreSQL's protocol: psycopg prepares each statement and binds its values. A request is what psql sends, by
/// the simple protocol.
struct Postgres {
    clients: Clients,
    psycopg: RefCell<Asked>,
    port: u16,
    token: String,
}

impl Postgres {
    fn of(served: &Served, token: String) -> Postgres {
        let clients = Clients::find().expect("they were there a moment ago");
        let port = served.postgres;
        let psycopg = clients.python_to_ask("isolation_postgres.py", &[&port.to_string(), &token]);
        Postgres { clients, psycopg: RefCell::new(psycopg), port, token }
    }

    /// The rows of a statement in the order of their texts, or the error.
    fn rows(&self, statement: &str) -> Vec<String> {
        let answer: Value = serde_json::from_str(&self.sql(statement, &[])).unwrap();
        let mut rows: Vec<String> = match answer["rows"].as_array() {
            Some(rows) => rows.iter().map(Value::to_string).collect(),
            None => vec![answer.to_string()],
        };
        rows.sort();
        rows
    }
}

impl Interface for Postgres {
    fn sql(&self, statement: &str, values: &[&str]) -> String {
        self.psycopg.borrow_mut().ask(&json!([statement, values]).to_string())
    }

    fn requests(&self) -> Vec<&'static str> {
        vec![
            "\\l",
            "\\dt",
            "\\dv",
            "\\df",
            "\\d {word}",
            "\\d spans",
            "select * from traces where trace_id = '{trace}'",
            "select * from {word}.spans",
            "begin; declare c cursor for select * from spans where trace_id = '{trace}'; fetch 10 from c; commit",
            "begin; declare c cursor for select name from spans; fetch 10 from c; savepoint {word}; fetch 10 from c; commit",
        ]
    }

    fn request(&self, request: &str) -> String {
        let target = postgres::target(self.port, "isolation");
        let ran = self.clients.psql(&[("PGPASSWORD", &self.token)], &[&target, "-At", "-c", request]);
        format!("{} {}{}", ran.status, ran.stdout, ran.stderr)
    }
}

/// See [`tenants::keeps_apart`]. Beyond it, no plan shows files and rows, as on every interface.
#[test]
fn flight_sql_keeps_tenants_apart() {
    let (tracerag, names) = tenants::two();
    let served = Served::start(tracerag, "");
    let clients = names.each_ref().map(|names| -> Box<dyn Interface> {
        Box::new(Flight::of(served.flight_sql, &served.token(names.word, SCOPES)))
    });
    tenants::keeps_apart(&served.tracerag, &names, &clients);
    tenants::shows_no_plan(&Flight::of(served.flight_sql, &served.token(names[0].word, ALL)));
}

/// See [`tenants::keeps_apart`]. Beyond it: every table of the catalog is the same for both, row by row.
#[test]
fn postgres_keeps_tenants_apart() {
    if Clients::find().is_none() {
        return;
    }
    let (tracerag, names) = tenants::two();
    let served = Served::start(tracerag, "");
    let of = |names: &tenants::Names| Postgres::of(&served, served.token(names.word, SCOPES));
    let clients = names.each_ref().map(|names| -> Box<dyn Interface> { Box::new(of(names)) });
    tenants::keeps_apart(&served.tracerag, &names, &clients);
    tenants::shows_no_plan(&Postgres::of(&served, served.token(names[0].word, ALL)));

    let (ours, theirs) = (of(&names[0]), of(&names[1]));
    let tables = ours.rows(
        "select n.nspname || '.' || c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n
         on n.oid = c.relnamespace where n.nspname in ('pg_catalog', 'information_schema')",
    );
    assert!(tables.len() > 10, "{tables:?}");
    for table in tables {
        let row: Vec<String> = serde_json::from_str(&table).unwrap();
        let statement = format!("select * from {}", row[0]);
        let rows = ours.rows(&statement);
        assert_eq!(rows, theirs.rows(&statement), "{statement}");
        for names in &names {
            is_without(&rows.join("\n"), names, &statement);
        }
    }
}

/// See [`tenants::keeps_apart`]. Beyond it: a fix for the other's incident is refused like one for an incident that there
/// is not, a cursor of the other leads to rows of one's own, the other's bundle stays as it was, and the metrics of the
/// server name nobody.
#[test]
fn http_keeps_tenants_apart() {
    let (tracerag, names) = tenants::two();
    let served = Served::start(tracerag, "");
    let tokens = names.each_ref().map(|names| served.token(names.word, SCOPES));
    let http = tokens.each_ref().map(|token| Http(served.client(token)));
    let clients = tokens.each_ref().map(|token| -> Box<dyn Interface> { Box::new(Http(served.client(token))) });
    tenants::keeps_apart(&served.tracerag, &names, &clients);
    tenants::shows_no_plan(&Http(served.client(&served.token(names[0].word, ALL))));

    let fix = |names: &tenants::Names| {
        let body = json!({"fingerprint": names.fingerprint, "summary": format!("{}pay rounds first", names.word)});
        format!("POST /v1/fixes {body}")
    };
    assert_eq!(http[0].ask(&fix(&names[1])).code(), "incident-unknown");
    assert_eq!(http[1].ask(&fix(&names[1])).status, 201);
    http[1].ask(&format!("POST /v1/bundles/{}/pin", names[1].bundle)).good();
    assert_eq!(http[0].ask(&format!("DELETE /v1/bundles/{}/pin", names[1].bundle)).code(), "bundle-unknown");
    assert_eq!(http[1].0.sql("select pinned from bundles").good(), json!([{"pinned": true}]));
    for question in ["select * from fixes", "select * from fix_events", "select * from bundle_events"] {
        is_without(&http[0].sql(question, &[]), &names[1], question);
    }

    let mut page = json!({"query": "select * from spans order by name", "page_size": 1});
    let first = http[1].0.post("/v1/sql", &page);
    page["cursor"] = json!(first.headers["tracerag-next-cursor"].to_str().unwrap());
    let second = http[0].0.post("/v1/sql", &page);
    assert_eq!(second.good()[0]["tenant_id"], names[0].word);
    is_without(&second.text, &names[1], "a cursor of the other");

    let (_, metrics) = get(served.metrics, "/metrics").unwrap();
    for names in &names {
        is_without(&metrics, names, "/metrics");
    }
}
