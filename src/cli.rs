//! The command line. Data goes to stdout, progress and logs to stderr.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::config::{Config, Overrides};
use crate::error::Error;
use crate::server::Server;

/// Bytes of stack of each thread that commands run on, for plans of deep statements; only what is used takes memory.
const STACK: usize = 16 << 20;

/// Turns the telemetry that you already have into evidence that can be queried, compared and cited.
#[derive(Debug, Parser)]
#[command(name = "tracerag", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Configuration file [default: $TRACERAG_CONFIG, else ./tracerag.toml where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lake: a folder
    #[arg(long, global = true, value_name = "PATH")]
    lake: Option<String>,
    /// Tenant to read, and tenant of what names none [default: the configuration's tenant.default]
    #[arg(long, global = true, value_name = "NAME")]
    tenant: Option<String>,
    /// Ask a running server instead of the lake, with the token in $TRACERAG_TOKEN: sql, similar, compare, bundle,
    /// verify, canary, fix, group, status, publish, mcp
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["lake", "tenant"])]
    server: Option<String>,
    /// Read the lake as `tracerag snapshot create NAME` has held it: sql, similar, bundle, verify, prompt, scaffold,
    /// guard-patch, try, canary, pr-body
    #[arg(long, visible_alias = "at-snapshot", global = true, value_name = "NAME", conflicts_with = "server")]
    snapshot: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the main job on an embedded broker with the recording of the checkout example
    Demo(commands::demo::DemoArgs),
    /// Run a pipeline worker on Kafka until a signal
    Run(commands::run::RunArgs),
    /// Write spans and logs to topics that are keyed by trace id, until a signal
    Rekey(commands::rekey::RekeyArgs),
    /// Run the same stages from files, without a broker
    Replay(commands::replay::ReplayArgs),
    /// Answer others over HTTP, MCP, Flight SQL and PostgreSQL's protocol, until a signal
    Serve(commands::serve::ServeArgs),
    /// Answer an agent that starts this program, by MCP over standard input and output
    Mcp(commands::mcp::McpArgs),
    /// Ask the lake with SQL
    Sql(commands::sql::SqlArgs),
    /// Find similar incidents
    Similar(commands::similar::SimilarArgs),
    /// Say what failing traces have more often than good ones: flags, builds, payload shapes and others
    Compare(commands::compare::CompareArgs),
    /// Print the evidence bundle of a trace
    Bundle(commands::bundle::BundleArgs),
    /// Say whether claims about a bundle hold, without a model
    Verify(commands::verify::VerifyArgs),
    /// Print the context for a model that is to explain a failure: evidence, code, task, within a number of tokens
    Prompt(commands::prompt::PromptArgs),
    /// Write a failing test from the evidence of a trace
    Scaffold(commands::scaffold::ScaffoldArgs),
    /// Say whether a patch keeps to what the evidence points to
    GuardPatch(commands::guard_patch::GuardPatchArgs),
    /// Run a test and a patch at the commit that failed: first red as the trace, then green
    Try(commands::try_patch::TryArgs),
    /// Say whether a version, or a flag's variant, is worse than another one
    Canary(commands::canary::CanaryArgs),
    /// Print the description of a pull request whose claims hold
    PrBody(commands::pr_body::PrBodyArgs),
    /// Play a suite of incidents to an agent and say how well it does, or compare two such runs
    Eval(commands::eval::EvalArgs),
    /// Report a deployment, or a change of a flag or of configuration, as a build pipeline does
    Publish(commands::publish::PublishArgs),
    /// Write tables as Parquet files or as Delta tables, for other engines
    Export(commands::export::ExportArgs),
    /// Record what was done about an incident, or list it
    Fix(commands::fix::FixArgs),
    /// Merge incidents that are one, or split them again
    Group(commands::group::GroupArgs),
    /// Print the public keys by which signatures of bundles are checked
    Keys(commands::keys::KeysArgs),
    /// Hold the lake as it is now under a name, list such names, and let them go
    Snapshot(commands::snapshot::SnapshotArgs),
    /// Show what the pipeline has taken and where it stands
    Status(commands::status::StatusArgs),
    /// Give the lake the schema of this release, when all workers are of this release
    Migrate(commands::migrate::MigrateArgs),
    /// Compare what was sent with the lake, record by record: missing, doubled, different
    Check(commands::check::CheckArgs),
    /// Make, list and revoke the tokens of those who may ask a server
    Token(commands::token::TokenArgs),
    /// Print the tokens that stand for an identifier, to look somebody up
    RedactionToken(commands::redaction_token::RedactionTokenArgs),
    /// Look at records that could not be read, and take them up after a fix
    DeadLetters(commands::dead_letters::DeadLettersArgs),
}

