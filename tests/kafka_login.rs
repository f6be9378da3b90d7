//! Logging in to a real Kafka broker: `[kafka.options]` goes to librdkafka as it is.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracerag_ingest::source::{Event, KafkaConfig, KafkaSource, SourceError, SourceLimits, Start, TopicsConfig};

use crate::support::kafka::{Kafka, PASSWORD, Record, USER};
use crate::support::program::Tracerag;
use crate::support::token_endpoint::TokenEndpoint;
use crate::support::{in_time, wait_for};
use crate::worked_example;

/// How long a record may take to come that is in the topic already.
const LIMIT: Duration = Duration::from_secs(900);

/// A source that connects with these options and reads the topic's spans, in a group of the topic's name.
pub fn connect(servers: &str, topic: &str, options: &Value) -> Result<KafkaSource, SourceError> {
    let kafka = json!({"bootstrap_servers": servers, "group_id": topic, "options": options});
    let kafka: KafkaConfig = serde_json::from_value(kafka).unwrap();
    let none = json!({"topics": []});
    let topics = json!({
        "spans": {"topics": [topic]}, "logs": none, "metrics": none, "flags": none, "deployments": none, "heaps": none
    });
    let topics: TopicsConfig = serde_json::from_value(topics).unwrap();
    KafkaSource::connect(&kafka, &topics, SourceLimits::default())
}

fn password(mechanism: &str, password: &str) -> Value {
    json!({
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
        "sasl.password": password,
    })
}

fn oidc(url: &str, secret: &str) -> Value {
    json!({
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": USER,
        "sasl.oauthbearer.client.secret": secret,
        "sasl.oauthbearer.token.endpoint.url": url,
    })
}

/// The value of the first record that comes, or why none does.
pub fn first_value(source: &mut KafkaSource) -> Result<Vec<u8>, SourceError> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        match source.poll(Duration::from_millis(200))? {
            Event::Assigned(sources) => {
                let initial = source.initial_offsets(&sources)?;
                let starts: Vec<Start> = initial.into_iter().map(|(source, at)| Start::new(source, at)).collect();
                source.start(&starts)?;
            }
            Event::Messages(batch) => return Ok(batch.iter().next().unwrap().value().unwrap().to_vec()),
            _ => {}
        }
    }
    panic!("no record in {LIMIT:?}; the client says: {:?}", source.last_error());
}

/// What a login that must fail says. It must not take as long as a broker is waited for that does not answer.
fn refusal(kafka: &Kafka, options: &Value) -> String {
    in_time("to refuse a login", Duration::from_secs(10), || {
        let start = Instant::now();
        let error = connect(&kafka.login_bootstrap(), "never-read", options)
            .err()
            .unwrap_or_else(|| panic!("let in with {options}"));
        assert!(matches!(error, SourceError::Login { .. }), "{error}");
        (error.to_string(), start.elapsed())
    })
}

/// A topic is read with a password by PLAIN and by SCRAM, and with a token that the client fetches from a token
/// endpoint by itself: the record that was written comes each time. Guarantees that each way to log in works from the
/// first question through the group to the record, for all clients of a source.
#[test]
fn each_way_to_log_in_reads() {
    let Some(kafka) = Kafka::shared_with_login() else { return };
    let endpoint = TokenEndpoint::start();
    for (name, options) in [
        ("plain", password("PLAIN", PASSWORD)),
        ("scram", password("SCRAM-SHA-256", PASSWORD)),
        ("oidc", oidc(&endpoint.url(), PASSWORD)),
    ] {
        let topic = kafka.topic(name, 1);
        kafka.produce(&topic, [Record { payload: Some(name.as_bytes()), ..Record::default() }]);
        let source = connect(&kafka.login_bootstrap(), &topic, &options);
        let mut source = source.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(first_value(&mut source).unwrap(), name.as_bytes());
    }
}

