//! Which events follow from which counts, how many are told, and what becomes of those that are not taken.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use tracerag_query::{Activity, Echo, Fixed};

use super::budget::Budget;
use super::clock::StreamClock;
use super::decide::{Occurrence, Open, Rules, decide, is_spike};
use super::event::{Event, GROUPED};
use super::open::{OpenIncidents, Part};
use super::state::Outbox;
use crate::config::{EventKind, IncidentEventsSection, SpikeRule};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// An instant of 2026-11-23.
const NOON: i64 = 1_795_435_200 * SECOND;

fn rules() -> Rules {
    let section = IncidentEventsSection::default();
    Rules { spike: section.spike, quiet_after: section.quiet_after.nanos() }
}

fn seen(first: i64, last: i64) -> Activity {
    Activity {
        fingerprint: "abcd".into(),
        first_seen: first,
        last_seen: last,
        seen: vec![(last, 1)],
        ..Activity::default()
    }
}

fn kinds(occurrences: &[Occurrence]) -> Vec<EventKind> {
    occurrences.iter().map(|occurrence| occurrence.kind).collect()
}

/// An incident comes, is seen again, is not seen for a day, and comes back. Guarantees that it is new once and quiet
/// once, and that what comes back after it was quiet is not new.
#[test]
fn an_incident_is_new_once_and_quiet_once() {
    let rules = rules();
    let since = NOON - HOUR;
    let (open, told) = decide(&rules, None, since, NOON, &seen(NOON - SECOND, NOON - SECOND));
    assert_eq!(kinds(&told), [EventKind::New]);
    let (open, told) = decide(&rules, open.as_ref(), since, NOON + MINUTE, &seen(NOON - SECOND, NOON + MINUTE));
    assert!(told.is_empty());
    let later = NOON + 24 * HOUR + MINUTE;
    let (open, told) = decide(&rules, open.as_ref(), since, later, &seen(NOON - SECOND, NOON + MINUTE));
    assert_eq!((open.clone(), kinds(&told)), (None, vec![EventKind::Quiet]));
    // The time of which everything is told has gone on with the clock.
    let (open, told) =
        decide(&rules, open.as_ref(), later - 24 * HOUR, later + HOUR, &seen(NOON - SECOND, later + HOUR));
    assert!(told.is_empty());
    assert!(open.is_some());
}

/// Incidents that were there before anybody was to be told are seen again. Guarantees that they are not new.
#[test]
fn what_was_there_before_is_not_new() {
    let (open, told) = decide(&rules(), None, NOON - HOUR, NOON, &seen(NOON - 2 * HOUR, NOON));
    assert!(told.is_empty() && open.is_some());
}

/// An incident that was told of goes on under another number, as it does when a release maps fingerprints, and fails again
/// an hour after it was first seen. Guarantees that it is not new once more, and that a fix after which it came back is
/// not told of twice.
#[test]
fn an_incident_under_another_number_is_not_new() {
    let renamed = |last| Activity {
        fingerprint: "next".into(),
        members: vec!["next".into(), "abcd".into()],
        fix: Some(Fixed { fix_id: "a".into(), fixed_at: NOON - MINUTE, ..Fixed::default() }),
        regressed: Some((NOON - SECOND, None)),
        ..seen(NOON - HOUR, last)
    };
    let before = Open { last_seen: NOON - HOUR, regressed: Some("a".into()), ..Open::default() };
    let mut open = OpenIncidents::default();
    open.set("t", "abcd", Some(before));
    open.set("t", "b", Some(Open::default()));
    open.go_on("t", &renamed(NOON));
    let names: Vec<_> = open.by_tenant().flat_map(|(_, of_tenant)| of_tenant.keys()).collect();
    assert_eq!(names, ["b", "next"]);
    let (next, told) = decide(&rules(), open.get("t", "next"), NOON - 2 * HOUR, NOON, &renamed(NOON));
    assert_eq!((next.is_some(), kinds(&told)), (true, vec![]));
    // Without what was told before it would have been both.
    let (_, told) = decide(&rules(), None, NOON - 2 * HOUR, NOON, &renamed(NOON));
    assert_eq!(kinds(&told), [EventKind::New, EventKind::Regressed]);
}

