//! Initial values of many parameters at once, on every core. A value follows from the seed, the name of its parameter
//! and its index there alone, so neither the other parameters nor the number of threads matter.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::init::Draw;
use crate::error::Result;
use crate::graph::Parameter;
use crate::memory::has_room;

/// The memory of one parameter's values, in row-major order, and their distribution.
#[derive(Debug)]
pub struct Fresh<'a> {
    pub name: &'a str,
    pub draw: Draw,
    pub values: &'a mut [f32],
}

/// The number of values from one generator. Part of the format of a seed: another number changes its values.
const CHUNK: usize = 1 << 16;

/// Below this number of values, starting a thread takes longer than drawing them.
const WORTH_A_THREAD: usize = 1 << 18;

/// Fails with `Error::OutOfMemory` where the system has no memory for these parameters.
pub fn has_room_for(parameters: &[&Parameter]) -> Result<()> {
    let elements = parameters.iter().map(|parameter| parameter.elements() as u64);
    let bytes = elements.fold(0_u64, u64::saturating_add).saturating_mul(size_of::<f32>() as u64);
    has_room(bytes, || {
        let largest = parameters.iter().max_by_key(|parameter| parameter.elements());
        let largest = largest.map(|parameter| parameter.name.as_str()).unwrap_or_default();
        format!("parameters, of which `{largest}` is the largest")
    })
}

/// Draws all values.
pub fn fill(parameters: Vec<Fresh<'_>>, seed: u64) {
    let total: usize = parameters.iter().map(|parameter| parameter.values.len()).sum();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    fill_with(parameters, seed, cores.min(total / WORTH_A_THREAD));
}

/// `count` booleans that are true with this probability, each from the seed, the name and its index.
pub fn coins(count: usize, probability: f64, seed: u64, name: &str) -> Vec<bool> {
    let mut random = generator(seed, name, 0);
    // Two 32-bit numbers at once.
    let limit = (probability * 2.0_f64.powi(32)).round() as u64;
    let mut drawn = Vec::with_capacity(count + 1);
    while drawn.len() < count {
        let number: u64 = random.random();
        drawn.extend([number >> 32 < limit, number & 0xffff_ffff < limit]);
    }
    drawn.truncate(count);
    drawn
}

fn fill_with(parameters: Vec<Fresh<'_>>, seed: u64, threads: usize) {
    let chunks = parameters.into_iter().flat_map(|Fresh { name, draw, values }| {
        values.chunks_mut(CHUNK).enumerate().map(move |(index, values)| (name, draw, index, values))
    });
    let chunks = Mutex::new(chunks);
    let work = || {
        loop {
            let next = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((name, draw, index, values)) = next else { break };
            fill_chunk(values, draw, || generator(seed, name, index));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

fn fill_chunk(values: &mut [f32], draw: Draw, generator: impl FnOnce() -> Xoshiro256PlusPlus) {
    match draw {
        Draw::Constant(constant) => values.fill(constant),
        Draw::Normal(deviation) => fill_normal(values, deviation, f32::INFINITY, generator()),
        Draw::CutNormal(deviation) => fill_normal(values, deviation, 2.0, generator()),
        Draw::Uniform(bound) => {
            let (bound, mut random) = (bound as f32, generator());
            values.fill_with(|| bound * (2.0 * random.random::<f32>() - 1.0));
        }
    }
}

/// Fills with normal values; those beyond `limit` deviations are drawn again.
fn fill_normal(values: &mut [f32], deviation: f64, limit: f32, mut random: Xoshiro256PlusPlus) {
    let deviation = deviation as f32;
    values.fill_with(|| {
        loop {
            let value = random.sample::<f32, _>(StandardNormal);
            if value.abs() <= limit {
                break deviation * value;
            }
        }
    });
}

fn generator(seed: u64, name: &str, chunk: usize) -> Xoshiro256PlusPlus {
    // FNV-1a: part of the format of a seed, so it must not change with the standard library's hasher.
    let index = (chunk as u64).to_le_bytes();
    let bytes = name.bytes().chain(index.into_iter().filter(|_| chunk > 0));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Xoshiro256PlusPlus::seed_from_u64(seed ^ hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three parameters, of which one falls into several chunks.
    fn drawn(seed: u64, threads: usize) -> [Vec<f32>; 3] {
        let mut values = [vec![0.0; 5 * CHUNK / 2], vec![0.0; 10], vec![0.0; 10]];
        let draws = [Draw::Normal(1.0), Draw::Uniform(1.0), Draw::Uniform(1.0)];
        let parameters = values
            .iter_mut()
            .zip(["a", "b", "c"])
            .zip(draws)
            .map(|((values, name), draw)| Fresh { name, draw, values })
            .collect();
        fill_with(parameters, seed, threads);
        values
    }

    #[test]
    fn values_do_not_depend_on_the_number_of_threads() {
        let one = drawn(7, 1);
        assert!([0, 2, 5].into_iter().all(|threads| drawn(7, threads) == one));
        assert_ne!(drawn(8, 1), one);
    }

    #[test]
    fn parameters_and_chunks_differ() {
        let [long, b, c] = drawn(7, 1);
        assert_ne!(b, c);
        assert_ne!(long[..CHUNK], long[CHUNK..2 * CHUNK]);
        assert_ne!(long[..CHUNK / 2], long[2 * CHUNK..]);
    }
}
