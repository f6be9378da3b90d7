//! What of a bundle may stand in a prompt, and how soon it is taken.
//!
//! A rank says how much an entry tells about the failure: first what failed and where, with the flags and builds of the
//! services that failed, then what these wrote and were sent, where the time went and what asked for it, then code and what
//! was done before, then everything else. Ranks grow with the place in the bundle, so a section with thousands of entries
//! does not keep the others out.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use serde_json::Value;
use tracerag_schemas::bundle::{Bundle, Evidence, Failure, Flag, Heap, Metric, Span};

use super::page::{Item, Section};
use crate::bundle::reading::{body, clusters, count, depths, duration, failing, opt, without_digits};
use crate::untrusted::{line, short};

/// Characters of a message, a log's body, a payload.
const LONG: usize = 300;
/// Characters of what is only named.
const BRIEF: usize = 120;
/// Frames of a failure.
const FRAMES: usize = 5;

/// The trace in a few lines, which always stand in the prompt.
pub(super) fn trace_lines(bundle: &Bundle) -> String {
    let trace = &bundle.evidence.trace;
    let mut text = format!(
        "trace {}: {} {} {} at {}, services {}",
        line(&trace.trace_id),
        short(opt(&trace.root_name), BRIEF),
        opt(&trace.status),
        duration(trace.duration_ns),
        opt(&trace.started_at),
        short(&trace.services.join(", "), LONG),
    );
    if trace.complete == Some(false) {
        let _ = write!(text, "\nthe trace is incomplete: {}", short(&trace.incomplete_reasons.join(", "), BRIEF));
    }
    if !bundle.evidence.sealed {
        text.push_str("\nthe trace may still grow");
    }
    text
}

/// Every entry, section by section in the order of the bundle.
pub(super) fn items(bundle: &Bundle) -> Vec<Item> {
    let evidence = &bundle.evidence;
    let at_fault = AtFault::of(evidence);
    let mut items = failures(&evidence.failures);
    items.extend(spans(&evidence.spans, &at_fault));
    items.extend(changes(bundle, &at_fault));
    items.extend(logs(bundle, &at_fault));
    items.extend(values(bundle, &at_fault));
    items.extend(links(bundle, &at_fault));
    items.extend(history(bundle));
    items
}

/// The services and spans that failed, and the spans on the failing path: these and those above them.
struct AtFault<'a> {
    services: HashSet<&'a str>,
    failed: HashSet<&'a str>,
    path: HashSet<&'a str>,
}

impl<'a> AtFault<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let (mut services, mut failed) = (HashSet::<&str>::new(), HashSet::<&str>::new());
        for span in evidence.spans.iter().filter(|span| span.status.as_deref() == Some("ERROR")) {
            services.extend(span.service.as_deref());
            failed.insert(&span.span_id);
        }
        for failure in &evidence.failures {
            services.extend(failure.service.as_deref());
            failed.extend(failure.span_id.as_deref());
        }
        Self { services, failed, path: failing(&evidence.spans) }
    }

    fn has_service(&self, service: Option<&str>) -> bool {
        service.is_none_or(|service| self.services.contains(service))
    }

    fn has_span(&self, span_id: Option<&str>) -> bool {
        span_id.is_some_and(|span_id| self.path.contains(span_id))
    }
}

/// Ranks that grow by `step`.
fn ranks(first: u32, step: usize) -> impl Iterator<Item = u32> {
    (first..).step_by(step)
}

/// Failures that say the same stand once, with the anchors of the others.
fn failures(failures: &[Failure]) -> Vec<Item> {
    let mut groups: Vec<(&Failure, Vec<&str>)> = Vec::new();
    let mut known: HashMap<(Option<&str>, Option<&str>, String), usize> = HashMap::new();
    for failure in failures {
        let message = without_digits(failure.message.as_deref().unwrap_or_default());
        let key = (failure.service.as_deref(), failure.exception_type.as_deref(), message);
        match known.get(&key).and_then(|group| groups.get_mut(*group)) {
            Some((_, others)) => others.push(&failure.anchor),
            None => {
                known.insert(key, groups.len());
                groups.push((failure, vec![]));
            }
        }
    }
    let items = groups.iter().zip(ranks(10, 3));
    items.map(|((failure, others), rank)| Item::line(Section::Failures, rank, &failure_text(failure, others))).collect()
}