/// An incident that came back after its fix and is spiking, both told of, is merged into one that is open itself.
/// Guarantees that neither is told of once more under that one's number, and that what was told of that one stays.
#[test]
fn what_was_told_of_a_merged_incident_is_not_told_again() {
    let fix = Fixed { fix_id: "a".into(), fixed_at: NOON - HOUR, ..Fixed::default() };
    let regressed = Some((NOON - MINUTE, None));
    let merged = Activity { members: vec!["abcd".into(), "gone".into()], fix: Some(fix), regressed, ..steady(40) };
    let of_own = Open { last_seen: NOON - MINUTE, ..Open::default() };
    let mut open = OpenIncidents::default();
    open.set("t", "abcd", Some(of_own.clone()));
    let told = Open { last_seen: NOON - HOUR, regressed: Some("a".into()), spiking: Some(NOON - MINUTE), known: None };
    open.set("t", "gone", Some(told));
    open.go_on("t", &merged);
    assert_eq!(open.get("t", "gone"), None);
    assert_eq!(open.get("t", "abcd").map(|open| open.last_seen), Some(NOON - MINUTE));
    assert_eq!(kinds(&decide(&rules(), open.get("t", "abcd"), 0, NOON, &merged).1), []);
    // Without what was told before it would have been both.
    let (_, told) = decide(&rules(), Some(&of_own), 0, NOON, &merged);
    assert_eq!(kinds(&told), [EventKind::Regressed, EventKind::Spiking]);
    // What was told of a fix that does not hold any more says nothing of the one that does.
    let mut open = OpenIncidents::default();
    open.set("t", "abcd", Some(of_own));
    open.set("t", "gone", Some(Open { regressed: Some("older".into()), ..Open::default() }));
    open.go_on("t", &merged);
    assert_eq!(open.get("t", "abcd").and_then(|open| open.regressed.clone()), None);
}

/// With epochs every two seconds, as configured, unless commits are slow.
fn clock() -> StreamClock {
    StreamClock::new(Duration::from_secs(2))
}

/// Epochs come as rarely as slow commits make them, or as is configured, and each is late by as much as its commit takes; the
/// clock is asked every five seconds. Guarantees that time goes on with the stream alone as long as epochs come.
#[test]
fn rare_epochs_do_not_move_time() {
    for (configured, seconds) in [(2, 45), (2, 75), (120, 250)] {
        let mut clock = StreamClock::new(Duration::from_secs(configured));
        for second in (0..3_600).step_by(5) {
            let reached = NOON - HOUR + second / seconds * seconds * SECOND;
            assert_eq!(clock.time(Some(reached), NOON + second * SECOND), reached, "{configured} {second}");
        }
    }
}

/// Telemetry ends: the stream's time stands still, and only the clock goes on. Guarantees that the incident is quiet, once,
/// a day after it was last seen and not before; that the spike which it was in is over; and that time does not go ahead of
/// the stream as long as something comes.
#[test]
fn an_incident_is_quiet_although_nothing_comes_any_more() {
    let mut clock = clock();
    assert_eq!(clock.time(None, NOON), NOON, "a lake without data");
    assert_eq!(clock.time(Some(NOON + HOUR), NOON), NOON, "a record from the future moves nothing");
    let reached = NOON - SECOND;
    assert_eq!(clock.time(Some(reached), NOON), reached);
    assert_eq!(clock.time(Some(reached), NOON + 89 * SECOND), reached, "it may be late");
    let mut open = Some(Open { last_seen: reached, spiking: Some(reached), ..Open::default() });
    let (last, mut quiet) = (steady(40), vec![]);
    for minute in 2..=25 * 60 {
        let now = NOON + minute * MINUTE;
        let time = clock.time(Some(reached), now);
        assert_eq!(time, now - SECOND);
        let (next, told) = decide(&rules(), open.as_ref(), NOON - HOUR, time, &last);
        quiet.extend(told.iter().map(|told| (told.kind, minute)));
        let Some(next) = next else { break };
        assert_eq!(next.spiking.is_some(), minute < 5, "{minute}");
        open = Some(next);
    }
    assert_eq!(quiet, [(EventKind::Quiet, 24 * 60)]);
    // When something comes again, the stream says the time.
    assert_eq!(clock.time(Some(NOON + 25 * HOUR), NOON + 26 * HOUR), NOON + 25 * HOUR);
}

/// A worker reads failures of a week ago, one after the other, and then nothing more. Guarantees that none of them is quiet
/// because it is old: a day has to pass in which this worker sees nothing of it. A successor counts anew.
#[test]
fn history_is_not_quiet_at_once() {
    let week = 7 * 24 * HOUR;
    let mut clock = clock();
    let open = Open { last_seen: NOON - week, ..Open::default() };
    let told = |clock: &mut StreamClock, now: i64| {
        let time = clock.time(Some(NOON - week), now);
        kinds(&decide(&rules(), Some(&open), NOON - week - HOUR, time, &seen(NOON - week, NOON - week)).1)
    };
    for (after, expected) in [(0, vec![]), (MINUTE, vec![]), (23 * HOUR, vec![]), (24 * HOUR, vec![EventKind::Quiet])] {
        assert_eq!(told(&mut clock, NOON + after), expected, "{after}");
    }
    assert_eq!(told(&mut self::clock(), NOON + 48 * HOUR), []);
}

