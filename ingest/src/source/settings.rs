//! The settings of the Kafka clients: what is fixed, what has another default than librdkafka's, and
//! what the user adds.

use rdkafka::ClientConfig;

use super::{KafkaConfig, SourceError, msk};

/// The largest message that is taken (after compression by the producer), in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The largest message that is written, in bytes: one of the largest that are read, with the headers and the key that
/// it gets here.
pub(crate) const MAX_WRITTEN_BYTES: usize = MAX_MESSAGE_BYTES + (1 << 20);

/// Least and most that lies in the queue of one partition, in KiB. With more partitions than the bound has room for at
/// the least, the bound does not hold: each must be able to move.
const QUEUE_KIB: (u64, u64) = (64, 64 << 10);

/// What exactly-once rests on, and what has a key of its own.
const FIXED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is kafka.bootstrap_servers"),
    ("metadata.broker.list", "it is kafka.bootstrap_servers"),
    ("group.id", "it is kafka.group_id"),
    ("enable.auto.commit", "the lake knows what was taken and commits follow it"),
    ("enable.auto.offset.store", "the lake knows what was taken and commits follow it"),
    ("auto.offset.reset", "what is skipped must be known; use kafka.initial_offset and kafka.out_of_range"),
    ("isolation.level", "aborted transactions must not be read"),
    ("enable.partition.eof", "the end of a partition is what lets time pass"),
];

/// The settings of consumer and producer alike.
///
/// # Errors
/// When the user's options hold a setting that is fixed, or do not fit the login by AWS's IAM.
pub(super) fn common(config: &KafkaConfig) -> Result<ClientConfig, SourceError> {
    for (name, why) in FIXED {
        if config.options.contains_key(*name) {
            return Err(SourceError::FixedOption { name: (*name).to_owned(), why });
        }
    }
    msk::check(config)?;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap_servers);
    client.set("client.id", "tracerag");
    client.set("statistics.interval.ms", "0");
    Ok(client)
}

/// The user's options, last: they win over defaults.
fn add_options(client: &mut ClientConfig, config: &KafkaConfig, belongs: impl Fn(&str) -> bool) {
    for (name, value) in config.options.iter().filter(|(name, _)| belongs(name)) {
        client.set(name, value);
    }
}

/// The member of the group. `queue_bytes` bounds what is fetched ahead for all of `partitions` together, whichever
/// client reads them.
pub(super) fn consumer(config: &KafkaConfig, queue_bytes: u64, partitions: usize) -> Result<ClientConfig, SourceError> {
    reader(config, queue_bytes, partitions, |_| true)
}

/// The client that reads what follows. It joins no group: a static name that is meant for the member is not its own.
/// librdkafka wants the name of a group all the same.
pub(super) fn follower(config: &KafkaConfig, queue_bytes: u64, partitions: usize) -> Result<ClientConfig, SourceError> {
    reader(config, queue_bytes, partitions, |name| !is_of_group(name))
}

/// The client that reads topics whole, beside the group. What is gone is passed over: whoever the group gives the
/// partition to says so.
pub(super) fn whole(config: &KafkaConfig, queue_bytes: u64, partitions: usize) -> Result<ClientConfig, SourceError> {
    let mut client = follower(config, queue_bytes, partitions)?;
    client.set("auto.offset.reset", "earliest");
    Ok(client)
}

fn reader(
    config: &KafkaConfig,
    queue_bytes: u64,
    partitions: usize,
    belongs: impl Fn(&str) -> bool,
) -> Result<ClientConfig, SourceError> {
    let mut client = common(config)?;
    // Every partition has a queue of its own, so librdkafka's limit holds for each of them. It asks for more as long as
    // a queue is below its limit, so half is for what lies there and half for what is on its way.
    let queue_kib = (queue_bytes / 2048 / partitions.max(1) as u64).clamp(QUEUE_KIB.0, QUEUE_KIB.1);
    client
        .set("group.id", &config.group_id)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("queued.max.messages.kbytes", queue_kib.to_string())
        // A broker returns a batch that is larger than these two if it is the first one (KIP-74), so they
        // do not bound a message; the size of the response that the client accepts does.
        .set("fetch.message.max.bytes", (queue_kib * 1024).min(8 << 20).to_string())
        .set("fetch.max.bytes", (16 << 20).to_string())
        .set("receive.message.max.bytes", (2 * MAX_MESSAGE_BYTES).to_string())
        .set("fetch.wait.max.ms", "250")
        .set("fetch.error.backoff.ms", "100")
        .set("topic.metadata.refresh.interval.ms", "30000");
    add_options(&mut client, config, belongs);
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true");
    Ok(client)
}

