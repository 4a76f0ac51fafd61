//! Random numbers that depend on their purpose alone: neither on the number of threads nor on what was drawn before. So
//! an epoch can be entered anywhere.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

pub type Random = Xoshiro256PlusPlus;

/// One sample, in one epoch, of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub seed: u64,
    pub epoch: u64,
    /// Index of the sample in its data set.
    pub sample: u64,
}

impl Key {
    /// The generator of this sample's augmentation. Part of the format of a seed.
    pub fn random(self) -> Random {
        let Self { seed, epoch, sample } = self;
        Random::seed_from_u64(mix(mix(mix(seed) ^ epoch) ^ sample))
    }
}

/// The generator for mixing a whole batch. Part of the format of a seed.
pub fn of_batch(seed: u64, epoch: u64, batch: u64) -> Random {
    // No sample has this number.
    Random::seed_from_u64(mix(mix(mix(mix(seed) ^ epoch) ^ u64::MAX) ^ batch))
}

/// The numbers below `count`, shuffled by `seed` and `epoch`. Part of the format of a seed.
pub fn shuffled(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    // No sample has this number.
    let mut random = Key { seed, epoch, sample: u64::MAX }.random();
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, below(last + 1, &mut random));
    }
    order
}

/// A uniform number below `count`.
pub fn below(count: usize, random: &mut Random) -> usize {
    ((u128::from(random.random::<u64>()) * count as u128) >> 64) as usize
}

/// A bijection of 64-bit numbers in which each bit depends on every one (the finaliser of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_draw_differently() {
        let draw = |seed, epoch, sample| Key { seed, epoch, sample }.random().random::<u64>();
        let drawn = [draw(0, 0, 0), draw(0, 0, 1), draw(0, 1, 0), draw(1, 0, 0), draw(1, 1, 1)];
        assert_eq!(std::collections::HashSet::from(drawn).len(), drawn.len());
        assert_eq!(draw(3, 4, 5), draw(3, 4, 5));
        let of_batch = |seed, epoch, batch| of_batch(seed, epoch, batch).random::<u64>();
        let drawn = [of_batch(0, 0, 0), of_batch(0, 0, 1), of_batch(0, 1, 0), of_batch(1, 0, 0)];
        let samples = [draw(0, 0, 0), draw(0, 0, 1), draw(0, 0, u64::MAX)];
        let every: std::collections::HashSet<u64> = drawn.into_iter().chain(samples).collect();
        assert_eq!(every.len(), 7);
    }
}
