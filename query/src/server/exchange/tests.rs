//! Three servers of one lake in one process, each with a handle of its own on the lake, reached over connections.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use arrow::array::AsArray as _;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{CsvSource, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{CoordinatorToWorkerMsg, SetPlanRequest, TaskKey};
use datafusion_proto::physical_plan::{AsExecutionPlan as _, DefaultPhysicalExtensionCodec};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::StreamExt as _;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tracerag_index::LakeOptions;
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::*;
use crate::peers::PeersOptions;
use crate::server::engine::Engine;
use crate::tests::lake::{NOON, TestLake, ask, at, row, span};
use crate::{Session, SessionOptions};

const SERVERS: usize = 3;
const WORK: WorkLimits = WorkLimits { memory: 256 << 20, query_memory: 256 << 20, time: Duration::from_secs(60) };
/// Epochs of the lake, each of which is a fragment of each table.
const EPOCHS: i64 = 6;

/// Questions of analysts whose answers have one order.
const QUESTIONS: [&str; 10] = [
    "select service_name, count(*) as n, sum(duration_ns) as d, min(name) as a, max(name) as z from spans
     group by service_name order by service_name",
    "select count(*) as n, count(distinct trace_id) as traces, count(distinct service_name) as services from spans",
    "select distinct name, service_name from spans order by name, service_name",
    "select s.service_name, l.body, count(*) as n from spans s join logs l on s.trace_id = l.trace_id
     where s.duration_ns > 20 group by s.service_name, l.body order by 1, 2",
    "select trace_id, duration_ns from spans where name <> 'b' order by duration_ns desc, trace_id limit 7",
    "select trace_id, name, rank() over (partition by name order by duration_ns) as place from spans
     order by name, place, trace_id",
    "select l.body, s.name from logs l left join spans s on l.trace_id = s.trace_id and s.name = 'a'
     order by l.body, s.name, l.trace_id limit 20",
    "select service_name from spans where trace_id in (select trace_id from logs where body = 'log 3')
     union all select body from logs order by 1",
    "select attr(attributes, 'k') as k, repeat(name, 2) as twice, count(*) as n from spans group by 1, 2 order by 1, 2",
    "select json_get(body, 'x') as x, service_name, count(*) as n from logs group by 1, 2 order by 1, 2",
];

struct Cluster {
    lake: TestLake,
    urls: Vec<String>,
    key: Key,
    /// Each ends when it is taken out.
    servers: Vec<JoinSet<()>>,
    /// What each works with for others.
    runtimes: Vec<Arc<RuntimeEnv>>,
    /// The threads that the servers compute on. On those of the test, which the connections live on, a long step would keep
    /// a connection from saying that it is there.
    _engine: Engine,
    _stop: watch::Sender<bool>,
}

