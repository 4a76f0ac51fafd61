//! Measurement of the algorithms for convolutions, in runs of the whole network: there, weights come from memory, images from
//! the step before, and threads from other work, as they will. Each variant of the plan has other algorithms; they run in
//! turns, so that what else the machine does disturbs all alike.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::plan::{Algorithm, Choices, Layer, Packed};
use super::pool::Pool;
use super::prepared::{Prepared, median};
use crate::engine::View;
use crate::error::Result;
use crate::graph::{Graph, NodeId};
use crate::memory::zeros;
use crate::weights::Parameters;

/// A plan for each algorithm that a layer may get, and the times of their steps.
#[derive(Debug)]
pub struct Tuner {
    layers: Vec<Candidates>,
    variants: Vec<Variant>,
    shape: Vec<usize>,
    images: Vec<f32>,
    pool: Arc<Pool>,
}

/// Equal layers of a network, which have several algorithms.
#[derive(Debug)]
struct Candidates {
    layer: Layer,
    nodes: Vec<NodeId>,
    rule: Algorithm,
    /// The algorithms, with the mean times of a layer in each run.
    times: Vec<(Algorithm, Vec<Duration>)>,
}

#[derive(Debug)]
struct Variant {
    prepared: Prepared,
    /// For each step, the number of its layer and that of its algorithm; none where there is no choice.
    steps: Vec<Option<(usize, usize)>>,
    /// Whether it has run: the first run also waits for memory.
    is_warm: bool,
}

/// The times of a layer's algorithms.
#[derive(Clone, Debug)]
pub struct Measured {
    pub layer: Layer,
    /// All nodes that are such a layer.
    pub nodes: Vec<NodeId>,
    /// The names of the algorithms, with the medians of their times.
    pub times: Vec<(String, Duration)>,
    /// The choice of the rules.
    pub rule: String,
    /// The fastest, unless it is hardly faster than that of the rules.
    pub chosen: String,
}

impl Tuner {
    /// Prepares the runs for images of `shape` (N, C, H, W), with the parameters that the graph has now. Algorithms that the
    /// accuracy does not allow are left out.
    pub fn new(
        graph: &Graph,
        parameters: &dyn Parameters,
        shape: &[usize],
        choices: &Choices,
        pool: Arc<Pool>,
    ) -> Result<Self> {
        let (mut packed, wanted) = (Packed::default(), [graph.output()]);
        let mut prepare = |choices: &Choices| {
            Prepared::new(graph, parameters, shape, &wanted, choices, (&mut packed, &pool))
        };
        let mut rules = choices.clone();
        rules.clear();
        let plan = prepare(&rules)?;
        let (mut layers, mut numbers) = (Vec::new(), HashMap::new());
        for (node, layer, rule) in plan.plan().layers(graph).into_iter().flatten() {
            let algorithms = layer.candidates(rules.accuracy);
            if algorithms.len() < 2 {
                continue;
            }
            let number = *numbers.entry(layer).or_insert_with(|| {
                let times = algorithms.into_iter().map(|one| (one, Vec::new())).collect();
                layers.push(Candidates { layer, nodes: Vec::new(), rule, times });
                layers.len() - 1
            });
            layers[number].nodes.push(node);
        }
        let count = layers.iter().map(|of| of.times.len()).max().unwrap_or(0);
        let variant = |number: usize| {
            let mut choices = rules.clone();
            for Candidates { layer, times, .. } in &layers {
                choices.set(*layer, times[number % times.len()].0);
            }
            let prepared = prepare(&choices)?;
            let step = |found: Option<(NodeId, Layer, Algorithm)>| {
                let (_, layer, algorithm) = found?;
                let number = *numbers.get(&layer)?;
                let at = layers[number].times.iter().position(|(one, _)| *one == algorithm)?;
                Some((number, at))
            };
            let steps = prepared.plan().layers(graph).into_iter().map(step).collect();
            Ok(Variant { prepared, steps, is_warm: false })
        };
        let variants = (0..count).map(variant).collect::<Result<_>>()?;
        let mut images = zeros(shape.iter().product()).map_err(|shortage| shortage.at("images"))?;
        // As they are after preprocessing; denormal numbers, or all the same, would take other times.
        for (at, value) in images.iter_mut().enumerate() {
            *value = (at * 7919 % 1000) as f32 / 250.0 - 2.0;
        }
        Ok(Self { layers, variants, shape: shape.to_vec(), images, pool })
    }

    /// The number of variants of the plan; none where no layer has a choice.
    pub fn variants(&self) -> usize {
        self.variants.len()
    }

    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Runs a variant once, and keeps the times of its layers, but of the first run.
    pub fn run(&mut self, variant: usize) -> Result<()> {
        let Some(variant) = self.variants.get_mut(variant) else { return Ok(()) };
        let x = View { shape: &self.shape, values: &self.images };
        let times = variant.prepared.step_times(x, &self.pool)?;
        if !std::mem::replace(&mut variant.is_warm, true) {
            return Ok(());
        }
        let mut sums: HashMap<(usize, usize), (Duration, u32)> = HashMap::new();
        for (step, time) in variant.steps.iter().zip(times) {
            if let Some(place) = step {
                let (sum, count) = sums.entry(*place).or_default();
                *sum += time;
                *count += 1;
            }
        }
        for ((layer, algorithm), (sum, count)) in sums {
            self.layers[layer].times[algorithm].1.push(sum / count);
        }
        Ok(())
    }

    /// The times so far, and the choices that follow from them.
    pub fn measured(&self) -> Vec<Measured> {
        self.layers.iter().map(Candidates::measured).collect()
    }
}

