//! How far failures reach: what the lake has of their fingerprints, beyond the one trace of a bundle.

use std::collections::BTreeSet;

use datafusion::common::{ParamValues, ScalarValue};
use futures::FutureExt;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::search::Merges;
use crate::{Session, json};

/// What has some fingerprints, as long as the retention keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Impact {
    /// Failures.
    pub failures: i64,
    /// Traces with such a failure.
    pub traces: i64,
    /// Services with spans in these traces, by name.
    pub services: Vec<String>,
    /// Services that failed, with the versions that did, by name.
    pub versions: Vec<(String, String)>,
    /// Distinct users in these traces, told apart by the tokens that redaction has put in the place of their
    /// identifiers.
    pub users: i64,
    /// The first failure, RFC 3339.
    pub first_seen: Option<String>,
    /// The last one.
    pub last_seen: Option<String>,
}

/// How far failures with these fingerprints reach at the session's head. `identifiers` are the attributes that name a
/// user, the most telling first.
///
/// # Errors
/// When the lake cannot be read within the session's limits.
pub async fn of_failures(session: &Session, fingerprints: &[String], identifiers: &[String]) -> Result<Impact> {
    if fingerprints.is_empty() {
        return Ok(Impact::default());
    }
    // Those that count for the same incidents as these, under whichever number they were written.
    let merges = Merges::read(session.snapshot()).boxed().await?;
    let counted: BTreeSet<&str> = fingerprints.iter().map(|fingerprint| merges.target(fingerprint)).collect();
    let fingerprints = merges.members(&counted.into_iter().collect::<Vec<_>>());
    let places: Vec<String> = (1..=fingerprints.len()).map(|place| format!("${place}")).collect();
    let these = format!("fingerprint in ({})", places.join(", "));
    let rows = async |query: String| -> Result<Vec<Map<String, Value>>> {
        let values: Vec<ScalarValue> = fingerprints.iter().map(|text| ScalarValue::from(*text)).collect();
        let mut rows = Vec::new();
        for batch in session.collect(&query, Some(ParamValues::from(values))).await? {
            rows.extend(json::rows(&batch)?);
        }
        Ok(rows)
    };
    let counts =
        "count(*) as failures, count(distinct trace_id) as traces, min(time) as first_seen, max(time) as last_seen";
    let totals = rows(format!("select {counts} from failures where {these}")).await?;
    let total = |name: &str| totals.first().and_then(|row| row.get(name)).cloned().unwrap_or_default();
    let of_traces = format!("trace_id in (select trace_id from failures where {these})");
    let services = rows(format!(
        "select distinct service_name as service from spans where {of_traces} and service_name is not null order by 1"
    ))
    .await?;
    let versions = rows(format!(
        "select distinct service_name as service, service_version as version from failures
         where {these} and service_name is not null and service_version is not null order by 1, 2"
    ))
    .await?;
    let users = match identifiers.is_empty() {
        true => vec![],
        false => {
            let named: Vec<String> =
                identifiers.iter().map(|name| format!("attributes['{}']", name.replace('\'', "''"))).collect();
            rows(format!(
                "select count(distinct token) as users from
                 (select coalesce({}) as token from spans where {of_traces}) where token like 'hmac:%'",
                named.join(", ")
            ))
            .await?
        }
    };
    let text = |row: &Map<String, Value>, name: &str| {
        row.get(name).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
    };
    Ok(Impact {
        failures: total("failures").as_i64().unwrap_or_default(),
        traces: total("traces").as_i64().unwrap_or_default(),
        services: services.iter().map(|row| text(row, "service")).collect(),
        versions: versions.iter().map(|row| (text(row, "service"), text(row, "version"))).collect(),
        users: users.first().and_then(|row| row.get("users")).and_then(Value::as_i64).unwrap_or_default(),
        first_seen: total("first_seen").as_str().map(str::to_owned),
        last_seen: total("last_seen").as_str().map(str::to_owned),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tests::lake::{FAILING, TestLake, at, example};

    /// The failure of the example is counted with its services, the version that failed and the one user whose token
    /// stands in the trace; that of another tenant is not, and nor is what is no token.
    #[tokio::test]
    async fn what_has_a_fingerprint_is_counted() {
        let lake = TestLake::empty().await;
        let mut tables = example();
        for (table, rows) in &mut tables {
            match table.name() {
                "spans" => {
                    for row in rows.iter_mut() {
                        row["attributes"]["user.id"] = match row["trace_id"] == FAILING && row["tenant_id"] == "acme" {
                            true => "hmac:0011:2233".into(),
                            false => "hmac:ffff:0000".into(),
                        };
                        row["attributes"]["user.name"] = "plain".into();
                    }
                }
                "failures" => rows.iter_mut().for_each(|row| row["service_version"] = "1.9.0".into()),
                _ => {}
            }
        }
        lake.write(&tables, crate::tests::lake::NOON).await;
        let session = lake.session("acme").await;
        let known = [String::from("abcd"), String::from("none")];
        let impact = of_failures(&session, &known, &[String::from("user.id")]).await.unwrap();
        let wanted = Impact {
            failures: 1,
            traces: 1,
            services: vec![String::from("checkout"), String::from("payments")],
            versions: vec![(String::from("payments"), String::from("1.9.0"))],
            users: 1,
            first_seen: Some(at(3)),
            last_seen: Some(at(3)),
        };
        assert_eq!(impact, wanted);
        assert_eq!(of_failures(&session, &known, &[String::from("user.name")]).await.unwrap().users, 0);
        assert_eq!(of_failures(&lake.session("other").await, &known, &[]).await.unwrap(), Impact::default());
        assert_eq!(of_failures(&session, &[], &[]).await.unwrap(), Impact::default());
    }
}
