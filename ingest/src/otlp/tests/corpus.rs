//! The corpus of the redaction on its whole way: bytes of OTLP and of the project's own topics in, rows out, and every
//! text of every column searched for what was planted.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tracerag_schemas::SourcePartition;

use super::planted::{gather, stored, telemetry};
use super::redaction::{any, list};
use super::*;
use crate::changes::{DeploymentDecoder, FlagDecoder, HeapDecoder, Origin};
use crate::redact::corpus::{DECOYS, Planted, forms, like_card, random, record};

const SEEDS: [u64; 3] = [3, 17, 2026];

/// The configurations of `ip_addresses`, each with messages of both encodings: whoever sets it has what is promised of
/// the rest.
const WAYS: [(bool, Encoding); 4] =
    [(true, Encoding::Proto), (true, Encoding::Json), (false, Encoding::Proto), (false, Encoding::Json)];

/// The decoy that is masked where addresses are to be.
const ADDRESS: &str = "host and port";

/// Characters of a secret that count as the secret.
const PART: usize = 10;

/// A redactor that finds everything that can be asked of it, and lets a note of a payload into its sample.
fn corpus_redactor(ip_addresses: bool) -> Arc<Redactor> {
    let config =
        RedactionConfig { key: "a key of the tests, long enough".into(), ip_addresses, ..RedactionConfig::default() };
    let payload = PayloadConfig { sample_fields: vec!["/note".into()], ..PayloadConfig::default() };
    Arc::new(Redactor::new(&config, &payload).unwrap())
}

/// Of each secret whether it, or a part of it that would do, can be read in a text, as it is or in base64.
fn left<'p>(planted: impl IntoIterator<Item = &'p Planted>, text: &str) -> Vec<bool> {
    let (mut parts, mut owners, mut count) = (Vec::new(), Vec::new(), 0);
    for (owner, planted) in planted.into_iter().enumerate() {
        let characters: Vec<char> = planted.secret.chars().collect();
        let chunks = characters.chunks(PART).filter(|part| part.len() == PART || characters.len() < PART);
        parts.extend(chunks.map(|part| part.iter().collect::<String>()));
        parts.push(STANDARD.encode(&planted.text));
        owners.resize(parts.len(), owner);
        count = owner + 1;
    }
    let mut is_left = vec![false; count];
    for found in AhoCorasick::new(&parts).unwrap().find_overlapping_iter(text) {
        is_left[owners[found.pattern().as_usize()]] = true;
    }
    is_left
}

/// All texts in one, with something between them that is in none.
fn joined(texts: &[String]) -> String {
    texts.join("\u{0}")
}

/// How often something went wrong, by what it was and where.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<(&'static str, &'static str), (usize, usize)>,
    examples: Vec<String>,
}

impl Tally {
    fn add(&mut self, what: &'static str, place: &'static str, wrong: Option<String>) {
        let (total, wrongs) = self.counts.entry((what, place)).or_default();
        *total += 1;
        if let Some(example) = wrong {
            *wrongs += 1;
            if self.examples.len() < 20 {
                self.examples.push(format!("{what} in {place}: {example}"));
            }
        }
    }

    /// The share that went wrong, of everything or of one kind.
    fn share(&self, what: Option<&str>) -> f64 {
        let counted = self.counts.iter().filter(|((of, _), _)| what.is_none_or(|what| what == *of));
        let (total, wrong) = counted.fold((0usize, 0usize), |sum, (_, (total, wrong))| (sum.0 + total, sum.1 + wrong));
        wrong as f64 / total.max(1) as f64
    }

    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<&str> = self.counts.keys().map(|(what, _)| *what).collect();
        kinds.dedup();
        kinds
    }

    /// What went wrong, by kind and place, and some of it.
    fn table(&self) -> String {
        let wrong = self.counts.iter().filter(|(_, (_, wrong))| *wrong > 0);
        let lines = wrong.map(|((what, place), (total, wrong))| format!("{what:30} {place:20} {wrong:5} of {total}\n"));
        format!("{}{}", lines.collect::<String>(), self.examples.join("\n"))
    }
}

