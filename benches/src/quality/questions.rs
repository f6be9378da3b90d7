//! Whether a question in plain words finds its incident, among those of the recording, the train-ticket system and several
//! hundred of other systems.
//!
//! `benches/quality/questions.tsv` has a question a line, with the service of its incident and a part of the message; all
//! incidents that have both are right. The questions were written without the messages' words. `incidents.tsv` has an
//! incident a line: service, exception type, message.
//!
//! `further-questions.tsv` and `further-incidents.tsv` are a second set, with much that says little but a code. They were
//! written before the explanations of codes (`index/src/incidents/gloss`), which were written without looking at what the
//! search missed of either set. The bank of plain sentences (`query/src/search/plain.txt`), by which texts that are near to
//! any question stand back, was written without seeing either set. The floor is the question's own vector alone.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};
use tracerag_index::failures::mask::mask;
use tracerag_index::incidents::Embedding;
use tracerag_index::incidents::vectors::Kind;
use tracerag_query::{Session, SimilarRequest};

use super::lakes::{self, Lakes, rows, text};
use super::table::{Aim, note, row, share};
use crate::Outcome;

const INCIDENTS: &str = include_str!("../../quality/incidents.tsv");
const FURTHER_INCIDENTS: &str = include_str!("../../quality/further-incidents.tsv");

/// Questions, and the incidents that were written for them.
pub(super) struct Set {
    /// Name of the lake.
    pub lake: &'static str,
    what: &'static str,
    incidents: &'static [&'static str],
    questions: &'static str,
    aim: Aim,
}

/// The first set.
pub(super) const WRITTEN: Set = Set {
    lake: "incidents",
    what: "question",
    incidents: &[INCIDENTS],
    questions: include_str!("../../quality/questions.tsv"),
    aim: Aim::AtLeast(0.85),
};

/// The second set, whose incidents stand among those of the first.
pub(super) const FURTHER: Set = Set {
    lake: "further-incidents",
    what: "further question",
    incidents: &[INCIDENTS, FURTHER_INCIDENTS],
    questions: include_str!("../../quality/further-questions.tsv"),
    aim: Aim::None,
};

impl Set {
    fn lines(&self) -> impl Iterator<Item = &'static str> {
        self.incidents.iter().flat_map(|incidents| incidents.lines())
    }
}

/// Incidents of an answer that are looked at.
pub(super) const FIRST: usize = 10;
/// Time of the first record: 2026-11-23 at noon, in ns; one a second follows.
const NOON: u64 = 1_795_435_200_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A question and what tells its incident.
struct Question<'a> {
    asked: &'a str,
    service: &'a str,
    said: &'a str,
}

/// An incident of the lake.
#[derive(Default)]
struct Incident {
    service: String,
    /// What is embedded.
    text: String,
    messages: Vec<String>,
}

/// Where the right incidents stood: how many questions found theirs at all, and at the first place.
#[derive(Default)]
pub(super) struct Hits {
    pub first_ten: usize,
    pub first: usize,
}

impl Hits {
    pub(super) fn count(&mut self, place: Option<usize>) {
        self.first_ten += usize::from(place.is_some_and(|place| place < FIRST));
        self.first += usize::from(place == Some(0));
    }
}

pub(super) async fn measure(lakes: &Lakes<'_>, set: &Set) -> Outcome<()> {
    let (embedding, model) = lakes::model().await;
    let lake = lakes.with_incidents(set.lake, &telemetry(set), model)?;
    let session = lakes::session(&lake, Some(embedding.clone())).await?;
    let words_alone = lakes::session(&lake, None).await?;
    let incidents = incidents(&session).await?;
    let questions = questions(set)?;
    let dense = Dense::new(&embedding, &incidents).await?;
    let (mut hybrid, mut by_words, mut by_vectors) = (Hits::default(), Hits::default(), Hits::default());
    let mut missed = Vec::new();
    for question in &questions {
        let right = right(question, &incidents)?;
        let place = place(&session, question.asked, &right).await?;
        if place.is_none() {
            missed.push(question.asked);
        }
        hybrid.count(place);
        by_words.count(self::place(&words_alone, question.asked, &right).await?);
        by_vectors.count(dense.place(&embedding, question.asked, &right, &incidents).await?);
    }
    let all = questions.len();
    let floor = Some(share(by_vectors.first_ten, all));
    let (what, at_once) = (set.what, Some(share(by_vectors.first, all)));
    row(&format!("{what} finds its incident in the first 10"), share(hybrid.first_ten, all), floor, set.aim);
    row(&format!("{what} finds its incident at once"), share(hybrid.first, all), at_once, Aim::None);
    row("the same with words alone, in the first 10", share(by_words.first_ten, all), floor, Aim::None);
    note(&format!("{all} questions, {} incidents, model {model}; the floor is its vectors alone", incidents.len()));
    for asked in missed {
        note(&format!("not found: {asked}"));
    }
    Ok(())
}

/// The place of the first right incident in an answer.
async fn place(session: &Session, asked: &str, right: &HashSet<&str>) -> Outcome<Option<usize>> {
    let request = SimilarRequest { text: Some(asked.to_owned()), k: FIRST, ..SimilarRequest::default() };
    let answer = session.similar(&request).await?;
    Ok(answer.iter().position(|incident| right.contains(incident.fingerprint.as_str())))
}

