//! Fingerprints that are made once more, of rows that are stored.

use super::*;

/// Rows as a release wrote them that did not store the path and the error. Guarantees that what is grouped without them
/// has its fingerprint all the same, and that of the others nothing is said rather than something wrong.
#[test]
fn rows_without_a_path_are_grouped_where_it_does_not_matter() {
    let spans = [
        span("01", None, json!({"events": exception("a.B", "cannot round half of the amounts", JAVA)})),
        span("02", None, json!({"trace_id": "2".repeat(32), "status_code": "ERROR", "error_type": "timeout"})),
    ];
    let found = run(&spans, &[], &[]);
    let is_kept = |name: &String| !name.starts_with("grouping_");
    let names: Vec<String> =
        found.failures.schema().fields().iter().map(|field| field.name().clone()).filter(is_kept).collect();
    let kept: Vec<usize> = names.iter().map(|name| found.failures.schema().index_of(name).unwrap()).collect();
    let older = found.failures.project(&kept).unwrap();
    let kinds = column(&found.failures, "kind");
    let whole = by_rows(&found);
    let expected: Vec<Anew> = kinds
        .iter()
        .zip(whole)
        .map(|(kind, whole)| if kind.as_deref() == Some("exception") { whole } else { Anew::Unknown })
        .collect();
    assert_eq!(expected.len(), 2);
    assert_eq!(anew(&older, &FailureRules::default()).unwrap(), expected);
}
