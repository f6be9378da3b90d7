//! What comes before what: by parents and links first, by clocks only where these say nothing.

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;

use tracerag_schemas::bundle::{Build, Flag, Trace};

use super::facts::{Entry, Facts};

/// By as much may the clocks of two machines differ, in ns: 100 ms.
const SKEW: i64 = 100_000_000;

/// How far from the trace an entry may lie that belongs to it by its time alone, in ns: 5 min, as far as heap summaries
/// are taken in.
const AROUND: i64 = 300_000_000_000;

/// When something was, by whose clock, and within which span.
#[derive(Clone, Copy)]
struct When<'a> {
    start: i64,
    end: i64,
    /// Service and instance whose clock it was; none if that is not known.
    clock: Option<(&'a str, &'a str)>,
    span_id: Option<&'a str>,
}

/// Whether the beginning of `a` comes before that of `b`. The error says why that cannot be told.
pub(super) fn is_before(facts: &Facts<'_>, a: &Entry<'_>, b: &Entry<'_>) -> Result<bool, String> {
    let (first, second) = (when(facts, a)?, when(facts, b)?);
    if encloses(facts, b, a, &first) {
        return Ok(false);
    }
    if encloses(facts, a, b, &second) {
        if second.start.saturating_add(SKEW) < first.start {
            return Err(String::from("the times contradict the parents by more than the skew of clocks explains"));
        }
        return Ok(true);
    }
    let slack = slack(&first, &second);
    if first.start.saturating_add(slack) < second.start {
        Ok(true)
    } else if second.start.saturating_add(slack) <= first.start {
        Ok(false)
    } else {
        Err(too_close(slack))
    }
}

/// Whether `inner` happened within the span `outer` or one below it.
fn encloses(facts: &Facts<'_>, outer: &Entry<'_>, inner: &Entry<'_>, when: &When<'_>) -> bool {
    let (Entry::Span(outer, _), Some(span_id)) = (outer, when.span_id) else { return false };
    facts.is_above(&outer.span_id, span_id) || (outer.span_id == span_id && !matches!(inner, Entry::Span(..)))
}

/// Whether two spans ran at the same time for a while. The error says why that cannot be told.
pub(super) fn overlap(facts: &Facts<'_>, a: &Entry<'_>, b: &Entry<'_>) -> Result<bool, String> {
    let (first, second) = (when(facts, a)?, when(facts, b)?);
    let slack = slack(&first, &second);
    let begins = |one: &When<'_>, other: &When<'_>, by: i64| one.start.saturating_add(by) < other.end;
    if begins(&first, &second, slack) && begins(&second, &first, slack) {
        Ok(true)
    } else if !(begins(&first, &second, -slack) && begins(&second, &first, -slack)) {
        Ok(false)
    } else {
        Err(too_close(slack))
    }
}

/// Whether the times of a span and of one above it allow that: the lower one does not begin before the upper one.
pub(super) fn times_allow(facts: &Facts<'_>, above: &Entry<'_>, below: &Entry<'_>) -> Result<bool, String> {
    let (above, below) = (when(facts, above)?, when(facts, below)?);
    Ok(below.start.saturating_add(SKEW) >= above.start)
}

/// Whether an entry that belongs to the trace by its time alone lies near it.
pub(super) fn is_in_scope(facts: &Facts<'_>, entry: &Entry<'_>) -> bool {
    let trace = &facts.bundle.evidence.trace;
    let by_time = match entry {
        Entry::Log(log) => log.joined_by == "time",
        Entry::Heap(heap) => heap.joined_by == "time",
        Entry::Metric(_) => true,
        _ => false,
    };
    if !by_time {
        return true;
    }
    let (Some(started_at), Ok(when)) = (trace.started_at.as_deref().and_then(instant), when(facts, entry)) else {
        return false;
    };
    let ended_at = started_at.saturating_add(trace.duration_ns.unwrap_or_default());
    when.end >= started_at.saturating_sub(AROUND) && when.start <= ended_at.saturating_add(AROUND)
}

/// When a trace ended, in ns since the epoch; none where that is not known.
pub(super) fn end_of(trace: &Trace) -> Option<i64> {
    let started_at = trace.started_at.as_deref().and_then(instant)?;
    Some(started_at.saturating_add(trace.duration_ns?))
}

fn too_close(slack: i64) -> String {
    match slack {
        0 => String::from("the times are equal, so the order cannot be told"),
        _ => {
            String::from("the times lie within the 100 ms by which two clocks may differ, so the order cannot be told")
        }
    }
}

/// No clock differs from itself.
fn slack(a: &When<'_>, b: &When<'_>) -> i64 {
    if a.clock.is_some() && a.clock == b.clock { 0 } else { SKEW }
}

fn when<'a>(facts: &Facts<'a>, entry: &Entry<'a>) -> Result<When<'a>, String> {
    let point = |time: Option<&str>,
                 service: Option<&'a str>,
                 instance: Option<&'a str>,
                 span_id: Option<&'a str>|
     -> Result<When<'a>, String> {
        let start = time.and_then(instant).ok_or_else(|| String::from("it has no time"))?;
        // Where a record names no instance, that of its span is whose clock it was.
        let of_span = || facts.resource_of(span_id?)?.instance.as_deref();
        let instance = instance.or_else(of_span);
        Ok(When { start, end: start, clock: service.zip(instance), span_id })
    };
    match entry {
        Entry::Span(span, resource) => {
            let instance = resource.and_then(|resource| resource.instance.as_deref());
            let when =
                point(span.started_at.as_deref(), span.service.as_deref(), instance, Some(span.span_id.as_str()))?;
            Ok(When { end: when.start.saturating_add(span.duration_ns.unwrap_or_default()), ..when })
        }
        Entry::Log(log) => {
            point(log.time.as_deref(), log.service.as_deref(), log.instance.as_deref(), log.span_id.as_deref())
        }
        Entry::Failure(failure) => {
            point(failure.time.as_deref(), failure.service.as_deref(), None, failure.span_id.as_deref())
        }
        Entry::Heap(heap) => point(
            heap.captured_at.as_deref(),
            heap.service.as_deref(),
            heap.instance.as_deref(),
            heap.span_id.as_deref(),
        ),
        Entry::Metric(metric) => {
            let (service, instance) = (metric.service.as_deref(), metric.instance.as_deref());
            let mut times = metric.points.iter().map(|(time, _)| time.as_str());
            let when = point(times.next(), service, instance, None)?;
            let end = times.next_back().and_then(instant).unwrap_or(when.start);
            Ok(When { end, ..when })
        }
        Entry::Flag(Flag { r#match: Some(known), .. }) | Entry::Build(Build { r#match: Some(known), .. })
            if known == "ambiguous" =>
        {
            Err(String::from("it is one of several candidates"))
        }
        // Changes have the clock of whoever told of them.
        Entry::Flag(flag) => point(flag.since.as_deref(), None, None, None),
        Entry::Build(build) => point(build.deployed_at.as_deref(), None, None, None),
        Entry::Payload(_) | Entry::Field(..) | Entry::Link(_) | Entry::Code(_) | Entry::Incident(_) => {
            Err(String::from("it has no time"))
        }
    }
}

fn instant(text: &str) -> Option<i64> {
    string_to_timestamp_nanos(text).ok()
}