impl Candidates {
    fn measured(&self) -> Measured {
        // With another algorithm, the layer may be a part of a block, and has no time of its own.
        let timed = self.times.iter().filter_map(|(algorithm, times)| {
            let least = *times.iter().min()?;
            Some(Timed { algorithm: *algorithm, median: median(times.clone()), least })
        });
        let timed: Vec<Timed> = timed.collect();
        Measured {
            layer: self.layer,
            nodes: self.nodes.clone(),
            times: timed.iter().map(|of| (of.algorithm.to_string(), of.median)).collect(),
            rule: self.rule.to_string(),
            chosen: fastest(&timed, self.rule).to_string(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Timed {
    algorithm: Algorithm,
    median: Duration,
    least: Duration,
}

/// The fastest algorithm, or that of the rules where it is about as fast. What else the machine does adds to some times: the
/// fastest has to be faster in the median, and where it was disturbed least.
fn fastest(timed: &[Timed], rule: Algorithm) -> Algorithm {
    /// The least share of the time to be saved: measurements differ by less.
    const MARGIN: f64 = 0.03;
    let of_rule = timed.iter().find(|of| of.algorithm == rule);
    let fastest = timed.iter().min_by_key(|of| of.median);
    let (Some(fastest), Some(of_rule)) = (fastest, of_rule) else { return rule };
    let saves = |time: Duration, than: Duration| time < than.mul_f64(1.0 - MARGIN);
    let is_faster = saves(fastest.median, of_rule.median) && saves(fastest.least, of_rule.least);
    if is_faster { fastest.algorithm } else { rule }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Tile;
    use super::super::simd::Instructions;
    use super::*;
    use crate::weights::PlainMemory;
    use crate::weights::init::Recipe;

    #[test]
    fn the_fastest_is_chosen_where_it_is_faster_than_noise() {
        let tile = |outputs| Algorithm::Winograd(Tile::square(outputs, 3));
        let all = [Algorithm::Direct, tile(2), tile(4)];
        let timed = |algorithm, median, least| Timed {
            algorithm,
            median: Duration::from_micros(median),
            least: Duration::from_micros(least),
        };
        let chosen = |medians: [u64; 3], least: [u64; 3]| {
            fastest(&[0, 1, 2].map(|at| timed(all[at], medians[at], least[at])), tile(4))
        };
        let quiet = |times| chosen(times, times);
        assert_eq!(quiet([300, 200, 100]), tile(4));
        assert_eq!(quiet([300, 100, 200]), tile(2));
        assert_eq!(quiet([90, 100, 200]), Algorithm::Direct);
        assert_eq!(quiet([300, 98, 100]), tile(4));
        assert_eq!(quiet([0, 0, 0]), tile(4));
        // Other work disturbed most runs of the rules' choice.
        assert_eq!(chosen([300, 200, 900], [300, 200, 100]), tile(4));
        // Nothing was measured, or not what the rules choose.
        assert_eq!(fastest(&[], tile(4)), tile(4));
        assert_eq!(fastest(&[timed(tile(2), 0, 0)], tile(4)), tile(4));
    }

    /// Two equal layers, one that has another size, and two without a choice.
    const GRAPH: &str = "graph tuned
        input = input() channels=3 height=24 width=24
        stem = conv(input) out=16 kernel=3 stride=2 padding=1
        a = conv(stem) out=16 kernel=3 padding=1
        b = conv(a) out=16 kernel=3 padding=1
        grouped = conv(b) out=16 kernel=3 padding=1 groups=2
        wide = conv(grouped) out=8 kernel=[1,3] padding=[0,1]
        pool = adaptive_pool(wide)
        flat = flatten(pool)
        fc = linear(flat) out=3
        output fc";

    #[test]
    fn each_distinct_layer_is_measured_with_each_of_its_algorithms() {
        let graph: Graph = GRAPH.parse().unwrap();
        let parameters = PlainMemory::new(&graph, Recipe::RESNET, 1).unwrap();
        let (choices, pool) = (Choices::from(Instructions::best()), Arc::new(Pool::new(2)));
        let mut tuner = Tuner::new(&graph, &parameters, &[2, 3, 24, 24], &choices, pool).unwrap();
        assert_eq!(tuner.variants(), 4);
        for _ in 0..3 {
            (0..tuner.variants()).for_each(|variant| tuner.run(variant).unwrap());
        }
        let counts = tuner.layers.iter().map(|of| of.times.iter().map(|(_, all)| all.len()));
        // Two runs after the first; an algorithm of a layer that has fewer takes part more often.
        assert_eq!(counts.map(Vec::from_iter).collect::<Vec<_>>(), [vec![2; 4], vec![4; 2]]);
        let measured = tuner.measured();
        let names = |of: &Measured| {
            of.nodes.iter().map(|&id| graph.node(id).name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(measured.iter().map(names).collect::<Vec<_>>(), ["a b", "wide"]);
        for of in &measured {
            assert!(of.times.iter().all(|(_, time)| *time > Duration::ZERO));
            assert!(of.times.iter().any(|(name, _)| *name == of.chosen));
        }
    }

    #[test]
    fn an_algorithm_without_a_time_of_its_own_is_not_chosen() {
        let (rule, other) = (Algorithm::Winograd(Tile::square(4, 3)), Algorithm::Direct);
        let layer = Layer {
            kernel: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            groups: 1,
            padding: [1; 4],
            in_channels: 64,
            out_channels: 64,
            image: [56, 56],
        };
        let times = vec![(other, Vec::new()), (rule, vec![Duration::from_micros(1)])];
        let measured = Candidates { layer, nodes: Vec::new(), rule, times }.measured();
        assert_eq!((measured.chosen, measured.times.len()), (rule.to_string(), 1));
    }
}
