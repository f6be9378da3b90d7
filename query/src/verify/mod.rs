//! The verifier: whether claims about a bundle hold, told without a model.
//!
//! A pure function of the bundle, the claims, and what the lake was asked beyond the bundle ([`verify_with`]); who looks
//! the bundle up stands outside. It fails closed: what it does
//! not know, cannot read or cannot tell is rejected, with the reason. The seven checks, by the names of their
//! [reasons](Reason):
//!
//! 1. *existence*: every anchor stands in the bundle (`facts`);
//! 2. *scope*: of the tenant, and of the trace by ids or near it in time (`order`);
//! 3. *quote*: verbatim but for white space, whole words, nothing that redaction has masked (`visible`);
//! 4. *predicate*: evaluated on the evidence (`parse`, `evaluate`);
//! 5. *causality*: paths and orders lie in parents, links and times, and a text that claims one (`relation`) has such a
//!    predicate (`sense`);
//! 6. *coverage*: each claim has an anchor, and a quote or predicate that holds (else *unsupported*); what the text
//!    *names* occurs in these (`names`), in what is of the same thing (`belongs`), and it says the same as its predicates
//!    (`direction`, `denial`, `outcome`; else *contradiction*) and nothing that none can bear out (`compared`);
//! 7. *integrity*: the id is that of the evidence, and the lake or a signature vouches for it (`subject`; else
//!    *unattested*).

mod belongs;
mod beyond;
mod blocks;
mod claim;
mod compared;
mod deadline;
mod decimal;
mod denial;
mod direction;
mod document;
mod evaluate;
mod facts;
mod markdown;
mod names;
mod numerals;
mod order;
mod outcome;
mod parse;
mod pieces;
mod predicate;
mod quotes;
mod reason;
mod relation;
mod report;
mod sense;
mod signature;
mod subject;
mod subjects;
mod support;
mod unique;
mod visible;
mod words;

#[cfg(test)]
mod tests;

use deadline::Deadline;
use facts::Facts;
use names::Vocabulary;
use report::Count;

pub use beyond::verify_with;
pub use document::Document;
pub use reason::Reason;
pub use report::{ClaimReport, Report};
pub use signature::{SigningKey, is_public_key};
pub use subject::Subject;

/// Checks every claim of a document for a tenant, however long it takes.
pub fn verify(subject: &Subject, tenant: &str, document: &Document) -> Report {
    verify_until(subject, tenant, document, &Deadline::default())
}

/// The same until a deadline. What is given when it is over means nothing.
fn verify_until(subject: &Subject, tenant: &str, document: &Document, deadline: &Deadline) -> Report {
    let bundle_id = subject.bundle_id.clone();
    let refusal = match &subject.bundle {
        Err(reason) => Some(reason.clone()),
        Ok(bundle) if bundle.evidence.tenant != tenant => {
            Some(Reason::Scope(format!("the bundle is not one of tenant {tenant}; name its own with --tenant")))
        }
        Ok(bundle) => document
            .bundle_id
            .as_ref()
            .filter(|id| **id != bundle.bundle_id)
            .map(|id| Reason::Integrity(format!("the claims are about {id}, and this is {}", bundle.bundle_id))),
    };
    let claims = match (&subject.bundle, &refusal) {
        (Ok(bundle), None) => {
            let mut facts = Facts::new(bundle, subject.with_context).with(subject.beyond.as_ref()).until(deadline);
            if subject.withholds_heaps {
                facts = facts.without_heaps();
            }
            let vocabulary = Vocabulary::of(bundle);
            let statements = document.statements.iter().take_while(|_| !deadline.is_over());
            statements.filter_map(|statement| claim::check(&facts, &vocabulary, statement)).collect()
        }
        (_, refusal) => refused(document, refusal.iter().cloned().collect()),
    };
    let mut reasons: Vec<Reason> = refusal.into_iter().collect();
    if claims.is_empty() {
        reasons.push(Reason::Claims(String::from("there are no claims")));
    }
    Report::new(bundle_id, reasons, claims)
}

/// Every claim of a document, rejected for what is wrong with the bundle.
fn refused(document: &Document, reasons: Vec<Reason>) -> Vec<(ClaimReport, Count)> {
    let statements = document.statements.iter().filter(|statement| !statement.may_be_left_out);
    statements
        .map(|statement| {
            let claim = &statement.claim;
            let given = claim.anchors.len() + claim.quotes.len() + claim.predicates.len();
            let (id, text) = (claim.id.clone(), claim.text.trim().to_owned());
            let report = ClaimReport { id, accepted: false, reasons: reasons.clone(), text };
            (report, Count { given, ..Count::default() })
        })
        .collect()
}
