//! Gradients for explanations: those of a score by the images and by the values of nodes, in evaluation.
//!
//! Each node is recorded by itself, with detached copies of its inputs and its arrays, and nothing is overwritten. So a
//! value that an operation passes on as it is has a gradient of its own, gradients can be changed between two nodes
//! (guided backpropagation), and parameters take no part: many threads may explain a model at once.

use std::collections::{HashMap, HashSet};

use tch::{TchError, Tensor};

use super::lower::Step;
use super::run::{Values, array, on_device};
use super::store::blob;
use super::walk::{Mode, Pass, Walk};
use super::{Store, failed};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result, shape_text};
use crate::graph::op::Function;
use crate::graph::{Graph, Node, NodeId, Op, Schedule};

/// The number of each image that is differentiated.
#[derive(Clone, Copy, Debug)]
pub enum Score<'a> {
    /// The value of one class for each image, or of the same for all; the output is (N, K).
    Classes(&'a [i64]),
    /// The sum of output · cotangent.
    Cotangent(View<'a>),
}

/// Options of an explanation.
#[derive(Clone, Copy, Debug)]
pub struct ExplainOptions<'a> {
    /// The node whose value is scored.
    pub output: NodeId,
    /// The nodes by whose values the score is differentiated.
    pub at: &'a [NodeId],
    /// Guided backpropagation (Springenberg et al., arXiv:1412.6806): rectifiers pass on positive gradients alone.
    pub guided: bool,
    pub precision: Precision,
}

/// The gradients of a score.
#[derive(Debug)]
pub struct Explanation {
    pub output: Array,
    /// The gradient by the images.
    pub images: Array,
    /// Value and gradient of each node, in the order in which they were given.
    pub nodes: Vec<(Array, Array)>,
}

/// Runs `graph` on `x` (N, C, H, W) in evaluation and differentiates `score`.
pub fn explain(
    graph: &Graph,
    store: &Store,
    x: View<'_>,
    score: Score<'_>,
    options: ExplainOptions<'_>,
) -> Result<Explanation> {
    let schedule = graph.schedule(&[options.output]);
    check(graph, &schedule, options)?;
    let x = on_device(x, store)?;
    let walk = Walk::new(graph, store, &x, &[options.output], Mode::Evaluation)?;
    let walk = walk.in_precision(options.precision);
    let images = x.shallow_clone();
    let mut tape = Tape {
        is_active: active(graph, &schedule, options.at),
        kept: options.at.iter().copied().chain([options.output]).collect(),
        records: Vec::with_capacity(schedule.steps.len()),
        values: Values::from([(graph.image(), x)]),
        walk,
    };
    tch::with_grad(|| tape.record(&schedule))?;
    let values: Values =
        tape.kept.iter().map(|&id| Ok((id, tape.value(id)?))).collect::<Result<_>>()?;
    let output = &values[&options.output];
    let cotangent = cotangent(graph.name(), graph.node(options.output), output, score)?;
    let gradients = tch::with_grad(|| tape.back(options, cotangent))?;

    let found = |id: NodeId, like: &Tensor| match gradients.get(&id) {
        Some(gradient) => array(gradient, &graph.node(id).name),
        None => Ok(Array { shape: shape(like), values: vec![0.0; like.numel()] }),
    };
    let node = |id: &NodeId| {
        let value = &values[id];
        Ok((array(value, &graph.node(*id).name)?, found(*id, value)?))
    };
    Ok(Explanation {
        output: array(output, "the output")?,
        images: found(graph.image(), &images)?,
        nodes: options.at.iter().map(node).collect::<Result<_>>()?,
    })
}

/// Fails with `Error::Argument` where the score does not depend on a node, or there is nothing to be guided.
fn check(graph: &Graph, schedule: &Schedule, options: ExplainOptions<'_>) -> Result<()> {
    let needed = graph.needed_for(&[options.output]);
    let output = &graph.node(options.output).name;
    if let Some(id) = options.at.iter().find(|id| !needed[id.index()]) {
        return Err(Error::Argument {
            at: format!("a node of {}", graph.name()),
            expected: format!("one that `{output}` depends on"),
            got: format!("`{}`", graph.node(*id).name),
        });
    }
    if options.guided && !schedule.nodes().any(|id| is_rectifier(&graph.node(id).op)) {
        return Err(Error::Argument {
            at: "`guided`".into(),
            expected: format!("a network with ReLU or ReLU6 before `{output}`"),
            got: format!("{}, which has none", graph.name()),
        });
    }
    Ok(())
}

/// The nodes whose values depend on the images or on a node of `at`.
fn active(graph: &Graph, schedule: &Schedule, at: &[NodeId]) -> HashSet<NodeId> {
    let mut active: HashSet<NodeId> = at.iter().copied().chain([graph.image()]).collect();
    for id in schedule.nodes() {
        if graph.node(id).inputs.iter().any(|input| active.contains(input)) {
            active.insert(id);
        }
    }
    active
}

fn is_rectifier(op: &Op) -> bool {
    let Op::Activation(activation) = op else { return false };
    matches!(activation.function, Function::Relu | Function::Relu6)
}

