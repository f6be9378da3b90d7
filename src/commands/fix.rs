//! `tracerag fix`: what was done about incidents, for whoever meets them next.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use tracerag_query::QueryError;
use tracerag_query::fixes::{self, NewFix};

use super::status::StatusFormat;
use crate::cli::Context;
use crate::error::Error;
use crate::output;
use crate::trial::TryRecord;

/// Options of `fix`.
#[derive(Debug, Args)]
pub(crate) struct FixArgs {
    #[command(subcommand)]
    action: Action,
}

/// Fixes that are read at a time.
const AT_ONCE: usize = 10_000;

#[derive(Debug, Subcommand)]
enum Action {
    /// Record what was done about an incident, and print the fix's id
    Record(Box<RecordArgs>),
    /// List fixes, newest first, with whether the incident came back
    List(ListArgs),
}

/// Options of `fix record`.
#[derive(Debug, Args)]
struct RecordArgs {
    /// The incident, as `similar` and the failures of a bundle name it
    #[arg(long)]
    fingerprint: String,
    /// What was done; personal data in it is masked
    #[arg(long, value_name = "TEXT")]
    summary: String,
    /// The bundle that it rests on (sha256:...)
    #[arg(long, value_name = "ID")]
    bundle: Option<String>,
    /// Where the change is
    #[arg(long, value_name = "URL")]
    patch: Option<String>,
    /// The test that holds it
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// What `tracerag try` printed, for the bundle and the test that are not given
    #[arg(long = "try", value_name = "FILE")]
    trial: Option<String>,
    /// How well it did
    #[arg(long, value_enum, default_value_t = Outcome::Fixed)]
    outcome: Outcome,
    /// When it took effect, such as 2026-11-16T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The first version of the service that has it; the incident came back if it is seen in this or a later one
    #[arg(long, value_name = "VERSION")]
    fixed_version: Option<String>,
    /// The commit that has it, for the version that its build has
    #[arg(long, value_name = "SHA")]
    fixed_commit: Option<String>,
    /// Who did it; a server takes the name of the token
    #[arg(long, value_name = "NAME", env = "USER", default_value = "local", hide_env_values = true)]
    author: String,
}

/// Options of `fix list`.
#[derive(Debug, Args)]
struct ListArgs {
    /// Only those of this incident
    #[arg(long)]
    fingerprint: Option<String>,
    /// How they are printed
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    format: StatusFormat,
}

/// How well a fix did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    /// The incident is gone
    Fixed,
    /// It does less harm
    Mitigated,
    /// It did not help
    Wrong,
}

impl From<Outcome> for fixes::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fixed => Self::Fixed,
            Outcome::Mitigated => Self::Mitigated,
            Outcome::Wrong => Self::Wrong,
        }
    }
}

/// Records or lists.
pub(crate) async fn run(context: Context, args: FixArgs) -> Result<(), Error> {
    match args.action {
        Action::Record(args) => record(&context, *args).await,
        Action::List(args) => list(&context, args).await,
    }
}

async fn record(context: &Context, args: RecordArgs) -> Result<(), Error> {
    let author = args.author;
    let (bundle_id, test_name) = match args.trial.as_deref() {
        Some(file) => of_trial(file, args.bundle, args.test)?,
        None => (args.bundle, args.test),
    };
    let fix = NewFix {
        fingerprint: args.fingerprint,
        summary: args.summary,
        patch_url: args.patch,
        bundle_id,
        outcome: Some(args.outcome.into()),
        test_name,
        fixed_at: args.at,
        fixed_version: args.fixed_version,
        fixed_git_sha: args.fixed_commit,
    };
    let fix_id = match &context.server {
        Some(server) => {
            let request = serde_json::to_value(&fix).map_err(QueryError::from)?;
            let answer = server.post(&["v1", "fixes"], &request).await?;
            server.json(answer).await?["fix_id"].as_str().unwrap_or_default().to_owned()
        }
        None => {
            context.config.require(&["redaction.deny_patterns"])?;
            let mask = super::serve::mask(&context.config)?;
            fix.check()?;
            let session = super::session(context).await?;
            fixes::record(&session, &author, fix.masked(|text| mask(text))).await?
        }
    };
    output::data(&format!("{fix_id}\n"))
}

/// Bundle and test of a trial that ended green, where they are not given.
fn of_trial(
    file: &str,
    bundle: Option<String>,
    test: Option<String>,
) -> Result<(Option<String>, Option<String>), Error> {
    let text = super::verify::read(file)?;
    let trial = TryRecord::green(&text, bundle.as_deref()).map_err(|why| Error::WrongFile {
        option: "--try",
        file: file.to_owned(),
        why,
    })?;
    let test = test.or_else(|| Some(trial.test.files.join(", ")));
    Ok((Some(trial.bundle_id), test))
}

async fn list(context: &Context, args: ListArgs) -> Result<(), Error> {
    let mut found: Vec<Map<String, Value>> = Vec::new();
    match &context.server {
        Some(server) => {
            let mut cursor = None;
            loop {
                let of = args.fingerprint.clone().map(|own| ("fingerprint", own));
                let behind = cursor.map(|cursor| ("cursor", cursor));
                let wanted: Vec<(&str, String)> = of.into_iter().chain(behind).collect();
                let answer = server.get(&["v1", "fixes"], &wanted).await?;
                let mut answer = server.json(answer).await?;
                let page: Vec<Map<String, Value>> =
                    serde_json::from_value(answer["fixes"].take()).map_err(QueryError::from)?;
                found.extend(page);
                // A server of the release before ends here, too: it names no cursor.
                cursor = answer["next_cursor"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
        }
        None => {
            let session = super::session(context).await?;
            let mut behind = None;
            loop {
                let listed = fixes::list(&session, args.fingerprint.as_deref(), behind.as_ref(), AT_ONCE).await?;
                found.extend(listed.fixes);
                behind = listed.next;
                if behind.is_none() {
                    break;
                }
            }
        }
    }
    match args.format {
        StatusFormat::Json => output::data(&format!("{:#}\n", json!(found))),
        StatusFormat::Table if found.is_empty() => {
            output::note("no fix is recorded; `tracerag fix record` records one");
            Ok(())
        }
        StatusFormat::Table => {
            let header =
                ["fixed at", "in", "fingerprint", "outcome", "came back", "summary", "patch", "test", "author"];
            output::data(&output::table(&header, found.iter().map(row).collect(), &[]))
        }
    }
}

fn row(fix: &Map<String, Value>) -> Vec<String> {
    let text = |name: &str| fix.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let came_back = match fix.get("came_back").and_then(Value::as_bool) {
        Some(true) => format!("yes, {}", text("came_back_reason")),
        _ => String::from("no"),
    };
    let place = [text("fixed_version"), text("fixed_git_sha").chars().take(12).collect()];
    vec![
        text("fixed_at"),
        place.into_iter().find(|place| !place.is_empty()).unwrap_or_default(),
        text("fingerprint").chars().take(12).collect(),
        text("outcome"),
        came_back,
        text("summary"),
        text("patch_url"),
        text("test_name"),
        text("author"),
    ]
}
