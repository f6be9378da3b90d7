//! Canaries on the recording of `examples/checkout`, by the command and by those who ask a server for them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::checkout::replayed;
use crate::support::client::Client;
use crate::support::note;
use crate::support::served::Served;

const ARGO: &str = include_str!("../deploy/canary/argo-rollouts.yaml");
const FLAGGER: &str = include_str!("../deploy/canary/flagger.yaml");
const LAUNCHDARKLY: &str = include_str!("../deploy/canary/launchdarkly.yaml");
/// Before everything that was ever recorded: how long ago the recording is changes from day to day.
const SINCE: &str = "2026-01-01T00:00:00Z";
const FAULTY: [&str; 4] = ["--baseline", "1.8.2", "--candidate", "1.9.0"];
const FIXED: [&str; 4] = ["--baseline", "1.8.2", "--candidate", "1.9.1"];

fn arguments<'a>(versions: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&["canary", "--service", "payments", "--since", SINCE, "--format", "json"][..], versions, more].concat()
}

fn report(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The release with the fault fails against the one before it, because of the overflow that only it has, and with the
/// bundle of such a failure, too; the release with the fix does not fail, and says what keeps it from passing if it
/// does not pass. The exit status is 0 for pass only, and a server gives the same report.
#[test]
fn the_faulty_release_fails_and_the_fixed_one_does_not() {
    let served = Served::start(replayed(&[]), "");
    let tracerag = &served.tracerag;
    let token = served.token("default", "read");
    let overflow =
        "select trace_id, fingerprint from failures where exception_type = '*payments.OverflowError' limit 1";
    let overflow = &tracerag.sql(overflow)[0];
    let bundle = tracerag.bundle(overflow["trace_id"].as_str().unwrap());
    let of_bundle = ["--bundle", bundle["bundle_id"].as_str().unwrap()];
    for more in [&of_bundle[..0], &of_bundle[..]] {
        let ran = tracerag.run(&arguments(&FAULTY, more));
        let faulty = report(&ran.stdout);
        assert_eq!((ran.status, &faulty["verdict"]), (1, &json!("fail")), "{faulty:#}");
        assert!(ran.stderr.contains("the verdict on 1.9.0 is fail"), "{}", ran.stderr);
        let found =
            faulty["failures"].as_array().unwrap().iter().find(|one| one["fingerprint"] == overflow["fingerprint"]);
        let found = found.unwrap_or_else(|| panic!("{faulty:#}"));
        assert_eq!((&found["new"], &found["worse"]), (&json!(true), &json!(true)), "{found:#}");
        assert_eq!(found["of_bundle"], !more.is_empty());

        let ran = tracerag.run(&arguments(&FIXED, more));
        let fixed = report(&ran.stdout);
        let verdict = fixed["verdict"].as_str().unwrap();
        assert!(verdict == "pass" || verdict == "inconclusive", "{fixed:#}");
        assert_eq!(ran.status, i32::from(verdict != "pass"), "{}", ran.stderr);
        assert!(!fixed["reasons"].as_array().unwrap().is_empty());
    }
    let until = ["--until", "2036-01-01T00:00:00Z"];
    let here = tracerag.run(&arguments(&FAULTY, &until));
    let there = served.remote(&token, &arguments(&FAULTY, &until));
    assert_eq!((there.status, report(&there.stdout)), (1, report(&here.stdout)), "{}", there.stderr);

    // For people: the verdict first, and a row a figure.
    let shown = tracerag.run(&[&["canary", "--service", "payments", "--since", SINCE][..], &FAULTY].concat());
    assert!(shown.stdout.starts_with("fail: payments 1.9.0 against 1.8.2\n- "), "{}", shown.stdout);
    assert!(shown.stdout.contains("│ spans that failed") && shown.stdout.contains("p99 of "), "{}", shown.stdout);
}

/// An objective of a file, as TOML and as JSON, stands for the baseline; one that allows nothing fails any version with
/// errors. A file that is none is refused with what one has.
#[test]
fn an_objective_file_stands_for_the_baseline() {
    let tracerag = replayed(&[]);
    let candidate = ["--candidate", "1.9.0"];
    let of = |name: &str, text: &str| {
        let file = tracerag.write(name, text).display().to_string();
        tracerag.run(&arguments(&candidate, &["--objective", &file]))
    };
    let strict = of("strict.toml", "target = 0.99999\nwindow = \"1d\"\nbudget = 0.5\n");
    assert_eq!((strict.status, &report(&strict.stdout)["verdict"]), (1, &json!("fail")), "{}", strict.stdout);
    let lax = of("lax.json", r#"{"target": 0.5, "window": "3650d", "budget": 0.9, "slower_than": "10s"}"#);
    assert_eq!((lax.status, &report(&lax.stdout)["verdict"]), (0, &json!("pass")), "{}", lax.stdout);
    let wrong = of("wrong.toml", "goal = 0.99\n");
    assert!(wrong.status == 1 && wrong.stderr.contains("an objective has target"), "{}", wrong.stderr);
}

/// What follows a name in a manifest, without quotes.
fn member<'a>(text: &'a str, name: &str) -> &'a str {
    let line =
        text.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("the manifest has no {name}")).trim().trim_matches('"')
}

