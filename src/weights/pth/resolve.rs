//! Resolves the tensors of a pickle to places in the file.

use std::collections::HashMap;
use std::ops::Range;

use super::state_dict;
use crate::weights::contents::{Contents, Entry};
use crate::weights::gather::span;
use crate::weights::pickle::{Array, Id, Object, Pickle, Tensor};
use crate::weights::refusal::Refusal;
use crate::weights::value::elements_of;

/// A tensor may repeat elements of its storage (`expand`); its contiguous size is limited to the size of the file or
/// this, whichever is larger.
const SMALL: usize = 1 << 20;

/// The byte range of each storage in the file.
pub(super) type Storages = HashMap<String, Range<usize>>;

/// # Errors
/// No state dict, or a tensor that reaches beyond its storage.
pub(super) fn contents(
    pickle: &Pickle<'_>,
    storages: &Storages,
    file_length: usize,
    key: Option<&str>,
) -> Result<Contents, Refusal> {
    let found = state_dict::find(pickle, key)?;
    let mut contents =
        Contents { under: found.under, ignored: found.ignored, ..Contents::default() };
    let most = file_length.max(SMALL);
    let mut held = HashMap::new();
    for (name, id) in found.tensors {
        let entry = match pickle.get(id) {
            Object::Tensor(tensor) => place(tensor, storages, most),
            Object::Array(array) => hold(pickle, array, &mut held, &mut contents.held),
            _ => continue,
        };
        contents.entries.insert(name.to_owned(), entry.map_err(|refusal| refusal.of(name))?);
    }
    Ok(contents)
}

/// Decodes the bytes of a NumPy array, which the pickle holds; arrays that share them share the decoded ones.
fn hold(
    pickle: &Pickle<'_>,
    array: &Array<'_>,
    known: &mut HashMap<Id, usize>,
    held: &mut Vec<Vec<u8>>,
) -> Result<Entry, Refusal> {
    let refused = || {
        let got = format!("shape {:?} of {}", array.shape, array.element);
        Refusal::new("a NumPy array whose bytes are all there", got)
    };
    let dtype = array.dtype().ok_or_else(refused)?;
    let index = if let Some(&index) = known.get(&array.bytes) {
        index
    } else {
        let bytes = match pickle.get(array.bytes) {
            Object::Bytes(bytes) => bytes.to_vec(),
            // Each character is a byte.
            Object::Encoded(text) => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).map_err(|_| refused()))
                .collect::<Result<_, _>>()?,
            _ => return Err(refused()),
        };
        held.push(bytes);
        known.insert(array.bytes, held.len() - 1);
        held.len() - 1
    };
    if dtype.bytes_of(&array.shape) != Some(held[index].len()) {
        return Err(refused());
    }
    let strides = array.fortran.then(|| {
        let before = |axis: usize| array.shape[..axis].iter().product();
        (0..array.shape.len()).map(before).collect()
    });
    let strides = strides.filter(|_| !held[index].is_empty());
    Ok(Entry { dtype, shape: array.shape.clone(), start: 0, strides, held: Some(index) })
}

fn place(tensor: &Tensor<'_>, storages: &Storages, most: usize) -> Result<Entry, Refusal> {
    let Some(dtype) = tensor.element.dtype else {
        return Err(Refusal::new("a readable element type", tensor.element.name));
    };
    let bytes = dtype.bytes_of(&tensor.shape).filter(|&bytes| bytes <= most);
    let Some(bytes) = bytes else {
        return Err(Refusal::new(
            format!("a tensor of at most {most} bytes, as the file is no larger"),
            format!("shape {:?}", tensor.shape),
        ));
    };
    if bytes == 0 {
        return Ok(Entry {
            dtype,
            shape: tensor.shape.clone(),
            start: 0,
            strides: None,
            held: None,
        });
    }
    let storage = visible(tensor, storages)?;
    let span = span(&tensor.shape, &tensor.strides);
    let end = span.and_then(|span| span.checked_add(tensor.offset)?.checked_mul(dtype.size()));
    if end.is_none_or(|end| end > storage.len()) {
        return Err(Refusal::new(
            format!("a tensor inside of its storage of {} bytes", storage.len()),
            format!(
                "shape {:?}, strides {:?}, offset {}",
                tensor.shape, tensor.strides, tensor.offset
            ),
        ));
    }
    let start = storage.start + tensor.offset * dtype.size();
    let strides = (!is_contiguous(&tensor.shape, &tensor.strides)).then(|| tensor.strides.clone());
    Ok(Entry { dtype, shape: tensor.shape.clone(), start, strides, held: None })
}

/// The bytes of a tensor's storage, or of the view that the tensor is based on.
fn visible(tensor: &Tensor<'_>, storages: &Storages) -> Result<Range<usize>, Refusal> {
    let storage = &tensor.storage;
    let size = storage.element.size;
    let range = storages.get(storage.key).cloned();
    let range = range.ok_or_else(|| {
        Refusal::new(format!("a storage with the key {}", storage.key), "none of it in the file")
    })?;
    let claimed = storage.elements.checked_mul(size);
    let Some(claimed) = claimed.filter(|&claimed| claimed <= range.len()) else {
        return Err(Refusal::new(
            format!("a storage of {} elements of {}", storage.elements, storage.element.name),
            format!("{} bytes", range.len()),
        ));
    };
    let Some((offset, length)) = storage.view else {
        return Ok(range.start..range.start + claimed);
    };
    let begin = offset.checked_mul(size);
    let end = offset.checked_add(length).and_then(|end| end.checked_mul(size));
    match (begin, end) {
        (Some(begin), Some(end)) if end <= claimed => Ok(range.start + begin..range.start + end),
        _ => Err(Refusal::new(
            format!("a view inside of a storage of {} elements", storage.elements),
            format!("{length} elements at {offset}"),
        )),
    }
}

fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    (0..shape.len()).all(|dimension| {
        shape[dimension] == 1 || Some(strides[dimension]) == elements_of(&shape[dimension + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguity_ignores_dimensions_of_one() {
        assert!(is_contiguous(&[], &[]));
        assert!(is_contiguous(&[2, 1, 3], &[3, 99, 1]));
        assert!(!is_contiguous(&[3, 2], &[1, 3]));
        assert!(!is_contiguous(&[2], &[0]));
    }

    #[test]
    fn a_span_that_overflows_is_none() {
        assert_eq!(span(&[2, 3], &[3, 1]), Some(6));
        assert_eq!(span(&[2, 3], &[usize::MAX, 1]), None);
        assert_eq!(span(&[3], &[usize::MAX]), None);
    }
}
