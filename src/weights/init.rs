//! How parameters start: the recipe of each source, seeded by (seed, parameter name), so that a parameter's values
//! depend neither on the order of the others nor on the number of threads.

use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::graph::{Parameter, Role};

/// From what a value is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    Constant(f32),
    /// Mean 0 and this standard deviation.
    Normal(f64),
    /// Between minus and plus this bound.
    Uniform(f64),
    /// Mean 0 and this standard deviation after values beyond two deviations of the uncut bell were drawn again.
    TruncatedNormal(f64),
}

/// Whose rules the parameters of a new model follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// torchvision's ResNet: convolutions normal with variance 2 / fan-out, the classifier as PyTorch's `Linear`.
    TorchvisionResNet,
    /// torchvision's EfficientNet: the same convolutions, classifier uniform within 1 / √out, biases zero.
    TorchvisionEfficientNet,
    /// timm's EfficientNet ("goog"): as torchvision's, but the fan-out of a grouped convolution is per group.
    TimmEfficientNet,
    /// torchvision's MobileNet: convolutions as its EfficientNet, linear layers normal(0, 0.01), biases zero.
    TorchvisionMobileNet,
    /// Keras's layers: uniform with variance 2 / (fan-in + fan-out) (Glorot), biases zero.
    Keras,
    /// Keras's EfficientNet: as timm's, with convolutions from a truncated normal.
    KerasEfficientNet,
}

impl Recipe {
    pub fn draw(self, parameter: &Parameter) -> Draw {
        let shape = &parameter.shape;
        match parameter.role {
            Role::NormScale | Role::RunningVariance => Draw::Constant(1.0),
            Role::NormShift | Role::RunningMean | Role::BatchCount => Draw::Constant(0.0),
            Role::Embedding => Draw::Normal(0.02),
            Role::ConvWeight => {
                let window = shape[2] * shape[3];
                let (fan_in, fan_out) = (shape[1] * window, shape[0] * window);
                match self {
                    Self::TorchvisionResNet
                    | Self::TorchvisionEfficientNet
                    | Self::TorchvisionMobileNet => kaiming(fan_out),
                    Self::TimmEfficientNet => kaiming(fan_out / parameter.groups),
                    Self::KerasEfficientNet => {
                        let variance = 2.0 / (fan_out / parameter.groups) as f64;
                        Draw::TruncatedNormal(variance.sqrt())
                    }
                    // Keras keeps a depthwise kernel as (height, width, channels, multiplier).
                    Self::Keras if parameter.groups > 1 && shape[1] == 1 => {
                        glorot(parameter.groups * window, fan_out / parameter.groups)
                    }
                    Self::Keras => glorot(fan_in, fan_out),
                }
            }
            Role::LinearWeight => match self {
                Self::TorchvisionResNet => pytorch_uniform(shape[1]),
                Self::TorchvisionMobileNet => Draw::Normal(0.01),
                Self::Keras => glorot(shape[1], shape[0]),
                Self::TorchvisionEfficientNet
                | Self::TimmEfficientNet
                | Self::KerasEfficientNet => Draw::Uniform(1.0 / (shape[0] as f64).sqrt()),
            },
            Role::Bias { fan_in } => match self {
                Self::TorchvisionResNet => pytorch_uniform(fan_in),
                Self::TorchvisionEfficientNet
                | Self::TimmEfficientNet
                | Self::TorchvisionMobileNet
                | Self::Keras
                | Self::KerasEfficientNet => Draw::Constant(0.0),
            },
        }
    }
}

/// Normal with variance 2 / fan.
fn kaiming(fan: usize) -> Draw {
    Draw::Normal((2.0 / fan as f64).sqrt())
}

/// Uniform with variance 2 / (fan-in + fan-out).
fn glorot(fan_in: usize, fan_out: usize) -> Draw {
    Draw::Uniform((6.0 / (fan_in + fan_out) as f64).sqrt())
}

/// What `torch.nn.Linear` and `torch.nn.Conv2d` start with: kaiming uniform with a = √5, which is this bound.
fn pytorch_uniform(fan_in: usize) -> Draw {
    Draw::Uniform(1.0 / (fan_in as f64).sqrt())
}

/// What is left of a bell's standard deviation when it is cut at two of them.
const CUT_DEVIATION: f64 = 0.879_625_661_034_239_8;

/// Fills one parameter, `values` in row-major order.
pub fn fill(values: &mut [f32], draw: Draw, seed: u64, name: &str) {
    match draw {
        Draw::Constant(constant) => values.fill(constant),
        Draw::Normal(deviation) => {
            let (deviation, mut random) = (deviation as f32, generator(seed, name));
            values.fill_with(|| deviation * random.sample::<f32, _>(StandardNormal));
        }
        Draw::TruncatedNormal(deviation) => {
            let (deviation, mut random) =
                ((deviation / CUT_DEVIATION) as f32, generator(seed, name));
            values.fill_with(|| {
                loop {
                    let value = random.sample::<f32, _>(StandardNormal);
                    if value.abs() <= 2.0 {
                        return deviation * value;
                    }
                }
            });
        }
        Draw::Uniform(bound) => {
            let (bound, mut random) = (bound as f32, generator(seed, name));
            values.fill_with(|| bound * (2.0 * random.random::<f32>() - 1.0));
        }
    }
}

fn generator(seed: u64, name: &str) -> Xoshiro256PlusPlus {
    // FNV-1a: part of the format of a seed, so it must not change with the standard library's hasher.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Xoshiro256PlusPlus::seed_from_u64(seed ^ hash)
}
