//! The definitions of what looks at more than one number: windows, norms, attention.

use super::value::Value;
use crate::graph::Shape;
use crate::graph::op::{Blur, Border, Conv, Lrn, Pad, Padding, Pool, PoolKind};

/// Channels of images and tokens both come first.
pub(super) fn concatenation(inputs: &[&Value]) -> Value {
    let numbers = inputs.iter().flat_map(|input| input.numbers.iter().copied()).collect();
    let shape = match inputs[0].shape {
        Shape::Image { height, width, .. } => {
            let channels = inputs.iter().map(|input| input.size()[0]).sum();
            Shape::Image { channels, height, width }
        }
        Shape::Tokens { width, .. } => {
            Shape::Tokens { count: inputs.iter().map(|input| input.rows().count()).sum(), width }
        }
        Shape::Vector { .. } => unreachable!("vectors are not concatenated"),
    };
    Value { shape, numbers }
}

/// Outputs along an axis of `size` pixels, and how far before the image the first window begins.
fn windows(size: usize, span: usize, stride: usize, border: Option<usize>) -> (usize, isize) {
    if let Some(border) = border {
        return ((size + 2 * border - span) / stride + 1, border as isize);
    }
    let outputs = size.div_ceil(stride);
    let needed = (outputs - 1) * stride + span;
    (outputs, (needed.saturating_sub(size) / 2) as isize)
}

/// The border above and left of an image; none where it makes the output so large as it says.
fn borders(padding: Padding) -> (Option<usize>, Option<usize>) {
    match padding {
        Padding::Same => (None, None),
        Padding::Both(border) => (Some(border.height), Some(border.width)),
    }
}

pub(super) fn normalise(numbers: &mut [f64], eps: f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count;
    for number in numbers {
        *number = (*number - mean) / (variance + eps).sqrt();
    }
}

/// `weight` is (out, in / groups, height, width).
pub(super) fn convolution(
    x: &Value,
    conv: &Conv,
    weight: &[f64],
    bias: impl Fn(usize) -> f64,
) -> Value {
    let Conv { out, kernel, stride, dilation, groups, .. } = *conv;
    let [channels, height, width] = x.size();
    let (top, left) = borders(conv.padding);
    let span = |kernel: usize, dilation: usize| (kernel - 1) * dilation + 1;
    let (rows, top) = windows(height, span(kernel.height, dilation.height), stride.height, top);
    let (columns, left) = windows(width, span(kernel.width, dilation.width), stride.width, left);
    let within = channels / groups;
    Value::image([out, rows, columns], |output, row, column| {
        let first = output / (out / groups) * within;
        let mut sum = bias(output);
        for channel in 0..within {
            for down in 0..kernel.height {
                for across in 0..kernel.width {
                    let y = (row * stride.height + down * dilation.height) as isize - top;
                    let x_ = (column * stride.width + across * dilation.width) as isize - left;
                    let place = (output * within + channel) * kernel.height + down;
                    let weight = weight[place * kernel.width + across];
                    sum += weight * x.pixel(first + channel, y, x_).unwrap_or(0.0);
                }
            }
        }
        sum
    })
}

/// As PyTorch: a window of `ceil` may end beyond the border, but begins before its end; what lies beyond never counts.
pub(super) fn pooled(x: &Value, pool: &Pool) -> Value {
    let [channels, height, width] = x.size();
    let axis = |size: usize, kernel: usize, stride: usize, border: Option<usize>| {
        let (mut outputs, before) = match border {
            Some(border) if pool.ceil => {
                ((size + 2 * border + stride - 1 - kernel) / stride + 1, border as isize)
            }
            border => windows(size, kernel, stride, border),
        };
        if border.is_some_and(|border| pool.ceil && (outputs - 1) * stride >= size + border) {
            outputs -= 1;
        }
        // For each output the first pixel of its window, and the end of it and the border.
        let end = border.map_or(isize::MAX, |border| (size + border) as isize);
        let window = move |output: usize| {
            let begin = (output * stride) as isize - before;
            begin..(begin + kernel as isize).min(end)
        };
        (outputs, window)
    };
    let (top, left) = borders(pool.padding);
    let (rows, down) = axis(height, pool.kernel.height, pool.stride.height, top);
    let (columns, across) = axis(width, pool.kernel.width, pool.stride.width, left);
    let counts = pool.count_padding && pool.padding != Padding::Same;
    Value::image([channels, rows, columns], |channel, row, column| {
        let numbers = down(row).flat_map(|y| across(column).map(move |x| (y, x)));
        let (mut most, mut sum, mut count) = (f64::NEG_INFINITY, 0.0, 0);
        for number in numbers.map(|(y, x_)| x.pixel(channel, y, x_)) {
            most = number.map_or(most, |number| most.max(number));
            sum += number.unwrap_or(0.0);
            count += usize::from(counts || number.is_some());
        }
        if pool.kind == PoolKind::Max { most } else { sum / count as f64 }
    })
}

