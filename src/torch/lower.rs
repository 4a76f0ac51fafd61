//! Lowering: for each step of a schedule, how libtorch runs it, and what it may overwrite.

use std::collections::{HashMap, HashSet};

use tch::Tensor;

use super::Layout;
use super::among::Among;
use super::batch_norm::Fused;
use super::floats::floats;
use super::patches::tiles;
use super::walk::{Mode, Pass, Walk};
use crate::graph::op::Function;
use crate::graph::{Node, NodeId, Op, Schedule, Shape};

/// A node lowered for libtorch.
pub(super) struct Step<'a> {
    pub id: NodeId,
    pub node: &'a Node,
    pub arrays: &'a [Tensor],
    pub kernel: Kernel,
    /// Whether its inputs and arrays are cast to bfloat16.
    pub casts: bool,
    /// The processes whose statistics a norm uses together.
    pub among: Option<Among<'a>>,
    /// Inputs that nothing reads after it.
    pub freed: Vec<NodeId>,
}

/// The way in which a node's operation is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// As in evaluation: batch norm uses its running statistics, and dropout passes its input on.
    Plain,
    /// The first input is overwritten: nothing else reads it, and no gradient needs it.
    InPlace,
    /// The first input is passed on: the norm before has computed this activation.
    PassOn,
    /// A product of matrices, for a convolution whose windows tile the image.
    Patches,
    /// Batch norm that uses the batch's statistics.
    BatchStatistics {
        /// Whether it updates its running statistics.
        updates: bool,
        /// The activation after it.
        then: Option<Function>,
        /// The layout of images. In channels_first the bits are libtorch's.
        layout: Layout,
    },
    /// Dropout with a mask that follows from the seed.
    Masked { seed: u64 },
}

impl Walk<'_> {
    /// The steps of a schedule, of which nothing frees or overwrites the `kept` values.
    pub(super) fn lower(
        &self,
        schedule: &Schedule,
        kept: &HashSet<NodeId>,
        pass: Pass,
    ) -> Vec<Step<'_>> {
        let lowering = Lowering { walk: self, schedule, kept, pass };
        let mut steps: Vec<Step<'_>> =
            schedule.steps.iter().map(|step| lowering.step(step.node, &step.last_reads)).collect();
        lowering.fuse(&mut steps);
        steps
    }
}

struct Lowering<'a, 'b> {
    walk: &'a Walk<'a>,
    schedule: &'b Schedule,
    kept: &'b HashSet<NodeId>,
    pass: Pass,
}

