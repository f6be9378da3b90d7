//! Drivers of ADBC and JDBC that ask over Flight SQL.

use crate::support::clients::Clients;
use crate::support::secured::{Authority, Certificates};
use crate::support::served::{ALL, Served};
use crate::worked_example;

/// Limits under which an endless query can be read for a while, and a second one only after the first has ended.
const LIMITS: &str = "query_rows = 100000000000\nquery_time = \"10m\"\nqueries_per_tenant = 1";

/// That the audit says of queries that they were left or cancelled, and of a wrong token that it came from this machine.
fn assert_written_down(served: Served) {
    let Served { tracerag, replica } = served;
    assert!(replica.server.terminate(), "a signal ends the server");
    for what in ["outcome = 'cancelled'", "outcome = 'token-unknown' and arguments like 'from 127.0.0.1%'"] {
        let count = format!("select count(*) from audit where interface = 'flight_sql' and {what}");
        assert!(tracerag.number(&count) > 0, "{what}");
    }
}

/// A Python program reads rows into pandas and polars: see `tests/clients/adbc.py`. Guarantees that types, values and
/// schemas arrive as they are, that a tenant sees its own rows only, that a wrong token is refused in words that say
/// what to do, and that a query which the client cancels gives back its turn and is `cancelled` in the audit.
#[test]
fn adbc_reads_into_data_frames() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), LIMITS);
    let (token, other) = (served.token("default", ALL), served.token("acme", ALL));
    let uri = format!("grpc://127.0.0.1:{}", served.flight_sql);
    let ran = clients.python("adbc.py", &[&uri, &token, &other]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "3"), "{}", ran.stderr);
    assert_written_down(served);
}

/// A Java program does what database tools do: see `tests/clients/FlightJdbc.java`. Guarantees that the driver logs in by
/// password and by token, finds catalogs, tables, columns, types and keys, prepares statements and binds values, reads a
/// column of every kind, and that leaving a result set ends its query.
#[test]
fn jdbc_works_as_tools_need_it() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), LIMITS);
    let (token, other) = (served.token("default", ALL), served.token("acme", ALL));
    let ran = clients.java("FlightJdbc.java", &[&served.flight_sql.to_string(), &token, &other]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "3"), "{}", ran.stderr);
    assert_written_down(served);
}

/// With a certificate the port speaks TLS, as HTTP does: who trusts its authority is answered, who does not is not, and
/// neither is who asks in clear.
#[test]
fn flight_sql_speaks_tls() {
    let Some(clients) = Clients::find() else { return };
    let tracerag = worked_example::replayed();
    let (certificates, server) = Certificates::of_a_server(&tracerag.path("tls"));
    let more =
        format!("tls_certificate = \"{}\"\ntls_key = \"{}\"", server.certificate.display(), server.key.display());
    let served = Served::start(tracerag, &more);
    let token = served.done(&["token", "create"]);
    let ask = |scheme: &str, authority: Authority| {
        let uri = format!("{scheme}://127.0.0.1:{}", served.flight_sql);
        let authority = certificates.authority(authority).display().to_string();
        clients.python("adbc_tls.py", &[&uri, token.trim(), &authority])
    };
    let ran = ask("grpc+tls", Authority::Trusted);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "3"), "{}", ran.stderr);
    assert_ne!(ask("grpc+tls", Authority::Other).status, 0);
    assert_ne!(ask("grpc", Authority::Trusted).status, 0);
}
