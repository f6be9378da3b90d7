//! Which incidents echo others: failures that only passed through a service on their way up.

use std::collections::{BTreeSet, HashMap, HashSet};

use tracerag_schemas::Table;

use super::recent::Activity;
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, owned, text};
use crate::snapshot::Snapshot;

/// Echoes of one incident that are named.
const MOST: usize = 20;

/// What echoes an incident.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Echo {
    /// The service that the failure passed.
    pub service_name: Option<String>,
    /// The fingerprint that it has there.
    pub fingerprint: String,
}

/// One failure of a trace.
struct Row {
    trace_id: String,
    failure_id: String,
    origin_id: Option<String>,
    fingerprint: String,
    service_name: Option<String>,
}

/// What echoes each of some incidents in its example trace, by their fingerprints, sorted by service, at most twenty each;
/// incidents without an echo are left out.
///
/// # Errors
/// When the lake cannot be read.
pub async fn echoes(snapshot: &Snapshot, incidents: &[&Activity]) -> Result<HashMap<String, Vec<Echo>>> {
    let examples: BTreeSet<&str> = incidents.iter().filter_map(|one| one.example_trace_id.as_deref()).collect();
    if examples.is_empty() {
        return Ok(HashMap::new());
    }
    let columns = ["trace_id", "failure_id", "origin_id", "fingerprint", "service_name"];
    let by = ById::any("trace_id", examples.into_iter().collect());
    let mut rows = Vec::new();
    for batch in snapshot.read_id(Table::Failures, &columns, by).await? {
        let columns = Columns::of("failures", &batch);
        let (traces, ids, origins) =
            (columns.text("trace_id")?, columns.text("failure_id")?, columns.text("origin_id")?);
        let (fingerprints, services) = (columns.text("fingerprint")?, columns.text("service_name")?);
        rows.extend((0..batch.num_rows()).filter_map(|row| {
            Some(Row {
                trace_id: text(traces, row)?.to_owned(),
                failure_id: text(ids, row)?.to_owned(),
                origin_id: owned(origins, row),
                fingerprint: text(fingerprints, row)?.to_owned(),
                service_name: owned(services, row),
            })
        }));
    }
    let found = incidents.iter().map(|one| (one.fingerprint.clone(), of_incident(one, &rows)));
    Ok(found.filter(|(_, echoes)| !echoes.is_empty()).collect())
}

fn of_incident(incident: &Activity, rows: &[Row]) -> Vec<Echo> {
    let of_example = || rows.iter().filter(|row| Some(&row.trace_id) == incident.example_trace_id.as_ref());
    let own: HashSet<&str> = of_example()
        .filter(|row| row.origin_id.is_none() && incident.members.contains(&row.fingerprint))
        .map(|row| row.failure_id.as_str())
        .collect();
    let echoes: BTreeSet<Echo> = of_example()
        .filter(|row| row.origin_id.as_deref().is_some_and(|origin| own.contains(origin)))
        // An incident may meet itself on the way up.
        .filter(|row| !incident.members.contains(&row.fingerprint))
        .map(|row| Echo { service_name: row.service_name.clone(), fingerprint: row.fingerprint.clone() })
        .collect();
    echoes.into_iter().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error passes two services on its way up, and another trace and another origin have echoes of their own. Guarantees
    /// that each echo is told of with its origin's incident in the example, once, and with no other one.
    #[test]
    fn echoes_go_with_their_origin() {
        let row = |trace: &str, id: &str, origin: Option<&str>, fingerprint: &str| Row {
            trace_id: trace.to_owned(),
            failure_id: id.to_owned(),
            origin_id: origin.map(str::to_owned),
            fingerprint: fingerprint.to_owned(),
            service_name: Some(format!("service of {fingerprint}")),
        };
        let rows = [
            row("t", "1", None, "ledger"),
            row("t", "2", Some("1"), "payments"),
            row("t", "3", Some("1"), "checkout"),
            row("t", "4", Some("1"), "checkout"),
            row("t", "5", None, "mailer"),
            row("t", "6", Some("5"), "outbox"),
            row("u", "7", Some("1"), "elsewhere"),
        ];
        let told = |fingerprint: &str| -> Vec<String> {
            let incident = Activity {
                fingerprint: fingerprint.to_owned(),
                members: vec![fingerprint.to_owned()],
                example_trace_id: Some(String::from("t")),
                ..Activity::default()
            };
            of_incident(&incident, &rows).into_iter().map(|echo| echo.fingerprint).collect()
        };
        assert_eq!(told("ledger"), ["checkout", "payments"]);
        assert_eq!(told("mailer"), ["outbox"]);
        assert_eq!(told("payments"), Vec::<String>::new());
    }
}