/// Spans and logs of two tenants, an epoch a fragment.
async fn written() -> TestLake {
    let lake = TestLake::empty().await;
    for epoch in 0..EPOCHS {
        let mut spans = Vec::new();
        let mut logs = Vec::new();
        for (number, tenant) in (0..12_i64).flat_map(|number| [(number, "acme"), (number, "other")]) {
            let trace_id = format!("{:032x}", epoch * 12 + number + if tenant == "acme" { 1 } else { 1_000 });
            let (name, service) = (["a", "b", "c"][number as usize % 3], ["checkout", "payments"][number as usize % 2]);
            let own = json!({"span_id": format!("{number:016x}"), "name": name, "service_name": service,
                             "duration_ns": epoch * 7 + number * 3, "attributes": {"k": name}});
            spans.push(span(tenant, &trace_id, epoch, own));
            let log = json!({"trace_id": trace_id, "service_name": service, "body": format!("log {}", number % 5),
                             "time": at(epoch), "severity_number": 9, "attributes": {}, "attributes_types": {},
                             "resource_attributes": {}, "record_hash": format!("{:032x}", epoch * 100 + number)});
            logs.push(row(tenant, number, epoch + 1, log));
        }
        lake.write(&[(Table::Spans, spans), (Table::Logs, logs)], NOON + epoch * SECOND).await;
    }
    lake
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(WORK).await
    }

    async fn start_with(work: WorkLimits) -> Self {
        let lake = written().await;
        let key = key(&lake.lake).await.unwrap();
        let mut listeners = Vec::new();
        for _ in 0..SERVERS {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let url = |address: SocketAddr| format!("http://{address}");
        let urls = listeners.iter().map(|listener| url(listener.local_addr().unwrap())).collect();
        let (stop, stopped) = watch::channel(false);
        let engine = Engine::start().unwrap();
        let threads = engine.handle().clone();
        let mut cluster = Self { lake, urls, key, servers: vec![], runtimes: vec![], _engine: engine, _stop: stop };
        for listener in listeners {
            let lake = Lake::open_to_ask(LakeOptions::new(cluster.lake.lake.uri())).await.unwrap();
            let runtime = work.runtime().unwrap();
            let router = service(cluster.peers_of(lake), cluster.key.clone(), work, Arc::clone(&runtime));
            let mut server = JoinSet::new();
            server.spawn(serve(listener, router, work, threads.clone(), stopped.clone()));
            cluster.servers.push(server);
            cluster.runtimes.push(runtime);
        }
        cluster
    }

    fn peers_of(&self, lake: Lake) -> Arc<Peers> {
        let options = PeersOptions { urls: self.urls.clone(), certificates: None, from_rows: 1 };
        Arc::new(Peers::new(lake, &options, &self.key).unwrap())
    }

    /// A session that spreads whatever can be spread.
    async fn session(&self, tenant: &str) -> Session {
        self.session_of(SessionOptions::new(tenant)).await
    }

    async fn session_of(&self, options: SessionOptions) -> Session {
        let peers = Some(self.peers_of(self.lake.lake.clone()));
        Session::open(&self.lake.lake, SessionOptions { peers, ..options }).await.unwrap()
    }

    /// Bytes that all servers hold for others.
    fn held(&self) -> usize {
        self.runtimes.iter().map(|runtime| runtime.memory_pool.reserved()).sum()
    }
}

/// The physical plan that `EXPLAIN` shows.
async fn explained(session: &Session, query: &str) -> String {
    let rows = ask(session, &format!("explain {query}")).await;
    let rows = rows.as_array().unwrap().iter();
    let physical = rows.filter(|row| row["plan_type"] == "physical_plan").map(|row| row["plan"].to_string());
    physical.collect()
}

/// Questions of analysts are asked of one server alone and of three: each plan names tasks on all of them, and each answer
/// is the same, row by row, for both tenants. Guarantees that spreading changes no answer and goes through no wall.
#[tokio::test(flavor = "multi_thread")]
async fn several_servers_answer_as_one() {
    let cluster = Cluster::start().await;
    for tenant in ["acme", "other"] {
        let (alone, spread) = (cluster.lake.session(tenant).await, cluster.session(tenant).await);
        for question in QUESTIONS {
            let plan = explained(&spread, question).await;
            assert!(plan.contains("DistributedExec") && plan.contains("tasks=3"), "{question}\n{plan}");
            assert!(!explained(&alone, question).await.contains("DistributedExec"));
            let expected = ask(&alone, question).await;
            assert!(expected.as_array().is_some_and(|rows| !rows.is_empty()), "{question}");
            assert_eq!(ask(&spread, question).await, expected, "{tenant}: {question}");
        }
    }
}

/// `EXPLAIN ANALYZE` runs the query on the peers and counts what each scan read there: all rows of the tenant, once, also
/// below a join, whose guards at the peers are no nodes.
#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_peers_is_shown() {
    let cluster = Cluster::start().await;
    let session = cluster.session("acme").await;
    for (question, tables) in [
        ("select service_name, count(*) from spans group by service_name", 1),
        ("select s.name, count(l.body) from spans s join logs l on s.trace_id = l.trace_id group by s.name", 2),
    ] {
        let shown = ask(&session, &format!("explain analyze {question}")).await;
        let shown = shown[0]["plan"].as_str().unwrap();
        let scans = shown.lines().filter(|line| line.contains("LakeScanExec") || line.contains("DistributedLeafExec"));
        let read: i64 = scans.filter_map(|line| line.split_once("output_rows=")).map(|(_, rows)| counted(rows)).sum();
        assert_eq!(read, EPOCHS * 12 * tables, "{shown}");
    }
}

