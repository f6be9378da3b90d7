//! What is read, what it means, and what is refused.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn condition(text: &str) -> Condition {
    match parse(text).unwrap() {
        Query::Spans(condition) => condition,
        other => panic!("{text}: {other:?}"),
    }
}

fn attribute(scope: Scope, key: &str) -> Field {
    Field::Attribute(Attribute { scope, key: key.to_owned() })
}

/// Each comparison that Grafana's builder writes is read with its scope, operator and type; texts have the escapes of Go,
/// names may be in quotes, and the value may stand first.
#[test]
fn comparisons_are_read() {
    use Operator::{Equal, Greater, GreaterOrEqual, Matches, NotEqual};
    let service = || attribute(Scope::Resource, "service.name");
    for (text, field, operator, value) in [
        ("{resource.service.name=\"a b\"}", service(), Equal, Value::Text(String::from("a b"))),
        ("{ resource.service.name =~ `a\\.b` }", service(), Matches, Value::Text(String::from("a\\.b"))),
        ("{resource.service.name!=\"say \\\"x\\\"\"}", service(), NotEqual, Value::Text(String::from("say \"x\""))),
        ("{span.http.status_code>=500}", attribute(Scope::Span, "http.status_code"), GreaterOrEqual, Value::Int(500)),
        ("{.cart.total > 1.5}", attribute(Scope::Any, "cart.total"), Greater, Value::Float(1.5)),
        ("{500 <= .n}", attribute(Scope::Any, "n"), GreaterOrEqual, Value::Int(500)),
        ("{span.\"a b\".c = true}", attribute(Scope::Span, "a b.c"), Equal, Value::Bool(true)),
        ("{.flag}", attribute(Scope::Any, "flag"), Equal, Value::Bool(true)),
        ("{duration>100ms}", Field::Intrinsic(Intrinsic::Duration), Greater, Value::Duration(100_000_000)),
        ("{status=error}", Field::Intrinsic(Intrinsic::Status), Equal, Value::Status("error")),
        ("{span:kind = server}", Field::Intrinsic(Intrinsic::Kind), Equal, Value::Kind("server")),
        ("{trace:rootName = \"x\"}", Field::Intrinsic(Intrinsic::RootName), Equal, Value::Text(String::from("x"))),
    ] {
        assert_eq!(condition(text), Condition::Compare(field, operator, value), "{text}");
    }
    assert_eq!(condition("{}"), Condition::Always(true));
    assert_eq!(condition(""), Condition::Always(true));
    let exists = Condition::Exists(attribute(Scope::Any, "a"));
    assert_eq!(condition("{.a != nil}"), exists);
    assert_eq!(condition("{.a = nil}"), Condition::Not(Box::new(exists)));
}

/// `&&` binds closer than `||`, parentheses closest, in a set of spans as between sets.
#[test]
fn combinations_are_read() {
    let name = |name: &str| condition(&format!("{{name = \"{name}\"}}"));
    let both = Condition::All(vec![name("b"), name("c")]);
    assert_eq!(condition("{name=\"a\" || name=\"b\" && name=\"c\"}"), Condition::Any(vec![name("a"), both.clone()]));
    let either = Condition::Any(vec![name("a"), name("b")]);
    assert_eq!(condition("{(name=\"a\" || name=\"b\") && name=\"c\"}"), Condition::All(vec![either, name("c")]));
    assert_eq!(condition("{!(name=\"b\" && name=\"c\")}"), Condition::Not(Box::new(both)));
    let set = |word: &str| Query::Spans(name(word));
    assert_eq!(
        parse("{name=\"a\"} && ({name=\"b\"} || {name=\"c\"})").unwrap(),
        Query::All(vec![set("a"), Query::Any(vec![set("b"), set("c")])])
    );
    assert_eq!(parse("{name=\"a\" && .b = 1 && name != \"c\"}").unwrap().fields().len(), 2);
}

