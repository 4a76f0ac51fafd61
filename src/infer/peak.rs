//! The peak of a machine: the multiply-adds of float32 that the threads of a pool do where all numbers are in registers.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::pool::Pool;
use super::simd::{Instructions, Kernel, Simd};

/// Multiply-adds that follow one another in each of the sums of a task: some 50 µs.
const ROUNDS: usize = 1 << 13;

/// Sums that are added to at once: more than the latency of an instruction times those that begin in a cycle.
const SUMS: usize = 12;

/// Multiply-adds of a thread; it returns its operations, two for each lane of one.
struct Task;

impl Kernel for Task {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(0.25)));
        let mut sums = [s.splat(0.0); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = s.fma(a, *sum, b);
            }
        }
        let first = sums[0];
        black_box(s.numbers(sums.into_iter().fold(first, |all, sum| s.add(all, sum)), 0.0));
        2 * ROUNDS * SUMS * S::LANES
    }
}

/// Floating-point operations per second of float32 on all threads of `pool`: the most in any of many short measurements
/// within `time`, so that others who use the machine meanwhile do not lower it.
pub(super) fn peak(pool: &Pool, instructions: Instructions, time: Duration) -> f64 {
    let tasks = 4 * pool.threads();
    let begun = Instant::now();
    let mut most = 0.0_f64;
    loop {
        let from = Instant::now();
        let operations = AtomicUsize::new(0);
        pool.run(tasks, &|_| {
            let done = instructions.run(Task);
            operations.fetch_add(done, Ordering::Relaxed);
        });
        let rate = operations.into_inner() as f64 / from.elapsed().as_secs_f64();
        most = most.max(rate);
        if begun.elapsed() >= time {
            return most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_machine_is_slower_than_ten_million_operations_or_faster_than_the_fastest() {
        for instructions in Instructions::available() {
            let found = peak(&Pool::new(2), instructions, Duration::from_millis(5));
            assert!((1e7..1e14).contains(&found), "{instructions:?}: {found}");
        }
    }
}
