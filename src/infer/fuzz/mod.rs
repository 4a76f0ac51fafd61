//! Random graphs on random images, run by plans and compared with a plain interpreter in float64.
//!
//! `make test` runs some, the same each time. With `CNNZOO_FUZZ_SECONDS` it goes on for so long with others, from
//! `CNNZOO_FUZZ_SEED` on if that is set. A graph that fails is printed with its seed, which runs it again.

mod draw;
mod loops;
mod plain;
mod value;

use std::env;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::panicking;
use std::time::{Duration, Instant, SystemTime};

use super::kernel::tests::Dice;
use super::plan::{Choices, Packed};
use super::pool::Pool;
use super::prepared::Prepared;
use super::quantize::{Calibrator, Quantization, layers};
use super::simd::{Element, Instructions};
use crate::engine::{Array, Precision, View};
use crate::graph::{Graph, NodeId, Role};
use crate::weights::init::Recipe;
use crate::weights::{Parameters, PlainMemory};
use draw::{Drawn, draw};
use plain::{Arrays, values};
use value::Value;

/// Graphs of `make test`.
const FEW: u64 = 16;

/// The most multiply-adds of a graph and its batch, about: of most graphs, and of some.
const SMALL: usize = 400_000;
const LARGE: usize = 6_000_000;

/// In two more runs of the interpreter, every number of every node is off by this share of the largest one of that node: up
/// or down in the first, up in the second. What that changes in a value, and its own share, are what rounding may change,
/// times `TOLERANCE`: Winograd's algorithm is off by up to 2.4e-5 of the largest.
const NOISE: f64 = 3e-6;
const TOLERANCE: f64 = 8.0;

/// The same for factors in bfloat16, which has 8 bits: half of the last one.
const NOISE_OF_BFLOAT16: f64 = 2e-3;

/// And for bytes: half a step of a range from the largest number to its negative, and half a step of the weights.
const NOISE_OF_INT8: f64 = 8e-3;

/// The graph that runs, to be printed if it fails.
static CASE: Mutex<String> = Mutex::new(String::new());

extern "C" fn print_case() {
    let case = CASE.lock().unwrap_or_else(PoisonError::into_inner);
    // Past what the test harness keeps of a test's output, since a sanitizer ends the process.
    let _ = io::stderr().write_all(case.as_bytes());
}

/// Prints the graph if a test fails.
struct Failing;

impl Drop for Failing {
    fn drop(&mut self) {
        if panicking() {
            print_case();
        }
    }
}

#[cfg(sanitized)]
unsafe extern "C" {
    fn __sanitizer_set_death_callback(callback: extern "C" fn());
}

#[test]
#[allow(clippy::print_stdout, reason = "it says how much was tried")]
fn random_graphs_equal_a_plain_interpreter() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = number("CNNZOO_FUZZ_SECONDS").map(Duration::from_secs);
    let clock = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis() as u64);
    let first = number("CNNZOO_FUZZ_SEED");
    let (first, begun) =
        (first.unwrap_or(if seconds.is_some() { clock } else { 0 }), Instant::now());
    let pools = [1, 2, 3].map(Pool::new);
    let is_left = |seed: u64| match seconds {
        Some(seconds) => begun.elapsed() < seconds,
        None => seed - first < FEW,
    };
    #[cfg(sanitized)]
    // SAFETY: the function is there as long as the process.
    unsafe {
        __sanitizer_set_death_callback(print_case);
    }
    let _failing = Failing;
    let mut seed = first;
    while is_left(seed) {
        compare(seed, &pools);
        seed += 1;
    }
    println!("{} graphs, from seed {first} on", seed - first);
}

/// Parameters such that values neither vanish nor grow.
fn parameters(dice: &mut Dice, drawn: &Drawn) -> PlainMemory {
    let mut parameters = PlainMemory::new(&drawn.graph, Recipe::PYTORCH, 0).unwrap();
    for index in 0..parameters.parameters().len() {
        let parameter = &parameters.parameters()[index];
        let count = parameter.elements();
        let (middle, around) = match parameter.role {
            Role::BatchCount => continue,
            Role::ConvWeight | Role::LinearWeight => {
                let inputs: usize = parameter.shape[1..].iter().product();
                (0.0, (3.0 / inputs as f32).sqrt())
            }
            Role::NormScale | Role::RunningVariance => (1.0, 0.5),
            Role::Bias { .. } | Role::NormShift | Role::RunningMean => (0.0, 0.3),
            Role::Embedding | Role::Position { .. } => (0.0, 1.0),
        };
        let numbers: Vec<f32> = (0..count).map(|_| middle + around * dice.float()).collect();
        parameters.write_floats(index, &numbers).unwrap();
    }
    parameters
}

