//! Which algorithm a convolution gets: by a table of rules, or by what was measured. It depends on its channels and the size
//! of the image, never on the batch or the threads, so that an image has the same result in every batch.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::super::kernel::Tile;
use super::super::layout::{Layout, Window};
use super::super::quantize::Quantization;
use super::super::simd::{Element, Instructions};
use crate::engine::Precision;
use crate::error::{Error, Result};
use crate::graph::op::{Padding, Pair};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::infer) enum Algorithm {
    Direct,
    Winograd(Tile),
    /// For 1×1 pixel.
    Strassen,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Winograd(tile) => tile.fmt(f),
            Self::Strassen => f.write_str("Strassen"),
        }
    }
}

/// The accuracy of convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accuracy {
    /// Every algorithm is allowed.
    #[default]
    Fast,
    /// Only algorithms whose errors are about those of the direct convolution.
    High,
}

impl Accuracy {
    pub const NAMES: [&str; 2] = ["fast", "high"];

    /// Fails with `Error::Argument` on other names than `NAMES`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "fast" => Ok(Self::Fast),
            "high" => Ok(Self::High),
            _ => Err(Error::Argument {
                at: "accuracy".into(),
                expected: format!("one of {}", Self::NAMES.join(", ")),
                got: name.into(),
            }),
        }
    }

    pub fn name(self) -> &'static str {
        let [fast, high] = Self::NAMES;
        if self == Self::Fast { fast } else { high }
    }

    fn allows(self, algorithm: Algorithm) -> bool {
        /// The most times the error of the direct convolution that an algorithm of high accuracy has, in the root of the mean
        /// square.
        const MOST: f64 = 1.5;
        match (self, algorithm) {
            (Self::Fast, _) | (Self::High, Algorithm::Direct) => true,
            (Self::High, Algorithm::Winograd(tile)) => tile.times_direct() <= MOST,
            (Self::High, Algorithm::Strassen) => false,
        }
    }
}

/// A convolution, as far as the time of its algorithms depends on it. Sizes are heights and widths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layer {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
    /// Rows above and below the image, and columns left and right of it.
    pub padding: [usize; 4],
    pub in_channels: usize,
    pub out_channels: usize,
    pub image: [usize; 2],
}

/// The choices for the convolutions of a plan, and the instructions that it is for.
#[derive(Clone, Debug)]
pub struct Choices {
    pub instructions: Instructions,
    pub accuracy: Accuracy,
    pub precision: Precision,
    /// The ranges and layers of int8, if the network was quantized.
    pub quantization: Option<Arc<Quantization>>,
    /// Algorithms that were measured to be the fastest with these instructions.
    measured: HashMap<Layer, Algorithm>,
}

impl From<Instructions> for Choices {
    /// Those of the rules.
    fn from(instructions: Instructions) -> Self {
        let (accuracy, precision) = (Accuracy::default(), Precision::default());
        let measured = HashMap::new();
        Self { instructions, accuracy, precision, quantization: None, measured }
    }
}

impl Choices {
    /// Chooses an algorithm, of the names that `candidates` lists, for a layer. It is used where the accuracy allows it.
    ///
    /// Fails with `Error::Argument` where there is no such algorithm for the layer.
    pub fn choose(&mut self, layer: Layer, name: &str) -> Result<()> {
        let found = layer.candidates(Accuracy::Fast);
        let Some(&algorithm) = found.iter().find(|algorithm| algorithm.to_string() == name) else {
            return Err(Error::Argument {
                at: format!("the algorithm for {layer}"),
                expected: format!("one of {}", candidates(&layer).join("; ")),
                got: name.into(),
            });
        };
        self.set(layer, algorithm);
        Ok(())
    }

    pub(in crate::infer) fn set(&mut self, layer: Layer, algorithm: Algorithm) {
        self.measured.insert(layer, algorithm);
    }

    /// The same in another precision.
    #[must_use]
    pub fn with(&self, precision: Precision) -> Self {
        Self { precision, ..self.clone() }
    }

