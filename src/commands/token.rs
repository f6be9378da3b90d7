//! `tracerag token`: who may ask a server.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tracerag_query::access::{MintedToken, Scope, Scopes, Token, TokenFile};
use tracerag_schemas::time::{SECOND, rfc3339};

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;

/// Options of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token for the tenant that --tenant names, and print it, once
    Create {
        /// What it permits: sql, read, similar, heap, write, admin
        #[arg(long, value_delimiter = ',', default_value = "sql,read,similar", value_name = "SCOPES")]
        scopes: Vec<Scope>,
        /// How long it holds, e.g. 90d, or "never"
        #[arg(long, default_value = "90d", value_name = "TIME", value_parser = lasts)]
        expires: Lasts,
        /// What it is for; `list` and the table audit show it
        #[arg(long, default_value = "", value_name = "TEXT")]
        name: String,
    },
    /// List the tokens: what they permit, for whom, until when
    List {
        /// How they are printed
        #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
        format: StatusFormat,
    },
    /// End a token. Servers refuse it within a second after the file has changed where they read it; where it is a Secret
    /// of Kubernetes, that is up to a minute after the Secret was applied
    Revoke {
        /// As `list` shows it
        id: String,
    },
}

/// How long a token holds; `None`: until it is revoked.
#[derive(Debug, Clone, Copy)]
struct Lasts(Option<Duration>);

fn lasts(text: &str) -> Result<Lasts, String> {
    match text {
        "never" => Ok(Lasts(None)),
        text => match humantime::parse_duration(text) {
            Ok(lasts) if !lasts.is_zero() => Ok(Lasts(Some(lasts))),
            _ => Err(format!("{text:?} is no time that a token can last; write e.g. \"90d\", \"12h\" or \"never\"")),
        },
    }
}

/// Changes or shows the file of tokens. It needs no lake.
pub(crate) async fn run(context: Context, args: TokenArgs) -> Result<(), Error> {
    context.config.require(&["serve", "tenant"])?;
    let path = &context.config.serve.tokens_file;
    if path.is_empty() {
        return Err(Error::Usage(String::from(
            "there is no file of tokens; name one that the server reads, too: [serve] tokens_file = \
             \"/etc/tracerag/tokens.json\"",
        )));
    }
    let file = TokenFile::at(path);
    match args.action {
        Action::Create { scopes, expires, name } => create(&file, &context.tenant, scopes, expires, &name),
        Action::List { format } => list(&file, format),
        Action::Revoke { id } => revoke(&file, &id),
    }
}

fn create(file: &TokenFile, tenant: &str, scopes: Vec<Scope>, Lasts(lasts): Lasts, name: &str) -> Result<(), Error> {
    if tenant.trim().is_empty() {
        return Err(Error::Usage(String::from("a token is of a tenant; name one with --tenant")));
    }
    let scopes: Scopes = scopes.into_iter().collect();
    let MintedToken { token, secret } = MintedToken::new(tenant, scopes, name, lasts.map(|lasts| lasts.as_secs()));
    let note = format!(
        "token {} of tenant {tenant} permits {}, until {}; it is shown this once",
        token.id,
        scope_names(&token),
        until(&token)
    );
    file.change(|tokens| tokens.push(token))?;
    output::data(&format!("{secret}\n"))?;
    output::note(&note);
    Ok(())
}

fn list(file: &TokenFile, format: StatusFormat) -> Result<(), Error> {
    let tokens = file.tokens()?;
    match format {
        StatusFormat::Table => {
            let header = ["id", "tenant", "scopes", "name", "made", "until"];
            let row = |token: &Token| {
                vec![
                    token.id.clone(),
                    token.tenant.clone(),
                    scope_names(token),
                    token.name.clone(),
                    time(token.created_at),
                    until(token),
                ]
            };
            output::data(&output::table(&header, tokens.iter().map(row).collect(), &[]))
        }
        StatusFormat::Json => {
            let entry = |token: &Token| {
                json!({"id": token.id, "tenant": token.tenant, "scopes": token.scopes, "name": token.name,
                       "created_at": time(token.created_at), "expires_at": token.expires_at.map(time)})
            };
            output::data(&format!("{:#}\n", json!({"tokens": tokens.iter().map(entry).collect::<Vec<_>>()})))
        }
    }
}

fn revoke(file: &TokenFile, id: &str) -> Result<(), Error> {
    let revoked = file.change(|tokens| {
        let before = tokens.len();
        tokens.retain(|token| token.id != id);
        before > tokens.len()
    })?;
    match revoked {
        true => {
            output::note(&format!("token {id} is revoked"));
            Ok(())
        }
        false => {
            Err(Error::Refused(format!("there is no token {id}; `tracerag token list` shows those that there are")))
        }
    }
}

fn scope_names(token: &Token) -> String {
    token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ")
}

fn until(token: &Token) -> String {
    token.expires_at.map_or_else(|| String::from("it is revoked"), time)
}

/// Seconds since the epoch as RFC 3339.
fn time(seconds: u64) -> String {
    rfc3339(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND))
}