/// A fix, and then a failure; more failures; a second fix, and a failure. Guarantees one event a fix.
#[test]
fn a_regression_is_told_once_a_fix() {
    let fixed = |fix_id: &str, at: i64, back: i64| Activity {
        fix: Some(Fixed { fix_id: fix_id.into(), fixed_at: at, ..Fixed::default() }),
        regressed: Some((back, Some("2.0.0".into()))),
        ..seen(NOON - 24 * HOUR, back)
    };
    let open = Open { last_seen: NOON - HOUR, ..Open::default() };
    let (open, told) = decide(&rules(), Some(&open), NOON - HOUR, NOON, &fixed("a", NOON - MINUTE, NOON));
    assert_eq!(kinds(&told), [EventKind::Regressed]);
    let (open, told) = decide(&rules(), open.as_ref(), NOON - HOUR, NOON, &fixed("a", NOON - MINUTE, NOON));
    assert!(told.is_empty());
    let next = fixed("b", NOON + MINUTE, NOON + HOUR);
    let (_, told) = decide(&rules(), open.as_ref(), NOON - HOUR, NOON + HOUR, &next);
    assert_eq!(kinds(&told), [EventKind::Regressed]);
    assert_eq!(told[0].which, "b");
}

/// Failures at one a window for a day, and then so many in the last one.
fn steady(last: i64) -> Activity {
    let windows = (1..288).map(|window| (NOON - window * 5 * MINUTE - SECOND, 1));
    Activity { seen: windows.chain([(NOON - SECOND, last)]).collect(), ..seen(NOON - 24 * HOUR, NOON - SECOND) }
}

/// Numbers of failures in the last window, on top of one a window before. Guarantees that a spike needs the stated
/// number, that it is told once as long as it lasts, and again after it has ended.
#[test]
fn a_spike_is_told_once() {
    let rule = rules().spike;
    assert_eq!(is_spike(&rule, NOON, &steady(19)), None);
    assert_eq!(is_spike(&rule, NOON, &steady(20)), Some((20, 1.0)));
    let open = Open { last_seen: NOON - MINUTE, ..Open::default() };
    let (open, told) = decide(&rules(), Some(&open), 0, NOON, &steady(40));
    assert_eq!(kinds(&told), [EventKind::Spiking]);
    let (open, told) = decide(&rules(), open.as_ref(), 0, NOON, &steady(40));
    assert!(told.is_empty());
    let (open, _) = decide(&rules(), open.as_ref(), 0, NOON, &steady(1));
    let (_, told) = decide(&rules(), open.as_ref(), 0, NOON, &steady(40));
    assert_eq!(kinds(&told), [EventKind::Spiking]);
}

/// What stays at a high rate, or has had as busy a window before, or is younger than six windows, does not spike.
#[test]
fn what_is_usual_is_no_spike() {
    let rule = rules().spike;
    let mut plateau = steady(105);
    plateau.seen.push((NOON - 6 * MINUTE, 99));
    assert_eq!(is_spike(&rule, NOON, &plateau), None);
    let mut bursts = steady(100);
    bursts.seen.push((NOON - 20 * HOUR, 120));
    assert_eq!(is_spike(&rule, NOON, &bursts), None);
    let young = Activity { first_seen: NOON - 30 * MINUTE, ..steady(1_000) };
    assert_eq!(is_spike(&rule, NOON, &young), None);
}

fn event(number: usize) -> Event {
    let occurrence = Occurrence { kind: EventKind::New, at: NOON, which: number.to_string(), spike: None };
    Event::of("default", &seen(NOON, NOON), &[], &occurrence, "https://tracerag.example.com/")
}

/// Ids of the same and of other occurrences, tenants and kinds. Guarantees that an id is a function of what happened,
/// whatever is known of the incident by then, and differs where something else did.
#[test]
fn ids_are_stable() {
    let occurrence = Occurrence { kind: EventKind::New, at: NOON, which: String::new(), spike: None };
    let id = |tenant: &str, seen: &Activity, occurrence: &Occurrence| Event::of(tenant, seen, &[], occurrence, "").id;
    let known = id("default", &seen(NOON, NOON), &occurrence);
    assert_eq!(known, id("default", &seen(NOON, NOON + HOUR), &Occurrence { at: NOON + 1, ..occurrence.clone() }));
    assert_ne!(known, id("other", &seen(NOON, NOON), &occurrence));
    assert_ne!(known, id("default", &seen(NOON, NOON), &Occurrence { kind: EventKind::Quiet, ..occurrence.clone() }));
    assert_ne!(known, id("default", &seen(NOON, NOON), &Occurrence { which: "b".into(), ..occurrence }));
}

