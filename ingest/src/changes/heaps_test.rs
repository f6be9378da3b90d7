#![allow(clippy::unwrap_used)]

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use proptest::prelude::*;
use tracerag_schemas::SourcePartition;

use super::*;
use crate::redact::{PayloadConfig, RedactionConfig};

fn decoder() -> HeapDecoder {
    let redaction = RedactionConfig { key: "0123456789abcdef".to_owned(), ..RedactionConfig::default() };
    HeapDecoder::new(Arc::new(Redactor::new(&redaction, &PayloadConfig::default()).unwrap()))
}

fn decode(decoder: &mut HeapDecoder, json: &str) -> Result<(), ChangeError> {
    let source = SourcePartition::new("c", "heap_summaries", 0);
    let origin = Origin { tenant: "default", source: &source, offset: 9, timestamp: Some(77), ingested_at: 100 };
    decoder.decode(json.as_bytes(), &origin)
}

fn row(json: &str) -> RecordBatch {
    let mut decoder = decoder();
    decode(&mut decoder, json).unwrap();
    decoder.finish().unwrap()
}

fn text(batch: &RecordBatch, name: &str) -> Option<String> {
    let column = batch[name].as_string::<i32>();
    column.is_valid(0).then(|| column.value(0).to_owned())
}

/// Personal data in any field of a heap record is in no column.
#[test]
fn no_field_is_stored_as_it_came() {
    let mail = "jane.doe@example.org";
    let record = serde_json::json!({
        "format": "summary", "service.name": mail, "service.instance.id": mail, "git_sha": mail,
        "snapshot_uri": format!("s3://heaps/{mail}"), "snapshot_sha256": mail,
        "top_types": [{"type": mail, "bytes": 1}], "top_sites": [{"function": mail, "file": mail, "bytes": 1}],
        "retained_paths": [[mail]],
    });
    let all = format!("{:?}", row(&record.to_string()));
    assert!(!all.contains("jane.doe") && all.contains("<email>"), "{all}");
}

/// The documented record becomes a row with everything in it; unknown fields are ignored.
#[test]
fn the_documented_record() {
    let batch = row(
        r#"{"format": "pprof", "captured_at": "2026-11-16T12:00:03Z", "trace_id": "AC1D92B0AC1D92B0AC1D92B0AC1D92B0",
            "span_id": "ac1d92b0ac1d92b0", "service.name": "payments", "service.instance.id": "payments-b-1",
            "vcs.ref.head.revision": "a1b2c3d", "more": {"of": "this"},
            "top_types": [{"type": "decimal.Big", "bytes": 3840000, "count": 12000}],
            "top_sites": [{"function": "round", "file": "payments/rounding.go", "line": 117, "bytes": 1, "count": 1}],
            "retained_paths": [["root", "cache", "decimal.Big"]], "total_bytes": 5000000,
            "snapshot_uri": "s3://heaps/a.pb.gz", "snapshot_sha256": "AB", "truncated": false}"#,
    );
    assert_eq!(text(&batch, "trace_id").unwrap(), "ac1d92b0ac1d92b0ac1d92b0ac1d92b0");
    assert_eq!(text(&batch, "span_id").unwrap(), "ac1d92b0ac1d92b0");
    assert_eq!(text(&batch, "git_sha").unwrap(), "a1b2c3d");
    assert_eq!(text(&batch, "snapshot_sha256").unwrap(), "ab");
    assert_eq!(batch["captured_at"].as_primitive::<TimestampNanosecondType>().value(0), 1_794_830_403_000_000_000);
    let types = batch["top_types"].as_list::<i32>().value(0);
    let types = types.as_struct();
    assert_eq!(types.column(0).as_string::<i32>().value(0), "decimal.Big");
    assert_eq!(types.column(1).as_primitive::<Int64Type>().value(0), 3_840_000);
    let sites = batch["top_sites"].as_list::<i32>().value(0);
    assert_eq!(sites.as_struct().column(1).as_string::<i32>().value(0), "payments/rounding.go");
    assert_eq!(sites.as_struct().column(2).as_primitive::<Int64Type>().value(0), 117);
    let paths = batch["retained_paths"].as_list::<i32>().value(0);
    assert_eq!(
        paths.as_list::<i32>().value(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["root", "cache", "decimal.Big"]
    );
    assert_eq!(batch["total_bytes"].as_primitive::<Int64Type>().value(0), 5_000_000);
    assert!(!batch["truncated"].as_boolean().value(0));
}

