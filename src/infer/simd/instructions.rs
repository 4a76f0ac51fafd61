//! Sets of instructions, of which one is chosen at run time.

use std::fmt;
use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::portable::Portable;
use super::tiles::Tiles;
use super::vector::{Element, Kernel, Simd};

/// A set of instructions, chosen at run time.
#[derive(Clone, Copy)]
pub struct Instructions(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// With tiles, or without.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512, Option<Tiles>),
}

impl Instructions {
    /// Those of every machine.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// All that this machine has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = Avx512::new() {
                let has_all = simd.with_pairs().is_some() && simd.with_quads().is_some();
                let tiles = Tiles::new().filter(|_| has_all);
                found.extend(tiles.map(|tiles| Self(Kind::Avx512(simd, Some(tiles)))));
                found.push(Self(Kind::Avx512(simd, None)));
            }
            found.extend(Avx2::new().map(|simd| Self(Kind::Avx2(simd))));
        }
        found.push(Self::PORTABLE);
        found
    }

    /// The fastest that this machine has; the variable `CNNZOO_INSTRUCTIONS` may name slower ones.
    pub fn best() -> Self {
        static BEST: LazyLock<Instructions> = LazyLock::new(|| {
            let found = Instructions::available();
            let wanted = std::env::var("CNNZOO_INSTRUCTIONS").ok();
            let named = |one: &&Instructions| Some(one.name()) == wanted.as_deref();
            *found.iter().find(named).unwrap_or(&found[0])
        });
        *BEST
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_, None) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_, Some(_)) => "amx",
        }
    }

    /// Numbers in a vector.
    pub(in crate::infer) fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(..) => Avx512::<1>::LANES,
        }
    }

    /// Those with vectors of half the length, where the processor has them: for what fills only half a vector.
    pub(in crate::infer) fn narrower(self) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd, _) => Self(Kind::Avx2(simd.narrower())),
            kind => Self(kind),
        }
    }

    /// Those that multiply factors of this type, if the processor has any, and others were not asked for. The portable ones
    /// do so slowly, for tests.
    pub(in crate::infer) fn multiplying(self, element: Element) -> Option<Self> {
        match (self.0, element) {
            (_, Element::Float32) | (Kind::Portable, _) => Some(self),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512(simd, _), Element::BFloat16) => simd.with_pairs().map(|_| self),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512(simd, _), Element::Byte) if simd.with_quads().is_none() => {
                Some(self.narrower())
            }
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2(_), Element::BFloat16) => None,
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2(_) | Kind::Avx512(..), Element::Byte) => Some(self),
        }
    }

    /// The tiles that multiply pairs and bytes, if the processor has any.
    pub(in crate::infer) fn tiles(self) -> Option<Tiles> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_, tiles) => tiles,
            _ => None,
        }
    }

    /// Rows of the largest tile of two vectors.
    pub(in crate::infer) fn rows(self) -> usize {
        self.tile_rows()[1]
    }

    /// Vectors of the widest tile.
    pub(in crate::infer) fn vectors(self) -> usize {
        self.tile_rows().into_iter().filter(|rows| *rows > 0).count()
    }

    fn tile_rows(self) -> [usize; 4] {
        match self.0 {
            Kind::Portable => Portable::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => Avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(..) => Avx512::<1>::ROWS,
        }
    }

    /// Runs a kernel with these instructions.
    pub(in crate::infer) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Portable => Portable.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => simd.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd, _) => simd.enter(kernel),
        }
    }

    /// Runs a kernel that multiplies factors of this type, where `multiplying` says that there are such instructions.
    pub(in crate::infer) fn run_with<K: Kernel>(self, element: Element, kernel: K) -> K::Output {
        match (self.0, element) {
            (_, Element::Float32) => self.run(kernel),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2(simd), Element::Byte) => simd.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512(simd, _), Element::BFloat16) if let Some(simd) = simd.with_pairs() => {
                simd.enter(kernel)
            }
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512(simd, _), Element::Byte) if let Some(simd) = simd.with_quads() => {
                simd.enter(kernel)
            }
            _ => Portable.enter(kernel),
        }
    }
}

impl fmt::Debug for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Instructions {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
