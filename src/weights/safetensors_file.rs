//! Reads the header of a .safetensors file: <https://github.com/huggingface/safetensors#format>.

use std::collections::HashMap;

use safetensors::tensor::{Dtype as Stored, Metadata, SafeTensorError, TensorInfo};
use serde::Deserialize;

use super::contents::{Contents, Entry, Ignored};
use super::refusal::Refusal;
use super::source::Source;
use super::value::Dtype;

/// Size of the header's length field, in front of the header.
const LENGTH: usize = 8;

/// safetensors' limit on the header.
const LONGEST: usize = 100_000_000;

/// The header as JSON.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Option<HashMap<String, String>>,
    #[serde(flatten)]
    tensors: HashMap<String, TensorInfo>,
}

/// # Errors
/// A header that is truncated, no JSON, or does not cover the file exactly.
pub(super) fn read(source: &Source) -> Result<Contents, Refusal> {
    let length = <[u8; LENGTH]>::try_from(source.read(0, LENGTH)?);
    let length = length.map_or(u64::MAX, u64::from_le_bytes);
    let header = usize::try_from(length).unwrap_or(usize::MAX);
    let refused = |error: SafeTensorError| refusal(&error, source.length());
    if header > LONGEST {
        return Err(refused(SafeTensorError::HeaderTooLarge));
    }
    if header > source.length() - LENGTH {
        return Err(refused(SafeTensorError::InvalidHeaderLength));
    }
    let directory = directory(&source.read(LENGTH, header)?).map_err(refused)?;
    if directory.data_len().checked_add(LENGTH + header) != Some(source.length()) {
        return Err(refused(SafeTensorError::MetadataIncompleteBuffer));
    }
    let mut contents = Contents::default();
    if let Some(metadata) = directory.metadata() {
        contents.metadata =
            metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        contents.metadata.sort_keys();
    }
    for name in directory.offset_keys() {
        let Some(info) = directory.info(&name) else { continue };
        match dtype(info.dtype) {
            Some(dtype) => {
                let start = LENGTH + header + info.data_offsets.0;
                let entry =
                    Entry { dtype, shape: info.shape.clone(), start, strides: None, held: None };
                contents.entries.insert(name, entry);
            }
            None => contents.ignored.push(Ignored {
                name,
                what: format!("a tensor of {}, which is not supported", info.dtype),
            }),
        }
    }
    Ok(contents)
}

/// Checks that the tensors lie one behind the other, each as long as its shape says.
fn directory(header: &[u8]) -> Result<Metadata, SafeTensorError> {
    let text = std::str::from_utf8(header).map_err(SafeTensorError::InvalidHeader)?;
    let header: Header =
        serde_json::from_str(text).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let mut tensors: Vec<_> = header.tensors.into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    Metadata::new(header.metadata, tensors)
}

fn dtype(stored: Stored) -> Option<Dtype> {
    Some(match stored {
        Stored::F64 => Dtype::F64,
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::I64 => Dtype::I64,
        Stored::I32 => Dtype::I32,
        Stored::I16 => Dtype::I16,
        Stored::I8 => Dtype::I8,
        Stored::U8 => Dtype::U8,
        Stored::BOOL => Dtype::Bool,
        _ => return None,
    })
}

fn refusal(error: &SafeTensorError, length: usize) -> Refusal {
    let expected = "a complete .safetensors file";
    match error {
        SafeTensorError::MetadataIncompleteBuffer => Refusal::new(
            "tensors that cover the .safetensors file exactly",
            format!("a truncated file or trailing bytes ({length} bytes in all)"),
        ),
        SafeTensorError::InvalidHeaderLength => Refusal::new(
            expected,
            format!("a header that is longer than the file of {length} bytes"),
        ),
        SafeTensorError::InvalidOffset(name) => {
            Refusal::new("tensors one behind the other", "an overlap or a gap").of(name)
        }
        error => Refusal::new(expected, error.to_string()),
    }
}
