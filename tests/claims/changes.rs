//! Ways to make a true claim false, or to take its support away. Each gives nothing for a claim that it would not change.

use serde_json::{Value, json};

use super::seeded::Seeded;
use super::truths::{Claim, Known, entries, text};

/// A claim, and what it is about.
struct Change<'a> {
    seeded: &'a mut Seeded,
    known: &'a Known,
    index: usize,
    claim: &'a Claim,
}

type Way = fn(&mut Change<'_>) -> Option<Value>;

/// Every way, by its name.
const WAYS: [(&str, Way); 24] = [
    ("another span", another_span),
    ("anchors of a neighbour", neighbour),
    ("another value", other_value),
    ("another unit", other_unit),
    ("the other order", other_order),
    ("a character of the quote", quote),
    ("another commit", commit),
    ("another line", line),
    ("no support", no_support),
    ("an unknown kind of anchor", unknown_kind),
    ("an unknown function", unknown_function),
    ("an unknown unit", unknown_unit),
    ("text: another service", other_service),
    ("text: an unknown service", unknown_service),
    ("text: another trace", other_trace),
    ("text: another number", other_number),
    ("text: another unit", text_unit),
    ("text: another variant", other_variant),
    ("text: another outcome", other_outcome),
    ("text: a denial", denial),
    ("text: a factor", factor),
    ("text: everything", everything),
    ("text: a cause", cause),
    ("text: a look-alike", look_alike),
];

/// So many changed claims of a bundle, each with the way in which it was changed.
pub fn all(
    seeded: &mut Seeded,
    known: &Known,
    index: usize,
    claims: &[Claim],
    count: usize,
) -> Vec<(&'static str, Value)> {
    let mut changed = Vec::new();
    for attempt in 0..count * 20 {
        if changed.len() == count || claims.is_empty() {
            break;
        }
        let claim = claims[seeded.below(claims.len())].clone();
        let (name, way) = WAYS[attempt % WAYS.len()];
        if let Some(mut value) = way(&mut Change { seeded: &mut *seeded, known, index, claim: &claim }) {
            assert_ne!(value, claim.value, "{name}");
            value["id"] = json!(format!("m{}", changed.len()));
            changed.push((name, value));
        }
    }
    changed
}

impl Change<'_> {
    fn evidence(&self) -> &Value {
        self.known.evidence(self.index)
    }

    fn said(&self) -> &str {
        text(&self.claim.value, "text").unwrap()
    }

    fn anchors(&self) -> Vec<&str> {
        entries(&self.claim.value, "anchors").iter().map(|anchor| anchor.as_str().unwrap()).collect()
    }

    fn predicate(&self) -> Option<&str> {
        entries(&self.claim.value, "predicates").first()?.as_str()
    }

    fn with_text(&self, said: String) -> Option<Value> {
        let mut value = self.claim.value.clone();
        value["text"] = json!(said);
        Some(value)
    }

    fn with_predicate(&self, predicate: String) -> Option<Value> {
        let mut value = self.claim.value.clone();
        value["predicates"] = json!([predicate]);
        Some(value)
    }

    /// The claim with a text replaced wherever it stands but in what is said.
    fn replaced(&self, old: &str, new: &str) -> Option<Value> {
        let mut value = self.claim.value.clone();
        for part in ["anchors", "predicates", "quotes"] {
            value[part] = serde_json::from_str(&value[part].to_string().replace(old, new)).ok()?;
        }
        Some(value)
    }

    /// The service that the text is about, where it begins with one.
    fn service(&self) -> Option<&str> {
        let first = self.said().split(' ').next()?;
        let services = entries(&self.evidence()["trace"], "services");
        services.iter().any(|service| service.as_str() == Some(first)).then_some(first)
    }
}

