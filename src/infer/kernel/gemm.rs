//! Matrix products: rows of inputs, given by their addresses, times packed weights. Rows are anywhere, so a convolution
//! is a product whose rows are windows of the image, which are never copied.

mod panel;
mod rows;
mod streams;
mod tiled;
mod weights;

use std::ops::Range;

use super::super::memory::Source;
use super::super::simd::{Element, Instructions};
use panel::Multiply;
pub(in crate::infer) use panel::is_clamp;
pub(super) use panel::{Ahead, accumulate, apply, clamp, every_tile, most};
pub(in crate::infer) use rows::{Next, Rescale, Rows, Store};
use streams::Streams;
use tiled::Tiled;
pub(in crate::infer) use weights::Weights;

/// Computes the columns of some panels for a block of rows.
pub(in crate::infer) fn multiply(
    weights: &Weights,
    panels: Range<usize>,
    rows: Rows<'_>,
    store: Store<'_>,
) {
    multiply_packed((weights, Source::from(weights.numbers())), panels, rows, store);
}

/// The same with the weights' numbers or others, which are packed alike.
pub(super) fn multiply_packed(
    (weights, numbers): (&Weights, Source<'_>),
    panels: Range<usize>,
    rows: Rows<'_>,
    store: Store<'_>,
) {
    debug_assert_eq!(rows.segments.len() * rows.length, weights.depth);
    weights.by_width(panels, |on, panels| match weights.element {
        Element::Float32 => run(Multiply::<1> { weights, numbers, panels, rows, store }, on),
        Element::BFloat16 => run(Multiply::<2> { weights, numbers, panels, rows, store }, on),
        Element::Byte => run(Multiply::<4> { weights, numbers, panels, rows, store }, on),
    });
}

/// Multiplies by tiles where there are any: the same for any number of rows, so that a row has the same sums. Other ways add
/// in the same order.
fn run<const FACTORS: usize>(product: Multiply<'_, FACTORS>, instructions: Instructions) {
    let element = product.weights.element;
    if let Some((tiles, words)) = product.weights.tiles().zip(tiled::words(product.rows.length)) {
        return instructions.run_with(element, Tiled { product, tiles, words });
    }
    let is_few = product.rows.starts.len() <= streams::ROWS;
    let done = if is_few { instructions.run_with(element, Streams(&product)) } else { 0 };
    let panels = product.panels.start + done..product.panels.end;
    instructions.run_with(element, Multiply { panels, ..product });
}
