//! Numbers of any form, read and written as vectors of float32 numbers.

use super::super::form::Form;
use super::super::simd::Simd;

/// The numbers of all lanes combined, two by two, which takes less time than one after the other.
#[inline(always)]
pub(super) fn fold<T: Copy>(mut lanes: [T; 16], of: impl Fn(T, T) -> T) -> T {
    for half in [8, 4, 2, 1] {
        for at in 0..half {
            lanes[at] = of(lanes[at], lanes[at + half]);
        }
    }
    lanes[0]
}

/// Numbers from channel `at` on of a pixel, the first `count` lanes.
///
/// # Safety
/// The pixel must have so many channels, which are readable; `count` numbers are whole words.
#[inline(always)]
pub(super) unsafe fn read<S: Simd>(
    s: S,
    form: Form,
    pixel: *const f32,
    at: usize,
    count: usize,
) -> S::Vector {
    // SAFETY: the caller's promise.
    unsafe {
        match form {
            Form::Float32 => s.load_up_to(pixel.add(at), count),
            Form::BFloat16 => s.load_halves(pixel.cast::<u16>().add(at), count),
            Form::Byte(scale) => {
                let bytes = s.load_bytes(pixel.cast::<u8>().add(at), count);
                s.fma(bytes, s.splat(scale.step), s.splat(scale.shift()))
            }
        }
    }
}

/// Writes the first `count` lanes from channel `at` of a pixel on.
///
/// # Safety
/// The pixel must have so many channels, which are writable; `count` numbers are whole words.
#[inline(always)]
pub(super) unsafe fn write<S: Simd>(
    s: S,
    form: Form,
    pixel: *mut f32,
    (at, count): (usize, usize),
    numbers: S::Vector,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match form {
            Form::Float32 => s.store_up_to(pixel.add(at), count, numbers),
            Form::BFloat16 => s.store_halves(pixel.cast::<u16>().add(at), count, numbers),
            Form::Byte(scale) => {
                let (per, zero) = (1.0 / scale.step, f32::from(scale.zero));
                let bytes = s.fma(numbers, s.splat(per), s.splat(zero));
                let bytes = s.min(s.max(bytes, s.splat(0.0)), s.splat(255.0));
                s.store_bytes(pixel.cast::<u8>().add(at), count, bytes);
            }
        }
    }
}
