//! Tiles (Intel AMX): registers of sixteen rows of sixteen words, and products of two of them.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__cpuid_count, __get_cpuid_max};
use std::marker::PhantomData;
use std::mem::{MaybeUninit, offset_of};
use std::sync::LazyLock;

use super::vector::Element;

/// Rows of a tile, and words in a row of one.
pub(in crate::infer) const SIDE: usize = 16;

/// Proof that the processor multiplies tiles of bfloat16 numbers and of bytes, and that the system lets this process do so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::infer) struct Tiles(());

impl Tiles {
    pub(super) fn new() -> Option<Self> {
        static ARE_LENT: LazyLock<bool> = LazyLock::new(|| are_there() && ask());
        ARE_LENT.then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
fn are_there() -> bool {
    /// Bits of the processor's extended features: those of bfloat16, tiles and bytes.
    const ALL: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    // SAFETY: every x86-64 processor has this instruction.
    #[allow(unused_unsafe, reason = "newer compilers know that")]
    let (last, features) = unsafe { (__get_cpuid_max(0).0, __cpuid_count(7, 0).edx) };
    last >= 7 && features & ALL == ALL
}

/// Asks the system to keep the tiles of the threads of this process.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn ask() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call has no effect on memory. Where it is not known, it fails.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn ask() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn are_there() -> bool {
    false
}

/// Rows of both tiles of left factors, and words in them, which are as many as the rows of right factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::infer) struct Shape {
    pub rows: [usize; 2],
    pub words: usize,
}

/// The shapes of eight tiles, as the processor reads them: four of sums, two of left factors, two of right ones.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    rest: [u8; 15],
    /// Bytes in a row.
    columns: [u16; 16],
    rows: [u8; 16],
}

impl From<Shape> for Configuration {
    fn from(Shape { rows, words }: Shape) -> Self {
        let [first, second] = rows.map(|rows| rows.clamp(1, SIDE) as u8);
        let depth = words.clamp(1, SIDE) as u8;
        let (line, left) = (4 * SIDE as u16, 4 * u16::from(depth));
        let (mut columns, mut rows) = ([0; 16], [0; 16]);
        columns[..8].copy_from_slice(&[line, line, line, line, left, left, line, line]);
        rows[..8].copy_from_slice(&[first, first, second, second, first, second, depth, depth]);
        Self { palette: 1, rest: [0; 15], columns, rows }
    }
}

/// The sums of two tiles of rows and two of columns: of each row, those of all columns side by side.
#[repr(C, align(64))]
pub(in crate::infer) struct Sums([[f32; 2 * SIDE]; 2 * SIDE]);

impl Sums {
    /// The address of a row's sums.
    #[inline(always)]
    pub fn row(sums: &MaybeUninit<Self>, tile: usize, row: usize) -> *const f32 {
        sums.as_ptr().cast::<f32>().wrapping_add((tile * SIDE + row) * 2 * SIDE)
    }
}

/// Left and right factors.
#[repr(C)]
pub(in crate::infer) struct Factors {
    /// The first rows of both tiles.
    pub rows: [*const f32; 2],
    /// From a row to the next one, in bytes.
    pub stride: isize,
    /// The words between the first rows and their parts, each of which is contiguous. Weights have one part after the other.
    pub segments: *const isize,
    pub segments_end: *const isize,
    /// The length of a part, in tiles.
    pub chunks: usize,
    /// Rows of one or two vectors of columns.
    pub weights: *const f32,
}

/// The tiles of a thread, which keep a shape until they are given back.
pub(in crate::infer) struct Lent {
    shape: Option<Shape>,
    thread: PhantomData<*const ()>,
}

impl Lent {
    /// Those of this thread.
    pub fn of(_proof: Tiles) -> Self {
        Self { shape: None, thread: PhantomData }
    }

    fn form(&mut self, shape: Shape) {
        if self.shape == Some(shape) {
            return;
        }
        let configuration = Configuration::from(shape);
        // SAFETY: `self` was lent by the proof that there are tiles. They are filled before they are read.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                "ldtilecfg [{}]", in(reg) &raw const configuration,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        self.shape = Some(shape);
    }