/// The gradient of the score by the output.
fn cotangent(name: &str, node: &Node, output: &Tensor, score: Score<'_>) -> Result<Tensor> {
    let classes = match score {
        Score::Cotangent(view) => {
            if shape(output) != view.shape {
                return Err(Error::Shape {
                    at: format!("the cotangent of {name}"),
                    expected: shape_text(&shape(output)),
                    got: shape_text(view.shape),
                });
            }
            let copied = blob(view.values, view.shape)?
                .f_to_device(output.device())
                .and_then(|cotangent| cotangent.f_to_kind(output.f_kind()?));
            return copied.map_err(failed("the cotangent"));
        }
        Score::Classes(classes) => classes,
    };
    let at = || format!("the target of {name}");
    let [batch, count] = output.size()[..] else {
        return Err(Error::Argument {
            at: at(),
            expected: format!(
                "a cotangent {}, since `{}` has no classes",
                shape_text(&shape(output)),
                node.name
            ),
            got: "classes".into(),
        });
    };
    if classes.len() != 1 && classes.len() as i64 != batch {
        return Err(Error::Shape {
            at: at(),
            expected: format!("a class, or one for each of {batch} images"),
            got: classes.len().to_string(),
        });
    }
    if let Some(class) = classes.iter().find(|class| !(0..count).contains(class)) {
        return Err(Error::Argument {
            at: at(),
            expected: format!("classes of 0 to {}", count - 1),
            got: class.to_string(),
        });
    }
    let index = Tensor::f_from_slice(classes)
        .and_then(|index| index.f_to_device(output.device()))
        .and_then(|index| index.f_view([-1, 1])?.f_expand([batch, 1], false));
    index
        .and_then(|index| output.f_zeros_like()?.f_scatter_value(1, &index, 1.0))
        .map_err(failed(at()))
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().into_iter().map(|size| size as usize).collect()
}

/// A node's run, to be differentiated.
struct Record {
    id: NodeId,
    /// Its inputs as leaves of its own autograd record, if their gradients are wanted.
    leaves: Vec<(NodeId, Tensor)>,
    value: Tensor,
}

struct Tape<'a> {
    walk: Walk<'a>,
    is_active: HashSet<NodeId>,
    kept: HashSet<NodeId>,
    records: Vec<Record>,
    values: Values,
}

impl Tape<'_> {
    /// Runs the steps and records each of those that depend on an active node.
    fn record(&mut self, schedule: &Schedule) -> Result<()> {
        // Nothing is overwritten of what is kept, and here that is everything.
        let all: HashSet<NodeId> = schedule.nodes().collect();
        let mut records = Vec::with_capacity(schedule.steps.len());
        for (step, planned) in
            self.walk.lower(schedule, &all, Pass::First).into_iter().zip(&schedule.steps)
        {
            let record = self.run(step)?;
            let value = record.value.f_detach().map_err(failed(self.at(record.id)))?;
            self.values.insert(record.id, value);
            if self.is_active.contains(&record.id) && !record.leaves.is_empty() {
                records.push(record);
            }
            for input in planned.last_reads.iter().filter(|input| !self.kept.contains(input)) {
                self.values.remove(input);
            }
        }
        self.records = records;
        Ok(())
    }

    fn run(&self, step: Step<'_>) -> Result<Record> {
        let mut leaves = Vec::new();
        let mut inputs = Vec::with_capacity(step.node.inputs.len());
        for &input in &step.node.inputs {
            let is_active = self.is_active.contains(&input);
            let leaf =
                self.value(input)?.f_detach().and_then(|leaf| leaf.f_set_requires_grad(is_active));
            let leaf = leaf.map_err(failed(self.at(step.id)))?;
            if is_active {
                leaves.push((input, leaf.shallow_clone()));
            }
            inputs.push(leaf);
        }
        // The parameters stay out of the record.
        let arrays = step.arrays.iter().map(Tensor::f_detach).collect::<Result<Vec<_>, _>>();
        let arrays = arrays.map_err(failed(self.at(step.id)))?;
        let step = Step { arrays: &arrays, ..step };
        let value = step
            .run(&inputs.iter().collect::<Vec<_>>(), self.walk.batch as i64)
            .map_err(failed(self.at(step.id)))?;
        Ok(Record { id: step.id, leaves, value })
    }

    /// The gradients of the active nodes, from that of the output.
    fn back(&mut self, options: ExplainOptions<'_>, cotangent: Tensor) -> Result<Values> {
        let mut gradients = HashMap::from([(options.output, cotangent)]);
        while let Some(record) = self.records.pop() {
            let is_kept = options.at.contains(&record.id);
            let found = if is_kept {
                gradients.get(&record.id).map(Tensor::shallow_clone)
            } else {
                gradients.remove(&record.id)
            };
            let Some(mut gradient) = found else { continue };
            let at = || failed(self.at(record.id));
            if options.guided && is_rectifier(&self.walk.graph.node(record.id).op) {
                gradient = gradient.f_clamp_min(0.0).map_err(at())?;
            }
            let pulled = pull(&record, &gradient).map_err(at())?;
            for (&(input, _), more) in record.leaves.iter().zip(pulled) {
                let sum = match gradients.remove(&input) {
                    Some(sum) => sum.f_add(&more).map_err(at())?,
                    None => more,
                };
                gradients.insert(input, sum);
            }
        }
        Ok(gradients)
    }

    fn value(&self, id: NodeId) -> Result<Tensor> {
        let value = self.values.get(&id).map(Tensor::shallow_clone);
        value.ok_or_else(|| Error::Defect {
            at: self.at(id),
            message: "it did not run before".into(),
        })
    }

    fn at(&self, id: NodeId) -> String {
        let node = self.walk.graph.node(id);
        format!("{}, node `{}` ({})", self.walk.graph.name(), node.name, node.op.name())
    }
}

/// The gradients by the leaves of a record.
fn pull(record: &Record, gradient: &Tensor) -> Result<Vec<Tensor>, TchError> {
    // Its gradient by the value is the given one, bit for bit.
    let scalar = record.value.f_mul(gradient)?.f_sum(record.value.f_kind()?)?;
    let leaves: Vec<&Tensor> = record.leaves.iter().map(|(_, leaf)| leaf).collect();
    Tensor::f_run_backward(&[scalar], &leaves, false, false)
}
