//! Steps that run as one: the convolutions of a block of MobileNet.

use std::collections::HashMap;

use super::super::kernel::Block;
use super::step::{Operation, Output, Step, Value};

/// Joins the steps of blocks, whose values between them nobody else reads: whole blocks first, and then those that lack
/// their last convolution.
pub(super) fn join(steps: Vec<Step>, outputs: &[Output]) -> Vec<Step> {
    let uses = uses(&steps, outputs);
    let whole = joined(steps, |steps| whole_block(steps, &uses));
    joined(whole, |steps| first_part(steps, &uses))
}

/// Joins last steps, as many as `length` says whenever one more is there.
fn joined(steps: Vec<Step>, length: impl Fn(&[Step]) -> Option<usize>) -> Vec<Step> {
    let mut joined: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        joined.push(step);
        if let Some(length) = length(&joined) {
            let parts = joined.split_off(joined.len() - length);
            joined.extend(one(parts));
        }
    }
    joined
}

/// The number of steps and outputs that name each slot.
fn uses(steps: &[Step], outputs: &[Output]) -> HashMap<usize, usize> {
    let mut uses = HashMap::new();
    for step in steps {
        let mut slots: Vec<usize> =
            step.inputs.iter().chain([&step.output]).filter_map(Value::slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            *uses.entry(slot).or_default() += 1;
        }
    }
    for slot in outputs.iter().filter_map(|output| output.value.slot()) {
        *uses.entry(slot).or_default() += 1;
    }
    uses
}

/// Whether a step gives its value to the next one alone, as its first input.
fn passes(from: &Step, to: &Step, uses: &HashMap<usize, usize>) -> bool {
    let Some(slot) = from.output.slot() else { return false };
    let [first, others @ ..] = &to.inputs[..] else { return false };
    uses.get(&slot) == Some(&2)
        && *first == from.output
        && others.iter().all(|other| other.slot() != Some(slot))
}

/// The number of last steps that are a whole block.
fn whole_block(steps: &[Step], uses: &HashMap<usize, usize>) -> Option<usize> {
    let [.., depthwise, project] = steps else { return None };
    let (Operation::Depthwise(of), Operation::Conv(last)) =
        (&depthwise.operation, &project.operation)
    else {
        return None;
    };
    if !passes(depthwise, project, uses) {
        return None;
    }
    if let [.., expand, _, _] = steps
        && let Operation::Conv(first) = &expand.operation
        && expand.inputs.len() == 1
        && passes(expand, depthwise, uses)
        && Block::is_worthwhile(Some(first), of, Some(last))
    {
        return Some(3);
    }
    Block::is_worthwhile(None, of, Some(last)).then_some(2)
}

/// The number of last steps that are a block without its last convolution.
fn first_part(steps: &[Step], uses: &HashMap<usize, usize>) -> Option<usize> {
    let [.., expand, depthwise] = steps else { return None };
    let (Operation::Conv(first), Operation::Depthwise(of)) =
        (&expand.operation, &depthwise.operation)
    else {
        return None;
    };
    let joins = expand.inputs.len() == 1
        && passes(expand, depthwise, uses)
        && Block::is_worthwhile(Some(first), of, None);
    joins.then_some(2)
}

/// The steps of a block as one step.
fn one(parts: Vec<Step>) -> Option<Step> {
    let nodes = parts.iter().flat_map(|step| step.nodes.iter().copied()).collect();
    let input = parts.first()?.inputs.first().copied()?;
    let Step { inputs, output, .. } = parts.last()?;
    let (output, residual) = (*output, inputs.get(1).copied());
    let inputs = [input].into_iter().chain(residual).collect();
    // The border of the first convolution.
    let scratch = parts.first()?.scratch;
    let (mut expand, mut depthwise, mut project) = (None, None, None);
    for part in parts {
        match part.operation {
            Operation::Conv(conv) if depthwise.is_none() => expand = Some(conv),
            Operation::Conv(conv) => project = Some(conv),
            Operation::Depthwise(conv) => depthwise = Some(conv),
            _ => return None,
        }
    }
    let block = Block::new(expand, depthwise?, project);
    Some(Step { nodes, operation: Operation::Block(Box::new(block)), inputs, output, scratch })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::form::Form;
    use super::super::super::kernel::{Conv, Depthwise, Taps};
    use super::super::super::layout::{Layout, Window};
    use super::super::super::pool::Pool;
    use super::super::super::simd::{Element, Instructions};
    use super::super::step::Home;
    use super::*;
    use crate::graph::op::{Padding, Pair};

    const CHANNELS: usize = 8;

    fn value(slot: usize) -> Value {
        let home = Home::Slot { slot, offset: 0 };
        Value { home, layout: Layout::dense(28, 28, CHANNELS), form: Form::Float32 }
    }

    fn step(operation: Operation, inputs: &[usize], output: usize) -> Step {
        let inputs = inputs.iter().map(|&slot| value(slot)).collect();
        Step { nodes: Vec::new(), operation, inputs, output: value(output), scratch: None }
    }

    fn depthwise(input: usize, output: usize) -> Step {
        let window = Window::new((3.into(), Pair::ONE, Pair::ONE), Padding::from(1), (28, 28));
        let forms = (Form::Float32, Form::Float32);
        let taps = Taps::pack(9, &[0.0; 9 * CHANNELS], &[0.0; CHANNELS], forms).unwrap();
        let (layout, instructions) = (value(0).layout, Instructions::PORTABLE);
        let taps = Arc::new(taps);
        let conv = Depthwise {
            input: layout,
            output: layout,
            window,
            function: None,
            instructions,
            taps,
            forms,
        };
        step(Operation::Depthwise(conv), &[input], output)
    }

    fn pointwise(inputs: &[usize], output: usize) -> Step {
        let window = Window::new((Pair::ONE, Pair::ONE, Pair::ONE), Padding::from(0), (28, 28));
        let numbers = (&[0.0; CHANNELS * CHANNELS][..], &[0.0; CHANNELS][..]);
        let (size, kind) = ((CHANNELS, CHANNELS, 1), (Instructions::PORTABLE, Element::Float32));
        let groups = Conv::pack(&Pool::new(1), kind, size, &window, numbers).unwrap();
        let layout = value(0).layout;
        let groups = Arc::new(groups);
        let conv = Conv {
            input: layout,
            output: layout,
            window,
            groups,
            function: None,
            forms: Form::FLOATS,
            bytes: None,
            is_bordered: false,
        };
        step(Operation::Conv(conv), inputs, output)
    }

    /// The number of steps after joining.
    fn joined(steps: Vec<Step>) -> usize {
        join(steps, &[]).len()
    }

    #[test]
    fn values_that_nobody_else_reads_are_joined() {
        assert_eq!(joined(vec![depthwise(0, 1), pointwise(&[1], 2)]), 1);
        // Another value is added.
        assert_eq!(joined(vec![depthwise(0, 1), pointwise(&[1, 0], 2)]), 1);
        assert_eq!(joined(vec![pointwise(&[0], 1), depthwise(1, 2), pointwise(&[2, 0], 3)]), 1);
    }

    #[test]
    fn values_that_others_read_too_are_kept() {
        assert_eq!(joined(vec![depthwise(0, 1), pointwise(&[1], 2), pointwise(&[1], 3)]), 3);
        // The value between is added, too.
        assert_eq!(joined(vec![depthwise(0, 1), pointwise(&[1, 1], 2)]), 2);
    }
}
