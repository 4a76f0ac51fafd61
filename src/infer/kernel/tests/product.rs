use std::sync::Arc;

use super::super::super::form::Form;
use super::super::super::layout::Window;
use super::super::super::memory::Target;
use super::super::super::pool::Pool;
use super::super::super::simd::{Element, Instructions};
use super::super::Conv;
use super::{Dice, POOL, Value, activated};
use crate::graph::op::Pair;

pub(super) fn window(dice: &mut Dice, largest: usize) -> Window {
    let mut pair = |most: usize| Pair { height: dice.within(1, most), width: dice.within(1, most) };
    let (kernel, stride, dilation) = (pair(largest), pair(3), pair(2));
    let mut border = |size: usize| if dice.once_in(3) { 0 } else { dice.within(0, size + 1) };
    let (top, bottom) = (border(kernel.height), border(kernel.height));
    let (left, right) = (border(kernel.width), border(kernel.width));
    Window { kernel, stride, dilation, top, bottom, left, right }
}

/// A size of images that has at least one window along an axis, and the number of windows.
pub(super) fn axis(
    dice: &mut Dice,
    most: usize,
    (kernel, stride, dilation): (usize, usize, usize),
    border: usize,
) -> (usize, usize) {
    let span = (kernel - 1) * dilation + 1;
    let size = dice.within(1, most).max(span.saturating_sub(border));
    (size, (size + border - span) / stride + 1)
}

pub(super) fn sizes(
    dice: &mut Dice,
    window: &Window,
    most: usize,
) -> ((usize, usize), (usize, usize)) {
    let Window { kernel: k, stride: s, dilation: d, top, bottom, left, right } = *window;
    let rows = axis(dice, most, (k.height, s.height, d.height), top + bottom);
    let columns = axis(dice, most, (k.width, s.width, d.width), left + right);
    ((rows.0, columns.0), (rows.1, columns.1))
}

/// All instructions with the types of factors that they multiply, for so many channels of so many groups.
pub(super) fn kinds(within: usize, groups: usize) -> Vec<(Instructions, Element)> {
    let all = Instructions::available();
    let pairs = all
        .iter()
        .filter(|_| within.is_multiple_of(2) || groups == 1)
        .filter_map(|of| of.multiplying(Element::BFloat16));
    let pairs = pairs.map(|instructions| (instructions, Element::BFloat16));
    all.iter().map(|instructions| (*instructions, Element::Float32)).chain(pairs).collect()
}

/// The nearest of both bfloat16 numbers around a number; of two equally near ones, that whose last bit is zero.
fn rounded(number: f32) -> f64 {
    let below = number.to_bits() & 0xffff_0000;
    let [near, far] = [below, below + 0x1_0000].map(|bits| f64::from(f32::from_bits(bits)));
    let [to_near, to_far] = [near, far].map(|of| (of - f64::from(number)).abs());
    let is_even = below & 0x1_0000 == 0;
    if to_near < to_far || to_near == to_far && is_even { near } else { far }
}

