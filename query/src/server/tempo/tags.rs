//! `GET /api/search/tags` and `GET /api/v2/search/tags`: names that spans have, by whose they are; and searches by tags,
//! which came before TraceQL.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use datafusion::functions_nested::expr_fn::map_keys;
use datafusion::logical_expr::{Expr, col};
use futures::TryStreamExt;
use serde_json::{Value as Json, json};

use super::failure::Failure;
use super::traceql::{Attribute, Condition, Field, Intrinsic, Operator, Query as TraceQl, Scope as Whose, Value};
use super::{INTERFACE, Times};
use crate::access::{Caller, Scope};
use crate::error::{QueryError, Result as QueryResult};
use crate::rows::{Columns, text};
use crate::server::app::{App, noted};
use crate::server::http::Query;
use crate::server::problem::Problem;
use crate::server::traces::{MOST_TAGS, json_answer};
use crate::session::Session;

/// Names of a scope at most.
const MOST: usize = 5_000;

/// Scopes of attributes, with the column that has them.
const SCOPES: [(&str, &str); 3] =
    [("resource", "resource_attributes"), ("span", "attributes"), ("instrumentation", "scope_attributes")];
/// The scope of what every span has.
const INTRINSIC: &str = "intrinsic";

/// What is asked for.
struct Ask {
    times: Times,
    limit: usize,
    /// All, if none is named.
    scope: Option<String>,
}

impl Ask {
    fn of(query: &mut Query) -> Result<Self, Problem> {
        let times = Times::of(query)?;
        let limit = query.number("limit")?.filter(|limit| *limit > 0).unwrap_or(MOST).min(MOST);
        let scope = query.text("scope").filter(|scope| !matches!(scope.as_str(), "" | "none" | "all"));
        Ok(Self { times, limit, scope })
    }

    fn wants(&self, scope: &str) -> bool {
        self.scope.as_deref().is_none_or(|wanted| wanted == scope)
    }
}

/// Names in one list.
pub(super) async fn first(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    Ok(tags(&app, &caller?, &uri, one_list).await?)
}

/// Names by scope.
pub(super) async fn second(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    uri: Uri,
) -> Result<Response, Failure> {
    Ok(tags(&app, &caller?, &uri, by_scope).await?)
}

/// A scope with its names.
type Named = (&'static str, Vec<String>);

fn one_list(scopes: Vec<Named>) -> Json {
    let mut names: Vec<String> = scopes.into_iter().flat_map(|(_, names)| names).collect();
    names.sort();
    names.dedup();
    json!({"tagNames": names, "metrics": {}})
}

fn by_scope(scopes: Vec<Named>) -> Json {
    let told: Vec<Json> = scopes.into_iter().map(|(name, tags)| json!({"name": name, "tags": tags})).collect();
    json!({"scopes": told, "metrics": {}})
}

async fn tags(app: &App, caller: &Caller, uri: &Uri, told: fn(Vec<Named>) -> Json) -> Result<Response, Problem> {
    let mut visit = app.gate().visit(caller, INTERFACE, "tags", uri.query().unwrap_or_default());
    let ask = noted(&mut visit, Ask::of(&mut Query::of(uri)))?;
    let work = move |session: Session| async move { names(&session, &ask).await };
    let scopes = app.ask(caller, Scope::Read, &mut visit, work).await?;
    let count = scopes.iter().map(|(_, names)| names.len()).sum();
    json_answer(app, visit, count, &told(scopes))
}

async fn names(session: &Session, ask: &Ask) -> QueryResult<Vec<Named>> {
    let mut scopes = Vec::new();
    for (scope, map) in SCOPES {
        if ask.wants(scope) {
            let found = keys(session, map, ask.times.interval(session).filter(), ask.limit).await?;
            scopes.push((scope, found));
        }
    }
    scopes.retain(|(_, names)| !names.is_empty());
    if ask.wants(INTRINSIC) {
        scopes.push((INTRINSIC, Intrinsic::ALL.iter().map(|(_, name, _)| (*name).to_owned()).collect()));
    }
    Ok(scopes)
}

/// The keys of a map of attributes, each once.
async fn keys(session: &Session, map: &str, filter: Expr, limit: usize) -> QueryResult<Vec<String>> {
    let frame = session
        .context()
        .table("spans")
        .await?
        .filter(filter)?
        .select(vec![map_keys(col(map)).alias("key")])?
        .unnest_columns(&["key"])?
        .filter(col("key").is_not_null())?
        .distinct()?
        .sort(vec![col("key").sort(true, true)])?
        .limit(0, Some(limit))?;
    let mut batches = session.execute(frame.into_unoptimized_plan(), None).await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let keys = Columns::of("spans", &batch).text("key")?;
        found.extend((0..batch.num_rows()).filter_map(|row| text(keys, row).map(str::to_owned)));
    }
    Ok(found)
}

/// A search by tags, in logfmt: `service.name=checkout http.target="/a b"`. A text is found anywhere in the value, in
/// either case, as Tempo has it.
///
/// # Errors
/// [`QueryError::Argument`] for what is no list of tags, or too long.
pub(super) fn search(tags: &str) -> QueryResult<TraceQl> {
    let wrong = || QueryError::Argument {
        function: "tags",
        why: String::from("tags are written as service.name=checkout http.method=GET, values with spaces in quotes"),
    };
    let mut conditions = Vec::new();
    let mut rest = tags.trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
        let (value, next) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
            None => value.split_once(char::is_whitespace).unwrap_or((value, "")),
        };
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(wrong());
        }
        if conditions.len() == MOST_TAGS {
            let why = format!("a search names {MOST_TAGS} tags at most");
            return Err(QueryError::Argument { function: "tags", why });
        }
        conditions.push(tag(key, value));
        rest = next.trim();
    }
    match conditions.is_empty() {
        true => Ok(TraceQl::Spans(Condition::Always(true))),
        false => Ok(TraceQl::Spans(Condition::All(conditions))),
    }
}

fn tag(key: &str, value: &str) -> Condition {
    let field = match key {
        "name" => Field::Intrinsic(Intrinsic::Name),
        "root.name" => Field::Intrinsic(Intrinsic::RootName),
        "root.service.name" => Field::Intrinsic(Intrinsic::RootService),
        key => Field::Attribute(Attribute { scope: Whose::Any, key: key.to_owned() }),
    };
    if (key, value) == ("error", "true") {
        return Condition::Compare(Field::Intrinsic(Intrinsic::Status), Operator::Equal, Value::Status("error"));
    }
    let anywhere = Value::Text(format!("(?is:.*{}.*)", regex::escape(value)));
    let mut any = vec![Condition::Compare(field.clone(), Operator::Matches, anywhere)];
    if matches!(field, Field::Attribute(_)) {
        any.extend(value.parse().map(|number| Condition::Compare(field.clone(), Operator::Equal, Value::Int(number))));
        any.extend(value.parse().map(|truth| Condition::Compare(field, Operator::Equal, Value::Bool(truth))));
    }
    Condition::Any(any)
}
