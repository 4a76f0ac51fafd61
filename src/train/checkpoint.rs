//! Run checkpoints, one file each: the models, the optimiser's state, and a text of the caller's. The file appears
//! whole or not at all, and has a checksum of all its contents.

use std::path::Path;

use crc32fast::Hasher;

use crate::engine::Array;
use crate::error::{Error, Result, shape_text};
use crate::graph::Parameter;
use crate::memory::zeros;
use crate::torch::{Memory, Optimizer, Store};
use crate::weights::load::takes;
use crate::weights::{self, Dtype, Parameters, Stored, write_safetensors};

/// Keys of the file's metadata.
const TEXT: &str = "cnnzoo-run";
const CHECKSUM: &str = "checksum";

/// Groups of tensors beside the models', whose names no model may have.
const STEPS: &str = "steps";
const AVERAGES: &str = "averages";
const WAITING: &str = "waiting";

/// Writes a run checkpoint over `path`; `models` come with names. The optimiser's state is that of the first.
pub fn write(
    path: &Path,
    models: &[(&str, &Store)],
    optimizer: &Optimizer,
    text: &str,
) -> Result<()> {
    let mut tensors: Vec<(String, Vec<usize>, Stored)> = Vec::new();
    for (model, store) in models {
        let named = |(name, shape, values)| (format!("{model}/{name}"), shape, values);
        tensors.extend(store.snapshot()?.into_iter().map(named));
    }
    let trained = models.first().map(|(_, store)| optimizer.memory(store)).transpose()?;
    for Memory { parameter, steps, averages, waiting } in trained.into_iter().flatten() {
        tensors.push((format!("{STEPS}/{parameter}"), vec![], Stored::Count(steps as i64)));
        let averages = averages.into_iter().map(|(of, array)| (format!("{AVERAGES}/{of}"), array));
        let waiting = waiting.map(|array| (WAITING.to_owned(), array));
        tensors.extend(averages.chain(waiting).map(|(group, Array { shape, values })| {
            (format!("{group}/{parameter}"), shape, Stored::Floats(values))
        }));
    }
    let mut sum = Checksum::new(text);
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, shape, stored) in &tensors {
        sum.tensor(name, shape);
        match stored {
            Stored::Floats(values) => sum.floats(values),
            Stored::Count(count) => sum.0.update(&count.to_le_bytes()),
        }
    }
    let metadata = [(TEXT, text.to_owned()), (CHECKSUM, sum.text())];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let items = tensors.iter().map(|(name, shape, stored)| stored.item(name, shape));
    write_safetensors(path, items, &metadata).map_err(ours)
}

/// A run checkpoint that was opened and verified.
#[derive(Debug)]
pub struct Checkpoint {
    file: weights::Checkpoint,
    text: String,
}

impl Checkpoint {
    /// Fails with `Error::CheckpointFile` or `Error::Checkpoint` where the file cannot be read, is damaged, or is no
    /// run checkpoint.
    pub fn open(path: &Path) -> Result<Self> {
        let file = weights::Checkpoint::open(path).map_err(ours)?;
        let known = |key| file.metadata().get(key).cloned();
        let (Some(text), Some(expected)) = (known(TEXT), known(CHECKSUM)) else {
            let expected = "a run checkpoint";
            return Err(refused(path, None, expected, "a weights file"));
        };
        let mut sum = Checksum::new(&text);
        let mut names: Vec<&str> = file.names().collect();
        names.sort_unstable();
        for name in names {
            let value = file.get(name).map_err(ours)?;
            sum.tensor(name, &value.shape);
            sum.0.update(&value.bytes);
        }
        if sum.text() != expected {
            let expected = format!("contents of checksum {expected}");
            return Err(refused(path, None, &expected, &format!("damaged, {}", sum.text())));
        }
        Ok(Self { file, text })
    }

    /// The caller's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fails unless there is an array of the right shape for each of a model's parameters.
    pub fn expect(&self, model: &str, parameters: &[Parameter]) -> Result<()> {
        for parameter in parameters {
            let name = format!("{model}/{}", parameter.name);
            let dtype = self.shaped(&name, parameter)?;
            takes(parameter, dtype)
                .map_err(|expected| self.refused(&name, expected, dtype.name()))?;
        }
        Ok(())
    }

