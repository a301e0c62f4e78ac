//! Snowflake ids: 41 bits of milliseconds since 2024-01-01 UTC, 10 bits of node, 12 bits of sequence.
//!
//! Never the same twice and always rising: the millisecond never goes back, whatever the wall clock does, and starts
//! above every commit that the store remembers.

use kalamdb_commons::clock;
use std::sync::atomic::{AtomicU64, Ordering};

/// 2024-01-01 00:00:00 UTC in milliseconds since 1970.
const EPOCH_MS: i64 = 1_704_067_200_000;
const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;

/// The ids of one node.
#[derive(Debug)]
pub(crate) struct Snowflakes {
    node: u64,
    /// The last given (millisecond, sequence), as one number.
    last: AtomicU64,
}

impl Snowflakes {
    /// Ids above `floor_us`, microseconds since 1970 UTC. `node` is cut to its ten bits.
    pub fn new(node: u16, floor_us: i64) -> Self {
        // The next millisecond: ids given in the floor's own one may have been seen.
        let floor = ticks(floor_us / 1000 + 1);
        Self { node: u64::from(node) & ((1 << NODE_BITS) - 1), last: AtomicU64::new(floor) }
    }

    /// The next id.
    pub fn next(&self) -> i64 {
        let now = ticks(clock::now_us() / 1000);
        let step = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_else(|last| last);
        let given = now.max(last + 1);
        let (ms, sequence) = (given >> SEQUENCE_BITS, given & ((1 << SEQUENCE_BITS) - 1));
        ((ms << (NODE_BITS + SEQUENCE_BITS)) | (self.node << SEQUENCE_BITS) | sequence) as i64
    }
}

fn ticks(ms: i64) -> u64 {
    ((ms - EPOCH_MS).max(0) as u64) << SEQUENCE_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_even_when_the_clock_is_behind() {
        let ahead_us = clock::now_us() + 3_600_000_000;
        let ids = Snowflakes::new(3, ahead_us);
        let given: Vec<i64> = (0..10_000).map(|_| ids.next()).collect();
        assert!(given.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(given[0] >> 22 > ahead_us / 1000 - EPOCH_MS);
    }
}
