//! The table of recipes: each source's initialisation of the parameters of each of its families.

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

const ZERO: Rule = Rule::Constant(0.0);
const ONE: Rule = Rule::Constant(1.0);

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
        Self { conv: Rule::Glorot, linear: Rule::Glorot, bias: ZERO, ..Self::PYTORCH };

    /// Krizhevsky, Sutskever and Hinton (2012), section 5.
    pub const ALEXNET_2012: Self = Self {
        conv: Rule::Normal(0.01),
        linear: Rule::Normal(0.01),
        bias: ZERO,
        exceptions: &[
            ("conv2.bias", ONE),
            ("conv4.bias", ONE),
            ("conv5.bias", ONE),
            ("fc6.bias", ONE),
            ("fc7.bias", ONE),
        ],
        ..Self::PYTORCH
    };

    /// torchvision's and timm's VGG.
    pub const VGG: Self = Self {
        conv: Rule::NormalOut { gain: 2.0 },
        linear: Rule::Normal(0.01),
        bias: ZERO,
        ..Self::PYTORCH
    };

    /// torchvision's GoogLeNet. It truncates the normal distribution at ±2, which is far in its tails.
    pub const GOOGLENET: Self =
        Self { conv: Rule::Normal(0.01), linear: Rule::Normal(0.01), ..Self::PYTORCH };

    /// torchvision's and timm's Inception v3.
    pub const INCEPTION: Self = Self {
        conv: Rule::Normal(0.1),
        linear: Rule::Normal(0.1),
        exceptions: &[("AuxLogits.fc.weight", Rule::Normal(0.001))],
        ..Self::PYTORCH
    };

    /// The paper of GoogLeNet names no rule; without norms, this one keeps the scale of activations.
    pub const GOOGLENET_2014: Self = Self {
        conv: Rule::NormalIn { gain: 2.0 },
        linear: Rule::NormalIn { gain: 2.0 },
        bias: ZERO,
        ..Self::PYTORCH
    };

    /// torchvision's ResNet.
    pub const RESNET: Self = Self { conv: Rule::NormalOut { gain: 2.0 }, ..Self::PYTORCH };

    /// He, Zhang, Ren, Sun (2015), who initialise all weights as in their arXiv:1502.01852.
    pub const RESNET_2015: Self = Self {
        conv: Rule::NormalIn { gain: 2.0 },
        linear: Rule::NormalIn { gain: 2.0 },
        bias: ZERO,
        ..Self::PYTORCH
    };

    /// timm's ResNet of basic blocks: every block starts as its shortcut.
    pub const TIMM_RESNET_BASIC: Self =
        Self { exceptions: &[("layer*.bn2.weight", ZERO)], ..Self::RESNET };

    /// timm's ResNet of bottlenecks, likewise.
    pub const TIMM_RESNET_BOTTLENECK: Self =
        Self { exceptions: &[("layer*.bn3.weight", ZERO)], ..Self::RESNET };

    /// timm's ResNet-v2, whose blocks do not end in a norm.
    pub const TIMM_RESNET_V2: Self =
        Self { exceptions: &[("head.fc.weight", Rule::Normal(0.01))], ..Self::VGG };

    /// torchvision's and timm's DenseNet.
    pub const DENSENET: Self =
        Self { conv: Rule::NormalIn { gain: 2.0 }, bias: ZERO, ..Self::PYTORCH };

    /// torchvision's SqueezeNet.
    pub const SQUEEZENET: Self = Self {
        conv: Rule::HeUniform,
        bias: ZERO,
        exceptions: &[("classifier.1.weight", Rule::Normal(0.01))],
        ..Self::PYTORCH
    };

    /// torchvision's MobileNet.
    pub const MOBILENET: Self = Self { linear: Rule::Normal(0.01), ..Self::EFFICIENTNET };

    /// torchvision's EfficientNet.
    pub const EFFICIENTNET: Self = Self {
        conv: Rule::NormalOut { gain: 2.0 },
        linear: Rule::UniformOut,
        bias: ZERO,
        ..Self::PYTORCH
    };

    /// timm's EfficientNet and MobileNets ("goog").
    pub const TIMM_EFFICIENTNET: Self =
        Self { conv: Rule::NormalOutOfGroup { gain: 2.0 }, ..Self::EFFICIENTNET };

    /// Keras's EfficientNet. Its truncated normal has variance 2 / fan-out after truncation; before, 1 /
    /// 0.8796256610342398² times as much. Fans are those of its layout, in which a depthwise kernel has one output.
    pub const KERAS_EFFICIENTNET: Self = Self {
        conv: Rule::CutNormalOutOfGroup {
            gain: 2.0 / (0.879_625_661_034_239_8 * 0.879_625_661_034_239_8),
        },
        ..Self::EFFICIENTNET
    };

    /// timm's MobileNetV4.
    pub const TIMM_MOBILENET_V4: Self = Self {
        exceptions: &[
            ("*.gamma", Rule::Constant(1e-5)),
            ("*.attn.*.proj.weight", Rule::Glorot),
            ("*.attn.*.down_conv.weight", Rule::Glorot),
        ],
        ..Self::TIMM_EFFICIENTNET
    };

    /// torchvision's ViT. It truncates the patch embedding's normal distribution at ±2, which is far in its tails.
    pub const VIT: Self = Self {
        conv: Rule::NormalIn { gain: 1.0 },
        linear: Rule::Glorot,
        bias: ZERO,
        embedding: ZERO,
        exceptions: &[
            ("heads.*", ZERO),
            ("*.out_proj.weight", Rule::UniformIn),
            ("*.mlp.*.bias", Rule::Normal(1e-6)),
        ],
    };

    /// timm's ViT.
    pub const TIMM_VIT: Self = Self {
        linear: Rule::Normal(0.02),
        bias: ZERO,
        exceptions: &[
            ("cls_token", Rule::Normal(1e-6)),
            ("patch_embed.proj.bias", Rule::UniformIn),
        ],
        ..Self::PYTORCH
    };

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
            Role::RunningVariance => Rule::Constant(1.0),
            Role::RunningMean | Role::BatchCount => Rule::Constant(0.0),
            _ if exception.is_some() => exception.map_or(Rule::Constant(0.0), |(_, rule)| *rule),
            Role::NormScale => Rule::Constant(1.0),
            Role::NormShift => Rule::Constant(0.0),
            Role::Embedding => self.embedding,
            Role::Position { .. } => Rule::Normal(0.02),
            Role::ConvWeight => self.conv,
            Role::LinearWeight => self.linear,
            Role::Bias { .. } => self.bias,
        };
        rule.draw(parameter)
    }
}
