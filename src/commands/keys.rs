//! `tracerag keys`: the public keys by which signatures of bundles are checked.

use clap::Args;
use serde_json::json;

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// How they are printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// Prints the public key of `signing.key` first, then those of `signing.public_keys`. It needs no lake.
pub(crate) async fn run(context: Context, args: KeysArgs) -> Result<(), Error> {
    context.config.require(&["signing"])?;
    let keys = context.config.signing.trusted_keys()?;
    if keys.is_empty() {
        output::note("bundles are not signed here: set signing.key; `openssl rand -hex 32` makes one");
    }
    match args.format {
        StatusFormat::Table if keys.is_empty() => Ok(()),
        StatusFormat::Table => output::data(&format!("{}\n", keys.join("\n"))),
        StatusFormat::Json => output::data(&format!("{:#}\n", json!({"algorithm": "ed25519", "public_keys": keys}))),
    }
}
