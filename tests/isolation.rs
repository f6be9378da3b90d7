//! Tenants of one server, and what they may not learn of each other, over every interface.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightInfo;
use arrow_flight::error::FlightError;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};

use crate::kafka_worker::get;
use crate::postgres;
use crate::support::client::{Answer, Client};
use crate::support::clients::Clients;
use crate::support::served::Served;
use crate::support::tenants::{self, Interface, is_without};

/// All that a tenant can be given: an administrator sees the installation.
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
            r#"POST /v1/sql {"query": "select * from spans order by name", "page_size": 1}"#,
            r#"POST /v1/sql {"query": "select * from logs", "format": "csv"}"#,
        ]
    }

    fn request(&self, request: &str) -> String {
        let answer = self.ask(request);
        format!("{} {}", answer.status, answer.text)
    }
}

/// A client of the Flight SQL interface. A request is a pattern of table names.
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
            Err(FlightError::Tonic(status)) => format!("{:?} {}", status.code(), status.message()),
            Err(error) => error.to_string(),
        }
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
        vec!["%", "{word}%"]
    }

    fn request(&self, request: &str) -> String {
        let wanted = CommandGetTables {
            table_name_filter_pattern: Some(request.to_owned()),
            include_schema: true,
            ..CommandGetTables::default()
        };
        self.text(|mut client| async move { client.get_tables(wanted).await })
    }
}

/// A client of PostgreSQL's protocol.
struct Psql {
    clients: Clients,
    port: u16,
    token: String,
}

impl Interface for Psql {
    /// psql of this version binds no values, so they are written into the statement; `tests/postgres.rs` binds.
    fn sql(&self, statement: &str, values: &[&str]) -> String {
        let written = values.iter().enumerate().fold(statement.to_owned(), |statement, (index, value)| {
            statement.replace(&format!("${}", index + 1), &format!("'{value}'"))
        });
        let target = postgres::target(self.port, "isolation");
        let ran = self.clients.psql(&[("PGPASSWORD", &self.token)], &[&target, "-At", "-c", &written]);
        format!("{} {}{}", ran.status, ran.stdout, ran.stderr)
    }
}

/// See [`tenants::keeps_apart`].
#[test]
fn flight_sql_keeps_tenants_apart() {
    let (tracerag, names) = tenants::two();
    let served = Served::start(tracerag, "");
    let clients = names.each_ref().map(|names| -> Box<dyn Interface> {
        Box::new(Flight::of(served.flight_sql, &served.token(names.word, SCOPES)))
    });
    tenants::keeps_apart(&served.tracerag, &names, &clients);
}

/// See [`tenants::keeps_apart`].
#[test]
fn postgres_keeps_tenants_apart() {
    if Clients::find().is_none() {
        return;
    }
    let (tracerag, names) = tenants::two();
    let served = Served::start(tracerag, "");
    let clients = names.each_ref().map(|names| -> Box<dyn Interface> {
        let clients = Clients::find().expect("they were there a moment ago");
        Box::new(Psql { clients, port: served.postgres, token: served.token(names.word, SCOPES) })
    });
    tenants::keeps_apart(&served.tracerag, &names, &clients);
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
