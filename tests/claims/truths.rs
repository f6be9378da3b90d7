//! True claims about a bundle, made of its JSON alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// By as much clocks may differ, in ns, and a little.
const APART: i64 = 150_000_000;
/// Claims over several traces are made for one bundle among so many: for each the lake assembles others.
const OVER_TRACES: usize = 7;

/// A claim, and what it is made with: the function of its predicate, else the word for what it does.
#[derive(Clone)]
pub struct Claim {
    pub kind: &'static str,
    pub value: Value,
}

impl Claim {
    /// The words before the colons of its anchors.
    pub fn anchor_kinds(&self) -> Vec<String> {
        let anchors = self.value["anchors"].as_array().unwrap();
        anchors.iter().map(|anchor| anchor.as_str().unwrap().split(':').next().unwrap().to_owned()).collect()
    }
}

/// All bundles of a lake.
pub struct Known {
    pub bundles: Vec<Value>,
}

impl Known {
    pub fn of(bundles: Vec<Value>) -> Known {
        Known { bundles }
    }

    pub fn evidence(&self, index: usize) -> &Value {
        &self.bundles[index]["evidence"]
    }
}

/// The entries of a section.
pub fn entries<'a>(evidence: &'a Value, section: &str) -> &'a [Value] {
    evidence[section].as_array().map_or(&[][..], Vec::as_slice)
}

pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str()
}

/// Nanoseconds since midnight of the first day of the example, of `2026-11-16T12:00:05.000000000Z`.
pub fn nanos(time: Option<&str>) -> Option<i64> {
    let (date, clock) = time?.strip_suffix('Z')?.split_once('T')?;
    let day: i64 = date.rsplit('-').next()?.parse().ok()?;
    let month: i64 = date.split('-').nth(1)?.parse().ok()?;
    let (clock, fraction) = clock.split_once('.')?;
    let mut parts = clock.split(':').map(|part| part.parse::<i64>());
    let seconds = parts.next()?.ok()? * 3600 + parts.next()?.ok()? * 60 + parts.next()?.ok()?;
    Some(((month * 31 + day) * 86_400 + seconds) * 1_000_000_000 + fraction.parse::<i64>().ok()?)
}

fn start(entry: &Value) -> Option<i64> {
    nanos(text(entry, "started_at"))
}

/// Whether nothing in a text was masked, and it can stand in a text of a claim.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() < 200
        && !text.contains(['<', '>', '"', '`', '“', '”', '\n'])
        && !text.contains("hmac:")
}

fn is_word(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Collects claims of one bundle.
struct Maker<'a> {
    evidence: &'a Value,
    claims: Vec<Claim>,
}

impl Maker<'_> {
    fn add(&mut self, kind: &'static str, text: String, anchors: &[&str], predicates: &[String]) {
        self.quote(kind, text, anchors, predicates, json!([]));
    }

    fn quote(&mut self, kind: &'static str, text: String, anchors: &[&str], predicates: &[String], quotes: Value) {
        let id = format!("c{}", self.claims.len());
        let value = json!({"id": id, "text": text, "anchors": anchors, "quotes": quotes, "predicates": predicates});
        self.claims.push(Claim { kind, value });
    }
}

/// Every true claim of a bundle that is made here.
pub fn all(known: &Known, index: usize) -> Vec<Claim> {
    let evidence = known.evidence(index);
    let mut maker = Maker { evidence, claims: vec![] };
    spans(&mut maker);
    pairs(&mut maker);
    logs(&mut maker);
    failures(&mut maker);
    metrics(&mut maker);
    payloads(&mut maker);
    heaps(&mut maker);
    changes(&mut maker);
    links_and_incidents(&mut maker, &known.bundles[index]);
    if index.is_multiple_of(OVER_TRACES) {
        over_traces(&mut maker, known, index);
    }
    maker.claims
}

