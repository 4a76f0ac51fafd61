//! AVX-512: sixteen numbers in a vector.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _CMP_LT_OQ, _CMP_ORD_Q, _CMP_UNORD_Q,
    _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch,
    _mm_storeu_si128, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi32, _mm512_add_ps,
    _mm512_and_si512, _mm512_castps_si512, _mm512_castsi128_si512, _mm512_castsi256_si512,
    _mm512_castsi512_ps, _mm512_castsi512_si128, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_cvtps_epi32, _mm512_cvtusepi32_epi8,
    _mm512_div_ps, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_blend_epi32, _mm512_mask_blend_ps,
    _mm512_mask_max_ps, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_epi32,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_permutexvar_epi16,
    _mm512_rcp14_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_slli_epi32, _mm512_sqrt_ps, _mm512_srli_epi32, _mm512_storeu_ps, _mm512_sub_ps,
};

use std::mem::transmute;

use super::avx2::Avx2;
use super::vector::{Kernel, Simd};

/// Proof that the processor has AVX-512 F, and what every such processor has besides; with two or four
/// `FACTORS` in a word also the instructions that multiply pairs of bfloat16 numbers, or bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512<const FACTORS: usize = 1>(Avx2);

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        Avx2::new().filter(|_| is_x86_feature_detected!("avx512f")).map(Self)
    }

    /// The narrower vectors that it includes.
    pub(super) fn narrower(self) -> Avx2 {
        self.0
    }

    /// The same with the instructions for bfloat16, if there are any.
    pub(super) fn with_pairs(self) -> Option<Avx512<2>> {
        let are_there =
            is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw");
        are_there.then_some(Avx512(self.0))
    }

    /// The same with the instructions for bytes, if there are any.
    pub(super) fn with_quads(self) -> Option<Avx512<4>> {
        is_x86_feature_detected!("avx512vnni").then_some(Avx512(self.0))
    }

    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn inside<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe { inside(kernel, self) }
    }
}

impl Avx512<2> {
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
        fn inside<K: Kernel>(kernel: K, simd: Avx512<2>) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe { inside(kernel, self) }
    }
}

impl Avx512<4> {
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vnni,avx2,fma")]
        fn inside<K: Kernel>(kernel: K, simd: Avx512<4>) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe { inside(kernel, self) }
    }
}

const NO_PROOF: &str = "there is no proof that the processor has this instruction";

/// A bit for each of the first `count` lanes.
#[inline(always)]
fn mask(count: usize) -> u16 {
    ((1_u32 << count) - 1) as u16
}

/// Numbers of two halves of a vector in turn.
const WOVEN: [u16; 32] = {
    let mut order = [0; 32];
    let mut at = 0;
    while at < 32 {
        order[at] = (at / 2 + at % 2 * 16) as u16;
        at += 1;
    }
    order
};

/// Methods of one instruction.
macro_rules! instructions {
    ($($name:ident($($argument:ident),*) = $instruction:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($argument: __m512),*) -> __m512 {
            // SAFETY: `self` proves that the processor has this instruction.
            unsafe { $instruction }
        })*
    };
}

impl<const FACTORS: usize> Simd for Avx512<FACTORS> {
    type Vector = __m512;

    const LANES: usize = 16;
    const ROWS: [usize; 4] = [12, 12, 8, 6];

