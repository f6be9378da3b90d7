//! A bundle as Markdown for a reader with little room: what failed first, then what explains it.
//!
//! Text of the evidence is data: control characters and those that change the direction of writing
//! are taken out, and nothing is said to the reader besides facts with their anchors.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde_json::Value;
use tracerag_schemas::bundle::{Bundle, Span};

use super::reading::{body, clusters, count, depths, duration, failing, opt};
use crate::untrusted::{line as clean, short};

/// Bytes that a token stands for: English text and identifiers take about four.
const BYTES_A_TOKEN: usize = 4;

/// The bundle within about `max_tokens` tokens. Sections are filled by importance; what had no room is
/// counted at the end.
pub fn view(bundle: &Bundle, max_tokens: usize) -> String {
    let mut page =
        Page { text: String::new(), room: max_tokens.saturating_mul(BYTES_A_TOKEN), left_out: BTreeMap::new() };
    head(&mut page, bundle);
    failures(&mut page, bundle);
    failing_path(&mut page, bundle);
    flags(&mut page, bundle);
    builds(&mut page, bundle);
    logs(&mut page, bundle);
    heaps(&mut page, bundle);
    payloads(&mut page, bundle);
    metrics(&mut page, bundle);
    links(&mut page, bundle);
    other_spans(&mut page, bundle);
    baseline(&mut page, bundle);
    similar(&mut page, bundle);
    page.finish(bundle)
}

struct Page {
    text: String,
    room: usize,
    left_out: BTreeMap<&'static str, usize>,
}

