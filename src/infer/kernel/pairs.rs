//! Numbers as pairs of bfloat16, each pair in a word of the size of a float32 number, for products of such pairs.

use super::super::simd::{Element, Instructions, Kernel, Simd, pair};

/// Writes pixels of so many channels as words; the last word of a pixel may have a zero.
pub(super) fn to_pairs(instructions: Instructions, channels: usize, from: &[f32], to: &mut [f32]) {
    /// Numbers that are copied together, with those zeros.
    const TOGETHER: usize = 256;
    if channels.is_multiple_of(2) {
        return flat(instructions, from, to);
    }
    let padded = channels + 1;
    if padded > TOGETHER {
        for (pixel, words) in from.chunks_exact(channels).zip(to.chunks_exact_mut(padded / 2)) {
            for (two, word) in pixel.chunks(2).zip(words) {
                *word = pair(two[0], two.get(1).copied().unwrap_or_default());
            }
        }
        return;
    }
    let pixels = TOGETHER / padded;
    let mut even = [0.0; TOGETHER];
    for (from, to) in from.chunks(pixels * channels).zip(to.chunks_mut(pixels * padded / 2)) {
        for (pixel, even) in from.chunks_exact(channels).zip(even.chunks_exact_mut(padded)) {
            even[..channels].copy_from_slice(pixel);
        }
        flat(instructions, &even[..2 * to.len()], to);
    }
}

/// Writes numbers, of which there are evenly many, as half as many words.
fn flat(instructions: Instructions, from: &[f32], to: &mut [f32]) {
    let count = from.len().min(2 * to.len());
    debug_assert!(from.len() == 2 * to.len());
    let pairs = Pairs { from: from.as_ptr(), to: to.as_mut_ptr(), count };
    instructions.run_with(Element::BFloat16, pairs);
}

struct Pairs {
    from: *const f32,
    to: *mut f32,
    count: usize,
}

impl Kernel for Pairs {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, to, count } = self;
        let mut at = 0;
        // SAFETY: of both slices, no more than `count` numbers are read, and half as many words written.
        unsafe {
            while at + 2 * S::LANES <= count {
                let (first, second) = (s.load(from.add(at)), s.load(from.add(at + S::LANES)));
                s.store(to.add(at / 2), s.pairs(first, second));
                at += 2 * S::LANES;
            }
            if at < count {
                let left = count - at;
                let (first, second) = (left.min(S::LANES), left.saturating_sub(S::LANES));
                let words = s.pairs(
                    s.load_part(from.wrapping_add(at), first),
                    s.load_part(from.wrapping_add(at + S::LANES), second),
                );
                s.store_part(to.add(at / 2), left / 2, words);
            }
        }
    }
}

/// Writes words of a number of `first` and one of `second` each.
pub(super) fn weave(instructions: Instructions, first: &[f32], second: &[f32], to: &mut [f32]) {
    debug_assert!(first.len() == to.len() && second.len() == to.len());
    let count = to.len().min(first.len()).min(second.len());
    let (first, second, to) = (first.as_ptr(), second.as_ptr(), to.as_mut_ptr());
    instructions.run_with(Element::BFloat16, Weave { first, second, to, count });
}

struct Weave {
    first: *const f32,
    second: *const f32,
    to: *mut f32,
    count: usize,
}

impl Kernel for Weave {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { first, second, to, count } = self;
        let mut at = 0;
        while at < count {
            let left = S::LANES.min(count - at);
            // SAFETY: of all slices, no more than `count` numbers are read or written.
            unsafe {
                let (a, b) =
                    (s.load_up_to(first.add(at), left), s.load_up_to(second.add(at), left));
                s.store_up_to(to.add(at), left, s.woven(a, b));
            }
            at += left;
        }
    }
}
