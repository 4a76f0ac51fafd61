//! Which algorithm a convolution gets. It depends on its channels and the size of the image, never on the batch, so that
//! an image has the same result in every batch.

use super::super::kernel::Tile;
use super::super::layout::{Layout, Window};
use crate::graph::op::Pair;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Direct,
    Winograd(Tile),
}

/// The conditions for a convolution to get a tile.
struct Rule {
    /// The sides of the window, which moves by so many pixels.
    kernel: (usize, usize),
    stride: usize,
    /// The fewest and the most input channels.
    inputs: (usize, usize),
    /// The least product of input and output channels.
    weights: usize,
    /// The shorter side of the output at least.
    side: usize,
    tile: Tile,
}

const ANY: usize = usize::MAX;

/// The first rule that fits decides; where none fits, the convolution is direct.
const RULES: [Rule; 10] = [
    // It takes a sixth less time than 4×4 at 112 pixels. The root of its mean square error is four times as large, and its
    // largest error, relative to the largest output, 8e-6 with 64 channels and 2.4e-5 with 512.
    rule((3, 3), (32, 128), 64 * 64, 112, Tile::square(6, 3)),
    rule((3, 3), (16, ANY), 32 * 32, 9, Tile::square(4, 3)),
    // The weights of larger tiles are more than an image of that size makes good.
    rule((3, 3), (64, ANY), 64 * 64, 4, Tile::square(2, 3)),
    rule((5, 5), (16, ANY), 32 * 32, 9, Tile::square(4, 5)),
    rule((1, 3), (64, ANY), 64 * 64, 4, Tile::row(4, 3)),
    rule((3, 1), (64, ANY), 64 * 64, 4, Tile::row(4, 3).turned()),
    rule((1, 7), (32, ANY), 64 * 64, 4, Tile::row(4, 7)),
    rule((7, 1), (32, ANY), 64 * 64, 4, Tile::row(4, 7).turned()),
    // The first convolutions of ResNet and of AlexNet, whose strides become channels. For 3×3 with stride 2, four times
    // the channels, most of whose weights are zeros, cost more than they save.
    Rule { stride: 2, ..rule((7, 7), (1, 4), 1, 32, Tile::square(5, 4)) },
    Rule { stride: 4, ..rule((11, 11), (1, 4), 1, 32, Tile::square(4, 3)) },
];

const fn rule(
    kernel: (usize, usize),
    inputs: (usize, usize),
    weights: usize,
    side: usize,
    tile: Tile,
) -> Rule {
    Rule { kernel, stride: 1, inputs, weights, side, tile }
}

/// The algorithm for a convolution with so many groups.
pub(super) fn algorithm(
    window: &Window,
    groups: usize,
    input: &Layout,
    output: &Layout,
) -> Algorithm {
    if groups != 1 || window.dilation != Pair::ONE {
        return Algorithm::Direct;
    }
    let side = output.height.min(output.width);
    let weights = input.channels * output.channels;
    let rule = RULES.iter().find(|rule| {
        let (fewest, most) = rule.inputs;
        (window.kernel.height, window.kernel.width) == rule.kernel
            && window.stride == rule.stride.into()
            && (fewest..=most).contains(&input.channels)
            && weights >= rule.weights
            && side >= rule.side
    });
    rule.map_or(Algorithm::Direct, |rule| Algorithm::Winograd(rule.tile))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::Padding;

    /// The tile for a window with a border of zeros, on an image of so many pixels a side.
    fn chosen(
        (inputs, outputs, side): (usize, usize, usize),
        (kernel, stride): ((usize, usize), usize),
        groups: usize,
    ) -> Option<Tile> {
        let (height, width) = kernel;
        let window = Window::new(
            (Pair { height, width }, stride.into(), Pair::ONE),
            Padding::Both(Pair { height: height / 2, width: width / 2 }),
            (side, side),
        );
        let layout = |side, channels| Layout::dense(side, side, channels);
        match algorithm(&window, groups, &layout(side, inputs), &layout(side / stride, outputs)) {
            Algorithm::Winograd(tile) => Some(tile),
            Algorithm::Direct => None,
        }
    }

    #[test]
    fn channels_and_size_decide() {
        let three = |size, groups| chosen(size, ((3, 3), 1), groups);
        assert_eq!(three((64, 64, 56), 1), Some(Tile::square(4, 3)));
        assert_eq!(three((64, 128, 112), 1), Some(Tile::square(6, 3)));
        assert_eq!(three((256, 256, 112), 1), Some(Tile::square(4, 3)));
        assert_eq!(three((512, 512, 7), 1), Some(Tile::square(2, 3)));
        assert_eq!(three((3, 64, 224), 1), None);
        assert_eq!(three((64, 64, 56), 32), None);
        assert_eq!(three((512, 512, 1), 1), None);
    }

    #[test]
    fn window_and_stride_decide() {
        assert_eq!(chosen((64, 192, 27), ((5, 5), 1), 1), Some(Tile::square(4, 5)));
        assert_eq!(chosen((128, 128, 17), ((1, 7), 1), 1), Some(Tile::row(4, 7)));
        assert_eq!(chosen((128, 128, 17), ((7, 1), 1), 1), Some(Tile::row(4, 7).turned()));
        assert_eq!(chosen((3, 64, 224), ((7, 7), 2), 1), Some(Tile::square(5, 4)));
        assert_eq!(chosen((3, 64, 224), ((11, 11), 4), 1), Some(Tile::square(4, 3)));
        assert_eq!(chosen((64, 128, 56), ((3, 3), 2), 1), None);
        assert_eq!(chosen((64, 192, 27), ((5, 5), 2), 1), None);
        assert_eq!(chosen((3, 64, 224), ((7, 7), 1), 1), None);
    }
}
