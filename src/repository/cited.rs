//! The lines of code that a bundle's evidence points to.

use std::collections::HashSet;

use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::Bundle;

/// A line of the application's own code that stands in a stack or a heap site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cited {
    /// `code:FILE:LINE@SHA`
    pub anchor: String,
    /// The entry that it stands in, as `failure:0`.
    pub within: String,
    pub service: Option<String>,
    /// The file as the stack names it.
    pub file: String,
    pub line: usize,
    /// The commit of the build that ran.
    pub sha: String,
    pub function: Option<String>,
}

/// The lines of a bundle with file, line and commit, each once: where failures were thrown first, then heap sites, then
/// the callers, level by level. Frames of runtimes and libraries are left out.
pub(crate) fn cited(bundle: &Bundle) -> Vec<Cited> {
    let mut found: Vec<(usize, Cited)> = Vec::new();
    for failure in &bundle.evidence.failures {
        let own = failure.frames.iter().filter(|frame| frame.in_app != Some(false));
        for (level, frame) in own.enumerate() {
            let cited =
                cite(frame.anchor.as_deref(), &failure.anchor, failure.service.as_ref(), frame.function.as_ref());
            found.extend(cited.map(|cited| (2 * level, cited)));
        }
    }
    for heap in &bundle.evidence.heaps {
        for (level, site) in heap.top_sites.iter().enumerate() {
            let cited = cite(site.anchor.as_deref(), &heap.anchor, heap.service.as_ref(), site.function.as_ref());
            found.extend(cited.map(|cited| (2 * level + 1, cited)));
        }
    }
    found.sort_by_key(|(level, _)| *level);
    let mut known = HashSet::new();
    found.retain(|(_, cited)| known.insert((cited.anchor.clone(), cited.service.clone())));
    found.into_iter().map(|(_, cited)| cited).collect()
}

fn cite(anchor: Option<&str>, within: &str, service: Option<&String>, function: Option<&String>) -> Option<Cited> {
    let anchor = anchor?;
    let Target::Code { file, line, sha } = anchor.parse::<Anchor>().ok()?.target else { return None };
    Some(Cited {
        anchor: anchor.to_owned(),
        within: within.to_owned(),
        service: service.cloned(),
        file,
        line: usize::try_from(line).ok()?,
        sha,
        function: function.cloned(),
    })
}