/// Without ids, time and totals the row has nulls and the record's own time; nanoseconds are a time too.
#[test]
fn absent_fields() {
    let batch = row(
        r#"{"format": "V8", "top_types": [{"type": "Big", "bytes": 1}], "trace_id": "00000000000000000000000000000000"}"#,
    );
    for name in ["trace_id", "span_id", "service_name", "git_sha", "snapshot_uri"] {
        assert_eq!(text(&batch, name), None, "{name}");
    }
    assert_eq!(text(&batch, "format").unwrap(), "v8");
    assert!(batch["top_sites"].is_null(0) && batch["total_bytes"].is_null(0));
    assert_eq!(batch["captured_at"].as_primitive::<TimestampNanosecondType>().value(0), 77);
    let batch = row(r#"{"format": "jfr", "captured_at": 1700000000000000001, "snapshot_uri": "s3://a"}"#);
    assert_eq!(batch["captured_at"].as_primitive::<TimestampNanosecondType>().value(0), 1_700_000_000_000_000_001);
}

/// Long lists keep the fifty largest, ordered by bytes, then by name, and the row says that it was cut.
#[test]
fn lists_are_cut_to_the_largest() {
    let types: Vec<String> =
        (0..60).map(|i| format!(r#"{{"type": "T{i:02}", "bytes": {}, "count": 1}}"#, i / 2)).collect();
    let batch = row(&format!(
        r#"{{"format": "hprof", "top_types": [{}, {{"type": 5, "bytes": 1}}, {{"type": "x"}}]}}"#,
        types.join(",")
    ));
    let kept = batch["top_types"].as_list::<i32>().value(0);
    let kept: Vec<&str> = kept.as_struct().column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!((kept.len(), &kept[..3], kept[49]), (50, &["T58", "T59", "T56"][..], "T11"));
    assert!(batch["truncated"].as_boolean().value(0));
}

/// Names and paths lose what is personal or secret: masked text, home directories, signed queries.
#[test]
fn names_are_scanned() {
    let batch = row(r#"{"format": "summary", "top_types": [{"type": "User_alice@example.com", "bytes": 1}],
            "top_sites": [{"function": "f", "file": "/home/alice/shop/a.py", "bytes": 3}, {"file": "C:\\Users\\alice\\b.cs", "bytes": 2},
                          {"file": "/root/c.go", "bytes": 1}, {"bytes": 9}],
            "retained_paths": [["root", "bob@example.com"]], "snapshot_uri": "https://s/h?X-Amz-Signature=abcdef"}"#);
    let types = batch["top_types"].as_list::<i32>().value(0);
    assert!(!types.as_struct().column(0).as_string::<i32>().value(0).contains("alice"));
    let sites = batch["top_sites"].as_list::<i32>().value(0);
    let files: Vec<&str> = sites.as_struct().column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!(files, ["shop/a.py", "b.cs", "c.go"]);
    let paths = batch["retained_paths"].as_list::<i32>().value(0).as_list::<i32>().value(0);
    assert_eq!(paths.as_string::<i32>().value(1), "<email>");
    assert_eq!(text(&batch, "snapshot_uri").unwrap(), "https://s/h");
}

/// What is wrong is said in words that show nothing of the record, and leaves no row behind.
#[test]
fn errors_in_words() {
    let mut decoder = decoder();
    for (json, part) in [
        ("[]", "not a JSON object"),
        ("{}", "format"),
        (r#"{"format": "alice@example.com", "top_types": []}"#, "use pprof"),
        (r#"{"format": "pprof"}"#, "top_types"),
        (r#"{"format": "pprof", "top_types": {}}"#, "a list"),
        (r#"{"format": "pprof", "snapshot_uri": "a", "captured_at": "x"}"#, "RFC 3339"),
        (r#"{"format": "pprof", "snapshot_uri": "a", "captured_at": 1.5}"#, "RFC 3339"),
    ] {
        let error = decode(&mut decoder, json).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("alice"), "{json}: {error}");
    }
    assert!(decoder.is_empty());
}

proptest! {
    /// Numbers, names and paths of any form are taken or refused, without a panic.
    #[test]
    fn any_values(name in ".{0,40}", file in ".{0,40}", bytes in any::<f64>(), line in any::<i64>()) {
        let record = serde_json::json!({
            "format": "pprof", "snapshot_uri": name, "captured_at": line, "total_bytes": bytes,
            "top_types": [{"type": name, "bytes": line}], "top_sites": [{"file": file, "bytes": bytes, "line": line}],
            "retained_paths": [[file, 1], 2],
        });
        let mut decoder = decoder();
        if decode(&mut decoder, &record.to_string()).is_ok() {
            prop_assert_eq!(decoder.finish().unwrap().num_rows(), 1);
        }
    }
}
