//! What the demo found, and what to type next.

use arrow::array::{AsArray, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use serde_json::Value;
use tracerag_ingest::tenant::TenantConfig;
use tracerag_query::{Session, SimilarRequest, bundle};

use crate::cli::Context;
use crate::config::EmbeddingSection;
use crate::error::Error;
use crate::output;

/// Prints incidents, one bundle in short, similar incidents and three commands.
pub(super) async fn tell(context: &Context) -> Result<(), Error> {
    let session = crate::commands::session(context).await?;
    output::data("\nCounts\n")?;
    show(&session, COUNTS).await?;
    output::data("\nIncidents\n")?;
    show(&session, INCIDENTS).await?;
    let Some(trace_id) = failing_trace(&session).await? else {
        output::note("the sample has no failing trace; this copy of tracerag is damaged, build it again");
        return Ok(());
    };
    let bundle = bundle::store(&session, bundle::assemble(&session, &trace_id).await?).await?;
    let evidence = serde_json::to_value(&bundle.evidence).map_err(tracerag_query::QueryError::from)?;
    output::data(&in_short(&trace_id, &bundle.bundle_id, &evidence))?;
    let similar = session
        .similar(&SimilarRequest { trace_id: Some(trace_id.clone()), k: 3, ..SimilarRequest::default() })
        .await?;
    output::data("\nSimilar incidents\n")?;
    let rows = similar
        .iter()
        .map(|found| {
            let distance = found.distance.map_or_else(String::new, |distance| format!("{distance:.3}"));
            vec![found.title.clone(), distance, found.reason.clone()]
        })
        .collect();
    output::data(&output::table(&["title", "distance", "reason"], rows, &[1]))?;
    output::data(&next(context, &trace_id))
}

const COUNTS: &str = "select (select count(*) from traces) traces, (select count(*) from spans) spans, \
     (select count(*) from logs) logs, (select count(*) from metrics) metric_points, \
     (select count(*) from failures) failures, (select count(*) from incidents) incidents, \
     (select count(*) from dead_letters) dead_letters";

const INCIDENTS: &str = "select substr(title, 1, 80) title, service_name, failure_count failures, trace_count traces \
     from incidents order by failure_count desc, title limit 8";

/// The trace with a heap record, which the sample's story is about; else any with a failure.
const FAILING: &str = "select f.trace_id, max(case when h.trace_id is null then 0 else 1 end) has_heap, count(*) failures \
     from failures f left join heaps h on f.trace_id = h.trace_id where f.trace_id is not null \
     group by 1 order by 2 desc, 3 desc, 1 limit 1";

async fn rows(session: &Session, query: &str) -> Result<Vec<RecordBatch>, Error> {
    let stream = session.sql(query, None).await?;
    Ok(stream.try_collect().await.map_err(tracerag_query::QueryError::from)?)
}

async fn show(session: &Session, query: &str) -> Result<(), Error> {
    output::data(&format!("{}\n", pretty_format_batches(&rows(session, query).await?)?))
}

async fn failing_trace(session: &Session) -> Result<Option<String>, Error> {
    let batches = rows(session, FAILING).await?;
    let found = batches.iter().find(|batch| batch.num_rows() > 0);
    Ok(found.and_then(|batch| batch.column(0).as_string_opt::<i32>().map(|ids| ids.value(0).to_owned())))
}

/// The bundle as a person wants to see it first: what failed, under which build and flag, with which log and heap.
fn in_short(trace_id: &str, bundle_id: &str, evidence: &Value) -> String {
    let mut text = format!("\nEvidence of trace {trace_id}\n  bundle    {bundle_id}\n");
    let mut line = |label: &str, entry: Option<String>| {
        if let Some(entry) = entry {
            text.push_str(&format!("  {label:<9} {entry}\n"));
        }
    };
    let failure = first(evidence, "failures", |_| true);
    let service = failure.map(|failure| word(failure, "service")).unwrap_or_default();
    line("failure", failure.map(|entry| cite(entry, &[word(entry, "exception_type"), clip(&word(entry, "message"))])));
    let build = first(evidence, "builds", |entry| word(entry, "service") == service);
    line("build", build.map(|entry| cite(entry, &[word(entry, "git_sha"), word(entry, "match")])));
    let is_flag = |entry: &Value| word(entry, "kind") == "flag";
    let flag = first(evidence, "flags", |entry| is_flag(entry) && word(entry, "service") == service)
        .or_else(|| first(evidence, "flags", is_flag));
    line(
        "flag",
        flag.map(|entry| {
            cite(entry, &[format!("= {}", word(entry, "variant")), format!("since {}", word(entry, "since"))])
        }),
    );
    let log = first(evidence, "logs", |entry| word(entry, "severity") == "ERROR")
        .or_else(|| first(evidence, "logs", |_| true));
    line("log", log.map(|entry| cite(entry, &[word(entry, "severity"), clip(&word(entry, "body"))])));
    let heap = first(evidence, "heaps", |_| true);
    line("heap", heap.map(|entry| cite(entry, &[site(entry)])));
    text
}

fn first<'a>(evidence: &'a Value, section: &str, wanted: impl Fn(&Value) -> bool) -> Option<&'a Value> {
    evidence.get(section)?.as_array()?.iter().find(|entry| wanted(entry))
}

