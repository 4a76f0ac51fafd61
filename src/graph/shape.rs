//! Shapes of values, and shape inference for each operation.

use std::fmt;

use super::op::{Blur, Border, Conv, Embedding, Op, Padding, Pair, Pool};

/// The shape of one image's value; the batch comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Image { channels: usize, height: usize, width: usize },
    Tokens { count: usize, width: usize },
    Vector { features: usize },
}

impl Shape {
    pub fn sizes(self) -> Vec<usize> {
        match self {
            Self::Image { channels, height, width } => vec![channels, height, width],
            Self::Tokens { count, width } => vec![count, width],
            Self::Vector { features } => vec![features],
        }
    }

    pub fn elements(self) -> usize {
        self.sizes().iter().fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Channels of an image, features of a vector or of each token.
    pub fn channels(self) -> usize {
        match self {
            Self::Image { channels, .. } => channels,
            Self::Tokens { width, .. } => width,
            Self::Vector { features } => features,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { channels, height, width } => {
                write!(f, "an image ({channels}, {height}, {width})")
            }
            Self::Tokens { count, width } => write!(f, "tokens ({count}, {width})"),
            Self::Vector { features } => write!(f, "a vector ({features})"),
        }
    }
}

/// The reason why an operation cannot take its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub expected: String,
    pub got: String,
}

impl Mismatch {
    pub fn new(expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self { expected: expected.to_string(), got: got.to_string() }
    }
}

#[derive(Clone, Copy)]
struct Image {
    channels: usize,
    height: usize,
    width: usize,
}

impl Image {
    fn with_channels(self, channels: usize) -> Shape {
        Shape::Image { channels, height: self.height, width: self.width }
    }

    fn with_size(self, size: Pair) -> Shape {
        Shape::Image { channels: self.channels, height: size.height, width: size.width }
    }

    /// The shape after a window slides along both axes.
    fn slide(self, window: impl Fn(usize, Axis) -> Option<usize>) -> Result<Pair, Mismatch> {
        let size = (window(self.height, Axis::Height), window(self.width, Axis::Width));
        let (Some(height), Some(width)) = size else {
            let got = format!("{}×{}", self.height, self.width);
            return Err(Mismatch::new("an image at least as large as the window", got));
        };
        Ok(Pair { height, width })
    }
}

#[derive(Clone, Copy)]
enum Axis {
    Height,
    Width,
}

impl Axis {
    fn of(self, pair: Pair) -> usize {
        match self {
            Self::Height => pair.height,
            Self::Width => pair.width,
        }
    }
}

/// No size is larger than this, so no sum of sizes and borders wraps; it is far above any real one.
pub const MAX_SIDE: usize = 1 << 40;

/// The output shape of `op` on `inputs`.
pub fn output_shape(op: &Op, inputs: &[Shape]) -> Result<Shape, Mismatch> {
    let shape = unbounded_shape(op, inputs)?;
    if shape.sizes().iter().any(|&size| size > MAX_SIDE) {
        return Err(Mismatch::new(format!("sizes of at most {MAX_SIDE}"), shape));
    }
    Ok(shape)
}

