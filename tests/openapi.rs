//! The description of the HTTP interface, tried by a tool that reads nothing else.

use crate::support::clients::Clients;
use crate::support::served::{ALL, Served};
use crate::worked_example::{self, TRACE};

/// Schemathesis asks a server what its OpenAPI document permits, and what it forbids: see `tests/clients/openapi.py`. It
/// knows one trace with its bundle and incident, so that answers with content are looked at, too. Guarantees that a client
/// that is made from the document understands every answer, and is understood.
#[test]
fn the_description_holds_under_schemathesis() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let token = served.token("default", ALL);
    let bundle = served.client(&token).get(&format!("/v1/bundles/{TRACE}")).good();
    let id = bundle["bundle_id"].as_str().unwrap();
    let fingerprint = bundle["evidence"]["failures"][0]["fingerprint"].as_str().unwrap();
    let url = format!("http://127.0.0.1:{}", served.port);
    let ran = clients.python("openapi.py", &[&url, &token, TRACE, id, fingerprint]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}
