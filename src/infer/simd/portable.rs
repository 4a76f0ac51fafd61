//! Vectors as arrays, for every machine: the other implementations are compared with this one.

use super::vector::{Kernel, Simd};

#[derive(Clone, Copy)]
pub(super) struct Portable;

const LANES: usize = 8;

type Vector = [f32; LANES];

fn each(a: Vector, b: Vector, of: impl Fn(f32, f32) -> f32) -> Vector {
    std::array::from_fn(|lane| of(a[lane], b[lane]))
}

impl Portable {
    /// A function of its own, as with the other instructions: a kernel holds all that it inlines on the stack of its caller.
    #[inline(never)]
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

impl Simd for Portable {
    type Vector = Vector;

    const LANES: usize = LANES;
    const ROWS: [usize; 4] = [4, 4, 0, 0];

    fn splat(self, number: f32) -> Vector {
        [number; LANES]
    }

    unsafe fn load(self, from: *const f32) -> Vector {
        // SAFETY: the caller's promise; an array of numbers is aligned like one number.
        unsafe { from.cast::<Vector>().read_unaligned() }
    }

    unsafe fn store(self, to: *mut f32, vector: Vector) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Vector>().write_unaligned(vector) }
    }

    unsafe fn load_part(self, from: *const f32, count: usize) -> Vector {
        let mut vector = [0.0; LANES];
        for (lane, number) in vector.iter_mut().enumerate().take(count) {
            // SAFETY: `lane` is less than `count`; the caller's promise.
            *number = unsafe { *from.add(lane) };
        }
        vector
    }

    unsafe fn store_part(self, to: *mut f32, count: usize, vector: Vector) {
        for (lane, number) in vector.into_iter().enumerate().take(count) {
            // SAFETY: `lane` is less than `count`; the caller's promise.
            unsafe { *to.add(lane) = number };
        }
    }

    fn prefetch(self, _: *const f32) {}

    fn add(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| a + b)
    }

    fn sub(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| a - b)
    }

    fn mul(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| a * b)
    }

    fn div(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| a / b)
    }

    fn max(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    fn min(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    fn max_or_nan(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| if a > b || a.is_nan() { a } else { b })
    }

    fn sqrt(self, a: Vector) -> Vector {
        a.map(f32::sqrt)
    }

    fn fma(self, a: Vector, b: Vector, c: Vector) -> Vector {
        // Without the instruction, `mul_add` would call a function for every number.
        each(each(a, b, |a, b| a * b), c, |product, c| product + c)
    }

    fn round(self, a: Vector) -> Vector {
        a.map(f32::round_ties_even)
    }

    fn times_power_of_two(self, a: Vector, b: Vector) -> Vector {
        each(a, b, |a, b| a * f32::from_bits(((b as i32 + 127) as u32) << 23))
    }

    fn reciprocal(self, a: Vector) -> Vector {
        a.map(f32::recip)
    }

    fn select_less(self, a: Vector, b: Vector, then: Vector, otherwise: Vector) -> Vector {
        std::array::from_fn(|lane| if a[lane] < b[lane] { then[lane] } else { otherwise[lane] })
    }
}

impl PartialEq for Portable {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
