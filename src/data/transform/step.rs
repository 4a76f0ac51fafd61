//! The steps of a recipe, as options.

use serde::{Deserialize, Serialize};

use super::augment::{RandAugment, TrivialAugmentWide};
use super::check::flaw;
use super::color_jitter::ColorJitter;
use super::crop::{CenterCrop, RandomCrop, RandomShift};
use super::drawn::Drawn;
use super::erase::RandomErasing;
use super::flip::Flip;
use super::operation::Operation;
use super::policy::AutoAugment;
use super::random_resized_crop::RandomResizedCrop;
use super::resize::Resize;
use crate::Result;
use crate::data::Random;
use crate::data::photo::{CHANNELS, Size};

/// Steps, each with the name and the options of torchvision's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step")]
pub enum Step {
    Resize(Resize),
    CenterCrop(CenterCrop),
    RandomCrop(RandomCrop),
    RandomShift(RandomShift),
    RandomResizedCrop(RandomResizedCrop),
    RandomHorizontalFlip(Flip),
    RandomVerticalFlip(Flip),
    ColorJitter(ColorJitter),
    Grayscale(Grayscale),
    RandAugment(RandAugment),
    TrivialAugmentWide(TrivialAugmentWide),
    AutoAugment(AutoAugment),
    Normalize(Normalize),
    RandomErasing(RandomErasing),
}

/// Converts to the luma, in 1 or 3 equal channels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grayscale {
    pub num_output_channels: usize,
}

/// Maps bytes over 255 to (x - mean) / std, channel by channel; one number applies to every channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
}

impl Step {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resize(_) => "Resize",
            Self::CenterCrop(_) => "CenterCrop",
            Self::RandomCrop(_) => "RandomCrop",
            Self::RandomShift(_) => "RandomShift",
            Self::RandomResizedCrop(_) => "RandomResizedCrop",
            Self::RandomHorizontalFlip(_) => "RandomHorizontalFlip",
            Self::RandomVerticalFlip(_) => "RandomVerticalFlip",
            Self::ColorJitter(_) => "ColorJitter",
            Self::Grayscale(_) => "Grayscale",
            Self::RandAugment(_) => "RandAugment",
            Self::TrivialAugmentWide(_) => "TrivialAugmentWide",
            Self::AutoAugment(_) => "AutoAugment",
            Self::Normalize(_) => "Normalize",
            Self::RandomErasing(_) => "RandomErasing",
        }
    }

    /// Fails with `Error::Argument` where an option is out of range. `channels` are those of the input.
    pub fn check(&self, channels: usize) -> Result<()> {
        match self {
            Self::Resize(step) => step.check(),
            Self::CenterCrop(step) => step.check(),
            Self::RandomCrop(step) => step.check(),
            Self::RandomShift(step) => step.check(),
            Self::RandomResizedCrop(step) => step.check(),
            Self::RandomHorizontalFlip(step) | Self::RandomVerticalFlip(step) => {
                step.check(self.name())
            }
            Self::ColorJitter(step) => step.check(),
            Self::Grayscale(step) => step.check(),
            Self::RandAugment(step) => step.check(),
            Self::TrivialAugmentWide(step) => step.check(),
            Self::AutoAugment(_) => Ok(()),
            Self::Normalize(step) => step.check(channels),
            Self::RandomErasing(step) => step.check(channels),
        }
    }

    /// The size and channels of the output for these.
    pub fn shape(&self, size: Size, channels: usize) -> (Size, usize) {
        let size = match *self {
            Self::Resize(step) => step.size(size),
            Self::CenterCrop(CenterCrop { height, width })
            | Self::RandomCrop(RandomCrop { height, width, .. })
            | Self::RandomResizedCrop(RandomResizedCrop { height, width, .. }) => {
                Size { height, width }
            }
            Self::Grayscale(Grayscale { num_output_channels }) => {
                return (size, num_output_channels);
            }
            Self::RandomShift(_)
            | Self::RandomHorizontalFlip(_)
            | Self::RandomVerticalFlip(_)
            | Self::ColorJitter(_)
            | Self::RandAugment(_)
            | Self::TrivialAugmentWide(_)
            | Self::AutoAugment(_)
            | Self::Normalize(_)
            | Self::RandomErasing(_) => size,
        };
        (size, channels)
    }

    /// Draws the operations for a photograph of this size, and adds them to `drawn`.
    pub fn draw(&self, random: &mut Random, size: Size, drawn: &mut Drawn) -> Result<()> {
        let Drawn { operations, erasures } = drawn;
        match self {
            Self::Resize(step) => operations.push(step.draw(size)),
            Self::CenterCrop(step) => step.draw(size, operations),
            Self::RandomCrop(step) => step.draw(random, size, operations)?,
            Self::RandomShift(step) => step.draw(random, size, operations)?,
            Self::RandomResizedCrop(step) => operations.extend(step.draw(random, size)),
            Self::RandomHorizontalFlip(step) => {
                operations.extend(step.happens(random).then_some(Operation::FlipHorizontal));
            }
            Self::RandomVerticalFlip(step) => {
                operations.extend(step.happens(random).then_some(Operation::FlipVertical));
            }
            Self::ColorJitter(step) => step.draw(random, operations),
            Self::Grayscale(Grayscale { num_output_channels: channels }) => {
                operations.push(Operation::Grayscale { channels: *channels });
            }
            Self::RandAugment(step) => step.draw(random, size, operations),
            Self::TrivialAugmentWide(step) => step.draw(random, operations),
            Self::AutoAugment(step) => step.draw(random, size, operations),
            // Nothing to draw: the pipeline holds its tables.
            Self::Normalize(_) => {}
            Self::RandomErasing(step) => erasures.extend(step.draw(random, size)),
        }
        Ok(())
    }
}

impl Grayscale {
    fn check(self) -> Result<()> {
        if self.num_output_channels == 1 || self.num_output_channels == CHANNELS {
            return Ok(());
        }
        Err(flaw("Grayscale: num_output_channels", "1 or 3", self.num_output_channels))
    }
}

impl Normalize {
    fn check(&self, channels: usize) -> Result<()> {
        let Self { mean, std } = self;
        for (name, numbers) in [("mean", mean), ("std", std)] {
            if numbers.len() != 1 && numbers.len() != channels {
                let expected = format!("a number, or one for each of {channels} channels");
                let got = format!("{} numbers", numbers.len());
                return Err(flaw(&format!("Normalize: {name}"), &expected, got));
            }
        }
        if mean.iter().any(|mean| !mean.is_finite()) {
            return Err(flaw("Normalize: mean", "finite numbers", format!("{mean:?}")));
        }
        if std.iter().any(|std| !std.is_finite() || *std == 0.0) {
            return Err(flaw("Normalize: std", "finite numbers, not zero", format!("{std:?}")));
        }
        Ok(())
    }
}
