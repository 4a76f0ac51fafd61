//! Memory of numbers: places in buffers that threads share.

use std::cell::Cell;
use std::marker::PhantomData;

use super::form::Form;
use crate::error::Result;
pub(super) use crate::memory::Buffer;

/// A buffer of zeros. Fails where there is not so much memory.
pub(super) fn zeros(len: usize) -> Result<Buffer> {
    Buffer::zeros(len).map_err(|shortage| shortage.at("inference"))
}

impl Buffer {
    /// The first `len` numbers, of any value: NaN in builds with debug assertions, so that results show who reads them.
    pub(super) fn lend(&mut self, len: usize) -> Target<'_> {
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

    /// The address of `count` numbers of a form; the offset counts numbers.
    #[inline(always)]
    pub fn of(self, form: Form, offset: usize, count: usize) -> *const f32 {
        match form {
            Form::Float32 => self.at(offset, count),
            Form::BFloat16 => self.bytes_at(2 * offset, 2 * count).cast(),
            Form::Byte(_) => self.bytes_at(offset, count).cast(),
        }
    }

    /// The address of `count` bytes, counted in bytes like the offset.
    #[inline(always)]
    pub fn bytes_at(self, offset: usize, count: usize) -> *const u8 {
        debug_assert!(offset + count <= 4 * self.len, "{offset} + {count} of {} words", self.len);
        self.start.cast::<u8>().wrapping_add(offset)
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

    /// The address of `count` numbers of a form; the offset counts numbers.
    #[inline(always)]
    pub fn of(self, form: Form, offset: usize, count: usize) -> *mut f32 {
        match form {
            Form::Float32 => self.at(offset, count),
            Form::BFloat16 => self.bytes_at(2 * offset, 2 * count).cast(),
            Form::Byte(_) => self.bytes_at(offset, count).cast(),
        }
    }

    /// The address of `count` bytes, counted in bytes like the offset.
    #[inline(always)]
    pub fn bytes_at(self, offset: usize, count: usize) -> *mut u8 {
        debug_assert!(offset + count <= 4 * self.len, "{offset} + {count} of {} words", self.len);
        self.start.cast::<u8>().wrapping_add(offset)
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
    let kept = OWN.try_with(Cell::take).ok().flatten().filter(|own| own.as_slice().len() >= len);
    let mut own = match kept {
        Some(own) => own,
        None => zeros(len)?,
    };
    let value = function(own.lend(len));
    let _ = OWN.try_with(|place| place.set(Some(own)));
    Ok(value)
}
