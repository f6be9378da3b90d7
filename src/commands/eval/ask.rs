//! One incident, played to one agent: the task, its calls, and what the verifier says of its claims.

use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tracerag_query::prompt::compose;
use tracerag_query::server::Toolbox;
use tracerag_query::verify::{Document, Report as Verified, Subject, verify_with};
use tracerag_query::{Session, bundle};
use tracerag_schemas::bundle::Bundle;

use crate::error::Error;
use crate::eval::Place;
use crate::eval::protocol::{Conversation, Final, Limits, PROTOCOL, converse};
use crate::eval::score::{Row, causes_found};
use crate::eval::suite::Incident;
use crate::eval::trial::size;
use crate::eval::variant::Variant;
use crate::prompt::{EVERY_SERVICE, Repositories, gather};
use crate::repository::Repository;
use crate::scaffold::{Language, scaffold};

/// Tools that an agent may call: those of MCP that change nothing, and one of ours.
const TOOLS: [&str; 9] = [
    "find_similar_incidents",
    "get_evidence_bundle",
    "search_traces",
    "get_trace",
    "get_logs",
    "run_sql",
    "describe_schema",
    "verify_citations",
    SCAFFOLD,
];
/// Gives what `tracerag scaffold` prints.
const SCAFFOLD: &str = "scaffold_test";

/// What every incident is asked with.
pub(super) struct Desk<'a> {
    pub session: Session,
    pub toolbox: &'a Toolbox,
    pub place: &'a Place,
    pub limits: Limits,
    pub max_tokens: usize,
    pub agent: &'a str,
}

impl Desk<'_> {
    /// Plays an incident once; what came of it, without tests, and what the agent said last.
    pub(super) async fn ask(&self, incident: &Incident, variant: Variant, repeat: u32) -> Result<(Row, Final), Error> {
        let whole = Box::pin(bundle::assemble(&self.session, &incident.trace)).await?;
        let whole = Box::pin(bundle::store(&self.session, whole)).await?;
        let view = variant.view(whole.clone());
        let commit = self.place.commit(&incident.commit);
        let tree = self.place.checkout(commit)?;
        let task = json!({
            "protocol": PROTOCOL,
            "type": "task",
            "incident": incident.name,
            "variant": variant.name(),
            "symptom": self.place.text(&incident.symptom),
            "trace_id": view.as_ref().map(|_| incident.trace.as_str()),
            "bundle_id": view.as_ref().map(|bundle| bundle.bundle_id.as_str()),
            "context": view.as_ref().map(|bundle| self.context(bundle)).transpose()?,
            "repository": tree.path(),
            "commit": commit,
            "tools": TOOLS,
            "limits": self.limits,
        });
        let told = self.talk(tree.path(), &task, variant, view.as_ref());
        let (last, ended, detail) = match told.ended {
            Ok(last) => (last, "final", None),
            Err(silence) => (Final::default(), silence.code(), Some(silence.to_string())),
        };
        let claims = match &last.claims {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            document => document.to_string(),
        };
        let bundle_id = whole.bundle_id.clone();
        let (verified, anchors) = self.verified(whole, &claims).await?;
        let anchors: Vec<&str> = anchors.iter().map(String::as_str).collect();
        let causes: Vec<String> = incident.causes.iter().map(|cause| self.place.text(cause)).collect();
        let row = Row {
            incident: incident.name.clone(),
            variant,
            repeat,
            ended: ended.to_owned(),
            detail: detail.or_else(|| why_not(&verified)),
            bundle_id,
            claims: verified.claims.len(),
            claims_accepted: verified.claims.len() - verified.rejected(),
            grounding_precision: verified.grounding_precision,
            causes_found: causes_found(&causes, &anchors),
            test: None,
            fix: None,
            others: None,
            refused: None,
            seconds: told.seconds,
            calls: told.calls,
            patch_lines: last.patch.as_deref().and_then(size),
            tokens: last.usage.tokens,
            cost_usd: last.usage.cost_usd,
            interventions: last.usage.interventions,
        };
        Ok((row, last))
    }

    /// What `tracerag prompt` prints, of the view.
    fn context(&self, view: &Bundle) -> Result<String, Error> {
        let repository = Repository::open(&self.place.repository())?;
        let repositories = Repositories::from([(EVERY_SERVICE.to_owned(), repository)]);
        let code = gather(view, &repositories, &[])?;
        Ok(compose(view, &code, self.max_tokens)?.text)
    }

    /// The conversation waits for the agent's pipes, so its thread is given up for it, and tools are waited for in it.
    fn talk(&self, tree: &std::path::Path, task: &Value, variant: Variant, view: Option<&Bundle>) -> Conversation {
        let runtime = Handle::current();
        tokio::task::block_in_place(|| {
            converse(self.agent, tree, task, self.limits, |tool, arguments| {
                if !TOOLS.contains(&tool) {
                    return Err(format!("tool-unknown: there is no tool {tool:?}; there are {}", TOOLS.join(", ")));
                }
                if let Some(why) = variant.refuses(tool, &Value::Object(arguments.clone())) {
                    return Err(why);
                }
                if tool == SCAFFOLD {
                    return test_of(view, &arguments);
                }
                let answer = runtime.block_on(Box::pin(self.toolbox.call(tool, arguments)))?;
                Ok(variant.cleaned(answer))
            })
        })
    }

    /// What the verifier says of claims about the whole bundle, and the anchors of those that it accepts.
    async fn verified(&self, whole: Bundle, claims: &str) -> Result<(Verified, Vec<String>), Error> {
        let id = whole.bundle_id.clone();
        match Document::read(claims) {
            Ok(document) => {
                let verified = Box::pin(verify_with(&self.session, Subject::known(whole), &document)).await?;
                let is_accepted = |id: &str| verified.claims.iter().any(|claim| claim.accepted && claim.id == id);
                let accepted = document.claims().filter(|claim| is_accepted(&claim.id));
                let anchors = accepted.flat_map(|claim| claim.anchors.iter().cloned()).collect();
                Ok((verified, anchors))
            }
            Err(reason) => Ok((Verified::refused(Some(id), reason), vec![])),
        }
    }
}

/// The first reason for which a claim is rejected.
fn why_not(verified: &Verified) -> Option<String> {
    let of_claims = verified.claims.iter().flat_map(|claim| &claim.reasons);
    verified.reasons.iter().chain(of_claims).next().map(ToString::to_string)
}

/// A failing test of the view, by `lang`.
fn test_of(view: Option<&Bundle>, arguments: &Map<String, Value>) -> Result<Value, String> {
    let lang = arguments.get("lang").and_then(Value::as_str).unwrap_or_default();
    let language = <Language as clap::ValueEnum>::from_str(lang, false)
        .map_err(|_| String::from("wrong-request: lang is one of python, go, node, java"))?;
    let view = view.ok_or("withheld: there is no evidence to make a test of")?;
    let test = scaffold(view, language).map_err(|error| format!("not-enough-evidence: {error}"))?;
    Ok(json!({"name": test.name, "text": test.text}))
}