/// An event as text. Guarantees what CloudEvents 1.0 asks for, that the link leads to the incident's page, which asks a
/// person for a token, and another one to the example's bundle, and that it names what echoes the incident.
#[test]
fn an_event_is_a_cloud_event() {
    let with_example = Activity { example_trace_id: Some("00ff".into()), ..seen(NOON, NOON) };
    let occurrence = Occurrence { kind: EventKind::New, at: NOON, which: String::new(), spike: None };
    let echo = Echo { fingerprint: "beef".into(), service_name: Some("checkout".into()) };
    let event = Event::of("default", &with_example, &[echo], &occurrence, "https://tracerag.example.com/");
    let text: serde_json::Value = serde_json::from_str(&event.text()).unwrap();
    assert_eq!((&text["specversion"], &text["type"]), (&"1.0".into(), &"dev.tracerag.incident.new".into()));
    assert_eq!((&text["subject"], &text["time"]), (&"abcd".into(), &"2026-11-23T12:00:00.000000000Z".into()));
    assert_eq!(text["data"]["link"], "https://tracerag.example.com/incidents/abcd");
    assert_eq!(text["data"]["bundle_link"], "https://tracerag.example.com/v1/bundles/00ff");
    assert_eq!(text["data"]["echoes"], serde_json::json!([{"fingerprint": "beef", "service_name": "checkout"}]));
    let plain = Event::of("default", &with_example, &[], &occurrence, "").data;
    assert!(plain["link"].is_null() && plain.get("echoes").is_none(), "{plain}");
}

/// An outbox whose receiver refuses everything for a day. Guarantees growing pauses, and that an event goes at last and
/// not before its day is over.
#[test]
fn an_event_is_tried_for_a_day() {
    let mut outbox = Outbox::default();
    outbox.push(event(1), NOON);
    let (mut now, mut pauses) = (NOON, vec![]);
    loop {
        let id = outbox.due(now).unwrap().id.clone();
        if !outbox.failed(&id, now) {
            break;
        }
        let begun = now;
        while outbox.due(now).is_none() {
            now += SECOND;
        }
        pauses.push((now - begun) / SECOND);
    }
    assert_eq!(pauses[..4], [5, 10, 20, 40]);
    assert_eq!(pauses.iter().max(), Some(&3600));
    assert!(now >= NOON + 24 * HOUR && outbox.len() == 0);
}

/// A tenant with two incidents more than are remembered. Guarantees that those go which were seen longest ago, and that
/// another tenant keeps its own.
#[test]
fn a_tenant_has_so_many_open_incidents() {
    let mut open = OpenIncidents::default();
    for number in 0..10_002_i64 {
        let next = Open { last_seen: NOON + (number * 7_919) % 10_002, ..Open::default() };
        open.set("default", &format!("{number:05}"), Some(next));
    }
    open.set("other", "a", Some(Open::default()));
    assert_eq!(open.forget_oldest(), 2);
    let left: Vec<_> = open.by_tenant().map(|(tenant, open)| (tenant.as_str(), open.len())).collect();
    assert_eq!(left, [("default", 10_000), ("other", 1)]);
    let (_, of_default) = open.by_tenant().next().unwrap();
    assert_eq!(of_default.values().map(|open| open.last_seen).min(), Some(NOON + 2));
    assert_eq!(open.forget_oldest(), 0);
}

/// What a round writes of open incidents, with the parts before it.
fn written(open: &mut OpenIncidents, parts: &mut Vec<(Part, Vec<u8>)>) -> usize {
    let known: Vec<Part> = parts.iter().map(|(part, _)| part.clone()).collect();
    let Some(unwritten) = open.unwritten(&known).unwrap() else { return 0 };
    if unwritten.is_whole {
        parts.clear();
    }
    let bytes = unwritten.text.len();
    parts.push((Part { name: String::new(), incidents: unwritten.incidents }, unwritten.text));
    open.is_written();
    bytes
}

