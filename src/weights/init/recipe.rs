//! Recipes: the initialisation rules of the sources. Those of one family are in its file.

use super::rule::{Draw, Rule};
use crate::graph::pattern::fits_whole;
use crate::graph::{Parameter, Role};

/// The initialisation rules of a source. Norms start as the identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    pub conv: Rule,
    pub linear: Rule,
    pub bias: Rule,
    /// Learned tokens; position embeddings are always normal with standard deviation 0.02.
    pub embedding: Rule,
    /// Rules by name, in which `*` matches any text; the first match counts.
    pub exceptions: &'static [(&'static str, Rule)],
}

impl Recipe {
    /// The defaults of PyTorch's layers, as torchvision's AlexNet has them.
    pub const PYTORCH: Self = Self {
        conv: Rule::UniformIn,
        linear: Rule::UniformIn,
        bias: Rule::UniformIn,
        embedding: Rule::Normal(0.02),
        exceptions: &[],
    };

    /// The defaults of Keras's layers.
    pub const KERAS: Self =
        Self { conv: Rule::Glorot, linear: Rule::Glorot, bias: Rule::ZERO, ..Self::PYTORCH };

    /// Zeros, but for position embeddings: nothing is drawn where a file fills the parameters.
    pub const ZEROS: Self = Self {
        conv: Rule::ZERO,
        linear: Rule::ZERO,
        bias: Rule::ZERO,
        embedding: Rule::ZERO,
        exceptions: &[],
    };

    /// torchvision's and timm's VGG.
    pub const VGG: Self = Self {
        conv: Rule::NormalOut { gain: 2.0 },
        linear: Rule::Normal(0.01),
        bias: Rule::ZERO,
        ..Self::PYTORCH
    };

    /// torchvision's ResNet.
    pub const RESNET: Self = Self { conv: Rule::NormalOut { gain: 2.0 }, ..Self::PYTORCH };

    /// torchvision's MobileNet.
    pub const MOBILENET: Self = Self { linear: Rule::Normal(0.01), ..Self::EFFICIENTNET };

    /// torchvision's EfficientNet.
    pub const EFFICIENTNET: Self = Self {
        conv: Rule::NormalOut { gain: 2.0 },
        linear: Rule::UniformOut,
        bias: Rule::ZERO,
        ..Self::PYTORCH
    };

    /// timm's EfficientNet and MobileNets ("goog").
    pub const TIMM_EFFICIENTNET: Self =
        Self { conv: Rule::NormalOutOfGroup { gain: 2.0 }, ..Self::EFFICIENTNET };

    /// Initialises a new classifier like a linear layer of PyTorch. The rules of some sources make large logits where
    /// there are few classes.
    #[must_use]
    pub fn of_new_classifier(self) -> Self {
        Self { linear: Rule::UniformIn, bias: Rule::UniformIn, ..self }
    }

    /// The distribution of a parameter's initial values.
    pub fn draw(&self, parameter: &Parameter) -> Draw {
        let exception =
            self.exceptions.iter().find(|(pattern, _)| fits_whole(pattern, &parameter.name));
        let rule = match parameter.role {
            Role::RunningVariance => Rule::ONE,
            Role::RunningMean | Role::BatchCount => Rule::ZERO,
            _ if exception.is_some() => exception.map_or(Rule::ZERO, |(_, rule)| *rule),
            Role::NormScale => Rule::ONE,
            Role::NormShift => Rule::ZERO,
            Role::Embedding => self.embedding,
            Role::Position { .. } => Rule::Normal(0.02),
            Role::ConvWeight => self.conv,
            Role::LinearWeight => self.linear,
            Role::Bias { .. } => self.bias,
        };
        rule.draw(parameter)
    }
}
