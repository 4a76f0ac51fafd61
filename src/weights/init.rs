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
    /// torchvision's ViT: patches normal with variance 1 / fan-in, joined projections and MLPs uniform with variance
    /// 2 / (fan-in + fan-out), output projections as PyTorch's `Linear`, class token and classifier zero.
    TorchvisionVit,
    /// timm's ViT: patches as PyTorch's `Conv2d`, linear layers and positions normal with deviation 0.02.
    TimmVit,
    /// PyTorch's own layers, as torchvision's AlexNet leaves them: uniform within 1 / √fan-in, biases too.
    PyTorch,
    /// Krizhevsky, Sutskever and Hinton (2012), section 5: normal with deviation 0.01; biases 1 in `conv2`, `conv4`,
    /// `conv5` and the hidden layers `fc6` and `fc7`, else 0.
    AlexNet2012,
    /// torchvision's and timm's VGG: convolutions normal with variance 2 / fan-out, linear layers with deviation 0.01,
    /// biases zero.
    TorchvisionVgg,
    /// torchvision's and timm's DenseNet: convolutions normal with variance 2 / fan-in, biases zero.
    TorchvisionDenseNet,
    /// Keras's layers: uniform with variance 2 / (fan-in + fan-out) (Glorot), biases zero.
    Keras,
}

impl Recipe {
    pub fn draw(self, parameter: &Parameter) -> Draw {
        let shape = &parameter.shape;
        match parameter.role {
            Role::NormScale | Role::RunningVariance => Draw::Constant(1.0),
            Role::NormShift | Role::RunningMean | Role::BatchCount => Draw::Constant(0.0),
            Role::Embedding => match self {
                Self::TorchvisionVit => Draw::Constant(0.0),
                Self::TimmVit if parameter.name == "cls_token" => Draw::Normal(1e-6),
                _ => Draw::Normal(0.02),
            },
            Role::Position { .. } => Draw::Normal(0.02),
            Role::ConvWeight => {
                let window = shape[2] * shape[3];
                let (fan_in, fan_out) = (shape[1] * window, shape[0] * window);
                match self {
                    Self::TorchvisionResNet
                    | Self::TorchvisionEfficientNet
                    | Self::TorchvisionVgg => kaiming(fan_out),
                    Self::TimmEfficientNet => kaiming(fan_out / parameter.groups),
                    // torchvision cuts the bell at ±2, which is far outside of it; timm too, below.
                    Self::TorchvisionVit => Draw::Normal((1.0 / fan_in as f64).sqrt()),
                    Self::TimmVit | Self::PyTorch => pytorch_uniform(fan_in),
                    Self::TorchvisionDenseNet => kaiming(fan_in),
                    Self::AlexNet2012 => Draw::Normal(0.01),
                    // Keras keeps a depthwise kernel as (height, width, channels, multiplier).
                    Self::Keras if parameter.groups > 1 && shape[1] == 1 => {
                        glorot(parameter.groups * window, fan_out / parameter.groups)
                    }
                    Self::Keras => glorot(fan_in, fan_out),
                }
            }
            Role::LinearWeight => match self {
                Self::TorchvisionResNet | Self::TorchvisionDenseNet | Self::PyTorch => pytorch_uniform(shape[1]),
                Self::TorchvisionVit if parameter.name.starts_with("heads.") => Draw::Constant(0.0),
                Self::TorchvisionVit if parameter.name.ends_with("out_proj.weight") => {
                    pytorch_uniform(shape[1])
                }
                Self::TimmVit => Draw::Normal(0.02),
                Self::AlexNet2012 | Self::TorchvisionVgg => Draw::Normal(0.01),
                Self::TorchvisionVit | Self::Keras => glorot(shape[1], shape[0]),
                Self::TorchvisionEfficientNet | Self::TimmEfficientNet => {
                    Draw::Uniform(1.0 / (shape[0] as f64).sqrt())
                }
            },
            Role::Bias { fan_in } => match self {
                Self::TorchvisionResNet | Self::PyTorch => pytorch_uniform(fan_in),
                Self::TorchvisionVit if parameter.name.contains(".mlp.") => Draw::Normal(1e-6),
                Self::TimmVit if parameter.name == "patch_embed.proj.bias" => {
                    pytorch_uniform(fan_in)
                }
                Self::AlexNet2012 => {
                    let ones = ["conv2.bias", "conv4.bias", "conv5.bias", "fc6.bias", "fc7.bias"];
                    let one = ones.contains(&parameter.name.as_str());
                    Draw::Constant(if one { 1.0 } else { 0.0 })
                }
                Self::TorchvisionEfficientNet
                | Self::TimmEfficientNet
                | Self::TorchvisionVit
                | Self::TimmVit
                | Self::TorchvisionVgg
                | Self::TorchvisionDenseNet
                | Self::Keras => Draw::Constant(0.0),
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

/// Fills one parameter, `values` in row-major order.
pub fn fill(values: &mut [f32], draw: Draw, seed: u64, name: &str) {
    match draw {
        Draw::Constant(constant) => values.fill(constant),
        Draw::Normal(deviation) => {
            let (deviation, mut random) = (deviation as f32, generator(seed, name));
            values.fill_with(|| deviation * random.sample::<f32, _>(StandardNormal));
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
