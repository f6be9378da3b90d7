//! Events about incidents, as a worker tells them to a topic and to a webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rdkafka::message::{Headers as _, Message as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::kafka_worker::{LIMIT, Topics, config, get, metrics_port, until};
use crate::support::clients::Clients;
use crate::support::kafka::Kafka;
use crate::support::process::Process;
use crate::support::program::Tracerag;
use crate::support::wait_for;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A request that a receiver of webhooks got.
#[derive(Clone)]
struct Request {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        Some(Request { headers, body: String::from_utf8(body).ok()? })
    }

    /// Whether it is signed as the standard says.
    fn is_signed(&self) -> bool {
        let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, time) = (&self.headers["webhook-id"], &self.headers["webhook-timestamp"]);
        mac.update(format!("{id}.{time}.{}", self.body).as_bytes());
        self.headers["webhook-signature"] == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A receiver that refuses the first requests, as one that is broken does, and takes the others. It lives as long as the
/// tests.
struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    fn refusing(first: usize) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let got = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some(request) = Request::read(&stream) else { continue };
                let mut got = got.lock().unwrap();
                let status = if got.len() < first { "500 Internal Server Error" } else { "204 No Content" };
                got.push(request);
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Receiver { port, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// A span that ends with an exception, as a resource has it. Spans of a trace are numbered.
fn failed(trace: usize, span: u8, parent: Option<u8>, place: (&str, &str), exception: &str, ended: u128) -> Value {
    let id = |number: u8| format!("{:016x}", (trace << 8) + usize::from(number));
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let (service, version) = place;
    let begun = ended - 1_000_000 * u128::from(10 - 4 * span);
    let mut failed = json!({
        "traceId": format!("{trace:032x}"), "spanId": id(span), "name": "POST /pay", "kind": 2,
        "startTimeUnixNano": begun.to_string(), "endTimeUnixNano": ended.to_string(), "status": {"code": 2},
        "events": [{"name": "exception", "timeUnixNano": ended.to_string(), "attributes": [
            attribute("exception.type", exception), attribute("exception.message", "it went wrong")]}],
    });
    if let Some(parent) = parent {
        failed["parentSpanId"] = json!(id(parent));
    }
    let resource = json!({"attributes": [attribute("service.name", service), attribute("service.version", version)]});
    json!({"resource": resource, "scopeSpans": [{"spans": [failed]}]})
}

/// A message with resources of a trace, with its key.
fn message(trace: usize, resources: &[Value]) -> (String, String) {
    (format!("{trace:032x}"), json!({"resourceSpans": resources}).to_string())
}

fn ago(time: Duration) -> u128 {
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - time).as_nanos()
}

/// A trace of one span that failed some time ago in a version of the service.
fn failing_in(version: &str, trace: usize, exception: &str, time: Duration) -> (String, String) {
    message(trace, &[failed(trace, 1, None, ("payments", version), exception, ago(time))])
}

/// A trace of one span that fails now with an exception of this type, with its key.
fn failing(trace: usize, exception: &str) -> (String, String) {
    failing_in("1.9.0", trace, exception, Duration::ZERO)
}

/// A trace whose failure passes another service on its way up.
fn travelling(trace: usize, exception: &str) -> (String, String) {
    let now = ago(Duration::ZERO);
    let caller = failed(trace, 1, None, ("checkout", "3.0.0"), "CheckoutFailed", now);
    let origin = failed(trace, 2, Some(1), ("payments", "1.9.0"), exception, now - 2_000_000);
    message(trace, &[caller, origin])
}

/// The events in a topic.
fn events(kafka: &Kafka, topic: &str) -> Vec<Value> {
    let messages = kafka.read_all(topic);
    messages.iter().map(|message| serde_json::from_slice(message.payload().unwrap()).unwrap()).collect()
}

