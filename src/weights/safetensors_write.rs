//! Writes .safetensors files.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::atomic::replace_file;
use super::refusal::Refusal;
use super::value::Dtype;
use crate::error::{Error, Result, shape_text};

/// The elements of a tensor to be written, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// Little-endian, of any element type.
    Bytes(&'a [u8]),
    F32(&'a [f32]),
    I64(&'a [i64]),
}

/// One tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub data: Data<'a>,
}

/// The limit on the header that readers of the format keep.
const LONGEST_HEADER: usize = 100_000_000;

/// Writes tensors and metadata to a .safetensors file: to a temporary file in the same folder, synced and renamed.
/// Tensors of wide element types come first, so that each is aligned; otherwise the order is kept. The same tensors
/// give the same bytes.
///
/// # Errors
/// [`Error::Weights`] for a name that is repeated or reserved, or data that do not match their type and shape;
/// [`Error::WeightsFile`] where writing fails. Then no partial file is left and an old file stays as it was.
pub fn write_safetensors<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = Item<'a>>,
    metadata: &IndexMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let mut items: Vec<Item<'a>> = tensors.into_iter().collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.dtype.size()));
    let header = header(&items, metadata).map_err(|refusal| refusal.at(path))?;
    replace_file(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        items.iter().try_for_each(|item| item.data.write(out))
    })
    .map_err(|source| Error::WeightsFile { path: path.to_owned(), source })
}

fn header(items: &[Item<'_>], metadata: &IndexMap<String, String>) -> Result<Vec<u8>, Refusal> {
    let mut directory = Map::new();
    if !metadata.is_empty() {
        let pairs = metadata.iter().map(|(key, value)| (key.clone(), Json::from(value.as_str())));
        directory.insert("__metadata__".to_owned(), Json::Object(pairs.collect()));
    }
    let mut names = HashSet::new();
    let mut offset = 0_usize;
    for item in items {
        if item.name == "__metadata__" || !names.insert(item.name) {
            return Err(Refusal::new("a name of its own", "one that is taken").of(item.name));
        }
        let end = item.check().and_then(|bytes| {
            offset
                .checked_add(bytes)
                .ok_or_else(|| Refusal::new("a file that fits in memory", "more"))
        });
        let end = end.map_err(|refusal| refusal.of(item.name))?;
        let entry = json!({
            "dtype": code(item.dtype), "shape": item.shape, "data_offsets": [offset, end],
        });
        directory.insert(item.name.to_owned(), entry);
        offset = end;
    }
    let mut text = Json::Object(directory).to_string().into_bytes();
    // Data that begin at a multiple of eight can be used in place.
    text.resize(text.len().next_multiple_of(8), b' ');
    if text.len() > LONGEST_HEADER {
        let got = format!("{} bytes", text.len());
        return Err(Refusal::new(format!("a header of at most {LONGEST_HEADER} bytes"), got));
    }
    Ok(text)
}

impl Item<'_> {
    /// Its size in bytes.
    fn check(&self) -> Result<usize, Refusal> {
        let (stored, bytes) = match self.data {
            Data::Bytes(bytes) => (self.dtype, Some(bytes.len())),
            Data::F32(values) => (Dtype::F32, values.len().checked_mul(4)),
            Data::I64(values) => (Dtype::I64, values.len().checked_mul(8)),
        };
        match (self.dtype.bytes_of(self.shape), bytes) {
            (Some(expected), Some(bytes)) if expected == bytes && stored == self.dtype => Ok(bytes),
            (_, bytes) => Err(Refusal::new(
                format!("{} of shape {}", self.dtype, shape_text(self.shape)),
                format!("{} bytes of {stored}", bytes.unwrap_or(usize::MAX)),
            )),
        }
    }
}

impl Data<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match *self {
            Self::Bytes(bytes) => out.write_all(bytes),
            Self::F32(values) => write_chunks(out, values, f32::to_le_bytes),
            Self::I64(values) => write_chunks(out, values, i64::to_le_bytes),
        }
    }
}

fn write_chunks<T: Copy, const SIZE: usize>(
    out: &mut dyn Write,
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; SIZE],
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(values.len().min(8192) * SIZE);
    for chunk in values.chunks(8192) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|&value| to_bytes(value)));
        out.write_all(&buffer)?;
    }
    Ok(())
}

fn code(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "F64",
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::BF16 => "BF16",
        Dtype::I64 => "I64",
        Dtype::I32 => "I32",
        Dtype::I16 => "I16",
        Dtype::I8 => "I8",
        Dtype::U8 => "U8",
        Dtype::Bool => "BOOL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Checkpoint;

    #[test]
    fn slices_come_back_bit_for_bit() {
        let path = std::env::temp_dir().join(format!("cnnzoo-{}.safetensors", std::process::id()));
        let floats: Vec<f32> = (0..20_000).map(|n| f32::from_bits(n * 214_013)).collect();
        let (narrow, wide) = (Data::F32(&floats), Data::I64(&[-1]));
        let items = [
            Item { name: "a", dtype: Dtype::F32, shape: &[100, 200], data: narrow },
            Item { name: "b", dtype: Dtype::I64, shape: &[], data: wide },
        ];
        write_safetensors(&path, items, &IndexMap::new()).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut read = vec![0.0; floats.len()];
        checkpoint.get("a").unwrap().write_f32(&mut read).unwrap();
        assert!(read.iter().zip(&floats).all(|(read, wrote)| read.to_bits() == wrote.to_bits()));
        assert_eq!(checkpoint.get("b").unwrap().read_i64().unwrap(), -1);
        assert_eq!(checkpoint.shape("a"), Some([100, 200].as_slice()));
        assert!(checkpoint.get("c").is_err());
    }

    #[test]
    fn data_have_to_fit() {
        let path = Path::new("never written");
        let one = |dtype, shape, data| {
            write_safetensors(path, [Item { name: "a", dtype, shape, data }], &IndexMap::new())
        };
        assert!(one(Dtype::F32, &[2], Data::F32(&[0.0])).is_err());
        assert!(one(Dtype::I64, &[1], Data::F32(&[0.0, 0.0])).is_err());
        assert!(one(Dtype::F16, &[1], Data::Bytes(&[0])).is_err());
        assert!(one(Dtype::F16, &[usize::MAX, 2], Data::Bytes(&[0])).is_err());
        let twice = Item { name: "a", dtype: Dtype::U8, shape: &[0], data: Data::Bytes(&[]) };
        assert!(write_safetensors(path, [twice, twice], &IndexMap::new()).is_err());
    }
}
