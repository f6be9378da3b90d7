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

use crate::kafka_worker::{LIMIT, Topics, config, until};
use crate::support::clients::Clients;
use crate::support::kafka::Kafka;
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

/// A trace of one span that fails now with an exception of this type, with its key.
fn failing(trace: usize, exception: &str) -> (String, String) {
    let id = format!("{trace:032x}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = json!({
        "traceId": id, "spanId": format!("{trace:016x}"), "name": "POST /pay", "kind": 2,
        "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 1_000_000).to_string(), "status": {"code": 2},
        "events": [{"name": "exception", "timeUnixNano": now.to_string(), "attributes": [
            attribute("exception.type", exception), attribute("exception.message", "it went wrong")]}],
    });
    let resource =
        json!({"attributes": [attribute("service.name", "payments"), attribute("service.version", "1.9.0")]});
    (id, json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).to_string())
}

/// The events in a topic.
fn events(kafka: &Kafka, topic: &str) -> Vec<Value> {
    let messages = kafka.read_all(topic);
    messages.iter().map(|message| serde_json::from_slice(message.payload().unwrap()).unwrap()).collect()
}

/// A worker takes a failing trace and tells of it; its webhook is broken at first. It is stopped, another one goes on,
/// and takes the same failure again and a new one. Guarantees CloudEvents of the stated form with the incident's
/// fingerprint, version and example, the same in the topic and at the webhook; that what was refused comes again under
/// its id, each time signed anew; that the secret is not in the log; and that a failure which was told of is not new to
/// the next worker.
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
    assert_eq!(event["data"]["link"], json!(format!("https://tracerag.example.com/v1/bundles/{example}")));
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
    assert!(worker.terminate(Duration::from_secs(60)), "the worker does not end on SIGTERM");
    let worker = tracerag.worker_knowing(&[&secret], &config, "two.log");
    kafka.produce_keyed(&topics.spans, [failing(2, "CardDeclined")]);
    until(&tracerag, "select max(failure_count) from incidents", 2, || worker.log_tail());
    kafka.produce_keyed(&topics.spans, [failing(3, "LedgerLocked")]);
    let ids = wait_for("the other incident is told of", LIMIT, || {
        assert!(worker.alive(), "{}", worker.log_tail());
        let ids: BTreeSet<String> =
            events(kafka, &told).iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        (ids.len() > 1).then_some(ids)
    });
    assert_eq!(ids.len(), 2);
    wait_for("the webhook has it, too", LIMIT, || {
        receiver.requests().iter().any(|request| request.headers["webhook-id"] != event["id"]).then_some(())
    });
    let logs = log + &std::fs::read_to_string(tracerag.path("two.log")).unwrap();
    assert!(logs.contains("was not taken") && !logs.contains(SECRET) && !logs.contains("/hook"), "{logs}");
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
