//! Products of one row or two, whose weights are read from memory once: several panels at a time, in each of which the
//! processor reads ahead. It reads one stream of weights at two thirds of the speed of memory.

use std::ptr::null;

use super::super::super::simd::Simd;
use super::panel::{Multiply, added};
use super::weights::Panel;

impl<const FACTORS: usize> Multiply<'_, FACTORS> {
    /// Multiplies as many of these panels as there are whole groups of, if the rows are few; returns how many these are.
    #[inline(always)]
    pub(super) fn run_streams<S: Simd>(&self, s: S, panels: &[Panel]) -> usize {
        let mut done = 0;
        macro_rules! together {
            ($($rows:literal: $($panels:literal of $vectors:literal),*;)*) => {
                match self.rows.starts.len() {
                    $($rows => {
                        $(while let Some(group) = group::<S, $panels, $vectors>(&panels[done..]) {
                            self.abreast::<S, $rows, $vectors, $panels>(s, group);
                            done += $panels;
                        })*
                    })*
                    _ => {}
                }
            };
        }
        together! {
            1: 4 of 2, 2 of 4;
            2: 4 of 2, 2 of 4;
        }
        done
    }

    #[inline(always)]
    fn abreast<S: Simd, const R: usize, const V: usize, const P: usize>(
        &self,
        s: S,
        panels: &[Panel; P],
    ) {
        let mut sums = [[[s.splat(0.0); V]; R]; P];
        let mut weights = [null(); P];
        for at in 0..P {
            let block = self.block(self.rows, panels[at]);
            sums[at] = [block.first_sums::<S, V, FACTORS>(s); R];
            weights[at] = block.weights;
        }
        for &segment in self.rows.segments {
            for k in 0..self.rows.length {
                let mut numbers = [s.splat(0.0); R];
                for (number, start) in numbers.iter_mut().zip(self.rows.starts) {
                    // SAFETY: whoever gave the rows promises their segments, which count the panels' rows.
                    *number = s.splat(unsafe { *start.wrapping_offset(segment).add(k) });
                }
                for (sums, weights) in sums.iter_mut().zip(&mut weights) {
                    for vector in 0..V {
                        // SAFETY: as above.
                        let columns = unsafe { s.load(weights.add(vector * S::LANES)) };
                        for (sums, number) in sums.iter_mut().zip(numbers) {
                            sums[vector] = added::<S, FACTORS>(s, number, columns, sums[vector]);
                        }
                    }
                    *weights = weights.wrapping_add(V * S::LANES);
                }
            }
        }
        for (panel, sums) in panels.iter().zip(sums) {
            let block = self.block(self.rows, *panel);
            block.put::<S, R, V, FACTORS>(s, 0, sums);
            block.activate(s, 0..R);
        }
    }
}

/// The first panels, if they are so many of so many vectors.
fn group<S: Simd, const P: usize, const V: usize>(panels: &[Panel]) -> Option<&[Panel; P]> {
    let group = panels.first_chunk()?;
    group.iter().all(|panel| panel.width == V * S::LANES).then_some(group)
}