impl<'a> Lowering<'a, '_> {
    fn step(&self, id: NodeId, last_reads: &[NodeId]) -> Step<'a> {
        let Walk { graph, store, precision, .. } = *self.walk;
        let node = graph.node(id);
        let casts = precision.lowers(&node.op);
        let freed = last_reads.iter().copied().filter(|input| !self.kept.contains(input)).collect();
        let arrays = store.of_node(id.index());
        let kernel = self.kernel(id, node, arrays, casts);
        let among = self.walk.among.filter(|among| among.norms);
        Step { id, node, arrays, kernel, casts, among, freed }
    }

    fn kernel(&self, id: NodeId, node: &Node, arrays: &[Tensor], casts: bool) -> Kernel {
        let walk = self.walk;
        match (&node.op, walk.mode) {
            (Op::Activation(_) | Op::Add(_), _) if self.is_spare(node) => Kernel::InPlace,
            (Op::BatchNorm(_), _) if walk.learns(id) => Kernel::BatchStatistics {
                updates: self.pass == Pass::First,
                then: None,
                layout: walk.store.layout(),
            },
            // In evaluation the bits are libtorch's, whatever is trained.
            (Op::Conv(conv), Mode::Training { .. }) => {
                let ours = walk.store.layout() == Layout::ChannelsLast
                    && !casts
                    && arrays.first().is_some_and(|weight| floats(weight).is_some());
                match node.inputs.first().map(|input| walk.shapes[input.index()]) {
                    Some(Shape::Image { height, width, .. })
                        if ours && tiles(conv, height, width) =>
                    {
                        Kernel::Patches
                    }
                    _ => Kernel::Plain,
                }
            }
            (Op::Dropout(_) | Op::DropPath(_), Mode::Training { seed }) if walk.trains_node(id) => {
                Kernel::Masked { seed }
            }
            _ => Kernel::Plain,
        }
    }

    /// Whether one step alone reads a value, which is a step's own.
    fn is_passing(&self, id: NodeId) -> bool {
        self.schedule.uses(id) == 1
            && !self.kept.contains(&id)
            && self.schedule.reads.binary_search(&id).is_err()
    }

    /// Whether no gradient needs the value of a node's first input, and only this node reads it. Linear layers on tokens
    /// return a view, whose gradient would be copied if it were overwritten.
    fn is_spare(&self, node: &Node) -> bool {
        let Some(&input) = node.inputs.first() else { return false };
        let fresh = match self.walk.graph.node(input).op {
            Op::Conv(_) | Op::BatchNorm(_) | Op::Add(_) => true,
            Op::Linear(_) => !matches!(self.walk.shapes[input.index()], Shape::Tokens { .. }),
            _ => false,
        };
        fresh && self.is_passing(input)
    }

    /// Fuses activations with the norms before them that use the batch's statistics.
    fn fuse(&self, steps: &mut [Step<'_>]) {
        let norms: HashMap<NodeId, usize> = steps
            .iter()
            .enumerate()
            .filter_map(|(place, step)| {
                matches!(step.kernel, Kernel::BatchStatistics { .. }).then_some((step.id, place))
            })
            .collect();
        for place in 0..steps.len() {
            let Op::Activation(op) = &steps[place].node.op else { continue };
            let [input] = steps[place].node.inputs[..] else { continue };
            let Some(&norm) = norms.get(&input) else { continue };
            if let Kernel::BatchStatistics { then, .. } = &mut steps[norm].kernel
                && self.is_passing(input)
                && Fused::of(op.function).is_some()
            {
                *then = Some(op.function);
                steps[place].kernel = Kernel::PassOn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::Store;
    use super::*;
    use crate::engine::Precision;
    use crate::graph::Graph;
    use crate::weights::init::Recipe;

    const NETWORK: &str = "graph small\n\
        input = input() height=8 width=8\n\
        patches = conv(input) out=4 kernel=2 stride=2\n\
        norm = batch_norm(patches)\n\
        relu = activation(norm)\n\
        conv = conv(relu) out=4 kernel=3 padding=1\n\
        other = batch_norm(conv)\n\
        sum = add(other, relu)\n\
        last = activation(sum)\n\
        drop = dropout(last) rate=0.5\n\
        flat = flatten(drop)\n\
        fc = linear(flat) out=2\n\
        output fc\n";

    /// The nodes that are not run plainly.
    fn kernels(
        mode: Mode,
        layout: Layout,
        precision: Precision,
        frozen: &str,
    ) -> Vec<(String, Kernel)> {
        let graph: Graph = NETWORK.parse().unwrap();
        let mut store = Store::new(&graph, Recipe::RESNET, 7, Device::Cpu).unwrap();
        store.lay_out(layout).unwrap();
        let fixed: Vec<usize> = graph
            .find(frozen)
            .map(|id| store.range(id.index()).take(2).collect())
            .unwrap_or_default();
        store.set_trained(&fixed, false).unwrap();
        let x = Tensor::f_zeros([2, 3, 8, 8], (Kind::Float, Device::Cpu)).unwrap();
        let walk = Walk::new(&graph, &store, &x, &[graph.output()], mode).unwrap();
        let walk = walk.in_precision(precision);
        let kept = HashSet::from([graph.output()]);
        let steps = walk.lower(&graph.schedule(&[graph.output()]), &kept, Pass::First);
        let special = steps.iter().filter(|step| step.kernel != Kernel::Plain);
        special.map(|step| (step.node.name.clone(), step.kernel)).collect()
    }

    fn named(kernels: &[(&str, Kernel)]) -> Vec<(String, Kernel)> {
        kernels.iter().map(|&(name, kernel)| (name.to_owned(), kernel)).collect()
    }

    #[test]
    fn evaluation_overwrites_what_nothing_else_reads() {
        let found = kernels(Mode::Evaluation, Layout::ChannelsLast, Precision::Float32, "");
        let expected =
            [("relu", Kernel::InPlace), ("sum", Kernel::InPlace), ("last", Kernel::InPlace)];
        assert_eq!(found, named(&expected));
    }

    #[test]
    fn training_uses_the_statistics_of_the_batch_and_fuses_activations() {
        let (mode, layout) = (Mode::Training { seed: 3 }, Layout::ChannelsLast);
        let norm = |then| Kernel::BatchStatistics { updates: true, then, layout };
        let rest = [
            ("other", norm(None)),
            ("sum", Kernel::InPlace),
            ("last", Kernel::InPlace),
            ("drop", Kernel::Masked { seed: 3 }),
        ];
        let first = [
            ("patches", Kernel::Patches),
            ("norm", norm(Some(Function::Relu))),
            ("relu", Kernel::PassOn),
        ];
        let found = kernels(mode, layout, Precision::Float32, "");
        assert_eq!(found, named(&[&first[..], &rest].concat()));
        // What is cast to bfloat16 is libtorch's.
        let found = kernels(mode, layout, Precision::BFloat16, "");
        assert_eq!(found, named(&[&first[1..], &rest].concat()));
        // A frozen norm keeps its running statistics, and is not fused.
        let found = kernels(mode, layout, Precision::Float32, "norm");
        let frozen = [("patches", Kernel::Patches), ("relu", Kernel::InPlace)];
        assert_eq!(found, named(&[&frozen[..], &rest].concat()));
    }

    #[test]
    fn values_are_freed_after_their_last_use_unless_kept() {
        let graph: Graph = NETWORK.parse().unwrap();
        let store = Store::new(&graph, Recipe::RESNET, 7, Device::Cpu).unwrap();
        let x = Tensor::f_zeros([2, 3, 8, 8], (Kind::Float, Device::Cpu)).unwrap();
        let output = graph.output();
        let walk = Walk::new(&graph, &store, &x, &[output], Mode::Evaluation).unwrap();
        let names = |ids: &[NodeId]| -> Vec<String> {
            ids.iter().map(|id| graph.node(*id).name.clone()).collect()
        };
        let kept = HashSet::from([output, graph.find("sum").unwrap()]);
        let steps = walk.lower(&graph.schedule(&[output]), &kept, Pass::First);
        let freed: Vec<(&str, Vec<String>)> =
            steps.iter().map(|step| (step.node.name.as_str(), names(&step.freed))).collect();
        assert_eq!(freed[0], ("patches", vec!["input".to_owned()]));
        assert_eq!(freed[3], ("conv", vec![]));
        assert_eq!(freed[5], ("sum", vec!["other".to_owned(), "relu".to_owned()]));
        assert_eq!(freed[6], ("last", vec![]));
        assert_eq!(steps[6].kernel, Kernel::Plain);
    }
}