/// Each form of each class is planted in each place, a new one each time, and all columns of all tables are searched: of
/// all that was planted at least 99.5 % is gone, and of each class at least 99 %, from protobuf and from JSON, with
/// addresses among what is looked for and without. Guarantees what the documentation promises of redaction, whatever
/// happens to a text between its bytes and its column.
#[test]
fn recall() {
    for (ip_addresses, encoding) in WAYS {
        let redactor = corpus_redactor(ip_addresses);
        let mut tally = Tally::default();
        for seed in SEEDS {
            let mut rng = StdRng::seed_from_u64(seed);
            for form in forms().filter(|form| ip_addresses || form.class != "ip") {
                let mut planted: Vec<(&'static str, Planted)> = Vec::new();
                let telemetry = telemetry(&mut |place| {
                    let new = (form.make)(&mut rng);
                    let text = new.text.clone();
                    planted.push((place, new));
                    text
                });
                let text = joined(&stored(&redactor, &telemetry, encoding));
                let is_left = left(planted.iter().map(|(_, planted)| planted), &text);
                for ((place, planted), is_left) in planted.into_iter().zip(is_left) {
                    tally.add(form.class, place, is_left.then(|| format!("{}: {}", form.name, planted.text)));
                }
            }
        }
        let way = format!("ip_addresses = {ip_addresses}, {encoding:?}");
        assert!(tally.share(None) <= 0.005, "{way}: {:.4} of all left\n{}", tally.share(None), tally.table());
        for class in tally.kinds() {
            let left = tally.share(Some(class));
            assert!(left <= 0.01, "{way}: {left:.4} of {class} left\n{}", tally.table());
        }
    }
}

/// Each look-alike is put in each place, a new one each time: of all at most 0.5 % is not there afterwards as it was,
/// from protobuf and from JSON. Where addresses are looked for, those of machines are masked, which is what was asked
/// for; everything else stays as it does without. Guarantees that ids, numbers, versions and prose stay evidence.
#[test]
fn false_alarms() {
    for (ip_addresses, encoding) in WAYS {
        let redactor = corpus_redactor(ip_addresses);
        let mut tally = Tally::default();
        for seed in SEEDS {
            let mut rng = StdRng::seed_from_u64(seed);
            for decoy in DECOYS.iter().filter(|decoy| !(ip_addresses && decoy.name == ADDRESS)) {
                let mut put: Vec<(&'static str, String)> = Vec::new();
                let telemetry = telemetry(&mut |place| {
                    let text = (decoy.make)(&mut rng);
                    put.push((place, text.clone()));
                    text
                });
                let stored = joined(&stored(&redactor, &telemetry, encoding));
                for (place, text) in put {
                    let is_there = stored.contains(&text) || stored.contains(&STANDARD.encode(&text));
                    tally.add(decoy.name, place, (!is_there).then_some(text));
                }
            }
        }
        let way = format!("ip_addresses = {ip_addresses}, {encoding:?}");
        assert!(tally.share(None) <= 0.005, "{way}: {:.4} of all masked\n{}", tally.share(None), tally.table());
    }
}

/// Records of each kind that are refused, with each form of each class where they are wrong: none of it is in the
/// reasons, which are logged and stored with the dead letters.
#[test]
fn reasons_of_refusals_show_nothing() {
    let redactor = corpus_redactor(true);
    let mut rng = StdRng::seed_from_u64(SEEDS[0]);
    for form in forms() {
        let planted = (form.make)(&mut rng);
        let reasons = reasons(&redactor, &planted.text);
        assert!(reasons.len() >= 6, "{reasons:?}");
        let is_left = left([&planted], &joined(&reasons));
        assert!(!is_left[0], "{} {}: {} in {reasons:?}", form.class, form.name, planted.text);
    }
}

/// Why records of all kinds with a text in the wrong place are refused.
fn reasons(redactor: &Arc<Redactor>, text: &str) -> Vec<String> {
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(Arc::clone(redactor)));
    let mut reasons = Vec::new();
    for signal in [Signal::Spans, Signal::Logs, Signal::Metrics] {
        for wrong in [
            text.to_owned(),
            json!(text).to_string(),
            json!([text]).to_string(),
            json!({ text: 1 }).to_string(),
            json!({"resourceSpans": text, "resourceLogs": [text], "resourceMetrics": {text: text}}).to_string(),
        ] {
            for encoding in [Encoding::Json, Encoding::Proto, Encoding::Auto] {
                let refused = decoder.decode(signal, encoding, message(wrong.as_bytes()));
                reasons.extend(refused.err().map(|error| error.to_string()));
            }
        }
    }
    let source = SourcePartition::new("c", "t", 0);
    let origin = Origin { tenant: "acme", source: &source, offset: 7, timestamp: Some(99), ingested_at: 100 };
    let mut flags = FlagDecoder::new(Arc::clone(redactor));
    for wrong in [
        json!({"config.key": [text], "config.value": "x"}),
        json!({"feature_flag.key": "x", "feature_flag.result.variant": "on", "time": text}),
        json!({ text: text }),
    ] {
        reasons.push(flags.decode(wrong.to_string().as_bytes(), &origin).unwrap_err().to_string());
    }
    let mut deployments = DeploymentDecoder::new(Arc::clone(redactor));
    let wrong = json!({"context": {"type": text}}).to_string();
    let refused = deployments.decode(wrong.as_bytes(), std::iter::empty(), &origin);
    reasons.push(refused.unwrap_err().to_string());
    let wrong = json!({"format": text, "top_types": [{"type": "x", "bytes": 1}]}).to_string();
    reasons.push(HeapDecoder::new(Arc::clone(redactor)).decode(wrong.as_bytes(), &origin).unwrap_err().to_string());
    reasons
}

/// A number that passes for a card's is kept under the name of a record's id, as a string and as an integer, on spans
/// and logs; under any other name, and under an id that speaks of cards, it is masked. Guarantees that traces can be
/// found by their ids, at the price that a card number under such a name is not found.
#[test]
fn numbers_under_ids_of_records() {
    let mut rng = StdRng::seed_from_u64(SEEDS[0]);
    for _ in 0..50 {
        let number = like_card(&mut rng);
        let int = || Value::IntValue(number.parse().unwrap());
        let values = |key: &str| vec![pair(key, string(&number)), pair(&format!("app.{key}"), int())];
        let kept = one_span(Vec::new(), span(values(record(&mut rng))));
        for (key, value) in entries(&kept, "attributes", 0) {
            assert_eq!(value.as_deref(), Some(number.as_str()), "{key}");
        }
        for key in ["note", "card_id", "payment.id", "id"] {
            let value = entry(&one_span(Vec::new(), span(values(key))), "attributes", key);
            assert_eq!(value.as_deref(), Some("<card>"), "{key}");
        }
    }
}

/// Identifiers, which only their names tell, are nowhere under any of these names: on spans, events, logs and resources,
/// in maps, and in bodies of JSON. The same one has the same token everywhere.
#[test]
fn identifiers_are_nowhere() {
    let redactor = corpus_redactor(false);
    let mut rng = StdRng::seed_from_u64(SEEDS[0]);
    for name in [
        "user.id",
        "enduser.id",
        "user.email",
        "session.id",
        "client.address",
        "http.client_ip",
        "app.user.id",
        "userId",
        "http.request.header.x-forwarded-for",
    ] {
        let value = random(&mut rng, "abcdefghijklmnopqrstuvwxyz0123456789", 16);
        let here = || pair(name, string(&value));
        let event = Event { name: "login".into(), attributes: vec![here()], ..Event::default() };
        let span = Span { events: vec![event], ..span(vec![here(), pair("app.map", list(vec![here()]))]) };
        let body = string(&json!({"level": "info", name: value}).to_string());
        let log_records = vec![
            LogRecord { time_unix_nano: 1, body: Some(any(body)), attributes: vec![here()], ..LogRecord::default() },
            LogRecord { time_unix_nano: 1, body: Some(any(list(vec![here()]))), ..LogRecord::default() },
        ];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let logs = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
        let mut decoder = OtlpDecoder::new(DecoderConfig::new(Arc::clone(&redactor)));
        let spans = request(vec![here()], vec![span]).encode_to_vec();
        decoder.decode(Signal::Spans, Encoding::Proto, message(&spans)).unwrap();
        decoder.decode(Signal::Logs, Encoding::Proto, message(&logs.encode_to_vec())).unwrap();
        let batches = decoder.finish().unwrap();
        let mut texts = Vec::new();
        for batch in [lake(Table::Spans, &batches.spans.unwrap()), lake(Table::Logs, &batches.logs.unwrap())] {
            batch.columns().iter().for_each(|column| gather(column, &mut texts));
        }
        assert!(!texts.iter().any(|text| text.contains(&value)), "{name}: {texts:?}");
        let token = texts.iter().find(|text| text.starts_with("hmac:")).unwrap();
        let places = texts.iter().filter(|text| text.contains(token)).count();
        assert!(places >= 7, "{name} has its token in {places} places of: {texts:?}");
    }
}
