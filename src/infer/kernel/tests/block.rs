use std::sync::Arc;

use super::super::super::layout::{Layout, Window};
use super::super::super::memory::Target;
use super::super::super::pool::Pool;
use super::super::super::simd::Instructions;
use super::super::{Block, Conv, Depthwise, Residual, Taps};
use super::product::{axis, kinds};
use super::{Dice, POOL, Value};
use crate::graph::op::Pair;

/// A square window whose border is less than its size.
fn square(dice: &mut Dice, size: usize, stride: usize) -> Window {
    let mut border = || dice.within(0, size - 1);
    let (top, bottom, left, right) = (border(), border(), border(), border());
    let (kernel, stride, dilation) = (size.into(), stride.into(), Pair::ONE);
    Window { kernel, stride, dilation, top, bottom, left, right }
}

fn output(window: &Window, input: &Layout) -> (usize, usize) {
    let Window { kernel, stride, top, bottom, left, right, .. } = window;
    (
        (input.height + top + bottom - kernel.height) / stride.height + 1,
        (input.width + left + right - kernel.width) / stride.width + 1,
    )
}

fn conv(
    dice: &mut Dice,
    instructions: Instructions,
    window: Window,
    (input, output): (Layout, Layout),
) -> Conv {
    let count = output.channels * input.channels * window.kernel.height * window.kernel.width;
    let (weight, bias) = (dice.floats(count), dice.floats(output.channels));
    let size = (output.channels, input.channels, 1);
    let of_instructions = |kind: &(Instructions, _)| kind.0 == instructions;
    let kinds: Vec<_> = kinds(input.channels).into_iter().filter(of_instructions).collect();
    let groups = Conv::pack(&POOL, dice.pick(&kinds), size, &window, (&weight, &bias)).unwrap();
    Conv { input, output, window, groups: Arc::new(groups), function: dice.function() }
}

fn run(conv: &Conv, x: &Value, residual: Option<Residual<'_>>) -> Value {
    let mut y = Value::untouched(conv.output, x.batch);
    let mut scratch = vec![f32::NAN; conv.scratch(x.batch)];
    let scratch = Target::from(&mut scratch[..]);
    conv.run(&POOL, x.batch, x.source(), y.target(), residual, scratch).unwrap();
    y
}

/// A block has the same bits as its convolutions one after the other, for any number of threads.
#[test]
fn blocks_equal_their_convolutions() {
    let mut dice = Dice(21);
    let pools = [1, 2, 5].map(Pool::new);
    for round in 0..160 {
        let instructions = dice.pick(&Instructions::available());
        let (size, stride) = (dice.pick(&[3, 5]), dice.within(1, 2));
        let window = square(&mut dice, size, stride);
        // Some images are too large to be computed whole.
        let most = if round % 4 == 0 { 24 } else { 9 };
        let shape = (window.kernel.height, window.stride.height, 1);
        let (height, _) = axis(&mut dice, most, shape, window.top + window.bottom);
        let (width, _) = axis(&mut dice, most, shape, window.left + window.right);
        let (batch, channels) = (dice.within(1, 3), dice.channels());
        let layout = dice.layout(height, width, channels);

        let before = (!dice.once_in(3)).then(|| {
            let pointwise = square(&mut dice, 1, 1);
            let first = if dice.once_in(3) { square(&mut dice, 3, 1) } else { pointwise };
            let inputs = dice.channels();
            let grown =
                |size: usize, border: usize| (size + first.kernel.width - 1).saturating_sub(border);
            let rows = grown(height, first.top + first.bottom);
            let columns = grown(width, first.left + first.right);
            (first, (rows, columns, inputs))
        });
        let before = before.filter(|(_, (rows, columns, _))| *rows > 0 && *columns > 0);
        let x = match before {
            Some((_, shape)) => dice.value(batch, shape),
            None => dice.value(batch, (height, width, channels)),
        };
        let middle = if before.is_some() { layout } else { x.layout };
        let make = |dice: &mut Dice| {
            let expand =
                before.map(|(first, _)| conv(dice, instructions, first, (x.layout, middle)));
            let count = size * size;
            let (weight, bias) = (dice.floats(channels * count), dice.floats(channels));
            let taps = Arc::new(Taps::pack(count, &weight, &bias).unwrap());
            let (rows, columns) = output(&window, &middle);
            let after = dice.layout(rows, columns, channels);
            let function = dice.function();
            let depthwise =
                Depthwise { input: middle, output: after, window, function, instructions, taps };
            let project = (!dice.once_in(3)).then(|| {
                let (pointwise, outputs) = (square(dice, 1, 1), dice.channels());
                let layout = dice.layout(rows, columns, outputs);
                conv(dice, instructions, pointwise, (after, layout))
            });
            (expand, depthwise, project)
        };
        let state = dice.0;
        let (expand, depthwise, project) = make(&mut dice);
        let residual = project.as_ref().map(|project| {
            let Layout { height, width, channels, .. } = project.output;
            dice.value(batch, (height, width, channels))
        });
        let added =
            || residual.as_ref().map(|of| Residual { source: of.source(), layout: of.layout });

        let expanded = expand.as_ref().map(|conv| run(conv, &x, None));
        let mut expected = Value::untouched(depthwise.output, batch);
        let source = expanded.as_ref().unwrap_or(&x).source();
        depthwise.run(&POOL, batch, source, expected.target());
        if let Some(project) = &project {
            expected = run(project, &expected, added());
        }

        for pool in &pools {
            let (expand, depthwise, project) = make(&mut Dice(state));
            let block = Block::new(expand, depthwise, project);
            let mut y = Value::untouched(expected.layout, batch);
            let border = block.expand.as_ref().map_or(0, |conv| conv.scratch(batch));
            let mut scratch = vec![f32::NAN; border];
            let scratch = Target::from(&mut scratch[..]);
            block.run(pool, batch, x.source(), y.target(), added(), scratch).unwrap();
            let bits = |of: &Value| of.numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&y), bits(&expected), "{block:?} on {} threads", pool.threads());
        }
    }
}
