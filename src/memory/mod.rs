//! Allocation that fails with an error saying how many bytes, where Rust's own collections abort the process.

mod buffer;
mod pages;

use std::alloc::{Layout, alloc_zeroed};
use std::mem::size_of;
use std::{fs, ptr};

use ndarray::Array3;

pub use self::buffer::Buffer;
use crate::error::{Error, Result};

/// The number of bytes that could not be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage(pub usize);

impl Shortage {
    /// The error, which names what the memory was for.
    pub fn at(self, at: impl Into<String>) -> Error {
        Error::OutOfMemory {
            at: at.into(),
            message: format!("expected {} bytes, got none", self.0),
        }
    }
}

/// An empty vector with memory for `count` values.
pub fn room<T>(count: usize) -> Result<Vec<T>, Shortage> {
    let mut values = Vec::new();
    match values.try_reserve_exact(count) {
        Ok(()) => Ok(values),
        Err(_) => Err(Shortage(count.saturating_mul(size_of::<T>()))),
    }
}

/// A copy of these values.
pub fn copied<T: Copy>(values: &[T]) -> Result<Vec<T>, Shortage> {
    let mut copy = room(values.len())?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// Fails where `bytes` more could not be allocated now. For allocations in other crates, which would abort the process.
pub fn probe(bytes: usize) -> Result<(), Shortage> {
    room::<u8>(bytes).map(|_| ())
}

/// A type whose zero is all zero bits.
///
/// # Safety
/// A value of the type whose bytes are all zero has to be a valid one.
pub unsafe trait Number: Copy {}

// SAFETY: zero.
unsafe impl Number for u8 {}
// SAFETY: zero.
unsafe impl Number for i32 {}
// SAFETY: zero.
unsafe impl Number for f32 {}
// SAFETY: zero.
unsafe impl Number for f64 {}

/// `count` zeros, which the system need not write before they are touched.
pub fn zeros<T: Number>(count: usize) -> Result<Vec<T>, Shortage> {
    let shortage = Shortage(count.saturating_mul(size_of::<T>()));
    let layout = Layout::array::<T>(count).map_err(|_| shortage)?;
    if layout.size() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not of zero bytes.
    let memory = unsafe { alloc_zeroed(layout) }.cast::<T>();
    if memory.is_null() {
        return Err(shortage);
    }
    pages::advise(memory.cast(), layout.size());
    // SAFETY: the global allocator made it for exactly `count` values, all bits zero, which is a valid `Number`.
    Ok(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(memory, count)) }.into_vec())
}

/// An array of zeros.
pub fn zero_array<T: Number>(shape: [usize; 3]) -> Result<Array3<T>, Shortage> {
    let count = shape.iter().fold(1_usize, |count, &size| count.saturating_mul(size));
    let shortage = Shortage(count.saturating_mul(size_of::<T>()));
    Array3::from_shape_vec(shape, zeros(count)?).map_err(|_| shortage)
}

/// Fails where the system reports less free memory than this many bytes. This is asked beforehand, since memory is
/// overcommitted: the process would be killed when it writes to it.
pub fn has_room(bytes: u64, at: impl FnOnce() -> String) -> Result<()> {
    /// Smaller amounts are not asked for.
    const LITTLE: u64 = 1 << 28;
    let kilobytes = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let most = || {
        let free = fs::read_to_string("/proc/meminfo").ok().and_then(kilobytes)? << 10;
        let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
        let limit = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
        Some(free.min(limit))
    };
    match (bytes > LITTLE).then(most).flatten() {
        Some(most) if bytes > most => Err(Error::OutOfMemory {
            at: at(),
            message: format!("it takes {bytes} bytes, and there are {most}"),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_says_how_much() {
        assert_eq!(room::<f32>(usize::MAX / 2), Err(Shortage(usize::MAX)));
        assert_eq!(zeros::<f32>(1 << 60), Err(Shortage(1 << 62)));
        assert_eq!(probe(1 << 62), Err(Shortage(1 << 62)));
        let error = Shortage(12).at("x.png");
        assert_eq!(error.to_string(), "x.png: out of memory: expected 12 bytes, got none");
    }

    #[test]
    fn zeros_are_zeros() {
        assert_eq!(zeros::<f32>(3), Ok(vec![0.0; 3]));
        assert_eq!(zeros::<u8>(0), Ok(vec![]));
        assert_eq!(zero_array::<f32>([1, 2, 3]), Ok(Array3::<f32>::zeros([1, 2, 3])));
        assert_eq!(zero_array::<f32>([1 << 40, 1 << 40, 1]), Err(Shortage(usize::MAX)));
    }
}
