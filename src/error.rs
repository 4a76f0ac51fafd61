//! Every way this crate fails, as values: what was expected, what came, and where.

use std::io;
use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A graph that breaks a rule of `graph::check`.
    #[error("node `{node}` ({op}): expected {expected}, got {got}")]
    Graph { node: String, op: &'static str, expected: String, got: String },

    /// A line of a graph's text form that does not parse.
    #[error("line {line} of a graph's text: expected {expected}, got {got}")]
    Text { line: usize, expected: String, got: String },

    /// An array whose shape does not fit where it goes.
    #[error("{at}: expected {expected}, got {got}")]
    Shape { at: String, expected: String, got: String },

    /// An array whose element type has no defined conversion.
    #[error("{at}: expected {expected}, got {got}")]
    ElementType { at: String, expected: String, got: String },

    /// A model name that is in no table.
    #[error("there is no model `{name}`{}", did_you_mean(closest))]
    UnknownModel { name: String, closest: Vec<String> },

    /// A known name with a choice that it does not offer (a source, an option, a value).
    #[error("{at}: expected {expected}, got {got}")]
    Argument { at: String, expected: String, got: String },

    /// A weights file that could not be opened, read or written.
    #[error("{}: {}", path.display(), reason(source))]
    WeightsFile { path: PathBuf, source: io::Error },

    /// A weights file, or one entry of it, that is not what it has to be.
    #[error("{}{}: expected {expected}, got {got}", path.display(), entry(key.as_deref()))]
    Weights { path: PathBuf, key: Option<String>, expected: String, got: String },

    /// Parameters that do not fit the model.
    #[error("{message}")]
    StateDict { message: String },

    /// A photograph, or a file or folder of a data set, that could not be opened or read.
    #[error("{}: {}", path.display(), reason(source))]
    PhotoFile { path: PathBuf, source: io::Error },

    /// A photograph that does not decode, or a data set that is not what it has to be.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Photo { path: PathBuf, expected: String, got: String },

    /// A run checkpoint that could not be opened, read or written.
    #[error("{}: {}", path.display(), reason(source))]
    CheckpointFile { path: PathBuf, source: io::Error },

    /// A file that is damaged or no run checkpoint.
    #[error("{}{}: expected {expected}, got {got}", path.display(), entry(key.as_deref()))]
    Checkpoint { path: PathBuf, key: Option<String>, expected: String, got: String },

    /// A device that is not there.
    #[error("device `{device}`: expected {expected}, got {got}")]
    Device { device: String, expected: String, got: String },

    /// No memory left on a device.
    #[error("{at}: out of memory: {message}")]
    OutOfMemory { at: String, message: String },

    /// A panic: a defect of this crate.
    #[error("{at}: a defect in cnnzoo: {message}")]
    Defect { at: String, message: String },

    /// libtorch refused an operation.
    #[error("{at}: libtorch: {message}")]
    Torch { at: String, message: String },
}

/// As Python writes a shape: `(2, 3)`, `(2,)`.
pub fn shape_text<T: std::fmt::Display>(shape: &[T]) -> String {
    match shape {
        [size] => format!("({size},)"),
        sizes => format!("({})", sizes.iter().map(T::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn did_you_mean(closest: &[String]) -> String {
    match closest {
        [] => String::new(),
        names => format!("; the closest are {}", names.join(", ")),
    }
}

/// The message of the operating system, without its number.
fn reason(source: &io::Error) -> String {
    let text = source.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

fn entry(key: Option<&str>) -> String {
    key.map(|key| format!(": `{key}`")).unwrap_or_default()
}
