//! Statements of one analyst that would take the memory or the threads from everybody.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use crate::tests::lake::{TestLake, ask};
use crate::{QueryError, Session, SessionOptions};

/// A session whose functions may make 16 MiB at once, and constants of 2 KiB.
async fn session(lake: &TestLake) -> Session {
    let options = SessionOptions { memory_limit: 64 << 20, ..SessionOptions::new("acme") };
    Session::open(&lake.lake, options).await.unwrap()
}

/// Values as analysts make them come out as without the bound, by every name and as operators, in columns and as constants.
#[tokio::test]
async fn ordinary_values_are_made() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    let query = "select repeat('ab', 3) as a, lpad('7', 3, '0') as b, list_repeat(1, 2) as c, range(3) as d,
                   generate_series(4, 2, -1) as e, array_resize([1], 2, 0) as f,
                   cardinality(generate_series(timestamp '2026-01-01', timestamp '2026-01-02', interval '1 hour')) as g,
                   'a' || 'b' || 1 as h, 'a' || null as i, [1] || [2] || 3 as j, concat('a', null, 'b') as k,
                   concat_ws('-', 'a', 'b') as l, replace('aXbX', 'X', '12') as m, levenshtein('kitten', 'sitting') as n,
                   regexp_replace('a1b22', '[0-9]+', '<\\1>', 'g') as o, array_to_string([1, null, 3], ',', '-') as p,
                   array_has_all([1, 2, 3], [1, 3]) as q, 'GET /x' ~ '^(GET|POST)' as r, upper('ß') as s,
                   'ABC' !~* '[a-c]{1,900}' as t";
    let expected = json!([{
        "a": "ababab", "b": "007", "c": [1, 1], "d": [0, 1, 2], "e": [4, 3, 2], "f": [1, 0], "g": 25,
        "h": "ab1", "i": null, "j": [1, 2, 3], "k": "ab", "l": "a-b", "m": "a12b12", "n": 3, "o": "a<>b<>",
        "p": "1,-,3", "q": true, "r": true, "s": "SS", "t": false
    }]);
    assert_eq!(ask(&session, query).await, expected);
    let query = "select distinct name || '!' as a, lpad(name, 3, '.') as b, name ~ 'char(g|x){1,300}e' as c
                 from spans where name = 'charge'";
    assert_eq!(ask(&session, query).await, json!([{"a": "charge!", "b": "cha", "c": true}]));
    let columns = session.plan("select 'a' || name, lower(name) from spans").await.unwrap();
    let planned: Vec<_> = columns.schema().fields().iter().map(|field| field.name().clone()).collect();
    let answered = session.collect("select 'a' || name, lower(name) from spans", None).await.unwrap();
    let answered: Vec<_> = answered[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(planned, answered, "columns are named as they were written");
}

/// Where rows together may become too long and do not, they are computed in parts.
#[tokio::test]
async fn what_could_be_long_is_computed_in_parts() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    // Each text could become 8 MB, and becomes 2,000 bytes.
    let query = "select sum(length(regexp_replace(text, '[^x]+', repeat('y', 2000 + value % 2), 'g'))) as n
                 from (select value, repeat('z', 2000 + value % 2) as text from generate_series(1, 100))";
    assert_eq!(ask(&session, query).await, json!([{"n": 200_050}]));
}

/// A text that takes most of what one call may make is lengthened all the same, but not without end.
#[tokio::test]
async fn long_texts_are_lengthened() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    let query = |longer: &str| {
        format!(
            "select length({longer}) as n from (select repeat('x', 14999999 + value) as s from generate_series(1, 1))"
        )
    };
    assert_eq!(ask(&session, &query("s || s")).await, json!([{"n": 30_000_000}]));
    assert_eq!(ask(&session, &query("lower(s)")).await, json!([{"n": 15_000_000}]));
    let error = session.collect(&query("s || s || s"), None).await.unwrap_err();
    assert!(matches!(error, QueryError::MemoryLimit { .. }), "{error}");
}