pub(super) fn blurred(x: &Value, blur: &Blur) -> Value {
    let [channels, height, width] = x.size();
    let (rows, top) = windows(height, blur.size, blur.stride.height, Some(blur.padding.height));
    let (columns, left) = windows(width, blur.size, blur.stride.width, Some(blur.padding.width));
    // Binomial coefficients.
    let mut weights = vec![1.0];
    for _ in 1..blur.size {
        let (left, right) = ([&weights[..], &[0.0]].concat(), [&[0.0], &weights[..]].concat());
        weights = left.iter().zip(right).map(|(a, b)| f64::midpoint(*a, b)).collect();
    }
    let inside = |at: isize, size: usize| {
        let last = size as isize - 1;
        if blur.border == Border::Mirror { last - (last - at.abs()).abs() } else { at }
    };
    Value::image([channels, rows, columns], |channel, row, column| {
        let mut sum = 0.0;
        for (down, a) in weights.iter().enumerate() {
            for (across, b) in weights.iter().enumerate() {
                let y = inside((row * blur.stride.height + down) as isize - top, height);
                let x_ = inside((column * blur.stride.width + across) as isize - left, width);
                sum += a * b * x.pixel(channel, y, x_).unwrap_or(0.0);
            }
        }
        sum
    })
}

/// Zeros around an image and after its channels.
pub(super) fn padded(x: &Value, pad: &Pad) -> Value {
    let [channels, height, width] = x.size();
    let (height, width) = (height + pad.top + pad.bottom, width + pad.left + pad.right);
    Value::image([channels + pad.channels, height, width], |channel, row, column| {
        let (row, column) = (row as isize - pad.top as isize, column as isize - pad.left as isize);
        let inside = (channel < channels).then(|| x.pixel(channel, row, column));
        inside.flatten().unwrap_or(0.0)
    })
}

/// As PyTorch: of an even number of channels, one more comes before than after.
pub(super) fn response(x: &Value, lrn: &Lrn) -> Value {
    let last = x.size()[0] - 1;
    Value::image(x.size(), |channel, row, column| {
        let get = |channel| x.pixel(channel, row as isize, column as isize).unwrap();
        let around =
            channel.saturating_sub(lrn.size / 2)..=(channel + (lrn.size - 1) / 2).min(last);
        let squares: f64 = around.map(|at| get(at).powi(2)).sum();
        get(channel) / (lrn.k + lrn.alpha * squares / lrn.size as f64).powf(lrn.beta)
    })
}

/// The pixels of an image, row by row.
pub(super) fn tokens(x: &Value) -> Value {
    let [channels, height, width] = x.size();
    let count = height * width;
    let numbers = (0..count).flat_map(|pixel| (0..channels).map(move |at| at * count + pixel));
    let numbers = numbers.map(|place| x.numbers[place]).collect();
    Value { shape: Shape::Tokens { count, width: channels }, numbers }
}

/// The means of cells, which may overlap.
pub(super) fn cells(x: &Value, (rows, columns): (usize, usize)) -> Value {
    let [channels, height, width] = x.size();
    let cell =
        |at: usize, cells: usize, size: usize| at * size / cells..((at + 1) * size).div_ceil(cells);
    Value::image([channels, rows, columns], |channel, row, column| {
        let (mut sum, mut count) = (0.0, 0.0);
        for y in cell(row, rows, height) {
            for x_ in cell(column, columns, width) {
                sum += x.pixel(channel, y as isize, x_ as isize).unwrap();
                count += 1.0;
            }
        }
        sum / count
    })
}

/// Attention: softmax(q · kᵀ / √d) · v for each query.
fn mixed(queries: &[Vec<f64>], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mix = |query: &Vec<f64>| {
        let scores = keys.iter().map(|key| dot(query, key) / (key.len() as f64).sqrt());
        let scores: Vec<f64> = scores.collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f64 = shares.iter().sum();
        let channel = |at: usize| {
            shares.iter().zip(values).map(|(share, value)| share * value[at]).sum::<f64>() / sum
        };
        (0..values[0].len()).map(channel).collect()
    };
    queries.iter().map(mix).collect()
}

/// Attention of tokens that are queries, keys and values side by side.
pub(super) fn attention(heads: usize, x: &Value) -> Value {
    let (count, width) = (x.rows().count(), x.shape.channels() / 3);
    let depth = width / heads;
    let mut numbers = vec![0.0; count * width];
    for head in 0..heads {
        let [q, k, v] = [0, 1, 2].map(|of| {
            let part = |row: &[f64]| row[of * width + head * depth..][..depth].to_vec();
            x.rows().map(part).collect::<Vec<_>>()
        });
        for (token, mixed) in mixed(&q, &k, &v).into_iter().enumerate() {
            numbers[token * width + head * depth..][..depth].copy_from_slice(&mixed);
        }
    }
    Value { shape: Shape::Tokens { count, width }, numbers }
}

/// Attention of pixels, whose heads share keys and values.
pub(super) fn multi_query(heads: usize, inputs: &[&Value]) -> Value {
    // The channels of every pixel from `first` on.
    let pixels = |of: &Value, first: usize, count: usize| -> Vec<Vec<f64>> {
        let [_, height, width] = of.size();
        let number = |at: usize, channel: usize| of.numbers[channel * height * width + at];
        let pixel = |at: usize| (first..first + count).map(|channel| number(at, channel)).collect();
        (0..height * width).map(pixel).collect()
    };
    let ([_, height, width], [depth, ..], [own, ..]) =
        (inputs[0].size(), inputs[1].size(), inputs[2].size());
    let (keys, values) = (pixels(inputs[1], 0, depth), pixels(inputs[2], 0, own));
    let head = |head: usize| mixed(&pixels(inputs[0], head * depth, depth), &keys, &values);
    let heads: Vec<_> = (0..heads).map(head).collect();
    Value::image([heads.len() * own, height, width], |channel, y, x| {
        heads[channel / own][y * width + x][channel % own]
    })
}