/// 100,000 open incidents, of which each round changes a hundred. Guarantees that a round writes what it changed, and that
/// all rounds together write less than a few of them would if each wrote everything.
#[test]
fn a_round_writes_what_it_changed() {
    let (mut open, mut parts) = (OpenIncidents::default(), vec![]);
    let set = |open: &mut OpenIncidents, number: usize, at: i64| {
        let next = Open { last_seen: at, ..Open::default() };
        open.set(&format!("tenant{}", number % 20), &format!("{number:032x}"), Some(next));
    };
    (0..100_000).for_each(|number| set(&mut open, number, NOON));
    let everything = written(&mut open, &mut parts);
    let rounds: Vec<usize> = (1..=100_usize)
        .map(|round| {
            (0..100).for_each(|number| set(&mut open, round * 997 + number, NOON + round as i64));
            written(&mut open, &mut parts)
        })
        .collect();
    let small = rounds.iter().filter(|bytes| **bytes * 500 < everything).count();
    assert!(small >= 98, "{small} rounds of 100; {everything} bytes are everything");
    assert!(rounds.iter().sum::<usize>() < 3 * everything, "{rounds:?}");
    assert_eq!(written(&mut open, &mut parts), 0, "nothing has changed since");
}

proptest! {
    /// Incidents that open, change and close, in rounds of any size. Guarantees that the parts, read in their order, always
    /// give what is open, and that they neither become many nor hold much that is past.
    #[test]
    fn parts_say_what_is_open(rounds in prop::collection::vec(
        prop::collection::vec((0_u8..3, 0_u16..400, prop::option::of(0_i64..5)), 0..60), 0..150)
    ) {
        let (mut open, mut parts) = (OpenIncidents::default(), vec![]);
        for changes in rounds {
            for (tenant, number, last_seen) in changes {
                let next = last_seen.map(|last_seen| Open { last_seen, ..Open::default() });
                open.set(&tenant.to_string(), &number.to_string(), next);
            }
            written(&mut open, &mut parts);
            let mut again = OpenIncidents::default();
            for (_, text) in &parts {
                again.take(text).unwrap();
            }
            prop_assert_eq!(&again, &open);
            let present: usize = open.by_tenant().map(|(_, open)| open.len()).sum();
            let held: usize = parts.iter().map(|(part, _)| part.incidents).sum();
            prop_assert!(parts.len() <= 64 && held <= 2 * present + 1_000, "{} parts with {held} of {present}", parts.len());
        }
    }

    /// Rounds with any numbers of events at any times. Guarantees that no minute has more than it may, that every event
    /// is told by itself or counted in a group once, and that ids do not repeat.
    #[test]
    fn a_minute_has_its_events(rounds in prop::collection::vec((0_usize..40, 1_i64..90), 1..20), most in 1_u32..10) {
        let (mut budget, mut now, mut next) = (Budget::default(), NOON, 0);
        let mut told: Vec<(i64, Event)> = vec![];
        for (count, seconds) in rounds.iter().copied().chain([(0, 60)]) {
            now += seconds * SECOND;
            let events = (next..next + count).map(event).collect();
            next += count;
            told.extend(budget.take("default", events, most, now).into_iter().map(|event| (now.div_euclid(MINUTE), event)));
        }
        let mut minutes = std::collections::BTreeMap::new();
        for (minute, _) in &told {
            *minutes.entry(*minute).or_insert(0_u32) += 1;
        }
        prop_assert!(minutes.values().all(|count| *count <= most));
        let counted: u64 = told.iter().map(|(_, event)| match event.kind.as_str() {
            GROUPED => event.data["count"].as_u64().unwrap(),
            _ => 1,
        }).sum();
        prop_assert_eq!(counted, next as u64);
        let ids: std::collections::BTreeSet<&str> = told.iter().map(|(_, event)| event.id.as_str()).collect();
        prop_assert_eq!(ids.len(), told.len());
    }

    /// Any counts over a day. Guarantees that what is called a spike has the least number, and is above every window of
    /// the history, and that order does not matter.
    #[test]
    fn a_spike_stands_out(counts in prop::collection::vec((0_i64..24 * 60, 0_i64..60), 0..200)) {
        let rule = SpikeRule::default();
        let mut activity = seen(NOON - 24 * HOUR, NOON);
        activity.seen = counts.iter().map(|(minutes, count)| (NOON - minutes * MINUTE, *count)).collect();
        let found = is_spike(&rule, NOON, &activity);
        activity.seen.reverse();
        prop_assert_eq!(is_spike(&rule, NOON, &activity), found);
        let of = |window: i64| -> i64 {
            counts.iter().filter(|(minutes, _)| minutes / 5 == window).map(|(_, count)| count).sum()
        };
        if let Some((last, _)) = found {
            prop_assert_eq!(last, of(0));
            prop_assert!(last >= 20 && (1..288).all(|window| of(window) < last));
        }
    }
}
