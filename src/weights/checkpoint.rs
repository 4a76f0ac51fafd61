//! Opening weights files of every readable format.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::contents::{Contents, Entry, Ignored};
use super::format::{BEGIN, Format, detect};
use super::gather::{gather, span};
use super::refusal::Refusal;
use super::source::Source;
use super::value::{Dtype, Value, as_bytes};
use super::{pth, safetensors_file};
use crate::{Error, Result};

/// An open weights file: .safetensors, or .pth in either format of `torch.save`.
///
/// Tensors are read when they are asked for. The file must not change until then, or reading it fails. Replacing it by
/// a rename, as [`super::write_safetensors`] does, is safe.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    source: Source,
    contents: Contents,
    provenance: String,
}

impl Checkpoint {
    /// Opens a weights file, detects its format from its content, and finds the state dict in it. Nothing stored in the
    /// file is ever executed.
    ///
    /// # Errors
    /// [`Error::WeightsFile`] where it cannot be read, [`Error::Weights`] where it is not a weights file, is damaged,
    /// or holds objects other than tensors and plain data.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_at(path, None)
    }

    /// Opens a weights file with the state dict under `key`.
    ///
    /// # Errors
    /// As for [`Self::open`], and where there is no such key.
    pub fn open_at(path: impl AsRef<Path>, key: Option<&str>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let opened = Source::open(&path);
        let source = opened.map_err(|source| Error::WeightsFile { path: path.clone(), source })?;
        let contents = read(&source, key).map_err(|refusal| refusal.at(&path))?;
        let provenance = provenance(&contents.under);
        Ok(Self { path, source, contents, provenance })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors' names, in the order of the file.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.contents.entries.keys().map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.contents.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.contents.entries.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.contents.entries.contains_key(name)
    }

    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.contents.entries.get(name).map(|entry| entry.dtype)
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.contents.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The element type and shape of a tensor, without reading its values.
    ///
    /// # Errors
    /// [`Error::Weights`] where there is no tensor of that name.
    pub fn facts(&self, name: &str) -> Result<(Dtype, &[usize])> {
        self.entry(name).map(|entry| (entry.dtype, entry.shape.as_slice()))
    }

    /// A tensor.
    ///
    /// # Errors
    /// [`Error::Weights`] where there is no tensor of that name, or the file was changed.
    pub fn get(&self, name: &str) -> Result<Value<'_>> {
        let entry = self.entry(name)?;
        let bytes = self.bytes_of(entry).map_err(|refusal| refusal.of(name).at(&self.path))?;
        Ok(Value { dtype: entry.dtype, shape: entry.shape.clone(), bytes })
    }

    /// Whether this is a float32 tensor whose values lie in the file one behind the other.
    pub(super) fn is_plain(&self, name: &str) -> bool {
        self.contents.entries.get(name).is_some_and(|entry| {
            entry.dtype == Dtype::F32 && entry.strides.is_none() && entry.held.is_none()
        })
    }

    /// Reads a float32 tensor into `values`, without memory between, if it is one of as many values and lies in the file
    /// as they do; returns whether it is.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn read_into(&self, name: &str, values: &mut [f32]) -> Result<bool> {
        let entry = self.entry(name)?;
        if !self.is_plain(name) || entry.dtype.bytes_of(&entry.shape) != Some(size_of_val(values)) {
            return Ok(false);
        }
        let Some(bytes) = as_bytes(values) else { return Ok(false) };
        let read = self.source.read_into(entry.start, bytes);
        read.map_err(|refusal| refusal.of(name).at(&self.path))?;
        Ok(true)
    }

    /// The metadata: string pairs that safetensors keeps under `__metadata__`; empty for .pth.
    pub fn metadata(&self) -> &IndexMap<String, String> {
        &self.contents.metadata
    }

    /// The origin of the tensors, such as ``under `state_dict` ``.
    pub fn provenance(&self) -> &str {
        &self.provenance
    }

    /// The other contents of the file: training state, and entries of the state dict that are no readable tensors.
    pub fn ignored(&self) -> &[Ignored] {
        &self.contents.ignored
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let got = || format!("none among {} tensors", self.len());
        let refused = || Refusal::new("a tensor of this name", got()).of(name).at(&self.path);
        self.contents.entries.get(name).ok_or_else(refused)
    }

    fn bytes_of(&self, entry: &Entry) -> Result<Cow<'_, [u8]>, Refusal> {
        // Every entry of `Contents` lies inside the file, so the sizes are small.
        let size = entry.dtype.size();
        let span = match &entry.strides {
            None => entry.dtype.bytes_of(&entry.shape).unwrap_or_default(),
            Some(strides) => size * span(&entry.shape, strides).unwrap_or_default(),
        };
        let from = match entry.held {
            None => Cow::Owned(self.source.read(entry.start, span)?),
            Some(held) => Cow::Borrowed(&self.contents.held[held][..span]),
        };
        Ok(match &entry.strides {
            None => from,
            Some(strides) => Cow::Owned(gather(&from, size, &entry.shape, strides)),
        })
    }
}

fn read(source: &Source, key: Option<&str>) -> Result<Contents, Refusal> {
    let begin = source.read(0, source.length().min(BEGIN))?;
    match (detect(&begin)?, key) {
        (Format::Safetensors, None) => safetensors_file::read(source),
        (Format::Safetensors, Some(key)) => {
            Err(Refusal::new(format!("a .pth file with the key `{key}`"), "a .safetensors file"))
        }
        (Format::Zip, key) => pth::read_zip(source, key),
        (Format::Pickle, key) => pth::read_legacy(source, key),
    }
}

fn provenance(under: &[String]) -> String {
    match under {
        [] => "the whole file".to_owned(),
        keys => format!("under `{}`", keys.join("`, `")),
    }
}
