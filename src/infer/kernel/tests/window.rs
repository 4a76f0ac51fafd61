use std::sync::Arc;

use super::super::super::form::Form;
use super::super::super::layout::{Layout, Window};
use super::super::super::simd::Instructions;
use super::super::{Blur, Depthwise, Reduce, Taps};
use super::product::{sizes, window};
use super::{Dice, POOL, Value, activated};
use crate::graph::op::{Border, Pair, PoolKind};

fn depthwise(dice: &mut Dice, window: Window, most: usize) {
    let (input, output) = sizes(dice, &window, most);
    let (batch, channels) = (dice.within(1, 4), dice.quads());
    let forms = (dice.form(channels), dice.form(channels));
    let x = dice.value_of(forms.0, batch, (input.0, input.1, channels));
    let of_zero = match forms.0 {
        Form::Float32 | Form::BFloat16 => 0.0,
        Form::Byte(scale) => scale.shift().abs(),
    };
    let Window { kernel, stride, dilation, top, left, .. } = window;
    let count = kernel.height * kernel.width;
    let (weight, bias) = (dice.floats(channels * count), dice.floats(channels));
    let function = dice.function_for(forms.1);
    let layout = dice.layout_of(forms.1, output.0, output.1, channels);
    let taps = Arc::new(Taps::pack(count, &weight, &bias, forms).unwrap());
    for instructions in Instructions::available() {
        let conv = Depthwise {
            input: x.layout,
            output: layout,
            window,
            function,
            instructions,
            taps: Arc::clone(&taps),
            forms,
        };
        let mut y = Value::untouched_of(forms.1, layout, batch);
        conv.run(&POOL, batch, x.source(), y.target());
        let what = format!("depthwise {:?} {window:?} {function:?} {instructions:?}", x.layout);
        y.check(&what, 1e-6, |[image, row, column, channel]| {
            let mut sum = f64::from(bias[channel]);
            let mut size = sum.abs();
            for tap in 0..count {
                let line = row * stride.height + tap / kernel.width * dilation.height;
                let at = column * stride.width + tap % kernel.width * dilation.width;
                let line = line as isize - top as isize;
                let number = x.get_or_zero(image, line, at as isize - left as isize, channel);
                sum += f64::from(weight[channel * count + tap]) * number;
                // With what the zero of bytes adds, and takes away again.
                let size_of = number.abs() + f64::from(of_zero);
                size += f64::from(weight[channel * count + tap]).abs() * size_of;
            }
            (activated(function, sum), size)
        });
    }
}

#[test]
fn depthwise_convolutions_of_any_shape() {
    let mut dice = Dice(10);
    for _ in 0..150 {
        let window = window(&mut dice, 5);
        depthwise(&mut dice, window, 9);
    }
}

#[test]
fn depthwise_convolutions_of_usual_windows() {
    let mut dice = Dice(11);
    for _ in 0..10 {
        for (size, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)] {
            let half = size / 2;
            // As PyTorch pads, and as TensorFlow does.
            let (top, left) =
                (half - dice.within(0, stride - 1), half - dice.within(0, stride - 1));
            let window = Window {
                kernel: size.into(),
                stride: stride.into(),
                dilation: Pair::ONE,
                top,
                bottom: half,
                left,
                right: half,
            };
            depthwise(&mut dice, window, 19);
        }
    }
}

#[test]
fn pools_of_any_shape() {
    let mut dice = Dice(12);
    for round in 0..200 {
        let (batch, channels) = (dice.within(1, 4), dice.quads());
        let forms = (dice.form(channels), dice.form(channels));
        let kernel = (dice.within(1, 5), dice.within(1, 5));
        let stride = (dice.within(1, 3), dice.within(1, 3));
        let before = (dice.within(0, kernel.0 / 2), dice.within(0, kernel.1 / 2));
        let after = (dice.within(0, kernel.0 / 2), dice.within(0, kernel.1 / 2));
        let (ceil, counts) = (dice.once_in(2), dice.once_in(2));
        let axis = |size: usize, kernel: usize, stride: usize, before: usize, after: usize| {
            let reach = size + before + after + if ceil { stride - 1 } else { 0 };
            let count = (reach - kernel) / stride + 1;
            count - usize::from(ceil && (count - 1) * stride >= size + before)
        };
        let size = (dice.within(kernel.0, 11), dice.within(kernel.1, 11));
        let outputs = (
            axis(size.0, kernel.0, stride.0, before.0, after.0),
            axis(size.1, kernel.1, stride.1, before.1, after.1),
        );
        let kind = dice.pick(&[PoolKind::Max, PoolKind::Average]);
        let mut x = dice.value_of(forms.0, batch, (size.0, size.1, channels));
        if round % 4 == 0 && forms == Form::FLOATS {
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            for place in x.places() {
                if dice.once_in(6) {
                    x.numbers[place] = dice.pick(&odd);
                }
            }
        }
        let output = dice.layout_of(forms.1, outputs.0, outputs.1, channels);
        let sliding = |outputs, size, kernel, stride, before, after| {
            Reduce::sliding(outputs, size, (kernel, stride), (before, after), counts)
        };
        for instructions in Instructions::available() {
            let rows = sliding(outputs.0, size.0, kernel.0, stride.0, before.0, after.0);
            let columns = sliding(outputs.1, size.1, kernel.1, stride.1, before.1, after.1);
            let reduce =
                Reduce { input: x.layout, output, kind, instructions, rows, columns, forms };
            let mut y = Value::untouched_of(forms.1, output, batch);
            reduce.run(&POOL, batch, x.source(), y.target());
            y.check(&format!("{reduce:?}"), 1e-6, |[image, row, column, channel]| {
                // The window as PyTorch describes it.
                let range = |at: usize, stride: usize, kernel: usize, before: usize, end: usize| {
                    let begin = (at * stride) as isize - before as isize;
                    (begin, (begin + kernel as isize).min(end as isize))
                };
                let lines = range(row, stride.0, kernel.0, before.0, size.0 + after.0);
                let places = range(column, stride.1, kernel.1, before.1, size.1 + after.1);
                let mut inside = Vec::new();
                for line in lines.0.max(0)..lines.1.min(size.0 as isize) {
                    for at in places.0.max(0)..places.1.min(size.1 as isize) {
                        inside.push(x.get([image, line as usize, at as usize, channel]));
                    }
                }
                let all = (lines.1 - lines.0) * (places.1 - places.0);
                let count = if counts { all as f64 } else { inside.len() as f64 };
                let largest = inside.iter().fold(1.0, |most: f64, number| most.max(number.abs()));
                (reduced(kind, &inside, count), largest)
            });
        }
    }
}

