//! Memory that a training step frees, and the C library's handling of it.

/// Makes the C library keep freed memory for the next step, which needs as much again. By default it returns large
/// blocks to the system, and the kernel clears each page at its first use: up to a fifth of a step's time.
///
/// The setting holds for the whole process, so it is made at the first step, and only where nobody set glibc's own
/// variables for it. Other C libraries are left as they are.
pub(super) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep();
}

/// Returns freed memory to the system.
pub(super) fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::give_back();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::env::var_os;
    use std::ffi::c_int;
    use std::sync::Once;

    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
        fn malloc_trim(left: usize) -> c_int;
    }

    /// From `malloc.h`: the size of free memory at the end of the heap that goes back to the system, and the size from
    /// which a block is mapped on its own, and returned when it is freed.
    const TRIM_THRESHOLD: c_int = -1;
    const MMAP_THRESHOLD: c_int = -3;
    const NEVER: c_int = -1;
    /// Glibc before 2.35 refuses more than the second.
    const MAPPED_FROM: [c_int; 2] = [1 << 30, 1 << 25];

    static KEPT: Once = Once::new();

    pub(super) fn keep() {
        KEPT.call_once(|| {
            let set = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];
            if set.iter().any(|name| var_os(name).is_some()) {
                return;
            }
            // SAFETY: mallopt takes any numbers, in any thread.
            unsafe {
                let _ = mallopt(TRIM_THRESHOLD, NEVER);
                let _ = MAPPED_FROM.iter().any(|&size| mallopt(MMAP_THRESHOLD, size) == 1);
            }
        });
    }

    pub(super) fn give_back() {
        if KEPT.is_completed() {
            // SAFETY: malloc_trim takes any number, in any thread.
            let _ = unsafe { malloc_trim(0) };
        }
    }
}