/// A wrong password, a mechanism that the broker does not have, and a client that the token endpoint does not know are
/// errors within seconds: they quote whoever refused, and name the settings to look at. Guarantees that a wrong login
/// is neither waited on for ever nor taken for a broker that is down.
#[test]
fn a_refused_login_says_what_to_do() {
    let Some(kafka) = Kafka::shared_with_login() else { return };
    let endpoint = TokenEndpoint::start();
    for (options, quoted) in [
        (password("PLAIN", "wrong"), "Invalid username or password"),
        (password("SCRAM-SHA-256", "wrong"), "invalid credentials"),
        (password("SCRAM-SHA-512", PASSWORD), "supported mechanisms"),
        (oidc(&endpoint.url(), "wrong"), "invalid_client"),
    ] {
        let told = refusal(kafka, &options);
        assert!(told.starts_with(&format!("cannot log in to kafka at {} (", kafka.login_bootstrap())), "{told}");
        assert!(told.contains(quoted), "{told}");
        assert!(told.ends_with("sasl.* under [kafka.options]"), "{told}");
        assert!(!told.contains(PASSWORD), "{told}");
    }
}

/// A configuration that reads a topic, in a group of its name; `login` is what follows in `[kafka]`.
fn configuration(kafka: &Kafka, topic: &str, login: &str) -> String {
    format!(
        "[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"{topic}\"\n{login}\
         [topics]\nspans = {{ topics = [\"{topic}\"] }}\n\
         [redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n",
        kafka.login_bootstrap()
    )
}

/// The commands that ask the broker log in as the configuration says: a plan lists the topic with the right password,
/// and with a wrong one `run --plan` and `status` say that the login was refused, not that no broker is there.
#[test]
fn commands_log_in_and_say_when_they_cannot() {
    let Some(kafka) = Kafka::shared_with_login() else { return };
    let tracerag = worked_example::replayed();
    let topic = kafka.topic("commands", 1);
    let config = |name: &str, password: &str| {
        let login = format!(
            "[kafka.options]\n\"security.protocol\" = \"sasl_plaintext\"\n\"sasl.mechanism\" = \"SCRAM-SHA-256\"\n\
             \"sasl.username\" = \"{USER}\"\n\"sasl.password\" = \"{password}\"\n"
        );
        tracerag.write(name, configuration(kafka, &topic, &login)).display().to_string()
    };
    let (right, wrong) = (config("right.toml", PASSWORD), config("wrong.toml", "wrong"));
    let plan = tracerag.done(&["--config", &right, "run", "--plan"]);
    assert!(plan.contains(&topic), "{plan}");
    let refused = tracerag.run(&["--config", &wrong, "run", "--plan"]);
    assert!(refused.status == 1 && refused.stderr.contains("cannot log in to kafka at"), "{}", refused.stderr);
    // It waits for two seconds, in which a busy broker may not get to refuse anybody.
    let status = wait_for("the broker refuses in time", LIMIT, || {
        Some(tracerag.done(&["--config", &wrong, "status"])).filter(|told| told.contains("cannot log in to kafka at"))
    });
    assert!(status.contains("not known: cannot log in to kafka at"), "{status}");
}

/// A plan logs in by AWS's IAM to a broker that is none of Amazon's. With credentials in the environment the broker is
/// shown a token, which it cannot read and refuses; without any, the program says that there are none. Guarantees that
/// a client that is not polled gets its token before the first question, and that its absence is not taken for a broker
/// that is down. That MSK takes the token is not tried here: its form is tested beside the code that makes it.
#[test]
fn a_token_of_awss_iam_is_shown() {
    let Some(kafka) = Kafka::shared_with_login() else { return };
    let tracerag = Tracerag::new();
    let topic = kafka.topic("iam", 1);
    let login = "aws_msk_iam_region = \"eu-central-1\"\n[kafka.options]\n\"security.protocol\" = \"sasl_plaintext\"\n\
                 \"sasl.mechanism\" = \"OAUTHBEARER\"\n";
    let config = tracerag.write("iam.toml", configuration(kafka, &topic, login)).display().to_string();
    let plan = |id: &str, secret: &str| {
        // Nothing of this machine's own: neither files nor the service that instances ask.
        let nowhere = tracerag.path("nowhere").display().to_string();
        let variables = [
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_CONFIG_FILE", nowhere.as_str()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere.as_str()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let ran = tracerag.run_with(&variables, &["--config", &config, "run", "--plan"]);
        assert!(ran.status == 1 && ran.stderr.contains("cannot log in to kafka at"), "{}", ran.stderr);
        ran.stderr
    };
    let refused = plan("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    assert!(!refused.contains("Failed to acquire") && !refused.contains("wJalrXUtn"), "{refused}");
    let without = plan("", "");
    assert!(without.contains("no credentials of aws"), "{without}");
}
