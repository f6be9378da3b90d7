//! Exports that other engines read, and the lake as they open it.

use serde_json::Value;

use crate::support::clients::Clients;
use crate::support::program::Tracerag;
use crate::worked_example;

fn export(tracerag: &Tracerag, to: &str, more: &[&str]) -> Value {
    let arguments = [&["export", "--to", to][..], more].concat();
    serde_json::from_str(&tracerag.done(&arguments)).unwrap()
}

/// Counts and sums by table, as SQL gives them: what every engine has to find in the exports.
fn expected(tracerag: &Tracerag) -> String {
    let spans = &tracerag.sql("select count(*) as n, sum(duration_ns) as s from spans")[0];
    let logs = &tracerag.sql("select count(*) as n from logs")[0];
    let metrics = &tracerag.sql("select count(*) as n from metrics")[0];
    let routes = &tracerag.sql("select count(attributes['http.route']) as n from spans")[0];
    serde_json::json!({
        "spans": spans["n"], "duration_ns": spans["s"], "logs": logs["n"], "metrics": metrics["n"], "routes": routes["n"],
    })
    .to_string()
}

/// The worked example is exported as Parquet with maps, as Parquet with JSON, and as Delta; pandas, DuckDB and deltalake
/// read each back, and pylance and, where it is there, DuckDB's Lance extension open the lake: see
/// `tests/clients/exports.py`. Guarantees that all of them find the rows that SQL finds, with equal sums.
#[test]
fn other_engines_find_the_same_rows() {
    let Some(clients) = Clients::find() else { return };
    let tracerag = worked_example::replayed();
    let [map, json, delta] = ["map", "json", "delta"].map(|name| tracerag.path(name).display().to_string());
    export(&tracerag, &map, &[]);
    export(&tracerag, &json, &["--maps", "json", "--times", "us"]);
    export(&tracerag, &delta, &["--format", "delta"]);
    let ran = clients.python("exports.py", &[&map, &json, &delta, tracerag.lake(), &expected(&tracerag)]);
    assert_eq!((ran.status, ran.stdout.trim()), (0, "equal"), "{}{}", ran.stdout, ran.stderr);
}

/// A second export of the same position writes nothing; with more tables it adds them and leaves the others; since 0
/// it reports everything again, and since a position that nobody exported nothing. Guarantees that an export goes on
/// where the last one stood, and refuses a folder of another kind.
#[test]
fn an_export_goes_on_where_it_stood() {
    let tracerag = worked_example::replayed();
    let to = tracerag.path("exported").display().to_string();
    let first = export(&tracerag, &to, &["--tables", "spans"]);
    let changed = |report: &Value| {
        let changed = report["changed"].as_array().unwrap();
        changed.iter().map(|one| one["table"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!changed(&first).is_empty() && changed(&first).iter().all(|table| table == "spans"), "{first:#}");
    for file in first["changed"].as_array().unwrap().iter().flat_map(|one| one["files"].as_array().unwrap()) {
        assert!(std::path::Path::new(&to).join(file.as_str().unwrap()).is_file(), "{file}");
    }
    assert_eq!(changed(&export(&tracerag, &to, &["--tables", "spans"])), Vec::<String>::new());
    let more = export(&tracerag, &to, &["--tables", "logs"]);
    assert!(changed(&more).iter().all(|table| table == "logs") && !changed(&more).is_empty(), "{more:#}");
    let all = export(&tracerag, &to, &["--tables", "logs", "--since-position", "0"]);
    assert!(changed(&all).contains(&"spans".to_owned()) && all["since_position"].is_null(), "{all:#}");
    for wrong in
        [&["--since-position", "999999"][..], &["--format", "delta"], &["--tables", "traces"], &["--maps", "json"]]
    {
        let ran = tracerag.run(&[&["export", "--to", &to][..], wrong].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{wrong:?}: {}", ran.stderr);
    }
}

/// The lake is made anew at the same address, with equal positions and versions, and only one of two exported tables is
/// asked for. Guarantees that both are written anew, that nothing of the lake of before is left, and that the export after
/// it goes on as ever.
#[test]
fn an_export_of_a_lake_that_was_made_anew_begins_anew() {
    let [tracerag, other] = [worked_example::replayed(), worked_example::replayed_anew()];
    let to = tracerag.path("exported").display().to_string();
    let files = |report: &Value| -> Vec<String> {
        let changed = report["changed"].as_array().unwrap().iter();
        let files = changed.flat_map(|one| one["files"].as_array().unwrap());
        files.map(|file| file.as_str().unwrap().to_owned()).collect()
    };
    let is_there = |file: &String| std::path::Path::new(&to).join(file).is_file();
    let before = files(&export(&tracerag, &to, &["--tables", "spans,logs"]));
    std::fs::remove_dir_all(tracerag.lake()).unwrap();
    std::fs::rename(other.lake(), tracerag.lake()).unwrap();
    let after = files(&export(&tracerag, &to, &["--tables", "spans"]));
    for table in ["spans/", "logs/"] {
        assert!(after.iter().any(|file| file.starts_with(table)), "{table}: {after:?}");
    }
    assert!(after.iter().all(is_there) && !before.iter().any(is_there), "{before:?} {after:?}");
    assert_eq!(files(&export(&tracerag, &to, &[])).iter().filter(|file| after.contains(file)).count(), 0);
    assert!(after.iter().all(is_there), "{after:?}");
}