/// The request that the web metric of the manifest makes is answered with JSON of which its path takes the verdict: by
/// its conditions a failure for the faulty release, and none for the fixed one.
#[test]
fn argo_rollouts_reads_the_verdict() {
    let served = Served::start(replayed(&[]), "");
    let token = served.token("default", "read");
    assert!(ARGO.contains(r#"value: "Bearer {{args.token}}""#));
    let url = member(ARGO, "url");
    let (_, path) = url.split_once(":8080").unwrap();
    let path_to_verdict = member(ARGO, "jsonPath").trim_start_matches("{$.").trim_end_matches('}').to_owned();
    let of_condition = |name: &str| member(ARGO, name).replace("result == ", "").replace('"', "");
    let (success, failure) = (of_condition("successCondition"), of_condition("failureCondition"));
    for (candidate, is_failure) in [("1.9.0", true), ("1.9.1", false)] {
        let values = [("service", "payments"), ("baseline", "1.8.2"), ("candidate", candidate), ("since", SINCE)];
        let asked = values
            .iter()
            .fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{{args.{name}}}}}"), value));
        assert!(!asked.contains("args."), "{asked}");
        let answer = served.client(&token).get(&asked).good();
        let result = answer[&path_to_verdict].as_str().unwrap().to_owned();
        assert_eq!(result == failure, is_failure, "{answer:#}");
        assert!(result == failure || result == success || result == "inconclusive", "{result}");
    }
}

