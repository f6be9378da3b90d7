//! `tracerag dead-letters replay`: letters are decoded again, and what is good now is written once.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use tracerag_index::{Lake, LetterFilter, WaitingLetters};
use tracerag_ingest::IngestError;
use tracerag_ingest::dead_letter::StoredLetter;
use tracerag_ingest::source::{Encoding, Signal, TopicRules, files};
use tracerag_schemas::{Table, letters};

use super::place::Place;
use crate::cli::Context;
use crate::config::Config;
use crate::error::Error;
use crate::output::{self, thousands};
use crate::pipeline::{Pipeline, Replayable};

/// Bytes of letters that are read at once.
const BYTES_AT_ONCE: i64 = 8 << 20;
/// Letters of which it is said one by one why they are bad.
const EXAMPLES: usize = 5;

/// Options of `dead-letters replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Only letters of this reason: decode, change, too_large
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only letters of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Encoding of OTLP letters [default: that of their topic in the configuration]
    #[arg(long, value_enum, value_name = "ENCODING")]
    encoding: Option<EncodingName>,
    /// Say what would become of the letters, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Encodings by their names in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EncodingName {
    /// Protobuf
    #[value(name = "otlp_proto")]
    Proto,
    /// OTLP/JSON
    #[value(name = "otlp_json")]
    Json,
    /// Told apart letter by letter
    #[value(name = "auto")]
    Auto,
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::Proto => Encoding::Proto,
            EncodingName::Json => Encoding::Json,
            EncodingName::Auto => Encoding::Auto,
        }
    }
}

/// Decodes the letters that wait and writes those that are good.
pub(super) async fn run(mut context: Context, args: ReplayArgs) -> Result<(), Error> {
    if let Some(reason @ (letters::GAP | letters::REPLAYED)) = args.reason.as_deref() {
        return Err(Error::Usage(format!(
            "rows of reason {reason} hold no record that could be replayed; take another --reason, or none for all"
        )));
    }
    context.config.require(&["lake", "embedding", "window", "payload", "tenant", "topics", "kafka.headers"])?;
    let filter =
        LetterFilter { tenant: context.tenant.clone(), reason: args.reason.clone(), topic: args.topic.clone() };
    let lake = Lake::open(context.config.lake.options()).await?;
    let found = WaitingLetters::find(&lake, &filter).await?;
    if found.is_empty() && found.replayed() == 0 {
        output::note("nothing to replay: no dead letter waits");
        return Ok(());
    }
    // Tokens of what came from Kafka have to be those of the worker, so they need its key.
    if found.topics().into_iter().all(is_file) {
        crate::commands::demo_key(&mut context.config)?;
    } else {
        context.config.require(&["redaction"])?;
    }
    let kinds = Kinds::new(&context.config, args.encoding)?;
    let mut pipeline = Pipeline::open(&context.config, "dead-letters").await?;
    let outcome = match replay(&mut pipeline, &filter, &kinds, args.dry_run).await {
        Err(Error::Index(tracerag_index::Error::Fenced { .. })) => {
            return Err(Error::Stopped {
                what: "the replay",
                detail: String::from("another replay of dead letters has begun, and one runs at a time"),
            });
        }
        outcome => outcome?,
    };
    outcome.tell(&pipeline, args.dry_run);
    match args.dry_run {
        true => Ok(()),
        false => crate::commands::replay::after(&pipeline, &context).await,
    }
}

async fn replay(
    pipeline: &mut Pipeline,
    filter: &LetterFilter,
    kinds: &Kinds,
    dry_run: bool,
) -> Result<Outcome, Error> {
    if !dry_run {
        pipeline.claim_letters().await?;
    }
    // Only now: what an earlier replay had recorded when it was killed is applied.
    let mut waiting = WaitingLetters::find(pipeline.lake(), filter).await?;
    let mut outcome = Outcome { before: waiting.replayed(), ..Outcome::default() };
    while let Some(rows) = waiting.next(BYTES_AT_ONCE).await? {
        let stored = StoredLetter::read(&rows)?;
        let mut known = Vec::with_capacity(stored.len());
        for letter in &stored {
            match kinds.of(letter) {
                Ok((signal, encoding)) => known.push(Replayable { letter, signal, encoding, named: &kinds.named }),
                Err(unknown) => outcome.leave(letter, unknown),
            }
        }
        let verdicts = pipeline.take_letters(&known, !dry_run)?;
        for (Replayable { letter, .. }, verdict) in known.iter().zip(verdicts) {
            match verdict {
                Ok(()) => outcome.replayed += 1,
                Err(detail) => outcome.leave(letter, Unknown::Bad(detail)),
            }
        }
        if pipeline.are_letters_due() && !dry_run {
            pipeline.write_letters().await?;
        }
    }
    if !dry_run {
        pipeline.write_letters().await?;
        pipeline.seal_letters().await?;
    }
    Ok(outcome)
}

