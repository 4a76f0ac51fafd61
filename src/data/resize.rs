//! Resizing, equal to Pillow's `Image.resize` in every bit.
//!
//! The weights of each output column and row are integers with 22 fraction bits. One pass makes the columns, one the
//! rows, and between the two the picture is 8-bit again, so their order can be seen: columns first, except where
//! `Order` says otherwise. A side that keeps its length has no pass.

use super::filter::Filter;
use super::passes::resample;
use super::photo::{CHANNELS, Photo, View, Window, check_size, no_room};
use crate::memory::{Shortage, room, zeros};
use crate::{Error, Result};

/// Fraction bits: 32, less 8 of a pixel, less 2 of headroom for weights that overshoot.
pub(super) const FRACTION: u32 = 32 - 8 - 2;

/// Resizes to `width` x `height` pixels.
///
/// Equal to `Image.resize((width, height), resample)` of Pillow on an RGB picture. Fails with
/// `Error::Argument` when a side is zero or the result is too large.
pub fn resize(photo: &Photo, width: usize, height: usize, filter: Filter) -> Result<Photo> {
    resize_window(photo, width, height, filter, Window { left: 0, top: 0, width, height })
}

/// Resizes to `width` x `height` pixels and returns only `window` of the result: the same pixels at the cost of the
/// part.
pub fn resize_window(
    photo: &Photo,
    width: usize,
    height: usize,
    filter: Filter,
    window: Window,
) -> Result<Photo> {
    resize_view(photo.view(), width, height, filter, window)
}

/// Resizes a part of a photograph, as if it were cropped first.
pub(crate) fn resize_view(
    view: View<'_>,
    width: usize,
    height: usize,
    filter: Filter,
    window: Window,
) -> Result<Photo> {
    check(width, height, window)?;
    let pixels = if filter == Filter::Nearest {
        let columns = nearest(view.width, width, window.left, window.width);
        let rows = nearest(view.height, height, window.top, window.height);
        pick(view, &columns, &rows)
    } else {
        let columns =
            Side::new(view.width, width, filter, window.left, window.width).map_err(no_room)?;
        let rows =
            Side::new(view.height, height, filter, window.top, window.height).map_err(no_room)?;
        let order = Order::new(view, width, height);
        match view.channels {
            1 => resample::<1>(view, &columns, &rows, order),
            _ => resample::<CHANNELS>(view, &columns, &rows, order),
        }
    };
    Photo::with_channels(window.width, window.height, view.channels, pixels.map_err(no_room)?)
}

fn check(width: usize, height: usize, window: Window) -> Result<()> {
    let longest = i32::MAX as usize;
    let expected = if width == 0 || height == 0 {
        "a width and a height of at least 1".into()
    } else if width > longest || height > longest {
        format!("sides of at most {longest}")
    } else if window.left.saturating_add(window.width) > width
        || window.top.saturating_add(window.height) > height
    {
        format!("a window inside {width}x{height}")
    } else {
        match check_size(window.width, window.height) {
            Ok(()) => return Ok(()),
            Err(expected) => expected,
        }
    };
    Err(Error::Argument {
        at: "resize".into(),
        expected,
        got: format!("{width}x{height}, {window:?}"),
    })
}

/// The order of the passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    ColumnsFirst,
    RowsFirst,
}

impl Order {
    /// Pillow 13 begins with the rows where that saves much: where the height shrinks, by more than twice the pixels
    /// that the width loses. (Earlier versions never did; their pictures differ.)
    fn new(view: View<'_>, width: usize, height: usize) -> Self {
        let lost_rows = view.height as i64 - height as i64;
        let lost_columns = view.width as i64 - width as i64;
        if lost_rows > 0 && lost_rows > 2 * lost_columns {
            Self::RowsFirst
        } else {
            Self::ColumnsFirst
        }
    }
}

/// For each of `count` outputs from `first` on: the index of the input under its centre.
///
/// The centre is found by repeated addition as in Pillow, because the rounding of the sum decides between neighbours.
fn nearest(from: usize, to: usize, first: usize, count: usize) -> Vec<Option<usize>> {
    let step = from as f64 / to as f64;
    let mut centre = step * 0.5;
    let mut table = Vec::with_capacity(count);
    for position in 0..first + count {
        if position >= first {
            table.push(Some(centre as usize).filter(|&index| index < from));
        }
        centre += step;
    }
    table
}

fn pick(
    view: View<'_>,
    columns: &[Option<usize>],
    rows: &[Option<usize>],
) -> Result<Vec<u8>, Shortage> {
    let View { pixels, stride, channels, .. } = view;
    let mut out = zeros(columns.len() * rows.len() * channels)?;
    for (out_row, row) in out.chunks_exact_mut(columns.len() * channels).zip(rows) {
        let Some(row) = row else { continue };
        let row = &pixels[row * stride..];
        for (out_pixel, column) in out_row.chunks_exact_mut(channels).zip(columns) {
            let Some(column) = column else { continue };
            out_pixel.copy_from_slice(&row[column * channels..][..channels]);
        }
    }
    Ok(out)
}

/// The inputs and weights of each output of one side.
pub(super) struct Side {
    /// For each output: its first input and the number of inputs.
    pub(super) spans: Vec<(usize, usize)>,
    /// `stride` weights for each output, of which as many count as the span has inputs.
    weights: Vec<i32>,
    stride: usize,
    /// Whether the outputs are the inputs, shifted.
    pub(super) unchanged: bool,
}

impl Side {
    fn new(
        from: usize,
        to: usize,
        filter: Filter,
        first: usize,
        count: usize,
    ) -> Result<Self, Shortage> {
        if from == to {
            let spans = (first..first + count).map(|index| (index, 1)).collect();
            return Ok(Self { spans, weights: Vec::new(), stride: 0, unchanged: true });
        }
        let scale = from as f64 / to as f64;
        let widen = scale.max(1.0);
        let support = filter.support() * widen;
        let stride = support.ceil() as usize * 2 + 1;
        let mut spans = room(count)?;
        let mut weights = zeros(count * stride)?;
        let mut exact = zeros(stride)?;
        for (index, weights) in weights.chunks_exact_mut(stride).enumerate() {
            let centre = ((first + index) as f64 + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let exact = &mut exact[..end - start];
            let mut sum = 0.0;
            for (offset, weight) in exact.iter_mut().enumerate() {
                *weight = filter.weight(((offset + start) as f64 - centre + 0.5) * (1.0 / widen));
                sum += *weight;
            }
            for (weight, exact) in weights.iter_mut().zip(exact) {
                *weight = fixed(if sum == 0.0 { *exact } else { *exact / sum });
            }
            spans.push((start, end - start));
        }
        Ok(Self { spans, weights, stride, unchanged: false })
    }

    pub(super) fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans
            .iter()
            .zip(self.weights.chunks_exact(self.stride))
            .map(|(&(start, count), weights)| (start, &weights[..count]))
    }

    /// The range of inputs that any output needs: begin and end.
    pub(super) fn reach(&self) -> (usize, usize) {
        let start = self.spans.iter().map(|&(start, _)| start).min().unwrap_or(0);
        let end = self.spans.iter().map(|&(start, count)| start + count).max().unwrap_or(0);
        (start, end)
    }
}

/// Converts to fixed point, halves away from zero.
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << FRACTION);
    (scaled + 0.5_f64.copysign(scaled)) as i32
}
