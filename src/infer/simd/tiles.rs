//! Tiles (Intel AMX): registers of sixteen rows of sixteen words, and products of two of them.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__cpuid_count, __get_cpuid_max};
use std::cell::Cell;
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

/// Rows of tiles of left factors, and words in them, which are as many as the rows of right factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::infer) struct Shape {
    pub rows: usize,
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
        let [left, depth] = [rows, words].map(|count| count.clamp(1, SIDE) as u8);
        let (line, short) = (4 * SIDE as u16, 4 * u16::from(depth));
        let (mut columns, mut rows) = ([0; 16], [0; 16]);
        columns[..8].copy_from_slice(&[line, line, line, line, short, short, line, line]);
        rows[..8].copy_from_slice(&[left, left, left, left, left, left, depth, depth]);
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
    /// Memory that is fetched meanwhile: with each tile `LINES_AHEAD` lines from here on, and so many bytes further each time.
    pub ahead: *const u8,
    pub ahead_step: usize,
    pub sums: *mut Sums,
}

/// Cache lines that are fetched with each tile.
pub(in crate::infer) const LINES_AHEAD: usize = 8;

thread_local! {
    /// The number of those who have the tiles of this thread, and the shape that these have then.
    static HELD: Cell<(usize, Option<Shape>)> = const { Cell::new((0, None)) };
}

/// The tiles of a thread, which keep a shape until the last who has them gives them back: it takes the processor hundreds of
/// cycles to form them.
pub(in crate::infer) struct Lent {
    thread: PhantomData<*const ()>,
}

/// Gives the tiles of this thread a shape, for one who has them.
fn form(_lent: &mut Lent, shape: Shape) {
    let (count, now) = HELD.get();
    if now == Some(shape) {
        return;
    }
    let configuration = Configuration::from(shape);
    // SAFETY: they were lent by the proof that there are tiles. They are filled before they are read.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "ldtilecfg [{}]", in(reg) &raw const configuration,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    HELD.set((count, Some(shape)));
}

impl Lent {
    /// Those of this thread.
    pub fn of(_proof: Tiles) -> Self {
        let (count, shape) = HELD.get();
        HELD.set((count + 1, shape));
        Self { thread: PhantomData }
    }

    /// Sums of the products of all words of each row, of one or two `TILES`, with those of each column of weights, which are
    /// one or two `VECTORS` wide. Sums of bytes are integers. Those of the rows that the shape has are written.
    ///
    /// # Safety
    /// There is a part. Each has `chunks` times the words of the shape, which are readable in all rows of the tiles, and as
    /// many rows of weights. The sums are writable.
    pub unsafe fn multiply<const VECTORS: usize, const TILES: usize>(
        &mut self,
        element: Element,
        shape: Shape,
        factors: &Factors,
    ) {
        form(self, shape);
        let line = 4 * SIDE * VECTORS;
        let [first, second] = factors.rows.map(|row| row as isize);
        let apart = second.wrapping_sub(first);
        // Lines of two tiles or of two vectors, or of both, are left out where there is one.
        macro_rules! multiply {
            ($dot:literal, ($($two:literal)?), ($($wide:literal)?), ($($all:literal)?)) => {
                asm!(
                    "tilezero tmm0",
                    $(concat!("tilezero tmm2", $two),)?
                    $(concat!("tilezero tmm1", $wide),)?
                    $(concat!("tilezero tmm3", $all),)?
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
                    "prefetcht1 [{ahead}]",
                    "prefetcht1 [{ahead} + 64]",
                    "prefetcht1 [{ahead} + 128]",
                    "prefetcht1 [{ahead} + 192]",
                    "prefetcht1 [{ahead} + 256]",
                    "prefetcht1 [{ahead} + 320]",
                    "prefetcht1 [{ahead} + 384]",
                    "prefetcht1 [{ahead} + 448]",
                    "add {ahead}, [{factors} + {to_ahead_step}]",
                    $(
                        concat!("tileloadd tmm5, [{right} + {stride}]", $two),
                        concat!($dot, " tmm2, tmm5, tmm6", $two),
                    )?
                    $(
                        concat!("tileloadd tmm7, [{weights} + {line} + 64]", $wide),
                        concat!($dot, " tmm1, tmm4, tmm7", $wide),
                    )?
                    $(concat!($dot, " tmm3, tmm5, tmm7", $all),)?
                    "add {left}, {step}",
                    "add {weights}, {step_of_weights}",
                    "dec {chunks}",
                    "jnz 3b",
                    "add {segments}, 8",
                    "cmp {segments}, [{factors} + {to_end}]",
                    "jne 2b",
                    "mov {left}, 128",
                    "mov {right}, [{factors} + {to_sums}]",
                    "tilestored [{right} + {left}], tmm0",
                    $(concat!("tilestored [{right} + {left} + 64], tmm1", $wide),)?
                    $(concat!("tilestored [{right} + {left} + 2048], tmm2", $two),)?
                    $(concat!("tilestored [{right} + {left} + 2112], tmm3", $all),)?
                    factors = in(reg) factors,
                    segments = inout(reg) factors.segments => _,
                    weights = inout(reg) factors.weights => _,
                    stride = in(reg) factors.stride,
                    apart = in(reg) apart,
                    line = in(reg) line,
                    step = in(reg) 4 * shape.words,
                    step_of_weights = in(reg) line * shape.words,
                    ahead = inout(reg) factors.ahead => _,
                    left = out(reg) _,
                    right = out(reg) _,
                    chunks = out(reg) _,
                    to_chunks = const offset_of!(Factors, chunks),
                    to_end = const offset_of!(Factors, segments_end),
                    to_ahead_step = const offset_of!(Factors, ahead_step),
                    to_sums = const offset_of!(Factors, sums),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                )
            };
        }
        // SAFETY: tiles have this shape; the caller's promise. Rows of sums are two vectors wide, sixteen for each tile.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match (element, TILES, VECTORS) {
                (Element::Byte, 1, 1) => multiply!("tdpbusd", (), (), ()),
                (Element::Byte, 1, _) => multiply!("tdpbusd", (), (""), ()),
                (Element::Byte, _, 1) => multiply!("tdpbusd", (""), (), ()),
                (Element::Byte, ..) => multiply!("tdpbusd", (""), (""), ("")),
                (_, 1, 1) => multiply!("tdpbf16ps", (), (), ()),
                (_, 1, _) => multiply!("tdpbf16ps", (), (""), ()),
                (_, _, 1) => multiply!("tdpbf16ps", (""), (), ()),
                _ => multiply!("tdpbf16ps", (""), (""), ("")),
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (count, shape) = HELD.get();
        if count > 1 {
            return HELD.set((count - 1, shape));
        }
        HELD.set((0, None));
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
