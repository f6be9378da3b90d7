//! Checks one claim.

use std::collections::HashSet;

use tracerag_schemas::anchor::Anchor;
use tracerag_schemas::claims::{Claim, Quote};

use super::belongs::{misplaced, with_names};
use super::document::Statement;
use super::evaluate::evaluate;
use super::facts::{Entries, Entry, Facts};
use super::names::{Vocabulary, names_nothing};
use super::order::is_in_scope;
use super::parse;
use super::predicate::{Comparison, Function, Predicate};
use super::reason::Reason;
use super::report::{ClaimReport, Count};
use super::sense::{self, Held};
use super::support::Support;
use super::visible::{has_words, is_redacted, normal, pieces};
use super::words::{has_invisible, parts};

/// What a statement comes to; `None` for one that states nothing of the incident and gives nothing.
pub(super) fn check<'a>(
    facts: &'a Facts<'a>,
    vocabulary: &Vocabulary,
    statement: &'a Statement,
) -> Option<(ClaimReport, Count)> {
    let claim = &statement.claim;
    let gives_nothing = claim.anchors.is_empty() && claim.quotes.is_empty() && claim.predicates.is_empty();
    if statement.may_be_left_out && gives_nothing && !vocabulary.is_named_in(&parts(&claim.text)) {
        return None;
    }
    let (reasons, count) = (vec![], Count::default());
    let mut checked = Checked { facts, reasons, count, entries: vec![], quoted: vec![], held: vec![] };
    checked.reasons.extend(statement.mistakes.iter().cloned().map(Reason::Claims));
    if has_invisible(&claim.text) {
        checked.reasons.push(Reason::Claims(String::from("the text has characters that nobody sees; take them out")));
    }
    if gives_nothing {
        checked.reasons.push(Reason::Coverage(String::from(
            "there is no anchor, quote or predicate; say where in the bundle this stands, or leave it out",
        )));
        return Some(checked.report(claim));
    }
    let anchored = checked.anchors(claim);
    checked.quotes(claim, &anchored);
    checked.predicates(claim);
    checked.strays(&anchored);
    checked.whole(claim, vocabulary);
    Some(checked.report(claim))
}

/// A claim on its way through the checks.
struct Checked<'a> {
    facts: &'a Facts<'a>,
    reasons: Vec<Reason>,
    count: Count,
    /// All that is pointed to.
    entries: Entries<'a>,
    /// The quotes that stand where they should, and where.
    quoted: Vec<(&'a Quote, Entries<'a>)>,
    /// The predicates that hold, and what they are about.
    held: Vec<Held<'a>>,
}

impl<'a> Checked<'a> {
    fn report(self, claim: &Claim) -> (ClaimReport, Count) {
        let mut reasons = self.reasons;
        let mut seen = HashSet::new();
        reasons.retain(|reason| seen.insert(reason.to_string()));
        let (id, text) = (claim.id.clone(), claim.text.trim().to_owned());
        (ClaimReport { id, accepted: reasons.is_empty(), reasons, text }, self.count)
    }

