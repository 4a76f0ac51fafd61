//! Vectors of float32 numbers, and code that is compiled for every kind of them.

/// The type of the factors of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::infer) enum Element {
    Float32,
    /// Pairs of neighbours in a row, each pair in the place of a float32 number. Sums are float32.
    BFloat16,
    /// Four neighbours in a row, in the place of a float32 number. Sums are integers.
    Byte,
}

impl Element {
    /// Factors in a word, which has the size of a float32 number.
    pub fn per_word(self) -> usize {
        match self {
            Self::Float32 => 1,
            Self::BFloat16 => 2,
            Self::Byte => 4,
        }
    }
}

/// A set of instructions. A value of such a type exists only where the processor has them, so its methods may use them.
///
/// Where an operand of `max` or `min` is NaN, the result is the second one.
pub(in crate::infer) trait Simd: Copy + Send + Sync + 'static {
    type Vector: Copy;

    /// Numbers in a vector.
    const LANES: usize;
    /// Rows of the largest tile of a matrix product that stays in registers, by its width of one to four vectors; none for
    /// those too wide.
    const ROWS: [usize; 4];

    fn splat(self, number: f32) -> Self::Vector;
    /// # Safety
    /// `LANES` numbers must be readable there.
    unsafe fn load(self, from: *const f32) -> Self::Vector;
    /// # Safety
    /// `LANES` numbers must be writable there.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);
    /// The first `count` numbers, and zeros.
    ///
    /// # Safety
    /// `count` numbers must be readable there, at most `LANES`.
    unsafe fn load_part(self, from: *const f32, count: usize) -> Self::Vector;
    /// # Safety
    /// `count` numbers must be writable there, at most `LANES`.
    unsafe fn store_part(self, to: *mut f32, count: usize, vector: Self::Vector);
    /// The first `count` numbers, and zeros: whole vectors without a mask.
    ///
    /// # Safety
    /// As of `load_part`.
    #[inline(always)]
    unsafe fn load_up_to(self, from: *const f32, count: usize) -> Self::Vector {
        // SAFETY: the caller's promise.
        unsafe { if count == Self::LANES { self.load(from) } else { self.load_part(from, count) } }
    }
    /// # Safety
    /// As of `store_part`.
    #[inline(always)]
    unsafe fn store_up_to(self, to: *mut f32, count: usize, vector: Self::Vector) {
        // SAFETY: the caller's promise.
        unsafe {
            if count == Self::LANES {
                self.store(to, vector);
            } else {
                self.store_part(to, count, vector);
            }
        }
    }
    /// The numbers of a vector, and `rest` in the lanes that it lacks.
    #[inline(always)]
    fn numbers(self, vector: Self::Vector, rest: f32) -> [f32; 16] {
        const { assert!(Self::LANES <= 16) };
        let mut numbers = [rest; 16];
        // SAFETY: no vector has more lanes.
        unsafe { self.store(numbers.as_mut_ptr(), vector) };
        numbers
    }
    /// Brings memory into the cache; any address may be given.
    fn prefetch(self, address: *const f32);

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger number, or NaN where either operand is.
    fn max_or_nan(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The square root, rounded correctly.
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
    /// a · b + c, rounded once where the instructions can.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// c and the products of both bfloat16 numbers in each word of `a` and `b`: the lower half of a word is the first.
    #[inline(always)]
    fn dot_pairs(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        let [a, b, c] = [a, b, c].map(|vector| self.numbers(vector, 0.0));
        let sums: [f32; 16] = std::array::from_fn(|lane| {
            let [(a_first, a_second), (b_first, b_second)] = [a[lane], b[lane]].map(unpaired);
            c[lane] + a_first * b_first + a_second * b_second
        });
        // SAFETY: no vector has more lanes.
        unsafe { self.load(sums.as_ptr()) }
    }
    /// Two vectors of numbers, one after the other, as words of two neighbours each, rounded to bfloat16.
    #[inline(always)]
    fn pairs(self, first: Self::Vector, second: Self::Vector) -> Self::Vector {
        let mut numbers = [0.0; 32];
        numbers[..16].copy_from_slice(&self.numbers(first, 0.0));
        numbers[Self::LANES..][..16].copy_from_slice(&self.numbers(second, 0.0));
        let words: [f32; 16] = std::array::from_fn(|at| pair(numbers[2 * at], numbers[2 * at + 1]));
        // SAFETY: no vector has more lanes.
        unsafe { self.load(words.as_ptr()) }
    }
    /// The first and the second bfloat16 number of each word.
    #[inline(always)]
    fn unwoven(self, words: Self::Vector) -> (Self::Vector, Self::Vector) {
        let words = self.numbers(words, 0.0).map(unpaired);
        let (first, second) = (words.map(|word| word.0), words.map(|word| word.1));
        // SAFETY: no vector has more lanes.
        unsafe { (self.load(first.as_ptr()), self.load(second.as_ptr())) }
    }
    /// Words of a number of `a` and one of `b` each, rounded to bfloat16.
    #[inline(always)]
    fn woven(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        let [a, b] = [a, b].map(|vector| self.numbers(vector, 0.0));
        let words: [f32; 16] = std::array::from_fn(|lane| pair(a[lane], b[lane]));
        // SAFETY: no vector has more lanes.
        unsafe { self.load(words.as_ptr()) }
    }
    /// Integers `c`, and the products of the four bytes in each word of `a`, which have no sign, and of `b`, which have one.
    #[inline(always)]
    fn dot_quads(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        let [a, b, c] = [a, b, c].map(|vector| self.numbers(vector, 0.0).map(f32::to_bits));
        let sums: [f32; 16] = std::array::from_fn(|lane| {
            let factors = a[lane].to_le_bytes().into_iter().zip(b[lane].to_le_bytes());
            let products = factors.map(|(a, b)| i32::from(a) * i32::from(b.cast_signed()));
            let sum = products.fold(c[lane].cast_signed(), i32::wrapping_add);
            f32::from_bits(sum.cast_unsigned())
        });
        // SAFETY: no vector has more lanes.
        unsafe { self.load(sums.as_ptr()) }
    }
    /// The numbers of integers.
    #[inline(always)]
    fn of_integers(self, a: Self::Vector) -> Self::Vector {
        let numbers = self.numbers(a, 0.0).map(|word| word.to_bits().cast_signed() as f32);
        // SAFETY: no vector has more lanes.
        unsafe { self.load(numbers.as_ptr()) }
    }
    /// The first `count` bytes as numbers, and zeros.
    ///
    /// # Safety
    /// `count` bytes must be readable there, a multiple of 4, at most `LANES`.
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8, count: usize) -> Self::Vector {
        let mut numbers = [0.0; 16];
        for (at, number) in numbers.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *number = f32::from(unsafe { *from.add(at) });
        }
        // SAFETY: no vector has more lanes.
        unsafe { self.load(numbers.as_ptr()) }
    }
    /// Writes the first `count` numbers, which are from 0 to 255, as the nearest bytes, ties to even.
    ///
    /// # Safety
    /// `count` bytes must be writable there, a multiple of 4, at most `LANES`.
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, count: usize, vector: Self::Vector) {
        let numbers = self.numbers(vector, 0.0);
        for (at, number) in numbers.into_iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(at) = number.round_ties_even() as u8 };
        }
    }
    /// The first `count` bfloat16 numbers, and zeros.
    ///
    /// # Safety
    /// `count` such numbers must be readable there, a multiple of 2, at most `LANES`.
    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16, count: usize) -> Self::Vector {
        let mut numbers = [0.0; 16];
        for (at, number) in numbers.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *number = f32::from_bits(u32::from(unsafe { from.add(at).read_unaligned() }) << 16);
        }
        // SAFETY: no vector has more lanes.
        unsafe { self.load(numbers.as_ptr()) }
    }
    /// Writes the first `count` numbers, rounded to bfloat16.
    ///
    /// # Safety
    /// `count` such numbers must be writable there, a multiple of 2, at most `LANES`.
    #[inline(always)]
    unsafe fn store_halves(self, to: *mut u16, count: usize, vector: Self::Vector) {
        let numbers = self.numbers(vector, 0.0);
        for (at, number) in numbers.into_iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { to.add(at).write_unaligned(pair(number, 0.0).to_bits() as u16) };
        }
    }
    /// The nearest integers, ties to even.
    fn round(self, a: Self::Vector) -> Self::Vector;
    /// a · 2ᵇ for integers b from -126 to 127.
    fn times_power_of_two(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// 1 / a within 3e-7 of itself, for positive numbers; 0 where that is less than all normal numbers.
    fn reciprocal(self, a: Self::Vector) -> Self::Vector;
    /// `then` where `a` is less than `b`, `otherwise` elsewhere.
    fn select_less(
        self,
        a: Self::Vector,
        b: Self::Vector,
        then: Self::Vector,
        otherwise: Self::Vector,
    ) -> Self::Vector;
}

/// Code that is compiled for every set of instructions. `run` and all that it calls with vectors must be inlined into the
/// function that enables the instructions.
pub(in crate::infer) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A word of two numbers, each rounded to the nearest bfloat16, ties to even: the upper half of a float32.
pub(in crate::infer) fn pair(first: f32, second: f32) -> f32 {
    let rounded = |number: f32| {
        let bits = number.to_bits();
        if number.is_nan() {
            // A NaN whose upper half is none would become infinite.
            return bits >> 16 | 0x40;
        }
        (bits + 0x7fff + (bits >> 16 & 1)) >> 16
    };
    f32::from_bits(rounded(first) | rounded(second) << 16)
}

/// Both numbers of a word.
fn unpaired(word: f32) -> (f32, f32) {
    let bits = word.to_bits();
    (f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000))
}
