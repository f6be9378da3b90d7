//! Good traffic against itself, and with something planted in it.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::super::judge::judge;
use super::super::variables::{Kind, Several, Variables};

/// Traces of one split.
const TRACES: u32 = 120;

/// What one trace has, by kind, name and value; and its numbers.
struct Drawn {
    texts: Vec<(Kind, String, String)>,
    numbers: Vec<(Kind, String, f64)>,
}

/// A trace of a shop as it is when nothing is wrong: some flags and builds, a payload of every second, many attributes
/// of which some hang together, and times with a long tail.
fn draw(dice: &mut StdRng) -> Drawn {
    let mut texts = Vec::new();
    let mut numbers = Vec::new();
    let mut say = |kind, name: String, value: String| texts.push((kind, name, value));
    for flag in 0..6 {
        say(Kind::Flag, format!("flag.{flag}"), dice.random_range(0..2 + flag % 2).to_string());
    }
    let version = dice.random_range(0..3);
    for service in ["checkout", "payments"] {
        say(Kind::Build, service.to_owned(), format!("1.{version}"));
        say(Kind::Instance, service.to_owned(), format!("{service}-{}", dice.random_range(0..4)));
    }
    say(Kind::Versions, String::from("checkout -> payments"), format!("1.{version} -> 1.{version}"));
    if dice.random_bool(0.5) {
        say(Kind::Payload, String::from("/amount"), format!("class {}", dice.random_range(0..4)));
    }
    for attribute in 0..30 {
        let values = 2 + attribute % 7;
        say(Kind::Attribute, format!("attribute.{attribute}"), dice.random_range(0..values).to_string());
    }
    for path in 0..5 {
        if dice.random_bool(0.5) {
            say(Kind::SpanPath, format!("path.{path}"), String::from("a > b"));
        }
        let time = 1e6 / dice.random_range(0.01..1.0_f64);
        numbers.push((Kind::SelfTime, format!("span.{path}"), time));
    }
    numbers.push((Kind::Memory, String::from("process.memory.usage"), dice.random_range(1e8..2e8)));
    Drawn { texts, numbers }
}

/// Traces with their places as numbers.
fn variables(traces: &[Drawn]) -> Variables {
    let mut variables = Variables::default();
    for (trace, drawn) in (0..).zip(traces) {
        for (kind, name, value) in &drawn.texts {
            variables.say(*kind, name, trace, value, || None);
        }
        for (kind, name, number) in &drawn.numbers {
            variables.measure(*kind, name, trace, *number, Several::Ends, || None);
        }
    }
    variables
}

/// Good traffic is divided 1,000 times at random, into few and many failing ones: at most 5 % of the divisions name
/// anything, over all kinds together. They are no idle tests: many were made, and of the same traffic with a flag that
/// two in three failing traces have and one in ten good ones, nine in ten divisions name this flag first.
#[test]
fn good_traffic_seldom_differs_from_itself() {
    let mut dice = StdRng::seed_from_u64(7);
    let (mut named, mut found, mut planted) = (0, 0, 0);
    for division in 0..1_000 {
        let mut traces: Vec<Drawn> = (0..TRACES).map(|_| draw(&mut dice)).collect();
        traces.shuffle(&mut dice);
        let failing = [10, 20, 40, 80][division % 4];
        let judged = judge(&variables(&traces), failing);
        assert!(judged.tested > 50, "{} tested", judged.tested);
        named += usize::from(!judged.differences.is_empty());
        if division % 5 != 0 || failing < 20 {
            continue;
        }
        planted += 1;
        for (trace, drawn) in traces.iter_mut().enumerate() {
            let share = if trace < failing { 0.67 } else { 0.1 };
            let variant = if dice.random_bool(share) { "new" } else { "old" };
            drawn.texts.push((Kind::Flag, String::from("planted"), variant.to_owned()));
        }
        let judged = judge(&variables(&traces), failing);
        let is_planted = |name: &str, value: &str| (name, value) == ("planted", "new");
        found += usize::from(judged.differences.first().is_some_and(|first| is_planted(&first.name, &first.value)));
    }
    assert!(named <= 50, "{named} of 1,000 name something");
    assert!(found * 10 >= planted * 9, "{found} of {planted} name what was planted");
}

/// Numbers of attributes, of memory and of self times are lower, or higher, where traces fail. Guarantees that either is
/// named, with its side in words, also where a trace has several numbers and only the least of them is low; that both
/// count as tests; and that a span which took less time of itself, as one that gives up does, is not named.
#[test]
fn numbers_differ_in_both_directions() {
    let of = |kind: Kind, failing: [f64; 2], good: [f64; 2]| {
        let mut variables = Variables::default();
        for trace in 0..80 {
            let [number, other] = if trace < 20 { failing } else { good };
            let step = f64::from(trace % 13) / 100.0;
            for number in [number + step, other + step] {
                variables.measure(kind, "pool.free", trace, number, Several::Ends, || None);
            }
        }
        let judged = judge(&variables, 20);
        let told = judged.differences.first().map(|first| {
            let side = first.value.split(' ').next().unwrap_or_default().to_owned();
            (side, first.reason.split(':').next().unwrap_or_default().to_owned(), first.failing_with)
        });
        (told, judged.tested)
    };
    let told = |side: &str, word: &str| Some((side.to_owned(), word.to_owned(), 20));
    for kind in [Kind::Attribute, Kind::Memory] {
        assert_eq!(of(kind, [2.0, 2.0], [20.0, 20.0]), (told("below", "lower"), 2), "{kind:?}");
        assert_eq!(of(kind, [20.0, 20.0], [2.0, 2.0]), (told("above", "higher"), 2), "{kind:?}");
        assert_eq!(of(kind, [20.0, 2.0], [20.0, 20.0]), (told("below", "lower"), 2), "{kind:?}");
        assert_eq!(of(kind, [20.0, 20.0], [20.0, 20.0]), (None, 2), "{kind:?}");
    }
    assert_eq!(of(Kind::SelfTime, [2.0, 2.0], [20.0, 20.0]), (None, 1));
    assert_eq!(of(Kind::SelfTime, [20.0, 20.0], [2.0, 2.0]), (told("above", "higher"), 1));
}
