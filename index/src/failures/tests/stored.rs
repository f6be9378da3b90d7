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

/// A row whose path has a number, as if the rules that it was written by had masked none. Guarantees that it gets the
/// fingerprint which failures of these rules get, in whose paths numbers are masked.
#[test]
fn a_path_is_masked_by_the_rules_of_today() {
    let failed = json!({"name": "GET /orders/4711", "status_code": "ERROR", "error_type": "timeout"});
    let found = run(&[span("01", None, failed)], &[], &[]);
    assert_eq!(column(&found.failures, "grouping_path"), [Some("GET /orders/<num>".to_owned())]);
    let schema = found.failures.schema();
    let mut columns = found.failures.columns().to_vec();
    columns[schema.index_of("grouping_path").unwrap()] = Arc::new(StringArray::from(vec!["GET /orders/4711"]));
    let older = RecordBatch::try_new(schema, columns).unwrap();
    assert_eq!(anew(&older, &FailureRules::default()).unwrap(), by_rows(&found));
}
