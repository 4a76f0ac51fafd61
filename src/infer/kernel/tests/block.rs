use std::sync::Arc;

use super::super::super::form::{Form, Scale};
use super::super::super::layout::{Layout, Window};
use super::super::super::memory::Target;
use super::super::super::pool::Pool;
use super::super::super::simd::{Element, Instructions};
use super::super::{Block, Bytes, Conv, Depthwise, Residual, Taps};
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
    (from, added, to): (Form, Form, Form),
) -> Conv {
    let count = output.channels * input.channels * window.kernel.height * window.kernel.width;
    let (weight, bias) = (dice.floats(count), dice.floats(output.channels));
    let size = (output.channels, input.channels, 1);
    let of_instructions = |kind: &(Instructions, _)| kind.0 == instructions;
    let kinds: Vec<_> = kinds(input.channels, 1).into_iter().filter(of_instructions).collect();
    // Products of float32 numbers have no other form.
    let narrow = [from, added, to].into_iter().find(|form| form.is_narrow());
    let wanted = match narrow {
        Some(Form::Byte(_)) => Some(Element::Byte),
        Some(_) => Some(Element::BFloat16),
        None => None,
    };
    let kind = match wanted.map(|element| (instructions.multiplying(element), element)) {
        Some((Some(instructions), element)) => (instructions, element),
        _ => dice.pick(&kinds),
    };
    let groups = Conv::pack(&POOL, kind, size, &window, (&weight, &bias)).unwrap();
    let function = dice.function_for(to);
    let bytes = (kind.1 == Element::Byte).then(|| {
        let scale = match from {
            Form::Byte(scale) => scale,
            _ => Scale { step: 0.015_625, zero: 60 },
        };
        Bytes::new(&groups, &bias, scale, added, (function, to)).unwrap()
    });
    let (groups, forms) = (Arc::new(groups), (from, to));
    Conv { input, output, window, groups, function, forms, bytes, is_bordered: false }
}

fn run(conv: &Conv, x: &Value, residual: Option<Residual<'_>>) -> Value {
    let mut y = Value::untouched_of(conv.forms.1, conv.output, x.batch);
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
        let (batch, channels) = (dice.within(1, 3), dice.quads().next_multiple_of(2));
        let element = dice.pick(&[Element::BFloat16, Element::Byte]);
        let is_there = instructions.multiplying(element).is_some();
        let element = if is_there { element } else { Element::Byte };
        let forms = (dice.form_of(element, channels), dice.form_of(element, channels));
        let layout = dice.layout_of(forms.0, height, width, channels);

        let before = (!dice.once_in(3)).then(|| {
            let pointwise = square(&mut dice, 1, 1);
            let first = if dice.once_in(3) { square(&mut dice, 3, 1) } else { pointwise };
            let inputs = dice.quads().next_multiple_of(2);
            let grown =
                |size: usize, border: usize| (size + first.kernel.width - 1).saturating_sub(border);
            let rows = grown(height, first.top + first.bottom);
            let columns = grown(width, first.left + first.right);
            (first, (rows, columns, inputs))
        });
        let before = before.filter(|(_, (rows, columns, _))| *rows > 0 && *columns > 0);
        let x = match before {
            Some((_, shape)) => {
                let form = dice.form_of(element, shape.2);
                dice.value_of(form, batch, shape)
            }
            None => dice.value_of(forms.0, batch, (height, width, channels)),
        };
        let middle = if before.is_some() { layout } else { x.layout };
        let make = |dice: &mut Dice| {
            let expand = before.map(|(first, _)| {
                let forms = (x.form, Form::Float32, forms.0);
                conv(dice, instructions, first, (x.layout, middle), forms)
            });
            let count = size * size;
            let (weight, bias) = (dice.floats(channels * count), dice.floats(channels));
            let taps = Arc::new(Taps::pack(count, &weight, &bias, forms).unwrap());
            let (rows, columns) = output(&window, &middle);
            let after = dice.layout_of(forms.1, rows, columns, channels);
            let function = dice.function_for(forms.1);
            let depthwise = Depthwise {
                input: middle,
                output: after,
                window,
                function,
                instructions,
                taps,
                forms,
            };
            let project = (!dice.once_in(3)).then(|| {
                let (pointwise, outputs) = (square(dice, 1, 1), dice.quads());
                let (added, to) = (dice.form_of(element, outputs), dice.form_of(element, outputs));
                let layout = dice.layout_of(to, rows, columns, outputs);
                let project =
                    conv(dice, instructions, pointwise, (after, layout), (forms.1, added, to));
                (project, added)
            });
            (expand, depthwise, project)
        };
        let state = dice.0;
        let (expand, depthwise, project) = make(&mut dice);
        let residual = project.as_ref().map(|(project, added)| {
            let Layout { height, width, channels, .. } = project.output;
            dice.value_of(*added, batch, (height, width, channels))
        });
        let added = || residual.as_ref().map(Value::residual);

        let expanded = expand.as_ref().map(|conv| run(conv, &x, None));
        let mut expected = Value::untouched_of(forms.1, depthwise.output, batch);
        let source = expanded.as_ref().unwrap_or(&x).source();
        depthwise.run(&POOL, batch, source, expected.target());
        if let Some((project, _)) = &project {
            expected = run(project, &expected, added());
        }

        for pool in &pools {
            let (expand, depthwise, project) = make(&mut Dice(state));
            let project = project.map(|(project, _)| project);
            let block = Block::new(expand, depthwise, project);
            let mut y = Value::untouched_of(expected.form, expected.layout, batch);
            let border = block.expand.as_ref().map_or(0, |conv| conv.scratch(batch));
            let mut scratch = vec![f32::NAN; border];
            let scratch = Target::from(&mut scratch[..]);
            block.run(pool, batch, x.source(), y.target(), added(), scratch).unwrap();
            let bits = |of: &Value| of.numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&y), bits(&expected), "{block:?} on {} threads", pool.threads());
        }
    }
}
