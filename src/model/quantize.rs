//! Quantization: which layers of a model run in int8, found with images that it will be used for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Model, Shared};
use crate::engine::{Array, Precision, View};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op, Role, Shape};
use crate::infer::{self, Calibrator, Choices, Native, Pool, Quantization};

/// The errors that int8 makes, relative to the spread of the output's numbers.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// For each convolution and linear layer, in the graph's order, its error if it alone runs in int8, and whether it does.
    pub layers: Vec<QuantizedLayer>,
    /// The error of the network as it runs in int8 now.
    pub error: f64,
    /// The lowest and the highest value of nodes.
    pub ranges: Vec<Range>,
}

#[derive(Clone, Debug)]
pub struct QuantizedLayer {
    pub node: NodeId,
    pub error: f64,
    pub is_int8: bool,
}

/// The range of a node's values, by its name.
pub type Range = (String, f32, f32);

/// The most images whose outputs are compared.
const MOST_COMPARED: usize = 8;

impl Model {
    /// Measures the ranges of values on images `x` (N, C, H, W), and finds the convolutions and linear layers whose error
    /// alone in int8 is at most `most`: these are to run in int8. `before` is called before each of so many equal parts of
    /// the work; its error ends the work.
    ///
    /// Fails with `Error::Argument` where a value is not finite, and `Error::Device` where the parameters are on no CPU.
    fn measure(
        &self,
        x: View<'_>,
        most: f64,
        mut before: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<(Quantized, Quantization)> {
        let graph = &*self.graph;
        let engine = self.engine_on_cpu("where it is quantized")?;
        let (native, pool) = (Native::default(), Pool::shared());
        let mut choices = self.native().choices();
        (choices.precision, choices.quantization) = (Precision::Float32, None);
        let &[count, channels, height, width] = x.shape else { return Err(self.no_pictures(x)) };
        if count == 0 || channels != graph.input().channels {
            return Err(self.no_pictures(x));
        }
        let (one, shape) = (channels * height * width, [1, channels, height, width]);
        let image = |at: usize| View { shape: &shape, values: &x.values[at * one..][..one] };
        let all = infer::layers(graph);
        let compared = count.min(MOST_COMPARED);
        let steps = count + all.len() + 1;

        let mut calibrator = Calibrator::new(graph);
        let wanted: Vec<NodeId> =
            calibrator.nodes().iter().copied().chain([graph.output()]).collect();
        let prepared = native.prepare_once(graph, engine, &shape, &wanted, &choices, &pool)?;
        let mut outputs = Vec::new();
        for at in 0..count {
            before(at, steps)?;
            let mut values = prepared.run(image(at), &pool)?;
            let output = values.pop().ok_or_else(|| self.no_pictures(x))?;
            calibrator.see(&values, &output)?;
            if at < compared {
                outputs.push(output);
            }
        }
        drop(prepared);
        let quantization = calibrator.finish()?;

        choices.precision = Precision::Int8;
        let error = |floats: BTreeSet<NodeId>| {
            let ranges = quantization.ranges().clone();
            let quantization = Some(Arc::new(Quantization::new(graph, ranges, floats)?));
            let mut choices: Choices = choices.clone();
            choices.quantization = quantization;
            let wanted = [graph.output()];
            let prepared = native.prepare_once(graph, engine, &shape, &wanted, &choices, &pool)?;
            let found = (0..compared).map(|at| prepared.run(image(at), &pool));
            let found = found.collect::<Result<Vec<_>>>()?;
            Ok::<_, Error>(relative(&outputs, &found.concat()))
        };
        let mut found = Vec::with_capacity(all.len());
        for (at, &node) in all.iter().enumerate() {
            before(count + at, steps)?;
            let fits = fits(graph, node, &quantization);
            let others = all.iter().copied().filter(|&other| other != node);
            let error = if fits { error(others.collect())? } else { 0.0 };
            found.push(QuantizedLayer { node, error, is_int8: fits && error <= most });
        }
        before(steps - 1, steps)?;
        let floats: BTreeSet<NodeId> =
            found.iter().filter(|layer| !layer.is_int8).map(|layer| layer.node).collect();
        let error = error(floats.clone())?;
        let quantization = Quantization::new(graph, quantization.ranges().clone(), floats)?;
        let name = |id: &NodeId| graph.node(*id).name.clone();
        let ranges = quantization.ranges().iter().map(|(id, &(low, high))| (name(id), low, high));
        Ok((Quantized { layers: found, error, ranges: ranges.collect() }, quantization))
    }

    /// The ranges, and the layers that stay in float32, if the model was quantized with the parameters that it has now.
    pub fn quantization(&self) -> Option<Arc<Quantization>> {
        self.native().choices().quantization
    }

    pub fn set_quantization(&mut self, quantization: Option<Quantization>) {
        let mut choices = self.native().choices();
        choices.quantization = quantization.map(Arc::new);
        self.native().set_choices(choices);
    }

    /// Quantizes the model with ranges and layers that were found before: each layer with whether it runs in int8.
    ///
    /// Fails with `Error::Argument` unless there is a range for each node that has one and these are the network's layers,
    /// and with what `Quantization::new` refuses.
    pub fn quantize_as(&mut self, ranges: &[Range], layers: &[(String, bool)]) -> Result<()> {
        self.engine()?;
        let graph = Arc::clone(&self.graph);
        let refused = |name: &str, expected: &str, got: &str| Error::Argument {
            at: format!("quantization of {}, node `{name}`", graph.name()),
            expected: expected.into(),
            got: got.into(),
        };
        let find = |name: &String| {
            let id = graph.find(name).filter(|&id| graph.node(id).name == *name);
            id.ok_or_else(|| refused(name, "a node of the network", "none of its nodes"))
        };
        let ranges = ranges.iter().map(|(name, low, high)| Ok((find(name)?, (*low, *high))));
        let ranges = ranges.collect::<Result<Vec<_>>>()?;
        let given = layers.iter().map(|(name, _)| find(name)).collect::<Result<Vec<_>>>()?;
        let own = infer::layers(&graph);
        if given != own {
            let differing = own.iter().find(|id| !given.contains(id));
            let node = differing.or(given.first()).map_or("", |&id| graph.node(id).name.as_str());
            return Err(refused(
                node,
                "each convolution and linear layer once, in order",
                "others",
            ));
        }
        let floats = given.iter().zip(layers).filter(|(_, (_, is_int8))| !is_int8);
        let quantization = Quantization::new(&graph, ranges, floats.map(|(&id, _)| id))?;
        let has = |id: &&NodeId| !quantization.ranges().contains_key(id);
        if let Some(&id) = Calibrator::new(&graph).nodes().iter().find(has) {
            return Err(refused(&graph.node(id).name, "the range of its values", "none"));
        }
        self.set_quantization(Some(quantization));
        Ok(())
    }

    /// For each layer that multiplies integers, the factors of its output channels by which its weights are multiplied
    /// before: those of the norms after it.
    ///
    /// Fails with `Error::Argument` where the model is not quantized.
    pub(super) fn factors_in_int8(&self) -> Result<HashMap<NodeId, Vec<f64>>> {
        let (graph, engine) = (&*self.graph, self.engine_on_cpu("where it is quantized")?);
        self.offers(Precision::Int8)?;
        let Some(quantization) = self.quantization() else { return Ok(HashMap::new()) };
        let (input, wanted, pool) = (graph.input(), [graph.output()], Pool::shared());
        let shape = [1, input.channels, input.height, input.width];
        let wanted = (wanted.as_slice(), Precision::Int8);
        let prepared = self.native().prepared(graph, engine, &shape, wanted, &pool)?;
        let mut found = HashMap::new();
        for step in prepared.plan().described(graph) {
            for (at, &id) in step.nodes.iter().enumerate() {
                let channels = match &graph.node(id).op {
                    Op::Conv(conv) if !is_depthwise(graph, id) => conv.out,
                    Op::Linear(linear) => linear.out,
                    _ => continue,
                };
                if !quantization.floats().contains(&id) && fits(graph, id, &quantization) {
                    found.insert(id, self.factors(channels, &step.nodes[at + 1..])?);
                }
            }
        }
        Ok(found)
    }

    /// The factors of the norms and scales with which these nodes begin.
    fn factors(&self, channels: usize, nodes: &[NodeId]) -> Result<Vec<f64>> {
        let mut factors = vec![1.0; channels];
        for &id in nodes {
            let scale = self.array_of(id, Role::NormScale)?;
            let scale = |at: usize| scale.as_ref().map_or(1.0, |scale| f64::from(scale[at]));
            match &self.graph.node(id).op {
                Op::BatchNorm(norm) => {
                    let variance = self.array_of(id, Role::RunningVariance)?;
                    let variance = variance.unwrap_or_else(|| vec![1.0; channels]);
                    for (at, factor) in factors.iter_mut().enumerate() {
                        *factor *= scale(at) / (f64::from(variance[at]) + norm.eps).sqrt();
                    }
                }
                Op::LayerScale(_) => {
                    factors.iter_mut().enumerate().for_each(|(at, factor)| *factor *= scale(at));
                }
                Op::Multiply(op) => factors.iter_mut().for_each(|factor| *factor *= op.by),
                Op::Dropout(_) | Op::DropPath(_) => {}
                _ => break,
            }
        }
        Ok(factors)
    }

    fn array_of(&self, id: NodeId, role: Role) -> Result<Option<Vec<f32>>> {
        let parameters = self.parameters()?;
        let all = parameters.parameters();
        let index = all.iter().position(|of| of.node == id && of.role == role);
        let array = index.map(|index| parameters.floats(index)).transpose()?.flatten();
        Ok(array.map(std::borrow::Cow::into_owned))
    }

    fn no_pictures(&self, x: View<'_>) -> Error {
        Error::Shape {
            at: format!("images that quantize {}", self.name()),
            expected: format!("(N, {}, H, W) with N at least 1", self.graph.input().channels),
            got: crate::error::shape_text(x.shape),
        }
    }
}

impl Shared {
    /// Quantizes the model with images `x` (N, C, H, W): each convolution and linear layer runs in int8 from now on whose
    /// error alone is at most `most`. `before` is called before each of so many equal parts of the work, as often as it
    /// wants to hear of it; its error ends the work, and changes nothing. Others may run the model meanwhile.
    ///
    /// Fails with `Error::Argument` where a value is not finite, or the parameters change meanwhile, and `Error::Device`
    /// where they are on no CPU.
    pub fn quantize(
        &self,
        x: View<'_>,
        most: f64,
        before: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Quantized> {
        let model = self.read()?;
        let changes = model.changes();
        let (found, quantization) = model.measure(x, most, before)?;
        drop(model);
        let mut model = self.write()?;
        if model.changes() != changes {
            return Err(Error::Argument {
                at: format!("quantization of {}", self.name()),
                expected: "parameters that stay as they are meanwhile".into(),
                got: "a change of them by another thread".into(),
            });
        }
        model.set_quantization(Some(quantization));
        Ok(found)
    }
}

/// Whether a layer can run in int8: the range of its inputs is known, and each group has whole words of four channels. This
/// is the rule of the plan.
fn fits(graph: &Graph, id: NodeId, quantization: &Quantization) -> bool {
    let node = graph.node(id);
    let Some(&input) = node.inputs.first() else { return false };
    let of_words = match (&node.op, graph.drawn_shapes()[input.index()]) {
        (Op::Conv(conv), Shape::Image { channels, .. }) if conv.groups > 1 => {
            if is_depthwise(graph, id) {
                channels.is_multiple_of(4)
            } else {
                let (within, each) = (channels / conv.groups, conv.out / conv.groups);
                within.is_multiple_of(4) && each.is_multiple_of(4)
            }
        }
        _ => true,
    };
    of_words && quantization.range(input).is_some()
}

/// Whether a layer is a convolution of each channel on its own, which multiplies float32 numbers in int8 too.
fn is_depthwise(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let input = node.inputs.first().map(|input| graph.drawn_shapes()[input.index()]);
    match (&node.op, input) {
        (Op::Conv(conv), Some(Shape::Image { channels, .. })) => {
            conv.groups > 1 && conv.groups == channels && conv.out == channels
        }
        _ => false,
    }
}

/// The root of the mean square of differences, relative to the spread of the true numbers around the mean of each image,
/// or of all images where each has one number.
fn relative(truth: &[Array], found: &[Array]) -> f64 {
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
    let of_images = |arrays: &[Array]| -> Vec<Vec<f64>> {
        arrays.iter().map(|array| wide(&array.values)).collect()
    };
    let (mut truth, mut found) = (of_images(truth), of_images(found));
    if truth.iter().all(|values| values.len() == 1) {
        (truth, found) = (vec![truth.concat()], vec![found.concat()]);
    }
    let squares = |differences: &mut dyn Iterator<Item = f64>| -> f64 {
        differences.map(|difference| difference * difference).sum()
    };
    let (mut errors, mut spread, mut size) = (0.0, 0.0, 0.0);
    for (truth, found) in truth.iter().zip(&found) {
        let mean = truth.iter().sum::<f64>() / truth.len().max(1) as f64;
        errors += squares(&mut truth.iter().zip(found).map(|(a, b)| a - b));
        spread += squares(&mut truth.iter().map(|a| a - mean));
        size += squares(&mut truth.iter().copied());
    }
    if errors == 0.0 {
        return 0.0;
    }
    // Of a single number there is no spread.
    (errors / if spread > 0.0 { spread } else { size }).sqrt()
}

#[cfg(test)]
mod tests {
    use super::relative;
    use crate::engine::{Array, Precision, View};
    use crate::graph::Graph;
    use crate::model::{Model, Shared};