    /// The ranges and layers of int8, in that precision.
    pub(in crate::infer) fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_deref().filter(|_| self.precision == Precision::Int8)
    }

    /// Whether products are of pairs, by tiles.
    pub(in crate::infer) fn has_tiles_of_pairs(&self) -> bool {
        self.precision == Precision::BFloat16 && self.instructions.tiles().is_some()
    }

    /// Forgets what was measured.
    pub fn clear(&mut self) {
        self.measured.clear();
    }

    /// The algorithm of a layer, and the type of the factors of its products.
    pub(in crate::infer) fn algorithm(&self, layer: &Layer) -> (Algorithm, Element) {
        let within = layer.in_channels / layer.groups.max(1);
        if self.precision == Precision::BFloat16 {
            // Not of three channels: in trained networks, rounded images and weights of the first layer change the answer more than
            // all other layers together.
            if within.is_multiple_of(2) {
                if self.has_tiles_of_pairs() {
                    // They save more than Winograd's algorithm does.
                    return (Algorithm::Direct, Element::BFloat16);
                }
                return layer.by_rule_with_pairs(self.accuracy);
            }
        }
        let measured = self.measured.get(layer).copied();
        let allowed = measured.filter(|algorithm| self.accuracy.allows(*algorithm));
        (allowed.unwrap_or_else(|| layer.by_rule(self.accuracy)), Element::Float32)
    }
}

/// The names of all algorithms that there are for a layer.
pub fn candidates(layer: &Layer) -> Vec<String> {
    layer.candidates(Accuracy::Fast).iter().map(ToString::to_string).collect()
}

/// The conditions for a convolution to get a tile.
struct Rule {
    /// The sides of the window, which moves by so many pixels.
    kernel: [usize; 2],
    stride: usize,
    /// The fewest and the most input channels.
    inputs: (usize, usize),
    /// The least product of input and output channels.
    weights: usize,
    /// The shorter side of the output at least.
    side: usize,
    tile: Tile,
}

/// The most input channels of a convolution with a stride, which become as many times more, that may get a tile.
const FEW: usize = 4;

/// The fewest pixels of an image for Strassen's algorithm: fewer take less time than the weights.
const PIXELS: usize = 96;

const ANY: usize = usize::MAX;

/// The first rule that fits, and whose tile is accurate enough, decides; where there is none, the convolution is direct.
const RULES: [Rule; 10] = [
    // It takes a sixth less time than 4×4 at 112 pixels. The root of its mean square error is four times as large, and its
    // largest error, relative to the largest output, 8e-6 with 64 channels and 2.4e-5 with 512.
    rule([3, 3], (32, 128), 64 * 64, 112, Tile::square(6, 3)),
    rule([3, 3], (16, ANY), 32 * 32, 9, Tile::square(4, 3)),
    // The weights of larger tiles are more than an image of that size makes good.
    rule([3, 3], (64, ANY), 64 * 64, 4, Tile::square(2, 3)),
    rule([5, 5], (16, ANY), 32 * 32, 9, Tile::square(4, 5)),
    rule([1, 3], (64, ANY), 64 * 64, 4, Tile::row(4, 3)),
    rule([3, 1], (64, ANY), 64 * 64, 4, Tile::row(4, 3).turned()),
    rule([1, 7], (32, ANY), 64 * 64, 4, Tile::row(4, 7)),
    rule([7, 1], (32, ANY), 64 * 64, 4, Tile::row(4, 7).turned()),
    // The first convolutions of ResNet and of AlexNet, whose strides become channels. For 3×3 with stride 2, four times
    // the channels, most of whose weights are zeros, cost more than they save.
    Rule { stride: 2, ..rule([7, 7], (1, FEW), 1, 32, Tile::square(5, 4)) },
    Rule { stride: 4, ..rule([11, 11], (1, FEW), 1, 32, Tile::square(4, 3)) },
];

const fn rule(
    kernel: [usize; 2],
    inputs: (usize, usize),
    weights: usize,
    side: usize,
    tile: Tile,
) -> Rule {
    Rule { kernel, stride: 1, inputs, weights, side, tile }
}

