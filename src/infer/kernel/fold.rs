//! Weights times the scales of the norms after them.

use super::super::memory::{Buffer, Target, zeros};
use super::super::pool::Pool;
use crate::error::Result;

/// The product of each output's weights with its scale, in `memory`, which grows where it is too small: fresh pages for
/// every layer would take longer than to multiply.
pub(in crate::infer) fn fold<'a>(
    pool: &Pool,
    weight: &[f32],
    scales: &[f64],
    memory: &'a mut Buffer,
) -> Result<&'a [f32]> {
    /// Outputs of a task.
    const TOGETHER: usize = 16;
    let len = memory.as_slice().len();
    if len < weight.len() {
        *memory = zeros(weight.len().max(2 * len))?;
    }
    let to = Target::from(&mut memory.as_mut_slice()[..weight.len()]);
    let each = weight.len() / scales.len().max(1);
    pool.run(scales.len().div_ceil(TOGETHER), &|task| {
        let first = task * TOGETHER;
        for (output, scale) in scales.iter().enumerate().skip(first).take(TOGETHER) {
            // SAFETY: the output is no other task's.
            let to = unsafe { to.slice(output * each, each) };
            for (to, weight) in to.iter_mut().zip(&weight[output * each..]) {
                *to = (f64::from(*weight) * scale) as f32;
            }
        }
    });
    Ok(&memory.as_slice()[..weight.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_has_its_scale_in_memory_that_grows() {
        let pool = Pool::new(3);
        let mut memory = zeros(0).unwrap();
        for (outputs, each) in [(1, 1), (40, 7), (5, 3), (0, 0), (33, 0)] {
            let weight: Vec<f32> = (0..outputs * each).map(|at| at as f32 - 9.5).collect();
            let scales: Vec<f64> = (0..outputs).map(|output| 0.1 * output as f64).collect();
            let folded = fold(&pool, &weight, &scales, &mut memory).unwrap();
            let wanted =
                (0..weight.len()).map(|at| (f64::from(weight[at]) * scales[at / each]) as f32);
            assert!(folded.iter().copied().eq(wanted), "{outputs} of {each}");
        }
    }
}
