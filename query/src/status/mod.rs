//! Where the lake stands, as one document that the command and the server show: [`of_tenant`] has what a tenant may
//! know, [`of_installation`] what belongs to whoever runs it.

mod services;

use serde_json::{Map, Value, json};
use tracerag_index::Head;
use tracerag_schemas::{Table, time};

use crate::error::Result;
use crate::json as rows_json;
use crate::letters::LETTERS;
use crate::session::Session;

pub use services::SERVICE_KEYS;

/// Position, schema versions, services and waiting dead letters of the session's tenant. What could not be counted
/// within the session's limits is null, with the reason beside it; `services` is empty where there is no telemetry.
///
/// # Errors
/// When the lake cannot be read.
pub async fn of_tenant(session: &Session) -> Result<Map<String, Value>> {
    let snapshot = session.snapshot();
    let head = snapshot.head();
    // A lake with more than can be counted in a minute has a status all the same.
    let (services, since, services_error) = match services::of(session, head).await {
        Ok(Some(counted)) => (json!(counted.services), json!(counted.since), Value::Null),
        Ok(None) => (json!([]), Value::Null, Value::Null),
        // What failed inside may name files of other tenants, so it is not told as a reason.
        Err(error) if error.code().is_none() => return Err(error),
        Err(error) => (Value::Null, Value::Null, json!(error.to_string())),
    };
    let dead_letters = rows(session, &dead_letters()).await?;
    let status = json!({
        "position": head.position,
        "schema_version": head.schema_version,
        "newest_schema_version": snapshot.lake().schemas().version(),
        "services_since": since,
        "services": services,
        "services_error": services_error,
        "dead_letters": dead_letters,
    });
    Ok(object(status))
}

/// How many rows the session's tenant has of each table.
///
/// # Errors
/// When they cannot be counted.
pub async fn rows_of_tenant(session: &Session) -> Result<Map<String, Value>> {
    let sees_heaps = session.bundler().shows_heaps();
    let counts: Vec<String> = data_tables()
        .filter(|table| *table != Table::Heaps || sees_heaps)
        .map(|table| {
            let name = table.name();
            // A view of the same name would compute what nobody asked for.
            let stored = match table {
                Table::Traces => "trace_revisions",
                Table::Flags => "flag_events",
                Table::Builds => "build_events",
                _ => name,
            };
            format!("select '{name}' as name, count(*) as stored from {stored}")
        })
        .collect();
    let mut tables = Map::new();
    for mut row in rows(session, &counts.join(" union all ")).await? {
        if let (Some(Value::String(name)), Some(stored)) = (row.remove("name"), row.remove("stored")) {
            tables.insert(name, stored);
        }
    }
    Ok(tables)
}

/// What all tenants share: rows of each table, and where each partition stands.
pub fn of_installation(head: &Head) -> Map<String, Value> {
    let tables: Map<String, Value> = data_tables()
        .map(|table| (table.name().to_owned(), json!(head.of(table).map(|(_, dataset)| dataset.rows).sum::<u64>())))
        .collect();
    let partitions: Vec<Value> = head
        .sources
        .iter()
        .map(|state| {
            json!({
                "topic": state.source.topic.as_ref(), "partition": state.source.partition,
                "next_offset": state.next, "lag": null, "low_watermark": state.low_watermark,
                "stream_time": state.stream_time.filter(|time| *time > 0).map(time::rfc3339),
            })
        })
        .collect();
    object(json!({"partitions": partitions, "tables": tables}))
}

fn data_tables() -> impl Iterator<Item = Table> {
    Table::ALL.iter().copied().filter(|table| !table.is_side())
}

/// Those that wait: what was replayed stands elsewhere.
fn dead_letters() -> String {
    format!(
        "select reason, topic, count(*) letters, max(stamp) newest from ({LETTERS}) as known \
         where replayed_at is null group by 1, 2 order by 3 desc"
    )
}

async fn rows(session: &Session, query: &str) -> Result<Vec<Map<String, Value>>> {
    let mut rows = Vec::new();
    for batch in session.collect(query, None).await? {
        rows.extend(rows_json::rows(&batch)?);
    }
    Ok(rows)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
