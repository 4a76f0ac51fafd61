use super::super::super::form::Form;
use super::super::super::layout::Layout;
use super::super::super::simd::Instructions;
use super::super::Map;
use super::{Dice, FUNCTIONS, POOL, Value, activated};
use crate::graph::op::Function;

fn apply(instructions: Instructions, function: Function, numbers: Vec<f32>) -> Vec<f32> {
    let layout = Layout::dense(1, 1, numbers.len());
    let x = Value { layout, batch: 1, form: Form::Float32, numbers };
    let mut y = Value::untouched(layout, 1);
    let function = Some(function);
    let map = Map {
        input: layout,
        output: layout,
        combine: None,
        affine: None,
        function,
        instructions,
        forms: Form::FLOATS,
    };
    map.run(&POOL, 1, x.source(), None, y.target());
    y.numbers
}

#[test]
fn activations_are_near_to_those_in_float64() {
    let mut numbers: Vec<f32> = (-4000..4000).map(|at| at as f32 / 250.0).collect();
    let tiny = (0..60).map(|at| 1e-30 * 10_f32.powf(at as f32 / 2.0));
    numbers.extend(tiny.flat_map(|x| [x, -x]));
    for instructions in Instructions::available() {
        for function in FUNCTIONS {
            for (x, y) in numbers.iter().zip(apply(instructions, function, numbers.clone())) {
                let expected = activated(Some(function), f64::from(*x));
                let error = (f64::from(y) - expected).abs();
                let tolerance = 4e-7 * expected.abs().max(f64::from(x.abs()).min(1.0));
                assert!(
                    error <= tolerance,
                    "{function:?}({x}) = {y}, not {expected}, {instructions:?}"
                );
            }
        }
    }
}

#[test]
fn activations_of_huge_numbers_infinity_and_nan_are_those_of_pytorch() {
    let mut numbers = vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for size in [90.0, 1e3, 1e10, 1e20, 1e30, 1e38, f32::MAX] {
        numbers.extend([size, -size]);
    }
    for instructions in Instructions::available() {
        for function in FUNCTIONS {
            // Wherever in a vector they stand.
            for shift in 0..numbers.len() {
                numbers.rotate_left(shift.min(1));
                for (x, y) in numbers.iter().zip(apply(instructions, function, numbers.clone())) {
                    let expected = activated(Some(function), f64::from(*x));
                    // Where it is NaN for -∞, since that is 0 times -∞, the limit would do as well.
                    let is_right = if x.is_nan() {
                        y.is_nan()
                    } else if expected.is_nan() {
                        y.is_nan() || y.abs() < 1e-30
                    } else {
                        f64::from(y) == f64::from(expected as f32)
                            || (f64::from(y) - expected).abs() <= 1e-6 * expected.abs()
                            || expected.abs() < 1e-30 && y.abs() < 1e-30
                    };
                    assert!(is_right, "{function:?}({x}) = {y}, not {expected}, {instructions:?}");
                }
            }
        }
    }
}

#[test]
fn maps_of_any_shape() {
    use super::super::Combine;
    let mut dice = Dice(5);
    for _ in 0..60 {
        let batch = dice.within(1, 9);
        let size = (dice.within(1, 5), dice.within(1, 5), dice.channels());
        let forms = [dice.form(size.2), dice.form(size.2), dice.form(size.2)];
        let x = dice.value_of(forms[0], batch, size);
        let mut other = dice.value_of(forms[1], batch, size);
        if dice.once_in(3) {
            // A gate: one pixel for all.
            other = dice.value_of(forms[1], batch, (1, 1, size.2));
            (other.layout.height, other.layout.width) = (size.0, size.1);
            other.layout.pixel = 0;
        }
        let combine = dice.pick(&[None, Some(Combine::Add), Some(Combine::Multiply)]);
        let affine = dice.once_in(2).then(|| (dice.floats(size.2), dice.floats(size.2)));
        let function = dice.function();
        let output = dice.layout_of(forms[2], size.0, size.1, size.2);
        for instructions in Instructions::available() {
            let affine = affine.clone();
            let (input, forms) = (x.layout, (forms[0], forms[2]));
            let map = Map { input, output, combine, affine, function, instructions, forms };
            let mut y = Value::untouched_of(forms.1, output, batch);
            let second = combine.map(|_| other.residual());
            map.run(&POOL, batch, x.source(), second, y.target());
            y.check(&format!("{map:?}"), 1e-6, |at| {
                let mut sum = x.get(at);
                match combine {
                    None => {}
                    Some(Combine::Add) => sum += other.get(at),
                    Some(Combine::Multiply) => sum *= other.get(at),
                }
                if let Some((scale, shift)) = &map.affine {
                    sum = sum * f64::from(scale[at[3]]) + f64::from(shift[at[3]]);
                }
                (activated(function, sum), sum.abs())
            });
        }
    }
}