fn unbounded_shape(op: &Op, inputs: &[Shape]) -> Result<Shape, Mismatch> {
    match op {
        Op::Input(input) => {
            no_inputs(inputs)?;
            Ok(Shape::Image { channels: input.channels, height: input.height, width: input.width })
        }
        Op::Conv(conv) => conv_shape(conv, image(one(inputs)?)?),
        Op::Pool(pool) => {
            let image = image(one(inputs)?)?;
            Ok(image.with_size(image.slide(|size, axis| pooled(pool, size, axis))?))
        }
        Op::Blur(blur) => blur_shape(blur, image(one(inputs)?)?),
        Op::AdaptivePool(pool) => {
            let image = image(one(inputs)?)?;
            image.slide(|size, _| (size > 0).then_some(size))?;
            Ok(image.with_size(pool.size))
        }
        Op::PoolUpTo(pool) => {
            let image = image(one(inputs)?)?;
            let longer = |size: usize, axis: Axis| (size > 0).then(|| size.max(axis.of(pool.size)));
            Ok(image.with_size(image.slide(longer)?))
        }
        Op::Pad(pad) => {
            let image = image(one(inputs)?)?;
            Ok(Shape::Image {
                channels: image.channels + pad.channels,
                height: image.height + pad.top + pad.bottom,
                width: image.width + pad.left + pad.right,
            })
        }
        Op::BatchNorm(_) | Op::Lrn(_) | Op::LayerScale(_) => {
            image(one(inputs)?)?;
            one(inputs)
        }
        Op::GroupNorm(norm) => {
            let channels = image(one(inputs)?)?.channels;
            if norm.groups == 0 || !channels.is_multiple_of(norm.groups) {
                let expected = format!("channels divisible by groups={}", norm.groups);
                return Err(Mismatch::new(expected, channels));
            }
            one(inputs)
        }
        Op::Affine(affine) => {
            let channels = image(one(inputs)?)?.channels;
            if (affine.scale.len(), affine.shift.len()) != (channels, channels) {
                let expected = format!("scale and shift of {channels} numbers");
                let got = format!("{} and {}", affine.scale.len(), affine.shift.len());
                return Err(Mismatch::new(expected, got));
            }
            one(inputs)
        }
        Op::Activation(_) | Op::Dropout(_) | Op::DropPath(_) | Op::Multiply(_) => one(inputs),
        Op::LayerNorm(_) => match one(inputs)? {
            shape @ (Shape::Vector { .. } | Shape::Tokens { .. }) => Ok(shape),
            shape @ Shape::Image { .. } => Err(Mismatch::new("a vector or tokens", shape)),
        },
        Op::Linear(linear) => match one(inputs)? {
            Shape::Vector { .. } => Ok(Shape::Vector { features: linear.out }),
            Shape::Tokens { count, .. } => Ok(Shape::Tokens { count, width: linear.out }),
            shape @ Shape::Image { .. } => Err(Mismatch::new("a vector or tokens", shape)),
        },
        Op::Tokens(_) => {
            let image = image(one(inputs)?)?;
            Ok(Shape::Tokens {
                count: image.height.saturating_mul(image.width),
                width: image.channels,
            })
        }
        Op::Embedding(embedding) => {
            no_inputs(inputs)?;
            embedding_shape(embedding)
        }
        Op::Attention(attention) => attention_shape(attention.heads, one(inputs)?),
        Op::MultiQueryAttention(attention) => multi_query_shape(attention.heads, inputs),
        Op::SelectToken(token) => match tokens(one(inputs)?)? {
            (count, width) if token.index < count => Ok(Shape::Vector { features: width }),
            (count, _) => Err(Mismatch::new(format!("more than {} tokens", token.index), count)),
        },
        Op::Flatten(_) => Ok(Shape::Vector { features: one(inputs)?.elements() }),
        Op::Add(_) | Op::Average(_) => shape_of_all(inputs),
        Op::Gate(_) => {
            let [value, gate] = inputs else {
                return Err(Mismatch::new("two inputs, a value and its gate", inputs.len()));
            };
            let expected = Shape::Image { channels: image(*value)?.channels, height: 1, width: 1 };
            if *gate == expected { Ok(*value) } else { Err(Mismatch::new(expected, gate)) }
        }
        Op::Concat(_) => concat_shape(inputs),
    }
}

fn embedding_shape(embedding: &Embedding) -> Result<Shape, Mismatch> {
    let Embedding { tokens: count, width, grid } = *embedding;
    let cells = grid.map_or(0, |grid| grid.height.saturating_mul(grid.width));
    if cells > count {
        return Err(Mismatch::new(format!("tokens of at least {cells} cells"), count));
    }
    Ok(Shape::Tokens { count, width })
}

fn attention_shape(heads: usize, input: Shape) -> Result<Shape, Mismatch> {
    let (count, width) = tokens(input)?;
    let parts = heads.saturating_mul(3);
    if parts == 0 || width == 0 || !width.is_multiple_of(parts) {
        let expected = format!("a width divisible by 3·heads={parts}");
        return Err(Mismatch::new(expected, width));
    }
    Ok(Shape::Tokens { count, width: width / 3 })
}

fn conv_shape(conv: &Conv, image: Image) -> Result<Shape, Mismatch> {
    if conv.groups == 0 || !image.channels.is_multiple_of(conv.groups) {
        let expected = format!("channels divisible by groups={}", conv.groups);
        return Err(Mismatch::new(expected, image.channels));
    }
    let size = image.slide(|size, axis| {
        let span = span(axis.of(conv.kernel), axis.of(conv.dilation));
        let stride = axis.of(conv.stride);
        match conv.padding {
            Padding::Same => (size > 0).then(|| size.div_ceil(stride.max(1))),
            Padding::Both(border) => windows(size + 2 * axis.of(border), span, stride),
        }
    })?;
    Ok(Shape::Image { channels: conv.out, height: size.height, width: size.width })
}

fn blur_shape(blur: &Blur, image: Image) -> Result<Shape, Mismatch> {
    let Pair { height, width } = blur.padding;
    if blur.border == Border::Mirror && (image.height <= height || image.width <= width) {
        let got = format!("{}×{}", image.height, image.width);
        return Err(Mismatch::new("an image larger than the border that mirrors it", got));
    }
    let size = image.slide(|size, axis| {
        windows(size + 2 * axis.of(blur.padding), blur.size, axis.of(blur.stride))
    })?;
    Ok(image.with_size(size))
}

