//! Backpropagation: the graph runs segment by segment, and the gradients flow back through the segments, the last one
//! first. The whole graph may be one segment, as in PyTorch. With several (activation checkpointing), all but the last
//! run without recording and keep only the values that other segments read; when its gradients are due, each is run
//! again.

use std::collections::{BTreeMap, HashMap, HashSet};

use tch::{Kind, Tensor};

use super::run::{Values, array, on_device};
use super::walk::{Mode, Pass, Walk};
use super::{Layout, Store, failed};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, NodeId, Schedule};
use crate::weights::Parameters;

/// The result of a backward pass.
#[derive(Debug)]
pub struct Pullback {
    pub output: Array,
    /// The index of a trained parameter that the output depends on, and its gradient.
    pub gradients: Vec<(usize, Array)>,
}

/// Options of a forward and backward pass.
#[derive(Clone, Copy, Debug)]
pub struct GradientOptions {
    pub mode: Mode,
    /// Activation checkpointing: most values are computed twice instead of being kept.
    pub checkpointing: bool,
    pub precision: Precision,
}

/// Runs `graph` on `x` and backpropagates `cotangent`, the gradient of the output, to every trained parameter.
pub fn pull_back(
    graph: &Graph,
    store: &mut Store,
    x: View<'_>,
    cotangent: View<'_>,
    options: GradientOptions,
) -> Result<Pullback> {
    store.lay_out(Layout::ChannelsFirst)?;
    let output = graph.output();
    let x = on_device(x, store)?;
    let wanted = if options.mode == Mode::Evaluation { vec![output] } else { graph.heads() };
    let walk = Walk::new(graph, store, &x, &wanted, options.mode)?.in_precision(options.precision);
    let mut shape = vec![walk.batch];
    shape.extend(walk.shapes[output.index()].sizes());
    if shape != cotangent.shape {
        return Err(Error::Shape {
            at: format!("the cotangent of {}", graph.name()),
            expected: shape_text(&shape),
            got: shape_text(cotangent.shape),
        });
    }
    let cotangent = on_device(cotangent, store)?;
    let (logits, gradients) = gradients(walk, x, &[output], options.checkpointing, |heads| {
        Ok((array(&heads[0], "the output")?, vec![cotangent]))
    })?;
    let copied = |(index, gradient): (usize, Tensor)| {
        Ok((index, array(&gradient, &store.parameters()[index].name)?))
    };
    Ok(Pullback {
        output: logits,
        gradients: gradients.into_iter().map(copied).collect::<Result<_>>()?,
    })
}

/// Runs the graph on `x`, asks `objective` for the gradients with respect to the values of `heads`, and propagates them
/// back to every trained parameter. Returns the objective's other result, and the gradients by the index of their
/// parameter.
pub(super) fn gradients<T>(
    walk: Walk<'_>,
    x: Tensor,
    heads: &[NodeId],
    checkpointing: bool,
    objective: impl FnOnce(&[Tensor]) -> Result<(T, Vec<Tensor>)>,
) -> Result<(T, BTreeMap<usize, Tensor>)> {
    let graph = walk.graph;
    let segments = if checkpointing {
        graph.segments(&walk.shapes, heads)
    } else {
        vec![graph.schedule(heads)]
    };
    // Nodes that no head needs are run to update the running statistics of their norms.
    let beside =
        walk.trains().then(|| graph.schedule_beside(heads)).filter(|s| !s.steps.is_empty());
    let mut kept: HashSet<NodeId> = segments.iter().flat_map(|s| &s.reads).copied().collect();
    kept.extend(heads);
    kept.extend(beside.iter().flat_map(|beside| &beside.reads));

    let mut run = Run {
        depends: depending(&walk, &segments),
        values: Values::from([(graph.image(), x)]),
        walk,
        kept,
        cotangents: HashMap::new(),
        gradients: BTreeMap::new(),
    };
    let value = tch::with_grad(|| run.segments(&segments, beside.as_ref(), heads, objective));
    // Also where it failed, and after the backward pass, which reads them as they were.
    run.walk.count_learned();
    Ok((value?, run.gradients))
}

/// The nodes whose values depend on a trained parameter.
fn depending(walk: &Walk<'_>, segments: &[Schedule]) -> HashSet<NodeId> {
    let mut depends = HashSet::new();
    for id in segments.iter().flat_map(Schedule::nodes) {
        let trained = walk.store.of_node(id.index()).iter().any(Tensor::requires_grad);
        if trained || walk.graph.node(id).inputs.iter().any(|input| depends.contains(input)) {
            depends.insert(id);
        }
    }
    depends
}

struct Run<'a> {
    walk: Walk<'a>,
    /// The values that are read by other segments.
    kept: HashSet<NodeId>,
    depends: HashSet<NodeId>,
    values: Values,
    /// The gradients of the values computed so far.
    cotangents: Values,
    gradients: BTreeMap<usize, Tensor>,
}