/// A worker takes a failing trace and tells of it; its webhook is broken at first. It is stopped, another one goes on,
/// and takes the same failure again and a new one. Guarantees CloudEvents of the stated form with the incident's
/// fingerprint, version and example, the same in the topic and at the webhook; that what was refused comes again under
/// its id, each time signed anew; that the secret is not in the log; that a failure which was told of is not new to the
/// next worker; and that who was killed keeps the next one from telling only for a while.
#[test]
fn incidents_are_told_of_once() {
    let Some(kafka) = Kafka::shared() else { return };
    let tracerag = Tracerag::new();
    let topics = Topics::new(kafka);
    let told = kafka.topic("incident-events", 1);
    let receiver = Receiver::refusing(1);
    let text = std::fs::read_to_string(config(&tracerag, kafka, &topics, "otlp_json")).unwrap();
    let section = format!(
        "[incident_events]\ntopic = \"{told}\"\n\
         webhooks = [{{ url = \"http://127.0.0.1:{}/hook\", secret_env = \"HOOK_SECRET\", kinds = [\"new\"] }}]\n\
         [serve]\npublic_url = \"https://tracerag.example.com\"\n",
        receiver.port
    );
    let config = tracerag.write("tracerag.toml", format!("{text}{section}"));
    let secret = format!("HOOK_SECRET={SECRET}");
    let worker = tracerag.worker_knowing(&[&secret], &config, "one.log");
    kafka.produce_keyed(&topics.spans, [failing(1, "CardDeclined")]);

    let event = wait_for("the topic has an event", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        events(kafka, &told).into_iter().next()
    });
    let incident = tracerag.sql("select fingerprint, title, versions, appeared_with, regressed_at from new_incidents");
    let [incident] = incident.as_slice() else { panic!("one incident, not {incident:?}") };
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("dev.tracerag.incident.new")));
    assert_eq!((&event["subject"], &event["data"]["title"]), (&incident["fingerprint"], &incident["title"]));
    assert_eq!((&event["data"]["versions"], &event["data"]["service_name"]), (&json!(["1.9.0"]), &json!("payments")));
    let example = format!("{:032x}", 1);
    assert_eq!(event["data"]["example_trace_id"], json!(example));
    let page = format!("https://tracerag.example.com/incidents/{}", event["subject"].as_str().unwrap());
    assert_eq!(event["data"]["link"], json!(page));
    assert_eq!(event["data"]["bundle_link"], json!(format!("https://tracerag.example.com/v1/bundles/{example}")));
    let messages = kafka.read_all(&told);
    assert_eq!(messages[0].key().map(<[u8]>::to_vec), event["subject"].as_str().map(|key| key.as_bytes().to_vec()));
    let header = messages[0].headers().unwrap().get(0);
    assert_eq!((header.key, header.value), ("content-type", Some(&b"application/cloudevents+json; charset=UTF-8"[..])));

    let requests = wait_for("the webhook is tried again", LIMIT, || {
        Some(receiver.requests()).filter(|requests| requests.len() >= 2)
    });
    for request in &requests {
        assert!(request.is_signed(), "{:?}", request.headers);
        assert_eq!(request.headers["webhook-id"], event["id"]);
        assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), event);
    }

    let log = std::fs::read_to_string(tracerag.path("one.log")).unwrap();
    assert!(worker.terminate(), "the worker does not end on SIGTERM");
    let worker = tracerag.worker_knowing(&[&secret], &config, "two.log");
    kafka.produce_keyed(&topics.spans, [failing(2, "CardDeclined")]);
    until(&tracerag, "select max(failure_count) from incidents", 2, || worker.log_tail());
    kafka.produce_keyed(&topics.spans, [failing(3, "LedgerLocked")]);
    let ids = |worker: &Process, wanted: usize| {
        let ids = wait_for("the other incident is told of", LIMIT, || {
            assert!(worker.alive(), "{}", worker.log_tail());
            let events = events(kafka, &told);
            let ids: BTreeSet<String> = events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
            (ids.len() >= wanted).then_some(ids)
        });
        assert_eq!(ids.len(), wanted, "{ids:?}");
    };
    ids(&worker, 2);
    wait_for("the webhook has it, too", LIMIT, || {
        receiver.requests().iter().any(|request| request.headers["webhook-id"] != event["id"]).then_some(())
    });
    let logs = log + &std::fs::read_to_string(tracerag.path("two.log")).unwrap();
    assert!(logs.contains("was not taken") && !logs.contains(SECRET) && !logs.contains("/hook"), "{logs}");

    worker.kill();
    let worker = tracerag.worker_knowing(&[&secret], &config, "three.log");
    kafka.produce_keyed(&topics.spans, [failing(4, "NoStock")]);
    ids(&worker, 3);
}

/// The events of a kind.
fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let name = format!("dev.tracerag.incident.{kind}");
    events.iter().filter(|event| event["type"] == name.as_str()).collect()
}

/// A worker with `[incident_events]`, and what receives them.
struct Told<'k> {
    // Ends before its folder goes.
    worker: Process,
    kafka: &'k Kafka,
    tracerag: Tracerag,
    spans: String,
    topic: String,
    receiver: Receiver,
}