fn word(entry: &Value, field: &str) -> String {
    entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn cite(entry: &Value, words: &[String]) -> String {
    let said: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    format!("[{}] {}", word(entry, "anchor"), said.join("  "))
}

fn site(heap: &Value) -> String {
    let Some(site) = heap.pointer("/top_sites/0") else { return String::new() };
    let line = site.get("line").and_then(Value::as_i64).unwrap_or_default();
    format!("{}:{line} {}", word(site, "file"), word(site, "function"))
}

fn clip(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(110) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}

fn next(context: &Context, trace_id: &str) -> String {
    let program = std::env::current_exe().map_or_else(|_| String::from("tracerag"), |path| path.display().to_string());
    let command = command(&program, context);
    format!(
        "\nTry next\n  {command} sql \"select service_name, count(*) from failures group by 1 order by 2 desc\"\n  \
         {command} similar \"no instance of a service is registered\"\n  \
         {command} bundle --format markdown {trace_id}\n"
    )
}

/// What a command must begin with to see what this one sees, whatever its folder and environment are.
fn command(program: &str, context: &Context) -> String {
    let (embedding, usual) = (&context.config.embedding, EmbeddingSection::default());
    let mut words = Vec::new();
    let cache = embedding.cache_folder();
    if cache != usual.cache_folder() {
        words.push(format!("TRACERAG_EMBEDDING__CACHE={}", quoted(&cache.display().to_string())));
    }
    if embedding.model != usual.model {
        words.push(format!("TRACERAG_EMBEDDING__MODEL={}", quoted(&embedding.model)));
    }
    words.extend([quoted(program), String::from("--lake"), quoted(&context.config.lake.uri)]);
    if context.tenant != TenantConfig::default().default {
        words.extend([String::from("--tenant"), quoted(&context.tenant)]);
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,~".contains(c);
    match !word.is_empty() && !word.starts_with('~') && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// A lake in a folder with spaces is one word, and what the environment said of the model is said again; what is
    /// as usual is left out.
    #[test]
    fn commands_work_anywhere() {
        let mut context = Context { config: Config::default(), tenant: String::from("default") };
        context.config.lake.uri = String::from("/tmp/my lake's/lake");
        assert_eq!(command("/bin/tracerag", &context), r"/bin/tracerag --lake '/tmp/my lake'\''s/lake'");
        context.config.lake.uri = String::from("./lake");
        context.config.embedding.cache = "/var/my cache".into();
        context.config.embedding.model = String::from("hashed-ngrams");
        context.tenant = String::from("acme");
        assert_eq!(
            command("tracerag", &context),
            "TRACERAG_EMBEDDING__CACHE='/var/my cache' TRACERAG_EMBEDDING__MODEL=hashed-ngrams tracerag --lake ./lake \
             --tenant acme"
        );
    }
}
