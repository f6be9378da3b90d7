use arrow::datatypes::Field;

use super::column::*;

pub(super) fn bundle_columns() -> Vec<Field> {
    vec![
        text("tenant_id"),
        text("bundle_id"),
        text("trace_id"),
        code("revision"),
        int("position"),
        time("created_at"),
        boolean("sealed"),
        boolean("pinned"),
        text("supersedes"),
        text("bundle"),
    ]
}

pub(super) fn fix_columns() -> Vec<Field> {
    vec![
        text("tenant_id"),
        text("fix_id"),
        text("fingerprint"),
        time("fixed_at"),
        text("author"),
        text("summary"),
        text("patch_url"),
        text("bundle_id"),
        text("outcome"),
        text("test_name"),
        text("fixed_version"),
        text("fixed_git_sha"),
    ]
}

/// Of a person, `action` is `merge` (into `target`) or `split` (off `target`), and the versions are null. A row with
/// `to_version` says what became of an incident when the rules of fingerprints changed: `map` (it goes on as `target`), or
/// `split` without a target (its failures go to several, so that it stays on its own).
pub(super) fn grouping_rule_columns() -> Vec<Field> {
    vec![
        text("tenant_id"),
        text("rule_id"),
        text("action"),
        text("fingerprint"),
        text("target"),
        text("author"),
        text("reason"),
        time("created_at"),
        code("from_version"),
        code("to_version"),
    ]
}

pub(super) fn audit_columns() -> Vec<Field> {
    vec![
        text("tenant_id"),
        time("time"),
        text("principal"),
        text("interface"),
        text("operation"),
        text("arguments"),
        int("rows"),
        int("bytes"),
        text("bundle_id"),
        text("outcome"),
    ]
}
