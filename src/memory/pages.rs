//! Huge pages, which a large amount of memory takes less time to get in.

pub(super) const HUGE_PAGE: usize = 2 << 20;

/// Asks for huge pages in this memory.
pub(super) fn advise(start: *mut u8, bytes: usize) {
    /// Less is not worth the call.
    const LEAST: usize = 4 * HUGE_PAGE;
    let begin = (start as usize).next_multiple_of(HUGE_PAGE) - start as usize;
    let whole = bytes.saturating_sub(begin) / HUGE_PAGE * HUGE_PAGE;
    if whole < LEAST {
        return;
    }
    #[cfg(target_os = "linux")]
    // SAFETY: whole pages within memory that is the caller's; the advice changes no contents.
    unsafe {
        libc::madvise(start.add(begin).cast(), whole, libc::MADV_HUGEPAGE);
    }
}
