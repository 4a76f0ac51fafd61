//! The contents of a weights file, as the reader of each format finds them.

use indexmap::IndexMap;

use super::value::Dtype;

/// An entry of a weights file besides the tensors that are read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its key in the file; the keys of an outer dictionary are written as they are.
    pub name: String,
    /// Its kind, in a few words.
    pub what: String,
}

/// The place of a tensor in the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Offset in bytes of the first element.
    pub(super) start: usize,
    /// In elements, one per dimension; none where the tensor is contiguous.
    pub(super) strides: Option<Vec<usize>>,
    /// Index into `Contents::held` where the tensor lies in decoded bytes; none where it lies in the file.
    pub(super) held: Option<usize>,
}

/// The result of a format's reader. Every entry lies inside the file, with all its strides.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) entries: IndexMap<String, Entry>,
    pub(super) metadata: IndexMap<String, String>,
    /// Keys that led to the state dict, outermost first.
    pub(super) under: Vec<String>,
    pub(super) ignored: Vec<Ignored>,
    /// Decoded bytes, for tensors that the file holds in a coded form.
    pub(super) held: Vec<Vec<u8>>,
}
