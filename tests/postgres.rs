//! PostgreSQL's protocol, spoken by its own clients with a running server.

use serde_json::json;

use crate::support::clients::Clients;
use crate::support::free_port;
use crate::support::program::Ran;
use crate::support::secured::{Authority, Certificates};
use crate::support::served::{ALL, LIMIT, Served};
use crate::support::wait_for;
use crate::worked_example::{self, TRACE};

/// Where a client of PostgreSQL connects to.
pub fn target(port: u16, user: &str) -> String {
    format!("host=127.0.0.1 port={port} user={user} dbname=tracerag connect_timeout=30")
}

/// psql with a token as the password.
fn psql(clients: &Clients, served: &Served, token: &str, arguments: &[&str]) -> Ran {
    let target = target(served.postgres, "anna");
    clients
        .psql(&[("PGPASSWORD", token)], &[&[target.as_str(), "-X", "-v", "VERBOSITY=verbose"][..], arguments].concat())
}

fn well(ran: Ran) -> String {
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    ran.stdout
}

/// What psql shows of a server: databases, tables, columns with their types, functions; answers, settings, and
/// transactions. Every access is in `audit` afterwards, under this interface.
#[test]
fn psql_finds_its_way() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let token = served.token("default", ALL);
    let ask = |arguments: &[&str]| well(psql(&clients, &served, &token, arguments));
    assert!(ask(&["-c", "\\l"]).contains("tracerag"));
    let tables = ask(&["-c", "\\dt"]);
    assert!(tables.contains("spans") && !tables.contains("pg_class"), "{tables}");
    let columns = ask(&["-c", "\\d spans"]);
    for (column, kind) in [
        ("start_time", "timestamp with time zone"),
        ("attributes", "text"),
        ("duration_ns", "bigint"),
        ("events", "text"),
    ] {
        let is_there = columns.lines().any(|line| {
            let mut cells = line.split('|').map(str::trim);
            cells.next() == Some(column) && cells.next() == Some(kind)
        });
        assert!(is_there, "{column} {kind}: {columns}");
    }
    assert!(ask(&["-c", "\\df"]).contains("similar_incidents"));
    for command in [
        "\\d+ spans",
        "\\d+ incidents",
        "\\dt+",
        "\\l+",
        "\\dn+",
        "\\dp",
        "\\du+",
        "\\df+",
        "\\dT+",
        "\\do",
        "\\dD",
        "\\dF",
    ] {
        ask(&["-c", command]);
    }
    assert_eq!(ask(&["-At", "-c", "select array(select code from (values (1), (2)) as t (code))"]), "{1,2}\n");
    assert_eq!(ask(&["-At", "-c", "select pg_size_pretty(123456789)"]), "118 MB\n");

    let query = format!(
        "select name, attributes['http.route'], start_time from spans where trace_id = '{TRACE}' order by start_time limit 1"
    );
    assert_eq!(ask(&["-At", "-c", &query]), "POST /checkout|/checkout|2026-11-16 12:00:05.000000+00\n");
    let map = format!("select attributes from spans where trace_id = '{TRACE}' order by start_time limit 1");
    let map: serde_json::Value = serde_json::from_str(ask(&["-At", "-c", &map]).trim()).unwrap();
    assert_eq!(map["http.route"], "/checkout");
    assert_eq!(ask(&["-At", "-c", "set timezone to 'Europe/Berlin'; show timezone"]), "SET\nEurope/Berlin\n");
    let told = ask(&["-At", "-c", "set timezone to 'Europe/Berlin'; select current_setting('TimeZone')"]);
    assert_eq!(told, "SET\nEurope/Berlin\n");
    let transaction = "begin; declare c cursor for select name from spans order by start_time; fetch 1 from c; commit";
    assert_eq!(ask(&["-At", "-c", transaction]), "BEGIN\nDECLARE CURSOR\nPOST /checkout\nCOMMIT\n");

    let audit = "select count(*) from audit where interface = 'postgres' and operation = 'sql' and outcome = 'ok'";
    wait_for("the visits are written down", LIMIT, || {
        let count: u64 = ask(&["-At", "-c", audit]).trim().parse().ok()?;
        (count > 5).then_some(())
    });
}

/// DBeaver, Metabase, Grafana and the JDBC driver begin on a connection of their own, by the extended protocol: see
/// `tests/clients/postgres_startup.py`. Guarantees that each recorded statement is answered, `SET` and `SHOW` among them, and
/// that the answers hold tables, kinds, columns with their types, and the rows of Grafana's expanded macros.
#[test]
fn tools_begin_over_a_connection() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let token = served.token("default", ALL);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/query/src/server/postgres/tests");
    let ran = clients.python("postgres_startup.py", &[&served.postgres.to_string(), &token, folder]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}

