//! The description of a pull request that rests on a bundle: what happened, by claims that hold, how far it reaches, what
//! was done, and what it all rests on.
//!
//! Texts of claims and of the evidence are data: they are escaped, or stand in code, so that they format nothing, notify
//! nobody and hide nothing.

mod canary;

use std::fmt::Write;

use tracerag_query::impact::Impact;
use tracerag_query::untrusted::{code, fenced, line};
use tracerag_query::verify::Report;
use tracerag_schemas::bundle::{Build, Bundle, Flag};
use tracerag_schemas::claims::{CLAIMS_SCHEMA, Claim, Claims};

use crate::output::thousands;
use crate::patch::{self, Verdict};
use crate::trial::{CommitFrom, TryRecord};

pub(crate) use canary::Canary;

/// What the description is made of. All of it has been checked.
pub(crate) struct Description<'a> {
    pub title: Option<&'a str>,
    pub bundle: &'a Bundle,
    /// All of its claims hold.
    pub verified: &'a Report,
    /// The claims that were verified.
    pub claims: Vec<&'a Claim>,
    pub impact: &'a Impact,
    /// Tests that hold the change.
    pub tests: &'a [String],
    /// What `guard-patch` said, if it was asked. It holds.
    pub guard: Option<&'a patch::Report>,
    /// A trial that ended green.
    pub trial: Option<&'a TryRecord>,
    pub canary: Option<&'a Canary>,
    /// Where the trace can be looked at.
    pub dashboard: Option<&'a str>,
}

impl Description<'_> {
    /// The description as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        self.head(&mut text);
        self.what_happened(&mut text);
        self.reach(&mut text);
        self.change(&mut text);
        if let Some(canary) = self.canary {
            let _ = write!(text, "\n### Canary\n\n{}", canary.markdown());
        }
        self.assumptions(&mut text);
        self.again(&mut text);
        text
    }

    fn head(&self, text: &mut String) {
        let trace = &self.bundle.evidence.trace;
        if let Some(title) = self.title {
            let _ = write!(text, "## {}\n\n", plain(title));
        }
        let _ = writeln!(
            text,
            "Trace {} ({}) ended with status {}. Everything below rests on its evidence, {}, which is pinned.",
            code(&trace.trace_id),
            code(trace.root_name.as_deref().unwrap_or("without a root")),
            plain(trace.status.as_deref().unwrap_or("UNSET")),
            code(&self.bundle.bundle_id),
        );
        if let Some(dashboard) = self.dashboard {
            let _ = write!(text, "\n[Look at it]({dashboard})\n");
        }
    }

    fn what_happened(&self, text: &mut String) {
        text.push_str("\n### What happened\n\n");
        for claim in &self.claims {
            let _ = writeln!(text, "- {}", plain(&claim.text));
            let anchors: Vec<String> = claim.anchors.iter().map(|anchor| code(anchor)).collect();
            let _ = writeln!(text, "  - at {}", anchors.join(", "));
            for quote in &claim.quotes {
                let place = quote.anchor.as_deref().map(|anchor| format!(" in {}", code(anchor))).unwrap_or_default();
                let _ = writeln!(text, "  - {} stands{place}", code(&quote.text));
            }
            for predicate in &claim.predicates {
                let _ = writeln!(text, "  - {} holds", code(predicate));
            }
        }
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let _ = writeln!(
            text,
            "\n`tracerag verify`: all {} claims hold; grounding precision {}, citation recall {}, coverage {}.",
            self.verified.claims.len(),
            percent(self.verified.grounding_precision),
            percent(self.verified.citation_recall),
            percent(self.verified.coverage),
        );
    }

    fn reach(&self, text: &mut String) {
        let impact = self.impact;
        let versions: Vec<String> =
            impact.versions.iter().map(|(service, version)| code(&format!("{service} {version}"))).collect();
        let services: Vec<String> = impact.services.iter().map(|service| code(service)).collect();
        let seen = |time: &Option<String>| time.as_deref().map_or_else(|| String::from("-"), line);
        text.push_str("\n### How far it reaches\n\n| | |\n| --- | --- |\n");
        for (name, value) in [
            ("traces with such failures", thousands(impact.traces)),
            ("failures", thousands(impact.failures)),
            ("users, by their tokens", thousands(impact.users)),
            ("services on these traces", list(&services)),
            ("versions that failed", list(&versions)),
            ("first and last", format!("{} to {}", seen(&impact.first_seen), seen(&impact.last_seen))),
        ] {
            let _ = writeln!(text, "| {name} | {} |", value.replace('|', "\\|"));
        }
        text.push_str("\nCounted in the lake when this was written, as far as it keeps them.\n");
    }

    fn change(&self, text: &mut String) {
        text.push_str("\n### Test and change\n\n");
        if let Some(trial) = self.trial {
            tried(text, trial);
        }
        match self.tests {
            [] if self.trial.is_some() => {}
            [] => text.push_str("No test was named.\n"),
            tests => tests.iter().for_each(|test| {
                let _ = writeln!(text, "- test {}", code(test));
            }),
        }
        let Some(guard) = self.guard else {
            text.push_str("\nThe change was not compared with the evidence (`tracerag guard-patch`).\n");
            return;
        };
        text.push_str("\n| file | lines | why it may change |\n| --- | --- | --- |\n");
        for file in &guard.files {
            let why = match file.verdict {
                Verdict::OnThePath => code(&file.why),
                Verdict::Test | Verdict::AllowedByName | Verdict::Refused => plain(&file.why),
            };
            let (path, verdict) = (code(&file.path).replace('|', "\\|"), file.verdict.shown());
            let why = why.replace('|', "\\|");
            let _ = writeln!(text, "| {path} | +{} -{} | {verdict}: {why} |", file.added, file.deleted);
        }
        for lock in &guard.lock_files {
            let _ = writeln!(text, "\nLock file {} is that of {}.", code(&lock.why), code(&lock.build));
        }
    }

    /// What was taken for given, and how it is known.
    fn assumptions(&self, text: &mut String) {
        let evidence = &self.bundle.evidence;
        text.push_str("\n### What it rests on\n\n");
        evidence.builds.iter().for_each(|build| text.push_str(&build_line(build)));
        evidence.flags.iter().for_each(|flag| text.push_str(&flag_line(flag)));
        if !evidence.sealed {
            text.push_str("- The trace was not sealed yet: more evidence may have come.\n");
        }
        if evidence.trace.complete != Some(true) {
            let reasons = evidence.trace.incomplete_reasons.join(", ");
            let _ = writeln!(text, "- The trace is not known to be complete: {}.", plain(&reasons));
        }
        for (section, omitted) in &evidence.omitted {
            let _ = writeln!(text, "- Not in the bundle: {} of {}.", omitted.omitted, plain(section));
        }
    }

    fn again(&self, text: &mut String) {
        let claims = Claims {
            schema: CLAIMS_SCHEMA.to_owned(),
            bundle_id: self.bundle.bundle_id.clone(),
            claims: self.claims.iter().map(|claim| (*claim).clone()).collect(),
        };
        // Claims are texts and lists of them, which always have a JSON form.
        let json = serde_json::to_string_pretty(&claims).unwrap_or_default();
        let id = line(&self.bundle.bundle_id);
        let _ = write!(
            text,
            "\n### Check it again\n\n```\ntracerag verify --bundle {id} claims.json\n```\n\n\
             <details><summary>claims.json</summary>\n\n{}\n</details>\n",
            fenced("json", &json)
        );
    }
}

