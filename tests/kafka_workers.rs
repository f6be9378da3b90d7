//! Several `tracerag run` of one group on a real Kafka broker: they come, stop, are killed and stand still, and every
//! trace is written once, whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tracerag_ingest::source::{Cluster, KafkaConfig, TopicsConfig};

use crate::kafka_worker::{LIMIT, Topics, get, metrics_port, named_config, until};
use crate::support::kafka::{Kafka, Record};
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::wait_for;

/// Traces that are begun at once.
const TRACES: usize = 10;

/// The shortest that the broker permits.
pub const SHORT_SESSION: &str = "\"session.timeout.ms\" = 6000, \"heartbeat.interval.ms\" = 500";

/// A lake, topics that are keyed by trace id, and the group that reads them.
struct Group {
    kafka: &'static Kafka,
    tracerag: Tracerag,
    topics: Topics,
    cluster: Cluster,
}

impl Group {
    fn new(kafka: &'static Kafka, partitions: i32) -> Group {
        let topic = |stem: &str| kafka.topic(stem, partitions);
        let topics =
            Topics { spans: topic("group-spans"), logs: topic("group-logs"), metrics: kafka.topic("group-metrics", 1) };
        let of_group = format!(r#"{{"bootstrap_servers": "{}", "group_id": "{}"}}"#, kafka.bootstrap(), topics.spans);
        let of_group: KafkaConfig = serde_json::from_str(&of_group).unwrap();
        let cluster = Cluster::connect(&of_group, &TopicsConfig::default(), LIMIT).unwrap();
        Group { kafka, tracerag: Tracerag::new(), topics, cluster }
    }

    /// A configuration of a worker of this name, with more settings of its client. Only the end of its root closes a
    /// trace, and a partition counts however slow it is, so that a second revision tells of parts that lay apart.
    fn config(&self, name: &str, options: &str) -> PathBuf {
        let path = named_config(&self.tracerag, self.kafka, &self.topics, name, options);
        let text = std::fs::read_to_string(path).unwrap().replacen(
            "[lake]\n",
            "[window]\nidle_gap = \"4m\"\nidle_partition = \"1m\"\n[lake]\n",
            1,
        );
        self.tracerag.write(&format!("{name}.toml"), text)
    }

    fn worker(&self, name: &str, options: &str) -> Process {
        self.tracerag.worker_logging(&self.config(name, options), &format!("{name}.log"))
    }

    /// Waits until the group has so many members, and each has partitions.
    fn has_members(&self, count: usize, one: &Process) {
        let mut last = String::new();
        let start = std::time::Instant::now();
        while start.elapsed() < LIMIT {
            let members = self.cluster.members().unwrap_or_default();
            if members.len() == count && members.iter().all(|member| member.partitions.is_some_and(|has| has > 0)) {
                return;
            }
            last = format!("{members:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("the group has not {count} members with partitions, but {last}\n{}", one.log_tail());
    }

    /// Waits until everything of these traces is in the lake, and holds each against what was sent: once, and in one
    /// piece.
    fn assert_whole(&self, traces: usize, one: &Process) {
        let traces = traces as i64;
        assert!(traces > 0);
        let until = |query: &str, wanted| until(&self.tracerag, query, wanted, || one.log_tail());
        until("select count(*) from traces where span_count = 2 and log_count = 2", traces);
        until("select count(*) from logs", 2 * traces);
        for (query, wanted) in [
            ("select count(*) from spans", 2 * traces),
            ("select count(*) from (select distinct trace_id, span_id from spans)", 2 * traces),
            ("select count(*) from (select distinct trace_id, body from logs)", 2 * traces),
            ("select count(*) from trace_revisions", traces),
            ("select count(*) from dead_letters", 0),
        ] {
            assert_eq!(self.tracerag.number(query), wanted, "{query}");
        }
    }
}

fn stop(worker: Process) {
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
}

fn id(trace: usize) -> String {
    format!("{:032x}", trace + 1)
}

/// A message with one span; the root comes last.
fn span(trace: usize, part: u8) -> String {
    let (span, parent) = match part {
        1 => (2, "\"parentSpanId\": \"0000000000000001\", "),
        _ => (1, ""),
    };
    format!(
        "{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{{\"traceId\": \"{}\", \"spanId\": \"{span:016x}\", \
         {parent}\"name\": \"GET /\", \"startTimeUnixNano\": \"1764500000000000000\", \
         \"endTimeUnixNano\": \"1764500001000000000\"}}]}}]}}]}}",
        id(trace)
    )
}

/// A message with one log record.
fn log(trace: usize, part: u8) -> String {
    format!(
        "{{\"resourceLogs\": [{{\"scopeLogs\": [{{\"logRecords\": [{{\"timeUnixNano\": \"1764500000000000000\", \
         \"severityNumber\": 9, \"body\": {{\"stringValue\": \"part {part}\"}}, \"traceId\": \"{}\", \
         \"spanId\": \"0000000000000001\"}}]}}]}}]}}",
        id(trace)
    )
}

/// Sends traces, each in two parts of a span and a log record, a moment apart, until it is told to end, but at least
/// once. Dropping it ends it as well.
struct Load {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Load {
    /// `from` is the number of the first trace.
    fn start(group: &Group, from: usize) -> Load {
        let ends = Arc::new(AtomicBool::new(false));
        let (kafka, told) = (group.kafka, Arc::clone(&ends));
        let (spans, logs) = (group.topics.spans.clone(), group.topics.logs.clone());
        let thread = std::thread::spawn(move || {
            let mut begun = from..from;
            loop {
                let more = if begun.end > from && told.load(Ordering::Relaxed) { 0 } else { TRACES };
                let next = begun.end..begun.end + more;
                let parts = || begun.clone().map(|trace| (trace, 2)).chain(next.clone().map(|trace| (trace, 1)));
                // Logs first: when the root has come, nothing more does.
                kafka.produce_keyed(&logs, parts().map(|(trace, part)| (id(trace), log(trace, part))));
                kafka.produce_keyed(&spans, parts().map(|(trace, part)| (id(trace), span(trace, part))));
                begun = next;
                if begun.is_empty() {
                    return begun.end;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Load { ends, thread: Some(thread) }
    }

    /// Ends it; gives the number of traces that were sent in all.
    fn end(mut self) -> usize {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().expect("the broker takes everything")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// While traces come, a second worker joins, the first one is killed, a third joins, and the second is stopped by
/// SIGTERM.
fn come_and_go(assignor: &str) {
    let Some(kafka) = Kafka::shared() else { return };
    let group = Group::new(kafka, 4);
    let options = format!("\"partition.assignment.strategy\" = \"{assignor}\", {SHORT_SESSION}");
    let load = Load::start(&group, 0);
    let first = group.worker("first", &options);
    group.has_members(1, &first);
    let second = group.worker("second", &options);
    group.has_members(2, &second);
    first.kill();
    group.has_members(1, &second);
    let third = group.worker("third", &options);
    group.has_members(2, &third);
    stop(second);
    group.has_members(1, &third);
    let traces = load.end();
    group.assert_whole(traces, &third);
    assert!(third.alive(), "{}", third.log_tail());
    stop(third);
}

/// Workers of an eager group come, are killed and stop under load: every span and log record is there once, and every
/// trace is whole in its first revision. Guarantees that nothing is lost or doubled, that logs meet their spans, and
/// that open traces move whole.
#[test]
fn workers_of_an_eager_group_come_and_go() {
    come_and_go("range");
}

/// The same of a cooperative group, whose assignor does not keep equal numbers together.
#[test]
fn workers_of_a_cooperative_group_come_and_go() {
    come_and_go("cooperative-sticky");
}

/// A worker stands still for longer than its session while another one takes its partitions and goes on; then it wakes
/// up. It adds nothing, says that it was shut out in a metric, and joins again without a restart; everything is there
/// once and whole.
#[test]
fn a_worker_that_stood_still_joins_again() {
    let Some(kafka) = Kafka::shared() else { return };
    let group = Group::new(kafka, 4);
    let load = Load::start(&group, 0);
    let config = group.config("sleeper", SHORT_SESSION);
    let mut sleeper = group.tracerag.worker_logging(&config, "sleeper.log");
    let other = group.worker("other", SHORT_SESSION);
    group.has_members(2, &other);
    sleeper.signal("STOP");
    group.has_members(1, &other);
    sleeper.signal("CONT");
    group.has_members(2, &sleeper);
    let told = wait_for("the sleeper tells that it was shut out", LIMIT, || {
        let (_, text) = get(metrics_port(&config), "/metrics")?;
        text.lines().find(|line| line.starts_with("tracerag_fenced_total{")).map(str::to_owned)
    });
    assert!(!told.ends_with(" 0"), "{told}");
    let traces = load.end();
    group.assert_whole(traces, &other);
    assert!(sleeper.alive() && other.alive(), "{}", sleeper.log_tail());
    stop(sleeper);
    stop(other);
}

/// A worker is killed while the lake is away, and the one that is left cannot claim what it gets from it. A further
/// member of the group gets partitions nevertheless, long before the group would take the waiting worker for dead, and
/// leaves again. Guarantees that a claim that waits for the lake keeps nobody waiting, and that every trace is there
/// once, in one piece, when the lake is back.
#[test]
fn a_group_goes_on_while_a_claim_waits() {
    let Some(kafka) = Kafka::shared() else { return };
    let group = Group::new(kafka, 4);
    let (folder, nothing) = (group.tracerag.path("folder"), group.tracerag.write("nothing", ""));
    std::fs::create_dir(&folder).unwrap();
    group.tracerag.point_lake_at(&folder);
    let load = Load::start(&group, 0);
    // The group waits for it for longer than this test does for the further member.
    let patient = format!("{SHORT_SESSION}, \"max.poll.interval.ms\" = {}", 2 * LIMIT.as_millis());
    let config = group.config("left", &patient);
    let left = group.tracerag.worker_logging(&config, "left.log");
    let killed = group.worker("killed", SHORT_SESSION);
    group.has_members(2, &killed);
    let first = load.end();
    group.assert_whole(first, &left);

    group.tracerag.point_lake_at(&nothing);
    killed.kill();
    wait_for("a claim waits", LIMIT, || {
        assert!(left.alive(), "{}", left.log_tail());
        let (_, text) = get(metrics_port(&config), "/metrics")?;
        text.lines().any(|line| line.starts_with("tracerag_lake_errors_total{step=\"claim\"}")).then_some(())
    });
    let further: BaseConsumer = kafka
        .client()
        .set("group.id", &group.topics.spans)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    further.subscribe(&[group.topics.spans.as_str()]).unwrap();
    wait_for("the further member has partitions", LIMIT, || {
        further.poll(Duration::from_millis(100));
        further.assignment().ok().filter(|partitions| partitions.count() > 0)
    });
    assert!(left.alive(), "{}", left.log_tail());
    drop(further);

    group.tracerag.point_lake_at(&folder);
    let all = Load::start(&group, first).end();
    group.assert_whole(all, &left);
    stop(left);
}

/// A worker with a name of its own (`group.instance.id`) is killed and comes back within its session: it gets its
/// partitions back, the other worker is not disturbed, and everything is there once and whole.
#[test]
fn a_named_worker_gets_its_partitions_back() {
    let Some(kafka) = Kafka::shared() else { return };
    let group = Group::new(kafka, 4);
    let named = |name: &str| format!("\"group.instance.id\" = \"{name}\", \"session.timeout.ms\" = 300000");
    let load = Load::start(&group, 0);
    let one = group.worker("one", &named("one"));
    let two = group.worker("two", &named("two"));
    group.has_members(2, &two);
    let first = load.end();
    group.assert_whole(first, &two);
    let claims = || std::fs::read_to_string(group.tracerag.path("two.log")).unwrap().matches("\"claimed\"").count();
    let before = claims();
    assert!(before > 0);

    let load = Load::start(&group, first);
    one.kill();
    let one = group.worker("one", &named("one"));
    let all = load.end();
    group.assert_whole(all, &one);
    assert_eq!(claims(), before, "{}", two.log_tail());
    stop(one);
    stop(two);
}

/// How many workers have read something of a partition.
fn readers(configs: [&PathBuf; 2], topic: &str, partition: i32) -> usize {
    let number = format!("partition=\"{partition}\"");
    let reads = |config: &PathBuf| {
        let (_, text) = get(metrics_port(config), "/metrics").unwrap_or_default();
        let is_of = |line: &str| line.starts_with("tracerag_records_total{") && line.contains(topic);
        text.lines().any(|line| is_of(line) && line.contains(&number))
    };
    configs.into_iter().filter(|config| reads(config)).count()
}

/// A topic of logs gets more partitions than that of spans has: one of two workers reads a new one, the one that has
/// the spans of its remainder, without a restart. Then the topic of spans gets as many, and traces of the new number
/// meet there. Guarantees that no partition is left, and none read twice.
#[test]
fn new_partitions_are_read() {
    let Some(kafka) = Kafka::shared() else { return };
    let group = Group::new(kafka, 2);
    // A worker that is late for once must not be taken for dead: what it has read would be read by the other one, too.
    let options = "\"topic.metadata.refresh.interval.ms\" = 1000, \"session.timeout.ms\" = 60000";
    let (first, second) = (group.config("first", options), group.config("second", options));
    let one = group.tracerag.worker_logging(&first, "first.log");
    let two = group.tracerag.worker_logging(&second, "second.log");
    group.has_members(2, &two);
    // Who comes to others looks at the topics first, and would refuse those whose numbers of partitions differ.
    for log in ["first.log", "second.log"] {
        wait_for("the worker has looked at the topics", LIMIT, || {
            let log = std::fs::read_to_string(group.tracerag.path(log)).unwrap();
            log.contains("looked at the newest messages").then_some(())
        });
    }
    let produce = |topic: &str, partition: i32, message: String| {
        let record = Record { payload: Some(message.as_bytes()), partition: Some(partition), ..Record::default() };
        kafka.produce(topic, [record]);
    };
    let until = |traces| {
        let query = "select count(*) from traces where span_count = 2 and log_count = 2";
        until(&group.tracerag, query, traces, || format!("{}\n{}", one.log_tail(), two.log_tail()));
    };
    kafka.add_partitions(&group.topics.logs, 4);
    for part in [1, 2] {
        produce(&group.topics.logs, 3, log(0, part));
    }
    wait_for("the new partition is read", LIMIT, || {
        for worker in [&one, &two] {
            assert!(worker.alive(), "{}", worker.log_tail());
        }
        (readers([&first, &second], &group.topics.logs, 3) > 0).then_some(())
    });
    for part in [1, 2] {
        produce(&group.topics.spans, 1, span(0, part));
    }
    until(1);
    assert_eq!(readers([&first, &second], &group.topics.logs, 3), 1);

    kafka.add_partitions(&group.topics.spans, 4);
    for part in [1, 2] {
        produce(&group.topics.logs, 3, log(1, part));
        produce(&group.topics.spans, 3, span(1, part));
    }
    until(2);
    group.assert_whole(2, &one);
    assert!(one.alive() && two.alive(), "{}", one.log_tail());
    stop(one);
    stop(two);
}
