//! The operations that a graph is made of, each a struct of named fields. `Op` is the one enum over them:
//! every interpreter matches it without a `_` arm.

use serde::{Deserialize, Serialize};

/// Height and width of a window, a step or a border. Written as one number when both are equal.
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

impl Pair {
    pub const ONE: Self = Self { height: 1, width: 1 };

    /// As libtorch takes it: height first.
    pub fn sizes(self) -> [i64; 2] {
        [self.height as i64, self.width as i64]
    }
}

/// What surrounds an image before a window slides over it.
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

/// Batch normalisation; `momentum` is the share of the new batch in the running statistics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchNorm {
    pub eps: f64,
    pub momentum: f64,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1 }
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

/// Pooling in a sliding window. `ceil` lets a last window hang over the border; `count_padding` counts the zeros
/// of the border in an average.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    pub kind: PoolKind,
    pub kernel: Pair,
    pub stride: Pair,
    pub padding: Pair,
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

/// Average over a grid of `size` cells, whatever the image's size; one cell is global pooling.
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

/// Fully connected layer, with `weight` (out, in) and `bias` (out).
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

/// The first input times the second, a (C, 1, 1) gate: the end of squeeze-and-excite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scale {}

/// Channels of all inputs, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Concat {}

/// Dropout of single values, in training only.
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

macro_rules! ops {
    ($($op:ident $text:literal,)*) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Op { $($op($op),)* }

        impl Op {
            /// The word for it in a graph's text and in messages.
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
    BatchNorm "batch_norm",
    Activation "activation",
    Pool "pool",
    AdaptivePool "adaptive_pool",
    Lrn "lrn",
    Linear "linear",
    Flatten "flatten",
    Add "add",
    Scale "scale",
    Concat "concat",
    Dropout "dropout",
    DropPath "drop_path",
}

impl From<Function> for Op {
    fn from(function: Function) -> Self {
        Activation { function }.into()
    }
}
