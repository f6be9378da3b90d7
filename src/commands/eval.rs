//! `tracerag eval`: how well an agent does on incidents whose causes and fixes are known.

mod ask;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use tracerag_index::Lake;
use tracerag_query::QueryError;
use tracerag_query::server::Toolbox;

use super::status::StatusFormat;
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::eval::protocol::Limits;
use crate::eval::report::{Report, differences};
use crate::eval::score::Row;
use crate::eval::suite::{Incident, Suite};
use crate::eval::trial::{Trials, Verdict, Which};
use crate::eval::variant::Variant;
use crate::eval::{Place, comparison, html, markdown};
use crate::output;
use crate::repository::Repository;
use crate::trial::{Ground, Isolation, Limits as TestLimits, Open};

/// Options of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Play a suite to an agent, and write a report
    Run(RunArgs),
    /// Say how two runs differ
    Compare {
        /// The report of the first run, as JSON
        a: PathBuf,
        /// That of the second
        b: PathBuf,
        /// How the differences are printed: a table is Markdown
        #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
        format: StatusFormat,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The suite: its file, or the folder with its suite.toml
    #[arg(value_name = "SUITE")]
    suite: PathBuf,
    /// The agent: a command for the shell, which speaks tracerag.agent/1 over standard input and output
    #[arg(long, value_name = "COMMAND")]
    agent: String,
    /// What of the evidence it gets [default: each variant in turn]
    #[arg(long, value_enum, value_name = "VARIANT")]
    variant: Vec<Variant>,
    /// Incidents by their names [default: all]
    #[arg(long, value_name = "NAME")]
    incident: Vec<String>,
    /// How often each is played, for agents that do not do the same each time
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// Replace the suite's words in recording, source and labels, to see whether the agent goes by names
    #[arg(long)]
    renamed: bool,
    /// Run no tests: claims are judged, patches are not
    #[arg(long)]
    no_tests: bool,
    /// Seconds that the agent may take for one incident
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,
    /// Calls of tools that it may make for one incident
    #[arg(long, value_name = "N", default_value_t = 100)]
    tool_calls: usize,
    /// Seconds that one run of tests may take
    #[arg(long, value_name = "N", default_value_t = 300)]
    test_seconds: u64,
    /// Address space that one process of them may have
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = super::bytes)]
    test_memory: u64,
    /// Leave the tests their network
    #[arg(long)]
    network: bool,
    /// Tokens of the context that the task has
    #[arg(long, value_name = "N", default_value_t = 8_000)]
    max_tokens: usize,
    /// The seed of the intervals
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The folder of the series of reports
    #[arg(long, value_name = "DIR", default_value = "eval")]
    out: PathBuf,
}

/// Runs a suite, or compares two runs.
pub(crate) async fn run(context: Context, args: EvalArgs) -> Result<(), Error> {
    match args.action {
        Action::Run(args) => play(context, args).await,
        Action::Compare { a, b, format } => compare(&a, &b, format),
    }
}

fn compare(a: &Path, b: &Path, format: StatusFormat) -> Result<(), Error> {
    let (a, b) = (Report::read(a)?, Report::read(b)?);
    if a.suite != b.suite {
        return Err(Error::Usage(format!(
            "the reports are of the suites {:?} and {:?}; compare two of one",
            a.suite, b.suite
        )));
    }
    let found = differences(&a, &b);
    match format {
        StatusFormat::Table => output::data(&comparison(&a, &b, &found)?),
        StatusFormat::Json => {
            let text = serde_json::to_string_pretty(&found).map_err(QueryError::from)?;
            output::data(&format!("{text}\n"))
        }
    }
}

async fn play(context: Context, args: RunArgs) -> Result<(), Error> {
    let suite = Suite::read(&args.suite)?;
    let incidents = chosen(&suite, &args.incident)?;
    let variants = if args.variant.is_empty() { Variant::ALL.to_vec() } else { args.variant.clone() };
    let made_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let place = Place::make(&suite, args.renamed)?;
    let config = lake_config(&context.config, &suite, &place);
    let tenant = config.tenant.default.clone();
    output::note("replaying the recording of the suite ...");
    let replay = super::replay::ReplayArgs { files: place.files.clone() };
    super::replay::run(
        Context { config: config.clone(), tenant: tenant.clone(), server: None, snapshot: None },
        replay,
    )
    .await?;
    let lake = Lake::open_to_ask(config.lake.options()).await?;
    let toolbox = Toolbox::open(lake, super::serve::options(&config)?)?;
    let context = Context { config, tenant, server: None, snapshot: None };
    let limits = Limits { seconds: args.seconds, tool_calls: args.tool_calls };
    let desk = ask::Desk {
        session: super::session(&context).await?,
        toolbox: &toolbox,
        place: &place,
        limits,
        max_tokens: args.max_tokens,
        agent: &args.agent,
    };
    let repository = Repository::open(&place.repository())?;
    let ground = if args.no_tests { None } else { Some(ground(&args, &suite, &repository)?) };
    let trials =
        ground.as_ref().map(|(ground, _)| Trials { suite: &suite, place: &place, repository: &repository, ground });
    let mut rows = Vec::new();
    for incident in incidents {
        let tests = match &trials {
            Some(trials) => Some((trials, Labels::checked(trials, incident)?)),
            None => None,
        };
        for variant in &variants {
            for repeat in 1..=args.repeat.max(1) {
                output::note(&format!("{}, {variant}, {repeat} of {} ...", incident.name, args.repeat.max(1)));
                let (mut row, last) = desk.ask(incident, *variant, repeat).await?;
                if let Some((trials, labels)) = &tests {
                    judge(trials, labels, &mut row, last.test.as_deref(), last.patch.as_deref())?;
                }
                rows.push(row);
            }
        }
    }
    toolbox.close().await;
    let mut report = Report::of(&suite.name, args.renamed, &args.agent, made_at, args.seed, limits, rows);
    report.isolation = ground.map(|(_, isolation)| isolation);
    write(&args.out, &report)
}