impl<'k> Told<'k> {
    /// A worker that is ready: the times of what is sent are told from then on.
    fn start(kafka: &'k Kafka, settings: &str, kinds: &str) -> Told<'k> {
        let (tracerag, topics, receiver) = (Tracerag::new(), Topics::new(kafka), Receiver::refusing(0));
        let topic = kafka.topic("incident-events", 1);
        let plain = config(&tracerag, kafka, &topics, "otlp_json");
        let (port, text) = (metrics_port(&plain), std::fs::read_to_string(&plain).unwrap());
        let section = format!(
            "[incident_events]\ntopic = \"{topic}\"\n{settings}\n\
             webhooks = [{{ url = \"http://127.0.0.1:{}/hook\", secret_env = \"HOOK_SECRET\", kinds = [{kinds}] }}]\n",
            receiver.port
        );
        let config = tracerag.write("tracerag.toml", format!("{text}{section}"));
        let worker = tracerag.worker_knowing(&[&format!("HOOK_SECRET={SECRET}")], &config, "worker.log");
        wait_for("the worker is ready", LIMIT, || {
            assert!(worker.alive(), "{}", worker.log_tail());
            get(port, "/readyz").filter(|(status, _)| *status == 200)
        });
        Told { worker, kafka, tracerag, spans: topics.spans, topic, receiver }
    }

    fn produce(&self, messages: impl IntoIterator<Item = (String, String)>) {
        self.kafka.produce_keyed(&self.spans, messages);
    }

    /// Waits until the topic has what is looked for, and gives all that it has then.
    fn wait(&self, what: &str, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        wait_for(what, LIMIT, || {
            assert!(self.worker.alive(), "{}", self.worker.log_tail());
            Some(events(self.kafka, &self.topic)).filter(|events| is_there(events))
        })
    }

    /// Waits until the webhook has all of some events, each signed and as the topic has it.
    fn delivers(&self, told: &[Value]) {
        let request_of = |event: &Value| {
            let requests = self.receiver.requests();
            requests.into_iter().find(|request| event["id"] == request.headers["webhook-id"].as_str())
        };
        for event in told {
            let request = wait_for("the webhook has it, too", LIMIT, || request_of(event));
            assert!(request.is_signed());
            assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), *event);
        }
    }
}

/// An incident has a fix in 1.9.1; it fails in the version before, and then in 1.9.1. Before that it fails many times at once,
/// and another one, which was seen half an hour ago, is not seen again while telemetry ends altogether. A third passes another
/// service on its way up. Guarantees that each kind is told in the topic and at the webhook with what happened; that an old
/// instance is no regression; that an incident gets quiet although nothing comes any more; and that an echo is told of with
/// its origin and makes no event of its own.
#[test]
fn the_life_of_an_incident_is_told() {
    let Some(kafka) = Kafka::shared() else { return };
    let settings = "quiet_after = \"30m\"\nspike = { window = \"60s\", history = \"30m\" }";
    let told = Told::start(kafka, settings, "");
    let minutes = |number: u64| Duration::from_secs(60 * number);
    // Two minutes from now the one is quiet. The other one has a history to be compared with, of seven windows and more, and is
    // not quiet before all of this is over, however slow the machine.
    told.produce([failing_in("1.9.0", 1, "CardDeclined", minutes(28))]);
    told.produce([failing_in("1.9.0", 2, "LedgerLocked", minutes(12)), travelling(3, "NoStock")]);
    let counted = "select max(failure_count) from incidents where exception_type = 'LedgerLocked'";
    until(&told.tracerag, counted, 1, || told.worker.log_tail());
    let found = told.wait("the incidents are told of", |events| {
        let new = of_kind(events, "new");
        ["CardDeclined", "NoStock"].iter().all(|kind| new.iter().any(|event| event["data"]["exception_type"] == *kind))
    });
    let new = of_kind(&found, "new");
    let origin = new.iter().find(|event| event["data"]["exception_type"] == "NoStock").unwrap();
    assert_eq!(origin["data"]["echoes"][0]["service_name"], "checkout", "{origin:#}");
    assert!(new.iter().all(|event| event["data"]["service_name"] == "payments"), "{new:#?}");

    told.produce((0..25).map(|number| failing(100 + number, "LedgerLocked")));
    let found = told.wait("the incident is spiking", |events| !of_kind(events, "spiking").is_empty());
    let spiking = of_kind(&found, "spiking")[0].clone();
    assert_eq!(spiking["data"]["exception_type"], "LedgerLocked");
    assert!(spiking["data"]["window_failures"].as_i64().unwrap() >= 20, "{spiking:#}");
    until(&told.tracerag, counted, 26, || told.worker.log_tail());

    let fingerprint = spiking["subject"].as_str().unwrap();
    let record = ["fix", "record", "--fingerprint", fingerprint, "--summary", "release the lock"];
    let fix_id = told.tracerag.done(&[&record[..], &["--fixed-version", "1.9.1"]].concat());
    told.produce([failing(201, "LedgerLocked")]);
    until(&told.tracerag, counted, 27, || told.worker.log_tail());
    let regressed = "select regressed_version from incidents where exception_type = 'LedgerLocked'";
    assert_eq!(told.tracerag.sql(regressed), [json!({"regressed_version": null})]);
    told.produce([failing_in("1.9.1", 202, "LedgerLocked", Duration::ZERO)]);
    let found = told.wait("the incident came back", |events| !of_kind(events, "regressed").is_empty());
    let [back] = of_kind(&found, "regressed")[..] else { panic!("one regression, not {found:#?}") };
    assert_eq!((&back["subject"], &back["data"]["fix_id"]), (&json!(fingerprint), &json!(fix_id.trim())));
    assert_eq!(
        (&back["data"]["fixed_version"], &back["data"]["regressed_version"]),
        (&json!("1.9.1"), &json!("1.9.1"))
    );
    assert_eq!(told.tracerag.sql(regressed), [json!({"regressed_version": "1.9.1"})]);

    let found = told.wait("the other one is quiet", |events| !of_kind(events, "quiet").is_empty());
    let [quiet] = of_kind(&found, "quiet")[..] else { panic!("one that is quiet, not {found:#?}") };
    assert_eq!(quiet["data"]["exception_type"], "CardDeclined");
    assert_eq!(of_kind(&found, "regressed").len(), 1, "{found:#?}");
    told.delivers(&found);
}