/// The webhooks of the manifest, as Flagger posts them: without a header, what the manifest has under `metadata`, and
/// what Flagger adds. For the faulty release the rollout and the promotion are stopped with a status beyond 2xx and a
/// reason, and the hook for a rollback answers 200; for the fixed one the rollout goes on, and nothing is rolled back.
#[test]
fn flagger_reads_the_status() {
    let served = Served::start(replayed(&[]), "");
    let token = served.token("default", "read");
    let client = Client::of(served.port, None);
    let mut hooks = 0;
    for hook in FLAGGER.split("      - name: ").skip(1) {
        hooks += 1;
        let kind = member(hook, "type");
        let (_, path) = member(hook, "url").split_once(":8080").unwrap();
        let (_, metadata) = hook.split_once("metadata:\n").unwrap();
        let members = metadata.lines().take_while(|line| line.starts_with("          "));
        let mut metadata: serde_json::Map<String, Value> = members
            .filter_map(|line| line.trim().split_once(": "))
            .map(|(name, value)| (name.to_owned(), json!(value.trim_matches('"'))))
            .collect();
        metadata.insert(String::from("since"), json!(SINCE));
        assert_eq!(metadata.insert(String::from("token"), json!(token)), Some(json!("TOKEN")));
        for (candidate, is_faulty) in [("1.9.0", true), ("1.9.1", false)] {
            metadata.insert(String::from("candidate"), json!(candidate));
            let body = json!({"name": "payments", "namespace": "shop", "phase": "Progressing", "checksum": "85d557f47b",
                "metadata": metadata});
            let answer = client.post(path, &body);
            let goes_well = (200..=202).contains(&answer.status);
            match (kind, is_faulty) {
                ("rollout" | "confirm-promotion", true) => {
                    assert_eq!((answer.status, answer.code().as_str()), (409, "canary-fail"), "{}", answer.text);
                    assert!(answer.text.contains("failures: a new failure"), "{}", answer.text);
                }
                ("rollout", false) => assert!(goes_well, "{}", answer.text),
                // Whether it passes depends on how much was recorded.
                ("confirm-promotion", false) => assert!(goes_well || answer.code() == "canary-inconclusive"),
                ("rollback", _) => assert_eq!(goes_well, is_faulty, "{}", answer.text),
                (other, _) => panic!("a hook of another type: {other}"),
            }
        }
    }
    assert_eq!(hooks, 3);
}

/// The script of the manifest, run by a shell with curl as in its container: for a variant that is worse it posts to
/// the address of the flag trigger, once and by nothing but POST; for a variant that nobody saw it posts nothing.
#[test]
fn the_guard_of_a_flag_pulls_its_trigger() {
    if !Command::new("curl").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true, and curl is not there");
        return note("left out, curl is not there");
    }
    let (_, script) = LAUNCHDARKLY.split_once("                - |\n").unwrap();
    let script: String = script.lines().map(|line| format!("{}\n", line.trim())).collect();
    let served = Served::start(replayed(&[]), "");
    let token = served.token("default", "read");
    let trigger = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let trigger_url = format!("http://{}/webhook/triggers/1/secret", trigger.local_addr().unwrap());
    let posted = std::thread::spawn(move || {
        let (mut connection, _) = trigger.accept().unwrap();
        let mut request = [0; 4_096];
        let read = connection.read(&mut request).unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        // One connection only: another one would be refused, and the script would fail.
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let guard = |candidate: &str| {
        let manifest = |name: &str| {
            let (_, rest) = LAUNCHDARKLY.split_once(&format!("name: {name}, value: \"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let mut shell = Command::new("/bin/sh");
        shell.args(["-ceu", &script]).env("no_proxy", "*");
        for name in ["SERVICE", "FLAG", "BASELINE", "ALPHA"] {
            shell.env(name, manifest(name));
        }
        shell.env("CANDIDATE", candidate).env("SINCE", SINCE);
        shell.env("TRACERAG_URL", format!("http://127.0.0.1:{}", served.port)).env("TRACERAG_TOKEN", &token);
        let ran = shell.env("LAUNCHDARKLY_TRIGGER_URL", &trigger_url).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(guard("nobody-saw-it").contains(r#""verdict":"inconclusive""#));
    assert!(!posted.is_finished(), "the trigger was pulled for a variant that nobody saw");
    let worse = guard("strict");
    assert!(worse.contains(r#""verdict":"fail""#), "{worse}");
    let request = posted.join().unwrap();
    assert!(request.starts_with("POST /webhook/triggers/1/secret HTTP/1.1\r\n"), "{request}");

    // What the script asks for is documented.
    let document = served.client(&token).send(Method::GET, "/openapi.json", &[], None).unwrap().json();
    let parameters = document.pointer("/paths/~1v1~1canary/get/parameters").and_then(Value::as_array).unwrap();
    for name in script.split("--data-urlencode \"").skip(1).filter_map(|rest| rest.split('=').next()) {
        assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{name}");
    }
}
