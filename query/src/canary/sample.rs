//! A sample of bounded size, whichever order the values come in.

use std::collections::BinaryHeap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Values of one sample at most: 20,000 give the 99th percentile to a tenth of a percent of rank, in 320 KB.
pub(super) const MOST: usize = 20_000;
/// Another seed gives another sample of the same values.
const SEED: u64 = 0x7472_6163_6572_6167;

/// Keeps the values whose keys hash lowest: each is as likely to be kept as any other, and the same ones are however
/// the scan was divided.
#[derive(Debug, Default)]
pub(super) struct Sample {
    kept: BinaryHeap<(u64, i64)>,
}

impl Sample {
    pub(super) fn add(&mut self, key: &[&[u8]], value: i64) {
        let hash = key.iter().fold(SEED, |seed, part| xxh3_64_with_seed(part, seed));
        if self.kept.len() < MOST {
            self.kept.push((hash, value));
        } else if let Some(mut largest) = self.kept.peek_mut()
            && hash < largest.0
        {
            *largest = (hash, value);
        }
    }

    /// The values in ascending order.
    pub(super) fn sorted(self) -> Vec<f64> {
        let mut values: Vec<f64> = self.kept.into_iter().map(|(_, value)| value as f64).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}