fn failure_text(failure: &Failure, others: &[&str]) -> String {
    let mut text = format!(
        "- [{}] {} {}: {}",
        line(&failure.anchor),
        short(opt(&failure.service), BRIEF),
        short(opt(&failure.exception_type), BRIEF),
        short(opt(&failure.message), LONG),
    );
    if let Some(span_id) = &failure.span_id {
        let _ = write!(text, " (span:{}, fingerprint {})", line(span_id), line(opt(&failure.fingerprint)));
    }
    for frame in failure.frames.iter().filter(|frame| frame.in_app != Some(false)).take(FRAMES) {
        let place = match (&frame.anchor, &frame.file, frame.line) {
            (Some(anchor), ..) => format!("[{anchor}]"),
            (None, Some(file), Some(number)) => format!("{file}:{number}"),
            _ => continue,
        };
        let _ = write!(text, "\n  - {} in {}", line(&place), short(opt(&frame.function), BRIEF));
    }
    if let Some((first, more)) = others.split_first() {
        let _ = write!(text, "\n  - {} more like this: {}", others.len(), line(first));
        for anchor in more.iter().take(3) {
            let _ = write!(text, ", {}", line(anchor));
        }
    }
    text
}

/// Spans that failed and those above them, then what the trace waited for, then the rest.
fn spans(spans: &[Span], at_fault: &AtFault<'_>) -> Vec<Item> {
    let depths = depths(spans);
    let waited_for = waited_for(spans, at_fault);
    let (mut on_path, mut beside) = (ranks(12, 2), ranks(120, 1));
    let mut items = Vec::with_capacity(spans.len());
    for span in spans {
        let (section, rank) = match (at_fault.has_span(Some(&span.span_id)), waited_for.get(span.span_id.as_str())) {
            (true, _) => (Section::Path, on_path.next()),
            (false, Some(rank)) => (Section::OtherSpans, Some(*rank)),
            (false, None) => (Section::OtherSpans, beside.next()),
        };
        let depth = depths.get(span.span_id.as_str()).copied().unwrap_or_default().min(12);
        let text = format!("{}{}", "  ".repeat(depth), span_text(span, section == Section::Path));
        items.push(Item::line(section, rank.unwrap_or(u32::MAX), &text));
    }
    items
}

/// Ranks of the spans on the critical path that are not on the failing one, by their ids: the one with the most time of its
/// own first. A time-out is thrown by whoever gave up, and its cause is the slow span below, which often ends well. So the
/// slowest stands before code.
fn waited_for<'a>(spans: &'a [Span], at_fault: &AtFault<'_>) -> HashMap<&'a str, u32> {
    let critical: Vec<&'a Span> = spans.iter().filter(|span| span.on_critical_path).collect();
    let time = |span: &Span| span.duration_ns.unwrap_or_default();
    let mut below: HashMap<&str, i64> = HashMap::new();
    for span in &critical {
        if let Some(parent) = span.parent_span_id.as_deref() {
            let sum = below.entry(parent).or_default();
            *sum = sum.saturating_add(time(span));
        }
    }
    let own = |span: &Span| time(span).saturating_sub(below.get(span.span_id.as_str()).copied().unwrap_or_default());
    let is_below = |span: &&Span| !at_fault.has_span(Some(&span.span_id));
    let mut waited_for: Vec<&'a Span> = critical.iter().copied().filter(is_below).collect();
    waited_for.sort_by_key(|span| Reverse(own(span)));
    waited_for.into_iter().map(|span| span.span_id.as_str()).zip(ranks(23, 6)).collect()
}

fn span_text(span: &Span, with_attributes: bool) -> String {
    let mut text = format!(
        "- [{}] {} {} {} {} {}",
        line(&span.anchor),
        short(opt(&span.service), BRIEF),
        opt(&span.kind),
        short(opt(&span.name), BRIEF),
        duration(span.duration_ns),
        opt(&span.status),
    );
    if let Some(message) = span.status_message.as_deref().filter(|message| !message.is_empty()) {
        let _ = write!(text, " \"{}\"", short(message, BRIEF));
    }
    if span.on_critical_path {
        text.push_str(" critical");
    }
    if with_attributes && !span.attributes.is_empty() {
        let pairs: Vec<String> =
            span.attributes.iter().map(|(key, value)| format!("{key}={}", short(&shown(value), 60))).collect();
        let _ = write!(text, " {{{}}}", short(&pairs.join(", "), LONG));
    }
    text
}

