//! Crops of a fixed size: the centre, at random, and random shifts by a few pixels.

use serde::{Deserialize, Serialize};

use super::chance::below;
use super::check::check_pixels;
use super::enlarge::{Margins, PaddingMode};
use super::operation::Operation;
use crate::data::Random;
use crate::data::photo::{CHANNELS, MAX_SIDE, Size};
use crate::data::preprocess::centre;
use crate::{Error, Result};

/// The centre, padded with black where the photograph is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterCrop {
    pub height: usize,
    pub width: usize,
}

impl CenterCrop {
    pub fn check(&self) -> Result<()> {
        check_pixels("CenterCrop: size", self.height)?;
        check_pixels("CenterCrop: size", self.width)
    }

    pub fn draw(&self, size: Size, operations: &mut Vec<Operation>) {
        let (left, columns, before) = centre(size.width, self.width);
        let (top, rows, above) = centre(size.height, self.height);
        operations.push(Operation::Crop { top, left, height: rows, width: columns });
        let margins = Margins {
            left: before,
            top: above,
            right: self.width - columns - before,
            bottom: self.height - rows - above,
        };
        if margins != Margins::default() {
            operations.push(Operation::Pad {
                margins,
                fill: [0; CHANNELS],
                mode: PaddingMode::Constant,
            });
        }
    }
}

/// A crop at a random place, perhaps after padding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    pub height: usize,
    pub width: usize,
    pub padding: Margins,
    /// Pads both sides where the photograph is too small, which is an error otherwise.
    pub pad_if_needed: bool,
    pub fill: [u8; CHANNELS],
    pub padding_mode: PaddingMode,
}

impl RandomCrop {
    pub fn check(&self) -> Result<()> {
        check_pixels("RandomCrop: size", self.height)?;
        check_pixels("RandomCrop: size", self.width)?;
        check_margins("RandomCrop: padding", self.padding)
    }

    pub fn draw(
        &self,
        random: &mut Random,
        mut size: Size,
        operations: &mut Vec<Operation>,
    ) -> Result<()> {
        let missing = |have: usize, want: usize| {
            if self.pad_if_needed { want.saturating_sub(have) } else { 0 }
        };
        let mut pad = |margins: Margins, size: &mut Size| {
            if margins != Margins::default() {
                let Self { fill, padding_mode: mode, .. } = *self;
                operations.push(Operation::Pad { margins, fill, mode });
                size.width += margins.left + margins.right;
                size.height += margins.top + margins.bottom;
            }
        };
        pad(self.padding, &mut size);
        let columns = missing(size.width, self.width);
        pad(Margins { left: columns, right: columns, ..Margins::default() }, &mut size);
        let rows = missing(size.height, self.height);
        pad(Margins { top: rows, bottom: rows, ..Margins::default() }, &mut size);
        let Self { height, width, .. } = *self;
        if size.height < height || size.width < width {
            return Err(Error::Argument {
                at: "RandomCrop: size".into(),
                expected: format!(
                    "at most the photograph with its padding, {} by {} (height, width)",
                    size.height, size.width
                ),
                got: format!("{height} by {width}"),
            });
        }
        let top = below(random, size.height - height + 1);
        let left = below(random, size.width - width + 1);
        operations.push(Operation::Crop { top, left, height, width });
        Ok(())
    }
}

/// Shifts the photograph at random by up to `padding` pixels in each direction: a crop of its own size, after padding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomShift {
    pub padding: Margins,
    pub fill: [u8; CHANNELS],
    pub padding_mode: PaddingMode,
}

impl RandomShift {
    pub fn check(&self) -> Result<()> {
        check_margins("RandomShift: padding", self.padding)
    }

    pub fn draw(
        &self,
        random: &mut Random,
        size: Size,
        operations: &mut Vec<Operation>,
    ) -> Result<()> {
        let Self { padding, fill, padding_mode } = *self;
        let Size { height, width } = size;
        RandomCrop { height, width, padding, pad_if_needed: false, fill, padding_mode }
            .draw(random, size, operations)
    }
}

fn check_margins(at: &str, margins: Margins) -> Result<()> {
    let Margins { left, top, right, bottom } = margins;
    match [left, top, right, bottom].into_iter().find(|&side| side > MAX_SIDE) {
        None => Ok(()),
        Some(side) => Err(Error::Argument {
            at: at.into(),
            expected: format!("at most {MAX_SIDE} pixels"),
            got: side.to_string(),
        }),
    }
}