fn spans(maker: &mut Maker<'_>) {
    for span in entries(maker.evidence, "spans").iter().take(12) {
        let (Some(anchor), Some(service)) = (text(span, "anchor"), text(span, "service")) else { continue };
        if let Some(status) = text(span, "status") {
            let said = match status {
                "ERROR" => format!("{service} failed"),
                other => format!("{service} has the status {other}"),
            };
            maker.add("status", said, &[anchor], &[format!("status({anchor}) = {status}")]);
        }
        if let Some(ns) = span["duration_ns"].as_i64() {
            let said = format!("{service} took {}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000);
            // Written to the microsecond, so what is cut off must not have been more than half of one.
            if ns % 1_000 < 500 {
                maker.add("duration", said, &[anchor], &[format!("duration({anchor}) = {ns}ns")]);
            }
            if ns > 2_000_000 {
                let bound = ns / 1_000_000 - 1;
                let said = format!("{service} took more than {bound} ms");
                maker.add("duration", said, &[anchor], &[format!("duration({anchor}) > {bound}ms")]);
            }
        }
        if span["on_critical_path"] == true {
            maker.add(
                "critical",
                format!("{service} is on the critical path"),
                &[anchor],
                &[format!("critical({anchor})")],
            );
        }
        for event in entries(span, "events").iter().take(1) {
            if let Some(name) = text(event, "name").filter(|name| is_plain(name)) {
                let predicate = format!("event({anchor}, {})", quoted(name));
                maker.add("event", format!("{service} had an event"), &[anchor], &[predicate]);
            }
        }
        for (key, value) in span["attributes"].as_object().into_iter().flatten() {
            let said = match value {
                Value::Number(number) if number.as_i64().is_some_and(|number| number >= 0) => {
                    format!("{service} set {key} to {number}")
                }
                Value::String(value) if is_plain(value) && is_word(value) => format!("{service} set {key}"),
                Value::Bool(_) => format!("{service} set {key}"),
                _ => continue,
            };
            if key.contains('.') && !key.contains('-') {
                let predicate = format!("attribute({anchor}, {}) = {value}", quoted(key));
                maker.add("attribute", said, &[anchor], &[predicate]);
            }
        }
    }
}

/// Spans and those below them.
fn pairs(maker: &mut Maker<'_>) {
    let spans = entries(maker.evidence, "spans");
    for below in spans.iter().take(20) {
        let parent = text(below, "parent_span_id");
        let Some(above) = spans.iter().find(|span| parent.is_some() && text(span, "span_id") == parent) else {
            continue;
        };
        let anchors = [text(above, "anchor").unwrap(), text(below, "anchor").unwrap()];
        let (Some(caller), Some(called)) = (text(above, "service"), text(below, "service")) else { continue };
        let (Some(first), Some(second)) = (start(above), start(below)) else { continue };
        if caller == called || second < first {
            continue;
        }
        let pair = format!("{}, {}", anchors[0], anchors[1]);
        maker.add("ancestor", format!("{caller} called {called}"), &anchors, &[format!("ancestor({pair})")]);
        maker.add("before", format!("{caller} began before {called}"), &anchors, &[format!("before({pair})")]);
        let length = |span: &Value| span["duration_ns"].as_i64().unwrap_or(0);
        if second + APART < first + length(above) && first + APART < second + length(below) {
            let said = format!("{caller} and {called} ran at the same time");
            maker.add("overlaps", said, &anchors, &[format!("overlaps({pair})")]);
        }
    }
}

fn logs(maker: &mut Maker<'_>) {
    for log in entries(maker.evidence, "logs").iter().take(10) {
        let (Some(anchor), Some(service)) = (text(log, "anchor"), text(log, "service")) else { continue };
        if let Some(severity) = text(log, "severity").filter(|name| ["INFO", "WARN", "ERROR"].contains(name)) {
            let predicate = format!("severity({anchor}) = {severity}");
            maker.add("severity", format!("{service} logged with {severity}"), &[anchor], &[predicate]);
        }
        let Some(body) = text(log, "body").filter(|body| is_plain(body)) else { continue };
        let words: Vec<&str> = body.split(' ').collect();
        if let Some(word) = words.iter().find(|word| word.len() > 3 && is_word(word)) {
            let predicate = format!("contains({anchor}, {})", quoted(word));
            maker.add("contains", format!("{service} logged \"{word}\""), &[anchor], &[predicate]);
        }
        let quotes = json!([{"anchor": anchor, "text": body.trim()}]);
        maker.quote("quote", format!("{service} logged it"), &[anchor], &[], quotes);
    }
}

fn failures(maker: &mut Maker<'_>) {
    let failures = entries(maker.evidence, "failures");
    for failure in failures.iter().take(6) {
        let (Some(anchor), Some(service)) = (text(failure, "anchor"), text(failure, "service")) else { continue };
        if let Some(name) = text(failure, "exception_type").filter(|name| is_plain(name)) {
            let predicate = format!("exception_type({anchor}) = {}", quoted(name));
            maker.add("exception_type", format!("{service} raised `{name}`"), &[anchor], &[predicate]);
        }
        if let Some(fingerprint) = text(failure, "fingerprint") {
            let predicate = format!("fingerprint({anchor}) = {}", quoted(fingerprint));
            maker.add("fingerprint", format!("{service} met {fingerprint}"), &[anchor], &[predicate]);
            let count = failures.iter().filter(|other| text(other, "fingerprint") == Some(fingerprint)).count();
            let predicate = format!("failures({}) = {count}", quoted(fingerprint));
            maker.add("failures", format!("The fingerprint has {count} failures"), &[anchor], &[predicate]);
        }
        if let Some(message) = text(failure, "message").filter(|message| is_plain(message)) {
            let quotes = json!([{"anchor": anchor, "text": message.trim()}]);
            maker.quote("quote", format!("{service} failed with it"), &[anchor], &[], quotes);
        }
        for frame in entries(failure, "frames").iter().take(2) {
            let (Some(line), Some(file)) = (text(frame, "anchor"), text(frame, "file")) else { continue };
            let name = file.rsplit('/').next().unwrap();
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) {
                let said = format!("{service} broke in {name}:{}", frame["line"]);
                let predicate = format!("frame({anchor}, {})", quoted(line));
                maker.add("frame", said, &[anchor, line], &[predicate]);
            }
        }
    }
}