fn another_span(change: &mut Change<'_>) -> Option<Value> {
    let is_of_one = ["status", "duration", "critical", "event", "attribute"].contains(&change.claim.kind);
    let (service, own) = (change.service()?.to_owned(), change.anchors().first()?.to_string());
    let spans = entries(change.known.evidence(change.index), "spans");
    let others: Vec<&str> = spans
        .iter()
        .filter(|span| text(span, "service").is_some_and(|other| other != service))
        .filter_map(|span| text(span, "anchor"))
        .collect();
    if !is_of_one || others.is_empty() {
        return None;
    }
    let other = *change.seeded.one(&others);
    change.replaced(&own, other)
}

fn neighbour(change: &mut Change<'_>) -> Option<Value> {
    let own = change.anchors();
    let kind = own.first()?.split(':').next()?;
    let section = match kind {
        "span" | "log" | "failure" | "metric" | "payload" | "heap" | "build" | "flag" => format!("{kind}s"),
        _ => return None,
    };
    // Anchors of the claim's kind that stand for something else: not an entry of the same key or service.
    let subject = |entry: &Value| match kind {
        "flag" => text(entry, "key").map(str::to_owned),
        "build" => text(entry, "service").map(str::to_owned),
        _ => text(entry, "anchor").map(str::to_owned),
    };
    let whole = own.first()?.split('#').next()?;
    let listed = entries(change.known.evidence(change.index), &section);
    let subjects: Vec<Option<String>> = listed
        .iter()
        .filter(|entry| text(entry, "anchor").is_some_and(|anchor| own.contains(&anchor) || anchor.starts_with(whole)))
        .map(subject)
        .collect();
    let others: Vec<&str> = listed
        .iter()
        .filter(|entry| !subjects.contains(&subject(entry)))
        .filter_map(|entry| text(entry, "anchor"))
        .filter(|anchor| anchor.starts_with(kind))
        .collect();
    if others.is_empty() {
        return None;
    }
    let mut value = change.claim.value.clone();
    value["anchors"] = json!([change.seeded.one(&others)]);
    Some(value)
}

/// The predicate up to its literal, and the literal.
fn compared(predicate: &str) -> Option<(&str, &str)> {
    let at = [") = ", ") >= ", ") > "].iter().filter_map(|sign| Some(predicate.rfind(sign)? + sign.len())).max()?;
    Some(predicate.split_at(at))
}

fn other_value(change: &mut Change<'_>) -> Option<Value> {
    let predicate = change.predicate()?;
    let Some((call, literal)) = compared(predicate) else {
        return change.with_predicate(format!("{predicate} = false"));
    };
    let digits: String = literal.chars().take_while(char::is_ascii_digit).collect();
    let literal = match literal {
        "true" => String::from("false"),
        "false" => String::from("true"),
        "ERROR" => String::from(if call.starts_with("status") { "OK" } else { "WARN" }),
        "OK" | "UNSET" | "INFO" | "WARN" => String::from("ERROR"),
        "string" => String::from("number"),
        "number" | "boolean" | "null" | "array" | "object" => String::from("string"),
        text if text.starts_with('"') && call.starts_with("git_sha") => {
            let digit = if text.starts_with("\"0") { "1" } else { "0" };
            format!("\"{digit}{}", text.get(2..)?)
        }
        text if text.starts_with('"') => format!("{}x\"", text.strip_suffix('"')?),
        number if call.starts_with("lake_failures") => format!("{number}000000"),
        number => format!("{}{}", digits.parse::<u64>().ok()? + 2, number.strip_prefix(digits.as_str())?),
    };
    change.with_predicate(format!("{call}{literal}"))
}

fn other_unit(change: &mut Change<'_>) -> Option<Value> {
    let predicate = change.predicate()?;
    let (call, literal) = compared(predicate)?;
    if literal.starts_with('0') {
        return None;
    }
    let literal = match change.claim.kind {
        "duration" => literal.strip_suffix("ns").map(|ns| format!("{ns}us")).or(Some(literal.replace("ms", "s")))?,
        "heap_bytes" => format!("{literal}kB"),
        "heap_share" => literal.strip_suffix('%')?.to_owned(),
        _ => return None,
    };
    change.with_predicate(format!("{call}{literal}"))
}

