//! Outcomes of samples.

use crate::Error;

/// The outcome of a sample.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The sample, or its replacement, is in its row.
    Kept {
        label: usize,
        bad: Option<BadSample>,
    },
    Skipped(BadSample),
    Failed(Error),
}

/// A sample that could not be read or prepared.
#[derive(Debug)]
pub struct BadSample {
    pub index: usize,
    /// Its path, where it has one.
    pub name: String,
    pub error: Error,
    /// The index of the sample that replaced it.
    pub replacement: Option<usize>,
}
