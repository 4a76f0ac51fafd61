use super::super::super::layout::Layout;
use super::super::super::simd::{Element, Instructions};
use super::super::{GroupNorm, LayerNorm, Lrn, Pad, Rearrange, to_channels_first};
use super::{Dice, POOL, Value};

/// Sets some numbers that are large, or far from zero, as some channels of trained networks are.
fn shift(dice: &mut Dice, x: &mut Value) {
    let (by, factor) = (dice.pick(&[0.0, 5.0, 100.0]), dice.pick(&[1.0, 0.01]));
    x.places().for_each(|place| x.numbers[place] = x.numbers[place] * factor + by);
}

/// Mean and variance.
fn moments(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    (mean, numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count)
}

#[test]
fn layer_norms_of_any_shape() {
    let mut dice = Dice(20);
    for round in 0..80 {
        let channels = if round % 5 == 0 { dice.within(100, 900) } else { dice.channels() };
        let size = (dice.within(1, 5), dice.within(1, 4), channels);
        let batch = dice.within(1, 4);
        let mut x = dice.value(batch, size);
        shift(&mut dice, &mut x);
        if round % 10 == 1 {
            let place = x.place([0, 0, 0, 0]);
            x.numbers[place] = f32::NAN;
        }
        let (scale, shift) = (dice.floats(channels), dice.floats(channels));
        let (form, eps) = (dice.form_of(Element::BFloat16, channels), dice.pick(&[1e-5, 1e-6]));
        let output = dice.layout_of(form, size.0, size.1, channels);
        let mut norm = LayerNorm {
            input: x.layout,
            output,
            form,
            eps,
            scale,
            shift,
            instructions: Instructions::PORTABLE,
        };
        let numbers: Vec<f64> = x.all().map(|at| x.get(at)).collect();
        let moments: Vec<(f64, f64)> = numbers.chunks(channels).map(moments).collect();
        for instructions in Instructions::available() {
            let mut y = Value::untouched_of(form, output, batch);
            norm.instructions = instructions;
            norm.run(&POOL, batch, x.source(), y.target());
            let what = format!("layer norm {:?} {instructions:?}", x.layout);
            y.check(&what, 4e-6, |at| {
                let (mean, variance) = moments[(at[0] * size.0 + at[1]) * size.1 + at[2]];
                let deviation = (variance + eps).sqrt();
                let normal = (x.get(at) - mean) / deviation;
                let expected = normal * f64::from(norm.scale[at[3]]) + f64::from(norm.shift[at[3]]);
                // The mean is rounded to a float32, as in PyTorch.
                (expected, expected.abs().max(mean.abs() / deviation / 30.0))
            });
        }
    }
}

#[test]
fn group_norms_of_any_shape() {
    let mut dice = Dice(21);
    for _ in 0..60 {
        let (groups, within) = (dice.within(1, 5), dice.within(1, 9));
        let size = (dice.within(1, 5), dice.within(1, 5), groups * within);
        let batch = dice.within(1, 4);
        let mut x = dice.value(batch, size);
        shift(&mut dice, &mut x);
        let (scale, shift) = (dice.floats(size.2), dice.floats(size.2));
        let (output, eps) = (dice.layout(size.0, size.1, size.2), 1e-5);
        let norm = GroupNorm { input: x.layout, output, groups, eps, scale, shift };
        let mut y = Value::untouched(output, batch);
        norm.run(&POOL, batch, x.source(), y.target());
        y.check(&format!("{norm:?}"), 4e-6, |at| {
            let first = at[3] / within * within;
            let mut all = Vec::new();
            for pixel in 0..size.0 * size.1 {
                for channel in first..first + within {
                    all.push(x.get([at[0], pixel / size.1, pixel % size.1, channel]));
                }
            }
            let (mean, variance) = moments(&all);
            let deviation = (variance + eps).sqrt();
            let (scale, shift) = (norm.scale[at[3]], norm.shift[at[3]]);
            let expected = (x.get(at) - mean) / deviation * f64::from(scale) + f64::from(shift);
            (expected, expected.abs().max(mean.abs() / deviation / 30.0))
        });
    }
}

