//! Whether the nearest message is one of the same log statement.
//!
//! A body of the train-ticket system begins with time, level, `Class#line`, and the ids of trace and span. Level and
//! `Class#line` name the statement: they are the truth, and `Class#line` and the ids are no part of the text. At most 60
//! different texts of a statement take part; a statement with one text is no query. Texts that are equally near count in
//! parts.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;
use tracerag_index::failures::mask::mask;
use tracerag_index::incidents::vectors::Kind;
use tracerag_index::templates::{merged, template};

use super::Setup;
use super::lakes;
use super::table::{Aim, note, row, share};
use super::tfidf::{TfIdf, masked};
use crate::Outcome;

/// Texts of a statement.
const TEXTS: usize = 60;
/// Cosines that differ by less are equal.
const EQUAL: f32 = 1e-6;
/// What the same template counts for: more than any cosine.
const SAME: f32 = 8.0;
/// What a template counts for that is the same once templates are merged.
const SAME_MERGED: f32 = 4.0;

/// A text, and the number of its statement.
struct Said {
    text: String,
    statement: usize,
}

pub(super) async fn measure(setup: &Setup) -> Outcome<()> {
    let said = read(&setup.train_ticket().join("logs.jsonl.zst"))?;
    let statements: HashSet<usize> = said.iter().map(|said| said.statement).collect();
    let texts = || said.iter().map(|said| said.text.as_str());
    let raw = TfIdf::new(texts());
    let raw = precision(&said, |number| raw.cosines(number));
    let of_masks: Vec<String> = texts().map(masked).collect();
    let floor = TfIdf::new(of_masks.iter().map(String::as_str));
    let floor = precision(&said, |number| floor.cosines(number));

    let templates: Vec<String> = texts().map(|text| template(text, None).unwrap_or_default()).collect();
    let whole = merged(&templates.iter().map(String::as_str).collect::<Vec<_>>());
    let (embedding, model) = lakes::model().await;
    let vectors = embedding.embed(Kind::Masked, texts().map(mask).collect()).await?;
    let cosines = |number: usize| -> Vec<f32> {
        let own = &vectors[number];
        vectors.iter().map(|other| own.iter().zip(other).map(|(a, b)| a * b).sum()).collect()
    };
    let with_templates = |number: usize| -> Vec<f32> {
        let mut near = cosines(number);
        for (other, near) in near.iter_mut().enumerate() {
            if templates[other] == templates[number] {
                *near += SAME;
            } else if whole[other] == whole[number] {
                *near += SAME_MERGED;
            }
        }
        near
    };
    let what = format!("same log statement, templates, then {model}: P@1");
    row(&what, precision(&said, with_templates), Some(floor), Aim::AtLeast(0.8));
    row(
        &format!("same log statement, {model} of masked texts alone: P@1"),
        precision(&said, cosines),
        Some(floor),
        Aim::None,
    );
    note(&format!(
        "{} texts of {} statements; the floor is TF-IDF of masked characters, without masks it is {raw:.3}",
        said.len(),
        statements.len()
    ));
    Ok(())
}

/// How often the nearest other text is of the same statement.
fn precision(said: &[Said], near: impl Fn(usize) -> Vec<f32>) -> f64 {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for said in said {
        *counts.entry(said.statement).or_default() += 1;
    }
    let (mut right, mut queries) = (0.0, 0_usize);
    for (number, own) in said.iter().enumerate() {
        if counts.get(&own.statement).is_none_or(|texts| *texts < 2) {
            continue;
        }
        let mut near = near(number);
        near[number] = f32::NEG_INFINITY;
        let best = near.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let nearest = near.iter().zip(said).filter(|(near, _)| **near >= best - EQUAL);
        let (mut of_own, mut all) = (0_usize, 0_usize);
        for (_, other) in nearest {
            of_own += usize::from(other.statement == own.statement);
            all += 1;
        }
        right += share(of_own, all);
        queries += 1;
    }
    right / queries as f64
}

/// The texts of a file of OTLP/JSON lines, in its order.
fn read(file: &Path) -> Outcome<Vec<Said>> {
    let lines = BufReader::new(zstd::Decoder::new(File::open(file)?)?).lines();
    let mut statements: BTreeMap<String, (usize, HashSet<String>)> = BTreeMap::new();
    let mut found = Vec::new();
    for line in lines {
        let line: Value = serde_json::from_str(&line?)?;
        for body in bodies(&line) {
            let Some((statement, text)) = divided(body) else { continue };
            let next = statements.len();
            let (number, texts) = statements.entry(statement).or_insert_with(|| (next, HashSet::new()));
            if texts.len() < TEXTS && texts.insert(text.clone()) {
                found.push(Said { text, statement: *number });
            }
        }
    }
    if found.is_empty() {
        return Err(format!("{} has no message of a known statement", file.display()).into());
    }
    Ok(found)
}

fn bodies(request: &Value) -> impl Iterator<Item = &str> {
    members(request, "resourceLogs")
        .flat_map(|resource| members(resource, "scopeLogs"))
        .flat_map(|scope| members(scope, "logRecords"))
        .filter_map(|record| record.pointer("/body/stringValue").and_then(Value::as_str))
}

fn members<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The statement of a body, and what it says without the statement's name and the ids.
fn divided(body: &str) -> Option<(String, String)> {
    let mut words = body.split_whitespace();
    let (_time, level, place) = (words.next()?, words.next()?, words.next()?);
    let (class, line) = place.split_once('#')?;
    if class.is_empty() || line.parse::<u32>().is_err() {
        return None;
    }
    let mut said = vec![level];
    while let Some(word) = words.next() {
        match word {
            "TraceID:" | "SpanID:" => {
                words.next();
            }
            word => said.push(word),
        }
    }
    Some((format!("{level} {place}"), said.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::{Said, divided, precision};

    /// The name of the statement and the ids are in the truth and not in the text, or the task would be none.
    #[test]
    fn the_answer_is_no_part_of_the_text() {
        let body =
            "19:50:53.327 INFO  t.c.Travel2Controller#115 TraceID: 66ea SpanID: c463 [query][Query TripResponse]";
        let (statement, text) = divided(body).unwrap_or_default();
        assert_eq!(statement, "INFO t.c.Travel2Controller#115");
        assert_eq!(text, "INFO [query][Query TripResponse]");
        assert_eq!(divided("no statement here"), None);
    }

    /// Two texts that are equally near, one of them right, count for a half, whichever comes first.
    #[test]
    fn ties_count_in_parts() {
        let said: Vec<Said> = [1, 1, 2].into_iter().map(|statement| Said { text: String::new(), statement }).collect();
        let figure = precision(&said, |_| vec![0.5; 3]);
        assert!((figure - 0.5).abs() < 1e-9, "{figure}");
    }
}