/// What ran, where, and how it ended.
fn tried(text: &mut String, trial: &TryRecord) {
    for file in &trial.test.files {
        let _ = writeln!(text, "- test {}", code(file));
    }
    let red = trial.runs.iter().find_map(|run| run.found.as_deref()).unwrap_or_default();
    let how = match trial.commit_from {
        CommitFrom::Bundle => "the commit of the build",
        CommitFrom::Stated => "a commit that was stated for the trial",
    };
    let network = match (trial.isolation.network, trial.isolation.files) {
        (false, _) => "without network",
        (true, false) => "with network",
        (true, true) => "with network and without isolation",
    };
    let _ = writeln!(
        text,
        "- `tracerag try`, {network}, at {} ({how}): red ({}), then green with the patch {}, by {}",
        code(&trial.commit),
        code(red),
        code(&format!("sha256:{}", trial.patch.sha256)),
        code(&trial.command),
    );
    for allowed in trial.allowed.iter().filter(|allowed| allowed.used) {
        let _ = writeln!(
            text,
            "- The patch changes {}, by which tests are judged: {}",
            code(&allowed.path),
            plain(&allowed.reason)
        );
    }
    if trial.refined {
        text.push_str("- An agent refined the patch once.\n");
    }
    text.push('\n');
}

fn list(entries: &[String]) -> String {
    if entries.is_empty() { String::from("-") } else { entries.join(", ") }
}

fn build_line(build: &Build) -> String {
    let commit = build.git_sha.as_deref().map_or_else(|| String::from("an unknown commit"), code);
    let mut text = format!("- {} is {commit} ({})", code(&build.anchor), known(build.r#match.as_deref()));
    candidates(&mut text, &build.candidates);
    text + "\n"
}

fn flag_line(flag: &Flag) -> String {
    let value = flag.variant.as_deref().or(flag.value.as_deref());
    let value = value.map_or_else(|| String::from("unknown"), code);
    let mut text = format!("- {} is {value} ({})", code(&flag.anchor), known(flag.r#match.as_deref()));
    candidates(&mut text, &flag.candidates);
    text + "\n"
}

/// How a build or a flag is known.
fn known(by: Option<&str>) -> &'static str {
    match by {
        Some("stated") => "stated by the service",
        Some("evaluated") => "as the service evaluated it",
        Some("as_of") => "inferred from what was in effect",
        Some("ambiguous") => "ambiguous",
        _ => "not known how",
    }
}

fn candidates(text: &mut String, candidates: &[String]) {
    if !candidates.is_empty() {
        let _ = write!(text, ", one of {}", code(&candidates.join(", ")));
    }
}

/// What keeps two characters apart that would be something together, and is not seen itself.
const APART: &str = "<!-- -->";

/// One line of text that Markdown takes for nothing but text, and that mentions nobody and refers to nothing.
///
/// GitHub and GitLab look for mentions (`@name`), references (`#12`, `GH-12`, `!12`, `&12`, `%12`, `~12`, `$12`) and
/// addresses in the text that comes of the Markdown, where a backslash before the sign is gone. So the sign and what
/// follows are kept apart by a comment.
pub(super) fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in line(text).trim().chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '~' | '$' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
        let is_sign = matches!(c, '@' | '#' | '!' | '&' | '%' | '~' | '$');
        let ends = |begin: &str| {
            let start = escaped.len().checked_sub(begin.len());
            start.and_then(|start| escaped.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(begin))
        };
        if is_sign || ends("gh-") || ends("://") || ends("www.") {
            escaped.push_str(APART);
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
