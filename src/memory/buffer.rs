//! Buffers of numbers on huge pages.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
#[cfg(target_os = "linux")]
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

use super::Shortage;
use super::pages::HUGE_PAGE;

/// Numbers that begin on a cache line, on huge pages.
pub struct Buffer {
    start: NonNull<f32>,
    len: usize,
    _region: Arc<Region>,
}

/// A cache line.
const LINE: usize = 64;

/// Bytes of the largest buffer that shares a region.
const MOST_SHARED: usize = 4 * HUGE_PAGE;

impl Buffer {
    /// Zeros.
    pub fn zeros(len: usize) -> Result<Self, Shortage> {
        Self::allocated(len).ok_or(Shortage(len.saturating_mul(size_of::<f32>())))
    }

    /// A buffer with these numbers.
    pub fn copied(numbers: &[f32]) -> Result<Self, Shortage> {
        let mut copy = Self::zeros(numbers.len())?;
        copy.as_mut_slice().copy_from_slice(numbers);
        Ok(copy)
    }

    fn allocated(len: usize) -> Option<Self> {
        let bytes = len.max(1).checked_mul(size_of::<f32>())?;
        let (region, place) = if bytes > MOST_SHARED || cfg!(debug_assertions) {
            // Alone, and not more than was asked for, so that AddressSanitizer sees what reaches beyond.
            (Region::new(bytes)?, 0)
        } else {
            Self::shared(bytes.next_multiple_of(LINE))?
        };
        // SAFETY: the region has so many bytes from this place on, which belong to nobody else.
        let start = unsafe { region.start.add(place) };
        Some(Self { start: start.cast(), len, _region: region })
    }

    /// A place in the region that buffers share, which would each leave a part of a huge page unused. Weights of a network in
    /// small pages would cost a fifth of the time of some layers, since the processor looks up each page.
    fn shared(bytes: usize) -> Option<(Arc<Region>, usize)> {
        static REGION: Mutex<Option<(Arc<Region>, usize)>> = Mutex::new(None);
        // Pages that nobody has touched take no memory.
        const SIZE: usize = 4 * MOST_SHARED;
        let alone = || Some((Region::new(bytes)?, 0));
        // Another thread may be here, or may have been when the process was forked.
        let Ok(mut current) = REGION.try_lock() else { return alone() };
        let full = |(_, used): &(_, usize)| used + bytes > SIZE;
        if current.as_ref().is_none_or(full) {
            *current = Region::new(SIZE).map(|region| (region, 0));
        }
        let Some((region, used)) = current.as_mut() else { return alone() };
        let place = *used;
        *used += bytes;
        Some((Arc::clone(region), place))
    }

    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: so many numbers were allocated, and initialised with zeros.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Zeros of one buffer, or of several small ones, which are freed with the last of them.
struct Region {
    start: NonNull<u8>,
    bytes: usize,
    is_mapped: bool,
}

impl Region {
    fn new(bytes: usize) -> Option<Arc<Self>> {
        let mapped = if cfg!(debug_assertions) { None } else { Self::mapped(bytes) };
        mapped.or_else(|| Self::allocated(bytes)).map(Arc::new)
    }

    /// Pages of zeros, whose memory is found by the threads that first write to them. None where they are few.
    #[cfg(target_os = "linux")]
    fn mapped(bytes: usize) -> Option<Self> {
        if bytes < HUGE_PAGE {
            return None;
        }
        let length = bytes.checked_next_multiple_of(HUGE_PAGE)?;
        let mapped = length.checked_add(HUGE_PAGE)?;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a mapping at a place that the system chooses changes no other memory.
        let start = unsafe { libc::mmap(null_mut(), mapped, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let before = (start as usize).next_multiple_of(HUGE_PAGE) - start as usize;
        // SAFETY: both ends are within the mapping, whole pages, and nobody has an address in them; the advice changes no
        // contents.
        unsafe {
            let aligned = start.cast::<u8>().add(before);
            if before > 0 {
                libc::munmap(start, before);
            }
            libc::munmap(aligned.add(length).cast(), HUGE_PAGE - before);
            libc::madvise(aligned.cast(), length, libc::MADV_HUGEPAGE);
            Some(Self { start: NonNull::new(aligned)?, bytes: length, is_mapped: true })
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn mapped(_: usize) -> Option<Self> {
        None
    }

    fn allocated(bytes: usize) -> Option<Self> {
        // SAFETY: the layout has at least one number.
        let start = NonNull::new(unsafe { alloc_zeroed(Self::layout(bytes)?) })?;
        Some(Self { start, bytes, is_mapped: false })
    }

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, LINE).ok()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.is_mapped {
            // SAFETY: so much was mapped, and the last buffer in it is gone.
            #[cfg(target_os = "linux")]
            unsafe {
                libc::munmap(self.start.as_ptr().cast(), self.bytes)
            };
        } else if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

// SAFETY: a region only owns memory, which its buffers use.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}
// SAFETY: a buffer owns its memory, and gives access to it like a vector.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_buffers_share_a_region_and_overlap_nowhere() {
        let mut places = Vec::new();
        for bytes in [LINE, 3 * LINE, HUGE_PAGE - LINE, LINE].repeat(12) {
            let (region, place) = Buffer::shared(bytes).unwrap();
            let start = region.start.as_ptr() as usize + place;
            assert!(place + bytes <= region.bytes);
            assert!(start.is_multiple_of(LINE));
            places.push((start, start + bytes, region));
        }
        places.sort_by_key(|(start, ..)| *start);
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        let regions = places.iter().map(|(.., region)| Arc::as_ptr(region));
        let regions: std::collections::HashSet<_> = regions.collect();
        assert!(regions.len() < places.len() / 4, "{} regions", regions.len());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn large_buffers_begin_on_a_huge_page_and_are_given_back() {
        for bytes in [HUGE_PAGE, 3 * HUGE_PAGE + LINE, 64 * HUGE_PAGE] {
            for _ in 0..200 {
                let region = Region::mapped(bytes).unwrap();
                assert!((region.start.as_ptr() as usize).is_multiple_of(HUGE_PAGE));
                for place in [0, bytes / 2, bytes - 1] {
                    // SAFETY: the place is within the region.
                    unsafe {
                        let byte = region.start.add(place);
                        assert_eq!(byte.read(), 0);
                        byte.write(1);
                    }
                }
            }
        }
        assert!(Region::mapped(LINE).is_none());
        assert!(Region::mapped(1 << 60).is_none());
    }

    #[test]
    fn buffers_are_zeros() {
        for len in [0, 1, 17, 4096, HUGE_PAGE / 4, HUGE_PAGE / 4 + 1] {
            let buffer = Buffer::zeros(len).unwrap();
            assert_eq!(buffer.as_slice().len(), len);
            assert!(buffer.as_slice().iter().all(|number| *number == 0.0));
        }
        assert!(Buffer::zeros(usize::MAX / 2).is_err());
    }
}
