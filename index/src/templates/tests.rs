#![allow(clippy::unwrap_used)]

use arrow::array::new_null_array;
use proptest::prelude::*;
use tracerag_schemas::Table;

use super::*;

fn of(text: &str) -> String {
    template(text, None).unwrap_or_default()
}

/// What goes in and what comes out, by form: plain messages, `key=value`, brackets, quotes, JSON, paths. Guarantees that
/// the values of a statement are wildcards whatever its style, and that its words stay.
#[test]
fn values_become_wildcards() {
    let cases = [
        ("order 4711 paid in 12.5 ms", "order <*> paid in <*>"),
        ("order 12 paid in 3 s", "order <*> paid in <*>"),
        ("status code 502 from 10.0.0.5:8080", "status code <*> from <*>"),
        ("deleted block blk_4381937042", "deleted block blk_<*>"),
        ("GET /api/v1/orders/7/items took 3ms", "GET <*> took <*>"),
        ("opened \"my file\" and 'other'", "opened <*> and <*>"),
        ("can't open it, won't retry", "can't open it, won't retry"),
        ("level=info msg=\"order placed\" user=alice", "level=info msg=\"order placed\" user=<*>"),
        ("Order(id=7, state=OPEN, city=Rome)", "Order(id=<*>, state=<*>, city=<*>)"),
        ("[create][contactId: abc][name: bob]", "[create][contactId: <*>][name: <*>]"),
        ("sizes [1, 2, 3]", "sizes [<*>]"),
        ("sizes [1, 2, 3, 4]", "sizes [<*>]"),
        ("error: connection refused", "error: connection refused"),
        ("a == b and a >= c", "a == b and a >= c"),
        ("{\"message\": \"order 7 placed\", \"user\": \"bob\"}", "order <*> placed"),
        ("{\"b\": 1, \"a\": {\"c\": 2}}", "a=<*> b=<*>"),
        ("  \u{fc}ber 12 \u{e9}t\u{e9}s  ", "\u{fc}ber <*> \u{e9}t\u{e9}s"),
        ("", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(of(text), expected, "{text}");
    }
}

/// A body that is a list of keys and values says its message, or else its keys, in any order.
#[test]
fn lists_of_keys_say_their_message() {
    let kind = Some("kvlist");
    let message = r#"[{"key":"n","value":{"intValue":"7"}},{"key":"msg","value":{"stringValue":"took 7"}}]"#;
    assert_eq!(template(message, kind).as_deref(), Some("took <*>"));
    let names = r#"[{"key":"n","value":{"intValue":"7"}},{"key":"a","value":{"stringValue":"x"}}]"#;
    assert_eq!(template(names, kind).as_deref(), Some("a=<*> n=<*>"));
}

/// A message that holds a stack has no template, one of several lines has.
#[test]
fn stacks_have_no_template() {
    let stack = "boom\n\tat com.shop.Cart.add(Cart.java:12)\n\tat com.shop.Main.main(Main.java:3)";
    assert_eq!(template(stack, None), None);
    assert_eq!(of("first line\nand 2 more"), "first line and <*> more");
}

/// Ids are the same in every build: they are stored.
#[test]
fn ids_depend_on_the_template_alone() {
    assert_eq!(template_id("a"), template_id(&String::from("a")));
    assert_ne!(template_id("a"), template_id("b"));
    assert_eq!(template_id("order <*> paid").len(), 16);
}

fn logs(bodies: &[Option<&str>]) -> RecordBatch {
    let schema = Table::Logs.in_flight_schema();
    // Columns that do not matter here are null, whether the table wants them or not.
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let columns: Vec<ArrayRef> = fields
        .iter()
        .map(|field| match field.name().as_str() {
            "body" => Arc::new(StringArray::from(bodies.to_vec())) as ArrayRef,
            _ => new_null_array(field.data_type(), bodies.len()),
        })
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let words = batch.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
    let values = words.values().as_string::<i32>();
    words.keys().iter().map(|key| key.map(|key| values.value(key as usize).to_owned())).collect()
}

/// Each row gets its template and the id of it; a template stands once in the batch's dictionary, and what has no body
/// has none.
#[test]
fn batches_get_their_columns() {
    let batch = with_templates(&logs(&[Some("took 1"), None, Some("took 22"), Some("done")])).unwrap();
    let templates = column(&batch, "template");
    assert_eq!(templates, [Some("took <*>".to_owned()), None, Some("took <*>".to_owned()), Some("done".to_owned())]);
    let ids: Vec<Option<String>> = templates.iter().map(|template| template.as_deref().map(template_id)).collect();
    assert_eq!(column(&batch, "template_id"), ids);
    let words = batch.column_by_name("template").unwrap().as_dictionary::<Int32Type>();
    assert_eq!(words.values().len(), 2);
    let nothing = logs(&[None, None]);
    assert_eq!(with_templates(&nothing).unwrap(), nothing);
}

/// A million different messages of one statement leave one template, and no more bodies are remembered than the bound
/// says. Guarantees that memory does not grow with what is sent.
#[test]
fn memory_is_bounded() {
    let bodies: Vec<String> = (0..1_000_000).map(|n| format!("u{n}x")).collect();
    let mut templates = Templates::default();
    for body in &bodies {
        templates.key(body, None);
        assert!(templates.known.len() <= MOST_REMEMBERED);
    }
    // `u1x` to `u99x` have too few digits to be an id.
    assert!(templates.values.len() < 200, "{}", templates.values.len());
}

/// Templates that differ in one of many names are one; those that differ in one of four verbs, or of which less than half
/// would stay, are not. The order in which they come does not matter.
#[test]
fn places_with_many_values_are_variables() {
    let names = ["alice", "bob", "carol", "dave", "erin", "frank"];
    let logins: Vec<String> = names.iter().map(|name| format!("login of {name} refused by gate")).collect();
    let verbs = ["created", "paid", "shipped", "cancelled"];
    let orders: Vec<String> = verbs.iter().map(|verb| format!("the order was {verb} today")).collect();
    let short: Vec<String> = names.iter().map(|name| format!("hello {name}")).collect();
    let mut all: Vec<&str> = logins.iter().chain(&orders).chain(&short).map(String::as_str).collect();
    let expected = |text: &str| match text.starts_with("login") {
        true => "login of <*> refused by gate".to_owned(),
        false => text.to_owned(),
    };
    for _ in 0..2 {
        assert_eq!(merged(&all), all.iter().map(|text| expected(text)).collect::<Vec<_>>());
        all.reverse();
    }
}

/// A word at a place that is a variable in an equal template is a value of it, even if it is the only one.
#[test]
fn a_known_variable_takes_one_word() {
    let templates = ["task <*> of job ended", "task last of job ended"];
    assert_eq!(merged(&templates), [templates[0], templates[0]]);
}

proptest! {
    /// Texts that differ in numbers, ids, durations and quoted values only have one template.
    #[test]
    fn variables_do_not_matter(
        words in prop::collection::vec("[a-z]{2,8}", 4),
        numbers in prop::array::uniform2(0u64..1_000_000),
        ids in prop::array::uniform2(any::<u128>()),
        quoted in prop::array::uniform2("[a-z ]{1,20}"),
    ) {
        // Words that begin a date or a duration would be part of the value.
        let words: Vec<String> = words.iter().map(|word| format!("q{word}")).collect();
        let [a, b, c, d]: [String; 4] = words.try_into().unwrap();
        let text = |n: usize| {
            let id = uuid::Uuid::from_u128(ids[n]);
            format!("{a} {} {b} {id} {c} \"{}\" {d}={}", numbers[n], quoted[n], numbers[n])
        };
        prop_assert_eq!(of(&text(0)), of(&text(1)));
    }

    /// Any text has the same template each time, within the bound, and none makes it panic.
    #[test]
    fn any_text_is_taken(text in "\\PC{0,200}", kind in prop::option::of("kvlist|array")) {
        let first = template(&text, kind.as_deref());
        prop_assert_eq!(&first, &template(&text, kind.as_deref()));
        prop_assert!(first.is_none_or(|template| !template.is_empty() && template.len() <= 512));
    }

    /// Texts of the signs that the rules look for make no panic either, however long they are.
    #[test]
    fn signs_are_taken(text in "[\"'`=:/<>\\[\\](){}, a1\\\\\u{fc}\n-]{0,2000}") {
        prop_assert!(template(&text, None).is_none_or(|template| template.len() <= 512));
    }

    /// What templates merge to does not depend on their order, and is what it is a case of: as many words, each the same
    /// or a wildcard.
    #[test]
    fn merging_does_not_depend_on_order(
        words in prop::collection::vec(prop::collection::vec("[ab<*>]{1,3}", 3..6), 0..40),
    ) {
        let texts: Vec<String> = words.iter().map(|words| words.join(" ")).collect();
        let mut given: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut forwards = merged(&given);
        for (text, merged) in given.iter().zip(&forwards) {
            prop_assert_eq!(text.split(' ').count(), merged.split(' ').count());
            prop_assert!(text.split(' ').zip(merged.split(' ')).all(|(one, other)| other == WILDCARD || one == other));
        }
        given.reverse();
        let mut backwards = merged(&given);
        backwards.reverse();
        prop_assert_eq!(&mut forwards, &mut backwards);
    }
}