fn metrics(maker: &mut Maker<'_>) {
    for metric in entries(maker.evidence, "metrics").iter().take(12) {
        let (Some(anchor), Some(name)) = (text(metric, "anchor"), text(metric, "name")) else { continue };
        let points: Option<Vec<f64>> = entries(metric, "points").iter().map(|point| point[1].as_f64()).collect();
        let Some(points) = points.filter(|points| !points.is_empty()) else { continue };
        let is_greatest = |point: &&Value| points.iter().all(|other| point[1].as_f64() >= Some(*other));
        let Some(greatest) = entries(metric, "points").iter().find(is_greatest) else { continue };
        let number = greatest[1].to_string();
        if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && is_plain(name) {
            let predicate = format!("metric_max({anchor}) = {number}");
            maker.add("metric_max", format!("{name} reached {number}"), &[anchor], &[predicate]);
        }
    }
}

fn payloads(maker: &mut Maker<'_>) {
    for payload in entries(maker.evidence, "payloads") {
        let (Some(anchor), Some(direction)) = (text(payload, "anchor"), text(payload, "direction")) else { continue };
        let is_taken = |name: &str| {
            entries(payload, "redactions").iter().any(|taken| taken.as_str().is_some_and(|taken| taken.contains(name)))
        };
        for (name, kind) in payload["shape"].as_object().into_iter().flatten() {
            let Some(kind) = kind.as_str().filter(|_| is_word(name) && !is_taken(name)) else { continue };
            let pointer = quoted(&format!("/{name}"));
            let field = format!("{anchor}/{name}");
            let of_type = format!("payload_type({anchor}, {pointer}) = {kind}");
            maker.add("payload_type", format!("The {direction} has a field {name}"), &[&field], &[of_type]);
            match &payload["sample"][name] {
                Value::String(sample) if kind == "string" && is_plain(sample) => {
                    let equals = format!("payload({anchor}, {pointer}) = {}", quoted(sample));
                    maker.add("payload", format!("The {direction} has a field {name}"), &[anchor], &[equals]);
                    let count = sample.chars().count();
                    let length = format!("payload_length({anchor}, {pointer}) = {count}");
                    let said = format!("The {direction} has {count} characters in {name}");
                    maker.add("payload_length", said, &[anchor], &[length]);
                }
                Value::Number(number) => {
                    let equals = format!("payload({anchor}, {pointer}) = {number}");
                    maker.add("payload", format!("The {direction} has a field {name}"), &[anchor], &[equals]);
                }
                _ => {}
            }
        }
    }
}

