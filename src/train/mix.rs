//! Mixup (Zhang et al., arXiv:1710.09412) and CutMix (Yun et al., arXiv:1905.04899) as torchvision defines them: each
//! image of a batch is mixed with the one before it, the first with the last, and so are their labels.

use rand_distr::{Distribution, Gamma, OpenClosed01};

use crate::data::Random;
use crate::data::random::below;
use crate::error::{Error, Result, shape_text};
use crate::memory::{self, room};
use crate::torch::Targets;

/// The α of the distribution Beta(α, α) from which mixup and CutMix draw the mixing ratio; 0 is off. Where both are on,
/// each batch gets one or the other with equal probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixing {
    pub mixup: f64,
    pub cutmix: f64,
}

/// The mixing of one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// The mixing ratio: the weight of each image's own label.
    pub share: f64,
    /// CutMix: the window in which pixels are the other image's. None: all pixels are blended (mixup).
    pub window: Option<Window>,
}

/// Columns from `left` to before `right`, rows from `top` to before `bottom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub left: usize,
    pub top: usize,
    pub right: usize,
    pub bottom: usize,
}

/// The name that errors give to the memory reserved.
const MIXED: &str = "a mixed batch";

impl Mixing {
    /// Fails with `Error::Argument` where an α is out of range.
    pub fn check(self) -> Result<()> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(0.0..f64::INFINITY).contains(&alpha) {
                return Err(Error::Argument {
                    at: format!("`{name}`"),
                    expected: "a number of at least 0".into(),
                    got: alpha.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Draws the mixing of a batch of images of this size; none if both are off. The order of the random draws is part
    /// of the format of a seed.
    pub fn draw(self, [height, width]: [usize; 2], random: &mut Random) -> Option<Mix> {
        let Self { mixup, cutmix } = self;
        let cut = match (mixup > 0.0, cutmix > 0.0) {
            (false, false) => return None,
            (true, true) => below(2, random) == 1,
            (_, cut) => cut,
        };
        let share = beta(if cut { cutmix } else { mixup }, random);
        if !cut {
            return Some(Mix { share, window: None });
        }
        let (column, row) = (below(width, random), below(height, random));
        let half = 0.5 * (1.0 - share).sqrt();
        let [across, down] = [width, height].map(|size| (half * size as f64) as usize);
        let window = Window {
            left: column.saturating_sub(across),
            top: row.saturating_sub(down),
            right: column.saturating_add(across).min(width),
            bottom: row.saturating_add(down).min(height),
        };
        // The area of what was not cut off at the border.
        let area = |width: usize, height: usize| width as f64 * height as f64;
        let cut = area(window.right - window.left, window.bottom - window.top);
        Some(Mix { share: 1.0 - cut / area(width, height), window: Some(window) })
    }
}

/// A number from Beta(α, α): G / (G + H) of two gamma-distributed numbers, whose logarithms stay finite for a small α,
/// where the numbers themselves would be zero.
fn beta(alpha: f64, random: &mut Random) -> f64 {
    // ln G(α) = ln G(α + 1) + ln(U) / α.
    let Ok(gamma) = Gamma::new(alpha + 1.0, 1.0) else { unreachable!("α is at least 0") };
    let mut logarithms = || {
        let uniform: f64 = OpenClosed01.sample(random);
        [gamma.sample(random).ln(), uniform.ln()]
    };
    let ([g, u], [h, v]) = (logarithms(), logarithms());
    1.0 / (1.0 + ((h - g) + (v - u) / alpha).exp())
}

impl Mix {
    /// The images (N, C, H, W), mixed. None of the sizes is 0.
    pub fn images(self, x: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let [batch, channels, height, width] = shape;
        // The size is that of images in memory, so it does not overflow.
        let size = channels * height * width;
        let Some(Window { left, top, right, bottom }) = self.window else {
            return self.blend(x, [batch, size]);
        };
        let mut mixed = copied(x)?;
        for (image, other) in mixed.chunks_exact_mut(size).zip(before(x, [batch, size])) {
            let planes = image.chunks_exact_mut(height * width);
            for (plane, other) in planes.zip(other.chunks_exact(height * width)) {
                for row in top..bottom {
                    let pixels = row * width + left..row * width + right;
                    plane[pixels.clone()].copy_from_slice(&other[pixels]);
                }
            }
        }
        Ok(mixed)
    }

    /// The class shares (N, K), mixed.
    pub fn shares(self, y: &[f32], shape: [usize; 2]) -> Result<Vec<f32>> {
        self.blend(y, shape)
    }

    fn blend(self, rows: &[f32], shape: [usize; 2]) -> Result<Vec<f32>> {
        let (own, others) = (self.share as f32, (1.0 - self.share) as f32);
        let mut mixed = room(rows.len()).map_err(|shortage| shortage.at(MIXED))?;
        for (row, other) in rows.chunks_exact(shape[1]).zip(before(rows, shape)) {
            mixed.extend(row.iter().zip(other).map(|(own_value, value)| {
                // Rounded as torchvision rounds.
                value * others + own_value * own
            }));
        }
        Ok(mixed)
    }
}

/// The images unchanged.
pub fn copied(x: &[f32]) -> Result<Vec<f32>> {
    memory::copied(x).map_err(|shortage| shortage.at(MIXED))
}

/// The row before each row; for the first, the last.
fn before(rows: &[f32], [count, size]: [usize; 2]) -> impl Iterator<Item = &[f32]> {
    rows.chunks_exact(size).cycle().skip(count.saturating_sub(1))
}

/// The class shares (N, K) of these images: class labels become one-hot.
pub fn shares(targets: Targets<'_>, classes: Option<usize>, images: usize) -> Result<Vec<f32>> {
    let at = "the targets of a batch";
    let (shape, expected, classes) = match (targets, classes) {
        (Targets::Classes(found), Some(count)) => (vec![found.len()], vec![images], count),
        (Targets::Shares { classes, .. }, count) => {
            let count = count.unwrap_or(classes);
            (vec![targets.len(), classes], vec![images, count], count)
        }
        (Targets::Classes(_), None) => {
            let (expected, got) = ("a number, since y are classes".into(), "none".into());
            return Err(Error::Argument { at: "`num_classes`".into(), expected, got });
        }
    };
    if shape != expected || classes == 0 {
        let expected = shape_text(&expected);
        return Err(Error::Shape { at: at.into(), expected, got: shape_text(&shape) });
    }
    let count = images.checked_mul(classes).ok_or_else(|| Error::OutOfMemory {
        at: MIXED.into(),
        message: format!("{images} images of {classes} classes"),
    })?;
    let mut shares = room(count).map_err(|shortage| shortage.at(MIXED))?;
    match targets {
        Targets::Shares { values, .. } => shares.extend_from_slice(values),
        Targets::Classes(found) => {
            shares.resize(count, 0.0);
            for (row, &class) in shares.chunks_exact_mut(classes).zip(found) {
                let place = usize::try_from(class).ok().and_then(|class| row.get_mut(class));
                *place.ok_or_else(|| Error::Argument {
                    at: at.into(),
                    expected: format!("classes of 0 to {}", classes - 1),
                    got: class.to_string(),
                })? = 1.0;
            }
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::random::of_batch;

    #[test]
    fn the_row_before_the_first_is_the_last() {
        let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let found: Vec<f32> = before(&rows, [3, 2]).take(3).map(|row| row[0]).collect();
        assert_eq!(found, [5.0, 1.0, 3.0]);
        assert_eq!(before(&rows, [1, 6]).next(), Some(&rows[..]));
    }

    #[test]
    fn sizes_that_no_memory_has_are_refused() {
        let targets = Targets::Classes(&[0, 1, 0, 1]);
        for classes in [1 << 62, usize::MAX, usize::MAX / 16] {
            let refused = shares(targets, Some(classes), 4);
            assert!(matches!(refused, Err(Error::OutOfMemory { .. })), "{classes}: {refused:?}");
        }
    }

    #[test]
    fn a_window_lies_in_images_of_any_size() {
        let (mixing, side) = (Mixing { mixup: 0.0, cutmix: 1.0 }, usize::MAX);
        for batch in 0..100 {
            let Some(Mix { share, window: Some(window) }) =
                mixing.draw([side, side], &mut of_batch(0, 0, batch))
            else {
                panic!("both are on");
            };
            assert!((0.0..=1.0).contains(&share), "{share}");
            assert!(window.left <= window.right && window.top <= window.bottom, "{window:?}");
        }
    }

    #[test]
    fn a_share_is_a_number_for_every_alpha() {
        for alpha in [f64::MIN_POSITIVE, 1e-9, 0.2, 1.0, 1e6, f64::MAX] {
            for batch in 0..1000 {
                let share = beta(alpha, &mut of_batch(0, 0, batch));
                assert!((0.0..=1.0).contains(&share), "{alpha}: {share}");
            }
        }
    }
}
