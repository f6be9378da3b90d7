//! What comes of a verification.

use serde::{Deserialize, Serialize};

use super::document::Document;
use super::reason::Reason;

/// The answer to a document of claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The bundle; none where it could not be read.
    pub bundle_id: Option<String>,
    /// Whether there are claims, and all are accepted.
    pub all_hold: bool,
    /// Anchors, quotes and predicates that hold, of all that are given: 0 to 1, and 0 where there are none.
    pub grounding_precision: f64,
    /// Claims with an anchor that exists, of all claims: 0 to 1.
    pub citation_recall: f64,
    /// Claims with an anchor that exists and a quote or a predicate that holds, of all claims: 0 to 1.
    pub coverage: f64,
    /// Why the document as a whole is rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// The claims, in their order.
    pub claims: Vec<ClaimReport>,
}

/// The answer to one claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimReport {
    /// Its id; in Markdown `L` and the line.
    pub id: String,
    /// Whether everything holds.
    pub accepted: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// What is said.
    #[serde(skip)]
    pub text: String,
}

/// What one claim gives, and how much of it holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    /// Anchors, quotes and predicates.
    pub given: usize,
    /// Those that hold.
    pub holding: usize,
    pub has_anchor: bool,
    pub has_support: bool,
}

impl Report {
    /// A document that is rejected as a whole, without a look at its claims.
    pub fn refused(bundle_id: Option<String>, reason: Reason) -> Self {
        Self::new(bundle_id, vec![reason], vec![])
    }

    pub(super) fn new(bundle_id: Option<String>, reasons: Vec<Reason>, claims: Vec<(ClaimReport, Count)>) -> Self {
        let sum = |part: fn(&Count) -> usize| claims.iter().map(|(_, count)| part(count)).sum::<usize>();
        let (given, holding) = (sum(|count| count.given), sum(|count| count.holding));
        let anchored = sum(|count| usize::from(count.has_anchor));
        let covered = sum(|count| usize::from(count.has_anchor && count.has_support));
        let accepted = claims.iter().all(|(claim, _)| claim.accepted);
        Self {
            bundle_id,
            all_hold: reasons.is_empty() && accepted && !claims.is_empty(),
            grounding_precision: share(holding, given),
            citation_recall: share(anchored, claims.len()),
            coverage: share(covered, claims.len()),
            reasons,
            claims: claims.into_iter().map(|(claim, _)| claim).collect(),
        }
    }

    /// Fills in what is said: the texts are not in the JSON form of a report, and whoever asked has them.
    pub fn tell_texts(&mut self, document: &Document) {
        for claim in &mut self.claims {
            let said = document.statements.iter().map(|statement| &statement.claim).find(|said| said.id == claim.id);
            claim.text = said.map(|said| said.text.trim().to_owned()).unwrap_or_default();
        }
    }

    /// How many claims are rejected.
    pub fn rejected(&self) -> usize {
        self.claims.iter().filter(|claim| !claim.accepted).count()
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
