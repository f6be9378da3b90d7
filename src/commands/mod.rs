//! One file a command.

pub(crate) mod bundle;
pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod dead_letters;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod fix;
pub(crate) mod group;
pub(crate) mod guard_patch;
pub(crate) mod keys;
pub(crate) mod mcp;
pub(crate) mod migrate;
pub(crate) mod pr_body;
pub(crate) mod prompt;
pub(crate) mod publish;
pub(crate) mod redaction_token;
pub(crate) mod rekey;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod scaffold;
pub(crate) mod serve;
pub(crate) mod similar;
pub(crate) mod snapshot;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod try_patch;
pub(crate) mod verify;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracerag_index::Lake;
use tracerag_query::{Session, SessionOptions};

use crate::cli::Context;
use crate::config::{Config, parse_bytes};
use crate::error::Error;
use crate::repository::Prefix;

/// How long a command waits for what tells a bundle's trace from good ones: the program takes longer to start in all.
const COMPARES_WITHIN: Duration = Duration::from_secs(2);

/// A session on the newest head of a lake that exists, or on the snapshot that was named.
async fn session(context: &Context) -> Result<Session, Error> {
    open_session(context, false).await
}

/// The same; `unredacted` adds what `dead_letters` holds as it came.
async fn open_session(context: &Context, unredacted: bool) -> Result<Session, Error> {
    context.config.require(&["lake", "embedding"])?;
    let lake = Lake::open_to_ask(context.config.lake.options()).await?;
    let options = SessionOptions { unredacted, ..session_options(&context.config, &context.tenant) };
    Ok(match &context.snapshot {
        Some(name) => Session::on(&lake, lake.snapshot(name).await?, options)?,
        None => Session::open(&lake, options).await?,
    })
}

/// How sessions of a configuration are made.
fn session_options(config: &Config, tenant: &str) -> SessionOptions {
    SessionOptions {
        memory_limit: config.memory_limit.0.0,
        seal_after: config.window.seal_after.0,
        embedding: Some(config.embedding.model()),
        idle_gap: Some(config.window.idle_gap.0),
        in_app: Arc::new(config.failures.rules().in_app),
        compares_within: Some(COMPARES_WITHIN),
        ..SessionOptions::new(tenant)
    }
}

/// `NAME=VALUE` of an option, both given.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.trim().is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(String::from("write NAME=VALUE, both not empty")),
    }
}

/// A size of an option.
fn bytes(text: &str) -> Result<u64, String> {
    let size = parse_bytes(text).and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| format!("`{text}` is no size, write e.g. 512MiB or 8GiB"))
}

/// How names in stacks begin, and what stands for that in the repository: `FROM=TO`, where `TO` may be empty.
fn prefix(text: &str) -> Result<Prefix, String> {
    let (from, to) = text.split_once('=').ok_or("write FROM=TO, as in /app/=payments/")?;
    Ok(Prefix { from: from.to_owned(), to: to.to_owned() })
}

/// The key with which `demo`, `replay` and `check` make tokens where none is configured: made once, in the cache folder.
fn demo_key(config: &mut Config) -> Result<(), Error> {
    if config.lacks_key_file() {
        config.redaction.key.clear();
    }
    if !config.redaction.key.is_empty() {
        return Ok(config.require(&["redaction.key"])?);
    }
    let path = config.embedding.cache_folder().join("hmac.key");
    config.redaction.key = match std::fs::read_to_string(&path) {
        Ok(key) => key,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_key(&path)?,
        Err(error) => return Err(Error::io(format!("read the redaction key {}", path.display()))(error)),
    };
    Ok(())
}

fn make_key(path: &Path) -> Result<String, Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let key = hex::encode(rand::random::<[u8; 32]>());
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(key.as_bytes())
    };
    write().map_err(Error::io(format!("make the redaction key {}", path.display())))?;
    Ok(key)
}