impl Run<'_> {
    fn segments<T>(
        &mut self,
        segments: &[Schedule],
        beside: Option<&Schedule>,
        heads: &[NodeId],
        objective: impl FnOnce(&[Tensor]) -> Result<(T, Vec<Tensor>)>,
    ) -> Result<T> {
        let Some((last, earlier)) = segments.split_last() else { unreachable!("there is one") };
        {
            let _no_grad = tch::no_grad_guard();
            for segment in earlier {
                self.walk.run(segment, &mut self.values, &self.kept, Pass::First)?;
            }
        }
        let leaves = self.leaves(last)?;
        let values = self.record(last, &leaves, Pass::First)?;
        if let Some(beside) = beside {
            self.beside(beside, &values)?;
        }
        let head = |id: &NodeId| {
            let value = values.get(id).unwrap_or_else(|| &self.values[id]);
            let logits = value.f_detach().and_then(|value| value.f_to_kind(Kind::Float));
            logits.map_err(failed(self.at(*id)))
        };
        let (result, cotangents) = objective(&heads.iter().map(head).collect::<Result<Vec<_>>>()?)?;
        self.cotangents.extend(heads.iter().copied().zip(cotangents));
        self.back(last, &leaves, values)?;
        drop(leaves);

        for segment in earlier.iter().rev() {
            // They are recomputed in the backward pass.
            segment.nodes().for_each(|id| _ = self.values.remove(&id));
            let leaves = self.leaves(segment)?;
            if leaves.values().any(Tensor::requires_grad) || !self.trained(segment).is_empty() {
                let values = self.record(segment, &leaves, Pass::Second)?;
                self.back(segment, &leaves, values)?;
            }
        }
        Ok(result)
    }

    /// Runs the auxiliary classifiers to update the running statistics of their norms. Their logits have no share in
    /// the gradients of the output.
    fn beside(&self, beside: &Schedule, last: &Values) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let read = |id: &NodeId| {
            let value = last.get(id).or_else(|| self.values.get(id))?;
            Some((*id, value.shallow_clone()))
        };
        let mut values: Values = beside.reads.iter().filter_map(read).collect();
        self.walk.run(beside, &mut values, &HashSet::new(), Pass::First)
    }

    /// The segment's inputs as leaves of a new autograd record.
    fn leaves(&self, segment: &Schedule) -> Result<Values> {
        let leaf = |&id: &NodeId| {
            let value = &self.values[&id];
            let leaf = value
                .f_detach()
                .and_then(|leaf| leaf.f_set_requires_grad(self.depends.contains(&id)));
            Ok((id, leaf.map_err(failed(self.at(id)))?))
        };
        segment.reads.iter().map(leaf).collect()
    }

    fn record(&self, segment: &Schedule, leaves: &Values, pass: Pass) -> Result<Values> {
        let mut values: Values =
            leaves.iter().map(|(&id, leaf)| (id, leaf.shallow_clone())).collect();
        self.walk.run(segment, &mut values, &self.kept, pass)?;
        Ok(values)
    }

    /// The backward pass of a segment: from the gradients of its values to those of its inputs and of its parameters.
    fn back(&mut self, segment: &Schedule, leaves: &Values, values: Values) -> Result<()> {
        // A value that later segments read too has a gradient from them, to which this segment's is added in the order
        // of a single segment: the product is recorded last, so it comes first.
        let mut scalars = Vec::new();
        for id in segment.reads.iter().copied().chain(segment.nodes()) {
            let (Some(value), Some(cotangent)) = (values.get(&id), self.cotangents.remove(&id))
            else {
                continue;
            };
            if value.requires_grad() {
                // In the tensor's own element type: a cast would change the memory layout of its gradient.
                let scalar =
                    value.f_mul(&cotangent).and_then(|product| product.f_sum(product.f_kind()?));
                scalars.push(scalar.map_err(failed(self.at(id)))?);
            }
        }
        drop(values);
        let trained = self.trained(segment);
        let leaves: Vec<(&NodeId, &Tensor)> =
            leaves.iter().filter(|(_, leaf)| leaf.requires_grad()).collect();
        let parameters = trained.iter().map(|&index| &self.walk.store.tensors()[index]);
        let inputs: Vec<&Tensor> = leaves.iter().map(|(_, leaf)| *leaf).chain(parameters).collect();
        if scalars.is_empty() || inputs.is_empty() {
            return Ok(());
        }
        let mut gradients = Tensor::f_run_backward(&scalars, &inputs, false, false)
            .map_err(failed(self.whose_gradient(segment)))?
            .into_iter();
        for (&(&id, _), gradient) in leaves.iter().zip(gradients.by_ref()) {
            self.cotangents.insert(id, gradient);
        }
        self.gradients.extend(trained.into_iter().zip(gradients));
        Ok(())
    }

    /// The trained parameters of the segment.
    fn trained(&self, segment: &Schedule) -> Vec<usize> {
        let tensors = self.walk.store.tensors();
        let of_node = |id: NodeId| self.walk.store.range(id.index());
        let is_trained = |&index: &usize| tensors[index].requires_grad();
        segment.nodes().flat_map(of_node).filter(is_trained).collect()
    }

    fn at(&self, id: NodeId) -> String {
        format!(
            "{}, the gradient of node `{}`",
            self.walk.graph.name(),
            self.walk.graph.node(id).name
        )
    }

    fn whose_gradient(&self, segment: &Schedule) -> String {
        let graph = self.walk.graph;
        let name = |id: Option<NodeId>| id.map_or("", |id| &graph.node(id).name);
        let (first, last) = (name(segment.nodes().next()), name(segment.nodes().next_back()));
        format!("{}, the gradient of nodes `{first}` to `{last}`", graph.name())
    }
}
