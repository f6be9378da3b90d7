//! Failures that are drawn with a seed. Each has names, a type and a message as programs have them; which of them are one
//! failure is known, because they were made so.

use rand::Rng;
use rand::rngs::SmallRng;

use super::stacks::Language;

const VERBS: [&str; 24] = [
    "apply", "archive", "assign", "book", "build", "cancel", "charge", "collect", "compute", "confirm", "deliver",
    "export", "fetch", "import", "load", "merge", "notify", "parse", "publish", "refund", "render", "reserve",
    "resolve", "settle",
];
const NOUNS: [&str; 40] = [
    "account",
    "address",
    "audit",
    "balance",
    "basket",
    "batch",
    "calendar",
    "campaign",
    "carrier",
    "catalog",
    "coupon",
    "currency",
    "customer",
    "device",
    "discount",
    "document",
    "feed",
    "fleet",
    "hotel",
    "invoice",
    "ledger",
    "locale",
    "manifest",
    "member",
    "offer",
    "parcel",
    "passenger",
    "policy",
    "price",
    "product",
    "profile",
    "quota",
    "rating",
    "receipt",
    "region",
    "report",
    "route",
    "session",
    "tariff",
    "voucher",
];
const STATES: [&str; 20] = [
    "is already closed",
    "is not known here",
    "has no owner",
    "has expired",
    "was changed by somebody else",
    "exceeds its limit",
    "cannot be read",
    "does not match its checksum",
    "is locked by another job",
    "has no currency",
    "was rejected by the bank",
    "is missing a translation",
    "points to itself",
    "is of a newer format",
    "has too many entries",
    "was deleted meanwhile",
    "cannot be decoded",
    "needs an approval",
    "is out of range",
    "refers to an unknown country",
];
const SERVICES: [&str; 12] = [
    "billing", "booking", "catalog", "checkout", "delivery", "identity", "ledger", "mailer", "pricing", "ranking",
    "search", "support",
];

/// One call of a stack: a module, a function in it, and a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    /// Two words, joined as the language does it.
    pub module: [&'static str; 2],
    /// The same.
    pub function: [&'static str; 2],
    pub line: u32,
}

/// A failure as a program has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Failure {
    pub language: Language,
    pub service: &'static str,
    /// Two words of the exception's type; `None`: the type that the language has for everything.
    pub kind: Option<[&'static str; 2]>,
    pub noun: &'static str,
    pub state: &'static str,
    /// The innermost call first.
    pub calls: Vec<Call>,
    /// Whether the exception has a stack.
    pub has_stack: bool,
}

/// In what a failure differs from the one that it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Differs {
    /// It was drawn anew.
    Wholly,
    /// The innermost function, in the same module.
    Function,
    /// The module of the innermost call.
    Module,
    /// The exception's type.
    Type,
    /// The message, where the type is one that is raised for everything, or there is no stack.
    Message,
    /// The service.
    Service,
}

impl Differs {
    pub(super) const ALL: [Self; 6] =
        [Self::Wholly, Self::Function, Self::Module, Self::Type, Self::Message, Self::Service];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wholly => "in everything",
            Self::Function => "in the function",
            Self::Module => "in the module",
            Self::Type => "in the type",
            Self::Message => "in the message",
            Self::Service => "in the service",
        }
    }
}

/// A new failure.
pub(super) fn draw(rng: &mut SmallRng) -> Failure {
    let depth = rng.random_range(2..7);
    Failure {
        language: pick(rng, &Language::ALL),
        service: pick(rng, &SERVICES),
        kind: rng.random_bool(0.6).then(|| two(rng, &NOUNS, &NOUNS)),
        noun: pick(rng, &NOUNS),
        state: pick(rng, &STATES),
        calls: (0..depth).map(|_| call(rng)).collect(),
        has_stack: rng.random_bool(0.8),
    }
}

/// A failure that differs from this one in one respect; `None` where that would be no other failure by what is known of
/// it: a type of its own, thrown by one function with another message, may be the same or not.
pub(super) fn sibling(rng: &mut SmallRng, of: &Failure, differs: Differs) -> Option<Failure> {
    let mut other = of.clone();
    match differs {
        Differs::Wholly => return Some(draw(rng)),
        Differs::Function if of.has_stack => other.calls.first_mut()?.function = two(rng, &VERBS, &NOUNS),
        Differs::Module if of.has_stack => other.calls.first_mut()?.module = two(rng, &NOUNS, &NOUNS),
        Differs::Type if of.kind.is_some() => other.kind = Some(two(rng, &NOUNS, &NOUNS)),
        Differs::Message if of.kind.is_none() || !of.has_stack => other.state = pick(rng, &STATES),
        Differs::Service => other.service = pick(rng, &SERVICES),
        Differs::Function | Differs::Module | Differs::Type | Differs::Message => return None,
    }
    (other != *of).then_some(other)
}

/// What makes a failure this one. Lines are no part of it, and calls are none where no stack tells them.
pub(super) fn identity(of: &Failure) -> Failure {
    let mut identity = of.clone();
    for call in &mut identity.calls {
        call.line = 0;
    }
    if !identity.has_stack {
        identity.calls.clear();
    }
    identity
}

/// The same failure after a release that moved its lines.
pub(super) fn moved(rng: &mut SmallRng, of: &Failure) -> Failure {
    let mut moved = of.clone();
    let by = rng.random_range(1..40);
    for call in &mut moved.calls {
        call.line += by;
    }
    moved
}

fn call(rng: &mut SmallRng) -> Call {
    Call { module: two(rng, &NOUNS, &NOUNS), function: two(rng, &VERBS, &NOUNS), line: rng.random_range(10..900) }
}

fn two(rng: &mut SmallRng, first: &[&'static str], second: &[&'static str]) -> [&'static str; 2] {
    [pick(rng, first), pick(rng, second)]
}

fn pick<T: Copy>(rng: &mut SmallRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}
