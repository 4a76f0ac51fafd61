//! Stored tensors: element type, shape and bytes.

use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};

use crate::error::{Error, Result, shape_text};

/// The element types of weights files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// NumPy's and PyTorch's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// The type of NumPy's name.
    pub fn from_name(name: &str) -> Option<Self> {
        const ALL: [Dtype; 10] = [
            Dtype::F64,
            Dtype::F32,
            Dtype::F16,
            Dtype::BF16,
            Dtype::I64,
            Dtype::I32,
            Dtype::I16,
            Dtype::I8,
            Dtype::U8,
            Dtype::Bool,
        ];
        ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// The size in bytes of a tensor of this shape; none where it does not fit in the address space.
    pub fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        elements_of(shape)?.checked_mul(self.size())
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of elements of a tensor of this shape; any zero makes it empty, however large the other sizes.
pub(super) fn elements_of(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// A stored tensor. `bytes` are row-major and little-endian, at any alignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Value<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Cow<'a, [u8]>,
}

/// The memory of float32 numbers as that of a file; none where their bytes have another order.
pub(super) fn as_bytes(values: &mut [f32]) -> Option<&mut [u8]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    // SAFETY: any bytes are floats, and bytes have no alignment.
    let (_, bytes, _) = unsafe { values.align_to_mut() };
    Some(bytes)
}

impl Value<'_> {
    /// The number of elements; 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// The elements of a float32 tensor without a copy, where alignment and byte order allow it.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if self.dtype != Dtype::F32 || cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: any four bytes are a float, and those in the middle are aligned as one.
        let (before, elements, after) = unsafe { self.bytes.align_to() };
        (before.is_empty() && after.is_empty()).then_some(elements)
    }

    /// Converts a floating-point tensor into `out`, row-major. float16 and bfloat16 convert
    /// exactly, float64 rounds to nearest.
    ///
    /// # Errors
    /// [`Error::ElementType`] for integers and bool, [`Error::Shape`] where `out` has another
    /// length.
    pub fn write_f32(&self, out: &mut [f32]) -> Result<()> {
        if out.len() != self.elements() {
            let expected = format!("{} elements", out.len());
            let got = format!("{} in shape {}", self.elements(), shape_text(&self.shape));
            return Err(Error::Shape { at: AT.to_owned(), expected, got });
        }
        match self.dtype {
            Dtype::F32 => convert(&self.bytes, out, f32::from_le_bytes),
            Dtype::F16 => convert(&self.bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => convert(&self.bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => convert(&self.bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
            _ => return Err(self.wrong_type("a floating-point type")),
        }
        Ok(())
    }

    /// The one element of an integer tensor, such as batch norm's `num_batches_tracked`.
    ///
    /// # Errors
    /// [`Error::ElementType`] for floats, [`Error::Shape`] where there is not exactly one element.
    pub fn read_i64(&self) -> Result<i64> {
        if self.elements() != 1 {
            let got = format!("shape {}", shape_text(&self.shape));
            return Err(Error::Shape {
                at: AT.to_owned(),
                expected: "one element".to_owned(),
                got,
            });
        }
        let bytes = &self.bytes;
        match self.dtype {
            Dtype::I64 => Ok(i64::from_le_bytes(first(bytes))),
            Dtype::I32 => Ok(i32::from_le_bytes(first(bytes)).into()),
            Dtype::I16 => Ok(i16::from_le_bytes(first(bytes)).into()),
            Dtype::I8 => Ok(i8::from_le_bytes(first(bytes)).into()),
            Dtype::U8 => Ok(bytes[0].into()),
            Dtype::Bool => Ok((bytes[0] != 0).into()),
            _ => Err(self.wrong_type("an integer type")),
        }
    }

    fn wrong_type(&self, expected: &str) -> Error {
        Error::ElementType {
            at: AT.to_owned(),
            expected: expected.to_owned(),
            got: self.dtype.to_string(),
        }
    }
}

const AT: &str = "a stored tensor";

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], one: impl Fn([u8; N]) -> f32) {
    let (elements, _) = bytes.as_chunks::<N>();
    for (to, &from) in out.iter_mut().zip(elements) {
        *to = one(from);
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut element = [0; N];
    element.copy_from_slice(&bytes[..N]);
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(dtype: Dtype, bytes: &[u8]) -> Value<'_> {
        Value { dtype, shape: vec![bytes.len() / dtype.size()], bytes: Cow::Borrowed(bytes) }
    }

    #[test]
    fn every_half_and_bfloat16_converts_exactly() {
        for bits in 0..=u16::MAX {
            let mut out = [0.0_f32];
            value(Dtype::F16, &bits.to_le_bytes()).write_f32(&mut out).unwrap();
            assert_eq!(f16::from_f32(out[0]).to_bits() & 0x7dff, bits & 0x7dff);
            assert_eq!(out[0].is_nan(), f16::from_bits(bits).is_nan());
            value(Dtype::BF16, &bits.to_le_bytes()).write_f32(&mut out).unwrap();
            assert_eq!(out[0].to_bits() >> 16 & 0xffbf, u32::from(bits) & 0xffbf);
        }
    }

    #[test]
    fn unaligned_bytes_are_read() {
        let bytes: Vec<u8> = [7_u8].into_iter().chain(1.5_f64.to_le_bytes()).collect();
        let mut out = [0.0];
        value(Dtype::F64, &bytes[1..]).write_f32(&mut out).unwrap();
        assert_eq!(out.map(f32::to_bits), [1.5_f32.to_bits()]);
    }

    #[test]
    fn floats_are_borrowed_where_they_are_aligned() {
        let floats = [1.5_f32, -2.0, f32::MAX];
        let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut room = vec![0; bytes.len() + 8];
        let start = room.as_ptr().align_offset(align_of::<f32>());
        room[start..start + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(
            value(Dtype::F32, &room[start..start + bytes.len()]).as_f32(),
            Some(&floats[..])
        );
        assert_eq!(value(Dtype::F32, &room[start + 1..start + 9]).as_f32(), None);
        assert_eq!(value(Dtype::F32, &room[start..start + 6]).as_f32(), None);
        assert_eq!(value(Dtype::I32, &room[start..start + 8]).as_f32(), None);
        assert_eq!(value(Dtype::F32, &[]).as_f32(), Some(&[][..]));
    }

    #[test]
    fn scalars_are_integers_of_one_element() {
        assert_eq!(value(Dtype::I64, &(-5_i64).to_le_bytes()).read_i64().unwrap(), -5);
        assert_eq!(value(Dtype::I16, &(-5_i16).to_le_bytes()).read_i64().unwrap(), -5);
        assert_eq!(value(Dtype::U8, &[255]).read_i64().unwrap(), 255);
        assert!(value(Dtype::U8, &[1, 2]).read_i64().is_err());
        assert!(value(Dtype::F32, &[0; 4]).read_i64().is_err());
        assert!(value(Dtype::I32, &[0; 4]).write_f32(&mut [0.0]).is_err());
        assert!(value(Dtype::F32, &[0; 4]).write_f32(&mut [0.0; 2]).is_err());
    }

    #[test]
    fn sizes_do_not_overflow() {
        assert_eq!(Dtype::F32.bytes_of(&[usize::MAX, 2]), None);
        assert_eq!(Dtype::F32.bytes_of(&[usize::MAX, 2, 0]), Some(0));
        assert_eq!(Dtype::F32.bytes_of(&[usize::MAX / 2]), None);
        assert_eq!(Dtype::F32.bytes_of(&[]), Some(4));
    }
}
