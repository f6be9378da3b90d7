//! Sampling decides on the whole trace, when it closes. The default keeps everything.

/// What a sampler may look at: facts of one closing trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Tenant.
    pub tenant: &'a str,
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Spans, without duplicates.
    pub spans: usize,
    /// Whether any span has the status ERROR.
    pub error: bool,
    /// From the first start to the last end, in ns.
    pub duration_ns: i64,
}

/// A sampler's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Written, with the rule's name in `traces.sampled_by`; `None` where no rule was asked.
    Keep(Option<&'static str>),
    /// Not written; what comes of it later is dropped as well, within the late horizon.
    Drop,
}

/// Decides which traces are written. It must give the same answer for the same trace at any time:
/// a fragment is decided by what it holds.
pub trait Sampler: Send {
    /// Decides on a trace.
    fn decide(&self, trace: &Candidate<'_>) -> Decision;
}

/// Keeps every trace.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAll;

impl Sampler for KeepAll {
    fn decide(&self, _: &Candidate<'_>) -> Decision {
        Decision::Keep(None)
    }
}