/// Five incidents of a tenant that is told of one event a minute. Guarantees that each of them is told of, alone or by name in
/// an event that stands for several, with how many of which kind these are, and that a webhook which wants new incidents gets
/// that one, too.
#[test]
fn incidents_beyond_the_budget_are_told_together() {
    let Some(kafka) = Kafka::shared() else { return };
    let told = Told::start(kafka, "per_minute = 1", "\"new\"");
    let kinds = ["CardDeclined", "LedgerLocked", "NoStock", "RateMissing", "TokenExpired"];
    told.produce(kinds.iter().enumerate().map(|(number, kind)| failing(number + 1, kind)));
    let named = |events: &[Value]| -> BTreeSet<String> {
        let grouped =
            of_kind(events, "grouped").into_iter().flat_map(|event| event["data"]["events"].as_array().unwrap());
        let alone = of_kind(events, "new").into_iter().map(|event| &event["subject"]);
        let all = grouped.map(|event| &event["fingerprint"]).chain(alone);
        all.map(|fingerprint| fingerprint.as_str().unwrap().to_owned()).collect()
    };
    let found = told.wait("all are told of", |events| named(events).len() == kinds.len());
    let grouped = of_kind(&found, "grouped");
    assert!(!grouped.is_empty(), "{found:#?}");
    for event in grouped {
        let count = event["data"]["events"].as_array().unwrap().len();
        assert_eq!((&event["data"]["count"], &event["data"]["kinds"]), (&json!(count), &json!({"new": count})));
        assert_eq!((&event["subject"], &event["tenant"]), (&json!("default"), &json!("default")));
    }
    told.delivers(&found);
}

/// A webhook whose secret is not in the environment. Guarantees that the worker does not start without it, and says what
/// to do.
#[test]
fn a_worker_without_the_secret_does_not_start() {
    let tracerag = Tracerag::new();
    let text = "[incident_events]\nwebhooks = [{ url = \"https://example.com/T0SECRET\", secret_env = \"NO_SUCH_SECRET\" }]\n\
                [redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n[metrics]\nlisten = \"\"\n";
    let config = tracerag.write("tracerag.toml", text);
    let ran = tracerag.run(&["--config", config.to_str().unwrap(), "run"]);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("NO_SUCH_SECRET") && !ran.stderr.contains("T0SECRET"), "{}", ran.stderr);
}

/// The examples of receivers run their own tests. Guarantees that they verify signatures, drop what comes twice, and
/// make what a chat, a pager and an agent take.
#[test]
fn the_examples_verify_and_translate() {
    let Some(clients) = Clients::find() else { return };
    let ran = clients.python("../../examples/incident-events/test_examples.py", &[]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}