    /// What an anchor stands for, if that exists and is in scope.
    fn resolve(&self, text: &str) -> Result<Entries<'a>, Reason> {
        let anchor = text.parse::<Anchor>().map_err(|error| Reason::Existence(error.to_string()))?;
        let entries = self.facts.resolve(&anchor).map_err(Reason::Existence)?;
        match entries.iter().all(|entry| is_in_scope(self.facts, entry)) {
            true => Ok(entries),
            false => {
                Err(Reason::Scope(format!("{text} lies more than 5 minutes outside the trace and has no ids of it")))
            }
        }
    }

    /// The anchors that exist, with what they stand for.
    fn anchors(&mut self, claim: &Claim) -> Vec<(String, Entries<'a>)> {
        let mut anchored = Vec::new();
        for text in &claim.anchors {
            if self.facts.deadline.is_over() {
                return anchored;
            }
            self.count.given += 1;
            match self.resolve(text) {
                Ok(entries) => {
                    self.count.holding += 1;
                    self.count.has_anchor = true;
                    self.entries.extend(&entries);
                    anchored.push((text.clone(), entries));
                }
                Err(reason) => self.reasons.push(reason),
            }
        }
        if claim.anchors.is_empty() {
            self.reasons
                .push(Reason::Coverage(String::from("there is no anchor; say where in the bundle this stands")));
        }
        anchored
    }

    fn quotes(&mut self, claim: &'a Claim, anchored: &[(String, Entries<'a>)]) {
        for quote in &claim.quotes {
            if self.facts.deadline.is_over() {
                return;
            }
            self.count.given += 1;
            match self.quote(quote, anchored) {
                Ok(entries) => {
                    self.count.holding += 1;
                    self.count.has_support = true;
                    self.entries.extend(&entries);
                    self.quoted.push((quote, entries));
                }
                Err(reason) => self.reasons.push(reason),
            }
        }
    }

    /// What a quote stands in.
    fn quote(&self, quote: &Quote, anchored: &[(String, Entries<'a>)]) -> Result<Entries<'a>, Reason> {
        let wanted = normal(&quote.text);
        if wanted.is_empty() {
            return Err(Reason::Quote(String::from("a quote is empty")));
        }
        if is_redacted(&wanted) {
            return Err(Reason::Redacted(format!(
                "{wanted:?} quotes what redaction has masked; quote what stands beside it"
            )));
        }
        let places = match &quote.anchor {
            Some(anchor) => vec![(anchor.clone(), self.resolve(anchor)?)],
            None => anchored.to_vec(),
        };
        for (_, entries) in &places {
            // A short form stands for several entries, and what is said holds for each of them.
            let in_time = |_: &&Entry<'_>| !self.facts.deadline.is_over();
            if !entries.is_empty() && entries.iter().take_while(in_time).all(|entry| is_quoted(entry, &wanted)) {
                return Ok(entries.clone());
            }
        }
        let names: Vec<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
        Err(Reason::Quote(match names.is_empty() {
            true => format!("no anchor says where {wanted:?} stands"),
            false => format!("{} does not contain {wanted:?}", names.join(", ")),
        }))
    }

    fn predicates(&mut self, claim: &Claim) {
        for text in &claim.predicates {
            if self.facts.deadline.is_over() {
                return;
            }
            self.count.given += 1;
            match self.predicate(text) {
                Ok((predicate, entries)) => {
                    self.count.holding += 1;
                    self.count.has_support = true;
                    self.entries.extend(&entries);
                    self.held.push((predicate, entries));
                }
                Err(reason) => self.reasons.push(reason),
            }
        }
    }

    /// Anchors of a kind that quotes or predicates are about, of which none is about this one: they point to a neighbour
    /// of what is checked.
    fn strays(&mut self, anchored: &[(String, Entries<'a>)]) {
        let quoted = self.quoted.iter().flat_map(|(_, entries)| entries);
        let used: Vec<Entry<'a>> = quoted.chain(self.held.iter().flat_map(|(_, entries)| entries)).copied().collect();
        // A quote that names no anchor may stand in any of the claim.
        let anywhere: HashSet<&str> = self
            .quoted
            .iter()
            .filter(|(quote, _)| quote.anchor.is_none())
            .flat_map(|(_, entries)| entries.iter().map(Entry::kind))
            .collect();
        for (text, entries) in anchored {
            let is_used = entries.iter().any(|entry| used.iter().any(|other| other.anchor() == entry.anchor()));
            let kind = entries.first().map(Entry::kind).unwrap_or_default();
            let is_neighbour = !anywhere.contains(kind) && used.iter().any(|other| other.kind() == kind);
            if is_neighbour && !is_used {
                self.reasons.push(Reason::Unsupported(format!(
                    "no quote and no predicate is about {text}; add one, or leave the anchor out"
                )));
            }
        }
    }

    /// What is pointed to, each entry once, with what the quotes and predicates say.
    fn support(&self) -> Support {
        let mut support = Support { deadline: self.facts.deadline.clone(), ..Support::default() };
        let mut seen = HashSet::new();
        for entry in &self.entries {
            if support.deadline.is_over() {
                return support;
            }
            // A field of a payload is more than the payload says of it.
            let is_field = matches!(entry, Entry::Field(..));
            if !is_field && !seen.insert(entry.anchor()) {
                continue;
            }
            let asks = |(predicate, entries): &&Held<'a>| {
                let is_equal = matches!(predicate.comparison, Some((Comparison::Equal, _)));
                is_equal && entries.iter().any(|other| other.anchor() == entry.anchor())
            };
            let asked = self.held.iter().filter(asks).flat_map(|(predicate, _)| members(predicate.operator.function));
            support.entry(self.facts, entry, &asked.copied().collect::<Vec<&str>>());
        }
        for (quote, entries) in &self.quoted {
            support.quote(self.facts, &quote.text, entries);
        }
        for (predicate, entries) in &self.held {
            support.predicate(self.facts, predicate, entries);
        }
        // Whoever names the trace or the bundle speaks of what all claims are about.
        support.text(&self.facts.bundle.evidence.trace.trace_id);
        support.text(&self.facts.bundle.bundle_id);
        support
    }

    /// A predicate that holds, and what it is about.
    fn predicate(&self, text: &str) -> Result<(Predicate, Entries<'a>), Reason> {
        let predicate =
            parse::predicate(text).map_err(|error| Reason::Predicate(format!("{text:?} cannot be read: {error}")))?;
        evaluate(self.facts, &predicate)?;
        let mut entries = Entries::new();
        for anchor in predicate.anchors() {
            entries.extend(self.resolve(&anchor.to_string())?);
        }
        let name = predicate.texts().next().unwrap_or_default();
        match predicate.operator.function {
            Function::Flag => entries.extend(self.facts.flags_of("flag", name).map(Entry::Flag)),
            Function::Config => entries.extend(self.facts.flags_of("config", name).map(Entry::Flag)),
            Function::Version | Function::GitSha | Function::DeployedBefore => {
                entries.extend(self.facts.builds_of(name).map(Entry::Build));
            }
            // Whoever counts an incident's failures speaks of these failures and of no others.
            Function::Failures | Function::LakeFailures | Function::SameError | Function::Differs => {
                let failures = self.facts.bundle.evidence.failures.iter();
                let of_it = failures.filter(|failure| failure.fingerprint.as_deref() == Some(name));
                entries.extend(of_it.map(Entry::Failure));
            }
            _ => {}
        }
        Ok((predicate, entries))
    }

    /// What holds or does not of the claim as a whole.
    fn whole(&mut self, claim: &Claim, vocabulary: &Vocabulary) {
        if claim.quotes.is_empty() && claim.predicates.is_empty() {
            self.reasons.push(Reason::Unsupported(String::from(
                "an anchor alone is a pointer; add a quote or a predicate that can be checked",
            )));
        }
        if self.entries.is_empty() {
            // Nothing that is pointed to is there, which was said: words have nothing to be compared with.
            return;
        }
        let support = self.support();
        let parts = parts(&claim.text);
        let quoted: Vec<String> = claim.quotes.iter().map(|quote| quote.text.clone()).collect();
        self.reasons.extend(vocabulary.missing(&parts, &support, &quoted));
        self.reasons.extend(names_nothing(&parts, &support));
        let parts = with_names(&parts, &support);
        self.reasons.extend(misplaced(vocabulary, &parts, &support));
        let plain = normal(&parts.plain);
        self.reasons.extend(sense::reasons(self.facts, vocabulary, &plain, &self.held, &self.entries));
    }
}

/// Members of an entry that a function asks for: where a predicate says what one is, no other of the same kind does.
fn members(function: Function) -> &'static [&'static str] {
    match function {
        Function::Duration => &["duration_ns"],
        Function::HeapBytes | Function::HeapShare => &["bytes"],
        Function::MetricMax => &["points", "value", "sum", "min", "max"],
        _ => &[],
    }
}

/// Whether a text stands in an entry, between the masks of redaction.
fn is_quoted(entry: &Entry<'_>, wanted: &str) -> bool {
    let stands = |text: &String| pieces(text).into_iter().any(|piece| has_words(&normal(piece), wanted));
    entry.texts().iter().any(stands)
}