/// A client for questions about the cluster; it joins no group.
pub(super) fn probe(config: &KafkaConfig) -> Result<ClientConfig, SourceError> {
    let mut client = common(config)?;
    add_options(&mut client, config, |name| !is_of_group(name));
    // To ask for a topic must not make it.
    client.set("isolation.level", "read_committed").set("allow.auto.create.topics", "false");
    Ok(client)
}

/// A consumer that looks at a few messages. It joins no group and commits nothing; librdkafka wants the name of one all
/// the same, and the user's is the one that he may read.
pub(super) fn sampler(config: &KafkaConfig) -> Result<ClientConfig, SourceError> {
    let mut client = probe(config)?;
    client
        .set("group.id", &config.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // So many from the end may be before the beginning.
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("fetch.message.max.bytes", (1 << 20).to_string())
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", (16 << 10).to_string())
        .set("receive.message.max.bytes", (2 * MAX_MESSAGE_BYTES).to_string());
    Ok(client)
}

/// A consumer that reads an interval again, as a sample is read. What is gone by then is an error, never skipped.
pub(super) fn rereader(config: &KafkaConfig) -> Result<ClientConfig, SourceError> {
    let mut client = sampler(config)?;
    client
        .set("auto.offset.reset", "error")
        .set("fetch.message.max.bytes", (8 << 20).to_string())
        .set("queued.max.messages.kbytes", QUEUE_KIB.1.to_string());
    Ok(client)
}

/// The producer of dead letters: idempotent, so a retry writes nothing twice.
pub(super) fn producer(config: &KafkaConfig) -> Result<ClientConfig, SourceError> {
    let mut client = common(config)?;
    client
        .set("linger.ms", "50")
        .set("compression.type", "zstd")
        // A batch is refused as a whole, so a letter that is too large must not take others with it.
        .set("batch.num.messages", "1")
        // A topic that is not there must be known to be missing before waiting for the letters ends.
        .set("topic.metadata.propagation.max.ms", "5000");
    add_options(&mut client, config, |name| !is_of_consumer(name));
    client.set("enable.idempotence", "true").set("message.max.bytes", MAX_WRITTEN_BYTES.to_string());
    Ok(client)
}

/// The producer of changes: idempotent, and a record counts as written when all replicas in sync have it. Somebody waits
/// for the answer, so it is no later than 10 s.
pub(super) fn publisher(config: &KafkaConfig) -> Result<ClientConfig, SourceError> {
    let mut client = common(config)?;
    client
        .set("linger.ms", "0")
        .set("message.timeout.ms", "10000")
        // A topic that is not there must be known to be missing before that.
        .set("topic.metadata.propagation.max.ms", "5000");
    add_options(&mut client, config, |name| !is_of_consumer(name));
    client.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2_random");
    Ok(client)
}

/// The producer of re-keyed messages: idempotent, so that a retry writes nothing twice and the order of a partition
/// stays. It waits for a broker that is down as long as that takes. `queue_bytes` bounds what waits to be sent.
pub(crate) fn rekeying(config: &KafkaConfig, queue_bytes: usize) -> Result<ClientConfig, SourceError> {
    // A queue that is smaller than a message would never take it.
    let queue_kib = queue_bytes.max(MAX_WRITTEN_BYTES).div_ceil(1024);
    let mut client = common(config)?;
    client.set("linger.ms", "20").set("compression.type", "zstd").set("message.timeout.ms", "0");
    add_options(&mut client, config, |name| !is_of_consumer(name));
    client
        .set("enable.idempotence", "true")
        // That of Java's clients; records without a key go anywhere.
        .set("partitioner", "murmur2_random")
        .set("message.max.bytes", MAX_WRITTEN_BYTES.to_string())
        .set("queue.buffering.max.kbytes", queue_kib.to_string());
    Ok(client)
}

/// A client that makes topics.
pub(crate) fn admin(config: &KafkaConfig) -> Result<ClientConfig, SourceError> {
    let mut client = common(config)?;
    add_options(&mut client, config, |name| !is_of_consumer(name));
    Ok(client)
}

fn is_of_group(name: &str) -> bool {
    name.starts_with("group.") || name == "partition.assignment.strategy"
}

/// librdkafka logs a warning for each setting of a consumer that a producer is given.
fn is_of_consumer(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "coordinator.query.interval.ms",
        "max.poll.interval.ms",
        "auto.commit.interval.ms",
        "check.crcs",
        "client.rack",
    ];
    is_of_group(name) || name.starts_with("fetch.") || name.starts_with("queued.") || NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rdkafka::consumer::BaseConsumer;

    use super::*;

    fn config(json: &str) -> KafkaConfig {
        serde_json::from_str(json).unwrap()
    }

    /// The user's options win over defaults, and what exactly-once rests on cannot be set. A static name is the
    /// member's alone: two clients of one name would shut each other out.
    #[test]
    fn options_are_passed_through() {
        let with = config(r#"{"options": {"partition.assignment.strategy": "range", "sasl.mechanism": "PLAIN"}}"#);
        let client = consumer(&with, 1 << 30, 4).unwrap();
        assert_eq!(client.get("partition.assignment.strategy"), Some("range"));
        assert_eq!(client.get("sasl.mechanism"), Some("PLAIN"));
        assert_eq!(client.get("isolation.level"), Some("read_committed"));
        assert_eq!(producer(&with).unwrap().get("partition.assignment.strategy"), None);
        let named = config(r#"{"options": {"group.instance.id": "a", "fetch.wait.max.ms": "9"}}"#);
        let (member, beside) = (consumer(&named, 1 << 30, 4).unwrap(), follower(&named, 1 << 30, 4).unwrap());
        assert_eq!((member.get("group.instance.id"), beside.get("group.instance.id")), (Some("a"), None));
        assert_eq!(beside.get("fetch.wait.max.ms"), Some("9"));
        let wrong = config(r#"{"options": {"enable.auto.commit": "true"}}"#);
        assert!(consumer(&wrong, 1 << 30, 4).unwrap_err().to_string().contains("enable.auto.commit"));
    }

    /// Spans and logs of a trace lie under one number only if both go by the same hash, so no option changes it; and a
    /// queue takes any message.
    #[test]
    fn rekeying_hashes_like_java() {
        let with = config(r#"{"options": {"partitioner": "random", "acks": "all", "fetch.min.bytes": "1"}}"#);
        let client = rekeying(&with, 1).unwrap();
        assert_eq!(client.get("partitioner"), Some("murmur2_random"));
        assert_eq!((client.get("acks"), client.get("fetch.min.bytes")), (Some("all"), None));
        let number = |name: &str| client.get(name).unwrap().parse::<usize>().unwrap();
        assert!(number("queue.buffering.max.kbytes") * 1024 >= number("message.max.bytes"));
        assert!(client.create::<rdkafka::producer::BaseProducer>().is_ok());
    }

    /// A client is made for each way to log in that the documentation names; nobody answers, and nothing is read.
    /// librdkafka refuses the settings of what it was built without: guarantees that this build has Kerberos (Cyrus
    /// SASL) and OIDC (libcurl), which its build script leaves out without a word where they are not installed.
    #[test]
    fn every_login_is_built_in() {
        const LOGINS: [&str; 5] = [
            r#""security.protocol": "ssl""#,
            r#""security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p""#,
            r#""security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p""#,
            // The client fetches its ticket as soon as it is made.
            r#""security.protocol": "sasl_plaintext", "sasl.mechanism": "GSSAPI", "sasl.kerberos.service.name": "kafka",
               "sasl.kerberos.principal": "tracerag@EXAMPLE.COM", "sasl.kerberos.keytab": "/nowhere/tracerag.keytab",
               "sasl.kerberos.kinit.cmd": "true""#,
            r#""security.protocol": "sasl_ssl", "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc",
               "sasl.oauthbearer.client.id": "tracerag", "sasl.oauthbearer.client.secret": "s",
               "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:1/token""#,
        ];
        let iam = r#""security.protocol": "sasl_ssl", "sasl.mechanism": "OAUTHBEARER""#;
        let logins = LOGINS.iter().map(|login| ("", *login)).chain([("eu-central-1", iam)]);
        for (region, login) in logins.filter(|(region, _)| region.is_empty() || cfg!(feature = "msk")) {
            let with = config(&format!(
                r#"{{"bootstrap_servers": "127.0.0.1:1", "aws_msk_iam_region": "{region}", "options": {{{login}}}}}"#
            ));
            let made = probe(&with).unwrap().create::<BaseConsumer>();
            assert!(made.is_ok(), "{login}: {}", made.err().unwrap());
        }
    }

    /// What is fetched ahead is shared among the partitions, queues and fetches on their way together, with a floor that
    /// keeps reading possible.
    #[test]
    fn queues_share_the_memory() {
        const BYTES: u64 = 256 << 20;
        let kib = |partitions| {
            let client = consumer(&config("{}"), BYTES, partitions).unwrap();
            let number = |name: &str| client.get(name).unwrap().parse::<u64>().unwrap();
            (number("queued.max.messages.kbytes"), number("fetch.message.max.bytes") / 1024)
        };
        assert_eq!([kib(0), kib(16), kib(10_000)], [(65_536, 8_192), (8_192, 8_192), (64, 64)]);
        for partitions in [1, 3, 16, 100, 1_000, 2_000] {
            let (queue, fetch) = kib(partitions);
            assert!((queue + fetch) * 1024 * partitions as u64 <= BYTES, "{partitions} partitions");
        }
    }
}