impl Layer {
    pub(in crate::infer) fn new(
        window: &Window,
        groups: usize,
        input: &Layout,
        out_channels: usize,
    ) -> Self {
        let Window { kernel, stride, dilation, top, bottom, left, right } = *window;
        Self {
            kernel: [kernel.height, kernel.width],
            stride: [stride.height, stride.width],
            dilation: [dilation.height, dilation.width],
            groups,
            padding: [top, bottom, left, right],
            in_channels: input.channels,
            out_channels,
            image: [input.height, input.width],
        }
    }

    /// A convolution of 1×1 pixel, or a linear layer.
    pub(in crate::infer) fn pointwise(input: &Layout, out_channels: usize) -> Self {
        let size = (Pair::ONE, Pair::ONE, Pair::ONE);
        let window = Window::new(size, Padding::from(0), (input.height, input.width));
        Self::new(&window, 1, input, out_channels)
    }

    /// Height and width of the output; zeros where the window does not fit.
    fn output(&self) -> [usize; 2] {
        let [top, bottom, left, right] = self.padding;
        let border = [top.saturating_add(bottom), left.saturating_add(right)];
        std::array::from_fn(|axis| {
            let free = self.image[axis].saturating_add(border[axis]).checked_sub(self.kernel[axis]);
            free.map_or(0, |free| (free / self.stride[axis].max(1)).saturating_add(1))
        })
    }

    /// Whether there may be other algorithms than the direct one.
    fn is_plain(&self) -> bool {
        self.groups == 1 && self.dilation == [1, 1] && self.stride.iter().all(|&stride| stride > 0)
    }

    /// The algorithm of the rules.
    pub(in crate::infer) fn by_rule(&self, accuracy: Accuracy) -> Algorithm {
        let side = self.output().into_iter().min().unwrap_or(0);
        let weights = self.in_channels.saturating_mul(self.out_channels);
        let rule = RULES.iter().find(|rule| {
            let (fewest, most) = rule.inputs;
            self.is_plain()
                && self.kernel == rule.kernel
                && self.stride == [rule.stride; 2]
                && (fewest..=most).contains(&self.in_channels)
                && weights >= rule.weights
                && side >= rule.side
                && accuracy.allows(Algorithm::Winograd(rule.tile))
        });
        if let Some(rule) = rule {
            return Algorithm::Winograd(rule.tile);
        }
        // Smaller matrices gain nothing: resnet50's and mobilenet_v1's on 14×14 pixels take 0.95 to 1.07 times the time.
        let halves = self.halves_from(700, PIXELS) && accuracy.allows(Algorithm::Strassen);
        if halves { Algorithm::Strassen } else { Algorithm::Direct }
    }

    /// The algorithm of the rules where products may be of pairs of bfloat16 numbers, twice as many in the same time.
    fn by_rule_with_pairs(&self, accuracy: Accuracy) -> (Algorithm, Element) {
        /// The only tile whose transformed inputs and weights may be rounded to bfloat16: its errors are 1.6 times those of
        /// the direct convolution of pairs, too many for high accuracy.
        const PAIRS: Tile = Tile::square(2, 3);
        /// Pairs of channels from which its weights, a quarter of the memory of those of 4×4 outputs, take less time too.
        const MANY: usize = 128 * 128;
        /// Products of a tile that take less time in float32 than the direct convolution of pairs.
        const LEAST: usize = 17;
        let many = self.in_channels.saturating_mul(self.out_channels) >= MANY;
        match self.by_rule(accuracy) {
            Algorithm::Winograd(tile)
                if accuracy == Accuracy::Fast
                    && (tile == PAIRS || many && tile == Tile::square(4, 3)) =>
            {
                (Algorithm::Winograd(PAIRS), Element::BFloat16)
            }
            Algorithm::Winograd(tile) if tile.points() >= LEAST => {
                (Algorithm::Winograd(tile), Element::Float32)
            }
            _ => (Algorithm::Direct, Element::BFloat16),
        }
    }