fn unknown_unit(change: &mut Change<'_>) -> Option<Value> {
    let predicate = change.predicate()?;
    let is_number = ["duration", "heap_bytes", "metric_max", "failures", "payload_length"].contains(&change.claim.kind);
    is_number.then(|| change.with_predicate(format!("{predicate}parsec")))?
}

fn other_order(change: &mut Change<'_>) -> Option<Value> {
    if !["before", "ancestor"].contains(&change.claim.kind) {
        return None;
    }
    let (function, rest) = change.predicate()?.split_once('(')?;
    let (first, second) = rest.strip_suffix(')')?.split_once(", ")?;
    change.with_predicate(format!("{function}({second}, {first})"))
}

fn quote(change: &mut Change<'_>) -> Option<Value> {
    let own = text(entries(&change.claim.value, "quotes").first()?, "text")?.to_owned();
    let letters: Vec<usize> = own.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).map(|(at, _)| at).collect();
    if letters.is_empty() {
        return None;
    }
    let at = *change.seeded.one(&letters);
    let mut new = own.clone();
    let letter = if own[at..].starts_with('q') { "z" } else { "q" };
    new.replace_range(at..at + 1, letter);
    let mut value = change.claim.value.clone();
    value["quotes"][0]["text"] = json!(new);
    Some(value)
}

fn commit(change: &mut Change<'_>) -> Option<Value> {
    let code = change.anchors().into_iter().find(|anchor| anchor.starts_with("code:"))?.to_owned();
    let (line, sha) = code.rsplit_once('@')?;
    let digit = if sha.starts_with('0') { "1" } else { "0" };
    let changed = format!("{line}@{digit}{}", sha.get(1..)?);
    change.replaced(&code, &changed)
}

fn line(change: &mut Change<'_>) -> Option<Value> {
    let code = change.anchors().into_iter().find(|anchor| anchor.starts_with("code:"))?.to_owned();
    let (line, sha) = code.rsplit_once('@')?;
    let changed = format!("{line}7777@{sha}");
    change.replaced(&code, &changed)
}

fn no_support(change: &mut Change<'_>) -> Option<Value> {
    let mut value = change.claim.value.clone();
    (value["predicates"], value["quotes"]) = (json!([]), json!([]));
    Some(value)
}

fn unknown_kind(change: &mut Change<'_>) -> Option<Value> {
    let own = change.anchors().first()?.to_string();
    let mut value = change.claim.value.clone();
    value["anchors"][0] = json!(format!("x{own}"));
    Some(value)
}

fn unknown_function(change: &mut Change<'_>) -> Option<Value> {
    let predicate = change.predicate()?;
    change.with_predicate(format!("is_{predicate}"))
}

fn other_service(change: &mut Change<'_>) -> Option<Value> {
    let own = change.service()?.to_owned();
    let services = entries(&change.known.evidence(change.index)["trace"], "services");
    let others: Vec<&str> = services.iter().filter_map(Value::as_str).filter(|service| *service != own).collect();
    if others.is_empty() {
        return None;
    }
    let other = *change.seeded.one(&others);
    let said = change.said().strip_prefix(own.as_str())?;
    // Two spans run at the same time whichever is named first.
    if change.claim.kind == "overlaps" && said.contains(other) {
        return None;
    }
    change.with_text(format!("{other}{said}"))
}

fn unknown_service(change: &mut Change<'_>) -> Option<Value> {
    let own = change.service()?;
    let is_plain = !["overlaps", "before", "critical", "link"].contains(&change.claim.kind);
    let said = change.said().strip_prefix(own).filter(|_| is_plain)?;
    change.with_text(format!("billing{said}"))
}