/// Vectors alone, compared one by one. Incidents with one text are one place, as they are in an answer.
struct Dense {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

impl Dense {
    async fn new(embedding: &Embedding, incidents: &BTreeMap<String, Incident>) -> Outcome<Self> {
        let mut texts: Vec<String> = incidents.values().map(|incident| incident.text.clone()).collect();
        texts.sort();
        texts.dedup();
        let vectors = embedding.embed(Kind::Masked, texts.clone()).await?;
        Ok(Self { texts, vectors })
    }

    async fn place(
        &self,
        embedding: &Embedding,
        asked: &str,
        right: &HashSet<&str>,
        incidents: &BTreeMap<String, Incident>,
    ) -> Outcome<Option<usize>> {
        let asked = embedding.embed(Kind::Masked, vec![mask(asked)]).await?.pop().ok_or("the model gave no vector")?;
        let texts = incidents.iter().filter(|(fingerprint, _)| right.contains(fingerprint.as_str()));
        let texts: HashSet<&str> = texts.map(|(_, incident)| incident.text.as_str()).collect();
        let cosine = |vector: &Vec<f32>| -> f32 { vector.iter().zip(&asked).map(|(a, b)| a * b).sum() };
        let mut near: Vec<(f32, &str)> =
            self.vectors.iter().map(cosine).zip(self.texts.iter().map(String::as_str)).collect();
        near.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.cmp(other)));
        Ok(near.iter().position(|(_, text)| texts.contains(text)))
    }
}

/// The incidents of a lake by fingerprint.
async fn incidents(session: &Session) -> Outcome<BTreeMap<String, Incident>> {
    let query = "select fingerprint, service_name, coalesce(text, title, message) as text, message from incident_counts \
                 order by fingerprint, first_seen";
    let mut incidents: BTreeMap<String, Incident> = BTreeMap::new();
    for found in rows(session, query).await? {
        let incident = incidents.entry(text(&found, "fingerprint").to_owned()).or_default();
        if incident.text.is_empty() {
            incident.service = text(&found, "service_name").to_owned();
            incident.text = text(&found, "text").to_owned();
        }
        incident.messages.push(text(&found, "message").to_owned());
    }
    Ok(incidents)
}

/// The fingerprints of the incidents that answer a question.
fn right<'i>(question: &Question<'_>, incidents: &'i BTreeMap<String, Incident>) -> Outcome<HashSet<&'i str>> {
    let is_right = |incident: &Incident| {
        let says = |text: &str| text.contains(question.said);
        incident.service == question.service
            && (says(&incident.text) || incident.messages.iter().any(|message| says(message)))
    };
    let right: HashSet<&str> = incidents
        .iter()
        .filter(|(_, incident)| is_right(incident))
        .map(|(fingerprint, _)| fingerprint.as_str())
        .collect();
    if right.is_empty() {
        let Question { asked, service, said } = question;
        return Err(format!("{asked:?} has no incident of {service} with {said:?}").into());
    }
    Ok(right)
}

fn questions(set: &Set) -> Outcome<Vec<Question<'static>>> {
    let line = |line: &'static str| -> Outcome<Question<'static>> {
        let mut parts = line.split('\t');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(asked), Some(service), Some(said), None) = parts else {
            return Err(format!("not a question, a service and a part of a message: {line:?}").into());
        };
        Ok(Question { asked, service, said })
    };
    set.questions.lines().map(line).collect()
}

/// The written incidents as log records with an exception, as OTLP/JSON lines.
pub(super) fn telemetry(set: &Set) -> String {
    let mut lines = String::new();
    for (number, line) in (0..).zip(set.lines()) {
        let mut parts = line.splitn(3, '\t');
        let (service, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let message = parts.next().unwrap_or_default();
        let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let attributes: Vec<Value> = match kind {
            "" => vec![],
            kind => vec![attribute("exception.type", kind), attribute("exception.message", message)],
        };
        let request = json!({"resourceLogs": [{
            "resource": {"attributes": [attribute("service.name", service)]},
            "scopeLogs": [{"scope": {"name": "written"}, "logRecords": [{
                "timeUnixNano": (NOON + number * SECOND).to_string(),
                "observedTimeUnixNano": (NOON + number * SECOND).to_string(),
                "severityNumber": 17,
                "severityText": "ERROR",
                "body": {"stringValue": message},
                "attributes": attributes,
            }]}],
        }]});
        lines.push_str(&request.to_string());
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{FURTHER, WRITTEN, questions};

    /// A question has no word of five letters and more of its incident's message, as far as that is written here, and there
    /// are as many questions and incidents as the figure needs to mean something.
    #[test]
    fn questions_do_not_quote_their_answers() {
        for (set, question) in [&WRITTEN, &FURTHER].into_iter().flat_map(|set| {
            let questions = questions(set).unwrap_or_default();
            assert!(questions.len() >= 60, "{} questions", questions.len());
            assert!(set.lines().collect::<HashSet<_>>().len() >= 300);
            questions.into_iter().map(move |question| (set, question))
        }) {
            let message = set
                .lines()
                .filter_map(|line| line.strip_prefix(question.service)?.splitn(3, '\t').nth(2))
                .find(|message| message.contains(question.said))
                .unwrap_or(question.said);
            let words = |text: &str| -> HashSet<String> {
                let words = text.split(|letter: char| !letter.is_alphanumeric());
                words.filter(|word| word.len() > 4).map(str::to_lowercase).collect()
            };
            let shared: Vec<String> = words(question.asked).intersection(&words(message)).cloned().collect();
            assert!(shared.is_empty(), "{:?} quotes {shared:?}", question.asked);
        }
    }
}
