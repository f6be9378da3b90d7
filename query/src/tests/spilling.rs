//! Queries that their memory does not suffice for.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::{ExecutionPlan, collect};
use serde_json::json;

use super::lake::{TestLake, ask};
use crate::multiplied::Widest;
use crate::spilling::{Other, ROWS, Way};
use crate::{QueryError, Session, SessionOptions};

/// Bytes that a query may hold here. Below, each has to do with more than twice as many. A join of the texts has four sorts
/// in two partitions, each of which has 1 MiB to merge in; two runs of the texts, in batches of 256, take a fifth of that.
const MEMORY: usize = 16 << 20;
/// Partitions of queries here: as many as a machine has processors, of few and of many.
const PARTITIONS: [usize; 3] = [1, 2, 8];

/// Texts of 163 bytes on average, all different: 33 MB.
const TEXTS: &str = "(select repeat(cast(value as varchar), 30) as text from generate_series(1, 200000))";

async fn session(memory_limit: usize) -> (TestLake, Session) {
    let lake = TestLake::example(false, 100).await;
    // What spills goes through files again and again, without optimisation.
    let time_limit = Duration::from_secs(600);
    let options = SessionOptions { memory_limit, time_limit, ..SessionOptions::new("acme") };
    let session = Session::open(&lake.lake, options).await.unwrap();
    (lake, session)
}

/// The same session on a machine with so many processors.
fn parted(session: Session, partitions: usize) -> Session {
    let mut state = session.context().state();
    state.config_mut().options_mut().execution.target_partitions = partitions;
    session.with_state(state)
}

/// That there are no temporary files.
fn assert_nothing_is_left(runtime: &RuntimeEnv) {
    let disk = &runtime.disk_manager;
    assert_eq!(disk.used_disk_space(), 0);
    for folder in disk.temp_dir_paths() {
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }
}

/// How often the operators of a plan have spilled.
fn spills(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spill_count()).unwrap_or_default();
    own + plan.children().into_iter().map(|child| spills(child.as_ref())).sum::<usize>()
}

/// How often a query spills while it runs to its end.
async fn spills_of(session: &Session, query: &str) -> usize {
    let plan = session.plan(query).await.unwrap();
    let mut state = session.context().state();
    // Several sorts at once may starve each other; see `spilling.rs`.
    state.config_mut().options_mut().execution.target_partitions = 1;
    let physical = state.create_physical_plan(&plan).await.unwrap();
    collect(Arc::clone(&physical), state.task_ctx()).await.unwrap();
    spills(physical.as_ref())
}

/// How often a query spills that runs the other way, in the temporary files of that way, which are gone afterwards.
async fn spills_the_other_way(session: &Session, query: &str) -> usize {
    let other = Other {
        way: Way::Sorted,
        state: session.context().state(),
        plan: session.plan(query).await.unwrap(),
        memory_limit: MEMORY,
        widest: Widest::default(),
    };
    let (plan, context) = other.planned(ROWS).await.unwrap();
    collect(Arc::clone(&plan), Arc::clone(&context)).await.unwrap();
    assert_nothing_is_left(&context.runtime_env());
    spills(plan.as_ref())
}

/// A sort of more than its memory gives all rows in their order, in any number of partitions, by way of temporary files,
/// which are gone afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_sort_spills() {
    let (_lake, mut session) = session(MEMORY).await;
    let query = format!("select text from {TEXTS} order by text desc");
    for partitions in PARTITIONS {
        session = parted(session, partitions);
        let batches = session.collect(&query, None).await.unwrap();
        let (mut rows, mut last) = (0, String::from("x"));
        for batch in &batches {
            let texts = cast(batch.column(0), &DataType::LargeUtf8).unwrap();
            for text in texts.as_string::<i64>().iter().flatten() {
                assert!(text < last.as_str());
                last = text.to_owned();
                rows += 1;
            }
        }
        assert_eq!((rows, last), (200_000, "100000".repeat(30)), "in {partitions} partitions");
        assert!(spills_the_other_way(&session, &query).await > 0);
    }
    assert!(spills_of(&session, &query).await > 0);
    assert_nothing_is_left(&session.context().runtime_env());
}

/// Groups of more than its memory are counted right, and come in their order where that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_spills() {
    let (_lake, session) = session(MEMORY).await;
    let groups = format!(
        "select text, count(*) as n from (select * from {TEXTS} union all select * from {TEXTS}) group by text"
    );
    let query = format!("select count(*) as texts, sum(n) as n, max(n) as most from ({groups})");
    assert_eq!(ask(&session, &query).await, json!([{"texts": 200_000, "n": 400_000, "most": 2}]));
    assert!(spills_the_other_way(&session, &format!("{groups} order by text")).await > 0);
    assert_nothing_is_left(&session.context().runtime_env());
}

/// A join of which no side fits into its memory has the right rows, in any number of partitions, and `not in` the right ones
/// or none at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_spills() {
    let (_lake, mut session) = session(MEMORY).await;
    let query = format!(
        "select count(*) as n, sum(length(a.text) + length(b.text)) as length from {TEXTS} a join {TEXTS} b on a.text = b.text"
    );
    for partitions in PARTITIONS {
        session = parted(session, partitions);
        let expected = json!([{"n": 200_000, "length": 65_333_700}]);
        assert_eq!(ask(&session, &query).await, expected, "in {partitions} partitions");
        assert!(spills_the_other_way(&session, &query).await > 0);
    }
    assert_nothing_is_left(&session.context().runtime_env());
    let query = format!(
        "select count(*) as n from {TEXTS} where text not in (select case when text < '5' then text end from {TEXTS})"
    );
    match session.collect(&query, None).await {
        Ok(batches) => assert_eq!(super::lake::rows(batches), json!([{"n": 0}])),
        Err(error) => assert!(matches!(error, QueryError::MemoryLimit { .. }), "{error}"),
    }
}

/// A sort of more than its temporary files may take ends with an error that says so, and leaves none of them.
#[tokio::test]
async fn temporary_files_are_bounded() {
    let memory = 2 << 20;
    let (_lake, session) = session(memory).await;
    let wide = (0..8).map(|column| format!("value + {column} as c{column}")).collect::<Vec<_>>().join(", ");
    let query = format!("select {wide} from generate_series(1, 1000000) order by c0 % 1000, c1");
    let error = session.collect(&query, None).await.unwrap_err();
    let QueryError::MemoryLimit { bytes, detail } = error else { panic!("{error}") };
    assert_eq!(bytes, memory);
    assert!(detail.contains("temporary files") && !detail.contains("datafusion"), "{detail}");
    assert_nothing_is_left(&session.context().runtime_env());
}
