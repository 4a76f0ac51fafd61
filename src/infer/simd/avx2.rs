//! AVX2 with FMA: eight numbers in a vector.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_LT_OQ, _CMP_UNORD_Q, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT,
    _MM_HINT_T1, _mm_cvtsi32_si128, _mm_cvtsi128_si32, _mm_loadl_epi64, _mm_packus_epi16,
    _mm_packus_epi32, _mm_prefetch, _mm_setzero_si128, _mm_storel_epi64, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_si256, _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cmpgt_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi32, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_extracti128_si256,
    _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_madd_epi16, _mm256_maskload_ps,
    _mm256_maskstore_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_rcp_ps,
    _mm256_round_ps, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32,
    _mm256_slli_epi16, _mm256_slli_epi32, _mm256_sqrt_ps, _mm256_srai_epi16, _mm256_srli_epi16,
    _mm256_storeu_ps, _mm256_sub_ps,
};

use super::vector::{Kernel, Simd};

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn inside<K: Kernel>(kernel: K, simd: Avx2) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe { inside(kernel, self) }
    }
}

/// All bits of the first `count` lanes.
#[inline(always)]
fn mask(count: usize) -> __m256i {
    // SAFETY: only called with an `Avx2`, which proves that the processor has these instructions.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
    }
}

/// Methods of one instruction.
macro_rules! instructions {
    ($($name:ident($($argument:ident),*) = $instruction:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($argument: __m256),*) -> __m256 {
            // SAFETY: `self` proves that the processor has this instruction.
            unsafe { $instruction }
        })*
    };
}

impl Simd for Avx2 {
    type Vector = __m256;

    const LANES: usize = 8;
    const ROWS: [usize; 4] = [12, 6, 0, 0];

    #[inline(always)]
    fn splat(self, number: f32) -> __m256 {
        // SAFETY: `self` proves that the processor has this instruction.
        unsafe { _mm256_set1_ps(number) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: as above, and the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: __m256) {
        // SAFETY: as above, and the caller's promise.
        unsafe { _mm256_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> __m256 {
        // SAFETY: as above; masked lanes are not read.
        unsafe { _mm256_maskload_ps(from, mask(count)) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize, vector: __m256) {
        // SAFETY: as above; masked lanes are not written.
        unsafe { _mm256_maskstore_ps(to, mask(count), vector) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }

    instructions! {
        add(a, b) = _mm256_add_ps(a, b);
        sub(a, b) = _mm256_sub_ps(a, b);
        mul(a, b) = _mm256_mul_ps(a, b);
        div(a, b) = _mm256_div_ps(a, b);
        max(a, b) = _mm256_max_ps(a, b);
        min(a, b) = _mm256_min_ps(a, b);
        max_or_nan(a, b) =
            _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a));
        sqrt(a) = _mm256_sqrt_ps(a);
        fma(a, b, c) = _mm256_fmadd_ps(a, b, c);
        round(a) = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        times_power_of_two(a, b) = {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(b), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        };
        reciprocal(a) = {
            // 12 digits, which a step of Newton's method doubles.
            let near = _mm256_rcp_ps(a);
            _mm256_mul_ps(near, _mm256_fnmadd_ps(a, near, _mm256_set1_ps(2.0)))
        };
        select_less(a, b, then, otherwise) =
            _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        dot_quads(a, b, c) = {
            // The instruction for bytes has sums of 16 bits, which overflow: so those in even and in odd places, as integers
            // of 16 bits.
            let [a, b, c] = [a, b, c].map(|words| _mm256_castps_si256(words));
            let low = _mm256_set1_epi16(0xff);
            let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b));
            let even = _mm256_madd_epi16(_mm256_and_si256(a, low), even);
            let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(a), _mm256_srai_epi16::<8>(b));
            _mm256_castsi256_ps(_mm256_add_epi32(c, _mm256_add_epi32(even, odd)))
        };
        of_integers(a) = _mm256_cvtepi32_ps(_mm256_castps_si256(a));
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8, count: usize) -> __m256 {
        // SAFETY: `self` proves that the processor has these instructions; the caller's promise.
        unsafe {
            let bytes = match count {
                8 => _mm_loadl_epi64(from.cast()),
                4 => _mm_cvtsi32_si128(from.cast::<i32>().read_unaligned()),
                _ => _mm_setzero_si128(),
            };
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, count: usize, vector: __m256) {
        // SAFETY: as above.
        unsafe {
            let integers = _mm256_cvtps_epi32(vector);
            let high = _mm256_extracti128_si256::<1>(integers);
            let words = _mm_packus_epi32(_mm256_castsi256_si128(integers), high);
            let bytes = _mm_packus_epi16(words, words);
            match count {
                8 => _mm_storel_epi64(to.cast(), bytes),
                4 => to.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(bytes)),
                _ => {}
            }
        }
    }
}