    /// All algorithms that may be the fastest, the direct one first.
    pub(in crate::infer) fn candidates(&self, accuracy: Accuracy) -> Vec<Algorithm> {
        let tiles = Tile::ALL.into_iter().map(|(tile, _)| tile).filter(|tile| self.saves(*tile));
        let halves = self.halves_from(256, PIXELS).then_some(Algorithm::Strassen);
        let all = [Algorithm::Direct].into_iter().chain(tiles.map(Algorithm::Winograd));
        let all = all.chain(halves);
        all.filter(|algorithm| accuracy.allows(*algorithm)).collect()
    }

    /// All algorithms that there are, however small the layer.
    #[cfg(test)]
    pub(in crate::infer) fn possible(&self) -> Vec<Algorithm> {
        let mut all = self.candidates(Accuracy::Fast);
        if self.halves_from(1, 1) && !all.contains(&Algorithm::Strassen) {
            all.push(Algorithm::Strassen);
        }
        all
    }

    /// Whether the matrices of a 1×1 convolution have halves, and at least so many channels and pixels.
    fn halves_from(&self, least: usize, pixels: usize) -> bool {
        let channels = [self.in_channels, self.out_channels];
        self.is_plain()
            && (self.kernel, self.stride, self.padding) == ([1, 1], [1, 1], [0; 4])
            && self.image[0].saturating_mul(self.image[1]) >= pixels
            && channels.iter().all(|&channels| channels >= least && channels.is_multiple_of(2))
    }

