//! Steps that run as one: the convolutions of a block of MobileNet.

use std::collections::HashMap;

use super::super::kernel::Block;
use super::step::{Operation, Output, Step, Value};

/// Joins the steps of blocks, whose values between them nobody else reads.
pub(super) fn join(steps: Vec<Step>, outputs: &[Output]) -> Vec<Step> {
    let uses = uses(&steps, outputs);
    let mut joined: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        joined.push(step);
        if let Some(length) = block(&joined, &uses) {
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

/// The number of last steps that are a block.
fn block(steps: &[Step], uses: &HashMap<usize, usize>) -> Option<usize> {
    let passes = |from: &Step, to: &Step| {
        let only = from.output.slot().is_some_and(|slot| uses.get(&slot) == Some(&2));
        only && to.inputs.first() == Some(&from.output)
    };
    let [.., depthwise, project] = steps else { return None };
    let (Operation::Depthwise(of), Operation::Conv(last)) =
        (&depthwise.operation, &project.operation)
    else {
        return None;
    };
    if !passes(depthwise, project) {
        return None;
    }
    if let [.., expand, _, _] = steps
        && let Operation::Conv(first) = &expand.operation
        && expand.inputs.len() == 1
        && passes(expand, depthwise)
        && Block::is_worthwhile(Some(first), of, last)
    {
        return Some(3);
    }
    Block::is_worthwhile(None, of, last).then_some(2)
}

/// The steps of a block as one step.
fn one(parts: Vec<Step>) -> Option<Step> {
    let nodes = parts.iter().flat_map(|step| step.nodes.iter().copied()).collect();
    let input = parts.first()?.inputs.first().copied()?;
    let Step { inputs, output, .. } = parts.last()?;
    let (output, residual) = (*output, inputs.get(1).copied());
    let inputs = [input].into_iter().chain(residual).collect();
    let (mut convs, mut depthwise) = (Vec::new(), None);
    for part in parts {
        match part.operation {
            Operation::Conv(conv) => convs.push(conv),
            Operation::Depthwise(conv) => depthwise = Some(conv),
            _ => return None,
        }
    }
    let project = convs.pop()?;
    let block = Block::new(convs.pop(), depthwise?, project);
    Some(Step {
        nodes,
        operation: Operation::Block(Box::new(block)),
        inputs,
        output,
        scratch: None,
    })
}
