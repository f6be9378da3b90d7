//! Workers that die at random, over and over, with upkeep in between.

use proptest::prelude::*;
use tracerag_schemas::Table;
use tracerag_schemas::time::SECOND;

use super::{Fixture, NOON, epoch, source};
use crate::{MaintainOptions, Writer, maintain};

/// How far a worker gets with an epoch before it dies.
#[derive(Debug, Clone, Copy)]
enum Life {
    Whole,
    Staged,
    Recorded,
    Partly(u8),
    AnotherApplies,
    Upkeep,
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        2 => Just(Life::Whole),
        1 => Just(Life::Staged),
        1 => Just(Life::Recorded),
        2 => (1..4_u8).prop_map(Life::Partly),
        1 => Just(Life::AnotherApplies),
        1 => Just(Life::Upkeep),
    ]
}

async fn live(lives: Vec<(Life, i64)>) {
    let fixture = Fixture::new().await;
    let mut sent = 0;
    let mut time = NOON;
    let mut writer: Option<Writer> = None;
    for (life, rows) in lives {
        let mut alive = match writer.take() {
            Some(alive) => alive,
            None => {
                let mut reborn = Writer::new(fixture.reopen().await, "w".into()).await.unwrap();
                sent = reborn.claim(&[source(0)]).await.unwrap()[0].next.unwrap_or(0);
                reborn
            }
        };
        // Six hours an epoch, so that a few of them cross midnight.
        time += 6 * 3_600 * SECOND;
        if let Life::Upkeep = life {
            let options = MaintainOptions {
                small_fragments: 1,
                stale_versions: 0,
                longest_query: std::time::Duration::ZERO,
                ..MaintainOptions::default()
            };
            let report = maintain(&fixture.reopen().await, &options).await.unwrap();
            assert_eq!(report.failed, vec![]);
            writer = Some(alive);
            continue;
        }
        let staged = alive.stage(epoch(source(0), sent, sent + rows, time)).await.unwrap();
        if let Life::Staged = life {
            continue;
        }
        alive.record(&staged).await.unwrap();
        match life {
            Life::Whole => {
                alive.apply().await.unwrap();
                sent += rows;
                writer = Some(alive);
            }
            Life::Partly(tables) => {
                let names: Vec<String> =
                    staged.datasets.iter().map(|staged| staged.name.clone()).take(tables.into()).collect();
                crate::journal::apply::apply_only(&fixture.reopen().await, &names).await.unwrap();
            }
            Life::AnotherApplies => {
                Writer::new(fixture.reopen().await, "other".into()).await.unwrap().apply().await.unwrap();
                sent += rows;
                writer = Some(alive);
            }
            _ => {}
        }
    }
    drop(writer);
    let mut last = Writer::new(fixture.reopen().await, "last".into()).await.unwrap();
    let next = last.claim(&[source(0)]).await.unwrap()[0].next.unwrap_or(0);
    last.write(epoch(source(0), next, next + 3, time)).await.unwrap();
    for table in [Table::Spans, Table::Traces, Table::Flags] {
        assert_eq!(fixture.offsets(table).await, (0..next + 3).collect::<Vec<i64>>(), "{}", table.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// However often and wherever workers die, and whatever upkeep does meanwhile, the tables hold what
    /// was sent: every offset once.
    #[test]
    fn random_deaths_lose_and_double_nothing(lives in prop::collection::vec((life(), 1..5_i64), 1..8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(live(lives));
    }
}
