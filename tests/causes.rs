//! Whether a small prompt has what caused the failure, for every fault of the recorded story. What caused it is what the
//! load generator wrote down, not what the program thinks.

use std::collections::BTreeMap;

use serde_json::Value;
use tracerag_index::{Lake, LakeOptions};
use tracerag_query::prompt::{Code, CodeSlice, compose};
use tracerag_query::{Session, SessionOptions, bundle};
use tracerag_schemas::bundle::Bundle;

use crate::checkout::replayed;
use crate::support::note;
use crate::support::truth::Truth;

/// Tokens of a prompt.
const ROOM: usize = 4_000;
/// Of a hundred faults, so many have all of their cause in the prompt at least.
const AT_LEAST: usize = 98;

/// What belongs to the cause of a fault beside the failure with its span.
enum Part {
    /// The variant that was in effect.
    Flag(&'static str),
    /// The version that was in effect.
    Build(&'static str),
    /// What was sent.
    Payload,
    /// A record of a service with these words.
    Log(&'static str, &'static str),
    /// The trace of the order that a job was for.
    Order,
}

/// Where the story puts a fault.
struct Fault {
    name: &'static str,
    service: &'static str,
    /// A part of the exception's type or of its message; `None`: nothing is thrown there, and the service is only slow.
    said: Option<&'static str>,
    parts: &'static [Part],
}

static FAULTS: [Fault; 6] = [
    Fault {
        name: "decimal_overflow",
        service: "payments",
        said: Some("OverflowError"),
        parts: &[Part::Flag("payments.decimal_mode"), Part::Build("payments"), Part::Payload],
    },
    Fault { name: "missing_field", service: "checkout", said: Some("KeyError"), parts: &[Part::Payload] },
    Fault { name: "panic", service: "payments", said: Some("divide by zero"), parts: &[Part::Payload] },
    Fault {
        name: "lock",
        service: "inventory",
        said: Some("database is locked"),
        parts: &[Part::Log("inventory", "no reservation")],
    },
    Fault { name: "timeout", service: "inventory", said: None, parts: &[Part::Log("inventory", "is slow")] },
    Fault { name: "job_fails", service: "worker", said: Some("no address"), parts: &[Part::Order] },
];

/// A trace that failed, and what was noted of it.
struct Case {
    trace_id: String,
    fault: &'static Fault,
    noted: Value,
    /// The heap summary that was made of it.
    heap: Option<Value>,
}

/// Every trace that failed of a fault.
fn cases() -> Vec<Case> {
    let truth = Truth::of_the_recording();
    let heaps = truth.of("heap");
    let requests = truth.of("request").into_iter().filter_map(|row| {
        let fault = row["fault"].as_str()?.to_owned();
        Some((row["trace_id"].as_str()?.to_owned(), fault, row))
    });
    let failed = |row: Value| {
        let trace_id = row["job_trace_id"].as_str().filter(|_| row["outcome"] == "failed")?.to_owned();
        Some((trace_id, String::from("job_fails"), row))
    };
    let jobs = truth.of("job").into_iter().filter_map(failed);
    let case = |(trace_id, name, noted): (String, String, Value)| {
        let fault = FAULTS.iter().find(|fault| fault.name == name);
        let fault = fault.unwrap_or_else(|| panic!("the story has a new fault {name}; add its place"));
        let heap = heaps.iter().find(|heap| heap["trace_id"] == trace_id.as_str()).cloned();
        Case { trace_id, fault, noted, heap }
    };
    requests.chain(jobs).map(case).collect()
}

impl Case {
    /// What a prompt has to hold: of each list one anchor. A list is empty where the bundle itself lacks it.
    fn wanted(&self, bundle: &Bundle) -> Vec<Vec<String>> {
        let mut wanted = self.origin(bundle);
        wanted.extend(self.fault.parts.iter().map(|part| self.anchors(part, bundle)));
        if let Some(noted) = &self.heap {
            let is_noted = |total: Option<i64>| total.is_some() && total == noted["total_bytes"].as_i64();
            let heaps: Vec<_> = bundle.evidence.heaps.iter().filter(|heap| is_noted(heap.total_bytes)).collect();
            let place = format!("code:{}:{}@", noted["file"].as_str().unwrap(), noted["line"]);
            let sites = heaps.iter().flat_map(|heap| &heap.top_sites).filter_map(|site| site.anchor.clone());
            wanted.push(sites.filter(|anchor| anchor.starts_with(&place)).collect());
            wanted.push(heaps.iter().map(|heap| heap.anchor.clone()).collect());
        }
        wanted
    }

    /// The failure that the others came of, and the span that it is of.
    fn origin(&self, bundle: &Bundle) -> Vec<Vec<String>> {
        let evidence = &bundle.evidence;
        let is_here = |service: &Option<String>| service.as_deref() == Some(self.fault.service);
        let Some(said) = self.fault.said else {
            let slowest =
                evidence.spans.iter().filter(|span| is_here(&span.service)).max_by_key(|span| span.duration_ns);
            return vec![slowest.map(|span| span.anchor.clone()).into_iter().collect()];
        };
        let says = |text: &Option<String>| text.as_deref().is_some_and(|text| text.contains(said));
        let failures: Vec<_> = evidence
            .failures
            .iter()
            .filter(|failure| is_here(&failure.service) && (says(&failure.exception_type) || says(&failure.message)))
            .collect();
        let spans = failures.iter().filter_map(|failure| Some(format!("span:{}", failure.span_id.as_ref()?)));
        vec![failures.iter().map(|failure| failure.anchor.clone()).collect(), spans.collect()]
    }

    fn anchors(&self, part: &Part, bundle: &Bundle) -> Vec<String> {
        let evidence = &bundle.evidence;
        let is = |found: &Option<String>, wanted: &Value| found.is_some() && found.as_deref() == wanted.as_str();
        match part {
            Part::Flag(key) => {
                let flags = evidence.flags.iter().filter(|flag| flag.key.as_deref() == Some(*key));
                let variant = &self.noted["flags"][*key];
                flags.filter(|flag| is(&flag.variant, variant)).map(|flag| flag.anchor.clone()).collect()
            }
            Part::Build(service) => {
                let builds = evidence.builds.iter().filter(|build| build.service.as_deref() == Some(*service));
                let version = &self.noted["builds"][*service];
                builds.filter(|build| is(&build.version, version)).map(|build| build.anchor.clone()).collect()
            }
            Part::Payload => evidence.payloads.iter().map(|payload| payload.anchor.clone()).collect(),
            Part::Log(service, words) => {
                let logs = evidence.logs.iter().filter(|log| log.service.as_deref() == Some(*service));
                let says = |body: &Value| body.as_str().is_some_and(|body| body.contains(*words));
                logs.filter(|log| says(&log.body)).map(|log| log.anchor.clone()).collect()
            }
            Part::Order => {
                let links = evidence.linked.iter();
                let order = &self.noted["order_trace_id"];
                links.filter(|link| is(&link.trace_id, order)).map(|link| link.anchor.clone()).collect()
            }
        }
    }
}

/// More source than a prompt has room for, as a repository gives it.
fn code() -> Code {
    let lines = |count: usize| "  117  return amount.Round(scale) // what a program says\n".repeat(count);
    let slice = |number: usize| CodeSlice {
        title: format!("payments/file{number}.go, function Round"),
        language: "go",
        text: lines(80),
        shorter: Some(lines(13)),
    };
    Code { repositories: vec![], slices: (0..4).map(slice).collect(), notes: vec![] }
}

/// Every trace of the recording that failed of a fault whose cause is known, with more source beside it than there is room
/// for. Guarantees that a prompt of 4,000 tokens has all of the cause for 98 % of them: the failure with its span, or the
/// slow span of a time-out two services away, and where they belong to it the flag, the build, the payload, the log
/// record, the heap with the line that allocates, and the link to the order.
#[test]
fn a_small_prompt_has_the_cause() {
    let tracerag = replayed(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lake = runtime.block_on(Lake::open_to_ask(LakeOptions::new(tracerag.lake()))).unwrap();
    let session = runtime.block_on(Session::open(&lake, SessionOptions::new("default"))).unwrap();
    let code = code();
    let mut by_fault: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut missing = Vec::new();
    for case in cases() {
        let bundle = runtime.block_on(bundle::assemble(&session, &case.trace_id)).unwrap();
        let prompt = compose(&bundle, &code, ROOM).unwrap();
        assert!(prompt.tokens <= ROOM, "{}", case.trace_id);
        let stands = |anchor: &String| prompt.text.contains(&format!("[{anchor}]"));
        let wanted = case.wanted(&bundle);
        let (found, of) = by_fault.entry(case.fault.name).or_default();
        *of += 1;
        match wanted.iter().find(|anchors| !anchors.iter().any(stands)) {
            None => *found += 1,
            Some(anchors) => missing.push(format!("{} of {}: one of {anchors:?}", case.fault.name, case.trace_id)),
        }
    }
    for (fault, (found, of)) in &by_fault {
        note(&format!("{fault}: {found} of {of}"));
    }
    assert_eq!(by_fault.len(), FAULTS.len(), "the recording has every fault");
    let (found, of) =
        by_fault.values().fold((0_usize, 0_usize), |(found, of), (more, of_more)| (found + more, of + of_more));
    assert!(found * 100 >= of * AT_LEAST, "{found} of {of}; {missing:#?}");
}