    #[inline(always)]
    fn splat(self, number: f32) -> __m512 {
        // SAFETY: `self` proves that the processor has this instruction.
        unsafe { _mm512_set1_ps(number) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: as above, and the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: __m512) {
        // SAFETY: as above, and the caller's promise.
        unsafe { _mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> __m512 {
        // SAFETY: as above; masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask(count), from) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize, vector: __m512) {
        // SAFETY: as above; masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(to, mask(count), vector) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }

    instructions! {
        add(a, b) = _mm512_add_ps(a, b);
        sub(a, b) = _mm512_sub_ps(a, b);
        mul(a, b) = _mm512_mul_ps(a, b);
        div(a, b) = _mm512_div_ps(a, b);
        max(a, b) = _mm512_max_ps(a, b);
        min(a, b) = _mm512_min_ps(a, b);
        max_or_nan(a, b) = _mm512_mask_max_ps(a, _mm512_cmp_ps_mask::<_CMP_ORD_Q>(a, a), a, b);
        sqrt(a) = _mm512_sqrt_ps(a);
        fma(a, b, c) = _mm512_fmadd_ps(a, b, c);
        round(a) = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        times_power_of_two(a, b) = _mm512_scalef_ps(a, b);
        reciprocal(a) = {
            // 14 digits, which a step of Newton's method doubles.
            let near = _mm512_rcp14_ps(a);
            _mm512_mul_ps(near, _mm512_fnmadd_ps(a, near, _mm512_set1_ps(2.0)))
        };
        select_less(a, b, then, otherwise) =
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), otherwise, then);
        dot_pairs(a, b, c) = {
            assert!(FACTORS == 2, "{NO_PROOF}");
            let of = |pairs| transmute::<__m512, __m512bh>(pairs);
            _mm512_dpbf16_ps(c, of(a), of(b))
        };
        pairs(first, second) = {
            assert!(FACTORS == 2, "{NO_PROOF}");
            transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(second, first))
        };
        woven(a, b) = {
            assert!(FACTORS == 2, "{NO_PROOF}");
            // All of `a` lie before those of `b`.
            let halves = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a));
            let order = _mm512_loadu_si512(WOVEN.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))
        };
        dot_quads(a, b, c) = {
            assert!(FACTORS == 4, "{NO_PROOF}");
            let [a, b, c] = [a, b, c].map(|words| _mm512_castps_si512(words));
            _mm512_castsi512_ps(_mm512_dpbusd_epi32(c, a, b))
        };
        of_integers(a) = _mm512_cvtepi32_ps(_mm512_castps_si512(a));
    }

    #[inline(always)]
    fn unwoven(self, words: __m512) -> (__m512, __m512) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe {
            let words = _mm512_castps_si512(words);
            let first = _mm512_slli_epi32::<16>(words);
            let second = _mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
            (_mm512_castsi512_ps(first), _mm512_castsi512_ps(second))
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8, count: usize) -> __m512 {
        // SAFETY: `self` proves that the processor has these instructions; the caller's promise; masked words are not read.
        unsafe {
            let bytes = if count == Self::LANES {
                _mm_loadu_si128(from.cast())
            } else {
                let words = _mm512_maskz_loadu_epi32(mask(count / 4), from.cast());
                _mm512_castsi512_si128(words)
            };
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16, count: usize) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let halves = if count == Self::LANES {
                _mm256_loadu_si256(from.cast())
            } else {
                let words = _mm512_maskz_loadu_epi32(mask(count / 2), from.cast());
                _mm512_castsi512_si256(words)
            };
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    unsafe fn store_halves(self, to: *mut u16, count: usize, vector: __m512) {
        // SAFETY: as above, and that of bfloat16 where there is proof of it; masked words are not written.
        unsafe {
            let halves = if FACTORS == 2 {
                transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(vector))
            } else {
                let bits = _mm512_castps_si512(vector);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
                let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
                let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(vector, vector);
                let nan = _mm512_set1_epi32(0x7fc0);
                _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(is_nan, rounded, nan))
            };
            if count == Self::LANES {
                _mm256_storeu_si256(to.cast(), halves);
            } else {
                let words = _mm512_castsi256_si512(halves);
                _mm512_mask_storeu_epi32(to.cast(), mask(count / 2), words);
            }
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, count: usize, vector: __m512) {
        // SAFETY: as above; masked words are not written.
        unsafe {
            let bytes = _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(vector));
            if count == Self::LANES {
                _mm_storeu_si128(to.cast(), bytes);
            } else {
                let words = _mm512_castsi128_si512(bytes);
                _mm512_mask_storeu_epi32(to.cast(), mask(count / 4), words);
            }
        }
    }
}