/// What would take more than a quarter of the query's memory ends with its limit: however the length is said, where it is
/// computed while the statement is planned, and where a short value is written out for many rows.
#[tokio::test]
async fn long_values_are_bounded() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    // A few levels: a test's thread cannot parse many. Each has a name of its own, for levels that are written alike are
    // one to the optimizer of DataFusion 54.
    let begin = "(select repeat('x', 4000000) as s0)".to_owned();
    let doubling =
        (0..4).fold(begin, |inner, level| format!("(select s{level} || s{level} as s{} from {inner})", level + 1));
    for long in [
        "repeat('x', 1000000000)",
        "repeat(name, 100000000 + cast(duration_ns / 1000000000 as int))",
        "rpad('x', 1000000000)",
        "array_repeat(1, 1000000000)",
        "array_repeat(repeat('x', 10000), 10000)",
        "range(1000000000)",
        "range(0, -10000000000, -1)",
        "generate_series(timestamp '2000-01-01', timestamp '2026-01-01', interval '1 millisecond')",
        "range(timestamp '2026-01-01 00:00:00', timestamp '2026-01-01 00:00:00.1', interval '1 nanosecond')",
        "length(replace(repeat('x', 1000000), 'x', repeat('y', 1000)))",
        "length(replace(repeat(name, 1000), 'a', repeat('y', 100000)))",
        "length(regexp_replace(repeat('x', 100000), 'x', repeat('y', 1000), 'g'))",
        "array_to_string(range(100000), repeat('y', 1000))",
        "array_to_string([range(100000)], repeat('y', 1000))",
        "length(concat(repeat('x', 6000000), repeat('x', 6000000), repeat('x', 6000000)))",
        "length(repeat('x', 6000000) || repeat('y', 6000000) || repeat('z', 6000000))",
        "concat_ws(repeat('x', 10000000), 'a', 'b', 'c')",
        "array_concat(range(1000000), range(1000000), range(1000000))",
        "range(1000000) || range(1000000) || range(1000000)",
        "[repeat('x', 10000000), repeat('x', 10000000)]",
        "array_resize([repeat('x', 1000)], 1000000, repeat('y', 1000))",
        "encode(cast(repeat('x', 10000000) as bytea), 'hex')",
    ] {
        let error = session.collect(&format!("select {long} from spans"), None).await.unwrap_err();
        assert!(matches!(error, QueryError::MemoryLimit { .. }), "{long}: {error}");
    }
    let error = session.collect(&format!("select length(s4) from {doubling}"), None).await.unwrap_err();
    assert!(matches!(error, QueryError::MemoryLimit { .. }), "{error}");
    let text = "x".repeat(100_000);
    for wide in [
        "repeat('x', 100000)".to_owned(),
        format!("'{text}'"),
        format!("case when value > 5 then '{text}' else '' end"),
        format!("greatest('{text}', cast(value as varchar))"),
    ] {
        let query = format!("select {wide} as x from generate_series(1, 8192)");
        let error = session.collect(&query, None).await.unwrap_err();
        assert!(matches!(error, QueryError::MemoryLimit { .. }), "{error}");
        let query = format!("select length({wide}) as n from generate_series(6, 6)");
        assert_eq!(ask(&session, &query).await, json!([{"n": 100_000}]));
    }
}

/// A long value that is made for one row is written out for many by a join, in batches that fit, however wide it is; by an
/// `unnest` of more than fits it ends with the limit of memory, and so does a window that holds more rows than fit. What
/// fits is answered.
#[tokio::test]
async fn rows_are_multiplied_within_bounds() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    let one = |bytes: usize| format!("(select repeat('x', {bytes}) as s)");
    for hostile in [
        format!("select unnest(range(0, 100000)) as n, s from {}", one(100_000)),
        "select max(n) from (select sum(value) over () as n from generate_series(1, 20000000))".to_owned(),
    ] {
        let error = session.collect(&hostile, None).await.unwrap_err();
        assert!(matches!(error, QueryError::MemoryLimit { .. }), "{hostile}: {error}");
    }
    for joined in [
        format!("{}, generate_series(1, 200)", one(4_000_000)),
        format!("{} join generate_series(1, 200) on length(s) > value", one(4_000_000)),
        format!("{}, generate_series(1, 1000)", one(100_000)),
    ] {
        let query = format!("select count(*) % 100 as n, max(s) = min(s) as one from {joined}");
        assert_eq!(ask(&session, &query).await, json!([{"n": 0, "one": true}]), "{joined}");
    }
    let query =
        "select count(*) as n, max(length(name)) as name from (select unnest(range(0, 100000)) as n, name from spans)";
    assert_eq!(ask(&session, query).await[0]["n"], json!(400_000));
    let query = "select sum(value) over () as n from generate_series(1, 3)";
    assert_eq!(ask(&session, query).await, json!([{"n": 6}, {"n": 6}, {"n": 6}]));
}

/// A window that looks far ahead or back holds all rows, and ends with the limit of memory; one that looks near, or adds up
/// what has come, holds few of them, however many there are.
#[tokio::test]
async fn windows_that_look_far_are_bounded() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    let query = |window: &str| {
        format!(
            "select max(n) as n from (select {window} as n from
             (select repeat('x', 1000 + value % 2) as s from generate_series(1, 100000)))"
        )
    };
    for far in [
        "length(lead(s, 1000000000) over ())",
        "length(lag(s, 1000000000) over ())",
        "length(max(s) over (rows between current row and 1000000000 following))",
        "length(max(s) over (rows between 1000000000 preceding and current row))",
    ] {
        let error = session.collect(&query(far), None).await.unwrap_err();
        assert!(matches!(error, QueryError::MemoryLimit { .. }), "{far}: {error}");
    }
    for (near, n) in [
        ("length(lead(s) over ())", 1_001),
        ("length(lag(s, 2) over ())", 1_001),
        ("sum(length(s)) over (rows between unbounded preceding and current row)", 100_050_000),
        ("length(max(s) over (rows between 1 preceding and 1 following))", 1_001),
    ] {
        assert_eq!(ask(&session, &query(near)).await, json!([{"n": n}]), "{near}");
    }
}