fn compare(seed: u64, pools: &[Pool]) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let budget = if dice.once_in(3) { LARGE } else { SMALL };
    let drawn = draw(&mut dice, budget);
    let parameters = parameters(&mut dice, &drawn);
    let Drawn { graph, batch, wanted } = &drawn;
    let names: Vec<&str> = wanted.iter().map(|&id| graph.node(id).name.as_str()).collect();
    *CASE.lock().unwrap_or_else(PoisonError::into_inner) =
        format!("CNNZOO_FUZZ_SEED={seed}, batches of {batch}, wanted {names:?}\n{graph}");
    let input = graph.input();
    let size = [input.channels, input.height, input.width];
    let each = size.iter().product();
    let (precision, element, noise) = match seed % 8 {
        3 => (Precision::BFloat16, Element::BFloat16, NOISE_OF_BFLOAT16),
        5 | 7 => (Precision::Int8, Element::Byte, NOISE_OF_INT8),
        _ => (Precision::Float32, Element::Float32, NOISE),
    };
    let images = dice.floats(batch * each);
    let arrays = Arrays::new(&parameters);
    let [exact, noisy, biased] = [&[0.0][..], &[noise, -noise], &[noise]].map(|noise| {
        let of = |image: &[f32]| values(graph, &arrays, &Value::of(size, image), noise);
        images.chunks(each).map(of).collect::<Vec<_>>()
    });
    let alone = dice.within(0, batch - 1);
    let all = Instructions::available().into_iter();
    for instructions in all.filter(|of| of.multiplying(element).is_some()) {
        let mut packed = Packed::default();
        let mut prepare = |choices: &Choices, batch: usize| {
            let shape = [&[batch][..], &size].concat();
            let packed = (&mut packed, &pools[1]);
            Prepared::new(graph, &parameters, &shape, wanted, choices, packed).unwrap()
        };
        let mut choices = Choices::from(instructions);
        if precision == Precision::Int8 {
            choices.quantization =
                Some(Arc::new(quantization(&mut dice, graph, &parameters, &images, &size)));
        }
        choices.precision = precision;
        // Any algorithm that there is for a convolution, if it is not that of the precision.
        for (_, layer, _) in prepare(&choices, 1).plan().layers(graph).into_iter().flatten() {
            choices.set(layer, dice.pick(&layer.possible()));
        }
        let run = |prepared: &Prepared, values: &[f32], pool: &Pool| {
            let shape = [&[values.len() / each][..], &size].concat();
            prepared.run(View { shape: &shape, values }, pool).unwrap()
        };
        let whole = prepare(&choices, *batch);
        let arrays = run(&whole, &images, &pools[0]);
        for (&id, array) in wanted.iter().zip(&arrays) {
            let at = |of: &[Vec<Value>]| of.iter().map(|image| image[id.index()].clone()).collect();
            let what = format!("{}, {instructions:?}", graph.node(id).name);
            check(&what, (array, noise), at(&exact), [at(&noisy), at(&biased)]);
        }
        let bits = |of: &[f32]| of.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        for pool in &pools[1..] {
            for (array, again) in arrays.iter().zip(run(&whole, &images, pool)) {
                assert_eq!(bits(&array.values), bits(&again.values), "{instructions:?}, again");
            }
        }
        let image = &images[alone * each..][..each];
        for (array, own) in arrays.iter().zip(run(&prepare(&choices, 1), image, &pools[1])) {
            let part = &array.values[alone * own.values.len()..][..own.values.len()];
            assert_eq!(bits(part), bits(&own.values), "{instructions:?}, image {alone} alone");
        }
    }
}

/// The ranges of values on these images, with some layers in float32.
fn quantization(
    dice: &mut Dice,
    graph: &Graph,
    parameters: &PlainMemory,
    images: &[f32],
    size: &[usize; 3],
) -> Quantization {
    let mut calibrator = Calibrator::new(graph);
    let each: usize = size.iter().product();
    let shape = [&[images.len() / each][..], size].concat();
    let (choices, pool) = (Choices::from(Instructions::best()), Pool::new(1));
    let packed = (&mut Packed::default(), &pool);
    let wanted = [calibrator.nodes(), &[graph.output()]].concat();
    let prepared = Prepared::new(graph, parameters, &shape, &wanted, &choices, packed).unwrap();
    let mut values = prepared.run(View { shape: &shape, values: images }, &pool).unwrap();
    let output = values.pop().unwrap();
    calibrator.see(&values, &output).unwrap();
    let found = calibrator.finish().unwrap();
    let floats: Vec<NodeId> = layers(graph).into_iter().filter(|_| dice.once_in(6)).collect();
    Quantization::new(graph, found.ranges().clone(), floats).unwrap()
}

/// Compares the values of a node for all images of a batch.
fn check(what: &str, (array, noise): (&Array, f64), exact: Vec<Value>, changed: [Vec<Value>; 2]) {
    assert_eq!(array.shape, [vec![exact.len()], exact[0].shape.sizes()].concat(), "{what}");
    let numbers =
        |of: &[Value]| of.iter().flat_map(|value| value.numbers.clone()).collect::<Vec<_>>();
    let exact = numbers(&exact);
    let mut most = noise * exact.iter().fold(0.0, |most: f64, number| number.abs().max(most));
    for changed in changed.map(|changed| numbers(&changed)) {
        let by = changed.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        most = most.max(by);
    }
    for (at, (&got, expected)) in array.values.iter().zip(exact).enumerate() {
        let is_near = (f64::from(got) - expected).abs() <= TOLERANCE * most;
        assert!(is_near, "{what}: {got} instead of {expected} at {at}");
    }
}