/// A write, a wrong name, a table that is not there, and what is no SQL: each is refused with the SQLSTATE by which
/// clients know it, and nothing is changed. A token of no scope is told so, and a wrong password or none does not come in;
/// both are in `audit`, the password with the address that it came from.
#[test]
fn refusals_have_their_codes() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let (token, reader) = (served.token("default", ALL), served.token("default", "read"));
    let statements = [
        ("insert into spans (name) values ('x')", "25006"),
        ("drop table spans", "25006"),
        ("create table t (a int)", "25006"),
        ("copy spans to stdout", "25006"),
        ("select * from nothing", "42P01"),
        ("select nothing from spans", "42703"),
        ("selec 1", "42601"),
        ("set datestyle to german", "22023"),
        ("show nothing", "42704"),
        ("select * from trace_tree('ffffffffffffffffffffffffffffffff')", "P0002"),
    ];
    for (statement, code) in statements {
        let ran = psql(&clients, &served, &token, &["-c", statement]);
        assert!(ran.status == 1 && ran.stderr.contains(code), "{statement}: {} {}", ran.status, ran.stderr);
    }
    assert_eq!(served.tracerag.number("select count(*) from spans"), 3);
    let ran = psql(&clients, &served, &reader, &["-c", "select 1"]);
    assert!(ran.status == 1 && ran.stderr.contains("42501"), "{}", ran.stderr);
    for wrong in ["tracerag_00", ""] {
        let ran = psql(&clients, &served, wrong, &["-c", "select 1"]);
        assert!(ran.status == 2 && !ran.stdout.contains('1'), "{wrong:?}: {} {}", ran.status, ran.stderr);
    }
    let Served { tracerag, replica } = served;
    assert!(replica.server.terminate(), "a signal ends the server");
    let refused = "select operation, arguments, outcome from audit where interface = 'postgres' and outcome in
                   ('scope-missing', 'token-unknown') order by outcome";
    assert_eq!(
        tracerag.sql(refused),
        [
            json!({"operation": "sql", "arguments": "SELECT 1", "outcome": "scope-missing"}),
            json!({"operation": "login", "arguments": "from 127.0.0.1", "outcome": "token-unknown"}),
        ]
    );
}

/// Answers that become too long end in the middle, with the code of a limit that was passed and with what to do, and are
/// no answer for psql; statements that would take all memory or a thread for hours are refused. The connection goes on
/// after each, and its next statement has a turn.
#[test]
fn answers_end_at_their_limits() {
    let Some(clients) = Clients::find() else { return };
    let limits = "query_rows = 1000\nquery_bytes = \"64KiB\"\nqueries_per_tenant = 1";
    let served = Served::start(worked_example::replayed(), limits);
    let token = served.token("default", "sql");
    let statements = [
        ("select value from generate_series(1, 5000)", "54000", "more than 1000 rows"),
        ("select repeat('x', 1000) from generate_series(1, 500)", "54000", "more than 65536 bytes"),
        ("begin; declare c cursor for select value from generate_series(1, 5000); fetch all from c", "54000", "rows"),
        ("select levenshtein(repeat('a', 1000000), repeat('b', 1000000))", "54001", "levenshtein"),
        ("select length(replace(repeat('x', 60000000), 'x', repeat('y', 1000)))", "53200", "replace"),
    ];
    for (statement, code, words) in statements {
        let arguments = ["-At", "-c", statement, "-c", "rollback", "-c", "select 'goes on'"];
        let ran = psql(&clients, &served, &token, &arguments);
        assert!(ran.stderr.contains(code) && ran.stderr.contains(words), "{statement}: {}", ran.stderr);
        assert!(ran.stdout.ends_with("goes on\n"), "{statement}: {}", ran.stdout);
    }
}

/// Two tenants see their own rows, and are told of the same tables, of none that their scopes withhold.
#[test]
fn a_token_shows_its_tenant() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let (ours, theirs) = (served.token("default", "sql"), served.token("acme", "sql"));
    for (token, spans) in [(&ours, "3\n"), (&theirs, "0\n")] {
        assert_eq!(well(psql(&clients, &served, token, &["-At", "-c", "select count(*) from spans"])), spans);
    }
    let tables = "select string_agg(relname, ' ' order by relname) from pg_class where relkind in ('r', 'v')";
    let told = well(psql(&clients, &served, &ours, &["-At", "-c", tables]));
    assert_eq!(told, well(psql(&clients, &served, &theirs, &["-At", "-c", tables])));
    assert!(!told.contains("audit") && !told.contains("heaps"), "{told}");
}

