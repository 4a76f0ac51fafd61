//! Numbers as pairs of bfloat16, each pair in a word of the size of a float32 number, for products of such pairs.

use super::super::form::Form;
use super::super::simd::{Element, Instructions, Kernel, Simd, pair};
use super::numbers::read;

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

/// Writes words of a number of each of two pixels of a form, from channel `at` of both on.
///
/// # Safety
/// Both pixels have so many channels from there on, to which nobody writes meanwhile; of bfloat16, evenly many.
pub(super) unsafe fn weave(
    instructions: Instructions,
    form: Form,
    pixels: [*const f32; 2],
    at: usize,
    to: &mut [f32],
) {
    instructions.run_with(Element::BFloat16, Weave { form, pixels, at, to });
}

struct Weave<'a> {
    form: Form,
    pixels: [*const f32; 2],
    at: usize,
    to: &'a mut [f32],
}

impl Kernel for Weave<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { form, pixels, at, to } = self;
        for (part, to) in to.chunks_mut(S::LANES).enumerate() {
            let at = at + part * S::LANES;
            // SAFETY: whoever gave the pixels promises their channels.
            unsafe {
                let [a, b] = pixels.map(|pixel| read(s, form, pixel, at, to.len()));
                s.store_up_to(to.as_mut_ptr(), to.len(), s.woven(a, b));
            }
        }
    }
}