/// A count as a plan shows it: `72`, or that of each task, `{0:24, 1:24, 2:24}`.
fn counted(shown: &str) -> i64 {
    let number =
        |text: &str| text.trim().split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse::<i64>().unwrap();
    match shown.strip_prefix('{').and_then(|shown| shown.split_once('}')) {
        Some((tasks, _)) => tasks.split(',').map(|task| number(task.split_once(':').unwrap().1)).sum(),
        None => number(shown),
    }
}

/// What is computed where it is asked, what lies in memory, what is looked up by its trace, what joins all with all and what
/// reads nothing stays on the server that was asked, and is answered.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_travel_stays() {
    let cluster = Cluster::start().await;
    let session = cluster.session("acme").await;
    for query in [
        String::from("select count(*) from incidents"),
        String::from(
            "select t.n, s.n from (select count(*) as n from log_templates()) t cross join (select count(*) as n from spans) s",
        ),
        format!("select name from spans where trace_id = '{:032x}'", 1),
        String::from(
            "select service_name, count(*) from spans where duration_ns > (select avg(duration_ns) from spans) group by 1",
        ),
        String::from(
            "select json_get(body, 'x') as x, attr(attributes, 'k') as k, repeat(name, 2) as twice, count(*) as n
             from spans cross join (select max(body) as body from logs) group by 1, 2, 3",
        ),
        String::from("select table_name from information_schema.tables"),
        String::from("select 1"),
    ] {
        assert!(!explained(&session, &query).await.contains("DistributedExec"), "{query}");
        session.collect(&query, None).await.unwrap();
    }
}

/// Servers go, one after the other, while questions are asked: each answer is the same as before, also when no peer is
/// left, and the peers that are gone get no more work.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_gone_changes_no_answer() {
    let mut cluster = Cluster::start().await;
    let session = cluster.session("acme").await;
    let question = QUESTIONS[0];
    let expected = ask(&session, question).await;
    while let Some(mut server) = cluster.servers.pop() {
        server.abort_all();
        while server.join_next().await.is_some() {}
        for _ in 0..2 {
            assert_eq!(ask(&session, question).await, expected, "{} servers are left", cluster.servers.len());
        }
    }
    assert!(!explained(&session, question).await.contains("DistributedExec"));
}

/// A part of a plan is sent without a token, and with the token of a server of another lake: it is refused before it is
/// looked at. With the right one the same message is looked at, and found to be no plan.
#[tokio::test(flavor = "multi_thread")]
async fn work_of_strangers_is_refused() {
    let cluster = Cluster::start().await;
    let foreign = key(&TestLake::empty().await.lake).await.unwrap();
    for (shown, expected) in [(None, "only servers of this lake"), (Some(foreign), "only servers of this lake")] {
        let refused = sent(&cluster.urls[0], shown, b"no plan".to_vec()).await;
        assert!(refused.contains(expected), "{refused}");
    }
    let known = sent(&cluster.urls[0], Some(cluster.key.clone()), b"no plan".to_vec()).await;
    assert!(!known.is_empty() && !known.contains("only servers of this lake"), "{known}");
}

/// A sound plan that reads a file which is there is sent with the right token. Guarantees that who can make tokens can have
/// the lake read, and no file of the server.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_for_nobody() {
    let cluster = Cluster::start().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"secret\n").unwrap();
    let refused = sent(&cluster.urls[0], Some(cluster.key.clone()), reading(file.path())).await;
    assert!(refused.contains("nothing that servers of a lake compute"), "{refused}");
}

/// A plan that reads a file of CSV, as it is sent.
fn reading(file: &Path) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, true)]));
    let file = PartitionedFile::new(file.to_str().unwrap(), std::fs::metadata(file).unwrap().len());
    let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(CsvSource::new(schema)));
    let plan = DataSourceExec::from_data_source(scan.with_file(file).build());
    PhysicalPlanNode::try_from_physical_plan(plan, &DefaultPhysicalExtensionCodec {}).unwrap().encode_to_vec()
}