    /// Fills every array of a model.
    pub fn fill(&self, model: &str, store: &mut Store) -> Result<()> {
        for index in 0..store.parameters().len() {
            let name = format!("{model}/{}", store.parameters()[index].name);
            let value = self.file.get(&name).map_err(ours)?;
            store.load(index, &value).map_err(|error| self.of(&name, error))?;
        }
        Ok(())
    }

    /// Restores the optimiser's state for the parameters of `store`; `waiting` as `Optimizer::waiting` gave it.
    pub fn recall(
        &self,
        optimizer: &mut Optimizer,
        store: &Store,
        waiting: (u64, u64),
    ) -> Result<()> {
        let mut memories = Vec::new();
        for parameter in store.parameters() {
            let name = &parameter.name;
            let steps = format!("{STEPS}/{name}");
            if !self.file.contains(&steps) {
                continue;
            }
            let count = self.file.get(&steps).and_then(|value| value.read_i64());
            let count = count.map_err(|error| self.of(&steps, error))?;
            let count = u64::try_from(count)
                .map_err(|_| self.refused(&steps, "a count", &count.to_string()))?;
            let mut averages = Vec::new();
            if count > 0 {
                for of in optimizer.rule().averages() {
                    let array = self.array(&format!("{AVERAGES}/{of}/{name}"), parameter)?;
                    averages.push(((*of).to_owned(), array));
                }
            }
            let waiting = format!("{WAITING}/{name}");
            let sum = || self.array(&waiting, parameter);
            let waiting = self.file.contains(&waiting).then(sum).transpose()?;
            let parameter = name.clone();
            memories.push(Memory { parameter, steps: count, averages, waiting });
        }
        optimizer.recall(store, &memories, waiting).map_err(|error| match error {
            Error::Argument { at, expected, got } => {
                refused(self.file.path(), Some(&at), &expected, &got)
            }
            other => other,
        })
    }

    /// The element type of an array, which must have the shape of a parameter.
    fn shaped(&self, name: &str, parameter: &Parameter) -> Result<Dtype> {
        let (dtype, shape) = self.file.facts(name).map_err(ours)?;
        if shape == parameter.shape {
            return Ok(dtype);
        }
        Err(self.refused(name, &shape_text(&parameter.shape), &shape_text(shape)))
    }

    fn array(&self, name: &str, parameter: &Parameter) -> Result<Array> {
        self.shaped(name, parameter)?;
        let value = self.file.get(name).map_err(ours)?;
        let mut values = zeros(value.elements()).map_err(|shortage| shortage.at(name))?;
        value.write_f32(&mut values).map_err(|error| self.of(name, error))?;
        Ok(Array { shape: value.shape, values })
    }

    /// An error of one entry.
    fn of(&self, name: &str, error: Error) -> Error {
        match error {
            Error::Shape { expected, got, .. } | Error::ElementType { expected, got, .. } => {
                self.refused(name, &expected, &got)
            }
            other => ours(other),
        }
    }

    fn refused(&self, name: &str, expected: &str, got: &str) -> Error {
        refused(self.file.path(), Some(name), expected, got)
    }
}

/// A checksum of the caller's text, and of the tensors in the order of their names.
struct Checksum(Hasher);

impl Checksum {
    fn new(text: &str) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(text.as_bytes());
        Self(hasher)
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) {
        self.0.update(format!("{name}{shape:?}").as_bytes());
    }

    fn floats(&mut self, values: &[f32]) {
        let mut bytes = Vec::with_capacity(values.len().min(8192) * size_of::<f32>());
        for chunk in values.chunks(8192) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
            self.0.update(&bytes);
        }
    }

    fn text(&self) -> String {
        format!("{:08x}", self.0.clone().finalize())
    }
}

fn refused(path: &Path, key: Option<&str>, expected: &str, got: &str) -> Error {
    let (path, key) = (path.to_owned(), key.map(str::to_owned));
    Error::Checkpoint { path, key, expected: expected.into(), got: got.into() }
}

/// Turns an error of the weights file into one of the run checkpoint.
fn ours(error: Error) -> Error {
    match error {
        Error::WeightsFile { path, source } => Error::CheckpointFile { path, source },
        Error::Weights { path, key, expected, got } => {
            Error::Checkpoint { path, key, expected, got }
        }
        other => other,
    }
}
