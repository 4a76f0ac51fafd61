//! The order in which nodes run, and how long the value of each is needed.

use std::collections::{HashMap, HashSet};

use super::{Graph, NodeId};

/// Nodes in execution order. Engines run, free and overwrite by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub steps: Vec<Step>,
    /// Nodes of none of the steps whose values these read, in ascending order.
    pub reads: Vec<NodeId>,
    uses: HashMap<NodeId, usize>,
}

/// One node to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub node: NodeId,
    /// Inputs that no later step reads.
    pub last_reads: Vec<NodeId>,
}

impl Graph {
    /// All nodes that `wanted` depends on, except the input. An auxiliary classifier follows its input, wherever it is
    /// in the state dict: its gradients are then due late, when much of the network's memory is free again.
    pub fn schedule(&self, wanted: &[NodeId]) -> Schedule {
        let (needed, on_the_way) = (self.needed_for(wanted), self.needed_for(&[self.output()]));
        let mut follows: Vec<usize> = Vec::with_capacity(needed.len());
        for id in self.ids() {
            let inputs = self.node(id).inputs.iter().map(|input| follows[input.index()]);
            follows.push(inputs.max().filter(|_| !on_the_way[id.index()]).unwrap_or(id.index()));
        }
        let mut nodes: Vec<NodeId> = self.ids().skip(1).filter(|id| needed[id.index()]).collect();
        nodes.sort_by_key(|id| follows[id.index()]);
        Schedule::new(self, nodes)
    }

    /// The nodes that only auxiliary classifiers depend on which are not among `heads`.
    pub fn schedule_beside(&self, heads: &[NodeId]) -> Schedule {
        let needed = self.needed_for(heads);
        let all = self.schedule(&self.heads()[1..]);
        Schedule::new(self, all.nodes().filter(|id| !needed[id.index()]).collect())
    }
}

impl Schedule {
    /// The schedule of these nodes, which are in an execution order of `graph`.
    pub(super) fn new(graph: &Graph, nodes: Vec<NodeId>) -> Self {
        let mut uses = HashMap::new();
        let mut steps = Vec::with_capacity(nodes.len());
        // From the end, so that the first reader met of a value is its last one.
        for node in nodes.into_iter().rev() {
            let mut last_reads = Vec::new();
            for &input in &graph.node(node).inputs {
                let count = uses.entry(input).or_insert(0);
                if *count == 0 {
                    last_reads.push(input);
                }
                *count += 1;
            }
            steps.push(Step { node, last_reads });
        }
        steps.reverse();
        let own: HashSet<NodeId> = steps.iter().map(|step| step.node).collect();
        let mut reads: Vec<NodeId> = uses.keys().copied().filter(|id| !own.contains(id)).collect();
        reads.sort();
        Self { steps, reads, uses }
    }

    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator {
        self.steps.iter().map(|step| step.node)
    }

    /// The number of times that the steps read a value; a step that adds a value to itself reads it twice.
    pub fn uses(&self, id: NodeId) -> usize {
        self.uses.get(&id).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;
    use crate::graph::op::{Add, Conv, Function, Input};

    #[test]
    fn auxiliary_classifiers_run_right_after_what_they_read() {
        let mut graph = Builder::new("trunk", Input { channels: 4, height: 8, width: 8 });
        let conv = Conv { out: 4, ..Conv::default() };
        let first = graph.add("first", conv.clone(), graph.input());
        let second = graph.add("second", conv.clone(), first);
        let third = graph.add("third", conv.clone(), second);
        let head = graph.add("head", conv.clone(), first);
        let logits = graph.add("logits", Function::Relu, head);
        let other = graph.add("other", conv, second);
        graph.auxiliary(logits, 0.3);
        graph.auxiliary(other, 0.4);
        let graph = graph.finish(third).unwrap();
        let nodes = |schedule: Schedule| schedule.nodes().collect::<Vec<_>>();
        assert_eq!(
            nodes(graph.schedule(&[third, logits, other])),
            [first, head, logits, second, other, third]
        );
        assert_eq!(nodes(graph.schedule(&[third])), [first, second, third]);
        let beside = graph.schedule_beside(&[third, other]);
        assert_eq!(beside.reads, [first]);
        assert_eq!(nodes(beside), [head, logits]);
    }

    #[test]
    fn every_read_is_counted_and_the_last_one_known() {
        let mut graph = Builder::new("sums", Input { channels: 4, height: 8, width: 8 });
        let input = graph.input();
        let relu = graph.add("relu", Function::Relu, input);
        let double = graph.add("double", Add {}, [relu, relu]);
        let sum = graph.add("sum", Add {}, [double, relu]);
        let graph = graph.finish(sum).unwrap();
        let schedule = graph.schedule(&[sum]);
        assert_eq!(schedule.reads, [input]);
        let uses = [input, relu, double, sum].map(|id| schedule.uses(id));
        assert_eq!(uses, [1, 3, 1, 0]);
        let last: Vec<&[NodeId]> =
            schedule.steps.iter().map(|step| step.last_reads.as_slice()).collect();
        assert_eq!(last, [&[input][..], &[], &[double, relu]]);
    }
}
