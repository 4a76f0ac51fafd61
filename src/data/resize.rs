//! Resizing, equal to Pillow's `Image.resize` in every bit.
//!
//! The weights of each output column and row are integers with 22 fraction bits. One pass makes the columns, one the
//! rows, and between the two the picture is 8-bit again, so their order can be seen: columns first, except where
//! `Order` says otherwise. A side that keeps its length has no pass.

use super::filter::Filter;
use super::passes::{Order, resample};
use super::photo::{CHANNELS, Photo, View, Window, check_size, no_room};
use super::side::Side;
use crate::memory::{Shortage, zeros};
use crate::{Error, Result};

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