impl Command {
    /// Whether a server can be asked the same.
    fn asks(&self) -> bool {
        matches!(
            self,
            Self::Sql(_)
                | Self::Similar(_)
                | Self::Compare(_)
                | Self::Bundle(_)
                | Self::Verify(_)
                | Self::Canary(_)
                | Self::Fix(_)
                | Self::Group(_)
                | Self::Status(_)
                | Self::Publish(_)
                | Self::Mcp(_)
        )
    }

    /// Whether it reads one picture of the lake, which may be an older one.
    fn reads(&self) -> bool {
        matches!(
            self,
            Self::Sql(_)
                | Self::Similar(_)
                | Self::Bundle(_)
                | Self::Verify(_)
                | Self::Prompt(_)
                | Self::Scaffold(_)
                | Self::GuardPatch(_)
                | Self::Try(_)
                | Self::Canary(_)
                | Self::PrBody(_)
        )
    }
}

/// Formats of `sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// An array of objects, a row an object
    Json,
    /// Comma-separated values with a header
    Csv,
    /// Arrow IPC stream
    Arrow,
}

/// What every command gets.
pub(crate) struct Context {
    /// The whole configuration.
    pub config: Config,
    /// The tenant that is read.
    pub tenant: String,
    /// The server to ask instead of the lake.
    pub server: Option<Server>,
    /// The snapshot to read instead of the newest head.
    pub snapshot: Option<String>,
}

/// Parses the command line, runs the command and says how it ended: 0 done, 1 failed, 2 wrong use.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_worker = match &cli.command {
        Command::Run(args) => !args.plan,
        Command::Rekey(_) | Command::Serve(_) => true,
        _ => false,
    };
    crate::telemetry::init_logs(is_worker);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::output::error(&error);
            crate::exit(if error.is_wrong_use() { crate::WRONG_USE } else { 1 })
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let overrides = Overrides {
        config: cli.global.config.clone(),
        lake: cli.global.lake.clone(),
        tenant: cli.global.tenant.clone(),
    };
    let config = Config::load(&overrides)?;
    let server = match &cli.global.server {
        Some(url) if cli.command.asks() => Some(Server::at(url)?),
        Some(_) => {
            return Err(Error::Usage(String::from(
                "--server is for sql, similar, compare, bundle, verify, canary, fix, group, status, publish and mcp; run this command where the lake can be reached",
            )));
        }
        None => None,
    };
    let snapshot = cli.global.snapshot;
    if snapshot.is_some() && !cli.command.reads() {
        return Err(Error::Usage(String::from(
            "--snapshot is for commands that read one picture of the lake: sql, similar, bundle, verify, prompt, \
             scaffold, guard-patch, try, canary and pr-body",
        )));
    }
    let context = Context { tenant: config.tenant.default.clone(), config, server, snapshot };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(|source| Error::Io { what: String::from("start the async runtime"), source })?;
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => commands::demo::run(context, args, overrides.lake.is_some()).await,
            Command::Run(args) => commands::run::run(context, args).await,
            Command::Rekey(args) => commands::rekey::run(context, args).await,
            Command::Replay(args) => commands::replay::run(context, args).await,
            Command::Serve(args) => commands::serve::run(context, args).await,
            Command::Mcp(args) => commands::mcp::run(context, args).await,
            Command::Sql(args) => commands::sql::run(context, args).await,
            Command::Similar(args) => commands::similar::run(context, args).await,
            Command::Compare(args) => commands::compare::run(context, args).await,
            Command::Bundle(args) => commands::bundle::run(context, args).await,
            Command::Verify(args) => commands::verify::run(context, args).await,
            Command::Prompt(args) => commands::prompt::run(context, args).await,
            Command::Scaffold(args) => commands::scaffold::run(context, args).await,
            Command::GuardPatch(args) => commands::guard_patch::run(context, args).await,
            Command::Try(args) => commands::try_patch::run(context, args).await,
            Command::Canary(args) => commands::canary::run(context, args).await,
            Command::PrBody(args) => commands::pr_body::run(context, args).await,
            Command::Eval(args) => commands::eval::run(context, args).await,
            Command::Publish(args) => commands::publish::run(context, args, overrides.tenant.is_some()).await,
            Command::Export(args) => commands::export::run(context, args).await,
            Command::Fix(args) => commands::fix::run(context, args).await,
            Command::Group(args) => commands::group::run(context, args).await,
            Command::Keys(args) => commands::keys::run(context, args).await,
            Command::Snapshot(args) => commands::snapshot::run(context, args).await,
            Command::Status(args) => commands::status::run(context, args).await,
            Command::Migrate(args) => commands::migrate::run(context, args).await,
            Command::Check(args) => commands::check::run(context, args).await,
            Command::Token(args) => commands::token::run(context, args).await,
            Command::RedactionToken(args) => commands::redaction_token::run(context, args).await,
            Command::DeadLetters(args) => commands::dead_letters::run(context, args).await,
        }
    });
    // A query that was stopped may still compute; nobody waits for it.
    runtime.shutdown_background();
    ended
}
