//! Naming schemes: the names of parameters in a file, and the model's names for them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::translate::Counterpart;

/// A way to name the parameters of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The model's own names.
    Own,
    /// `efficientnet-lite-pytorch` (`_blocks.3._expand_conv.weight`): blocks are counted through all stages.
    EfficientNetLitePytorch,
    /// The names of another source of the same network.
    Other(Translation),
    /// Names with a dot where DenseNet's are numbered now (`denselayer1.norm.1.weight`), from before PyTorch forbade
    /// dots in the names of modules. torchvision's published weights still have them.
    LegacyDenseNet(Box<Self>),
}

/// A source's names for the parameters of a network that another source defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    pub source: String,
    /// Counterparts by the model's own name.
    pub counterparts: HashMap<String, Counterpart>,
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::EfficientNetLitePytorch => "efficientnet-lite-pytorch",
            Self::Other(translation) => &translation.source,
            Self::LegacyDenseNet(naming) => return write!(f, "{naming} (legacy DenseNet)"),
        })
    }
}

impl Naming {
    /// The same naming in the variant that `keys` use.
    #[must_use]
    pub fn spelled_as(self, keys: &HashSet<&str>) -> Self {
        if keys.iter().any(|key| undotted(key).is_some()) {
            Self::LegacyDenseNet(Box::new(self))
        } else {
            self
        }
    }

    /// The name in this naming of the model's parameter `own`. `order` has all of the model's parameters in the order
    /// of the state dict, from which running block numbers follow.
    pub fn foreign(&self, own: &str, order: &[&str]) -> String {
        match self {
            Self::Own => own.to_owned(),
            Self::EfficientNetLitePytorch => lite(own, order),
            Self::Other(translation) => {
                translation.counterparts.get(own).map_or(own, |other| &other.name).to_owned()
            }
            Self::LegacyDenseNet(naming) => {
                let name = naming.foreign(own, order);
                dotted(&name).unwrap_or(name)
            }
        }
    }

    /// Whether an array of `shape` holds the values of a parameter of shape `wanted`, in their order. Another source
    /// may have a 1×1 convolution, or one as large as the image, in place of a linear layer.
    pub fn fits(&self, shape: &[usize], wanted: &[usize]) -> bool {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        match self {
            Self::Own | Self::EfficientNetLitePytorch => shape == wanted,
            Self::Other(_) => {
                shape == wanted
                    || (shape.first() == wanted.first() && elements(shape) == elements(wanted))
            }
            Self::LegacyDenseNet(naming) => naming.fits(shape, wanted),
        }
    }
}

/// The layers of which a dense layer has two.
const PAIRED: [&str; 3] = ["norm", "relu", "conv"];

/// `…denselayer3.norm1.weight` → `…denselayer3.norm.1.weight`.
fn dotted(name: &str) -> Option<String> {
    let (path, part) = split_dense_layer(name)?;
    PAIRED.iter().find_map(|kind| {
        let rest = part.strip_prefix(kind)?;
        (rest.starts_with("1.") || rest.starts_with("2.")).then(|| format!("{path}{kind}.{rest}"))
    })
}

/// `…denselayer3.norm.1.weight` → `…denselayer3.norm1.weight`.
fn undotted(name: &str) -> Option<String> {
    let (path, part) = split_dense_layer(name)?;
    PAIRED.iter().find_map(|kind| {
        let rest = part.strip_prefix(kind)?.strip_prefix('.')?;
        (rest.starts_with("1.") || rest.starts_with("2.")).then(|| format!("{path}{kind}{rest}"))
    })
}

/// `…denselayer3.norm1.weight` → (`…denselayer3.`, `norm1.weight`).
fn split_dense_layer(name: &str) -> Option<(&str, &str)> {
    let cut = name.find("denselayer")? + "denselayer".len();
    let digits = name[cut..].find(|c: char| !c.is_ascii_digit()).filter(|&digits| digits > 0)?;
    let cut = cut + digits + 1;
    (name.as_bytes().get(cut - 1) == Some(&b'.')).then(|| name.split_at(cut))
}

/// `blocks.2.0.conv_pw.weight` → `_blocks.3._expand_conv.weight`.
fn lite(own: &str, order: &[&str]) -> String {
    let Some((block, layer)) = split_block(own) else {
        let (layer, array) = own.split_once('.').unwrap_or((own, ""));
        let layer = match layer {
            "conv_stem" => "_conv_stem",
            "bn1" => "_bn0",
            "conv_head" => "_conv_head",
            "bn2" => "_bn1",
            "classifier" => "_fc",
            other => other,
        };
        return format!("{layer}.{array}");
    };
    let mut blocks: Vec<&str> =
        order.iter().filter_map(|name| Some(split_block(name)?.0)).collect();
    blocks.dedup();
    let index = blocks.iter().position(|&other| other == block).unwrap_or(blocks.len());
    let expands = order
        .iter()
        .any(|name| split_block(name).is_some_and(|(b, l)| b == block && l.starts_with("bn3.")));
    let (layer, array) = layer.split_once('.').unwrap_or((layer, ""));
    let layer = match (layer, expands) {
        ("conv_pw", true) => "_expand_conv",
        ("bn1", true) => "_bn0",
        ("conv_dw", _) => "_depthwise_conv",
        ("bn2", true) | ("bn1", false) => "_bn1",
        ("conv_pwl", _) | ("conv_pw", false) => "_project_conv",
        ("bn3", _) | ("bn2", false) => "_bn2",
        (other, _) => other,
    };
    format!("_blocks.{index}.{layer}.{array}")
}

/// `blocks.2.0.conv_pw.weight` → (`blocks.2.0`, `conv_pw.weight`).
fn split_block(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix("blocks.")?;
    let (stage, _) = rest.match_indices('.').nth(1)?;
    let cut = "blocks.".len() + stage;
    Some((&name[..cut], &name[cut + 1..]))
}
