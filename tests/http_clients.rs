//! Notebooks that ask over HTTP.

use crate::support::clients::Clients;
use crate::support::served::Served;
use crate::worked_example;

/// A Python program reads rows into pandas and polars: see `tests/clients/over_http.py`. Guarantees that every form holds the
/// same rows, that pages are the whole, that values arrive as they are, and that an answer which a limit breaks off is
/// nowhere taken for a whole one.
#[test]
fn notebooks_read_every_form() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "query_rows = 100000");
    let token = served.token("default", "sql");
    let ran = clients.python("over_http.py", &[&format!("http://127.0.0.1:{}", served.port), &token]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "3"), "{}", ran.stderr);
}
