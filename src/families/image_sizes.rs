//! The sizes of images that a network takes, found by inferring shapes.

use super::{Edition, Options, Variant};
use crate::error::Error;
use crate::graph::{Graph, NodeId};

/// The square images that a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSizes {
    /// Whether a graph takes images of one size only, as with learned positions.
    pub fixed: bool,
    /// The smallest side in pixels; of a fixed size, the smallest that the network can be built for.
    pub min: usize,
    /// The same in training, where auxiliary classifiers run too.
    pub min_training: usize,
}

impl Variant {
    /// The sizes of images that the edition takes, whose `graph` this is with the default options.
    pub fn image_sizes(&self, edition: &Edition, graph: &Graph) -> ImageSizes {
        self.sizes(edition, graph, &Options::default())
    }

    /// The error of an `image_size` below the smallest.
    pub(super) fn too_small(&self, edition: &Edition, options: &Options) -> Option<Error> {
        let size = options.image_size?;
        let usual = Options { image_size: None, ..options.clone() };
        let graph = self.draw(edition, &usual).ok()?;
        let ImageSizes { min, min_training, .. } = self.sizes(edition, &graph, &usual);
        let expected = if min == min_training {
            format!("at least {min}")
        } else {
            format!("at least {min_training}, or {min} with aux=False")
        };
        (size < min_training).then(|| Error::Argument {
            at: format!("`image_size` of {}", self.name),
            expected,
            got: size.to_string(),
        })
    }

    fn sizes(&self, edition: &Edition, graph: &Graph, options: &Options) -> ImageSizes {
        let drawn = graph.input().height;
        let takes = |side, wanted: &[NodeId]| graph.shapes(side, side, wanted).is_ok();
        let output = [graph.output()];
        // Not the next size: a network that flattens an image takes all that its strides round to the same one.
        let fixed = !takes(2 * drawn, &output);
        let smallest = |wanted: &[NodeId]| {
            let accepts = |&side: &usize| {
                if !fixed {
                    return takes(side, wanted);
                }
                let options = Options { image_size: Some(side), ..options.clone() };
                self.draw(edition, &options).is_ok()
            };
            (1..drawn).find(accepts).unwrap_or(drawn)
        };
        ImageSizes { fixed, min: smallest(&output), min_training: smallest(&graph.heads()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, find};
    use super::*;

    fn sizes(name: &str, source: Source) -> ImageSizes {
        let (variant, edition) = find(name, Some(&source.to_string())).unwrap();
        let graph = variant.graph(edition, &Options::default()).unwrap();
        variant.image_sizes(edition, &graph)
    }

    #[test]
    fn sizes_follow_from_windows_positions_and_auxiliary_classifiers() {
        let any = ImageSizes { fixed: false, min: 1, min_training: 1 };
        assert_eq!(sizes("resnet18", Source::Torchvision), any);
        let inception = ImageSizes { min: 75, min_training: 299, ..any };
        assert_eq!(sizes("inception_v3", Source::Torchvision), inception);
        assert_eq!(
            sizes("inception_v3", Source::Keras),
            ImageSizes { min_training: 75, ..inception }
        );
        let patches = ImageSizes { fixed: true, min: 16, min_training: 16 };
        assert_eq!(sizes("vit_b_16", Source::Timm), patches);
        let flattened = ImageSizes { fixed: true, min: 32, min_training: 32 };
        assert_eq!(sizes("vgg16", Source::Keras), flattened);
    }
}
