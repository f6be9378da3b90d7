//! `tracerag serve`, run and asked as its users do.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::kafka_worker::get;
use crate::support::client::{Answer, Client};
use crate::support::program::Tracerag;
use crate::support::secured::{Authority, Certificates};
use crate::support::served::{ALL, LIMIT, Served};
use crate::support::{free_port, in_time, wait_for};
use crate::worked_example::{self, TRACE};

/// A server with two tokens is asked for everything that it has. Guarantees that each answer is that of the command on
/// the lake itself and as `/openapi.json` describes it, that a signal ends the server, and that every access is in
/// `audit` afterwards.
#[test]
fn a_server_answers_like_the_lake() {
    let served = Served::start(worked_example::replayed(), "");
    let client = served.client(&served.token("default", ALL));
    let description = client.get("/openapi.json").good();
    let bundle = client.get(&format!("/v1/bundles/{TRACE}"));
    let fingerprint = bundle.good()["evidence"]["failures"][0]["fingerprint"].as_str().unwrap().to_owned();
    let id = bundle.json()["bundle_id"].as_str().unwrap().to_owned();
    assert_eq!(bundle.json()["evidence"], served.tracerag.bundle(TRACE)["evidence"]);
    let query = "select service_name, name, duration_ns from spans order by start_time, span_id";
    let claims = "payments failed [span:c3c3c3c3c3c3c3c3] `status(span:c3c3c3c3c3c3c3c3) = ERROR`.";
    let verified = client.post("/v1/verify", &json!({"bundle_id": id, "claims": claims}));
    assert_eq!(verified.good()["all_hold"], true, "{}", verified.text);
    let answers = [
        ("post", "/v1/verify", 200, verified),
        ("post", "/v1/verify", 400, client.post("/v1/verify", &json!({"bundle_id": id}))),
        ("get", "/v1/fixes", 200, client.get("/v1/fixes")),
        ("post", "/v1/sql", 200, client.sql(query)),
        ("post", "/v1/similar", 200, client.post("/v1/similar", &json!({"text": "decimal overflow"}))),
        ("get", "/v1/bundles/{id}", 200, bundle),
        ("post", "/v1/bundles/{id}/pin", 200, client.post(&format!("/v1/bundles/{id}/pin"), &json!({}))),
        ("get", "/v1/traces/{id}", 200, client.get(&format!("/v1/traces/{TRACE}"))),
        ("get", "/v1/incidents", 200, client.get("/v1/incidents")),
        ("get", "/v1/incidents", 200, client.get("/v1/incidents?appeared_with=true")),
        ("get", "/v1/status", 200, client.get("/v1/status")),
        (
            "post",
            "/v1/fixes",
            201,
            client.post("/v1/fixes", &json!({"fingerprint": fingerprint, "summary": "round before the ledger"})),
        ),
        (
            "post",
            "/v1/groupings",
            400,
            client.post("/v1/groupings", &json!({"action": "split", "fingerprint": fingerprint})),
        ),
        ("get", "/v1/status", 400, client.get("/v1/status?verbose=1")),
        ("get", "/v1/traces/{id}", 404, client.get(&format!("/v1/traces/{}", "f".repeat(32)))),
        ("post", "/v1/sql", 403, client.sql("drop table spans")),
    ];
    for (method, path, status, answer) in &answers {
        assert_eq!(answer.status, *status, "{method} {path}: {}", answer.text);
        is_as_described(&description, method, path, answer);
    }
    assert_eq!(answers[3].3.json(), Value::Array(served.tracerag.sql(query)));
    assert_eq!(served.tracerag.number("select count(*) from bundles where pinned"), 1);
    let fixes = served.tracerag.sql("select summary, author from fixes");
    assert_eq!(fixes[0]["summary"], "round before the ledger", "{fixes:?}");

    let (_, metrics) = get(served.metrics, "/metrics").unwrap();
    assert!(metrics.contains("tracerag_visits_total{interface=\"http\",outcome=\"ok\"}"), "{metrics}");
    let Served { tracerag, replica } = served;
    assert!(replica.server.terminate(), "a signal ends the server");
    let rows = tracerag.sql("select operation, outcome, count(*) as n from audit where principal <> '' group by 1, 2");
    let count = |operation: &str, outcome: &str| {
        let row = rows.iter().find(|row| row["operation"] == operation && row["outcome"] == outcome);
        row.and_then(|row| row["n"].as_u64()).unwrap_or_else(|| panic!("no {operation} {outcome}: {rows:?}"))
    };
    assert_eq!((count("sql", "ok"), count("sql", "read-only"), count("fix", "ok")), (1, 1, 1), "{rows:?}");
    assert_eq!((count("trace", "ok"), count("trace", "trace-unknown"), count("pin", "ok")), (1, 1, 1), "{rows:?}");
}

