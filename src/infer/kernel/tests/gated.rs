use std::sync::Arc;

use super::super::super::form::Form;
use super::super::super::layout::Window;
use super::super::super::simd::Element;
use super::super::super::simd::Instructions;
use super::super::{Conv, Gated};
use super::{Dice, POOL, Value, activated};
use crate::graph::op::{Padding, Pair};

#[test]
fn gates_scale_the_channels_of_each_image() {
    let mut dice = Dice(41);
    for _ in 0..120 {
        let (batch, inputs, outputs) = (dice.within(1, 4), dice.channels(), dice.channels());
        let most = if dice.once_in(4) { 30 } else { 9 };
        let (height, width) = (dice.within(1, most), dice.within(1, most));
        let x = dice.value(batch, (height, width, inputs));
        let gate = dice.value(batch, (1, 1, inputs));
        let (weight, bias) = (dice.floats(outputs * inputs), dice.floats(outputs));
        let added = dice.once_in(2).then(|| dice.value(batch, (height, width, outputs)));
        let (function, output) = (dice.function(), dice.layout(height, width, outputs));
        let one = (Pair::ONE, Pair::ONE, Pair::ONE);
        let window = Window::new(one, Padding::from(0), (height, width));
        for instructions in Instructions::available() {
            let size = (outputs, inputs, 1);
            let packed = Conv::pack(
                &POOL,
                (instructions, Element::Float32),
                size,
                &window,
                (&weight, &bias),
            );
            let groups = Arc::new(packed.unwrap());
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
            let gated = Gated { conv, gate: gate.layout };
            let mut y = Value::untouched(output, batch);
            let residual = added.as_ref().map(Value::residual);
            let values = (x.source(), gate.source());
            gated.run(&POOL, batch, values, y.target(), residual).unwrap();
            let what = format!("{:?} {outputs} {function:?} {instructions:?}", x.layout);
            y.check(&what, 1e-6, |[image, row, column, channel]| {
                let mut sum = f64::from(bias[channel]);
                let mut size = sum.abs();
                for from in 0..inputs {
                    let number = x.get([image, row, column, from]) * gate.get([image, 0, 0, from]);
                    let weight = f64::from(weight[channel * inputs + from]);
                    sum += weight * number;
                    size += (weight * number).abs();
                }
                if let Some(added) = &added {
                    sum += added.get([image, row, column, channel]);
                }
                (activated(function, sum), size)
            });
        }
    }
}
