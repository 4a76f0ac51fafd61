//! Batches, pending and complete.

use std::sync::Arc;

use ndarray::Array4;

use super::outcome::{BadSample, Outcome};
use super::rows::{Row, Rows};
use crate::error::{Error, Result, shape_text};

/// A complete batch.
#[derive(Debug)]
pub struct Batch {
    /// Its number within the epoch.
    pub number: usize,
    /// (samples, channels, height, width); without samples all are zero.
    pub images: Array4<f32>,
    pub labels: Vec<usize>,
    /// Samples that could not be read or prepared, in the order of the batch.
    pub bad: Vec<BadSample>,
}

/// A batch that threads are working on.
#[derive(Debug)]
pub(super) struct PendingBatch {
    number: usize,
    memory: Option<Memory>,
    /// The outcome of each sample, once it is done.
    outcomes: Vec<Option<Outcome>>,
    left: usize,
}

/// Memory of the batch, allocated when the first sample is decoded, whose size all must have.
#[derive(Debug)]
struct Memory {
    shape: [usize; 3],
    /// The name of the sample that set the shape.
    name: String,
    rows: Arc<Rows>,
    each: Vec<Option<Row>>,
}

impl PendingBatch {
    pub(super) fn new(number: usize, samples: usize) -> Self {
        let outcomes = (0..samples).map(|_| None).collect();
        Self { number, memory: None, outcomes, left: samples }
    }

    /// The row of a sample. The first call sets the shape of all samples to `shape`.
    ///
    /// Fails with `Error::Shape` where the batch has samples of another shape, and with `Error::OutOfMemory`.
    pub(super) fn row(
        &mut self,
        place: usize,
        shape: [usize; 3],
        name: impl Fn() -> String,
    ) -> Result<Option<Row>> {
        if self.memory.is_none() {
            let row = shape.iter().fold(1_usize, |all, &side| all.saturating_mul(side));
            let (rows, each) = Rows::new(self.outcomes.len(), row)
                .map_err(|shortage| shortage.at(format!("a batch like {}", name())))?;
            self.memory = Some(Memory { shape, name: name(), rows, each });
        }
        match &mut self.memory {
            Some(memory) if memory.shape != shape => Err(Error::Shape {
                at: name(),
                expected: format!(
                    "{} as {} in the same batch; a transform that resizes makes all alike",
                    shape_text(&memory.shape),
                    memory.name
                ),
                got: shape_text(&shape),
            }),
            Some(memory) => Ok(memory.each[place].take()),
            None => Ok(None),
        }
    }

    /// Notes the outcome of a sample, whose row is given back; returns whether it was the last.
    pub(super) fn done(&mut self, place: usize, outcome: Outcome) -> bool {
        self.outcomes[place] = Some(outcome);
        self.left -= 1;
        self.is_ready()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.left == 0
    }

    /// The batch without skipped samples; or the first error in it.
    pub(super) fn finish(self) -> Result<Batch> {
        let (mut labels, mut bad, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (place, outcome) in self.outcomes.into_iter().enumerate() {
            match outcome {
                Some(Outcome::Kept { label, bad: was }) => {
                    labels.push(label);
                    bad.extend(was);
                    kept.push(place);
                }
                Some(Outcome::Skipped(was)) => bad.push(was),
                Some(Outcome::Failed(error)) => return Err(error),
                None => return Err(defect("a sample of the batch is missing")),
            }
        }
        let mut batch = Batch { number: self.number, images: Array4::default([0; 4]), labels, bad };
        let Some(memory) = self.memory.filter(|_| !kept.is_empty()) else { return Ok(batch) };
        drop(memory.each);
        let numbers = Rows::into_numbers(memory.rows);
        let mut numbers = numbers.ok_or_else(|| defect("a row of the batch is still out"))?;
        let [channels, height, width] = memory.shape;
        let row = channels * height * width;
        for (place, &from) in kept.iter().enumerate().filter(|(place, from)| place != *from) {
            numbers.copy_within(from * row..(from + 1) * row, place * row);
        }
        numbers.truncate(kept.len() * row);
        batch.images = Array4::from_shape_vec([kept.len(), channels, height, width], numbers)
            .map_err(|_| defect("the rows of the batch have another size"))?;
        Ok(batch)
    }
}

fn defect(message: &str) -> Error {
    Error::Defect { at: "loader".into(), message: message.into() }
}