/// What a server says to a part of a plan that it does not take.
async fn sent(url: &str, key: Option<Key>, plan_proto: Vec<u8>) -> String {
    let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
    let mut client = create_worker_client(BoxCloneSyncChannel::new(channel));
    let mut headers = axum::http::HeaderMap::new();
    if let Some(key) = key {
        headers.extend(key.header());
    }
    let request = SetPlanRequest {
        task_key: TaskKey {
            query_id: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            stage_id: 1,
            task_number: 0,
        },
        task_count: 1,
        plan_proto,
        work_unit_feed_declarations: vec![],
        target_worker_url: url.parse().unwrap(),
        query_start_time_ns: 0,
    };
    let message = CoordinatorToWorkerMsg::SetPlanRequest(request);
    let sent = client.coordinator_channel(headers, futures::stream::iter([message]).boxed()).await;
    sent.map(drop).unwrap_err().to_string()
}

/// A question is asked and its answer given up, many times: before a row came, and after the first ones. Guarantees that
/// what was begun for nobody ends: the peers hold nothing any more, and can still answer.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_given_up_end_at_the_peers() {
    let cluster = Cluster::start().await;
    let session = cluster.session("acme").await;
    let question = "select s.name, l.body from spans s join logs l using (service_name) order by 1, 2";
    let expected: Value = ask(&session, question).await;
    for time in 0..32 {
        let mut answer = session.sql(question, None).await.unwrap();
        if time % 2 == 0 {
            answer.next().await.unwrap().unwrap();
        }
    }
    assert_eq!(ask(&session, question).await, expected);
    let all_is_free = async {
        while cluster.held() > 0 {
            // What a server keeps of its tasks is swept while it is asked.
            ask(&session, QUESTIONS[0]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(120), all_is_free).await;
    assert!(ended.is_ok(), "{} bytes are still held", cluster.held());
}

/// Peers have too little memory for their parts of a join and of a sort, and so has the server that is asked, unless it
/// spills. Guarantees that it answers as it would without peers: with all rows, in their order.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_peers_spills_where_it_is_asked() {
    // Without optimisation, and on a slow machine, all that spills may take longer than a query has elsewhere.
    let time = Duration::from_secs(600);
    let cluster = Cluster::start_with(WorkLimits { memory: 1 << 20, time, ..WORK }).await;
    let more = (0..360_i64).map(|number| {
        let service = ["checkout", "payments"][number as usize % 2];
        let own = json!({"span_id": format!("{number:016x}"), "name": "d", "service_name": service});
        span("acme", &format!("{:032x}", 10_000 + number), EPOCHS, own)
    });
    cluster.lake.write(&[(Table::Spans, more.collect())], NOON + EPOCHS * SECOND).await;
    // Of 216 spans of each of two services: 93,312 texts of 384 bytes, all different.
    let texts = "(select repeat(concat(a.trace_id, b.trace_id), 6) as text from spans a
                  join spans b on a.service_name = b.service_name)";
    let options = SessionOptions { memory_limit: 16 << 20, time_limit: time, ..SessionOptions::new("acme") };
    let session = cluster.session_of(options).await;
    let joined = format!(
        "select count(*) as n, sum(length(x.text) + length(y.text)) as length from {texts} x join {texts} y on x.text = y.text"
    );
    assert!(explained(&session, &joined).await.contains("DistributedExec"));
    assert_eq!(ask(&session, &joined).await, json!([{"n": 93_312, "length": 71_663_616}]));
    let sorted = format!("select text from {texts} order by text");
    assert!(explained(&session, &sorted).await.contains("DistributedExec"));
    let (mut rows, mut last) = (0, String::new());
    for batch in session.collect(&sorted, None).await.unwrap() {
        let texts = cast(batch.column(0), &DataType::LargeUtf8).unwrap();
        for text in texts.as_string::<i64>().iter().flatten() {
            assert!(last.as_str() < text, "{last} is before {text}");
            last = text.to_owned();
            rows += 1;
        }
    }
    assert_eq!(rows, 93_312);
}