/// Without tokens nobody needs a password, and this machine alone is answered.
#[test]
fn without_tokens_no_password_is_asked_for() {
    let Some(clients) = Clients::find() else { return };
    let tracerag = worked_example::replayed();
    let (http, postgres, metrics) = (free_port(), free_port(), free_port());
    let config = tracerag.write(
        "open.toml",
        format!(
            "[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[serve]\nhttp = \"127.0.0.1:{http}\"\n\
             postgres = \"0.0.0.0:{postgres}\"\n"
        ),
    );
    let server = tracerag.background(&config, &["serve"], "serve.log");
    let asked = wait_for("the server answers", LIMIT, || {
        assert!(server.alive(), "{}", server.log_tail());
        let ran = clients.psql(&[], &[&target(postgres, "anybody"), "-At", "-c", "select count(*) from spans"]);
        (ran.status == 0).then_some(ran.stdout)
    });
    assert_eq!(asked, "3\n");
    let taken = std::net::TcpListener::bind(("127.0.0.2", postgres));
    assert!(taken.is_ok(), "the server listens on 127.0.0.1 alone");
}

/// With a certificate the protocol is spoken over TLS only: who trusts its authority is answered, who trusts another does
/// not come in, and who speaks in clear is told before it sends a password.
#[test]
fn the_port_speaks_tls() {
    let Some(clients) = Clients::find() else { return };
    let tracerag = worked_example::replayed();
    let (certificates, server) = Certificates::of_a_server(&tracerag.path("tls"));
    let more =
        format!("tls_certificate = \"{}\"\ntls_key = \"{}\"", server.certificate.display(), server.key.display());
    let served = Served::start(tracerag, &more);
    let token = served.done(&["token", "create"]).trim().to_owned();
    let ask = |mode: &str, authority: Authority| {
        let authority = certificates.authority(authority).display().to_string();
        let target = format!("{} sslmode={mode} sslrootcert={authority}", target(served.postgres, "anna"));
        clients.psql(&[("PGPASSWORD", &token)], &[&target, "-At", "-c", "select count(*) from spans"])
    };
    let answered = wait_for("who trusts the authority is answered", LIMIT, || {
        let ran = ask("verify-ca", Authority::Trusted);
        assert!(ran.status == 0 || ran.stderr.contains("token"), "{}", ran.stderr);
        (ran.status == 0).then_some(ran.stdout)
    });
    assert_eq!(answered, "3\n");
    let ran = ask("verify-ca", Authority::Other);
    assert!(ran.status == 2 && ran.stderr.contains("certificate"), "{}", ran.stderr);
    let ran = ask("disable", Authority::Trusted);
    assert!(ran.status == 2 && ran.stderr.contains("sslmode=require"), "{}", ran.stderr);
}

/// psycopg and the JDBC driver, each with a program that says what it checks: results as text and binary, parameters,
/// prepared statements, cursors, transactions, cancelling, and reading what tables there are.
#[test]
fn drivers_of_postgres_work() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let token = served.token("default", ALL);
    let port = served.postgres.to_string();
    for ran in [
        clients.python("postgres_psycopg.py", &[&port, &token, TRACE]),
        clients.java("PostgresJdbc.java", &[&port, &token, TRACE]),
    ] {
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    }
}

/// SQLAlchemy reads what schemas, tables and views there are, with their columns, that they have no keys and indexes, and
/// rows of them; pandas reads a table by its name.
#[test]
fn sqlalchemy_reflects_tables() {
    let Some(clients) = Clients::find() else { return };
    let served = Served::start(worked_example::replayed(), "");
    let token = served.token("default", ALL);
    let ran = clients.python("postgres_sqlalchemy.py", &[&served.postgres.to_string(), &token, TRACE]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}

/// What is replayed while a connection is open is seen by its next statement, and a signal ends the server although the
/// connection is open.
#[test]
fn a_statement_reads_the_newest_epoch() {
    let Some(clients) = Clients::find() else { return };
    let tracerag = crate::support::program::Tracerag::new();
    let change = |key: &str| {
        let line =
            json!({"time": "2026-11-16T12:00:01Z", "feature_flag.key": key, "feature_flag.result.variant": "on"});
        format!("{line}\n")
    };
    tracerag.replay(&[&tracerag.write("one.jsonl", change("one"))]);
    let served = Served::start(tracerag, "");
    let token = served.token("default", "sql");
    let keys = || well(psql(&clients, &served, &token, &["-At", "-c", "select key from flags order by key"]));
    assert_eq!(keys(), "one\n");
    served.tracerag.replay(&[&served.tracerag.write("two.jsonl", change("two"))]);
    wait_for("the flag is seen", LIMIT, || (keys() == "one\ntwo\n").then_some(()));
    let _idle = std::net::TcpStream::connect(("127.0.0.1", served.postgres)).unwrap();
    assert!(served.replica.server.terminate(), "a signal ends the server");
}
