//! `tracerag publish`: what a build pipeline reports, into the topics or to a server.

mod deployment;

use std::path::PathBuf;

use axum::http::HeaderMap;
use clap::{Args, Subcommand};
use serde_json::Value;
use tracerag_ingest::IngestError;
use tracerag_ingest::source::{Change, ChangePublisher};

use crate::changes::event::{ConfigChange, FlagChange, now};
use crate::changes::{Misread, Reported, own};
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(subcommand)]
    what: What,
    /// Print what would be sent, and send nothing
    #[arg(long, global = true)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A version of a service that runs from now on: commit, version and lock files come from git
    Deployment(Box<deployment::DeploymentArgs>),
    /// What a feature flag is from now on
    Flag(FlagArgs),
    /// What a key of configuration is from now on
    Config(ConfigArgs),
    /// Files of changes, flagd configurations and CDEvents, as they are
    File(FileArgs),
}

/// For whom a change holds, and from when on.
#[derive(Debug, Args)]
struct Place {
    /// The service; without it the change holds for all
    #[arg(long)]
    service: Option<String>,
    /// Its instance; without it the change holds for all
    #[arg(long, requires = "service")]
    instance: Option<String>,
    /// The environment, as deployment.environment.name has it; without it the change holds for all
    #[arg(long)]
    environment: Option<String>,
    /// Since when, such as 2026-11-16T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Options of `publish flag`.
#[derive(Debug, Args)]
struct FlagArgs {
    /// The flag
    #[arg(long)]
    key: String,
    /// The variant that holds
    #[arg(long, required_unless_present_any = ["value", "delete"])]
    variant: Option<String>,
    /// Its value
    #[arg(long)]
    value: Option<String>,
    /// The flag is gone
    #[arg(long, conflicts_with_all = ["variant", "value"])]
    delete: bool,
    /// The set of flags that it belongs to
    #[arg(long, value_name = "ID")]
    set: Option<String>,
    /// The version of the flag
    #[arg(long, value_name = "VERSION")]
    flag_version: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Options of `publish config`.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The key
    #[arg(long)]
    key: String,
    /// Its value; secrets in it are masked before it is stored
    #[arg(long, required_unless_present_any = ["digest", "delete"])]
    value: Option<String>,
    /// A digest that stands for a value which nobody may know
    #[arg(long, conflicts_with = "value")]
    digest: Option<String>,
    /// The key is gone
    #[arg(long, conflicts_with_all = ["value", "digest"])]
    delete: bool,
    #[command(flatten)]
    place: Place,
}

/// Options of `publish file`.
#[derive(Debug, Args)]
struct FileArgs {
    /// JSON: a change, a flagd configuration, a CDEvent, or a list of these
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Sends what is reported, and prints each record; with `--tenant` the configuration has to be able to name the tenant.
pub(crate) async fn run(context: Context, args: PublishArgs, is_tenant_named: bool) -> Result<(), Error> {
    let redactor = super::serve::redactor(&context.config)?;
    let changes = match args.what {
        What::Deployment(args) => vec![args.change()?],
        What::Flag(args) => vec![args.change()],
        What::Config(args) => vec![args.change()],
        What::File(args) => {
            let mut changes = Vec::new();
            for file in &args.files {
                let name = file.display().to_string();
                let bytes = std::fs::read(file).map_err(Error::io(format!("read {name}")))?;
                let read = own::read(&HeaderMap::new(), &bytes, &redactor);
                let wrong = |why: Misread| Error::WrongFile {
                    option: "publish file",
                    file: name.clone(),
                    why: why.to_string(),
                };
                match read.map_err(wrong)? {
                    Reported::Changes(read) => changes.extend(read),
                    Reported::Nothing(why) => output::note(&format!("{name}: {why}\n")),
                }
            }
            changes
        }
    };
    for change in &changes {
        own::accepted(change, &redactor).map_err(|why| Error::Usage(why.to_string()))?;
    }
    if !args.dry_run {
        send(&context, &changes, is_tenant_named).await?;
    }
    for change in &changes {
        output::data(&format!("{}\n", String::from_utf8_lossy(&change.value).trim_end()))?;
    }
    Ok(())
}

async fn send(context: &Context, changes: &[Change], is_tenant_named: bool) -> Result<(), Error> {
    if let Some(server) = &context.server {
        for change in changes {
            let body: Value = serde_json::from_slice(&change.value).map_err(tracerag_query::QueryError::from)?;
            server.post(&["v1", "changes"], &body).await?;
        }
        return Ok(());
    }
    let config = &context.config;
    config.require(&["kafka", "topics", "tenant"])?;
    let names_it = config.tenant.topics.values().any(|tenant| *tenant == context.tenant);
    if is_tenant_named && config.tenant.header.is_empty() && !names_it {
        return Err(Error::Usage(format!(
            "--tenant {}: no record could say so; set tenant.header, or give the tenant a topic under tenant.topics",
            context.tenant
        )));
    }
    let publisher = ChangePublisher::open(&config.kafka, &config.topics, &config.tenant)?;
    let written = publisher.publish(&context.tenant, changes).await.map_err(IngestError::from)?;
    for record in written {
        tracing::info!(topic = record.topic, partition = record.partition, offset = record.offset, "written");
    }
    Ok(())
}

impl FlagArgs {
    fn change(self) -> Change {
        let Place { service, instance, environment, at } = self.place;
        let change = FlagChange {
            time: at.unwrap_or_else(now),
            key: self.key,
            variant: self.variant,
            value: self.value,
            service,
            instance,
            environment,
            set_id: self.set,
            version: self.flag_version,
            ..FlagChange::default()
        };
        change.change()
    }
}

impl ConfigArgs {
    fn change(self) -> Change {
        let Place { service, instance, environment, at } = self.place;
        let change = ConfigChange {
            time: at.unwrap_or_else(now),
            key: self.key,
            value: self.value,
            digest: self.digest,
            service,
            instance,
            environment,
        };
        change.change()
    }
}
