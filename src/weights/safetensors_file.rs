//! Reads the directory of a .safetensors file: <https://github.com/huggingface/safetensors#format>.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Stored, SafeTensorError};

use super::checkpoint::{Contents, Entry, Ignored};
use super::refusal::Refusal;
use super::value::Dtype;

/// Bytes of the header's length, in front of the header.
const LENGTH: usize = 8;

/// # Errors
/// A header that is cut, no JSON, or does not cover the file exactly.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, Refusal> {
    let (header, directory) =
        SafeTensors::read_metadata(bytes).map_err(|error| refusal(&error, bytes))?;
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

fn refusal(error: &SafeTensorError, bytes: &[u8]) -> Refusal {
    let expected = "a whole .safetensors file";
    match error {
        SafeTensorError::MetadataIncompleteBuffer => Refusal::new(
            "tensors that cover the .safetensors file exactly",
            format!("a truncated file or trailing bytes ({} bytes in all)", bytes.len()),
        ),
        SafeTensorError::InvalidHeaderLength => Refusal::new(
            expected,
            format!("a header that is longer than the file of {} bytes", bytes.len()),
        ),
        SafeTensorError::InvalidOffset(name) => {
            Refusal::new("tensors one behind the other", "an overlap or a gap").of(name)
        }
        error => Refusal::new(expected, error.to_string()),
    }
}
