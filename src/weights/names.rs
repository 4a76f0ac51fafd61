//! Whose names a file carries, and what a model calls the same parameters.

use std::fmt;

/// A way to name the parameters of one network, other than the model's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The names that the model itself uses.
    Own,
    /// `efficientnet-lite-pytorch` (`_blocks.3._expand_conv.weight`): blocks are counted through all stages.
    EfficientNetLitePytorch,
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::EfficientNetLitePytorch => "efficientnet-lite-pytorch",
        })
    }
}

impl Naming {
    /// Tells the naming from the keys of a file.
    pub fn recognise<'a>(mut keys: impl Iterator<Item = &'a str>) -> Self {
        if keys.any(|key| key.starts_with("_blocks.")) {
            Self::EfficientNetLitePytorch
        } else {
            Self::Own
        }
    }

    /// What a file with this naming calls the model's parameter `own`. `order` are all of the model's parameters in
    /// checkpoint order, from which running block numbers follow.
    pub fn foreign(self, own: &str, order: &[&str]) -> String {
        match self {
            Self::Own => own.to_owned(),
            Self::EfficientNetLitePytorch => lite(own, order),
        }
    }
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