    /// Whether a tile is for this window, and takes fewer multiplications than the direct convolution.
    fn saves(&self, tile: Tile) -> bool {
        let is_strided = self.stride != [1, 1];
        if !self.is_plain() || is_strided && self.in_channels > FEW {
            return false;
        }
        let axes = [tile.rows, tile.columns];
        // A stride becomes channels, and the window so much smaller.
        let fits = |axis: usize| self.kernel[axis].div_ceil(self.stride[axis]) == axes[axis].taps;
        if !(fits(0) && fits(1)) {
            return false;
        }
        // As floating-point numbers, which do not overflow, whatever a file says.
        let product = |of: [usize; 2]| of.map(|factor| factor as f64).iter().product::<f64>();
        let output = self.output();
        let tiles = [0, 1].map(|axis| output[axis].div_ceil(axes[axis].outputs));
        product(tiles) * tile.points() as f64 * product(self.stride)
            < product(output) * product(self.kernel)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, stride, in_channels, out_channels, image, .. } = self;
        write!(
            f,
            "a convolution of {}×{}, stride {}×{}, {in_channels} to {out_channels} channels on {}×{}",
            kernel[0], kernel[1], stride[0], stride[1], image[0], image[1]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer whose window has a border of zeros, on an image of so many pixels a side.
    fn layer(
        (in_channels, out_channels, side): (usize, usize, usize),
        (kernel, stride): ([usize; 2], usize),
        groups: usize,
    ) -> Layer {
        let [height, width] = kernel;
        Layer {
            kernel,
            stride: [stride; 2],
            dilation: [1, 1],
            groups,
            padding: [height / 2, height / 2, width / 2, width / 2],
            in_channels,
            out_channels,
            image: [side; 2],
        }
    }

    fn chosen(size: (usize, usize, usize), window: ([usize; 2], usize), groups: usize) -> String {
        layer(size, window, groups).by_rule(Accuracy::Fast).to_string()
    }

    #[test]
    fn channels_and_size_decide() {
        let three = |size, groups| chosen(size, ([3, 3], 1), groups);
        assert_eq!(three((64, 64, 56), 1), "F(4×4, 3×3)");
        assert_eq!(three((64, 128, 112), 1), "F(6×6, 3×3)");
        assert_eq!(three((256, 256, 112), 1), "F(4×4, 3×3)");
        assert_eq!(three((512, 512, 7), 1), "F(2×2, 3×3)");
        assert_eq!(three((3, 64, 224), 1), "direct");
        assert_eq!(three((64, 64, 56), 32), "direct");
        assert_eq!(three((512, 512, 1), 1), "direct");
    }

    #[test]
    fn window_and_stride_decide() {
        assert_eq!(chosen((64, 192, 27), ([5, 5], 1), 1), "F(4×4, 5×5)");
        assert_eq!(chosen((128, 128, 17), ([1, 7], 1), 1), "F(1×4, 1×7)");
        assert_eq!(chosen((128, 128, 17), ([7, 1], 1), 1), "F(4×1, 7×1)");
        assert_eq!(chosen((3, 64, 224), ([7, 7], 2), 1), "F(5×5, 4×4)");
        assert_eq!(chosen((3, 64, 224), ([11, 11], 4), 1), "F(4×4, 3×3)");
        assert_eq!(chosen((64, 128, 56), ([3, 3], 2), 1), "direct");
        assert_eq!(chosen((64, 192, 27), ([5, 5], 2), 1), "direct");
        assert_eq!(chosen((3, 64, 224), ([7, 7], 1), 1), "direct");
    }

    #[test]
    fn pairs_are_for_evenly_many_channels_and_give_way_to_large_tiles() {
        let choices = Choices::from(Instructions::PORTABLE).with(Precision::BFloat16);
        let three = |size, groups| layer(size, ([3, 3], 1), groups);
        let direct = (Algorithm::Direct, Element::BFloat16);
        for (size, groups) in [((64, 64, 56), 32), ((16, 16, 56), 1), ((64, 64, 3), 1)] {
            let layer = three(size, groups);
            assert_eq!(choices.algorithm(&layer), direct, "{layer}");
        }
        let large = (Algorithm::Winograd(Tile::square(4, 3)), Element::Float32);
        assert_eq!(choices.algorithm(&three((64, 64, 56), 1)), large);
        // Of many channels, the weights of a large tile take longer to be read.
        let small = (Algorithm::Winograd(Tile::square(2, 3)), Element::BFloat16);
        for size in [(256, 256, 14), (512, 512, 7)] {
            assert_eq!(choices.algorithm(&three(size, 1)), small);
        }
        let high = Choices { accuracy: Accuracy::High, ..choices.clone() };
        assert_eq!(high.algorithm(&three((256, 256, 14), 1)), direct);
        assert_eq!(choices.algorithm(&three((3, 64, 224), 1)).1, Element::Float32);
        assert_eq!(choices.algorithm(&three((64, 64, 56), 64)).1, Element::Float32);
        // Strassen's algorithm saves less than pairs do.
        assert_eq!(choices.algorithm(&layer((728, 728, 19), ([1, 1], 1), 1)), direct);
    }

    #[test]
    fn large_products_of_many_pixels_are_halved() {
        let pointwise = |size| layer(size, ([1, 1], 1), 1);
        let tokens = Layer { image: [197, 1], ..pointwise((768, 3072, 1)) };
        assert_eq!(tokens.by_rule(Accuracy::Fast), Algorithm::Strassen);
        assert_eq!(tokens.by_rule(Accuracy::High), Algorithm::Direct);
        assert_eq!(pointwise((728, 728, 19)).by_rule(Accuracy::Fast), Algorithm::Strassen);
        for direct in [(512, 512, 14), (2048, 1000, 1), (1024, 1024, 7), (729, 728, 19)] {
            assert_eq!(pointwise(direct).by_rule(Accuracy::Fast), Algorithm::Direct);
        }
        assert_eq!(
            layer((728, 728, 19), ([1, 1], 2), 1).by_rule(Accuracy::Fast),
            Algorithm::Direct
        );
        assert_eq!(candidates(&pointwise((512, 512, 14))), ["direct", "Strassen"]);
        assert_eq!(candidates(&pointwise((64, 256, 56))), ["direct"]);
    }

    #[test]
    fn candidates_are_the_direct_convolution_and_each_tile_that_saves_multiplications() {
        let three = ["direct", "F(2×2, 3×3)", "F(4×4, 3×3)", "F(6×6, 3×3)"];
        assert_eq!(candidates(&layer((3, 64, 224), ([3, 3], 1), 1)), three);
        assert_eq!(candidates(&layer((3, 64, 224), ([11, 11], 4), 1)), three);
        assert_eq!(candidates(&layer((64, 64, 56), ([11, 11], 4), 1)), ["direct"]);
        assert_eq!(candidates(&layer((3, 64, 224), ([7, 7], 2), 1)), ["direct", "F(5×5, 4×4)"]);
        assert_eq!(candidates(&layer((64, 64, 56), ([1, 3], 1), 1)), ["direct", "F(1×4, 1×3)"]);
        for (window, groups) in [(([1, 1], 1), 1), (([3, 3], 2), 1), (([3, 3], 1), 4)] {
            assert_eq!(candidates(&layer((4, 4, 56), window, groups)), ["direct"]);
        }
        // Of an image of one pixel, no tile is worth its while.
        assert_eq!(candidates(&layer((64, 64, 1), ([3, 3], 1), 1)), ["direct"]);
        let dilated = Layer { dilation: [2, 2], ..layer((64, 64, 56), ([3, 3], 1), 1) };
        assert_eq!(candidates(&dilated), ["direct"]);
    }

    #[test]
    fn sizes_that_no_image_has_have_no_tiles_and_do_not_overflow() {
        for size in [0, usize::MAX] {
            for stride in [0, 1, usize::MAX] {
                let any = layer((size, size, size), ([3, 3], stride), 1);
                assert!(
                    !candidates(&any).is_empty()
                        && any.candidates(Accuracy::Fast).contains(&any.by_rule(Accuracy::High))
                );
                assert_eq!(candidates(&Layer { kernel: [size; 2], ..any }).len(), 1);
            }
        }
    }

    #[test]
    fn the_choice_of_the_rules_is_among_the_candidates() {
        for (rule, accuracy) in RULES
            .iter()
            .flat_map(|rule| [Accuracy::Fast, Accuracy::High].map(|accuracy| (rule, accuracy)))
        {
            let channels = rule.inputs.0.max(rule.weights.isqrt());
            for side in rule.side..2 * rule.side {
                let image = (side - 1) * rule.stride + 1;
                let layer = layer((channels, channels, image), (rule.kernel, rule.stride), 1);
                assert!(layer.candidates(accuracy).contains(&layer.by_rule(accuracy)), "{layer}");
            }
        }
    }

    #[test]
    fn high_accuracy_is_that_of_the_direct_convolution() {
        let allowed = Tile::ALL
            .map(|(tile, _)| tile)
            .into_iter()
            .filter(|tile| Accuracy::High.allows(Algorithm::Winograd(*tile)));
        let allowed: Vec<String> = allowed.map(|tile| tile.to_string()).collect();
        assert_eq!(allowed, ["F(2×2, 3×3)"]);
        let three = layer((64, 64, 56), ([3, 3], 1), 1);
        assert_eq!(three.by_rule(Accuracy::High).to_string(), "F(2×2, 3×3)");
        let five = layer((64, 192, 27), ([5, 5], 1), 1);
        assert_eq!(five.by_rule(Accuracy::High), Algorithm::Direct);
    }

    #[test]
    fn a_measured_choice_comes_before_the_rule_where_the_accuracy_allows_it() {
        let three = layer((64, 64, 56), ([3, 3], 1), 1);
        let mut choices = Choices::from(Instructions::PORTABLE);
        for name in candidates(&three) {
            choices.choose(three, &name).unwrap();
            assert_eq!(choices.algorithm(&three).0.to_string(), name);
        }
        choices.accuracy = Accuracy::High;
        assert_eq!(choices.algorithm(&three).0.to_string(), "F(2×2, 3×3)");
        choices.choose(three, "direct").unwrap();
        assert_eq!(choices.algorithm(&three).0, Algorithm::Direct);
        for wrong in ["F(4×4, 5×5)", "strassen", ""] {
            assert!(choices.choose(three, wrong).is_err());
        }
        choices.clear();
        assert_eq!(choices.algorithm(&three).0, three.by_rule(Accuracy::High));
    }
}