/// What was changed: flags, configuration, builds; that of services at fault and what a service said itself first.
fn changes(bundle: &Bundle, at_fault: &AtFault<'_>) -> Vec<Item> {
    let (mut near, mut far) = (ranks(11, 1), ranks(60, 1));
    let mut rank = |is_near: bool| {
        let ranks = if is_near { &mut near } else { &mut far };
        ranks.next().unwrap_or(u32::MAX)
    };
    let flags = bundle.evidence.flags.iter().map(|flag| {
        let is_near = at_fault.has_service(flag.service.as_deref()) || flag.span_id.is_some();
        Item::line(Section::Flags, rank(is_near), &flag_text(flag))
    });
    let mut items: Vec<Item> = flags.collect();
    items.extend(bundle.evidence.builds.iter().map(|build| {
        let mut text = format!(
            "- [{}] commit {} deployed {} ({})",
            line(&build.anchor),
            short(opt(&build.git_sha), BRIEF),
            opt(&build.deployed_at),
            opt(&build.r#match)
        );
        candidates(&mut text, &build.candidates);
        if !build.schema_migrations.is_empty() {
            let _ = write!(text, " migrations {}", short(&build.schema_migrations.join(", "), BRIEF));
        }
        Item::line(Section::Builds, rank(at_fault.has_service(build.service.as_deref())), &text)
    }));
    items
}

fn flag_text(flag: &Flag) -> String {
    let value = flag.variant.as_deref().or(flag.value.as_deref()).unwrap_or("-");
    let mut text = format!(
        "- [{}] = {} since {} ({})",
        line(&flag.anchor),
        short(value, BRIEF),
        opt(&flag.since),
        opt(&flag.r#match)
    );
    candidates(&mut text, &flag.candidates);
    text
}

fn candidates(text: &mut String, candidates: &[String]) {
    if !candidates.is_empty() {
        let _ = write!(text, " one of {}", short(&candidates.join(", "), BRIEF));
    }
}

/// Records that repeat stand once. One that says no more than a failure only says so, because its anchor may be cited.
fn logs(bundle: &Bundle, at_fault: &AtFault<'_>) -> Vec<Item> {
    let failures = &bundle.evidence.failures;
    let told: HashMap<&str, &str> = failures
        .iter()
        .rev()
        .filter_map(|failure| Some((failure.message.as_deref()?, failure.anchor.as_str())))
        .collect();
    let (mut errors, mut warnings) = (ranks(15, 2), ranks(30, 2));
    let (mut on_path, mut others) = (ranks(45, 1), ranks(90, 1));
    let entries = clusters(&bundle.evidence.logs).into_iter().map(|(log, number)| {
        let ranks = match log.severity.as_deref() {
            Some("FATAL" | "ERROR") => &mut errors,
            Some("WARN") => &mut warnings,
            _ if at_fault.has_span(log.span_id.as_deref()) => &mut on_path,
            _ => &mut others,
        };
        let body = body(log);
        let said = match told.get(body.as_str()) {
            Some(failure) => format!("the message of {}", line(failure)),
            None => short(&body, LONG),
        };
        let mut text = format!(
            "- [{}] {} {} {}: {said}",
            line(&log.anchor),
            opt(&log.time),
            short(opt(&log.severity), BRIEF),
            short(opt(&log.service), BRIEF),
        );
        if number > 1 {
            let _ = write!(text, " ({number} like this)");
        }
        Item::line(Section::Logs, ranks.next().unwrap_or(u32::MAX), &text)
    });
    entries.collect()
}

/// Payloads, heaps and metrics.
fn values(bundle: &Bundle, at_fault: &AtFault<'_>) -> Vec<Item> {
    let evidence = &bundle.evidence;
    let (mut near, mut far) = (ranks(18, 2), ranks(70, 1));
    let payloads = evidence.payloads.iter().map(|payload| {
        let ranks = if at_fault.has_span(payload.span_id.as_deref()) { &mut near } else { &mut far };
        let text = format!("- [{}] {}", line(&payload.anchor), short(&payload.sample.to_string(), LONG));
        Item::line(Section::Payloads, ranks.next().unwrap_or(u32::MAX), &text)
    });
    let mut items: Vec<Item> = payloads.collect();
    let (mut by_ids, mut by_time) = (ranks(22, 3), ranks(60, 3));
    items.extend(evidence.heaps.iter().map(|heap| {
        let ranks = if heap.joined_by == "ids" { &mut by_ids } else { &mut by_time };
        Item::line(Section::Heaps, ranks.next().unwrap_or(u32::MAX), &heap_text(heap))
    }));
    let (mut named, mut moved, mut others) = (ranks(50, 1), ranks(55, 2), ranks(100, 2));
    items.extend(evidence.metrics.iter().filter_map(|metric| {
        let ranks = match (metric.exemplars.is_empty(), has_moved(metric)) {
            (false, _) => &mut named,
            (true, true) if at_fault.has_service(metric.service.as_deref()) => &mut moved,
            (true, _) => &mut others,
        };
        let (first, last) = (metric.points.first()?, metric.points.last()?);
        let text = format!(
            "- [{}] {} {} {} -> {} {} ({} points)",
            line(&metric.anchor),
            short(opt(&metric.service), BRIEF),
            short(opt(&metric.name), BRIEF),
            short(&shown(&first.1), BRIEF),
            short(&shown(&last.1), BRIEF),
            short(metric.unit.as_deref().unwrap_or_default(), BRIEF),
            metric.points.len(),
        );
        Some(Item::line(Section::Metrics, ranks.next().unwrap_or(u32::MAX), &text))
    }));
    items
}

/// Whether a series went up or down by more than a fifth round the trace.
fn has_moved(metric: &Metric) -> bool {
    let values = || metric.points.iter().filter_map(|(_, value)| value.as_f64());
    let (least, greatest) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    greatest.is_finite() && greatest - least > 0.2 * greatest.abs().max(least.abs())
}

fn heap_text(heap: &Heap) -> String {
    let mut text = format!(
        "- [{}] {} captured {}, {} B in all",
        line(&heap.anchor),
        short(opt(&heap.service), BRIEF),
        opt(&heap.captured_at),
        count(heap.total_bytes)
    );
    for held in heap.top_types.iter().take(3) {
        let name = short(opt(&held.r#type), BRIEF);
        let _ = write!(text, "\n  - {name} {} B, {} objects", count(held.bytes), count(held.count));
    }
    for site in heap.top_sites.iter().take(3) {
        let place = match &site.anchor {
            Some(anchor) => format!("[{anchor}]"),
            None => format!("{}:{}", opt(&site.file), count(site.line)),
        };
        let function = short(opt(&site.function), BRIEF);
        let _ = write!(text, "\n  - {} B allocated at {} in {function}", count(site.bytes), line(&place));
    }
    for path in heap.retained_paths.iter().take(1) {
        let _ = write!(text, "\n  - held by {}", short(&path.join(" -> "), LONG));
    }
    text
}

/// Links: first those of the spans that failed, for what a job does was asked for in another trace, then those of the spans
/// above.
fn links(bundle: &Bundle, at_fault: &AtFault<'_>) -> Vec<Item> {
    let (mut failed, mut on_path, mut others) = (ranks(21, 3), ranks(40, 3), ranks(80, 1));
    let items = bundle.evidence.linked.iter().map(|link| {
        let span_id = link.from_span_id.as_deref();
        let ranks = match span_id.is_some_and(|span_id| at_fault.failed.contains(span_id)) {
            true => &mut failed,
            false if at_fault.has_span(span_id) => &mut on_path,
            false => &mut others,
        };
        let (anchor, direction) = (line(&link.anchor), line(&link.direction));
        let mut text = format!("- [{anchor}] {direction} trace {}", opt(&link.trace_id));
        if let Some(span_id) = span_id {
            let _ = write!(text, " (span:{})", line(span_id));
        }
        Item::line(Section::Links, ranks.next().unwrap_or(u32::MAX), &text)
    });
    items.collect()
}

/// Similar incidents, and what was done about them.
fn history(bundle: &Bundle) -> Vec<Item> {
    let mut items = Vec::new();
    for (similar, rank) in bundle.context.similar.iter().zip(ranks(35, 4)) {
        let distance = similar.distance.map_or_else(|| "-".to_owned(), |distance| format!("{distance:.3}"));
        let text = format!(
            "- [{}] {} (distance {distance}, {})",
            line(&similar.anchor),
            short(opt(&similar.title), LONG),
            short(opt(&similar.reason), BRIEF),
        );
        items.push(Item::line(Section::Similar, rank, &text));
    }
    let (mut good, mut wrong) = (ranks(20, 10), ranks(50, 5));
    for similar in &bundle.context.similar {
        for fix in &similar.fixes {
            let ranks = if fix["outcome"] == "wrong" { &mut wrong } else { &mut good };
            let text = fix_text(&similar.anchor, fix);
            items.push(Item::line(Section::Fixes, ranks.next().unwrap_or(u32::MAX), &text));
        }
    }
    items
}

fn fix_text(anchor: &str, fix: &Value) -> String {
    let member = |name: &str| fix[name].as_str().unwrap_or("-");
    format!(
        "- [{}] {} {}: {} ({})",
        line(anchor),
        short(member("fixed_at"), BRIEF),
        short(member("outcome"), BRIEF),
        short(member("summary"), 2 * LONG),
        short(member("patch_url"), LONG),
    )
}

/// A text as it is, everything else as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