fn is_file(topic: &str) -> bool {
    topic.starts_with("file:")
}

/// What letters are decoded as.
struct Kinds {
    rules: TopicRules,
    encoding: Option<Encoding>,
    /// Headers that become attributes.
    named: Vec<String>,
}

/// Why a letter stays.
enum Unknown {
    /// No signal reads its topic.
    Topic,
    /// It cannot be decoded; in words why.
    Bad(String),
}

impl Kinds {
    fn new(config: &Config, encoding: Option<EncodingName>) -> Result<Self, Error> {
        let rules = TopicRules::new(&config.topics, &config.kafka.dead_letter_topic).map_err(IngestError::from)?;
        Ok(Self { rules, encoding: encoding.map(Encoding::from), named: config.kafka.headers.clone() })
    }

    /// By the topic; a file has none, so its lines tell by their content.
    fn of(&self, letter: &StoredLetter) -> Result<(Signal, Encoding), Unknown> {
        let topic = &*letter.origin.topic;
        if is_file(topic) {
            let kind = letter.value.as_deref().and_then(files::kind_of);
            return kind.ok_or_else(|| Unknown::Bad(String::from("its content is of no kind that is known")));
        }
        let kind = self.rules.kind(topic).ok_or(Unknown::Topic)?;
        let encoding = self.encoding.filter(|_| kind.signal.is_otlp()).unwrap_or(kind.encoding);
        Ok((kind.signal, encoding))
    }
}

/// What became of the letters.
#[derive(Default)]
struct Outcome {
    replayed: u64,
    bad: u64,
    /// Some of the bad ones, with what is wrong.
    examples: Vec<String>,
    /// Letters of topics that nothing reads.
    unread: BTreeMap<String, u64>,
    /// Letters that were replayed earlier.
    before: usize,
}

impl Outcome {
    fn leave(&mut self, letter: &StoredLetter, why: Unknown) {
        match why {
            Unknown::Topic => *self.unread.entry(letter.origin.topic.to_string()).or_default() += 1,
            Unknown::Bad(detail) => {
                self.bad += 1;
                if self.examples.len() < EXAMPLES {
                    let topic = letter.origin.topic.to_string();
                    let place = Place { topic, partition: letter.origin.partition, offset: letter.offset };
                    self.examples.push(format!("{place}: {detail}"));
                }
            }
        }
    }

    fn tell(&self, pipeline: &Pipeline, dry_run: bool) {
        let tally = pipeline.tally();
        if self.replayed == 0 {
            output::note(&match self.before {
                0 => String::from("nothing replayed"),
                before => format!("nothing replayed; {} letters were replayed before", thousands(before as u64)),
            });
        } else if dry_run {
            output::note(&format!(
                "would be replayed: {} letters with {} spans, {} log records, {} metric points; nothing was written",
                thousands(self.replayed),
                thousands(tally.spans),
                thousands(tally.logs),
                thousands(tally.points)
            ));
        } else {
            let written = |table: Table| thousands(tally.rows(table));
            output::note(&format!("replayed: {} letters", thousands(self.replayed)));
            output::note(&format!(
                "written: {} spans in {} traces, {} log records, {} metric points, {} failures, {} changes of flags, \
                 {} of builds, {} heaps (position {})",
                written(Table::Spans),
                written(Table::Traces),
                written(Table::Logs),
                written(Table::Metrics),
                written(Table::Failures),
                written(Table::Flags),
                written(Table::Builds),
                written(Table::Heaps),
                tally.position
            ));
            if tally.duplicate_spans + tally.duplicate_logs > 0 {
                output::note(&format!(
                    "known already and dropped: {} spans, {} log records",
                    thousands(tally.duplicate_spans),
                    thousands(tally.duplicate_logs)
                ));
            }
        }
        if self.bad > 0 {
            output::note(&format!("still bad, and kept: {} letters", thousands(self.bad)));
            for example in &self.examples {
                output::note(&format!("  {example}"));
            }
        }
        for (topic, number) in &self.unread {
            output::note(&format!(
                "left: {} letters of topic {topic}, which no signal reads; name it under [topics]",
                thousands(*number)
            ));
        }
    }
}
