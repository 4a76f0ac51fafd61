//! AVX-512: sixteen numbers in a vector.

use std::arch::x86_64::{
    __m512, __m512bh, _CMP_LT_OQ, _CMP_ORD_Q, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT,
    _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cvtne2ps_pbh,
    _mm512_div_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps,
    _mm512_mask_blend_ps, _mm512_mask_max_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_rcp14_ps, _mm512_roundscale_ps,
    _mm512_scalef_ps, _mm512_set1_ps, _mm512_sqrt_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use std::mem::transmute;

use super::avx2::Avx2;
use super::vector::{Kernel, Simd};

/// Proof that the processor has AVX-512 F, and what every such processor has besides; with `PAIRS` also the instructions for
/// bfloat16.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512<const PAIRS: bool = false>(Avx2);

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        Avx2::new().filter(|_| is_x86_feature_detected!("avx512f")).map(Self)
    }

    /// The narrower vectors that it includes.
    pub(super) fn narrower(self) -> Avx2 {
        self.0
    }

    /// The same with the instructions for bfloat16, if there are any.
    pub(super) fn with_pairs(self) -> Option<Avx512<true>> {
        is_x86_feature_detected!("avx512bf16").then_some(Avx512(self.0))
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

impl Avx512<true> {
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
        fn inside<K: Kernel>(kernel: K, simd: Avx512<true>) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe { inside(kernel, self) }
    }
}

const NO_PAIRS: &str = "there is no proof that the processor has AVX512-BF16";

/// A bit for each of the first `count` lanes.
#[inline(always)]
fn mask(count: usize) -> u16 {
    ((1_u32 << count) - 1) as u16
}

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

impl<const PAIRS: bool> Simd for Avx512<PAIRS> {
    type Vector = __m512;

    const LANES: usize = 16;
    const ROWS: usize = 12;
    const ROWS_OF_ONE: usize = 12;

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
            assert!(PAIRS, "{NO_PAIRS}");
            let of = |pairs| transmute::<__m512, __m512bh>(pairs);
            _mm512_dpbf16_ps(c, of(a), of(b))
        };
        pairs(first, second) = {
            assert!(PAIRS, "{NO_PAIRS}");
            transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(second, first))
        };
    }
}