fn reduced(kind: PoolKind, numbers: &[f64], count: f64) -> f64 {
    match kind {
        PoolKind::Average => numbers.iter().sum::<f64>() / count,
        PoolKind::Max if numbers.iter().any(|number| number.is_nan()) => f64::NAN,
        PoolKind::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

#[test]
fn adaptive_pools_of_any_shape() {
    let mut dice = Dice(13);
    for round in 0..80 {
        let size = (dice.within(1, 9), dice.within(1, 9), dice.channels());
        let outputs = if round % 2 == 0 { (1, 1) } else { (dice.within(1, 7), dice.within(1, 7)) };
        let (batch, kind) = (dice.within(1, 9), dice.pick(&[PoolKind::Max, PoolKind::Average]));
        let x = dice.value(batch, size);
        let output = dice.layout(outputs.0, outputs.1, size.2);
        for instructions in Instructions::available() {
            let rows = Reduce::adaptive(outputs.0, size.0);
            let columns = Reduce::adaptive(outputs.1, size.1);
            let reduce = Reduce {
                input: x.layout,
                output,
                kind,
                instructions,
                rows,
                columns,
                forms: Form::FLOATS,
            };
            let mut y = Value::untouched(output, batch);
            reduce.run(&POOL, batch, x.source(), y.target());
            y.check(&format!("{reduce:?}"), 1e-6, |[image, row, column, channel]| {
                let cell = |at: usize, outputs: usize, size: usize| {
                    at * size / outputs..((at + 1) * size).div_ceil(outputs)
                };
                let mut inside = Vec::new();
                for line in cell(row, outputs.0, size.0) {
                    for at in cell(column, outputs.1, size.1) {
                        inside.push(x.get([image, line, at, channel]));
                    }
                }
                (reduced(kind, &inside, inside.len() as f64), 1.0)
            });
            if (kind, outputs) == (PoolKind::Average, (1, 1)) {
                let lines = Layout::dense(size.0, 1, size.2);
                let (mut sums, mut mean) =
                    (Value::untouched(lines, batch), Value::untouched(output, batch));
                let (first, then) = reduce.by_lines(lines);
                first.run(&POOL, batch, x.source(), sums.target());
                then.run(&POOL, batch, sums.source(), mean.target());
                for (image, channel) in
                    (0..batch).flat_map(|at| (0..size.2).map(move |of| (at, of)))
                {
                    let bits = |of: &Value| of.get([image, 0, 0, channel]).to_bits();
                    assert_eq!(bits(&mean), bits(&y), "{first:?}");
                }
            }
        }
    }
}

#[test]
fn blurs_of_any_shape() {
    let mut dice = Dice(14);
    for _ in 0..60 {
        let taps = dice.within(1, 5);
        let border = dice.pick(&[Border::Mirror, Border::Zeros]);
        let (before, after) = (dice.within(0, taps / 2), dice.within(0, taps / 2));
        let stride = Pair { height: dice.within(1, 3), width: dice.within(1, 3) };
        let size = (dice.within(taps, 9), dice.within(taps, 9), dice.channels());
        let axis = |size: usize, stride: usize| (size + before + after - taps) / stride + 1;
        let outputs = (axis(size.0, stride.height), axis(size.1, stride.width));
        let (kernel, dilation) = (taps.into(), Pair::ONE);
        let (top, bottom, left, right) = (before, after, before, after);
        let window = Window { kernel, stride, dilation, top, bottom, left, right };
        let batch = dice.within(1, 3);
        let (x, weights) = (dice.value(batch, size), dice.floats(taps));
        let output = dice.layout(outputs.0, outputs.1, size.2);
        let blur = Blur { input: x.layout, output, window, border, weights };
        let mut y = Value::untouched(output, batch);
        blur.run(&POOL, batch, x.source(), y.target());
        y.check(&format!("{blur:?}"), 1e-6, |[image, row, column, channel]| {
            let mirrored = |at: isize, size: usize| {
                let at = if border == Border::Mirror { at.abs() } else { at };
                let last = size as isize - 1;
                if border == Border::Mirror && at > last { 2 * last - at } else { at }
            };
            let mut sum = 0.0;
            for (down, first) in blur.weights.iter().enumerate() {
                for (across, second) in blur.weights.iter().enumerate() {
                    let line = (row * stride.height + down) as isize - before as isize;
                    let at = (column * stride.width + across) as isize - before as isize;
                    let (line, at) = (mirrored(line, size.0), mirrored(at, size.1));
                    let weight = f64::from(*first) * f64::from(*second);
                    sum += weight * x.get_or_zero(image, line, at, channel);
                }
            }
            (sum, 1.0)
        });
    }
}