fn other_trace(change: &mut Change<'_>) -> Option<Value> {
    let own = text(&change.evidence()["trace"], "trace_id")?.to_owned();
    let mut digits: Vec<char> = own.chars().collect();
    let at = change.seeded.below(digits.len());
    digits[at] = if digits[at] == '0' { '1' } else { '0' };
    change.with_text(format!("{} in trace {}", change.said(), digits.into_iter().collect::<String>()))
}

fn other_number(change: &mut Change<'_>) -> Option<Value> {
    let said = change.said();
    let words: Vec<&str> = said.split(' ').collect();
    let at = words.iter().position(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = words[at].chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = digits.parse().ok()?;
    // What follows may be a part of a version or an identifier.
    let rest = words[at].strip_prefix(digits.as_str())?;
    let is_number =
        rest.is_empty() || rest == "%" || rest.strip_prefix('.').is_some_and(|rest| rest.parse::<u64>().is_ok());
    if !is_number || ["flag", "config", "version", "git_sha", "link", "differs"].contains(&change.claim.kind) {
        return None;
    }
    let changed = format!("{}{rest}", number + 1);
    let words: Vec<&str> =
        words.iter().enumerate().map(|(index, word)| if index == at { changed.as_str() } else { *word }).collect();
    change.with_text(words.join(" "))
}

fn text_unit(change: &mut Change<'_>) -> Option<Value> {
    let said = change.said();
    let changed = match change.claim.kind {
        "duration" if !said.contains(" 0") => said.replace(" ms", " s"),
        "heap_bytes" if !said.contains(" 0 ") => said.replace(" B in", " kB in"),
        "heap_share" => said.replacen('%', "", 1),
        _ => return None,
    };
    change.with_text(changed)
}

fn other_variant(change: &mut Change<'_>) -> Option<Value> {
    if !["flag", "config", "differs"].contains(&change.claim.kind) {
        return None;
    }
    let (key, _) = change.said().split_once(" was ")?;
    change.with_text(format!("{key} was bogus"))
}

fn other_outcome(change: &mut Change<'_>) -> Option<Value> {
    let said = change.said();
    said.contains(" failed").then(|| change.with_text(said.replace(" failed", " succeeded")))?
}

fn denial(change: &mut Change<'_>) -> Option<Value> {
    let word = *change.seeded.one(&["never", "not", "hardly not"]);
    let (first, rest) = change.said().split_once(' ')?;
    change.with_text(format!("{first} {word} {rest}"))
}

fn factor(change: &mut Change<'_>) -> Option<Value> {
    let words = ["twice as often", "faster than before it", "more than the others", "half of the time"];
    let word = *change.seeded.one(&words);
    change.with_text(format!("{} {word}", change.said()))
}

fn everything(change: &mut Change<'_>) -> Option<Value> {
    let words = ["in all services", "every time", "always", "and only there"];
    // Over several traces, `all` may be what the predicate says.
    let is_over_traces = ["same_error", "differs"].contains(&change.claim.kind);
    let word = *change.seeded.one(&words);
    (!is_over_traces).then(|| change.with_text(format!("{} {word}", change.said())))?
}

fn cause(change: &mut Change<'_>) -> Option<Value> {
    change.with_text(format!("{} because billing failed", change.said()))
}

fn look_alike(change: &mut Change<'_>) -> Option<Value> {
    let pairs =
        [('a', '\u{430}'), ('e', '\u{435}'), ('o', '\u{43e}'), ('p', '\u{440}'), ('c', '\u{441}'), ('i', '\u{456}')];
    let said = change.said().to_owned();
    let places: Vec<(usize, char)> =
        said.char_indices().filter_map(|(at, c)| Some((at, pairs.iter().find(|(latin, _)| *latin == c)?.1))).collect();
    if places.is_empty() {
        return None;
    }
    let (at, other) = *change.seeded.one(&places);
    let mut changed = said;
    changed.replace_range(at..at + 1, &other.to_string());
    change.with_text(changed)
}