fn heaps(maker: &mut Maker<'_>) {
    for heap in entries(maker.evidence, "heaps") {
        let (Some(anchor), Some(service)) = (text(heap, "anchor"), text(heap, "service")) else { continue };
        let total = heap["total_bytes"].as_i64().unwrap_or(0);
        let mut by_name: BTreeMap<&str, i64> = BTreeMap::new();
        for site in entries(heap, "top_sites") {
            if let (Some(name), Some(bytes)) = (text(site, "function"), site["bytes"].as_i64()) {
                *by_name.entry(name).or_insert(0) += bytes;
            }
        }
        // What is both is asked for as a type.
        for held in entries(heap, "top_types") {
            if let (Some(name), Some(bytes)) = (text(held, "type"), held["bytes"].as_i64()) {
                by_name.insert(name, bytes);
            }
        }
        for (name, bytes) in by_name.into_iter().filter(|(name, _)| is_plain(name)).take(4) {
            let predicate = format!("heap_bytes({anchor}, {}) = {bytes}", quoted(name));
            maker.add("heap_bytes", format!("{service} held {bytes} B in `{name}`"), &[anchor], &[predicate]);
            let percent = if total > 0 { bytes.saturating_mul(100) / total } else { 0 };
            if percent > 0 {
                let predicate = format!("heap_share({anchor}, {}) >= {percent}%", quoted(name));
                let said = format!("{service} held at least {percent}% of the heap in `{name}`");
                maker.add("heap_share", said, &[anchor], &[predicate]);
            }
        }
    }
}

/// The values that every entry of a key or a service has, where they agree and are known.
fn agreed<'a>(entries: &[&'a Value], value: impl Fn(&'a Value) -> Option<&'a str>) -> Option<&'a str> {
    let first = value(entries.first().copied()?)?;
    let is_sure = |&entry: &&'a Value| text(entry, "match") != Some("ambiguous") && value(entry) == Some(first);
    entries.iter().all(is_sure).then_some(first)
}

fn changes(maker: &mut Maker<'_>) {
    let spans = entries(maker.evidence, "spans");
    for flag in entries(maker.evidence, "flags") {
        let (Some(anchor), Some(key), Some(kind)) = (text(flag, "anchor"), text(flag, "key"), text(flag, "kind"))
        else {
            continue;
        };
        let all: Vec<&Value> = entries(maker.evidence, "flags")
            .iter()
            .filter(|other| text(other, "key") == Some(key) && text(other, "kind") == Some(kind))
            .collect();
        let (name, own): (_, fn(&Value) -> Option<&str>) = match kind {
            "flag" => ("flag", |flag| text(flag, "variant").or(text(flag, "value"))),
            _ => ("config", |flag| text(flag, "value").or(text(flag, "variant"))),
        };
        if let Some(value) = agreed(&all, own).filter(|value| is_plain(value) && !value.contains(' ')) {
            let predicate = format!("{name}({}) = {}", quoted(key), quoted(value));
            maker.add(name, format!("{key} was {value}"), &[anchor], &[predicate]);
        }
        let since = nanos(text(flag, "since"));
        let later =
            spans.iter().find(|span| start(span).zip(since).is_some_and(|(start, since)| since + APART < start));
        if let Some(span) = later.filter(|_| text(flag, "match") != Some("ambiguous")) {
            let span = text(span, "anchor").unwrap();
            let predicate = format!("before({}, {span})", quoted(anchor));
            maker.add("before", format!("{key} changed before it"), &[anchor, span], &[predicate]);
        }
    }
    for build in entries(maker.evidence, "builds") {
        let (Some(anchor), Some(service)) = (text(build, "anchor"), text(build, "service")) else { continue };
        let all: Vec<&Value> =
            entries(maker.evidence, "builds").iter().filter(|other| text(other, "service") == Some(service)).collect();
        if let Some(version) = agreed(&all, |build| text(build, "version")).filter(|version| is_plain(version)) {
            let predicate = format!("version({}) = {}", quoted(service), quoted(version));
            maker.add("version", format!("{service} ran {version}"), &[anchor], &[predicate]);
        }
        if let Some(commit) = agreed(&all, |build| text(build, "git_sha")).and_then(|commit| commit.get(..12)) {
            let predicate = format!("git_sha({}) = {}", quoted(service), quoted(commit));
            maker.add("git_sha", format!("{service} ran {commit}"), &[anchor], &[predicate]);
        }
        let times: Option<Vec<i64>> = all
            .iter()
            .map(|build| nanos(text(build, "deployed_at")).filter(|_| text(build, "match") != Some("ambiguous")))
            .collect();
        let (Some(times), Some(span)) = (times, spans.last()) else { continue };
        if times.iter().all(|time| start(span).is_some_and(|start| time + APART < start)) {
            let span = text(span, "anchor").unwrap();
            let predicate = format!("deployed_before({}, {span})", quoted(service));
            maker.add("deployed_before", format!("{service} was deployed before it"), &[anchor, span], &[predicate]);
        }
    }
}