/// That an answer has the form that the document gives it. What the example needs of JSON Schema is checked: types,
/// required members, members that there are not, items, values, references.
fn is_as_described(description: &Value, method: &str, path: &str, answer: &Answer) {
    let mut response = &description["paths"][path][method]["responses"][answer.status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = description.pointer(&reference[1..]).unwrap();
    }
    let media_type = answer.headers["content-type"].to_str().unwrap();
    let schema = &response["content"][media_type]["schema"];
    assert!(schema.is_object(), "{method} {path} {} {media_type} is not described", answer.status);
    conforms(description, schema, &answer.json(), &format!("{method} {path}"));
}

fn conforms(description: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return conforms(description, description.pointer(&reference[1..]).unwrap(), value, at);
    }
    let is_of = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{at}: unknown type {other}"),
    };
    match &schema["type"] {
        Value::String(name) => assert!(is_of(name), "{at} is no {name}: {value}"),
        Value::Array(names) => {
            assert!(names.iter().any(|name| is_of(name.as_str().unwrap())), "{at} is none of {names:?}: {value}");
        }
        _ => {}
    }
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{at} is none of {values:?}: {value}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        conforms(description, &schema["items"], item, &format!("{at}[{index}]"));
    }
    let Some(members) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(members.contains_key(name.as_str().unwrap()), "{at} lacks {name}: {value}");
    }
    for (name, member) in members {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => panic!("{at} has {name}, which is not described"),
            (Value::Null, other) => conforms(description, other, member, &format!("{at}.{name}")),
            (described, _) => conforms(description, described, member, &format!("{at}.{name}")),
        }
    }
}