/// What would compute for longer than a query may take, within one call that nothing stops, is refused before it begins,
/// with the function's name.
#[tokio::test]
async fn endless_calls_are_refused() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    for (endless, name) in [
        ("levenshtein(repeat('a', 1000000), repeat('b', 1000000))", "levenshtein"),
        ("levenshtein(repeat(name, 100000), repeat(span_id, 100000))", "levenshtein"),
        ("array_has_all(range(200000), range(200000))", "array_has_all"),
        ("array_has_any(range(200000), range(200000))", "array_has_any"),
        ("btrim(repeat('a', 1000000), repeat('b', 1000000))", "btrim"),
        ("strpos(repeat('a', 1000000), repeat('a', 100000) || 'b')", "strpos"),
        ("regexp_like(repeat('a', 1000000), '(a{0,300}){0,100}$')", "regexp_like"),
        ("repeat('a', 1000000) ~ '(a{0,300}){0,100}$'", "regexp_like"),
        ("regexp_replace(repeat('a', 1000000), '(a{0,300}){0,100}$', '')", "regexp_replace"),
    ] {
        for from in ["(values ('checkout', 'b7ad6b7169203331'))", "(select name, span_id from spans)"] {
            let query = format!("select {endless} from {from} as t (name, span_id)");
            let error = session.collect(&query, None).await.unwrap_err();
            let QueryError::TooLarge { why } = error else { panic!("{endless}: {error}") };
            assert!(why.contains(name) && why.contains("left(text, 1000)"), "{endless}: {why}");
        }
    }
}

/// One text is looked for in many as long as it likes, for that takes a step for each byte; not one of each row's own.
#[tokio::test]
async fn a_text_is_looked_for_in_many() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    let query = |text: &str| {
        format!(
            "select sum(strpos(s, {text})) as n from (select value, repeat('a', 1000000 + value % 2) as s
             from generate_series(2, 8, 2))"
        )
    };
    assert_eq!(ask(&session, &query("repeat('a', 100000) || 'b'")).await, json!([{"n": 0}]));
    let error = session.collect(&query("repeat('a', 100000 + value % 2) || 'b'"), None).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge { .. }), "{error}");
}

/// Types say of what length each value is, null or not, and no cast is to one of long values, wherever it is written; to
/// a vector it is.
#[tokio::test]
async fn types_of_long_values_are_refused() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    for cast in ["arrow_cast", "arrow_try_cast"] {
        for kind in [
            "FixedSizeList(2000000000, Int64)",
            "List(FixedSizeList(2000000000, Int64))",
            "FixedSizeList(100, FixedSizeList(100, Int64))",
            "FixedSizeBinary(2000000000)",
        ] {
            let long = format!("{cast}(null, '{kind}')");
            for query in [
                format!("select {long}"),
                format!("select {long} from spans"),
                format!("select try_cast_to_type([1], {long})"),
                format!("select * from trace_tree({long})"),
                format!("values ({long})"),
            ] {
                let error = session.collect(&query, None).await.unwrap_err();
                assert!(
                    matches!(&error, QueryError::Sql(why) if why.contains("4096 are the most")),
                    "{query}: {error}"
                );
            }
        }
        let query = format!("select {cast}([1, 2], 'FixedSizeList(2, Int64)') is not null as n");
        assert_eq!(ask(&session, &query).await, json!([{"n": true}]));
    }
}

/// A step forwards and backwards at once may end where it began, and have no last one: it is refused. Steps backwards, and
/// of several parts with one sign, are taken.
#[tokio::test]
async fn steps_have_one_direction() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    for kind in ["timestamp", "date"] {
        for step in ["1 month -29 days", "-1 month 29 days", "1 day -24 hours"] {
            let query =
                format!("select cardinality(range({kind} '2026-01-30', {kind} '2027-01-01', interval '{step}')) as n");
            let error = session.collect(&query, None).await.unwrap_err();
            assert!(matches!(&error, QueryError::Sql(why) if why.contains("one sign")), "{query}: {error}");
        }
        let query = format!(
            "select cardinality(generate_series({kind} '2026-03-02', {kind} '2026-01-01', interval '-1 month -1 day')) as n"
        );
        assert_eq!(ask(&session, &query).await, json!([{"n": 2}]));
    }
}

/// A list for each row of a window, each as long as the window, is refused: by how many rows it grows is in no memory that
/// is counted. The same for groups is an answer.
#[tokio::test]
async fn windows_gather_no_lists() {
    let lake = TestLake::example(false, 100).await;
    let session = session(&lake).await;
    for gathering in ["array_agg(name)", "string_agg(name, ',')"] {
        let error = session.collect(&format!("select {gathering} over () from spans"), None).await.unwrap_err();
        assert!(matches!(&error, QueryError::Sql(why) if why.contains("use group by")), "{error}");
        session.collect(&format!("select {gathering} from spans"), None).await.unwrap();
    }
}
