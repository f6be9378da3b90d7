//! What the program says to lakes of other schemas.

use std::process::Command;
use std::sync::Arc;

use tracerag_index::{Lake, LakeOptions};
use tracerag_schemas::Schemas;

use crate::support::program::Tracerag;

/// A lake that a program of the first schema wrote (`scripts/make-lake-fixture.sh`) answers questions as any other.
/// Migrating it says what is done and changes no row; done again, there is nothing to do.
#[test]
fn a_lake_of_the_first_schema_is_used_and_migrated() {
    let tracerag = Tracerag::new();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lake-schema-1.tar.gz");
    let unpacked = Command::new("tar").args(["-xzf", archive, "-C"]).arg(tracerag.path("")).status().unwrap();
    assert!(unpacked.success());
    let status = tracerag.done(&["status"]);
    assert!(status.contains("schema version 1"), "{status}");
    assert_eq!(tracerag.number("select count(*) from spans"), 1_536);
    for arguments in [&["migrate", "--dry-run"][..], &["migrate"]] {
        let said = tracerag.done(arguments);
        assert!(said.contains("schema version"), "{said}");
    }
    assert!(tracerag.done(&["migrate"]).contains("nothing to do"));
    assert_eq!(tracerag.number("select count(*) from spans"), 1_536);
}

/// A lake that a newer release has migrated is refused by whoever reads or writes it, with status 1, nothing on
/// standard output, and the release that is needed.
#[test]
fn a_newer_lake_is_refused() {
    let tracerag = Tracerag::new();
    let newer = Schemas::default().with_next(&[]);
    let found = newer.version();
    let options = LakeOptions { schemas: Arc::new(newer), ..LakeOptions::new(tracerag.path("lake").to_str().unwrap()) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Lake::open_or_create(options)).unwrap();
    let flags = tracerag.write(
        "flags.jsonl",
        r#"{"time": "2026-11-16T11:00:00Z", "feature_flag.key": "a.b", "feature_flag.result.variant": "on"}"#,
    );
    let flags = flags.display().to_string();
    for command in [&["status"][..], &["sql", "select 1"], &["migrate"], &["replay", flags.as_str()]] {
        let ran = tracerag.run(command);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{command:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("the lake has schema version {found}")), "{command:?}: {}", ran.stderr);
    }
}