    /// Sums of the products of all words of each row with those of each column of weights, which are one or two `VECTORS`
    /// wide. Sums of bytes are integers. Those of the rows that the shape has are written.
    ///
    /// # Safety
    /// There is a part. Each has `chunks` times the words of the shape, which are readable in all rows of both tiles, and as
    /// many rows of weights.
    pub unsafe fn multiply<const VECTORS: usize>(
        &mut self,
        element: Element,
        shape: Shape,
        factors: &Factors,
        sums: &mut MaybeUninit<Sums>,
    ) {
        self.form(shape);
        let line = 4 * SIDE * VECTORS;
        let [first, second] = factors.rows.map(|row| row as isize);
        let apart = second.wrapping_sub(first);
        let sums = sums.as_mut_ptr();
        // The processor fetches the rest of the next tile's lines when it sees the first ones, but not before: tiles of weights
        // are often pages, at whose ends it stops to look ahead.
        macro_rules! multiply {
            ($dot:literal $(, $wide:literal)?) => {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm2",
                    $(concat!("tilezero tmm1", $wide), concat!("tilezero tmm3", $wide),)?
                    "2:",
                    "mov {left}, [{segments}]",
                    "shl {left}, 2",
                    "add {left}, [{factors}]",
                    "mov {chunks}, [{factors} + {to_chunks}]",
                    "3:",
                    "lea {right}, [{left} + {apart}]",
                    "tileloadd tmm6, [{weights} + {line}]",
                    "tileloadd tmm4, [{left} + {stride}]",
                    concat!($dot, " tmm0, tmm4, tmm6"),
                    "prefetcht1 [{weights} + {step_of_weights}]",
                    "prefetcht1 [{weights} + {step_of_weights} + 64]",
                    "prefetcht1 [{weights} + {step_of_weights} + 128]",
                    "prefetcht1 [{weights} + {step_of_weights} + 192]",
                    "prefetcht1 [{weights} + {step_of_weights} + 256]",
                    "prefetcht1 [{weights} + {step_of_weights} + 320]",
                    "prefetcht1 [{weights} + {step_of_weights} + 384]",
                    "prefetcht1 [{weights} + {step_of_weights} + 448]",
                    "tileloadd tmm5, [{right} + {stride}]",
                    concat!($dot, " tmm2, tmm5, tmm6"),
                    $(
                        concat!("tileloadd tmm7, [{weights} + {line} + 64]", $wide),
                        concat!($dot, " tmm1, tmm4, tmm7", $wide),
                        concat!($dot, " tmm3, tmm5, tmm7", $wide),
                    )?
                    "add {left}, {step}",
                    "add {weights}, {step_of_weights}",
                    "dec {chunks}",
                    "jnz 3b",
                    "add {segments}, 8",
                    "cmp {segments}, [{factors} + {to_end}]",
                    "jne 2b",
                    "mov {left}, 128",
                    "tilestored [{sums} + {left}], tmm0",
                    "tilestored [{sums} + {left} + 2048], tmm2",
                    $(
                        concat!("tilestored [{sums} + {left} + 64], tmm1", $wide),
                        concat!("tilestored [{sums} + {left} + 2112], tmm3", $wide),
                    )?
                    factors = in(reg) factors,
                    segments = inout(reg) factors.segments => _,
                    weights = inout(reg) factors.weights => _,
                    stride = in(reg) factors.stride,
                    apart = in(reg) apart,
                    line = in(reg) line,
                    step = in(reg) 4 * shape.words,
                    step_of_weights = in(reg) line * shape.words,
                    sums = in(reg) sums,
                    left = out(reg) _,
                    right = out(reg) _,
                    chunks = out(reg) _,
                    to_chunks = const offset_of!(Factors, chunks),
                    to_end = const offset_of!(Factors, segments_end),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                )
            };
        }
        // SAFETY: tiles have this shape; the caller's promise. Rows of sums are two vectors wide, sixteen for each tile.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match (element, VECTORS) {
                (Element::Byte, 1) => multiply!("tdpbusd"),
                (Element::Byte, _) => multiply!("tdpbusd", ""),
                (_, 1) => multiply!("tdpbf16ps"),
                _ => multiply!("tdpbf16ps", ""),
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: `self` was lent by the proof that there are tiles. Nobody reads them again.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}
