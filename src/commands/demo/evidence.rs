//! The evidence of a trace as a person wants to see it first.

use serde_json::Value;
use tracerag_schemas::bundle::{Build, Bundle, Evidence, Failure, Flag, Heap, Log, Payload, Span};

use crate::output::thousands;

/// What was answered, what failed, with which flag and build, where memory went, and with which log and payload: a line
/// each, with its anchor. What the bundle does not have has no line.
pub(super) fn in_short(bundle: &Bundle) -> String {
    let evidence = &bundle.evidence;
    let failure = failure(evidence);
    let lines = [
        ("answer", evidence.spans.first().map(answer_line)),
        ("failure", failure.map(failure_line)),
        ("code", failure.and_then(code_line)),
        ("flag", failure.and_then(|failure| flag(evidence, failure)).map(flag_line)),
        ("build", failure.and_then(|failure| build(evidence, failure)).map(build_line)),
        ("heap", evidence.heaps.first().map(heap_line)),
        ("log", log(evidence).map(log_line)),
        ("payload", evidence.payloads.first().map(payload_line)),
        ("bundle", Some(bundle.bundle_id.clone())),
    ];
    let told = lines.into_iter().filter_map(|(label, text)| Some(format!("  {label:<9} {}\n", text?)));
    told.collect()
}

/// The failure that a heap was taken for, which is where it began; without a heap the first one.
pub(super) fn failure(evidence: &Evidence) -> Option<&Failure> {
    let span = evidence.heaps.first().and_then(|heap| heap.span_id.as_deref());
    let of_heap = evidence.failures.iter().find(|failure| span.is_some() && failure.span_id.as_deref() == span);
    of_heap.or_else(|| evidence.failures.first())
}

/// The flag that the failing span evaluated; without an evaluation one of its service, else any.
pub(super) fn flag<'a>(evidence: &'a Evidence, failure: &Failure) -> Option<&'a Flag> {
    let flags = || evidence.flags.iter().filter(|flag| flag.kind.as_deref() == Some("flag"));
    flags()
        .find(|flag| flag.span_id.is_some() && flag.span_id == failure.span_id)
        .or_else(|| flags().find(|flag| flag.service == failure.service))
        .or_else(|| flags().next())
}

fn build<'a>(evidence: &'a Evidence, failure: &Failure) -> Option<&'a Build> {
    evidence.builds.iter().find(|build| build.service == failure.service)
}

fn log(evidence: &Evidence) -> Option<&Log> {
    let error = evidence.logs.iter().find(|log| matches!(log.severity.as_deref(), Some("ERROR" | "FATAL")));
    error.or_else(|| evidence.logs.first())
}

fn answer_line(root: &Span) -> String {
    let status = root.attributes.get("http.response.status_code").map(Value::to_string).unwrap_or_default();
    let took = root.duration_ns.map(|ns| format!("in {:.1} ms", ns as f64 / 1e6)).unwrap_or_default();
    cite(&root.anchor, &[word(&root.name), &status, &took])
}

fn failure_line(failure: &Failure) -> String {
    cite(&failure.anchor, &[word(&failure.service), word(&failure.exception_type), &clip(word(&failure.message), 110)])
}

/// The innermost frame of the application's own code.
fn code_line(failure: &Failure) -> Option<String> {
    let own = failure.frames.iter().find(|frame| frame.in_app == Some(true))?;
    Some(cite(own.anchor.as_deref()?, &[word(&own.function)]))
}

fn flag_line(flag: &Flag) -> String {
    let set = format!("= {}", flag.variant.as_deref().or(flag.value.as_deref()).unwrap_or("null"));
    cite(&flag.anchor, &[&set, &since("since", &flag.since), word(&flag.r#match)])
}

fn build_line(build: &Build) -> String {
    let commit: String = word(&build.git_sha).chars().take(12).collect();
    cite(&build.anchor, &[&commit, &since("deployed", &build.deployed_at), word(&build.r#match)])
}

/// The line of code that holds most, how much of the heap that is, and the path that holds it where the dump has one.
fn heap_line(heap: &Heap) -> String {
    let Some(site) = heap.top_sites.first() else { return cite(&heap.anchor, &[]) };
    let place = site.line.map_or_else(String::new, |line| format!("{}:{line}", word(&site.file)));
    let bytes = match (site.bytes, heap.total_bytes) {
        (Some(bytes), Some(total)) => format!("{} of {} bytes", thousands(bytes), thousands(total)),
        _ => String::new(),
    };
    let path = heap.retained_paths.first().map(|path| path.join(" > ")).unwrap_or_default();
    cite(&heap.anchor, &[&place, word(&site.function), &bytes, &clip(&path, 110)])
}

fn log_line(log: &Log) -> String {
    let body = log.body.as_str().map_or_else(|| log.body.to_string(), str::to_owned);
    cite(&log.anchor, &[word(&log.service), word(&log.severity), &clip(&body, 110)])
}

fn payload_line(payload: &Payload) -> String {
    let removed = match payload.redactions.is_empty() {
        true => String::new(),
        false => format!("removed: {}", payload.redactions.join(", ")),
    };
    cite(&payload.anchor, &[&clip(&payload.shape.to_string(), 110), &removed])
}

fn cite(anchor: &str, words: &[&str]) -> String {
    let said: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    format!("[{anchor}] {}", said.join("  "))
}

fn word(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

fn since(what: &str, time: &Option<String>) -> String {
    time.as_deref().map(|time| format!("{what} {time}")).unwrap_or_default()
}

/// The first line of a text, `most` characters of it at most.
pub(super) fn clip(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}