    fn arrays(images: &[&[f32]]) -> Vec<Array> {
        let array =
            |values: &&[f32]| Array { shape: vec![1, values.len()], values: values.to_vec() };
        images.iter().map(array).collect()
    }

    #[test]
    fn an_error_is_relative_to_the_spread_and_not_to_the_size() {
        let error = |truth: &[&[f32]], found: &[&[f32]]| relative(&arrays(truth), &arrays(found));
        // Spread: 1 around 101 and 1 around 5, in each number.
        let truth: [&[f32]; 2] = [&[100.0, 102.0], &[4.0, 6.0]];
        assert!((error(&truth, &[&[100.5, 102.0], &[4.0, 6.0]]) - 0.25).abs() < 1e-12);
        assert!(error(&truth, &truth).abs() < 1e-12);
        // One number for each image: the spread between images.
        assert!((error(&[&[1.0], &[3.0]], &[&[1.5], &[3.0]]) - (0.125_f64).sqrt()).abs() < 1e-12);
        // One number at all: its size.
        assert!((error(&[&[4.0]], &[&[5.0]]) - 0.25).abs() < 1e-12);
    }

    /// The plan runs those convolutions in int8 of which the report says so, whatever their channels and groups.
    #[test]
    fn the_report_says_what_the_plan_does() {
        for (channels, out, groups) in [
            (3, 5, 1),
            (8, 12, 1),
            (6, 12, 2),
            (8, 6, 2),
            (8, 12, 2),
            (12, 9, 3),
            (16, 16, 4),
            (24, 24, 3),
        ] {
            let text = format!(
                "graph one\ninput = input() channels={channels} height=6 width=6\n\
                 conv = conv(input) out={out} kernel=3 groups={groups}\n\
                 pool = adaptive_pool(conv)\nflat = flatten(pool)\nfc = linear(flat) out=3\noutput fc\n"
            );
            let model = Model::from_graph(text.parse::<Graph>().unwrap(), "cpu", 1).unwrap();
            let (shape, shared) = ([1, channels, 6, 6], Shared::from(model));
            let values: Vec<f32> = (0..channels * 36).map(|at| (at % 7) as f32 - 2.0).collect();
            let x = View { shape: &shape, values: &values };
            let found = shared.quantize(x, f64::INFINITY, |_, _| Ok(())).unwrap();
            let plan = shared.read().unwrap().plan(&shape, Precision::Int8).unwrap();
            let line = plan.lines().find(|line| line.starts_with("conv")).unwrap();
            assert_eq!(found.layers[0].is_int8, line.contains("int8"), "{text}{plan}");
            assert_eq!(found.layers[0].error > 0.0, found.layers[0].is_int8, "{text}");
        }
    }
}
