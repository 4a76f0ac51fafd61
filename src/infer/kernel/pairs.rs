//! Numbers as pairs of bfloat16, each pair in a word of the size of a float32 number, for products of such pairs.

use super::super::simd::{Element, Instructions, Kernel, Simd};

/// Writes numbers, of which there are evenly many, as half as many words.
pub(super) fn to_pairs(instructions: Instructions, from: &[f32], to: &mut [f32]) {
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