/// What reads more than one span at a time, what is no TraceQL, and what is too deep or too long is refused, in words
/// that say what to do, and where.
#[test]
fn the_rest_is_refused() {
    let deep = format!("{{{}name = \"a\"{}}}", "(".repeat(100_000), ")".repeat(100_000));
    let nested = format!("{{{}name = \"a\"{}}}", "(".repeat(1_000), ")".repeat(1_000));
    let negated = format!("{{{}.a}}", "!".repeat(5_000));
    let many = format!("{{{}.a}}", ".a || ".repeat(101));
    let sets = format!("{}{{}}", "{} && ".repeat(101));
    for (text, part) in [
        ("{} | count() > 2", "pipelines"),
        ("{ .a } | rate() by (name)", "pipelines"),
        ("{ .a } >> { .b }", "stand to each other"),
        ("{ .a } !< { .b }", "stand to each other"),
        ("{ event.name = \"x\" }", "not searched"),
        ("{ .a = }", "here stands a field"),
        ("{ .a = \"x }", "no end"),
        ("{ .a = \"\\d\" }", "after \\"),
        ("{ .a + 1 = 2 }", "sums"),
        ("{ .a = .b }", "field on one side"),
        ("{ . = 1 }", "name of an attribute"),
        ("{ nonsense = 1 }", "no field and no value"),
        ("{ .a = 1", "here stands }"),
        ("select 1", "{ .. }"),
        (&deep, "bytes"),
        (&nested, "nest"),
        (&negated, "nest"),
        (&many, "comparisons"),
        (&sets, "comparisons"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        let shown: String = text.chars().take(60).collect();
        assert!(error.contains(part) && error.contains("at character"), "{shown}: {error}");
    }
    for (text, part) in [
        ("{ duration = \"x\" }", "duration"),
        ("{ status = server }", "ok, error or unset"),
        ("{ status > error }", "by = and !="),
        ("{ name =~ 5 }", "a text in quotes"),
        ("{ .a = 5ms }", "a text in quotes"),
        ("{ .a =~ \"(\" }", "regular expression"),
        ("{ .a =~ `\\w{500}` }", "size limit"),
        ("{ nestedSetParent = 7 }", "nestedSetParent < 0"),
    ] {
        let error = compile(&parse(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// A condition of up to some ninety comparisons, two parts or three to a combination.
fn conditions() -> impl Strategy<Value = Condition> {
    use Operator::{Equal, Less, Matches, NotEqual};
    let field = || "[\\PC\n]{1,6}".prop_map(|key| attribute(Scope::Span, &key));
    let operator = prop::sample::select(vec![Equal, NotEqual, Less, Matches]);
    let value = prop_oneof![
        "[\\PC\n]{0,6}".prop_map(Value::Text),
        any::<i64>().prop_map(Value::Int),
        (0..i64::MAX).prop_map(Value::Duration),
    ];
    let leaf = prop_oneof![
        (field(), operator, value).prop_map(|(field, operator, value)| Condition::Compare(field, operator, value)),
        field().prop_map(Condition::Exists),
    ];
    leaf.prop_recursive(10, 90, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..=3);
        prop_oneof![
            several.clone().prop_map(Condition::All),
            several.prop_map(Condition::Any),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn comparisons(condition: &Condition) -> usize {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().map(comparisons).sum(),
        Condition::Not(inner) => comparisons(inner),
        _ => 1,
    }
}

/// A condition as text, with parentheses round each part.
fn written(condition: &Condition) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let name = |field: &Field| match field {
        Field::Attribute(attribute) => format!("span.{}", quoted(&attribute.key)),
        Field::Intrinsic(intrinsic) => intrinsic.name().to_owned(),
    };
    let joined = |parts: &[Condition], with: &str| {
        let parts: Vec<String> = parts.iter().map(|part| format!("({})", written(part))).collect();
        parts.join(with)
    };
    match condition {
        Condition::Always(truth) => truth.to_string(),
        Condition::All(parts) => joined(parts, " && "),
        Condition::Any(parts) => joined(parts, "||"),
        Condition::Not(inner) => format!("!({})", written(inner)),
        Condition::Exists(field) => format!("{} != nil", name(field)),
        Condition::Compare(field, operator, value) => {
            let sign = match operator {
                Operator::Equal => "=",
                Operator::NotEqual => "!=",
                Operator::Less => "<",
                Operator::LessOrEqual => "<=",
                Operator::Greater => ">",
                Operator::GreaterOrEqual => ">=",
                Operator::Matches => "=~",
                Operator::NotMatches => "!~",
            };
            let value = match value {
                Value::Text(text) => quoted(text),
                Value::Int(number) => number.to_string(),
                Value::Float(number) => format!("{number:?}"),
                Value::Bool(truth) => truth.to_string(),
                Value::Duration(ns) => format!("{ns}ns"),
                Value::Status(word) | Value::Kind(word) => (*word).to_owned(),
            };
            format!("{} {sign} {value}", name(field))
        }
    }
}

/// Texts as long as may be, of what could be read in more than one way, are each read twenty times. Guarantees that no way
/// of reading is tried again for each way of reading what follows: one such text would take longer than all may.
#[test]
fn long_texts_take_no_time() {
    let begin = Instant::now();
    let nested = |inner: &str, depth: usize| format!("{{{}{inner}{}}}", "(".repeat(depth), ")".repeat(depth));
    let filled = |head: &str, part: &str, tail: &str| {
        format!("{head}{}{tail}", part.repeat((8_192 - head.len() - tail.len()) / part.len()))
    };
    for text in [
        nested(".a = 1", 32),
        nested("", 32),
        nested(&"!".repeat(32), 0),
        filled(&"(".repeat(32), " ", "{}"),
        filled("{.a", " ", "= 1}"),
        filled("{.a = \"", "\\\\", "\"}"),
        filled("{.a = \"", "\\\"", ""),
        filled("{.a = `", "x", ""),
        filled("{", ".\"a\"", " = 1}"),
        filled("{.a = ", "1.", "}"),
        filled("{.a = ", "1h", "}"),
        filled("{}", " && {}", ""),
        filled("", "!", ""),
        filled("", "{", ""),
    ] {
        for _ in 0..20 {
            let _ = parse(&text);
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(300), "{:?}", begin.elapsed());
}

proptest! {
    /// No text, and no text that looks like a query, breaks the reader; what is read can be compiled or is refused.
    #[test]
    fn no_text_breaks_it(text in "\\PC{0,40}", like in "[{}()&|!=~<>. a-c\"0-9ms]{0,60}") {
        for text in [text, like.clone(), format!("{{{like}}}")] {
            if let Ok(query) = parse(&text) {
                let _ = compile(&query);
            }
            let _ = field(&text);
        }
    }

    /// A condition that is written as text is read as it was, however its parts nest. Guarantees, too, that no comparison
    /// is read twice: each reading counts against the bound of 100, and most of these conditions have more than 50.
    #[test]
    fn what_is_written_is_read(parts in prop::collection::vec(conditions(), 2..8)) {
        let mut left = 100;
        let fitting = parts.into_iter().filter(|part| {
            let fits = comparisons(part) <= left;
            left -= if fits { comparisons(part) } else { 0 };
            fits
        });
        let all = Condition::All(fitting.collect());
        prop_assume!(matches!(&all, Condition::All(parts) if parts.len() > 1));
        let text = format!("{{ {} }}", written(&all));
        prop_assume!(text.len() <= 8_192);
        let read = parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(read, Query::Spans(all));
    }
}
