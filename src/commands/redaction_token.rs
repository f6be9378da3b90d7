//! `tracerag redaction-token`: the tokens that stand for an identifier under each key that is configured.

use std::io::BufRead as _;

use clap::Args;
use serde_json::json;
use tracerag_ingest::IngestError;
use tracerag_ingest::redact::Redactor;

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `redaction-token`.
#[derive(Debug, Args)]
pub(crate) struct RedactionTokenArgs {
    /// The identifier as it was sent, such as a user's id; `-` reads it from standard input, where no history keeps it
    #[arg(value_name = "IDENTIFIER")]
    identifier: String,
    /// How they are printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// Prints the token of each key, that of the current one first. It needs the keys and no lake.
pub(crate) async fn run(context: Context, args: RedactionTokenArgs) -> Result<(), Error> {
    let config = context.config;
    config.require(&["redaction"])?;
    let redactor = Redactor::new(&config.redaction, &config.payload).map_err(IngestError::from)?;
    let identifier = match args.identifier.as_str() {
        "-" => first_line()?,
        _ => args.identifier,
    };
    let tokens = redactor.tokens(&context.tenant, &identifier);
    if tokens.is_empty() {
        return Err(Error::Usage(String::from(
            "there is no token: redaction.policy is \"off\", or the identifier is a token already",
        )));
    }
    match args.format {
        StatusFormat::Table => output::data(&format!("{}\n", tokens.join("\n")))?,
        StatusFormat::Json => output::data(&format!("{:#}\n", json!({"tenant": context.tenant, "tokens": tokens})))?,
    }
    let list = tokens.iter().map(|token| format!("'{token}'")).collect::<Vec<_>>().join(", ");
    output::note(&format!("select * from spans where attributes['user.id'] in ({list})"));
    Ok(())
}

fn first_line() -> Result<String, Error> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Error::io("read the identifier from standard input"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