#[test]
fn local_response_norms_of_any_shape() {
    let mut dice = Dice(22);
    for round in 0..80 {
        let size = (dice.within(1, 5), dice.within(1, 5), dice.channels());
        let batch = dice.within(1, 3);
        let mut x = dice.value(batch, size);
        shift(&mut dice, &mut x);
        if round % 8 == 1 {
            let place = x.place([0, 0, 0, size.2 / 2]);
            x.numbers[place] = dice.pick(&[f32::NAN, f32::INFINITY, 1e30]);
        }
        let output = dice.layout(size.0, size.1, size.2);
        let (width, alpha) = (dice.within(1, 7), dice.pick(&[1e-4, 0.3]));
        let (beta, k) = (dice.pick(&[0.75, 0.5, 0.6]), dice.pick(&[1.0, 2.0]));
        let mut norm = Lrn {
            input: x.layout,
            output,
            size: width,
            alpha,
            beta,
            k,
            instructions: Instructions::PORTABLE,
        };
        for instructions in Instructions::available() {
            let mut y = Value::untouched(output, batch);
            norm.instructions = instructions;
            norm.run(&POOL, batch, x.source(), y.target());
            y.check(&format!("{norm:?} {instructions:?}"), 2e-6, |at| {
                let mut sum = 0.0;
                let begin = at[3].saturating_sub(width / 2);
                for channel in begin..size.2.min(at[3] + (width - 1) / 2 + 1) {
                    let number = x.get([at[0], at[1], at[2], channel]) as f32;
                    sum += f64::from(number * number);
                }
                let base = f64::from(k) + f64::from(alpha) * sum / width as f64;
                let expected = x.get(at) / base.powf(f64::from(beta));
                (expected, expected.abs())
            });
        }
    }
}

#[test]
fn layouts_there_and_back() {
    let mut dice = Dice(23);
    for round in 0..60 {
        let channels = if round % 2 == 0 { 3 } else { dice.channels() };
        let size = (dice.within(1, 40), dice.within(1, 40));
        let batch = dice.within(1, 3);
        let x = dice.floats(batch * channels * size.0 * size.1);
        let layout = dice.layout(size.0, size.1, channels);
        let mut y = Value::untouched(layout, batch);
        let input = Layout::dense(size.0, size.1, channels);
        let rearrange = Rearrange { input, output: layout, top: 0, left: 0 };
        rearrange.run(&POOL, batch, (&x[..]).into(), y.target());
        y.check("from channels first", 0.0, |[image, row, column, channel]| {
            let place = ((image * channels + channel) * size.0 + row) * size.1 + column;
            (f64::from(x[place]), 1.0)
        });
        let mut back = vec![0.0; x.len()];
        to_channels_first(batch, y.source(), &layout, false, &mut back);
        assert_eq!(back, x);
        to_channels_first(batch, y.source(), &layout, true, &mut back);
        for (number, at) in back.iter().zip(y.all()) {
            assert_eq!(f64::from(*number), y.get(at));
        }
    }
}

#[test]
fn images_come_into_the_middle_of_a_border() {
    let mut dice = Dice(24);
    for round in 0..60 {
        let channels = if round % 2 == 0 { 3 } else { dice.channels() };
        let (height, width) = (dice.within(1, 40), dice.within(1, 40));
        let [top, bottom, left, right] = [0; 4].map(|_| dice.within(0, 5));
        let batch = dice.within(1, 3);
        let x = dice.floats(batch * channels * height * width);
        let input = Layout::dense(height, width, channels);
        let output = Layout::dense(top + height + bottom, left + width + right, channels);
        let mut y = Value::untouched(output, batch);
        let rearrange = Rearrange { input, output, top, left };
        rearrange.run(&POOL, batch, (&x[..]).into(), y.target());
        y.check("with a border", 0.0, |[image, row, column, channel]| {
            let inside =
                (top..top + height).contains(&row) && (left..left + width).contains(&column);
            let number = inside.then(|| {
                let plane = image * channels + channel;
                f64::from(x[(plane * height + row - top) * width + column - left])
            });
            (number.unwrap_or(0.0), 1.0)
        });
    }
}

#[test]
fn borders_of_any_width() {
    let mut dice = Dice(24);
    for _ in 0..60 {
        let size = (dice.within(1, 5), dice.within(1, 5), dice.channels());
        let (top, left, batch) = (dice.within(0, 4), dice.within(0, 4), dice.within(1, 4));
        let (height, width) = (top + size.0 + dice.within(0, 3), left + size.1 + dice.within(0, 3));
        let channels = size.2 + dice.within(0, 9);
        let x = dice.value(batch, size);
        let output = dice.layout(height, width, channels);
        let pad = Pad { input: x.layout, output, top, left };
        let mut y = Value::untouched(output, batch);
        pad.run(&POOL, batch, x.source(), y.target());
        y.check(&format!("{pad:?}"), 0.0, |[image, row, column, channel]| {
            let (row, column) = (row as isize - top as isize, column as isize - left as isize);
            let inside = channel < size.2;
            (if inside { x.get_or_zero(image, row, column, channel) } else { 0.0 }, 1.0)
        });
    }
}
