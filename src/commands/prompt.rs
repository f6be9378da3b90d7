//! `tracerag prompt`: the context for a model that is to explain a failure.

use std::path::Path;

use clap::Args;
use tracerag_query::prompt::compose;

use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::prompt::{Repositories, gather};
use crate::repository::{Prefix, Repository};

/// Options of `prompt`.
#[derive(Debug, Args)]
pub(crate) struct PromptArgs {
    /// Tokens of the prompt at most, by the vocabulary o200k_base
    #[arg(long, value_name = "N", default_value_t = 8_000)]
    max_tokens: usize,
    /// The git repository that a service is built from, for the code round the cited lines; `*` is every other service
    #[arg(long, value_name = "SERVICE=PATH", value_parser = super::pair)]
    repo: Vec<(String, String)>,
    /// A beginning of file names in stacks, and what stands for it in the repository, as in /app/=payments/
    #[arg(long, value_name = "FROM=TO", value_parser = super::prefix)]
    prefix: Vec<Prefix>,
    /// A trace id, or the id of a bundle that was handed out (sha256:...)
    #[arg(value_name = "TRACE_ID|BUNDLE_ID")]
    id: String,
}

/// Prints the prompt. The bundle that it is about is stored, so that claims about it can be verified.
pub(crate) async fn run(context: Context, args: PromptArgs) -> Result<(), Error> {
    let mut repositories = Repositories::new();
    for (service, path) in args.repo {
        let repository = Repository::open(Path::new(&path))?;
        repositories.insert(service, repository);
    }
    let session = super::session(&context).await?;
    let bundle = tracerag_query::bundle::hand_out(&session, &args.id).await?;
    let code = gather(&bundle, &repositories, &args.prefix)?;
    let prompt = compose(&bundle, &code, args.max_tokens)?;
    output::note(&format!("{} of {} tokens", prompt.tokens, args.max_tokens));
    output::data(&prompt.text)
}
