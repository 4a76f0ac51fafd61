use std::sync::Arc;

use super::super::super::form::Form;
use super::super::super::layout::Layout;
use super::super::super::memory::Target;
use super::super::super::pool::Pool;
use super::super::super::simd::Instructions;
use super::super::{Halves, Strassen};
use super::{Dice, POOL, Value, activated};

fn run(pool: &Pool, of: &Strassen, x: &Value, added: Option<&Value>) -> Value {
    let mut y = Value::untouched(of.output, x.batch);
    let mut scratch = vec![f32::NAN; of.scratch(x.batch)];
    let residual = added.map(Value::residual);
    of.run(pool, x.batch, x.source(), y.target(), residual, Target::from(&mut scratch[..]));
    y
}

/// The inputs of a pixel, and those of the pixel that is multiplied with it.
fn pair(x: &Value, [image, row, column]: [usize; 3]) -> [Vec<f64>; 2] {
    let Layout { width, channels, .. } = x.layout;
    let (pixels, pixel) = (x.layout.pixels(), row * width + column);
    [pixel, pixel ^ 1].map(|pixel| {
        let inside = pixel < pixels;
        let number = |channel| x.get([image, pixel / width, pixel % width, channel]);
        (0..channels).map(|channel| if inside { number(channel) } else { 0.0 }).collect()
    })
}

#[test]
fn products_of_halves_equal_a_plain_loop() {
    let mut dice = Dice(31);
    for _ in 0..120 {
        let (batch, inputs) = (dice.within(1, 3), 2 * dice.within(1, 20));
        let outputs = 2 * if dice.once_in(2) { dice.within(1, 60) } else { dice.within(1, 9) };
        // Some images have an odd number of pixels, some more than the rows of a task.
        let most = if dice.once_in(4) { 30 } else { 6 };
        let (height, width) = (dice.within(1, 12), dice.within(1, most));
        let x = dice.value(batch, (height, width, inputs));
        let (weight, bias) = (dice.floats(outputs * inputs), dice.floats(outputs));
        let added = dice.once_in(2).then(|| dice.value(batch, (height, width, outputs)));
        let function = dice.function();
        let output = dice.layout(height, width, outputs);
        for instructions in Instructions::available() {
            let weights = Halves::pack(&POOL, instructions, (outputs, inputs), (&weight, &bias));
            let weights = Arc::new(weights.unwrap());
            let of = Strassen { input: x.layout, output, weights, function };
            let y = run(&POOL, &of, &x, added.as_ref());
            let what = format!("{:?} {outputs} {function:?} {instructions:?}", x.layout);
            y.check(&what, 1e-6, |[image, row, column, channel]| {
                let [own, other] = pair(&x, [image, row, column]);
                let half = outputs / 2;
                let beside = if channel < half { channel + half } else { channel - half };
                let (mut sum, mut size) = (f64::from(bias[channel]), 0.0);
                for (at, (own, other)) in own.iter().zip(&other).enumerate() {
                    let of = |channel: usize| f64::from(weight[channel * inputs + at]);
                    sum += own * of(channel);
                    size += (own.abs() + other.abs()) * (of(channel).abs() + of(beside).abs());
                }
                if let Some(added) = &added {
                    sum += added.get([image, row, column, channel]);
                }
                (activated(function, sum), size)
            });
        }
    }
}

/// Beside float64, relative to the largest output, for normal inputs and weights: 1.7e-7 in the root of the mean square,
/// and 1.2e-6 at most.
#[test]
fn errors_are_those_that_are_stated() {
    let mut dice = Dice(33);
    let (pixels, inputs, outputs) = (98, 768, 64);
    // Sums of uniform numbers are nearly normal.
    let mut normal = || (0..12).map(|_| dice.float()).sum::<f32>() / 2.0;
    let layout = Layout::dense(pixels, 1, inputs);
    let numbers = (0..pixels * inputs).map(|_| normal()).collect();
    let weight: Vec<f32> = (0..outputs * inputs).map(|_| normal()).collect();
    let x = Value { layout, batch: 1, form: Form::Float32, numbers };
    for instructions in Instructions::available() {
        let bias = vec![0.0; outputs];
        let weights = Halves::pack(&POOL, instructions, (outputs, inputs), (&weight, &bias));
        let (weights, output) = (Arc::new(weights.unwrap()), Layout::dense(pixels, 1, outputs));
        let of = Strassen { input: layout, output, weights, function: None };
        let y = run(&POOL, &of, &x, None);
        let (mut squares, mut most, mut largest) = (0.0, 0.0_f64, 0.0_f64);
        for [_, row, _, channel] in y.all() {
            let product =
                |at: usize| x.get([0, row, 0, at]) * f64::from(weight[channel * inputs + at]);
            let expected: f64 = (0..inputs).map(product).sum();
            let error = (y.get([0, row, 0, channel]) - expected).abs();
            squares += error * error;
            (most, largest) = (most.max(error), largest.max(expected.abs()));
        }
        let rms = (squares / (pixels * outputs) as f64).sqrt() / largest;
        assert!(
            rms < 4e-7 && most / largest < 3e-6,
            "{instructions:?} {rms:e} {:e}",
            most / largest
        );
    }
}

#[test]
fn results_depend_neither_on_the_batch_nor_on_the_threads() {
    let mut dice = Dice(35);
    let pools = [1, 2, 5].map(Pool::new);
    for (height, width) in [(14, 14), (7, 7), (29, 9)] {
        let x = dice.value(5, (height, width, 48));
        let (weight, bias) = (dice.floats(80 * 48), dice.floats(80));
        for instructions in Instructions::available() {
            let weights = Halves::pack(&POOL, instructions, (80, 48), (&weight, &bias)).unwrap();
            let output = Layout::dense(height, width, 80);
            let weights = Arc::new(weights);
            let of = Strassen { input: x.layout, output, weights, function: None };
            let whole = run(&pools[0], &of, &x, None);
            for pool in &pools {
                assert!(run(pool, &of, &x, None).numbers == whole.numbers);
            }
            for (image, expected) in whole.numbers.chunks(output.image).enumerate() {
                let begin = image * x.layout.image;
                let numbers = x.numbers[begin..].iter().take(x.layout.extent(1)).copied().collect();
                let alone = Value { layout: x.layout, batch: 1, form: Form::Float32, numbers };
                assert!(run(&pools[1], &of, &alone, None).numbers == expected);
            }
        }
    }
}
