//! Products of one row or two, whose weights are read from memory once: several panels at a time, in each of which the
//! processor reads ahead. It reads one stream of weights at two thirds of the speed of memory.

use std::ptr::null;

use super::super::super::simd::{Kernel, Simd};
use super::panel::{Multiply, added};
use super::weights::Panel;

/// The most rows of such products.
pub(super) const ROWS: usize = 2;

/// Multiplies the first panels of a product, as many as make whole groups; returns how many these are.
pub(super) struct Streams<'a, const FACTORS: usize>(pub &'a Multiply<'a, FACTORS>);

impl<const FACTORS: usize> Kernel for Streams<'_, FACTORS> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let panels = &self.0.weights.panels[self.0.panels.clone()];
        let mut done = 0;
        macro_rules! groups {
            ($($rows:literal: $($panels:literal of $vectors:literal),*;)*) => {
                match self.0.rows.starts.len() {
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
        groups! {
            1: 4 of 2, 2 of 4;
            2: 4 of 2, 2 of 4;
        }
        done
    }
}

impl<const FACTORS: usize> Streams<'_, FACTORS> {
    #[inline(always)]
    fn abreast<S: Simd, const R: usize, const V: usize, const P: usize>(
        &self,
        s: S,
        panels: &[Panel; P],
    ) {
        let product = self.0;
        let mut sums = [[[s.splat(0.0); V]; R]; P];
        let mut weights = [null(); P];
        for at in 0..P {
            let block = product.block(product.rows, panels[at]);
            sums[at] = [block.first_sums::<S, V, FACTORS>(s); R];
            weights[at] = block.weights;
        }
        for &segment in product.rows.segments {
            for k in 0..product.rows.length {
                let mut numbers = [s.splat(0.0); R];
                for (number, start) in numbers.iter_mut().zip(product.rows.starts) {
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
            let block = product.block(product.rows, *panel);
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
