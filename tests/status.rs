//! What `status` tells of a lake, with nobody else there to ask.

use serde_json::Value;

use crate::support::free_port;
use crate::support::program::Tracerag;
use crate::worked_example;

/// The worked example, and a configuration whose broker and worker do not answer.
fn lonely() -> (Tracerag, String) {
    let tracerag = worked_example::replayed();
    let (broker, worker) = (free_port(), free_port());
    let config = tracerag.write(
        "lonely.toml",
        format!(
            "[kafka]\nbootstrap_servers = \"127.0.0.1:{broker}\"\n[metrics]\nlisten = \"127.0.0.1:{worker}\"\n\
             [redaction]\nkey = \"0123456789abcdef0123456789abcdef\"\n"
        ),
    );
    (tracerag, config.display().to_string())
}

/// As JSON, each service has its counts: payments says its build and evaluated its flag, nothing is known of a flag
/// of checkout. What nobody can tell is null and says why, and the rest is there all the same.
#[test]
fn json_tells_what_is_known_of_each_service() {
    let (tracerag, config) = lonely();
    let text = tracerag.done(&["--config", &config, "status", "--format", "json"]);
    let status: Value = serde_json::from_str(&text).unwrap();
    let service = |name: &str| {
        let services = status["services"].as_array().unwrap();
        services.iter().find(|row| row["service"] == name).unwrap_or_else(|| panic!("no {name}: {status:#}"))
    };
    let payments = service("payments");
    assert_eq!((&payments["spans"], &payments["builds_stated"]), (&1.into(), &1.into()), "{payments:#}");
    assert_eq!((&payments["flags_stated"], &payments["flags_missing"]), (&1.into(), &0.into()), "{payments:#}");
    assert_eq!(payments["flag_evaluations"], 1, "{payments:#}");
    let checkout = service("checkout");
    assert_eq!((&checkout["flags_stated"], &checkout["flags_missing"]), (&0.into(), &1.into()), "{checkout:#}");
    assert!(status["services_since"].as_str().unwrap().starts_with("2026-11-15T12:"), "{status:#}");
    assert_eq!(status["tables"]["spans"], 3);
    assert_eq!(status["schema_version"], status["newest_schema_version"], "{status:#}");
    assert!(status["schema_version"].is_number(), "{status:#}");
    assert_eq!(status["dead_letters"], Value::Array(vec![]));
    let partitions = status["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 6, "{partitions:#?}");
    assert!(partitions.iter().all(|partition| partition["lag"].is_null() && partition["next_offset"].is_number()));
    assert!(status["waiting_for_topics"].is_null() && status["open_traces"].is_null(), "{status:#}");
    assert!(status["broker_error"].as_str().unwrap().contains("no kafka broker answers at 127.0.0.1:"), "{status:#}");
}

/// As a table, the same for people: one line says that no broker answers, one that no worker does.
#[test]
fn the_table_says_who_does_not_answer() {
    let (tracerag, config) = lonely();
    let text = tracerag.done(&["--config", &config, "status"]);
    for expected in [
        "lag and missing topics are not known: no kafka broker answers at 127.0.0.1:",
        "open traces: not known, no worker answers at 127.0.0.1:",
        "that of this release",
        "Partitions",
        "read again after a restart",
        "flags inferred",
        "payments",
        "Dead letters",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}