/// Each command with `--server` prints what it prints on the lake; what the server refuses is the command's error, and
/// commands that no server can be asked are wrong use.
#[test]
fn commands_ask_a_server() {
    let served = Served::start(worked_example::replayed(), "");
    let token = served.token("default", ALL);
    let query = "select service_name, attributes, duration_ns from spans order by start_time, span_id";
    for format in ["table", "json", "csv"] {
        let arguments = ["sql", "--format", format, query];
        let ran = served.remote(&token, &arguments);
        assert_eq!((ran.status, ran.stdout), (0, served.tracerag.done(&arguments)), "{format}: {}", ran.stderr);
    }
    for arguments in [&["similar", "decimal overflow"][..], &["bundle", "--format", "markdown", TRACE]] {
        let ran = served.remote(&token, arguments);
        assert_eq!((ran.status, ran.stdout), (0, served.tracerag.done(arguments)), "{arguments:?}: {}", ran.stderr);
    }
    let bundle: Value = serde_json::from_str(&served.remote(&token, &["bundle", TRACE]).stdout).unwrap();
    assert_eq!(bundle["evidence"], served.tracerag.bundle(TRACE)["evidence"]);
    let id = bundle["bundle_id"].as_str().unwrap();
    let claims = |status: &str| {
        let text = format!("payments failed [span:c3c3c3c3c3c3c3c3] `status(span:c3c3c3c3c3c3c3c3) = {status}`.");
        served.tracerag.write(&format!("{status}.md"), text).display().to_string()
    };
    for (said, status) in [(claims("ERROR"), 0), (claims("OK"), 1)] {
        let arguments = ["verify", "--format", "json", "--bundle", id, &said];
        let (here, there) = (served.tracerag.run(&arguments), served.remote(&token, &arguments));
        assert_eq!((there.status, &there.stdout), (status, &here.stdout), "{}", there.stderr);
        let table = served.remote(&token, &["verify", "--bundle", id, &said]);
        assert!(table.stdout.contains("payments failed"), "{}", table.stdout);
    }
    // Whether a fix held is told of the failure that others are echoes of.
    let origins = served.tracerag.sql("select fingerprint from failures where origin_id is null");
    let fingerprint = origins[0]["fingerprint"].as_str().unwrap();
    let record = ["fix", "record", "--fingerprint", fingerprint, "--bundle", id, "--test", "TestRound"];
    let later = ["--summary", "round first, jane.doe@example.org", "--at", "2100-01-01T00:00:00Z"];
    let recorded = served.remote(&token, &[&record[..], &later[..]].concat());
    assert_eq!(recorded.status, 0, "{}", recorded.stderr);
    let early = ["--summary", "waited", "--outcome", "wrong", "--at", "2020-01-01T00:00:00Z"];
    assert_eq!(served.tracerag.run(&[&record[..], &early[..]].concat()).status, 0);
    let list = served.remote(&token, &["fix", "list", "--format", "json"]);
    assert_eq!(list.stdout, served.tracerag.done(&["fix", "list", "--format", "json"]), "{}", list.stderr);
    let fixes: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(fixes[0]["summary"], "round first, <email>", "{fixes:#}");
    assert_eq!((&fixes[0]["fix_id"], &fixes[0]["bundle_id"]), (&json!(recorded.stdout.trim()), &json!(id)));
    assert_eq!((&fixes[0]["came_back"], &fixes[1]["came_back"]), (&json!(false), &json!(true)), "{fixes:#}");
    assert_eq!((&fixes[1]["outcome"], &fixes[1]["test_name"]), (&json!("wrong"), &json!("TestRound")));
    let unknown = served.remote(&token, &["fix", "record", "--fingerprint", "none", "--summary", "x"]);
    assert!(unknown.status == 1 && unknown.stderr.contains("incident-unknown"), "{}", unknown.stderr);
    let merge = ["group", "merge", fingerprint, fingerprint];
    for ran in [served.tracerag.run(&merge), served.remote(&token, &merge)] {
        assert!(ran.status != 0 && ran.stderr.contains("one incident already"), "{}", ran.stderr);
    }
    let status = served.remote(&token, &["status"]);
    assert!(status.stdout.contains("tenant default") && status.stdout.contains("payments"), "{}", status.stdout);

    for (arguments, status, part) in [
        (&["sql", "drop table spans"][..], 1, "read only"),
        (&["bundle", "ffffffffffffffffffffffffffffffff"][..], 1, "trace-unknown"),
        (&["dead-letters", "list"][..], 2, "--server"),
    ] {
        let ran = served.remote(&token, arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    let ran = served.remote("tracerag_00", &["sql", "select 1"]);
    assert!(ran.status == 1 && ran.stderr.contains("token"), "{}", ran.stderr);
}

/// Tokens of two tenants see their own rows only; one that is revoked ends within five seconds, for which a busy machine is
/// given several tokens, and the list shows no secret.
#[test]
fn a_token_shows_its_tenant_until_it_is_revoked() {
    let served = Served::start(worked_example::replayed(), "");
    let (ours, theirs) = (served.token("default", "sql,read"), served.token("acme", "sql,read"));
    let spans = "select count(*) as n from spans";
    assert_eq!(served.client(&ours).sql(spans).good(), json!([{"n": 3}]));
    assert_eq!(served.client(&theirs).sql(spans).good(), json!([{"n": 0}]));
    assert_eq!(served.client(&theirs).get(&format!("/v1/bundles/{TRACE}")).code(), "trace-unknown");
    let ran = served.remote(&ours, &["sql", "--format", "json", "select tenant_id from spans limit 1"]);
    assert_eq!(ran.stdout, "[{\"tenant_id\":\"default\"}]\n");

    let list = served.done(&["token", "list", "--format", "json"]);
    assert!(!list.contains(&ours) && !list.contains(ours.trim_start_matches("tracerag_")), "{list}");
    let mut ours = Some(ours);
    in_time("to refuse a revoked token", Duration::from_secs(5), || {
        let token = ours.take().unwrap_or_else(|| served.token("default", "sql,read"));
        let list: Value = serde_json::from_str(&served.done(&["token", "list", "--format", "json"])).unwrap();
        let known = list["tokens"].as_array().unwrap().iter().find(|token| token["tenant"] == "default").unwrap();
        served.done(&["token", "revoke", known["id"].as_str().unwrap()]);
        let revoked = Instant::now();
        wait_for("a revoked token is refused", LIMIT, || {
            (served.client(&token).sql(spans).status == 401).then_some(())
        });
        ((), revoked.elapsed())
    });
    assert_eq!(served.client(&theirs).sql(spans).status, 200);
    let config = served.config.to_str().unwrap();
    let ran = served.tracerag.run(&["--config", config, "token", "revoke", "000000000000"]);
    assert!(ran.status == 1 && ran.stderr.contains("token list"), "{}", ran.stderr);
}

/// What is replayed while a server runs is seen by it within two seconds, for which a busy machine is given several replays.
#[test]
fn a_server_keeps_up_with_the_lake() {
    let tracerag = Tracerag::new();
    let replay = |tracerag: &Tracerag, number: usize| {
        let flag = json!({
            "time": "2026-11-16T12:00:01Z", "feature_flag.key": format!("flag-{number}"), "feature_flag.result.variant": "on",
        });
        tracerag.replay(&[&tracerag.write(&format!("{number}.jsonl"), format!("{flag}\n"))]);
    };
    replay(&tracerag, 0);
    let served = Served::start(tracerag, "");
    let client = served.client(&served.token("default", "sql"));
    let keys = || client.sql("select key from flags order by key").good();
    let first = |count: usize| -> Value { (0..count).map(|number| json!({"key": format!("flag-{number}")})).collect() };
    assert_eq!(keys(), first(1));
    let mut count = 1;
    in_time("to see what was replayed", Duration::from_secs(2), || {
        replay(&served.tracerag, count);
        count += 1;
        let replayed = Instant::now();
        wait_for("the flag is seen", LIMIT, || (keys() == first(count)).then_some(()));
        ((), replayed.elapsed())
    });
}

/// Without tokens the server takes everybody on this machine for the configured tenant, whatever address it is given,
/// and says so; pages of elsewhere, and names that only point here, are refused. With tokens it does not start where
/// they would cross the network in clear.
#[test]
fn without_tokens_this_machine_alone_is_answered() {
    let tracerag = worked_example::replayed();
    let (port, metrics) = (free_port(), free_port());
    let text = |tokens: &str| {
        format!(
            "[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[serve]\nhttp = \"0.0.0.0:{port}\"\nflight_sql = \"\"\n\
             postgres = \"\"\ntokens_file = \"{tokens}\"\n"
        )
    };
    let config = tracerag.write("tokens.toml", text("tokens.json"));
    let ran = tracerag.run(&["--config", config.to_str().unwrap(), "serve"]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("serve.tls_certificate"), "{}", ran.stderr);

    let config = tracerag.write("open.toml", text(""));
    let server = tracerag.background(&config, &["serve"], "serve.log");
    let client = Client::of(port, None);
    let answer = wait_for("the server answers", LIMIT, || {
        assert!(server.alive(), "{}", server.log_tail());
        client.send(Method::POST, "/v1/sql", &[], Some(&json!({"query": "select count(*) as n from spans"})))
    });
    assert_eq!(answer.good(), json!([{"n": 3}]));
    assert!(server.log_tail().contains("no tokens are configured"), "{}", server.log_tail());
    for header in [("host", "rebound.example.com"), ("origin", "https://evil.example.com")] {
        let answer = client.send(Method::GET, "/v1/status", &[header], None).unwrap();
        assert_eq!(answer.status, 403, "{header:?}: {}", answer.text);
    }
    let taken = std::net::TcpListener::bind(("127.0.0.2", port));
    assert!(taken.is_ok(), "the server listens on 127.0.0.1 alone");
}

/// With a certificate the port speaks TLS: who trusts its authority is answered, who does not is not, and neither is who
/// asks in clear.
#[test]
fn the_port_speaks_tls() {
    let tracerag = worked_example::replayed();
    let (certificates, server) = Certificates::of_a_server(&tracerag.path("tls"));
    let more =
        format!("tls_certificate = \"{}\"\ntls_key = \"{}\"", server.certificate.display(), server.key.display());
    let port_of = |served: &Served| format!("https://127.0.0.1:{}", served.port);
    let served = Served::start(tracerag, &more);
    let made = served.done(&["token", "create"]);
    let ask = |authority: Authority| {
        let variables = [
            ("TRACERAG_TOKEN".to_owned(), made.trim().to_owned()),
            ("SSL_CERT_FILE".to_owned(), certificates.authority(authority).display().to_string()),
        ];
        let arguments = ["--server", &port_of(&served), "sql", "--format", "csv", "select count(*) as n from spans"];
        served.tracerag.run_elsewhere(&variables, &arguments)
    };
    let answered = wait_for("who trusts the authority is answered", LIMIT, || {
        let ran = ask(Authority::Trusted);
        assert!(ran.status == 0 || ran.stderr.contains("token"), "{}", ran.stderr);
        (ran.status == 0).then_some(ran.stdout)
    });
    assert_eq!(answered, "n\n3\n");
    let ran = ask(Authority::Other);
    assert!(ran.status == 1 && ran.stderr.contains("certificate"), "{}", ran.stderr);
    assert!(Client::of(served.port, None).send(Method::GET, "/healthz", &[], None).is_none());
}