fn compare(
    dice: &mut Dice,
    batch: usize,
    window: Window,
    most: usize,
    size: (usize, usize, usize),
) {
    let (within, each, groups) = size;
    let (input, output) = sizes(dice, &window, most);
    let out = each * groups;
    let mut form = |channels: usize, is_whole: bool| {
        let form = dice.form_of(Element::BFloat16, channels);
        if is_whole { form } else { Form::Float32 }
    };
    let is_even = within.is_multiple_of(2) && (groups == 1 || each.is_multiple_of(2));
    let [from, form_added, to] =
        [within * groups, out, out].map(|channels| form(channels, is_even));
    let x = dice.value_of(from, batch, (input.0, input.1, within * groups));
    let kernel = window.kernel;
    let weight = dice.floats(out * within * kernel.height * kernel.width);
    let bias = dice.floats(out);
    let shape = (output.0, output.1, out);
    let added = dice.once_in(2).then(|| dice.value_of(form_added, batch, shape));
    let function = dice.function_for(to);
    let layout = dice.layout_of(to, output.0, output.1, out);
    let is_narrow = [from, form_added, to].into_iter().any(Form::is_narrow);
    for (instructions, element) in kinds(within, groups) {
        if is_narrow && element != Element::BFloat16 {
            continue;
        }
        let kind = (instructions, element);
        let packed = Conv::pack(&POOL, kind, (out, within, groups), &window, (&weight, &bias));
        let groups = Arc::new(packed.unwrap());
        let (input, output, forms) = (x.layout, layout, (from, to));
        let conv = Conv {
            input,
            output,
            window,
            groups,
            function,
            forms,
            bytes: None,
            is_bordered: false,
        };
        let mut y = Value::untouched_of(to, layout, batch);
        let mut scratch = vec![f32::NAN; conv.scratch(batch)];
        let residual = added.as_ref().map(Value::residual);
        let scratch = Target::from(&mut scratch[..]);
        conv.run(&POOL, batch, x.source(), y.target(), residual, scratch).unwrap();
        let what =
            format!("convolution {:?} {window:?} {within} {each} {function:?} {kind:?}", x.layout);
        // Sums of float32 numbers in order.
        y.check(&what, 1e-6, |[image, row, column, channel]| {
            let group = channel / each;
            let mut sum = f64::from(bias[channel]);
            let mut size = sum.abs();
            for tap in 0..kernel.height * kernel.width {
                let (down, across) = (tap / kernel.width, tap % kernel.width);
                let line = row * window.stride.height + down * window.dilation.height;
                let at = column * window.stride.width + across * window.dilation.width;
                let line = line as isize - window.top as isize;
                let at = at as isize - window.left as isize;
                for from in 0..within {
                    let index = (channel * within + from) * kernel.height * kernel.width + tap;
                    let number = x.get_or_zero(image, line, at, group * within + from);
                    let (weight, number) = match element {
                        Element::Float32 => (f64::from(weight[index]), number),
                        Element::BFloat16 => (rounded(weight[index]), rounded(number as f32)),
                        Element::Byte => unreachable!("bytes have a test of their own"),
                    };
                    sum += weight * number;
                    size += (weight * number).abs();
                }
            }
            if let Some(added) = &added {
                sum += added.get([image, row, column, channel]);
            }
            (activated(function, sum), size)
        });
    }
}

#[test]
fn convolutions_of_any_shape() {
    let mut dice = Dice(1);
    for _ in 0..150 {
        let (batch, window) = (dice.within(1, 3), window(&mut dice, 4));
        let groups = dice.pick(&[1, 1, 1, 2, 3, 5]);
        let size = (
            dice.within(1, 7),
            if groups == 1 { dice.channels() } else { dice.within(1, 5) },
            groups,
        );
        compare(&mut dice, batch, window, 6, size);
    }
}

#[test]
fn products_of_pixels_and_vectors() {
    let mut dice = Dice(2);
    let (one, none) = (Pair::ONE, 0);
    let window = Window {
        kernel: one,
        stride: one,
        dilation: one,
        top: none,
        bottom: none,
        left: none,
        right: none,
    };
    for batch in 1..=9 {
        let size = (dice.within(1, 60), dice.within(1, 60), 1);
        compare(&mut dice, batch, window, 1, size);
        let size = (dice.channels(), dice.channels(), 1);
        compare(&mut dice, batch, window, 9, size);
    }
    // Tiles of all heights and widths, and few rows, which read several panels at a time.
    for (rows, columns) in (1..=13).flat_map(|rows| [(rows, 48), (rows, 64), (rows, 200)]) {
        compare(&mut dice, rows, window, 1, (5, columns, 1));
    }
    for rows in 1..=2 {
        compare(&mut dice, rows, window, 1, (1030, 150, 1));
        compare(&mut dice, rows, window, 1, (40, 600, 1));
    }
    // More rows than a task takes, more panels than one, large weights.
    compare(&mut dice, 2, window, 16, (9, 50, 1));
    compare(&mut dice, 1, window, 3, (300, 450, 1));
}

