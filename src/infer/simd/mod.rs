//! Vectors of float32 numbers: one trait, and one implementation for each set of instructions. Which of them runs is
//! decided once, at run time, so that one binary suits every machine.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod function;
mod instructions;
mod portable;
mod tiles;
mod vector;

pub(super) use function::{activate, exp};
pub use instructions::Instructions;
pub(super) use tiles::{Factors, LINES_AHEAD, Lent, SIDE, Shape, Sums, Tiles};
pub(super) use vector::{Element, Kernel, Simd, pair};
