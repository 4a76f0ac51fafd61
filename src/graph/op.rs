//! The operations that a graph is made of, each a struct of named fields. `Op` is the one enum over them:
//! every interpreter matches it without a `_` arm.

use serde::{Deserialize, Serialize};

/// Height and width of a kernel, a stride or padding. Written as one number when both are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "PairText", into = "PairText")]
pub struct Pair {
    pub height: usize,
    pub width: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PairText {
    Square(usize),
    Both(usize, usize),
}

impl From<PairText> for Pair {
    fn from(text: PairText) -> Self {
        match text {
            PairText::Square(size) => size.into(),
            PairText::Both(height, width) => Self { height, width },
        }
    }
}

impl From<Pair> for PairText {
    fn from(Pair { height, width }: Pair) -> Self {
        if height == width { Self::Square(height) } else { Self::Both(height, width) }
    }
}

impl From<usize> for Pair {
    fn from(size: usize) -> Self {
        Self { height: size, width: size }
    }
}

/// Height and width.
impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Self {
        Self { height, width }
    }
}

impl Pair {
    pub const ONE: Self = Self { height: 1, width: 1 };

    /// As libtorch takes it: height first.
    pub fn sizes(self) -> [i64; 2] {
        [self.height as i64, self.width as i64]
    }
}

/// Padding around an image before a window slides over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// As many zeros as make the output `ceil(input / stride)` large; the odd one goes to the bottom and right,
    /// as TensorFlow places it.
    Same,
    /// This many on both sides.
    #[serde(untagged)]
    Both(Pair),
}

impl From<usize> for Padding {
    fn from(size: usize) -> Self {
        Self::Both(size.into())
    }
}

/// The image that the weights were trained on. Always the first node; other sizes may be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Input {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self { channels: 3, height: 224, width: 224 }
    }
}

/// Convolution, with `weight` (out, in / groups, height, width) and `bias` (out).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conv {
    pub out: usize,
    pub kernel: Pair,
    pub stride: Pair,
    pub padding: Padding,
    pub dilation: Pair,
    pub groups: usize,
    pub bias: bool,
}

impl Default for Conv {
    fn default() -> Self {
        Self {
            out: 0,
            kernel: Pair::ONE,
            stride: Pair::ONE,
            padding: 0.into(),
            dilation: Pair::ONE,
            groups: 1,
            bias: false,
        }
    }
}

/// Zero padding around an image, and `channels` channels of zeros after its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pad {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
    pub channels: usize,
}

impl Pad {
    /// As many on every side.
    pub fn around(size: usize) -> Self {
        Self { top: size, bottom: size, left: size, right: size, channels: 0 }
    }
}

/// Batch norm; `momentum` is the weight of the new batch in the running statistics. Without `scale` it has a shift but
/// no scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchNorm {
    pub eps: f64,
    pub momentum: f64,
    pub scale: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, scale: true }
    }
}

/// Group norm: normalisation of each image over groups of channels (Wu and He, arXiv:1803.08494).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupNorm {
    pub groups: usize,
    pub eps: f64,
}

impl Default for GroupNorm {
    fn default() -> Self {
        Self { groups: 32, eps: 1e-5 }
    }
}

/// Layer norm: normalisation of each token or vector over its features.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LayerNorm {
    pub eps: f64,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { eps: 1e-5 }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    #[default]
    Relu,
    Relu6,
    Silu,
    Sigmoid,
    Tanh,
    Gelu,
    HardSigmoid,
    HardSwish,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Activation {
    pub function: Function,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    #[default]
    Max,
    Average,
}

/// Pooling in a sliding window. `ceil` lets a last window extend over the border; `count_padding` counts the zeros
/// of the border in an average, unless they are `same`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    pub kind: PoolKind,
    pub kernel: Pair,
    pub stride: Pair,
    pub padding: Padding,
    pub ceil: bool,
    pub count_padding: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            kind: PoolKind::Max,
            kernel: Pair::ONE,
            stride: Pair::ONE,
            padding: 0.into(),
            ceil: false,
            count_padding: true,
        }
    }
}

/// Padding of a blur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// The image, mirrored at its outermost pixels, which are not repeated.
    #[default]
    Mirror,
    Zeros,
}

/// Anti-aliasing blur of each channel, weighted by binomial coefficients ([1 2 1] / 4 along each axis, for a size of 3):
/// before a stride, it suppresses frequencies that would alias (Zhang, arXiv:1904.11486).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blur {
    pub size: usize,
    pub stride: Pair,
    /// The same on both sides.
    pub padding: Pair,
    pub border: Border,
}

impl Default for Blur {
    fn default() -> Self {
        Self { size: 3, stride: 2.into(), padding: 1.into(), border: Border::Mirror }
    }
}

impl Blur {
    /// The larger ones are not exact in float32.
    pub const LARGEST: usize = 25;