#[test]
fn nan_and_infinity_pass_through_convolutions() {
    let mut dice = Dice(3);
    let window = Window {
        kernel: 3.into(),
        stride: Pair::ONE,
        dilation: Pair::ONE,
        top: 1,
        bottom: 1,
        left: 1,
        right: 1,
    };
    let channels = 4;
    for kind in kinds(channels, 1) {
        for function in super::FUNCTIONS.map(Some).into_iter().chain([None]) {
            let mut x = dice.value(1, (5, 5, channels));
            let place = x.place([0, 2, 2, 1]);
            // The second one would be none in bfloat16, if its upper half were taken as it is.
            x.numbers[place] = dice.pick(&[f32::NAN, f32::from_bits(0x7f80_0001)]);
            let weight = dice.floats(10 * channels * 9);
            let groups = Arc::new(
                Conv::pack(&POOL, kind, (10, channels, 1), &window, (&weight, &[0.0; 10])).unwrap(),
            );
            let output = dice.layout(5, 5, 10);
            let conv = Conv {
                input: x.layout,
                output,
                window,
                groups,
                function,
                forms: Form::FLOATS,
                bytes: None,
                is_bordered: false,
            };
            let mut y = Value::untouched(output, 1);
            let mut scratch = vec![0.0; conv.scratch(1)];
            conv.run(&POOL, 1, x.source(), y.target(), None, Target::from(&mut scratch[..]))
                .unwrap();
            for at in y.all() {
                let near = (1..=3).contains(&at[1]) && (1..=3).contains(&at[2]);
                assert_eq!(y.get(at).is_nan(), near, "{function:?} {at:?} {kind:?}");
            }
        }
    }
}

#[test]
fn rows_are_the_same_however_many_threads_divide_them() {
    let mut dice = Dice(47);
    let pools: Vec<Pool> = [1, 2, 3, 5].into_iter().map(Pool::new).collect();
    for (height, width) in [(1, 57), (14, 14), (113, 1), (28, 28), (40, 41)] {
        let (batch, within, out) = (dice.within(1, 3), dice.channels(), dice.channels());
        let window = Window::new((Pair::ONE, Pair::ONE, Pair::ONE), 0.into(), (height, width));
        let x = dice.value(batch, (height, width, within));
        let (weight, bias) = (dice.floats(out * within), dice.floats(out));
        let kind = (Instructions::best(), Element::Float32);
        let packed = Conv::pack(&POOL, kind, (out, within, 1), &window, (&weight, &bias));
        let (function, output) = (None, dice.layout(height, width, out));
        let (input, forms, groups) = (x.layout, Form::FLOATS, Arc::new(packed.unwrap()));
        let (bytes, is_bordered) = (None, false);
        let conv = Conv { input, output, window, groups, function, forms, bytes, is_bordered };
        let product = |pool: &Pool| {
            let mut y = Value::untouched(output, batch);
            let none = Target::from(&mut [][..]);
            conv.run(pool, batch, x.source(), y.target(), None, none).unwrap();
            y
        };
        let alone = product(&pools[0]);
        alone.check(&format!("{height}×{width}"), 1e-6, |[image, row, column, channel]| {
            let number = |from: usize| x.get([image, row, column, from]);
            let terms =
                (0..within).map(|from| number(from) * f64::from(weight[channel * within + from]));
            let (sum, size) =
                terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            (sum + f64::from(bias[channel]), size + f64::from(bias[channel]).abs())
        });
        for pool in &pools[1..] {
            let shared = product(pool);
            assert!(
                alone.all().all(|at| alone.get(at).to_bits() == shared.get(at).to_bits()),
                "{height}×{width} on {} threads",
                pool.threads()
            );
        }
    }
}