impl Page {
    /// A heading and as many of its lines as there is room for.
    fn section(&mut self, title: &'static str, lines: impl IntoIterator<Item = String>) {
        let mut begun = false;
        for line in lines {
            let needed = line.len() + 1 + if begun { 0 } else { title.len() + 6 };
            if self.text.len() + needed > self.room {
                *self.left_out.entry(title).or_default() += 1;
                continue;
            }
            if !begun {
                let _ = write!(self.text, "\n## {title}\n");
                begun = true;
            }
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn finish(mut self, bundle: &Bundle) -> String {
        let mut notes: Vec<String> = self
            .left_out
            .iter()
            .map(|(section, count)| format!("- {section}: {count} more in the JSON form"))
            .collect();
        notes.extend(
            bundle
                .evidence
                .omitted
                .iter()
                .map(|(section, cut)| format!("- {section}: {} not in the bundle ({})", cut.omitted, cut.why)),
        );
        if !notes.is_empty() {
            let _ = write!(self.text, "\n## Left out\n{}\n", notes.join("\n"));
        }
        self.text
    }
}

fn head(page: &mut Page, bundle: &Bundle) {
    let trace = &bundle.evidence.trace;
    let _ = writeln!(page.text, "# Trace {} `{}`", clean(opt(&trace.root_name)), trace.trace_id);
    let _ = writeln!(
        page.text,
        "{} | {} | {} | services: {}",
        opt(&trace.status),
        duration(trace.duration_ns),
        opt(&trace.started_at),
        clean(&trace.services.join(", ")),
    );
    let _ = writeln!(
        page.text,
        "bundle `{}`{}",
        bundle.bundle_id,
        if bundle.evidence.sealed { "" } else { " (not sealed yet)" }
    );
    if trace.complete == Some(false) {
        let _ = writeln!(page.text, "incomplete: {}", trace.incomplete_reasons.join(", "));
    }
}

fn failures(page: &mut Page, bundle: &Bundle) {
    let lines = bundle.evidence.failures.iter().map(|failure| {
        let mut line = format!(
            "- [{}] {} {}: {}",
            failure.anchor,
            clean(opt(&failure.service)),
            clean(opt(&failure.exception_type)),
            short(opt(&failure.message), 300),
        );
        if let Some(span_id) = &failure.span_id {
            let _ = write!(line, " (span:{span_id})");
        }
        for frame in failure.frames.iter().filter(|frame| frame.in_app != Some(false)).take(5) {
            let place = match (&frame.anchor, &frame.file, frame.line) {
                (Some(anchor), ..) => format!("[{anchor}]"),
                (None, Some(file), Some(number)) => format!("{file}:{number}"),
                _ => continue,
            };
            let _ = write!(line, "\n  - {} {}", clean(opt(&frame.function)), clean(&place));
        }
        line
    });
    page.section("Failures", lines);
}

/// Spans that failed, with what leads to them, as a tree.
fn failing_path(page: &mut Page, bundle: &Bundle) {
    let spans = &bundle.evidence.spans;
    let depths = depths(spans);
    let failing = failing(spans);
    let lines = spans.iter().filter(|span| failing.contains(span.span_id.as_str())).map(|span| line(span, &depths));
    page.section("Failing path", lines);
}

fn other_spans(page: &mut Page, bundle: &Bundle) {
    let spans = &bundle.evidence.spans;
    let depths = depths(spans);
    let failing = failing(spans);
    let others = spans.iter().filter(|span| !failing.contains(span.span_id.as_str()));
    // What the trace waited for says more than what ran beside it.
    let (critical, beside): (Vec<_>, Vec<_>) = others.partition(|span| span.on_critical_path);
    page.section("Other spans", critical.into_iter().chain(beside).map(|span| line(span, &depths)));
}

fn line(span: &Span, depths: &HashMap<&str, usize>) -> String {
    let depth = depths.get(span.span_id.as_str()).copied().unwrap_or_default().min(20);
    let mut line = format!(
        "{}- [{}] {} {} {} {}",
        "  ".repeat(depth),
        span.anchor,
        clean(opt(&span.service)),
        clean(opt(&span.name)),
        duration(span.duration_ns),
        opt(&span.status),
    );
    if let Some(message) = span.status_message.as_deref().filter(|message| !message.is_empty()) {
        let _ = write!(line, " \"{}\"", short(message, 160));
    }
    if span.on_critical_path {
        line.push_str(" *critical*");
    }
    line
}

fn flags(page: &mut Page, bundle: &Bundle) {
    let lines = bundle.evidence.flags.iter().map(|flag| {
        let value = flag.variant.as_deref().or(flag.value.as_deref()).unwrap_or("-");
        format!("- [{}] = {} since {} ({})", flag.anchor, short(value, 120), opt(&flag.since), opt(&flag.r#match))
    });
    page.section("Flags and configuration", lines);
}

fn builds(page: &mut Page, bundle: &Bundle) {
    let lines = bundle.evidence.builds.iter().map(|build| {
        format!(
            "- [{}] commit {} deployed {} ({})",
            build.anchor,
            clean(opt(&build.git_sha)),
            opt(&build.deployed_at),
            opt(&build.r#match),
        )
    });
    page.section("Builds", lines);
}

/// Records that say the same thing stand once, with their number; the most severe first.
fn logs(page: &mut Page, bundle: &Bundle) {
    let lines = clusters(&bundle.evidence.logs).into_iter().map(|(log, count)| {
        let mut line = format!(
            "- [{}] {} {} {}: {}",
            log.anchor,
            opt(&log.time),
            opt(&log.severity),
            clean(opt(&log.service)),
            short(&body(log), 300),
        );
        if count > 1 {
            let _ = write!(line, " ({count} like this)");
        }
        line
    });
    page.section("Logs", lines);
}

fn heaps(page: &mut Page, bundle: &Bundle) {
    let lines = bundle.evidence.heaps.iter().map(|heap| {
        let mut line = format!("- [{}] {} captured {}", heap.anchor, clean(opt(&heap.service)), opt(&heap.captured_at));
        for held in heap.top_types.iter().take(3) {
            let _ = write!(
                line,
                "\n  - {} {} B, {} objects",
                clean(opt(&held.r#type)),
                count(held.bytes),
                count(held.count)
            );
        }
        for site in heap.top_sites.iter().take(3) {
            let file = site.file.as_deref().unwrap_or("-");
            let _ = write!(
                line,
                "\n  - {} {}:{} {} B",
                clean(opt(&site.function)),
                clean(file),
                count(site.line),
                count(site.bytes)
            );
        }
        for path in heap.retained_paths.iter().take(1) {
            let _ = write!(line, "\n  - held by {}", short(&path.join(" -> "), 300));
        }
        line
    });
    page.section("Heap", lines);
}

fn payloads(page: &mut Page, bundle: &Bundle) {
    let lines = bundle
        .evidence
        .payloads
        .iter()
        .map(|payload| format!("- [{}] {}", payload.anchor, short(&payload.sample.to_string(), 300)));
    page.section("Payloads", lines);
}

fn metrics(page: &mut Page, bundle: &Bundle) {
    let lines = bundle.evidence.metrics.iter().filter_map(|metric| {
        let (first, last) = (metric.points.first()?, metric.points.last()?);
        Some(format!(
            "- [{}] {} {} {} -> {} {} ({} points)",
            metric.anchor,
            clean(opt(&metric.service)),
            clean(opt(&metric.name)),
            first.1,
            last.1,
            clean(metric.unit.as_deref().unwrap_or_default()),
            metric.points.len(),
        ))
    });
    page.section("Metrics", lines);
}

fn links(page: &mut Page, bundle: &Bundle) {
    let lines = bundle
        .evidence
        .linked
        .iter()
        .map(|link| format!("- [{}] {} trace {}", link.anchor, link.direction, opt(&link.trace_id)));
    page.section("Linked traces", lines);
}

/// What failing traces have more often than good ones, as far as somebody has looked.
fn baseline(page: &mut Page, bundle: &Bundle) {
    let report = bundle.context.baseline.as_ref();
    let differences = report.and_then(|report| report.get("differences")).and_then(Value::as_array);
    let lines = differences.into_iter().flatten().map(|one| {
        let text = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or("-");
        format!(
            "- {} {} = {}: {}",
            text("kind"),
            short(text("name"), 160),
            short(text("value"), 160),
            short(text("reason"), 300)
        )
    });
    page.section("More often than in good traces", lines);
}

fn similar(page: &mut Page, bundle: &Bundle) {
    let lines = bundle.context.similar.iter().map(|similar| {
        let distance = similar.distance.map_or_else(|| "-".to_owned(), |distance| format!("{distance:.3}"));
        format!(
            "- [{}] {} (distance {distance}, {}, {} known fixes{})",
            similar.anchor,
            short(opt(&similar.title), 160),
            clean(opt(&similar.reason)),
            similar.fixes.len(),
            similar.fixes.first().map(newest_fix).unwrap_or_default(),
        )
    });
    page.section("Similar incidents", lines);
}

/// What was done last, how well it did, and whether the incident came back.
fn newest_fix(fix: &Value) -> String {
    let text = |name: &str| fix.get(name).and_then(Value::as_str).unwrap_or("-");
    let came_back = fix.get("came_back").and_then(Value::as_bool).unwrap_or_default();
    let after = if came_back { ", but it came back afterwards" } else { "" };
    format!("; newest: {} ({}{after})", short(text("summary"), 160), text("outcome"))
}
