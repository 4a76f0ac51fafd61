//! Which steps of a plan run for each image of a batch by itself, and where values and scratch lie.
//!
//! The steps of large images run image by image, each on one thread: what a step writes, the next one finds in the cache of
//! the core, where a batch would not fit, and no thread waits for another. The steps after them, which have many weights for
//! few pixels, run for all images at once, and read their weights once.

use super::place::{Claim, place};
use super::step::{Arrangement, Output, Slot, Step, Value};

/// A slot's length in words, for a batch and for one image.
pub(super) type Lens = [usize; 2];

/// Arranges steps for so many images and threads. Where there are more threads than images, all steps run for all
/// images at once.
pub(super) fn arrange(
    slots: &[Lens],
    steps: &[Step],
    outputs: &[Output],
    constants: &[Vec<f32>],
    (batch, threads): (usize, usize),
) -> Arrangement {
    let apart = if batch < threads.max(2) { 0 } else { apart(steps, constants) };
    let uses = uses(slots.len(), steps, outputs);
    let slot = |(&[all, one], used): (&Lens, &Option<(usize, usize)>)| {
        // Only steps for an image by itself need it.
        let is_own = used.is_some_and(|(_, last)| last < apart);
        let len = if used.is_none() {
            0
        } else if is_own {
            one
        } else {
            all
        };
        Slot { is_own, place: 0, len }
    };
    let mut slots: Vec<Slot> = slots.iter().zip(&uses).map(slot).collect();
    let [shared, own] = [false, true].map(|is_own| {
        let claim = |(slot, used): (&Slot, &Option<(usize, usize)>)| {
            let (first, last) = used.unwrap_or_default();
            Claim { len: if slot.is_own == is_own { slot.len } else { 0 }, first, last }
        };
        let claims: Vec<Claim> = slots.iter().zip(&uses).map(claim).collect();
        let (places, memory) = place(&claims);
        let mine = slots.iter_mut().zip(places).filter(|(slot, _)| slot.is_own == is_own);
        mine.for_each(|(slot, place)| slot.place = place);
        memory
    });
    Arrangement { apart, slots, shared, own }
}

/// The number of steps after which the fewest words are read from beyond the caches of a core: for an image by itself the
/// weights of a step, for a batch the values that it reads and writes.
fn apart(steps: &[Step], constants: &[Vec<f32>]) -> usize {
    /// Words of weights that cost as much as one of a value: they lie in the order in which they are read, so that the
    /// processor fetches them ahead. Measured with whole networks.
    const WEIGHTS_AHEAD: usize = 16;
    let values = |step: &Step| {
        let values = step.inputs.iter().chain([&step.output]);
        values.map(|value| value.words(1)).sum::<usize>()
    };
    // All for a batch, then one step more after the other for each image.
    let mut words: usize = steps.iter().map(values).sum();
    let (mut best, mut fewest) = (0, words);
    for (at, step) in steps.iter().enumerate() {
        words = words + step.weights(constants) / WEIGHTS_AHEAD - values(step);
        if words < fewest {
            (best, fewest) = (at + 1, words);
        }
    }
    best
}

/// The first and the last step that need each slot. Outputs are needed to the end.
fn uses(slots: usize, steps: &[Step], outputs: &[Output]) -> Vec<Option<(usize, usize)>> {
    let mut uses: Vec<Option<(usize, usize)>> = vec![None; slots];
    let mut used = |slot: usize, step: usize| {
        let (first, last) = uses[slot].unwrap_or((step, step));
        uses[slot] = Some((first.min(step), last.max(step)));
    };
    for (number, step) in steps.iter().enumerate() {
        let values = step.inputs.iter().chain([&step.output]).filter_map(Value::slot);
        values.chain(step.scratch).for_each(|slot| used(slot, number));
    }
    for slot in outputs.iter().filter_map(|output| output.value.slot()) {
        used(slot, steps.len());
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::super::super::form::Form;
    use super::super::super::layout::Layout;
    use super::super::step::{Home, Operation};
    use super::*;

    fn value(slot: usize, side: usize) -> Value {
        let home = Home::Slot { slot, offset: 0 };
        Value { home, layout: Layout::dense(side, side, 8), form: Form::Float32 }
    }

    /// A chain of values of these sides, and a constant of so many words beside each; slot `n` has value `n`.
    fn chain(sides: &[usize], weights: &[usize]) -> (Vec<Step>, Vec<Vec<f32>>, Vec<Lens>) {
        let steps = sides.windows(2).enumerate().map(|(at, pair)| {
            let constant = Value { home: Home::Constant(at), ..value(0, 0) };
            Step {
                nodes: Vec::new(),
                operation: Operation::Flatten,
                inputs: vec![value(at, pair[0]), constant],
                output: value(at + 1, pair[1]),
                scratch: None,
            }
        });
        let lens = sides.iter().enumerate().map(|(at, &side)| {
            let layout = value(at, side).layout;
            [layout.extent(3), layout.extent(1)]
        });
        (steps.collect(), weights.iter().map(|&len| vec![0.0; len]).collect(), lens.collect())
    }

    fn arranged(
        sides: &[usize],
        weights: &[usize],
        images_and_threads: (usize, usize),
    ) -> Arrangement {
        let (steps, constants, lens) = chain(sides, weights);
        let last = sides.len() - 1;
        let shape = crate::graph::Shape::Vector { features: 8 };
        let outputs = [Output { value: value(last, sides[last]), shape }];
        arrange(&lens, &steps, &outputs, &constants, images_and_threads)
    }

    #[test]
    fn large_values_come_image_by_image_and_many_weights_for_all() {
        let sides = [32, 32, 16, 2, 1];
        let weights = [100, 100, 100, 100_000];
        let Arrangement { apart, slots, shared, own } = arranged(&sides, &weights, (3, 2));
        assert_eq!(apart, 3);
        let own_slots: Vec<bool> = slots.iter().map(|slot| slot.is_own).collect();
        assert_eq!(own_slots, [true, true, true, false, false]);
        // Two values of 32×32 pixels at once, of one image; the last two of three images.
        assert_eq!(own, 2 * 32 * 32 * 8);
        assert_eq!(shared, 3 * 4 * 8 + 3 * 8);
    }

    #[test]
    fn all_run_together_where_threads_would_have_no_image() {
        let (sides, weights) = ([32, 32, 1], [10, 10]);
        for (images, threads) in [(1, 1), (1, 2), (3, 4)] {
            let Arrangement { apart, own, .. } = arranged(&sides, &weights, (images, threads));
            assert_eq!((apart, own), (0, 0), "{images} images on {threads} threads");
        }
        for (images, threads) in [(2, 1), (3, 2), (4, 4)] {
            assert_eq!(
                arranged(&sides, &weights, (images, threads)).apart,
                2,
                "{images}, {threads}"
            );
        }
    }

    #[test]
    fn what_images_leave_for_later_steps_is_kept_from_those_after_them() {
        // Each value is read again at the end.
        let (mut steps, constants, lens) = chain(&[8, 8, 8, 8, 1], &[1, 1, 1, 100_000]);
        steps[3].inputs.extend([value(1, 8), value(2, 8)]);
        let arrangement = arrange(&lens, &steps, &[], &constants, (3, 1));
        assert_eq!(arrangement.apart, 3);
        let mut kept: Vec<&Slot> = arrangement.slots[1..4].iter().collect();
        kept.sort_by_key(|slot| slot.place);
        assert!(kept.iter().all(|slot| !slot.is_own));
        assert!(kept.windows(2).all(|pair| pair[0].place + pair[0].len <= pair[1].place));
    }
}
