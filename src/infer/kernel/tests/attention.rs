use super::super::super::form::Form;
use super::super::super::layout::Layout;
use super::super::super::simd::Element;
use super::super::{Attention, Part};
use super::product::kinds;
use super::{Dice, POOL, Value};

/// The values that a head reads, and their places.
struct Inputs {
    value: Value,
    part: Part,
}

fn compare(attention: &Attention, batch: usize, [q, k, v]: [&Inputs; 3]) {
    let &Attention { heads, depth, width, output, form, .. } = attention;
    let mut y = Value::untouched_of(form, output, batch);
    let sources = [q, k, v].map(|of| of.value.source());
    attention.run(&POOL, batch, sources, y.target()).unwrap();
    let keys = k.part.layout.pixels();
    let get = |of: &Inputs, image: usize, pixel: usize, head: usize, channel: usize| {
        let of_head = of.part.first + head * of.part.step + channel;
        of.value.get([image, pixel / of.part.layout.width, pixel % of.part.layout.width, of_head])
    };
    let mut expected = vec![0.0; batch * output.pixels() * heads * width];
    for (row, expected) in expected.chunks_mut(width).enumerate() {
        let (pixel, head) = (row / heads, row % heads);
        let (image, query) = (pixel / output.pixels(), pixel % output.pixels());
        let scores: Vec<f64> = (0..keys)
            .map(|key| {
                let product = |at| get(q, image, query, head, at) * get(k, image, key, head, at);
                (0..depth).map(product).sum::<f64>() / (depth as f64).sqrt()
            })
            .collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        for (channel, number) in expected.iter_mut().enumerate() {
            let mixed = shares.iter().enumerate();
            let mixed = mixed.map(|(key, share)| share * get(v, image, key, head, channel));
            *number = mixed.sum::<f64>() / shares.iter().sum::<f64>();
        }
    }
    // Both products round their factors to 8 bits; the shares of a query sum to 1.
    let most = if attention.kind.1 == Element::BFloat16 { 3e-2 } else { 2e-6 };
    y.check(&format!("{attention:?}"), most, |[image, row, column, channel]| {
        let pixel = (image * output.height + row) * output.width + column;
        (expected[pixel * heads * width + channel], 1.0)
    });
}

#[test]
fn attention_of_any_shape() {
    let mut dice = Dice(30);
    for round in 0..40 {
        let mut size = (dice.within(1, 4), dice.within(1, 20), dice.within(1, 3));
        let mut count = dice.within(1, 20);
        if round % 8 == 0 {
            // More queries than are multiplied together.
            (size, count) = ((2, 3, 1), dice.within(97, 130));
        }
        let (heads, depth, batch) = size;
        let all = heads * depth;
        let form = dice.form_of(Element::BFloat16, depth);
        let mut value = dice.value_of(form, batch, (count, 1, 3 * all));
        // Some scores are large.
        let by = dice.pick(&[1.0, 1.0, 20.0]);
        for at in value.all() {
            let (place, number) = (value.place(at), (value.get(at) as f32 * by).clamp(-9.0, 9.0));
            match form {
                Form::Float32 => value.numbers[place] = number,
                _ => value.set_half(place, number),
            }
        }
        let layout = value.layout;
        let inputs = |at: usize| {
            let part = Part { layout, form, first: at * all, step: depth };
            Inputs { value: value.clone(), part }
        };
        let [q, k, v] = [inputs(0), inputs(1), inputs(2)];
        for kind in kinds(depth, 2) {
            if form.is_narrow() && kind.1 != Element::BFloat16 {
                continue;
            }
            let form = dice.form_of(kind.1, depth);
            let output = dice.layout_of(form, count, 1, all);
            let attention = Attention {
                heads,
                depth,
                width: depth,
                queries: q.part,
                keys: k.part,
                values: v.part,
                output,
                form,
                kind,
            };
            if by > 1.0 {
                // Differences of large scores are uncertain: only that nothing overflows.
                let mut y = Value::untouched_of(form, output, batch);
                let sources = [&q, &k, &v].map(|of| of.value.source());
                attention.run(&POOL, batch, sources, y.target()).unwrap();
                // Shares that are rounded to 8 bits may sum to more than 1.
                let most = if kind.1 == Element::BFloat16 { 9.0 * 1.005 } else { 9.001 };
                assert!(y.all().all(|at| y.get(at).abs() <= most));
            } else {
                compare(&attention, batch, [&q, &k, &v]);
            }
        }
    }
}

#[test]
fn attention_whose_heads_share_keys() {
    let mut dice = Dice(31);
    for _ in 0..20 {
        let (heads, depth, width) = (dice.within(1, 4), dice.within(1, 9), dice.within(1, 20));
        let (batch, size) = (dice.within(1, 3), (dice.within(1, 4), dice.within(1, 4)));
        let keys = (dice.within(1, 3), dice.within(1, 3));
        let mut inputs = |size: (usize, usize), channels: usize, step: usize| {
            let value = dice.value(batch, (size.0, size.1, channels));
            let part = Part { layout: value.layout, form: value.form, first: 0, step };
            Inputs { value, part }
        };
        let (q, k, v) =
            (inputs(size, heads * depth, depth), inputs(keys, depth, 0), inputs(keys, width, 0));
        let output: Layout = dice.layout(size.0, size.1, heads * width);
        for kind in kinds(depth, 2) {
            let attention = Attention {
                heads,
                depth,
                width,
                queries: q.part,
                keys: k.part,
                values: v.part,
                output,
                form: Form::Float32,
                kind,
            };
            compare(&attention, batch, [&q, &k, &v]);
        }
    }
}
