//! Pipelines: a sequence of steps from a photograph to the values of one sample.

use ndarray::ArrayViewMut3;

use super::canvas::Canvas;
use super::drawn::Drawn;
use super::step::Step;
use crate::data::photo::{CHANNELS, Size};
use crate::data::preprocess::normalised;
use crate::data::{Key, Photo, Prepare};
use crate::error::{Error, Result, shape_text};

/// Checked steps: first those on bytes, then at most one `Normalize`, then `RandomErasing`. Without `Normalize` the
/// values are bytes over 255.
#[derive(Clone, Debug)]
pub struct Pipeline {
    steps: Vec<Step>,
    /// Channels of the input; photographs with others are converted.
    channels: usize,
    /// Channels of the output.
    out_channels: usize,
    /// The lookup table of each channel from bytes to values.
    tables: Vec<[f32; 256]>,
}

impl Pipeline {
    /// `channels` is 1 (grey) or 3. None: as many as `Normalize` has values for, or 3 where that does not say.
    ///
    /// Fails with `Error::Argument` where a step has a value out of range, or stands in the wrong place.
    pub fn new(steps: Vec<Step>, channels: Option<usize>) -> Result<Self> {
        let channels = channels.unwrap_or_else(|| expected_channels(&steps));
        if channels != 1 && channels != CHANNELS {
            return Err(Error::Argument {
                at: "Compose: channels".into(),
                expected: "1 or 3".into(),
                got: channels.to_string(),
            });
        }
        check_order(&steps)?;
        let mut out_channels = channels;
        for step in &steps {
            step.check(out_channels)?;
            (_, out_channels) = step.shape(Size { height: 1, width: 1 }, out_channels);
        }
        let tables = tables(&steps, out_channels);
        Ok(Self { steps, channels, out_channels, tables })
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Channels of the input, 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The shape (channels, height, width) of the output for a photograph of this height and width.
    pub fn shape_of(&self, height: usize, width: usize) -> [usize; 3] {
        let step = |size, step: &Step| step.shape(size, self.channels).0;
        let Size { height, width } = self.steps.iter().fold(Size { height, width }, step);
        [self.out_channels, height, width]
    }

    /// Draws the operations for a photograph of this size from `key`.
    ///
    /// Fails with `Error::Argument` where a crop is larger than the photograph.
    pub fn draw(&self, height: usize, width: usize, key: Key) -> Result<Drawn> {
        let mut random = key.random();
        let mut size = Size { height, width };
        let mut drawn = Drawn::default();
        for step in &self.steps {
            step.draw(&mut random, size, &mut drawn)?;
            (size, _) = step.shape(size, self.channels);
        }
        Ok(drawn)
    }
}

impl Prepare for Pipeline {
    fn shape(&self, photo: &Photo) -> [usize; 3] {
        self.shape_of(photo.height(), photo.width())
    }

    fn write(&self, photo: &Photo, key: Key, mut out: ArrayViewMut3<'_, f32>) -> Result<()> {
        let shape = self.shape(photo);
        if out.shape() != shape {
            return Err(Error::Shape {
                at: "transform".into(),
                expected: shape_text(&shape),
                got: shape_text(out.shape()),
            });
        }
        let drawn = self.draw(photo.height(), photo.width(), key)?;
        let mut canvas = Canvas::new(photo.to_channels(self.channels)?);
        for operation in &drawn.operations {
            operation.draw_on(&mut canvas)?;
        }
        canvas.write(&self.tables, out.view_mut());
        for erasure in &drawn.erasures {
            erasure.apply(out.view_mut());
        }
        Ok(())
    }
}

/// The channels of the input: those that `Normalize` has values for, if no step before it sets its own.
fn expected_channels(steps: &[Step]) -> usize {
    for step in steps {
        match step {
            Step::Grayscale(_) => return CHANNELS,
            Step::Normalize(normalize) => return normalize.mean.len().max(normalize.std.len()),
            _ => {}
        }
    }
    CHANNELS
}

/// Steps on bytes must come first, and steps on values last.
fn check_order(steps: &[Step]) -> Result<()> {
    let place = |step: &Step| match step {
        Step::Normalize(_) => 1,
        Step::RandomErasing(_) => 2,
        _ => 0,
    };
    for pair in steps.windows(2) {
        let [before, after] = pair else { continue };
        let twice = place(before) == 1 && place(after) == 1;
        if twice || place(before) > place(after) {
            return Err(Error::Argument {
                at: "Compose".into(),
                expected: "steps on bytes, then one Normalize, then RandomErasing".into(),
                got: format!("{} after {}", after.name(), before.name()),
            });
        }
    }
    Ok(())
}

fn tables(steps: &[Step], channels: usize) -> Vec<[f32; 256]> {
    let normalize = steps.iter().find_map(|step| match step {
        Step::Normalize(normalize) => Some(normalize),
        _ => None,
    });
    let of = |numbers: &[f32], channel: usize| numbers[channel.min(numbers.len() - 1)];
    (0..channels)
        .map(|channel| match normalize {
            Some(normalize) => {
                normalised(of(&normalize.mean, channel), of(&normalize.std, channel))
            }
            None => std::array::from_fn(|byte| byte as f32 / 255.0),
        })
        .collect()
}