fn links_and_incidents(maker: &mut Maker<'_>, bundle: &Value) {
    let spans = entries(maker.evidence, "spans");
    for link in entries(maker.evidence, "linked").iter().take(2) {
        let (Some(anchor), Some(trace_id)) = (text(link, "anchor"), text(link, "trace_id")) else { continue };
        let from = text(link, "from_span_id");
        let Some(span) = spans.iter().find(|span| text(span, "span_id") == from) else { continue };
        let (Some(service), Some(status), Some(from)) =
            (text(span, "service"), text(span, "status"), text(span, "anchor"))
        else {
            continue;
        };
        let said = format!("{service} links {trace_id}");
        maker.add("link", said, &[anchor, from], &[format!("status({from}) = {status}")]);
    }
    for incident in entries(&bundle["context"], "similar").iter().take(2) {
        let (Some(anchor), Some(title)) = (text(incident, "anchor"), text(incident, "title")) else { continue };
        if is_plain(title) {
            let fingerprint = text(incident, "fingerprint").unwrap();
            let quotes = json!([{"anchor": anchor, "text": title.trim()}]);
            maker.quote("incident", format!("This is like {fingerprint}"), &[anchor], &[], quotes);
        }
    }
}

/// Whether a trace has a failure of a fingerprint.
fn has(evidence: &Value, fingerprint: &str) -> bool {
    entries(evidence, "failures").iter().any(|failure| text(failure, "fingerprint") == Some(fingerprint))
}

fn over_traces(maker: &mut Maker<'_>, known: &Known, index: usize) {
    let evidence = known.evidence(index);
    let Some(failure) = entries(evidence, "failures").first() else { return };
    let (Some(anchor), Some(fingerprint)) = (text(failure, "anchor"), text(failure, "fingerprint")) else { return };
    let own = text(&evidence["trace"], "trace_id").unwrap();
    let others: Vec<&Value> =
        (0..known.bundles.len()).filter(|other| *other != index).map(|i| known.evidence(i)).collect();
    let id = |evidence: &Value| quoted(text(&evidence["trace"], "trace_id").unwrap());
    if let Some(&other) = others.first() {
        let count = 1 + usize::from(has(other, fingerprint));
        let predicate = format!("same_error({}, {}, {}) = {count}", quoted(fingerprint), quoted(own), id(other));
        maker.add("same_error", format!("The same error is in {count} of 2 traces"), &[anchor], &[predicate]);
    }
    let predicate = format!("lake_failures({}) >= 1", quoted(fingerprint));
    maker.add("lake_failures", String::from("The fingerprint has at least 1 failure"), &[anchor], &[predicate]);
    for flag in entries(evidence, "flags").iter().filter(|flag| text(flag, "kind") == Some("flag")) {
        let (Some(flag_anchor), Some(key)) = (text(flag, "anchor"), text(flag, "key")) else { continue };
        let in_effect = |evidence: &Value| -> Option<String> {
            let of_it = |other: &&Value| {
                text(other, "anchor") == Some(flag_anchor) && text(other, "match") != Some("ambiguous")
            };
            let flag = entries(evidence, "flags").iter().find(of_it)?;
            text(flag, "variant").or(text(flag, "value")).map(str::to_owned)
        };
        let Some(own_value) = in_effect(evidence).filter(|value| is_plain(value)) else { continue };
        let differs =
            |&&other: &&&Value| !has(other, fingerprint) && in_effect(other).is_some_and(|value| value != own_value);
        if let Some(&other) = others.iter().find(differs) {
            let traces = format!("{}, {}, {}", quoted(fingerprint), quoted(own), id(other));
            let predicate = format!("differs({}, {traces}) = {}", quoted(flag_anchor), quoted(&own_value));
            maker.add("differs", format!("{key} was {own_value}"), &[flag_anchor], &[predicate]);
            return;
        }
    }
}
