//! Memory of numbers: aligned buffers, and places in them that threads share.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::error::{Error, Result};

/// Numbers that begin on a cache line; those of large buffers on a huge page.
pub(super) struct Buffer {
    start: NonNull<f32>,
    len: usize,
}

/// A cache line.
const LINE: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

impl Buffer {
    /// Zeros. Fails where there is not so much memory.
    pub fn zeros(len: usize) -> Result<Self> {
        let refused = || Error::OutOfMemory {
            at: "inference".into(),
            message: format!("{len} numbers were asked for"),
        };
        let layout = Self::layout(len).ok_or_else(refused)?;
        // Zeros are written below: `alloc_zeroed` would write them, as is due for this alignment, before the advice, and
        // so into small pages.
        // SAFETY: the layout has at least one number.
        let start = unsafe { alloc(layout) };
        #[allow(clippy::cast_ptr_alignment, reason = "the layout is aligned to a cache line")]
        let start = NonNull::new(start.cast::<f32>()).ok_or_else(refused)?;
        #[cfg(target_os = "linux")]
        if layout.align() == HUGE_PAGE {
            // SAFETY: the range is the one just allocated; the advice changes no contents.
            unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        // SAFETY: the range is the one just allocated.
        unsafe { start.as_ptr().cast::<u8>().write_bytes(0, layout.size()) };
        Ok(Self { start, len })
    }

    fn layout(len: usize) -> Option<Layout> {
        // Not more than are asked for, so that AddressSanitizer sees what reaches beyond.
        let bytes = len.max(1).checked_mul(size_of::<f32>())?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        Layout::from_size_align(bytes, align).ok()
    }

    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: so many numbers were allocated, and initialised with zeros.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The first `len` numbers, of any value: NaN in builds with debug assertions, so that results show who reads them.
    pub fn lend(&mut self, len: usize) -> Target<'_> {
        let all = Target::from(self.as_mut_slice());
        all.close();
        let lent = all.part(0, len);
        lent.open();
        if cfg!(debug_assertions) {
            // SAFETY: the buffer is borrowed exclusively, and nobody else has been lent it.
            unsafe { lent.slice(0, len) }.fill(f32::NAN);
        }
        lent
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

// SAFETY: a buffer owns its memory, and gives access to it like a vector.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.len)
    }
}

/// Numbers that are read while other threads write elsewhere in the same buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    start: *const f32,
    len: usize,
    lifetime: PhantomData<&'a f32>,
}

/// Numbers that several threads write, each in places of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    start: *mut f32,
    len: usize,
    lifetime: PhantomData<&'a f32>,
}

// SAFETY: threads get raw pointers, whose use is unsafe.
unsafe impl Send for Source<'_> {}
// SAFETY: as above.
unsafe impl Sync for Source<'_> {}
// SAFETY: as above.
unsafe impl Send for Target<'_> {}
// SAFETY: as above.
unsafe impl Sync for Target<'_> {}

#[cfg(sanitized)]
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const std::ffi::c_void, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const std::ffi::c_void, bytes: usize);
}

impl<'a> From<&'a [f32]> for Source<'a> {
    fn from(numbers: &'a [f32]) -> Self {
        Self { start: numbers.as_ptr(), len: numbers.len(), lifetime: PhantomData }
    }
}

impl<'a> From<&'a mut [f32]> for Target<'a> {
    fn from(numbers: &'a mut [f32]) -> Self {
        Self { start: numbers.as_mut_ptr(), len: numbers.len(), lifetime: PhantomData }
    }
}

impl<'a> Source<'a> {
    /// The address of `count` numbers. Builds with debug assertions check that they are within.
    #[inline(always)]
    pub fn at(self, offset: usize, count: usize) -> *const f32 {
        debug_assert!(offset + count <= self.len, "{offset} + {count} of {}", self.len);
        self.start.wrapping_add(offset)
    }

    /// `count` numbers.
    ///
    /// # Safety
    /// Nobody writes to them while the slice lives.
    #[inline(always)]
    pub unsafe fn slice(self, offset: usize, count: usize) -> &'a [f32] {
        // SAFETY: builds with debug assertions check that they are within; the caller's promise.
        unsafe { std::slice::from_raw_parts(self.at(offset, count), count) }
    }

    /// The numbers from an offset on.
    pub fn skip(self, offset: usize) -> Self {
        let len = self.len.saturating_sub(offset);
        Self { start: self.at(offset.min(self.len), len), len, lifetime: PhantomData }
    }
}

impl<'a> Target<'a> {
    /// The address of `count` numbers. Builds with debug assertions check that they are within.
    #[inline(always)]
    pub fn at(self, offset: usize, count: usize) -> *mut f32 {
        debug_assert!(offset + count <= self.len, "{offset} + {count} of {}", self.len);
        self.start.wrapping_add(offset)
    }

    /// `count` numbers.
    ///
    /// # Safety
    /// Nobody else reads or writes them while the slice lives.
    #[inline(always)]
    pub unsafe fn slice(self, offset: usize, count: usize) -> &'a mut [f32] {
        // SAFETY: builds with debug assertions check that they are within; the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(offset, count), count) }
    }

    /// The numbers from an offset on.
    pub fn skip(self, offset: usize) -> Self {
        self.part(offset, self.len.saturating_sub(offset))
    }

    /// A part of it.
    pub fn part(self, offset: usize, len: usize) -> Self {
        Self { start: self.at(offset, len), len, lifetime: PhantomData }
    }

    /// Lets AddressSanitizer report whoever reads or writes these numbers, until they are opened.
    #[allow(clippy::unused_self, reason = "only a sanitizer is told")]
    pub fn close(self) {
        #[cfg(sanitized)]
        // SAFETY: the numbers belong to a buffer; they do not change.
        unsafe {
            __asan_poison_memory_region(self.start.cast(), self.len * size_of::<f32>());
        }
    }

    #[allow(clippy::unused_self, reason = "only a sanitizer is told")]
    pub fn open(self) {
        #[cfg(sanitized)]
        // SAFETY: as above.
        unsafe {
            __asan_unpoison_memory_region(self.start.cast(), self.len * size_of::<f32>());
        }
    }

    /// The same numbers, to be read.
    pub fn source(self) -> Source<'a> {
        Source { start: self.start, len: self.len, lifetime: PhantomData }
    }
}

/// Calls `function` with `len` numbers that are the thread's own, of any value: what a task computes on the way. They
/// stay allocated for the next task. Fails where there is not so much memory.
pub(super) fn with_own<T>(len: usize, function: impl FnOnce(Target<'_>) -> T) -> Result<T> {
    thread_local! {
        static OWN: Cell<Option<Buffer>> = const { Cell::new(None) };
    }
    // A task within a task, or one while the thread ends, gets other memory.
    let kept = OWN.try_with(Cell::take).ok().flatten().filter(|own| own.len >= len);
    let mut own = match kept {
        Some(own) => own,
        None => Buffer::zeros(len)?,
    };
    let value = function(own.lend(len));
    let _ = OWN.try_with(|place| place.set(Some(own)));
    Ok(value)
}
