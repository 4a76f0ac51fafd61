//! Which steps of a plan run for each image of a batch by itself, and where values and scratch lie.
//!
//! The steps of large images run image by image, each on one thread: what a step writes, the next one finds in the cache of
//! the core, where a batch would not fit, and no thread waits for another. The steps after them, which have many weights for
//! few pixels, run for all images at once, and read their weights once.

use super::super::layout::LINE;
use super::place::{Claim, place};
use super::step::{Arrangement, Home, Operation, Output, Slot, Step, Value};

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
    let mut uses = uses(slots.len(), steps, outputs);
    let within = within(slots, steps, &mut uses);
    let few_rows = few_rows(slots.len(), steps);
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
    let own = place_zone(&mut slots, &uses, 0, |slot, _| slot.is_own);
    let shared = if threads == 1 {
        place_zone(&mut slots, &uses, 0, |slot, _| !slot.is_own)
    } else {
        let by_rows = place_zone(&mut slots, &uses, 0, |slot, at| !slot.is_own && !few_rows[at]);
        place_zone(&mut slots, &uses, by_rows, |slot, at| !slot.is_own && few_rows[at])
    };
    for at in 0..slots.len() {
        slots[at] = slots[within[at]];
    }
    Arrangement { apart, slots, shared, own }
}

/// Gives some slots places after `begin`, and returns where the last one ends.
fn place_zone(
    slots: &mut [Slot],
    uses: &[Option<(usize, usize)>],
    begin: usize,
    of: impl Fn(&Slot, usize) -> bool,
) -> usize {
    let zone: Vec<usize> = (0..slots.len()).filter(|&at| of(&slots[at], at)).collect();
    let claim = |&at: &usize| {
        let (first, last) = uses[at].unwrap_or_default();
        Claim { len: slots[at].len, first, last }
    };
    let claims: Vec<Claim> = zone.iter().map(claim).collect();
    let (places, memory) = place(&claims);
    if memory == 0 {
        return begin;
    }
    let begin = begin.next_multiple_of(LINE);
    zone.iter().zip(places).for_each(|(&at, place)| slots[at].place = begin + place);
    begin + memory
}

/// Whether all values of each slot have few rows: threads divide their channels, and each reads all of them. Beside others
/// such lines would slow the threads that write there next.
fn few_rows(slots: usize, steps: &[Step]) -> Vec<bool> {
    let mut few = vec![true; slots];
    for value in steps.iter().flat_map(|step| step.inputs.iter().chain([&step.output])) {
        if let Some(slot) = value.slot() {
            few[slot] &= value.layout.has_few_rows();
        }
    }
    few
}

/// The slot in whose place each one lies: its own, or that of a value which a step reads last, and whose numbers it
/// replaces one by one. Its uses are those of both then.
fn within(slots: &[Lens], steps: &[Step], uses: &mut [Option<(usize, usize)>]) -> Vec<usize> {
    let mut within: Vec<usize> = (0..slots.len()).collect();
    for (number, step) in steps.iter().enumerate() {
        let (Operation::Map(_), Some(input)) = (&step.operation, step.inputs.first()) else {
            continue;
        };
        let (Home::Slot { slot: from, offset }, Home::Slot { slot: to, offset: other }) =
            (input.home, step.output.home)
        else {
            continue;
        };
        let root = within[from];
        let is_alike = (input.layout, input.form) == (step.output.layout, step.output.form)
            && offset == other
            && from != to
            && slots[root] == slots[to];
        if let (Some((first, last)), Some((begin, end))) = (uses[root], uses[to])
            && is_alike
            && (last, begin) == (number, number)
        {
            (uses[root], uses[to]) = (Some((first, end)), None);
            within[to] = root;
        }
    }
    within
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
    use super::super::super::kernel::Map;
    use super::super::super::layout::Layout;
    use super::super::super::simd::Instructions;
    use super::*;

    fn value(slot: usize, side: usize) -> Value {
        let home = Home::Slot { slot, offset: 0 };
        Value { home, layout: Layout::dense(side, side, 8), form: Form::Float32 }
    }

    /// A step that changes a value number by number.
    fn map(from: Value, to: Value) -> Step {
        let (combine, affine, function, instructions) = (None, None, None, Instructions::PORTABLE);
        let (input, output, forms) = (from.layout, to.layout, Form::FLOATS);
        let map = Map { input, output, combine, affine, function, instructions, forms };
        let (operation, inputs) = (Operation::Map(map), vec![from]);
        Step { nodes: Vec::new(), operation, inputs, output: to, scratch: None }
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
    fn what_is_changed_number_by_number_stays_where_it_is() {
        let (mut steps, constants, lens) = chain(&[8, 8, 8, 8], &[1, 1, 1]);
        steps[1] = map(value(1, 8), value(2, 8));
        let places = |steps: &[Step]| {
            let Arrangement { slots, .. } = arrange(&lens, steps, &[], &constants, (1, 1));
            [slots[1].place, slots[2].place]
        };
        let [before, after] = places(&steps);
        assert_eq!(before, after);
        // Something else reads it later.
        steps[2].inputs.push(value(1, 8));
        let [before, after] = places(&steps);
        assert_ne!(before, after);
        // Other steps read pixels after they have written others.
        steps[2].inputs.pop();
        steps[1].operation = Operation::Flatten;
        let [before, after] = places(&steps);
        assert_ne!(before, after);
    }

    #[test]
    fn values_with_few_rows_lie_apart_where_there_are_threads() {
        let (sides, weights) = ([32, 32, 7, 7, 1], [1, 1, 1, 1]);
        let ends = |threads| {
            let Arrangement { slots, shared, .. } = arranged(&sides, &weights, (1, threads));
            let end = |at: usize| slots[at].place + slots[at].len;
            assert!((0..5).all(|at| end(at) <= shared));
            (end(0).max(end(1)), slots[2].place.min(slots[3].place))
        };
        let (large, small) = ends(2);
        assert!(large <= small);
        let (large, small) = ends(1);
        assert!(small < large);
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
