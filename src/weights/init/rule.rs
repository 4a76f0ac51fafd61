//! Rules of initialisation: the distribution for a layer of a given size.

use crate::graph::{Parameter, Role};

/// A distribution of initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Truncated normal: values beyond two standard deviations are drawn again. The deviation is that before
    /// truncation.
    CutNormal(f64),
    /// Uniform between minus and plus this bound.
    Uniform(f64),
}

/// Initialisation rules: the distribution for a layer of a given size. Fans are those of PyTorch: the channels of a
/// convolution's group that an output reads, or those that a group writes times the number of groups, each times the
/// window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Constant(f32),
    Normal(f64),
    /// Normal with variance `gain` / fan-in.
    NormalIn {
        gain: f64,
    },
    /// Normal with variance `gain` / fan-out.
    NormalOut {
        gain: f64,
    },
    /// Normal with variance `gain` / (fan-out / groups).
    NormalOutOfGroup {
        gain: f64,
    },
    /// The same, truncated at two standard deviations.
    CutNormalOutOfGroup {
        gain: f64,
    },
    /// Uniform within 1 / √fan-in: the default of `torch.nn.Linear` and `torch.nn.Conv2d`.
    UniformIn,
    /// He uniform: variance 2 / fan-in.
    HeUniform,
    /// Uniform within 1 / √fan-out.
    UniformOut,
    /// Glorot uniform: variance 2 / (fan-in + fan-out), where a depthwise convolution has as many inputs as channels
    /// and as many outputs as its multiplier, because of the layout of its kernel in Keras.
    Glorot,
}

impl Rule {
    pub const ZERO: Self = Self::Constant(0.0);
    pub const ONE: Self = Self::Constant(1.0);

    pub(super) fn draw(self, parameter: &Parameter) -> Draw {
        let (fan_in, fan_out) = fans(parameter);
        let deviation = |gain: f64, fan: usize| (gain / fan as f64).sqrt();
        let groups = parameter.groups;
        match self {
            Self::Constant(value) => Draw::Constant(value),
            Self::Normal(deviation) => Draw::Normal(deviation),
            Self::NormalIn { gain } => Draw::Normal(deviation(gain, fan_in)),
            Self::NormalOut { gain } => Draw::Normal(deviation(gain, fan_out)),
            Self::NormalOutOfGroup { gain } => Draw::Normal(deviation(gain, fan_out / groups)),
            Self::CutNormalOutOfGroup { gain } => {
                Draw::CutNormal(deviation(gain, fan_out / groups))
            }
            Self::UniformIn => Draw::Uniform(deviation(1.0, fan_in)),
            Self::HeUniform => Draw::Uniform(deviation(6.0, fan_in)),
            Self::UniformOut => Draw::Uniform(deviation(1.0, fan_out)),
            Self::Glorot => {
                let depthwise = groups > 1 && parameter.shape[1] == 1;
                let sum =
                    if depthwise { groups * fan_in + fan_out / groups } else { fan_in + fan_out };
                Draw::Uniform(deviation(6.0, sum))
            }
        }
    }
}

/// Fan-in and fan-out of a weight; a bias has the fan-in of its layer.
fn fans(parameter: &Parameter) -> (usize, usize) {
    let shape = &parameter.shape;
    match parameter.role {
        Role::ConvWeight => {
            let window = shape[2] * shape[3];
            (shape[1] * window, shape[0] * window)
        }
        Role::LinearWeight => (shape[1], shape[0]),
        Role::Bias { fan_in } => (fan_in, shape[0]),
        Role::NormScale
        | Role::NormShift
        | Role::Embedding
        | Role::Position { .. }
        | Role::RunningMean
        | Role::RunningVariance
        | Role::BatchCount => (1, 1),
    }
}
