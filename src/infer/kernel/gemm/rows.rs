//! Operands of a product besides the weights: rows to read, and where to write.

use std::ptr::null;

use super::super::super::form::Form;
use super::super::super::memory::{Source, Target};
use super::super::super::pool::part;
use crate::graph::op::Function;

/// The rows of a product: windows of segments that are each contiguous.
#[derive(Clone, Copy)]
pub(in crate::infer) struct Rows<'a> {
    /// The address of each row's first segment.
    pub starts: &'a [*const f32],
    /// The distance of each segment from the first one.
    pub segments: &'a [isize],
    /// The length of a segment; all together have the depth of the weights.
    pub length: usize,
    /// Memory that is read next, to be fetched meanwhile; if none, the weights that follow are.
    pub next: Next,
}

impl<'a> Rows<'a> {
    /// Rows after which nothing else is read.
    pub fn new(starts: &'a [*const f32], segments: &'a [isize], length: usize) -> Self {
        Self { starts, segments, length, next: Next::NOTHING }
    }
}

/// So many bytes from an address on, which are never read through it.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Next {
    pub start: *const u8,
    pub bytes: usize,
}

impl Next {
    pub const NOTHING: Self = Self { start: null(), bytes: 0 };

    /// One of equal parts.
    pub fn part(self, number: usize, parts: usize) -> Self {
        let range = part(self.bytes, number, parts);
        Self { start: self.start.wrapping_add(range.start), bytes: range.len() }
    }
}

/// Where the results go, and what is added before they are stored. Places and strides are counted in numbers.
#[derive(Clone, Copy)]
pub(in crate::infer) struct Store<'a> {
    pub target: Target<'a>,
    /// The place of the first row's first column.
    pub offset: usize,
    /// From a row to the next.
    pub stride: usize,
    /// A value of the same layout to add: its place and stride.
    pub residual: Option<(Source<'a>, usize, usize)>,
    /// The forms of the value to add and of the results; sums of float32 numbers have no other.
    pub forms: (Form, Form),
    pub function: Option<Function>,
    /// For sums of bytes.
    pub rescale: Option<Rescale<'a>>,
}

/// From sums of products of bytes to the numbers that are stored: sum · scale + shift, and a value to add times a factor,
/// between bounds. For bytes, all in steps of these.
#[derive(Clone, Copy, Debug)]
pub(in crate::infer) struct Rescale<'a> {
    /// For each column, and those of zeros.
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    /// The factor of the value to add; `shift` has what is added to all its numbers.
    pub residual: f32,
    pub bounds: (f32, f32),
}
