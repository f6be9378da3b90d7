//! How often good traffic differs from itself: traces without any failure, divided at random, again and again.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::Setup;
use super::lakes::{Lakes, rows, text};
use super::table::{Aim, note, row, share};
use crate::Outcome;

/// Traces that are taken for the failing ones, from the fewest that are tested to more than most incidents have.
const TAKEN: std::ops::RangeInclusive<usize> = 5..=100;
/// Traces that they are compared with at most.
const OTHERS: usize = 300;

pub(super) async fn measure(setup: &Setup, lakes: &Lakes<'_>) -> Outcome<()> {
    let session = lakes.recording().await?;
    // Traces of one root, as a comparison takes them.
    let query = "with good as (select distinct trace_id, root_service_name as service, root_name as name from traces \
                 where coalesce(status, '') <> 'ERROR' and coalesce(failure_count, 0) = 0), \
                 most as (select service, name from good group by 1, 2 order by count(*) desc limit 1) \
                 select trace_id from good join most using (service, name) order by trace_id";
    let found = rows(&session, query).await?;
    let mut traces: Vec<&str> = found.iter().map(|found| text(found, "trace_id")).collect();
    if traces.len() < 2 * TAKEN.end() {
        return Err(format!("{} good traces are too few to be divided", traces.len()).into());
    }
    let mut rng = SmallRng::seed_from_u64(setup.seed);
    let (mut named, mut tested) = (0, 0);
    for _ in 0..setup.splits {
        traces.shuffle(&mut rng);
        let (these, others) = traces.split_at(rng.random_range(TAKEN));
        let report = session.compare_sets(these, &others[..others.len().min(OTHERS)]).await?;
        named += usize::from(!report.differences.is_empty());
        tested += report.tested;
    }
    if tested == 0 {
        return Err("nothing was tested, so that nothing could be named".into());
    }
    let what = format!("a cause named in {} splits of good traffic", setup.splits);
    row(&what, share(named, setup.splits), None, Aim::AtMost(0.05));
    note(&format!("{} good traces, {} tests a split", traces.len(), tested / setup.splits.max(1) as u64));
    Ok(())
}