/// Where tests run, without network unless one is asked for, and isolated where that can be; and what they can do there.
fn ground<'a>(args: &RunArgs, suite: &Suite, repository: &'a Repository) -> Result<(Ground<'a>, Isolation), Error> {
    let limits = TestLimits { time: Duration::from_secs(args.test_seconds), memory: args.test_memory };
    let variables = suite.set_variables();
    let open = Open { network: args.network, files: false };
    let (ground, not_cut) = Ground::cut_where_possible(repository, open, limits, &variables)?;
    if let Some(why) = &not_cut {
        output::note(&format!("tests keep their network and write what you can: {why}"));
    }
    let isolation = Isolation::of(ground.open(), limits);
    Ok((ground, isolation))
}

/// The incidents of these names, or all.
fn chosen<'a>(suite: &'a Suite, names: &[String]) -> Result<Vec<&'a Incident>, Error> {
    if let Some(name) = names.iter().find(|name| !suite.incident.iter().any(|known| known.name == **name)) {
        let known: Vec<&str> = suite.incident.iter().map(|known| known.name.as_str()).collect();
        return Err(Error::Usage(format!("the suite has no incident {name:?}; it has {}", known.join(", "))));
    }
    let is_chosen = |incident: &&Incident| names.is_empty() || names.contains(&incident.name);
    Ok(suite.incident.iter().filter(is_chosen).collect())
}

/// The configuration of the suite's lake: nothing that whoever evaluates has configured may alter the bundles, except for
/// the model, which is not part of evidence.
fn lake_config(config: &Config, suite: &Suite, place: &Place) -> Config {
    let mut own = Config { embedding: config.embedding.clone(), ..Config::default() };
    own.lake.uri = place.path("lake").display().to_string();
    own.redaction.key.clone_from(&suite.redaction_key);
    own
}

/// The labels of an incident, whose test is red without its patch and green with it.
struct Labels {
    commit: String,
    test: String,
}

impl Labels {
    /// Shows that the labels hold on this machine: figures of tests that never run would say nothing.
    fn checked(trials: &Trials<'_>, incident: &Incident) -> Result<Self, Error> {
        let (suite, place) = (trials.suite, trials.place);
        let commit = place.commit(&incident.commit).to_owned();
        let test = place.text(&suite.text(&incident.test)?);
        let patch = place.text(&suite.text(&incident.patch)?);
        if let Some(why) = trials.refusal(&patch, &test) {
            let name = &incident.name;
            return Err(Error::Usage(format!("incident {name}: {why}; no agent may do that, so mend the suite")));
        }
        for (diffs, which, wanted, what) in [
            (&[][..], Which::Others, Verdict::Green, "the tests of the build"),
            (&[test.as_str()][..], Which::Added, Verdict::Red, "its test on the build"),
            (&[test.as_str(), patch.as_str()][..], Which::Added, Verdict::Green, "its test with its patch"),
        ] {
            let (verdict, told) = trials.run(&commit, diffs, &test, which)?;
            if verdict != wanted {
                return Err(Error::Usage(format!(
                    "incident {}: {what} should be {wanted:?} and is {verdict:?}; mend the suite, or what its tests need:\n{}",
                    incident.name,
                    tracerag_query::untrusted::clean(&told)
                )));
            }
        }
        Ok(Self { commit, test })
    }
}

/// Runs what the agent gave: its test on the build, and with its patch the test of the incident and all others. A patch
/// that changes tests, or what runs them, mends nothing, whatever they say then.
fn judge(
    trials: &Trials<'_>,
    labels: &Labels,
    row: &mut Row,
    test: Option<&str>,
    patch: Option<&str>,
) -> Result<(), Error> {
    let commit = &labels.commit;
    row.test = Some(match test {
        Some(test) => trials.run(commit, &[test], test, Which::Added)?.0,
        None => Verdict::NoTest,
    });
    let Some(patch) = patch else {
        row.fix = Some(Verdict::Red);
        return Ok(());
    };
    row.refused = trials.refusal(patch, &labels.test);
    if row.refused.is_some() {
        (row.fix, row.others) = (Some(Verdict::Refused), Some(Verdict::Refused));
        return Ok(());
    }
    row.fix = Some(trials.run(commit, &[patch, &labels.test], &labels.test, Which::Added)?.0);
    row.others = Some(trials.run(commit, &[patch], &labels.test, Which::Others)?.0);
    Ok(())
}

/// Writes the report beside those before it, and prints it.
fn write(folder: &Path, report: &Report) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(Error::io(format!("make the folder {}", folder.display())))?;
    let json = serde_json::to_string_pretty(report).map_err(QueryError::from)?;
    let text = markdown(report)?;
    let mut series = Report::series(folder, &report.suite)?;
    series.retain(|known| known.made_at != report.made_at);
    series.push(report.clone());
    let page = html(report, &series)?;
    for (ending, content) in [("json", &json), ("md", &text), ("html", &page)] {
        let path = folder.join(format!("{}.{ending}", report.stem()));
        std::fs::write(&path, content).map_err(Error::io(format!("write {}", path.display())))?;
        output::note(&format!("wrote {}", path.display()));
    }
    output::data(&text)
}