    /// The weights along one axis; their sum is 1.
    pub fn weights(&self) -> Vec<f64> {
        let mut row = vec![1.0];
        for _ in 1..self.size {
            let next = |at: usize| {
                0.5 * (row.get(at).copied().unwrap_or(0.0)
                    + at.checked_sub(1).map_or(0.0, |before| row[before]))
            };
            row = (0..=row.len()).map(next).collect();
        }
        row
    }
}

/// Adaptive average pooling to a grid of `size` cells; one cell is global pooling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptivePool {
    pub size: Pair,
}

impl Default for AdaptivePool {
    fn default() -> Self {
        Self { size: Pair::ONE }
    }
}

/// Adaptive average pooling of an image that is smaller than `size`, up to it; an axis that is longer stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolUpTo {
    pub size: Pair,
}

impl Default for PoolUpTo {
    fn default() -> Self {
        Self { size: Pair::ONE }
    }
}

/// Local response normalisation over `size` neighbouring channels, as PyTorch defines it: `alpha` is divided by
/// `size`, so the paper's sum with 1e-4 and five channels is `alpha` 5e-4 here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lrn {
    pub size: usize,
    pub alpha: f64,
    pub beta: f64,
    pub k: f64,
}

impl Default for Lrn {
    fn default() -> Self {
        Self { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

/// Fully connected layer of a vector or of each token, with `weight` (out, in) and `bias` (out).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Linear {
    pub out: usize,
    pub bias: bool,
}

impl Default for Linear {
    fn default() -> Self {
        Self { out: 0, bias: true }
    }
}

/// (C, H, W) to (C·H·W).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flatten {}

/// Sum of values of one shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Add {}

/// The mean of values of one shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Average {}

/// Every value times one constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Multiply {
    pub by: f64,
}

impl Default for Multiply {
    fn default() -> Self {
        Self { by: 1.0 }
    }
}

/// A constant scale and shift of each channel, which changes the normalisation of a network's input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Affine {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

/// The product of the first input and the second, a (C, 1, 1) gate: the end of squeeze-and-excite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {}

/// Concatenation of the channels of all images, or of tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Concat {}

/// Dropout of individual values, in training only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dropout {
    pub rate: f64,
}

/// Stochastic depth: dropout of a branch for whole images of the batch, in training only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DropPath {
    pub rate: f64,
}

/// An image of (C, H, W) as H·W tokens of C features, row by row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {}

/// Learned tokens, the same for every image: (1, tokens, width). The array has the name of the node, which has no
/// inputs. With a `grid`, they are position embeddings for one image size: those of tokens that are no patches come
/// first, then the grid, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedding {
    pub tokens: usize,
    pub width: usize,
    pub grid: Option<Pair>,
}

impl Default for Embedding {
    fn default() -> Self {
        Self { tokens: 1, width: 0, grid: None }
    }
}

/// Scaled dot-product attention. Its input holds queries, keys and values of every token side by side (3·width), each
/// divided evenly among `heads`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attention {
    pub heads: usize,
}

impl Default for Attention {
    fn default() -> Self {
        Self { heads: 1 }
    }
}

/// Attention of every pixel of the first input to the pixels of the second and third: queries (heads·D, H, W), keys
/// (D, h, w) and values (V, h, w). Each head has queries of its own, but all share keys and values (Shazeer,
/// arXiv:1911.02150). The output is (heads·V, H, W).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultiQueryAttention {
    pub heads: usize,
}

impl Default for MultiQueryAttention {
    fn default() -> Self {
        Self { heads: 1 }
    }
}

/// Layer scale: each channel of an image times a learned factor, `gamma` (channels), initially near zero, which keeps the
/// branches of a deep network small at first (Touvron et al., arXiv:2103.17239).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LayerScale {}

/// One token as a vector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectToken {
    pub index: usize,
}

macro_rules! ops {
    ($($op:ident $text:literal,)*) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Op { $($op($op),)* }

        impl Op {
            /// Its name in a graph's text and in messages.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$op(_) => $text,)* }
            }
        }

        $(impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Self::$op(op)
            }
        })*
    };
}

ops! {
    Input "input",
    Conv "conv",
    Pad "pad",
    BatchNorm "batch_norm",
    GroupNorm "group_norm",
    LayerNorm "layer_norm",
    Activation "activation",
    Pool "pool",
    Blur "blur",
    AdaptivePool "adaptive_pool",
    PoolUpTo "pool_up_to",
    Lrn "lrn",
    Linear "linear",
    Flatten "flatten",
    Add "add",
    Average "average",
    Multiply "multiply",
    Affine "affine",
    Gate "gate",
    Concat "concat",
    Dropout "dropout",
    DropPath "drop_path",
    Tokens "tokens",
    Embedding "embedding",
    Attention "attention",
    MultiQueryAttention "multi_query_attention",
    LayerScale "layer_scale",
    SelectToken "select_token",
}

impl From<Function> for Op {
    fn from(function: Function) -> Self {
        Activation { function }.into()
    }
}