fn concat_tokens(inputs: &[Shape], width: usize) -> Result<Shape, Mismatch> {
    let mut count = 0_usize;
    for &shape in inputs {
        match tokens(shape)? {
            (more, other) if other == width => count = count.saturating_add(more),
            (_, other) => return Err(Mismatch::new(format!("tokens of width {width}"), other)),
        }
    }
    Ok(Shape::Tokens { count, width })
}

/// The one shape that all inputs have.
fn shape_of_all(inputs: &[Shape]) -> Result<Shape, Mismatch> {
    let first = *inputs.first().ok_or_else(|| Mismatch::new("at least one input", 0))?;
    match inputs.iter().find(|&&shape| shape != first) {
        Some(other) => Err(Mismatch::new(format!("{first} from every input"), other)),
        None => Ok(first),
    }
}

fn concat_shape(inputs: &[Shape]) -> Result<Shape, Mismatch> {
    let first = *inputs.first().ok_or_else(|| Mismatch::new("at least one input", 0))?;
    if let Shape::Tokens { width, .. } = first {
        return concat_tokens(inputs, width);
    }
    let first = image(first)?;
    let mut channels = 0_usize;
    for &shape in inputs {
        let other = image(shape)?;
        if (other.height, other.width) != (first.height, first.width) {
            let expected = format!("images of {}×{}", first.height, first.width);
            return Err(Mismatch::new(expected, format!("{}×{}", other.height, other.width)));
        }
        channels = other.channels.saturating_add(channels);
    }
    Ok(first.with_channels(channels))
}

fn multi_query_shape(heads: usize, inputs: &[Shape]) -> Result<Shape, Mismatch> {
    let [queries, keys, values] = inputs else {
        return Err(Mismatch::new("three inputs: queries, keys and values", inputs.len()));
    };
    let (queries, of_keys, of_values) = (image(*queries)?, image(*keys)?, image(*values)?);
    let expected = of_keys.channels.saturating_mul(heads);
    if queries.channels != expected {
        let expected = format!("queries of {expected} channels, the keys' times heads={heads}");
        return Err(Mismatch::new(expected, queries.channels));
    }
    if (of_keys.height, of_keys.width) != (of_values.height, of_values.width) {
        return Err(Mismatch::new(format!("values of as many pixels as {keys}"), values));
    }
    Ok(queries.with_channels(of_values.channels.saturating_mul(heads)))
}

/// The number of pixels that a dilated window covers.
pub fn span(kernel: usize, dilation: usize) -> usize {
    (kernel.saturating_sub(1)) * dilation + 1
}

/// Zeros before and after `size` pixels that make the output `ceil(size / stride)` large.
pub fn same_padding(size: usize, span: usize, stride: usize) -> (usize, usize) {
    let total = ((size.div_ceil(stride) - 1) * stride + span).saturating_sub(size);
    (total / 2, total - total / 2)
}

fn windows(padded: usize, span: usize, stride: usize) -> Option<usize> {
    (padded >= span && stride > 0).then(|| (padded - span) / stride + 1)
}

fn pooled(pool: &Pool, size: usize, axis: Axis) -> Option<usize> {
    let (kernel, stride) = (axis.of(pool.kernel), axis.of(pool.stride));
    let border = match pool.padding {
        Padding::Same => return (size > 0).then(|| size.div_ceil(stride.max(1))),
        Padding::Both(border) => axis.of(border),
    };
    // As in PyTorch, the last window of `ceil` may extend over the border, but starts inside the image or its left border.
    let reach = size + 2 * border + if pool.ceil { stride.saturating_sub(1) } else { 0 };
    let count = windows(reach, kernel, stride).filter(|_| size > 0)?;
    let outside = pool.ceil && (count - 1) * stride >= size + border;
    Some(count - usize::from(outside))
}

fn no_inputs(inputs: &[Shape]) -> Result<(), Mismatch> {
    if inputs.is_empty() { Ok(()) } else { Err(Mismatch::new("no inputs", inputs.len())) }
}

fn one(inputs: &[Shape]) -> Result<Shape, Mismatch> {
    match inputs {
        [shape] => Ok(*shape),
        _ => Err(Mismatch::new("one input", inputs.len())),
    }
}

fn image(shape: Shape) -> Result<Image, Mismatch> {
    match shape {
        Shape::Image { channels, height, width } => Ok(Image { channels, height, width }),
        Shape::Tokens { .. } | Shape::Vector { .. } => Err(Mismatch::new("an image", shape)),
    }
}

fn tokens(shape: Shape) -> Result<(usize, usize), Mismatch> {
    match shape {
        Shape::Tokens { count, width } => Ok((count, width)),
        Shape::Image { .. } | Shape::Vector { .. } => Err(Mismatch::new("tokens", shape)),
    }
}
