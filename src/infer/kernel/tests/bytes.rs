//! Convolutions that multiply bytes.

use std::sync::Arc;

use super::super::super::form::{Form, Scale};
use super::super::super::layout::Window;
use super::super::super::memory::Target;
use super::super::super::simd::{Element, Instructions};
use super::super::{Bytes, Conv};
use super::product::{sizes, window};
use super::{Dice, POOL, Value, activated};
use crate::graph::op::Pair;

/// The nearest integers from -127 to 127 for a column's weights, as numbers.
fn integers(weights: &[f32]) -> Vec<f64> {
    let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    let step = f64::from(largest) / 127.0;
    weights.iter().map(|&weight| (f64::from(weight) / step).round_ties_even() * step).collect()
}

fn compare(dice: &mut Dice, window: Window, most: usize, size: (usize, usize, usize)) {
    let (within, each, groups) = size;
    let (input, output) = sizes(dice, &window, most);
    let (batch, out, channels) = (dice.within(1, 5), each * groups, within * groups);
    let from = if within.is_multiple_of(4) {
        dice.form_of(Element::Byte, channels)
    } else {
        Form::Float32
    };
    let x = dice.value_of(from, batch, (input.0, input.1, channels));
    // Every float32 number is near one that a byte stands for.
    let scale = match from {
        Form::Byte(scale) => scale,
        _ => Scale { step: 1.0 / 120.0, zero: 128 },
    };
    let read = |number: f64| {
        let Scale { step, zero } = scale;
        let byte = (number as f32 * (1.0 / step) + f32::from(zero)).round_ties_even();
        (f64::from(byte) - f64::from(zero)) * f64::from(step)
    };
    let kernel = window.kernel;
    let taps = kernel.height * kernel.width;
    let (weight, bias) = (dice.floats(out * within * taps), dice.floats(out));
    let weights: Vec<f64> = weight.chunks(within * taps).flat_map(integers).collect();
    let added = dice.once_in(2).then(|| {
        let form = dice.form_of(Element::Byte, out);
        dice.value_of(form, batch, (output.0, output.1, out))
    });
    let to = dice.form_of(Element::Byte, out);
    let function = dice.function_for(to);
    let layout = dice.layout_of(to, output.0, output.1, out);
    // Numbers that no float32 number comes near to being halfway between two bytes, so that all round alike.
    let is_far = |number: f64| {
        let byte = number / f64::from(scale.step);
        from.is_narrow() || ((byte - byte.floor()) - 0.5).abs() > 1e-3
    };
    if !x.all().all(|at| is_far(x.get(at))) {
        return;
    }
    for instructions in Instructions::available() {
        let instructions = instructions.multiplying(Element::Byte).unwrap();
        let kind = (instructions, Element::Byte);
        let groups =
            Conv::pack(&POOL, kind, (out, within, groups), &window, (&weight, &bias)).unwrap();
        let residual = added.as_ref().map_or(Form::Float32, |of| of.form);
        let bytes = Bytes::new(&groups, &bias, scale, residual, (function, to)).unwrap();
        let (groups, bytes) = (Arc::new(groups), Some(bytes));
        let (input, output, forms) = (x.layout, layout, (from, to));
        let conv =
            Conv { input, output, window, groups, function, forms, bytes, is_bordered: false };
        let mut y = Value::untouched_of(to, layout, batch);
        let mut scratch = vec![f32::NAN; conv.scratch(batch)];
        let residual = added.as_ref().map(Value::residual);
        let scratch = Target::from(&mut scratch[..]);
        conv.run(&POOL, batch, x.source(), y.target(), residual, scratch).unwrap();
        let what = format!("{conv:?} with {instructions:?}");
        // Integers are exact; their sum is rounded when it becomes a number, and scaled.
        y.check(&what, 1e-6, |[image, row, column, channel]| {
            let group = channel / each;
            let mut sum = f64::from(bias[channel]);
            let mut size = sum.abs();
            for tap in 0..taps {
                let (down, across) = (tap / kernel.width, tap % kernel.width);
                let line = row * window.stride.height + down * window.dilation.height;
                let at = column * window.stride.width + across * window.dilation.width;
                let line = line as isize - window.top as isize;
                let at = at as isize - window.left as isize;
                for channel_in in 0..within {
                    let weight = weights[(channel * within + channel_in) * taps + tap];
                    let number = read(x.get_or_zero(image, line, at, group * within + channel_in));
                    sum += weight * number;
                    // What the zero of the bytes adds, and takes away again, too.
                    size += weight.abs()
                        * (number.abs() + f64::from(scale.zero) * f64::from(scale.step));
                }
            }
            if let Some(added) = &added {
                sum += added.get([image, row, column, channel]);
                size += 32.0;
            }
            (activated(function, sum), size)
        });
    }
}

#[test]
fn convolutions_of_bytes_of_any_shape() {
    let mut dice = Dice(31);
    for _ in 0..150 {
        let window = window(&mut dice, 4);
        let groups = if dice.once_in(3) { dice.within(2, 3) } else { 1 };
        // Groups of channels are whole words.
        let within = if groups > 1 { 4 * dice.within(1, 4) } else { dice.quads() };
        let each = if groups > 1 { 4 * dice.within(1, 5) } else { dice.quads() };
        let size = (within, each, groups);
        compare(&mut dice, window, 8, size);
    }
}

#[test]
fn products_of_bytes_of_many_rows_and_columns() {
    let mut dice = Dice(32);
    for _ in 0..10 {
        let (stride, one) = (dice.within(1, 2).into(), Pair::ONE);
        let window =
            Window { kernel: one, stride, dilation: one, top: 0, bottom: 0, left: 0, right: 0 };
        let size = (4 * dice.within(1, 80), 4 * dice.within(1, 60), 1);
        compare(&mut dice, window, 30, size);
    }
}
