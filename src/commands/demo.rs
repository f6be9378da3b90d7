//! `tracerag demo`: the main job on an embedded broker with the recording of the checkout example.
//!
//! The broker is librdkafka's mock cluster: the real protocol on a loopback port, in memory. It keeps some
//! megabytes a partition and then drops the oldest, so a record is published only when the pipeline has taken
//! those before it. It is for trying out.

mod evidence;
mod next;
mod recording;
mod story;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{ClientConfig, error::KafkaError};
use tokio::runtime::Handle;
use tracerag_index::incidents::Indexer;
use tracerag_index::{MaintainOptions, maintain};
use tracerag_ingest::source::files::{FileRecord, Replay};
use tracerag_ingest::source::{Encoding, KafkaConfig, Signal, TopicsConfig};
use tracerag_ingest::tenant::TenantConfig;

use crate::cli::Context;
use crate::config::{Config, WindowSection};
use crate::error::Error;
use crate::output;
use crate::pipeline::Pipeline;
use crate::telemetry::Readiness;
use crate::worker::Worker;

/// Partitions of each topic: enough that a trace has to find itself.
const PARTITIONS: i32 = 2;
/// Records published before the pipeline must have taken them.
const AHEAD: u64 = 16;
/// They never take that long.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Remove what an earlier demo wrote, and stop
    #[arg(long)]
    clean: bool,
    /// Go on as `tracerag serve` on the demo's lake, until a signal
    #[arg(long, conflicts_with = "clean")]
    serve: bool,
}

/// Publishes the recording, processes it, and prints what was found and what to type next.
pub(crate) async fn run(mut context: Context, args: DemoArgs, lake_is_given: bool) -> Result<(), Error> {
    let folder = context.config.embedding.cache_folder().join("demo");
    if !lake_is_given {
        context.config.lake.uri = folder.join("lake").display().to_string();
    }
    if !lake_is_given || args.clean {
        remove(&folder)?;
    }
    if args.clean {
        output::note(&format!("removed {}", folder.display()));
        return Ok(());
    }
    super::demo_key(&mut context.config)?;
    context.tenant.clone_from(&context.config.tenant.default);
    let files = recording::unpack(&folder)?;
    output::note("publishing the recording of examples/checkout to an embedded broker and reading it back ...");
    let config = demo_config(&context.config);
    let pipeline = Pipeline::open(&config, "demo").await?;
    let runtime = Handle::current();
    let work_config = config.clone();
    let tally = tokio::task::spawn_blocking(move || work(&work_config, pipeline, &files, &runtime))
        .await
        .map_err(|error| Error::Stopped { what: "the demo's worker", detail: error.to_string() })??;
    super::replay::summary(&tally);
    let lake = tracerag_index::Lake::open(config.lake.options()).await?;
    maintain(&lake, &MaintainOptions::default()).await?;
    // After the merge of their rows, so that no later search has to look at these again.
    let mut indexer = Indexer::new(lake, config.embedding.model());
    let embedded = indexer.catch_up().await?;
    match indexer.waiting_for() {
        Some(reason) => output::note(&format!("texts are not embedded yet: {reason}")),
        None => output::note(&format!("embedded: {embedded} texts of failures")),
    }
    story::tell(&context).await?;
    if args.serve {
        let said = |address: &str| output::note(&format!("serving at {address}; stop with Ctrl-C"));
        super::serve::serve(&context.config, said).await?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The user's lake, redaction and model with the broker, topics and window of the demo: what is set for a real
/// cluster says nothing about an embedded one.
fn demo_config(config: &Config) -> Config {
    let mut config = Config {
        kafka: KafkaConfig::default(),
        topics: TopicsConfig::default(),
        tenant: TenantConfig { default: config.tenant.default.clone(), ..TenantConfig::default() },
        window: WindowSection { memory: config.window.memory, ..WindowSection::default() },
        ..config.clone()
    };
    for topics in [&mut config.topics.spans, &mut config.topics.logs, &mut config.topics.metrics] {
        topics.encoding = Encoding::Json;
    }
    config
}

fn topic(config: &Config, signal: Signal) -> Result<String, Error> {
    let topics = config.topics.names(signal);
    topics.into_iter().find(|name| !name.starts_with('^')).ok_or_else(|| {
        Error::Usage(format!("topics.{signal} names no topic; the demo needs one name that is no ^regex"))
    })
}

/// Broker, publisher and worker in one thread: the mock cluster belongs to the thread that made it.
fn work(
    config: &Config,
    pipeline: Pipeline,
    files: &[PathBuf],
    runtime: &Handle,
) -> Result<crate::pipeline::Tally, Error> {
    let kafka = |error: KafkaError| Error::Stopped { what: "the embedded broker", detail: error.to_string() };
    let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).map_err(kafka)?;
    let mut config = config.clone();
    config.kafka.bootstrap_servers = cluster.bootstrap_servers();
    for signal in Signal::ALL {
        cluster.create_topic(&topic(&config, signal)?, PARTITIONS, 1).map_err(kafka)?;
    }
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &config.kafka.bootstrap_servers)
        .set("message.max.bytes", "67108864")
        .set("linger.ms", "0")
        .create()
        .map_err(kafka)?;
    let mut worker = Worker::on(Worker::connect(&config)?, &config, pipeline, Arc::new(Readiness::default()))?;
    let replay = Replay::open(files).map_err(tracerag_ingest::IngestError::from)?;
    // The changes have to be in their topics before the worker takes them for empty.
    let mut published = 0;
    for record in replay {
        let record = record.map_err(tracerag_ingest::IngestError::from)?;
        publish(&producer, &topic(&config, record.signal)?, &record, published).map_err(kafka)?;
        published += 1;
        if published.is_multiple_of(AHEAD) {
            producer.flush(Duration::from_secs(10)).map_err(kafka)?;
            take_all(&mut worker, runtime, published)?;
        }
    }
    producer.flush(Duration::from_secs(10)).map_err(kafka)?;
    take_all(&mut worker, runtime, published)?;
    runtime.block_on(worker.pipeline_mut().drain())?;
    Ok(worker.pipeline().tally().clone())
}

fn publish(producer: &BaseProducer, topic: &str, record: &FileRecord, number: u64) -> Result<(), KafkaError> {
    let partition = i32::try_from(number % PARTITIONS as u64).unwrap_or(0);
    let message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition).payload(&record.value);
    producer.send(message).map_err(|(error, _)| error)
}

fn take_all(worker: &mut Worker, runtime: &Handle, published: u64) -> Result<(), Error> {
    let begun = Instant::now();
    while worker.pipeline().tally().records < published {
        if begun.elapsed() > TAKEN_WITHIN {
            return Err(Error::Stopped {
                what: "the demo's worker",
                detail: String::from("it does not get what was published; TRACERAG_LOG=debug shows why"),
            });
        }
        worker.step(runtime)?;
    }
    Ok(())
}
