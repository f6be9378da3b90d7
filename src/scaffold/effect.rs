//! Flags, configuration and builds that were in effect.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tracerag_schemas::bundle::{Build, Evidence, Flag};

use super::Line;

/// The flags that a test sets.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// Members of `flags` in flagd's configuration.
    pub lines: Vec<Line>,
    /// Flags and configuration that it does not set.
    pub notes: Vec<String>,
}

/// Of several entries of a flag the one that was evaluated counts, then the one of a service.
pub(super) fn flags(evidence: &Evidence, services: &BTreeSet<&str>) -> Flags {
    let mut flags = Flags::default();
    let mut by_key: BTreeMap<&str, Vec<&Flag>> = BTreeMap::new();
    for flag in &evidence.flags {
        let holds = flag.service.as_deref().is_none_or(|service| services.contains(service));
        let is_set = flag.variant.is_some() || flag.value.is_some();
        match (flag.kind.as_deref(), flag.key.as_deref()) {
            (Some("flag"), Some(key)) if holds && is_set => by_key.entry(key).or_default().push(flag),
            (Some("config"), Some(key)) if holds && is_set => {
                let value = flag.value.as_deref().unwrap_or_default();
                flags.notes.push(format!("configuration in effect: [{}] {key} = {value}", flag.anchor));
            }
            _ => {}
        }
    }
    for (key, entries) in by_key {
        let rank =
            |flag: &&&Flag| (Reverse(flag.r#match.as_deref() == Some("evaluated")), Reverse(flag.service.is_some()));
        let Some(flag) = entries.iter().min_by_key(rank) else { continue };
        if !flag.candidates.is_empty() {
            let candidates = flag.candidates.join(", ");
            flags.notes.push(format!("not set, several may have held: [{}] {key}: {candidates}", flag.anchor));
            continue;
        }
        flags.lines.push(member(key, flag, &entries));
    }
    let last = flags.lines.len().saturating_sub(1);
    flags.lines.iter_mut().take(last).for_each(|line| line.text.push(','));
    flags
}

/// A flag in flagd's configuration, with one variant.
fn member(key: &str, flag: &Flag, entries: &[&Flag]) -> Line {
    let known =
        || entries.iter().filter(|entry| entry.variant == flag.variant).find_map(|entry| entry.value.as_deref());
    let variant = flag.variant.as_deref().unwrap_or("recorded");
    let (value, lack) = match flag.value.as_deref().or_else(known) {
        Some(value) => (value, ""),
        None => (variant, "; its value is not in the evidence, the name of the variant stands for it"),
    };
    let variants: Map<String, Value> = std::iter::once((variant.to_owned(), typed(value))).collect();
    let setting = json!({"state": "ENABLED", "variants": variants, "defaultVariant": variant});
    let of = flag.r#match.as_deref().unwrap_or("-");
    Line { text: format!("{}: {setting}", Value::from(key)), note: format!("[{}] {of}{lack}", flag.anchor) }
}

/// Values of flags are texts in the evidence; what reads as a boolean, a number or an object was one.
fn typed(value: &str) -> Value {
    match serde_json::from_str(value) {
        Ok(Value::Null) | Err(_) => Value::from(value),
        Ok(parsed) => parsed,
    }
}

/// Builds of services that the test has to do with.
pub(super) fn builds<'a>(evidence: &'a Evidence, services: &BTreeSet<&str>) -> impl Iterator<Item = &'a Build> {
    let is_there = move |build: &&Build| build.service.as_deref().is_some_and(|service| services.contains(service));
    evidence.builds.iter().filter(is_there)
}
